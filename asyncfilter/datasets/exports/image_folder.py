"""A folder of pictures with ``metadata.jsonl``, as the loader ``imagefolder`` of Hugging Face's ``datasets`` reads it.

metadata.jsonl                   one line a picture, in the order of examination
000000/000000042.jpg             the 42nd image examined; a thousand a folder
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from asyncfilter.datasets.exports.pictures import PictureRecord

METADATA = "metadata.jsonl"
EARLY_BYTES = 100_000
"""How far loaders certainly read before they decide the types of all lines: ``datasets`` reads blocks of 320 kB."""
_PER_FOLDER = 1000
_BLOCK_BYTES = 1024 * 1024
_OURS = re.compile(r"[0-9]{6,}/[0-9]{9,}\.[a-z]{3,4}")


def is_of_image_folder(path: str) -> bool:
    """Whether a file, by its path in a folder, is one that such a folder has."""
    return path == METADATA or _OURS.fullmatch(path) is not None


class ImageFolderWriter:
    """Writes pictures and their metadata; a context, at whose end the metadata are complete.

    Loaders decide types by the first lines, and fail at a later one that has another type, such as a box after many
    lines without one. Where the first line that shows a type comes late, it is moved to the beginning.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encode = msgspec.json.Encoder().encode
        self._metadata: BinaryIO = (folder / METADATA).open("wb")
        self._made = -1
        self._typed: frozenset[str] = frozenset()
        self._late: list[tuple[int, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._metadata.close()
        if kind is None and self._late:
            self._move_up()

    def write(self, seq: int, extension: str, record: PictureRecord, content: bytes) -> None:
        """See ``PictureWriter``."""
        group = seq // _PER_FOLDER
        folder = self._folder / f"{group:06d}"
        if group != self._made:
            folder.mkdir(exist_ok=True)
            self._made = group
        name = f"{seq:09d}.{extension}"
        (folder / name).write_bytes(content)
        line = self._encode({"file_name": f"{folder.name}/{name}", **msgspec.structs.asdict(record)}) + b"\n"
        self._note_types(record, line)
        self._metadata.write(line)

    def _note_types(self, record: PictureRecord, line: bytes) -> None:
        if len(self._typed) == len(_MAYBE_EMPTY):
            return
        new = frozenset(name for name, is_there in _MAYBE_EMPTY.items() if is_there(record)) - self._typed
        if new:
            self._typed |= new
            if self._metadata.tell() > EARLY_BYTES:
                self._late.append((self._metadata.tell(), line))

    def _move_up(self) -> None:
        path = self._folder / METADATA
        ordered = path.with_suffix(".new")
        with path.open("rb") as lines, ordered.open("wb") as out:
            out.writelines(line for _, line in self._late)
            for at, line in self._late:
                _copy(lines, out, at - lines.tell())
                lines.seek(len(line), os.SEEK_CUR)
            shutil.copyfileobj(lines, out)
        ordered.replace(path)


_MAYBE_EMPTY: Mapping[str, Callable[[PictureRecord], object]] = {
    "label": lambda record: record.label,
    "size": lambda record: record.width,
    "labels": lambda record: record.labels,
    "objects": lambda record: record.objects.bbox,
}
"""Fields whose types show only where they are not empty."""


def _copy(lines: BinaryIO, out: BinaryIO, size_bytes: int) -> None:
    while size_bytes > 0:
        block = lines.read(min(_BLOCK_BYTES, size_bytes))
        out.write(block)
        size_bytes -= len(block)
