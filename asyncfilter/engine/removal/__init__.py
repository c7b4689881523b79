"""Removal of images from the source (``apply``), its reversal (``undo``), and deletion of stale copies."""
