"""Which images of a manifest have equal content, by the files of a local folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from asyncfilter.datasets.manifests.source_ref import parse_source_ref


class ImageContent(NamedTuple):
    """The content of one image.

    Attributes:
        source_ref: Of the image.
        digest: Equal for equal content; None when there is no such file.
    """

    source_ref: str
    digest: str | None


def file_contents(refs: Iterable[str], folder: Path) -> Iterator[ImageContent]:
    """The content of each image, from a folder that has it under its key, or under the end of its key.

    Raises:
        OSError: A file cannot be read.
    """
    for ref in refs:
        path = local_file(ref, folder)
        yield ImageContent(ref, None if path is None else _digest(path))


def local_file(source_ref: str, folder: Path) -> Path | None:
    """The file of an image below a folder: under its key, or the longest end of it that is there; None for none."""
    place = parse_source_ref(source_ref)
    parts = [] if place is None else place.key.split("/")
    if ".." in parts or any("\0" in part for part in parts):
        return None
    for start in range(len(parts)):
        path = folder.joinpath(*[part for part in parts[start:] if part])
        if path != folder and path.is_file():
            return path
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
