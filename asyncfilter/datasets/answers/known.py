"""The images that answers may be about: those of a job's checkpoint, or the pictures of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from asyncfilter.records.answers import Subject


class KnownImages(Protocol):
    """Images in one bucket, or folder."""

    @property
    def bucket(self) -> str:
        """As ``ObjectRef.bucket``."""
        ...

    def find(self, keys: Sequence[str]) -> Mapping[str, Subject]:
        """The present version of each of ``keys`` that is known."""
        ...
