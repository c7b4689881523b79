"""What each command prints on a terminal."""
