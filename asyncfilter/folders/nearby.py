"""Other folders near that of a source, to find out where its images are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from anyio import to_thread

from asyncfilter.model import ListedObject

T = TypeVar("T")

MOST_ENTRIES = 1000
"""Entries of one folder that are read."""

_LEVELS = 2
"""Folders above the source's that are looked at."""


class FolderPlaces:
    """``Places``: a prefix is the path of a folder with a slash at its end; only the folder itself is listed.

    Args:
        root: The folder of the source.
    """

    def __init__(self, root: Path) -> None:
        self.prefix = f"{root}/"

    def address(self, prefix: str) -> str:
        """See ``Places``."""
        return prefix

    def above(self, prefix: str) -> Sequence[str]:
        """See ``Places``."""
        parents = [str(parent) for parent in Path(prefix).parents]
        return [f"{parent}/" for parent in parents[:_LEVELS] if parent != "/"]

    async def folders(self, prefix: str) -> Sequence[str]:
        """See ``Places``."""
        return await to_thread.run_sync(_each, prefix, _subfolder)

    async def objects(self, prefix: str) -> Sequence[ListedObject]:
        """See ``Places``."""
        return await to_thread.run_sync(_each, prefix, _file)


def _each(folder: str, read: Callable[[os.DirEntry[str]], T | None]) -> list[T]:
    """What ``read`` makes of the first entries of a folder; nothing where it cannot be listed, or has no whole path."""
    if not folder.startswith("/"):
        return []
    try:
        with os.scandir(folder) as entries:
            found = [read(entry) for entry in islice(entries, MOST_ENTRIES)]
    except OSError:
        return []
    return [one for one in found if one is not None]


def _subfolder(entry: os.DirEntry[str]) -> str | None:
    return f"{entry.path}/" if entry.is_dir(follow_symlinks=False) else None


def _file(entry: os.DirEntry[str]) -> ListedObject | None:
    return ListedObject(entry.path, entry.stat().st_size, "") if entry.is_file(follow_symlinks=False) else None
