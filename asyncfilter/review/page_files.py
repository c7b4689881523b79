"""The files of the page: an allow-list that is made once, from the folder that is part of the package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("page")

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
"""Media types by suffix; files with any other suffix are not served."""

_INDEX = "index.html"


class PageFile(NamedTuple):
    """A file of the page, and its media type."""

    body: bytes
    kind: str


def read_page(folder: Path = FOLDER) -> Mapping[str, PageFile]:
    """All files of the page by their routes; ``/`` is the page itself.

    Nothing is looked up on disk after this, so that no route can reach another file.
    """
    found: dict[str, PageFile] = {}
    for path in sorted(folder.rglob("*")):
        kind = _KINDS.get(path.suffix)
        if kind is not None and path.is_file() and not path.is_symlink():
            found[f"/{path.relative_to(folder).as_posix()}"] = PageFile(path.read_bytes(), kind)
    if f"/{_INDEX}" in found:
        found["/"] = found[f"/{_INDEX}"]
    return found
