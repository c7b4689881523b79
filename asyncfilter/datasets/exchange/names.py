"""File names of images in other formats: the key, or what follows its last slash."""

from __future__ import annotations

import re
from enum import StrEnum

from asyncfilter.datasets.manifests.ref_index import RefIndex

_UNSAFE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What XML or a file of lines cannot hold."""


class FileNames(StrEnum):
    """How images are called in another format."""

    KEY = "key"
    BASENAME = "basename"


def file_name(key: str, names: FileNames) -> str:
    """The file name of the image with a key."""
    return key if names is FileNames.KEY else key.rpartition("/")[2]


def stem_of(name: str) -> str:
    """A file name without its last extension."""
    folder, slash, last = name.rpartition("/")
    stem, dot, _ = last.rpartition(".")
    return f"{folder}{slash}{stem if dot and stem else last}"


def is_text(text: str) -> bool:
    """Whether a name or a label has nothing that XML or a file of lines cannot hold."""
    return _UNSAFE.search(text) is None


def is_safe_path(name: str) -> bool:
    """Whether a file of that name is below its folder."""
    return is_text(name) and "\\" not in name and all(part not in {"", ".", ".."} for part in name.split("/"))


class UsedNames:
    """Which names are in use."""

    def __init__(self) -> None:
        self._seen = RefIndex()

    def add(self, name: str) -> bool:
        """Take a name; returns whether it was free."""
        return not self._seen.add(name, 1)
