"""The pictures of a folder that no job has: every one waits to be decided."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

import anyio.from_thread

from asyncfilter.records.answers import Subject
from asyncfilter.review.book import Book
from asyncfilter.review.rows import FAR, VERDICT_CODES, CardRow, Chunk, Mark, Part

ID_BITS = 52
"""Bits of an id: a page holds it exactly, and two pictures of a million share one in one case of ten thousand."""

LISTING_SHARE = 20
"""The folder is listed at most in a twentieth of the time."""
_BATCH = 1000


class FolderRows:
    """``Rows`` of a folder.

    An id is made from the version of a file, so that it is the same after a restart and never that of another one.

    Args:
        list_files: The present files, by key.
    """

    def __init__(self, list_files: Callable[[], Coroutine[Any, Any, Sequence[Subject]]]) -> None:
        self._list_files = list_files
        self._files: dict[int, Subject] = {}
        self._ids: dict[tuple[str, str, str, int], int] = {}
        self._mark: Mark | None = None
        self._next_s = 0.0

    def mark(self) -> Mark | None:
        """See ``Rows``; a large folder is not listed again at each look."""
        began_s = time.monotonic()
        if self._mark is None or began_s >= self._next_s:
            self._mark = self._listed()
            now_s = time.monotonic()
            self._next_s = now_s + LISTING_SHARE * (now_s - began_s)
        return self._mark

    def _listed(self) -> Mark:
        files: dict[int, Subject] = {}
        for subject in anyio.from_thread.run(self._list_files):
            id_ = _id_of(subject)
            while id_ in files:
                id_ += 1
            files[id_] = subject
        self._files = files
        self._ids = {_version(subject): id_ for id_, subject in files.items()}
        digest = hashlib.blake2b(",".join(map(str, sorted(files))).encode(), digest_size=16)
        return Mark("folder", digest.hexdigest(), 1 << ID_BITS)

    def scan(self, part: Part, book: Book, *, after: int = 0) -> Iterator[Chunk]:
        """See ``Rows``; ids do not rise, so that no row is behind another one."""
        if part is not Part.BAND or after:
            return
        files = list(self._files.items())
        for at in range(0, len(files), _BATCH):
            some = files[at : at + _BATCH]
            states = [(id_, book.of(subject)) for id_, subject in some]
            yield Chunk(
                ids=[id_ for id_, _ in some],
                verdicts=bytes([VERDICT_CODES[None]]) * len(some),
                distances=[FAR] * len(some),
                states=[(id_, state) for id_, state in states if state is not None],
            )

    def cards(self, ids: Sequence[int]) -> Sequence[CardRow]:
        """See ``Rows``."""
        files = self._files
        return [CardRow(id=id_, subject=files[id_]) for id_ in ids if id_ in files]

    def find(self, subjects: Sequence[Subject]) -> Sequence[Sequence[int]]:
        """See ``Rows``."""
        found = (self._ids.get(_version(one)) for one in subjects)
        return [[] if id_ is None else [id_] for id_ in found]

    def count(self) -> int:
        """See ``Rows``."""
        return len(self._files)

    def pulse(self) -> Mapping[str, Any] | None:
        """See ``Rows``."""
        return None

    def is_running(self) -> bool:
        """See ``Rows``."""
        return False


def _version(subject: Subject) -> tuple[str, str, str, int]:
    return subject.bucket, subject.key, subject.etag, subject.size_bytes


def _id_of(subject: Subject) -> int:
    named = f"{subject.key}\0{subject.etag}\0{subject.size_bytes}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(named, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - ID_BITS) or 1
