"""Tar files in the form of WebDataset: ``images-000000.tar``, ``images-000001.tar`` and so on.

A sample is two members, ``000000042.jpg`` with the bytes of the 42nd image examined and ``000000042.json`` with its
record. The same samples give the same bytes.

webdataset is a part of the extra ``datasets`` and is imported when it is used.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

from asyncfilter.datasets.exports.pictures import PictureRecord
from asyncfilter.errors import UsageError

_OURS = re.compile(r"images-[0-9]{6,}\.tar")
_MODE = 0o644


def is_of_web_dataset(path: str) -> bool:
    """Whether a file, by its path in a folder, is one that such a folder has."""
    return _OURS.fullmatch(path) is not None


def webdataset() -> Any:  # noqa: ANN401  webdataset has no types
    """The library.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import webdataset as found  # noqa: PLC0415  part of an extra
    except ImportError as error:
        raise UsageError(
            f"WebDataset tars need webdataset, which cannot be imported: {error}",
            hint="Install the extra: pip install 'asyncfilter[datasets]'",
        ) from error
    return found


class WebDatasetWriter:
    """Writes samples into tar files one after the other; a context.

    Args:
        folder: An empty folder.
        shard_bytes: Most bytes of pictures in one file; a picture that is larger is alone in one.

    Attributes:
        shards: Files that were begun.
    """

    def __init__(self, folder: Path, *, shard_bytes: int) -> None:
        self._library = webdataset()
        self._folder, self._shard_bytes = folder, shard_bytes
        self._encode = msgspec.json.Encoder().encode
        self._open = ExitStack()
        self._tar: Any = None
        self._written_bytes = 0
        self.shards = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, seq: int, extension: str, record: PictureRecord, content: bytes) -> None:
        """See ``PictureWriter``."""
        if self._tar is None or self._written_bytes + len(content) > self._shard_bytes:
            self._begin_shard()
        self._written_bytes += len(content)
        self._tar.write({"__key__": f"{seq:09d}", extension: content, "json": self._encode(record)})

    def _begin_shard(self) -> None:
        self._open.close()
        out = self._open.enter_context((self._folder / f"images-{self.shards:06d}.tar").open("wb"))
        self._open.callback(_sync, out)
        self._tar = self._library.TarWriter(out, encoder=False, mode=_MODE, mtime=0)
        self._open.callback(self._tar.close)
        self.shards += 1
        self._written_bytes = 0


def _sync(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())
