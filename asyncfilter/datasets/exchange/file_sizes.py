"""Images in a local folder: which there are for a label file, and their sizes by their headers."""

from __future__ import annotations

import os
from pathlib import Path

from asyncfilter.datasets.exchange.label_files import opened
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.policy.header import MAX_HEADER_BYTES
from asyncfilter.policy.upright import read_upright

_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png"})
_FIRST_BYTES = 64 * 1024


def image_size(path: Path) -> ImageSize | None:
    """The size of an upright image; None when its header does not tell it.

    Raises:
        OSError: The file cannot be read, or is no regular file.
    """
    with opened(path) as file:
        file_bytes = os.fstat(file.fileno()).st_size
        length_bytes = min(_FIRST_BYTES, file_bytes)
        while True:
            file.seek(0)
            head = file.read(length_bytes)
            found = read_upright(head, is_whole=length_bytes >= file_bytes)
            if not found.header.need_bytes or length_bytes >= min(file_bytes, MAX_HEADER_BYTES):
                break
            length_bytes = min(max(found.header.need_bytes + _FIRST_BYTES, 4 * length_bytes), file_bytes)
    upright = found.upright
    return None if upright is None else ImageSize(upright.width, upright.height, upright.channels or 3)


class ImageFolder:
    """The images below a folder, by their path without extension.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, dict[str, str]] = {}

    def find(self, stem: str) -> str | None:
        """The path, below the folder, of the image with a path but for the extension; None when there is none."""
        folder, _, last = stem.rpartition("/")
        if folder not in self._folders:
            self._folders = {folder: self._listed(folder)}  # label files come folder by folder
        name = self._folders[folder].get(last)
        return None if name is None else f"{folder}/{name}" if folder else name

    def size(self, name: str) -> ImageSize | None:
        """The size of an image by its path below the folder; None when it cannot be read."""
        try:
            return image_size(self._root / name)
        except (OSError, ValueError):
            return None

    def _listed(self, folder: str) -> dict[str, str]:
        try:
            names = sorted(path.name for path in (self._root / folder).iterdir())
        except OSError:
            return {}
        found: dict[str, str] = {}
        for name in names:
            path = Path(name)
            if path.suffix.lower() in _EXTENSIONS:
                found.setdefault(path.stem, name)
        return found
