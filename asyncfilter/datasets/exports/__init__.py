"""What a checkpoint holds, as files for other programs."""
