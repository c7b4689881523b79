"""The checkpoint: everything that was paid for, in one SQLite file that one run at a time writes to."""

from __future__ import annotations

from asyncfilter.checkpoint.store import SqliteCheckpoint, open_checkpoint

__all__ = ["SqliteCheckpoint", "open_checkpoint"]
