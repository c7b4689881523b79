"""A folder of pictures with ``metadata.jsonl``, as the loader ``imagefolder`` of Hugging Face's ``datasets`` reads it.

metadata.jsonl                   one line a picture, in the order of examination
000000/000000042.jpg             the 42nd image examined; a thousand a folder
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from asyncfilter.datasets.exports.pictures import PictureRecord

METADATA = "metadata.jsonl"
_PER_FOLDER = 1000
_OURS = re.compile(r"[0-9]{6,}/[0-9]{9,}\.[a-z]{3,4}")


def is_of_image_folder(path: str) -> bool:
    """Whether a file, by its path in a folder, is one that such a folder has."""
    return path == METADATA or _OURS.fullmatch(path) is not None


class ImageFolderWriter:
    """Writes pictures and their metadata; a context.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._encode = msgspec.json.Encoder().encode
        self._metadata: BinaryIO = (folder / METADATA).open("wb")
        self._made = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._metadata.close()

    def write(self, seq: int, extension: str, record: PictureRecord, content: bytes) -> None:
        """See ``PictureWriter``."""
        group = seq // _PER_FOLDER
        folder = self._folder / f"{group:06d}"
        if group != self._made:
            folder.mkdir(exist_ok=True)
            self._made = group
        name = f"{seq:09d}.{extension}"
        (folder / name).write_bytes(content)
        line = {"file_name": f"{folder.name}/{name}", **msgspec.structs.asdict(record)}
        self._metadata.write(self._encode(line) + b"\n")
