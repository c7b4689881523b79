"""A bounded cache of pictures: one SQLite file beside the checkpoint, that may be deleted at any time.

It holds renditions, the least recently used of which go first, and what is known about each picture. Whatever is wrong
with the file, it is made anew: nothing in it is lost that cannot be made again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from asyncfilter.records.answers import Subject
from asyncfilter.review.pictures import PictureFacts

MAX_BYTES = 512 * 1024 * 1024
_EVICTED_SHARE = 0.1
_TOUCH_S = 60.0
"""A use is noted when the last one is so old."""
_FORMAT = 1
_TABLES = f"""
PRAGMA user_version = {_FORMAT};
CREATE TABLE rendition (
  picture BLOB NOT NULL, size TEXT NOT NULL, bytes INTEGER NOT NULL, used_unix_s REAL NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (picture, size)
);
CREATE INDEX rendition_used ON rendition (used_unix_s, bytes);
CREATE TABLE fact (
  picture BLOB PRIMARY KEY, width INTEGER, height INTEGER, look INTEGER, content TEXT, broken TEXT
) WITHOUT ROWID;
"""


class PictureCache:
    """The cache; all methods wait for the disk, and are called in one thread at a time.

    Args:
        path: The file.
        max_bytes: Of all renditions together.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._db = self._opened()
        (self._bytes,) = self._db.execute("SELECT coalesce(sum(bytes), 0) FROM rendition").fetchone()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def rendition(self, subject: Subject, size: str) -> bytes | None:
        """A rendition; None when it is not there."""
        name, now_s = _name(subject), time.time()
        with suppress(sqlite3.Error):
            query = "SELECT body, used_unix_s FROM rendition WHERE picture = ? AND size = ?"
            found = self._db.execute(query, (name, size)).fetchone()
            if found is None:
                return None
            if now_s - found[1] > _TOUCH_S:
                change = "UPDATE rendition SET used_unix_s = ? WHERE picture = ? AND size = ?"
                self._db.execute(change, (now_s, name, size))
            return bytes(found[0])
        return None

    def put(self, subject: Subject, size: str, body: bytes) -> None:
        """Keep a rendition; one that takes a tenth of the cache by itself is not kept."""
        if len(body) > self._max_bytes * _EVICTED_SHARE:
            return
        with suppress(sqlite3.Error):
            row = (_name(subject), size, len(body), time.time(), body)
            self._db.execute("INSERT OR REPLACE INTO rendition VALUES (?, ?, ?, ?, ?)", row)
            self._bytes += len(body)
            if self._bytes > self._max_bytes:
                self._evict()

    def facts(self, subjects: Sequence[Subject]) -> list[PictureFacts | None]:
        """What is known about pictures."""
        query = "SELECT width, height, look, content, broken FROM fact WHERE picture = ?"
        with suppress(sqlite3.Error):
            rows = [self._db.execute(query, (_name(subject),)).fetchone() for subject in subjects]
            return [None if row is None else PictureFacts(*row) for row in rows]
        return [None] * len(subjects)

    def note(self, subject: Subject, facts: PictureFacts) -> None:
        """Keep what is known about a picture."""
        with suppress(sqlite3.Error):
            self._db.execute("INSERT OR REPLACE INTO fact VALUES (?, ?, ?, ?, ?, ?)", (_name(subject), *facts))

    def _evict(self) -> None:
        """Remove the least recently used until a tenth is free."""
        least, freed = self._bytes - self._max_bytes * (1 - _EVICTED_SHARE), 0
        gone: list[tuple[bytes, str]] = []
        for picture, size, size_bytes in self._oldest():
            gone.append((picture, size))
            freed += size_bytes
            if freed >= least:
                break
        self._db.executemany("DELETE FROM rendition WHERE picture = ? AND size = ?", gone)
        (self._bytes,) = self._db.execute("SELECT coalesce(sum(bytes), 0) FROM rendition").fetchone()

    def _oldest(self) -> Iterable[tuple[bytes, str, int]]:
        return self._db.execute("SELECT picture, size, bytes FROM rendition ORDER BY used_unix_s").fetchmany(10_000)

    def _opened(self) -> sqlite3.Connection:
        """The file; one that cannot be used is replaced, and where no file can be, the cache is in memory."""
        for _ in range(2):
            db: sqlite3.Connection | None = None
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
                db = _connected(str(self._path))
                _check(db)
            except (sqlite3.Error, OSError):
                if db is not None:
                    db.close()
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)
            else:
                return db
        db = _connected(":memory:")
        _check(db)
        self._max_bytes //= 8
        return db


def _connected(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        db.execute("PRAGMA journal_mode = MEMORY")
        db.execute("PRAGMA synchronous = OFF")  # what a power cut damages is made anew
    except BaseException:  # of a file that is no database
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection) -> None:
    """Make the tables of a new file, and refuse one that is damaged or of another version.

    Raises:
        sqlite3.Error: It cannot be used.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version == 0:
        db.executescript(_TABLES)
    elif version != _FORMAT:
        raise sqlite3.DatabaseError("another version")
    db.execute("SELECT count(*), sum(bytes) FROM rendition").fetchone()
    db.execute("SELECT count(*) FROM fact").fetchone()


def _name(subject: Subject) -> bytes:
    named = "\0".join((subject.bucket, subject.key, subject.etag, str(subject.size_bytes)))
    return hashlib.blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).digest()
