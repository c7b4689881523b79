"""What a checkpoint file gives to its state in S3: cuts of its changes, each with a snapshot of the file to read.

A cut and what it reads are of one moment: the reading connection begins its transaction before the next write. It reads
beside the run, on a thread of its own, so that no commit of the run waits for it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from asyncfilter.checkpoint.changes import WHOLE, ChangeLog, Counted, Shipment, read_shipment
from asyncfilter.checkpoint.open_file import connect
from asyncfilter.checkpoint.tables import Tables


class Cut(NamedTuple):
    """What changed since the last cut that was confirmed.

    Attributes:
        rows: Rows that changed.
        is_whole: Something changed that was not noted: only a snapshot has it.
        reader: A connection that reads the file as it was at the cut; the caller closes it.
        name: The random part of the name of the object that has it, which the file notes.
    """

    rows: int
    is_whole: bool
    reader: sqlite3.Connection
    name: str = ""


class ShippingFile:
    """The log of changes of one open file, for the state in S3; all methods are called on the file's thread.

    Args:
        db: The connection that writes.
        tables: Of the same file.
        path: The file.
        log: Was begun.
    """

    def __init__(self, db: sqlite3.Connection, tables: Tables, path: Path, log: ChangeLog) -> None:
        self._db, self._tables, self._path, self._log = db, tables, path, log

    @property
    def changed_rows(self) -> int:
        """Rows of images that were written since the last cut; may be read on any thread."""
        return self._log.changed_rows

    def shipment(self) -> Shipment:
        """What the file knows about its state."""
        return read_shipment(self._db)

    def bind(self, state_id: str, epoch: int, commit: int) -> None:
        """Note which state the file belongs to, and what S3 has; another state has nothing of the file."""
        with self._tables.transaction():
            if self.shipment().state_id != state_id:
                self._log.note_whole()
            self._log.bind(state_id, epoch, commit)

    def note_whole(self) -> None:
        """Make the next cut a snapshot."""
        with self._tables.transaction():
            self._log.note_whole()

    def cut(self, confirmed: int | None) -> Cut:
        """Cut what changed.

        Args:
            confirmed: The commit that has the last cut; None when that cut is part of this one.
        """
        with self._tables.transaction():
            if confirmed is not None:
                self._log.confirm(confirmed)
            rows = self._log.cut()
            name = self.shipment().cut
        reader = connect(self._path, "ro")
        try:
            reader.execute("BEGIN")
            found = reader.execute("SELECT 1 FROM shipping WHERE name = ? AND id = ?", WHOLE).fetchone()
        except BaseException:
            reader.close()
            raise
        return Cut(rows, found is not None, reader, name)

    def confirm(self, commit: int, counted: Counted | None = None) -> None:
        """Forget the last cut; see ``ChangeLog.confirm``."""
        with self._tables.transaction():
            self._log.confirm(commit, counted)

    def behind(self) -> int:
        """Rows that S3 may not have."""
        return self._log.unshipped()

    def has_new(self) -> bool:
        """Whether there is something to cut."""
        return self._log.has_new()


class ImageCount(NamedTuple):
    """How many rows of images a file has, and the highest id among them, counted on from cut to cut."""

    rows: int = 0
    last_id: int = 0

    @classmethod
    def of(cls, db: sqlite3.Connection) -> ImageCount:
        """Count all rows."""
        return cls(*db.execute("SELECT count(*), coalesce(max(id), 0) FROM image").fetchone())

    def after(self, cut: sqlite3.Connection) -> ImageCount:
        """The count after the cut that a connection reads; only the rows that changed are looked at."""
        noted = "FROM shipping AS s LEFT JOIN image ON image.id = s.id WHERE s.name = 'image'"
        (new,) = cut.execute(f"SELECT count(*) {noted} AND s.id > ? AND image.id NOT NULL", (self.last_id,)).fetchone()
        (gone,) = cut.execute(f"SELECT count(*) {noted} AND s.id <= ? AND image.id IS NULL", (self.last_id,)).fetchone()
        (last_id,) = cut.execute("SELECT coalesce(max(id), 0) FROM image").fetchone()
        return ImageCount(self.rows + new - gone, max(self.last_id, last_id))
