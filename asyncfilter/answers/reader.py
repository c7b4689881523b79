"""Reading an answers file while others write to it: no lock that a writer would wait for, and no wait for a writer.

Each call reads one snapshot. ``AnswersReader`` is for one thread at a time; ``SqliteAnswers`` is the same as the port
of the engine, on a thread of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self

import anyio
from anyio import to_thread

from asyncfilter.answers import queries
from asyncfilter.answers.errors import sqlite_translated, translated
from asyncfilter.answers.file import exists, open_reading, real_path
from asyncfilter.checkpoint.file_thread import FileThread
from asyncfilter.policy.answers.fold import fold
from asyncfilter.ports.answers import AnsweredImage
from asyncfilter.records.answers import Answer, CurrentAnswer, ImageRows, Subject


class AnswersReader:
    """An answers file that is open for reading; ``open_reader`` makes it, ``close`` or a ``with`` block ends it.

    Args:
        path: The file, without links.
        db: A connection for reading.
    """

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db
        self._is_closed = False
        with self._reading():
            self.id = queries.file_id(db)
            self.format = queries.format_of(db)
            self.merged: Collection[str] = queries.merged_ids(db)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def last_serial(self) -> int:
        """The serial of the newest row; 0 when there is none."""
        with self._reading():
            return queries.last_serial(self._db)

    def count(self, after: int, *, up_to: int) -> int:
        """See ``Answers.count``."""
        with self._reading():
            return queries.count_rows(self._db, after, up_to=up_to)

    def count_subjects(self, *, up_to: int) -> int:
        """How many versions of objects have a row with a serial of at most ``up_to``."""
        with self._reading():
            return queries.count_subjects(self._db, up_to=up_to)

    def images_of(self, objects: Sequence[Subject], *, up_to: int) -> list[ImageRows | None]:
        """All that is known about the image of each of ``objects``, in their order; None where no row is about it."""
        with self._reading():
            return queries.images_of(self._db, objects, up_to=up_to)

    def current(self, objects: Sequence[Subject], *, up_to: int) -> list[CurrentAnswer | None]:
        """See ``Answers.current``."""
        # Images of a page are often one object each; what several share is folded once for each of them.
        return [None if image is None else fold(image.rows) for image in self.images_of(objects, up_to=up_to)]

    def since(self, after: int, *, up_to: int, limit: int) -> list[AnsweredImage]:
        """See ``Answers.since``."""
        with self._reading():
            found = queries.images_since(self._db, after, up_to=up_to, limit=limit)
        return [
            AnsweredImage(serial=serial, subjects=image.subjects, current=fold(image.rows)) for serial, image in found
        ]

    def all_images(self, *, up_to: int) -> Iterator[ImageRows]:
        """Every image with a row, by its first subject; the subjects are held, and the rows of a few images."""
        with self._reading():
            yield from queries.all_images(self._db, up_to=up_to)

    def all_rows(self, *, after: int = 0, up_to: int) -> Iterator[Answer]:
        """Every row with ``after < serial <= up_to``, undo rows too, by serial; memory is bounded."""
        with self._reading():
            yield from queries.all_rows(self._db, after=after, up_to=up_to)

    def rows_with(self, uids: Sequence[str]) -> dict[str, Answer]:
        """The rows with these uids, those that exist, by uid."""
        with self._reading():
            return queries.rows_with(self._db, uids)

    def close(self) -> None:
        """Close the file; a second call does nothing, and an iteration that was given up may end later."""
        self._is_closed = True
        with translated(self._path):
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """A block whose statements all see one state of the file; within an iteration, that of the iteration."""
        is_outer = not self._db.in_transaction
        with sqlite_translated(self._path):
            if is_outer:
                self._db.execute("BEGIN")
            try:
                yield
            finally:
                if is_outer and not self._is_closed:
                    self._db.execute("ROLLBACK")


def open_reader(path: Path) -> AnswersReader | None:
    """Open the answers file at ``path`` for reading; None when there is none. Nothing is created or changed.

    Raises:
        AnswersError: It cannot be used.
    """
    path = real_path(path)
    return AnswersReader(path, open_reading(path)) if exists(path) else None


class SqliteAnswers:
    """An answers file as the engine reads it: see ``asyncfilter.ports.answers.Answers``.

    Args:
        reader: The open file, for this reader alone.
    """

    def __init__(self, reader: AnswersReader) -> None:
        self._reader = reader
        thread = FileThread(reader.path, anyio.CapacityLimiter(1), translated)
        self.last_serial = thread.wrap(reader.last_serial)
        self.count = thread.wrap(reader.count)
        self.current = thread.wrap(reader.current)
        self.since = thread.wrap(reader.since)

    @property
    def location(self) -> str:
        """The file, for messages."""
        return str(self._reader.path)

    @property
    def id(self) -> str:
        """The id of the file, 32 hexadecimal digits."""
        return self._reader.id

    @property
    def merged(self) -> Collection[str]:
        """The ids of files that were merged into this one."""
        return self._reader.merged


@asynccontextmanager
async def open_port(path: Path) -> AsyncIterator[SqliteAnswers | None]:
    """The answers file at ``path`` as the engine's port, while the context lasts; None when there is none.

    Raises:
        AnswersError: It cannot be used.
    """
    reader = await to_thread.run_sync(open_reader, path)
    try:
        yield None if reader is None else SqliteAnswers(reader)
    finally:
        if reader is not None:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(reader.close)
