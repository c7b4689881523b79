"""When two subjects are the same image: one is the answer about the other, whatever its name.

They are when they have the same bucket, key, ETag and size; or the same content; or the same size and ETag, where the
ETag is that of an object uploaded in one part (32 hexadecimal digits: the MD5 of the content, or unique). What is the
same as a third one is the same as each other.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Sequence

from asyncfilter.records.answers import Subject

_ONE_PART = re.compile(r"[0-9a-fA-F]{32}")

Name = tuple[str, str, str, int]
"""Bucket, key, ETag and size."""


def name_of(subject: Subject) -> Name:
    """The name of a version of an object, which no other subject has."""
    return subject.bucket, subject.key, subject.etag, subject.size_bytes


def names_content(etag: str) -> bool:
    """Whether an ETag is the same for the same content wherever it is: that of an object uploaded in one part."""
    return _ONE_PART.fullmatch(etag) is not None


def marks_of(subject: Subject) -> Iterator[Hashable]:
    """What a subject is recognized by: two subjects that share one of these are the same image."""
    yield name_of(subject)
    if subject.content is not None:
        yield subject.content
    if names_content(subject.etag):
        yield subject.etag, subject.size_bytes


class Images:
    """Groups of subjects that are the same image, as subjects are added (a union-find structure)."""

    def __init__(self, subjects: Iterable[Subject] = ()) -> None:
        self._subjects: list[Subject] = []
        self._parents: list[int] = []
        self._by_mark: dict[Hashable, int] = {}
        for subject in subjects:
            self.add(subject)

    def add(self, subject: Subject) -> int:
        """Add a subject.

        Returns:
            Its number, from 0 in the order of adding.
        """
        number = len(self._parents)
        self._subjects.append(subject)
        self._parents.append(number)
        for mark in marks_of(subject):
            self._parents[self._root(number)] = self._root(self._by_mark.setdefault(mark, number))
        return number

    def image_of(self, number: int) -> int:
        """The image of the subject with this number: a number that all its subjects have, until one is added."""
        return self._root(number)

    def with_marks(self, marks: Iterable[Hashable]) -> frozenset[int]:
        """The images that have a subject with one of ``marks``; a number is valid until a subject is added."""
        by_mark = self._by_mark
        return frozenset(self._root(by_mark[mark]) for mark in marks if mark in by_mark)

    def groups(self) -> list[Sequence[Subject]]:
        """The subjects of each image, in the order of adding."""
        found: dict[int, list[Subject]] = {}
        for number, subject in enumerate(self._subjects):
            found.setdefault(self._root(number), []).append(subject)
        return list(found.values())

    def _root(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number
