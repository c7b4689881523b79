"""Data that several layers share and the checkpoint stores: images, progress, counts, removals. No I/O."""
