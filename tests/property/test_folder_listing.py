"""A folder is listed as S3 lists a bucket: completely, in the byte order of the keys, after any key."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.folders import FolderSource
from asyncfilter.folders import source as folder_source

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)
TREES = st.recursive(
    st.dictionaries(NAMES, st.none(), max_size=6),
    lambda inner: st.dictionaries(NAMES, st.none() | inner, max_size=5),
    max_leaves=30,
)


def make_files(folder: Path, tree: dict[str, object], prefix: str = "") -> list[str]:
    """Make the files of ``tree``; their keys."""
    keys = []
    folder.mkdir(exist_ok=True)
    for name, inner in tree.items():
        if isinstance(inner, dict):
            keys += make_files(folder / name, inner, f"{prefix}{name}/")
        else:
            (folder / name).write_bytes(b"x")
            keys.append(prefix + name)
    return keys


def listed(source: FolderSource, after: str | None = None) -> list[str]:
    """All keys after ``after``, page by page."""

    async def pages() -> list[str]:
        keys: list[str] = []
        cursor = after
        while True:
            page = await source.page(cursor)
            keys += [item.key for item in page.objects]
            if page.is_last:
                return keys
            cursor = keys[-1]

    return anyio.run(pages)


@settings(max_examples=60, deadline=None)
@given(TREES, st.integers(1, 4), st.integers(1, 5), st.data())
def test_order_and_pages_are_those_of_s3(tree: dict[str, object], page: int, chunk: int, data: st.DataObject) -> None:
    """With any sizes of page and chunk, each key comes once, in the order of UTF-8 bytes, after any key."""
    before, folder_source.PAGE_OBJECTS = folder_source.PAGE_OBJECTS, page
    try:
        with tempfile.TemporaryDirectory() as root:
            keys = sorted(make_files(Path(root), tree), key=os.fsencode)
            assert listed(FolderSource(Path(root), chunk_names=chunk)) == keys
            after = data.draw(st.sampled_from(keys) if keys else NAMES)
            assert listed(FolderSource(Path(root), chunk_names=chunk), after) == [
                key for key in keys if os.fsencode(key) > os.fsencode(after)
            ]
    finally:
        folder_source.PAGE_OBJECTS = before
