"""Exports of the content of a checkpoint, as files for other programs."""
