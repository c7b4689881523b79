"""Checkpoints of both kinds behind one interface that opens, closes and crashes them, and rows for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from asyncfilter.checkpoint import SqliteCheckpoint, open_checkpoint
from asyncfilter.model import Decision, Detection, Label, Verdict
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.records.images import StoredImage
from asyncfilter.testing import MemoryCheckpoint

IDENTITY = {"source.uri": "s3://raw/"}
KEEP = Decision(Verdict.KEEP, 0, "Robin")
LABELS = Detection((Label("Robin", 90.0),), "3.0")


def stored_image(id_: int, **changes: Any) -> StoredImage:
    """A row: a kept image with labels, placed at its id; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "seq": id_,
        "key": f"birds/{id_:03}.jpg",
        "etag": f"{id_:032x}",
        "size_bytes": 1000 + id_,
        "decision": KEEP,
        "detection": LABELS,
    }
    return StoredImage(id=id_, **fields | changes)


class CheckpointHarness(Protocol):
    """One checkpoint that can be opened, closed and crashed."""

    async def open(self) -> Checkpoint:
        """Open the checkpoint as the next process would."""

    async def close(self) -> None:
        """Close the checkpoint as a process that ends normally does."""

    async def crash(self) -> None:
        """Leave the checkpoint as a killed process does."""


class MemoryHarness:
    """A checkpoint in memory."""

    def __init__(self) -> None:
        self.checkpoint = MemoryCheckpoint()

    async def open(self) -> MemoryCheckpoint:
        """See ``CheckpointHarness``."""
        return self.checkpoint

    async def close(self) -> None:
        """See ``CheckpointHarness``."""
        self.checkpoint = self.checkpoint.reopen()

    crash = close


class SqliteHarness:
    """A checkpoint in a file below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "0" / "job.db"
        self._crashes = 0
        self._checkpoint: SqliteCheckpoint | None = None

    async def open(self) -> SqliteCheckpoint:
        """See ``CheckpointHarness``."""
        self._checkpoint = await open_checkpoint(self.path, identity=IDENTITY, name="robins")
        return self._checkpoint

    async def close(self) -> None:
        """See ``CheckpointHarness``."""
        if self._checkpoint is not None:
            await self._checkpoint.aclose()

    async def crash(self) -> None:
        """Continue with a copy of what a killed process leaves: the file and its log as they are on the disk."""
        self._crashes += 1
        copies = self.path.parents[1] / str(self._crashes)
        copies.mkdir()
        for name in (self.path.name, self.path.name + "-wal"):
            shutil.copy(self.path.with_name(name), copies / name)
        await self.close()
        self.path = copies / self.path.name
