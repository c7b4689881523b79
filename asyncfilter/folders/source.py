"""Listing a folder as S3 lists a bucket: every file below it, in the order of the UTF-8 bytes of their keys.

The listing never leaves the folder: symbolic links to folders are not followed and are listed as folders; links to
files are listed as files. What cannot be looked at is listed as ``UNREADABLE``, and fails alone. Memory is bounded by
``CHUNK_NAMES`` for each level of folders, regardless of their size.
"""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread

from asyncfilter.errors import AccessError, BucketNotFoundError, PermissionDeniedError
from asyncfilter.folders.files import NO_TEXT, etag_of, real_path
from asyncfilter.model import UNREADABLE, ListedObject
from asyncfilter.ports.examine import Page

PAGE_OBJECTS = 1000
CHUNK_NAMES = 100_000
"""Names of one folder that are sorted at a time; a larger folder is read once per this many names."""


_OUT_OF_MEANS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""Errors of the process and not of one file."""


class FolderSource:
    """``Source`` and ``Heads``: the files below a folder.

    Args:
        root: The folder.
        chunk_names: Names sorted at a time.
    """

    def __init__(self, root: Path, *, chunk_names: int = CHUNK_NAMES) -> None:
        self._root = root
        self._chunk_names = chunk_names
        self._walk: Iterator[ListedObject] = iter(())
        self._last: str | None = None
        self._is_begun = False

    async def page(self, after: str | None) -> Page:
        """Up to 1,000 files that follow the key ``after``; see ``Source``."""
        return await anyio.to_thread.run_sync(self._page, after)

    async def head(self, key: str) -> ListedObject | None:
        """See ``Heads``; a key that the listing of the folder cannot have is of no file."""
        return await anyio.to_thread.run_sync(self._head, key)

    def _head(self, key: str) -> ListedObject | None:
        names = key.split("/")
        if {"", ".", ".."} & set(names) or "\0" in key:
            return None
        path = self._root.joinpath(*names)
        # As the listing, which does not follow links to folders.
        if real_path(path.parent) != real_path(self._root).joinpath(*names[:-1]):
            return None
        found = _listed(os.fsencode(path), key, is_text=True)
        return None if found is None or found.key != key else found

    def _page(self, after: str | None) -> Page:
        if not self._is_begun or after != self._last:
            self._walk = self._below(os.fsencode(self._root), (after or "").encode())
            self._is_begun = True
        try:
            objects = list(islice(self._walk, PAGE_OBJECTS))
        except BaseException:
            self._is_begun = False
            raise
        self._last = objects[-1].key if objects else after
        return Page(objects, is_last=len(objects) < PAGE_OBJECTS)

    def _below(self, root: bytes, after: bytes) -> Iterator[ListedObject]:
        """Files below ``root`` that follow the key ``after``.

        Raises:
            AccessError: ``root`` cannot be listed.
        """
        try:
            # A list and not recursion: a path can have more folders than Python has stack frames.
            unfinished = [(b"", self._begun(root, b"", after))]
        except OSError as exc:
            raise _unlistable(root, exc) from exc
        while unfinished:
            prefix, entries = unfinished[-1]
            entry = next(entries, None)
            if entry is None:
                unfinished.pop()
                continue
            key = prefix + entry.name
            if not entry.is_folder:
                found = _listed(entry.path, key.decode(), is_text=entry.is_text)
            else:
                try:
                    unfinished.append((key, self._begun(entry.path, key, after)))
                    continue
                except OSError as exc:
                    found = _unreadable(entry.path, key.decode(), exc) if key > after else None
            if found is not None:
                yield found

    def _begun(self, folder: bytes, prefix: bytes, after: bytes) -> Iterator[_Entry]:
        """``_entries``, of which the first is read already.

        Raises:
            OSError: The folder cannot be listed.
        """
        entries = self._entries(folder, prefix, after)
        first = next(entries, None)
        return iter(()) if first is None else chain([first], entries)

    def _entries(self, folder: bytes, prefix: bytes, after: bytes) -> Iterator[_Entry]:
        """The entries of a folder that can have files after ``after``, in order.

        Raises:
            OSError: It cannot be listed; nothing was listed before.
            AccessError: It cannot be listed any more.
        """
        last = b""
        while True:
            try:
                fresh = (entry for entry in _held(folder) if entry.name > last)
                wanted = (entry for entry in fresh if _is_behind(prefix + entry.name, after))
                chunk = heapq.nsmallest(self._chunk_names, wanted)
            except OSError as exc:
                if not last:
                    raise
                raise _unlistable(folder, exc) from exc
            yield from chunk
            if len(chunk) < self._chunk_names:
                return
            last = chunk[-1].name


class _Entry(NamedTuple):
    """An entry of a folder; ``name`` is its part of a key. A folder's name ends in a slash, so it sorts as in S3.

    ``is_text`` is False for a name whose bytes are not UTF-8; ``name`` then has them as escapes.
    """

    name: bytes
    path: bytes
    is_folder: bool
    is_text: bool


def _entry(found: os.DirEntry[bytes]) -> _Entry:
    name = found.name.decode("utf-8", "backslashreplace").encode()
    try:
        is_folder = found.is_dir(follow_symlinks=False)
    except OSError:  # in a folder whose names may be read and nothing else
        is_folder = False
    is_text = name == found.name
    return _Entry(name + b"/" if is_folder else name, found.path, is_folder, is_text)


def _is_behind(key: bytes, after: bytes) -> bool:
    """Whether a file with this key, or one in the folder of this key, follows ``after``."""
    return key > after or (key.endswith(b"/") and after.startswith(key))


def _held(folder: bytes) -> Iterator[_Entry]:
    """The entries of a folder, unordered.

    Raises:
        OSError: It cannot be listed.
    """
    with os.scandir(folder) as found:
        yield from map(_entry, found)


def _listed(path: bytes, key: str, *, is_text: bool) -> ListedObject | None:
    """A file as an entry of a listing.

    Returns:
        None for an entry that is not a file, and for a file that was deleted in the meantime. A broken link is listed
        as an empty file, a link to a folder as S3 lists folders.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  a path in bytes
    except FileNotFoundError:
        return ListedObject(key, 0, NO_TEXT) if os.path.islink(path) else None  # noqa: PTH114  likewise
    except OSError as exc:
        return _unreadable(path, key, exc, is_text=is_text)
    if stat.S_ISDIR(status.st_mode):
        return ListedObject(f"{key}/", 0, NO_TEXT)
    if not stat.S_ISREG(status.st_mode):
        return None
    return ListedObject(key, status.st_size, etag_of(status) if is_text else NO_TEXT)


