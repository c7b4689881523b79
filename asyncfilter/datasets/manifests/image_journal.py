"""What a check of images has found so far, on disk, so that a check that was killed asks nothing twice.

A check goes on where the last one stopped. Once it has looked at all images, the next check is a new one: it asks for
the ETag of each image, and an entry holds while the ETag does. Results never depend on the journal.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from asyncfilter.datasets.manifests.image_facts import ImageFacts
from asyncfilter.errors import UsageError

_VERSION = 1
_APPLICATION_ID = 0x61666A31
_WAIT_S = 10


class ImageJournal:
    """The journal of one manifest; a context that closes it.

    Args:
        path: The file, which is made when it is not there.

    Raises:
        UsageError: The file is something else, or cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(ImageFacts).decode
        try:
            self._db = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_S)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def facts(self, source_ref: str) -> ImageFacts | None:
        """What is known of the image at an address, from this check or an earlier one; None when nothing is."""
        found = self._row(source_ref)
        return None if found is None else found[0]

    def facts_at(self, source_ref: str, etag: str) -> ImageFacts | None:
        """What is known of the image at an address while it had an ETag; None when nothing is."""
        found = self.facts(source_ref)
        return found if found is not None and found.etag == etag else None

    def is_settled(self, source_ref: str) -> bool:
        """Whether this check has looked at the image already."""
        found = self._row(source_ref)
        return found is not None and found[1] == self._check and not found[0].is_denied

    def put(self, source_ref: str, facts: ImageFacts) -> None:
        """Keep what this check has found of an image."""
        try:
            self._db.execute(
                "INSERT OR REPLACE INTO images VALUES (?, ?, ?)",
                (_digest(source_ref), self._check, self._encode(facts)),
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def end(self) -> None:
        """The check has looked at all images."""
        self._db.execute("UPDATE state SET is_complete = 1")

    def _open(self) -> None:
        db = self._db
        (number,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and number != _APPLICATION_ID:
            raise sqlite3.DatabaseError("another program wrote it")
        # What a killed process has written is kept by the system. A loss of power may cost requests, never a result.
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN IMMEDIATE")  # whole or not at all, whatever is killed meanwhile
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute("CREATE TABLE IF NOT EXISTS state (version INTEGER, number INTEGER, is_complete INTEGER)")
        db.execute("CREATE TABLE IF NOT EXISTS images (ref BLOB PRIMARY KEY, number INTEGER, facts BLOB) WITHOUT ROWID")
        db.execute("INSERT INTO state SELECT ?, 1, 0 WHERE NOT EXISTS (SELECT * FROM state)", (_VERSION,))
        version, self._check, is_complete = db.execute("SELECT version, number, is_complete FROM state").fetchone()
        if version != _VERSION:
            raise sqlite3.DatabaseError("another version of this program wrote it")
        if is_complete:
            self._check += 1
            db.execute("UPDATE state SET number = ?, is_complete = 0", (self._check,))
        db.execute("COMMIT")

    def _row(self, source_ref: str) -> tuple[ImageFacts, int] | None:
        try:
            row = self._db.execute("SELECT facts, number FROM images WHERE ref = ?", (_digest(source_ref),)).fetchone()
            return None if row is None else (self._decode(row[0]), row[1])
        except (sqlite3.Error, msgspec.DecodeError, TypeError) as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> UsageError:
        return UsageError(f"{self._path}: {error}", hint="Remove or rename this file; it is the journal of the check.")


def _digest(source_ref: str) -> bytes:
    return hashlib.blake2b(source_ref.encode(), digest_size=16).digest()