def _unreadable(path: bytes, key: str, exc: OSError, *, is_text: bool = True) -> ListedObject | None:
    """The entry for a file or folder that cannot be looked at: it fails alone when it is examined.

    Returns:
        None for one that was deleted in the meantime.

    Raises:
        AccessError: The process has no means to look at any other either.
    """
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return None
    if exc.errno in _OUT_OF_MEANS:
        raise _unlistable(path, exc) from exc
    return ListedObject(key, 1, UNREADABLE if is_text else NO_TEXT)  # not empty, since empty files are skipped


def check_folder(root: Path) -> None:
    """Check that a folder exists and can be listed.

    Raises:
        AccessError: It does not exist, or cannot be listed.
    """
    folder = os.fsencode(root)
    try:
        next(_held(folder), None)
    except OSError as exc:
        raise _unlistable(folder, exc) from exc


def _unlistable(folder: bytes, exc: OSError) -> AccessError:
    name = os.fsdecode(folder)
    if isinstance(exc, NotADirectoryError) and Path(name).is_file():
        return BucketNotFoundError(f"{name}: there is no such folder: it is a file", hint="Name its folder.")
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return BucketNotFoundError(f"{name}: there is no such folder", hint="Name a folder that is there.")
    if isinstance(exc, PermissionError):
        hint = "Make it readable (chmod), or choose a source below it."
        return PermissionDeniedError(f"{name}: may not be listed", hint=hint)
    return AccessError(f"{name}: cannot be listed ({exc.strerror})", hint="Check the disk or the mount.")
