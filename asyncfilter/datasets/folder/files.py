"""Files as objects: what stands for an ETag, how a key becomes a path, and what the system's errors mean.

Invariants: a file is the one examined as long as size, time of change to the nanosecond, and inode are the same; no
path that is opened or written leaves its root.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from asyncfilter.errors import AccessError, ImageError, PermissionDeniedError, TransientError
from asyncfilter.model import ObjectRef, S3Location, folder_of

NO_TEXT = "name-is-not-utf-8"
"""Stands for the ETag of a file whose name is no text: it is listed under a spelling of its bytes, and not examined."""

_BLOCKED = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EINVAL}
_FOR_ALL = {
    errno.ENOSPC: "Free space where the targets are; the same command then goes on.",
    errno.EDQUOT: "Free space where the targets are; the same command then goes on.",
    errno.EROFS: "Choose targets that can be written.",
}


def etag_of(status: os.stat_result) -> str:
    """What changes whenever a file is written or replaced: 16 hex digits each of mtime in nanoseconds and inode.

    The hyphen tells it from a hash of the content, by which images in S3 are known as equal.
    """
    mask = (1 << 64) - 1
    return f"{status.st_mtime_ns & mask:016x}-{status.st_ino & mask:016x}"


def check_same(image: ObjectRef, status: os.stat_result) -> None:
    """See that a file is the one examined.

    Raises:
        ImageError: ``changed``, or ``vanished`` when something else than a file is there now.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{image.uri}: is not a file any more", code="vanished")
    if etag_of(status) != image.etag or status.st_size != image.size_bytes:
        raise ImageError(f"{image.uri}: changed since it was examined", code="changed")


def source_path(image: ObjectRef) -> Path:
    """Where the file of an image is.

    Raises:
        ImageError: ``invalid_name``, or ``outside_source`` for a symbolic link that leads out of the folder.
    """
    if image.etag == NO_TEXT:
        raise ImageError(
            f"{image.uri}: the file's name is not text in UTF-8 (its bytes are spelled out here)",
            code="invalid_name",
            remedy="Rename the files, for instance with convmv.",
        )
    root = folder_of(image.bucket)
    path = root / image.key
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        raise ImageError(
            f"{image.uri}: a symbolic link that leads out of the source, to {path.resolve()}",
            code="outside_source",
            remedy="Choose a source that holds the files, or put hard links in the place of symbolic ones.",
        )
    return path


def open_file(image: ObjectRef) -> BinaryIO:
    """Open the file of an image for reading; never waits, also where a pipe took its place.

    Raises:
        ImageError: As ``source_path``.
        OSError: It cannot be opened.
    """
    return os.fdopen(os.open(source_path(image), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def target_path(target: S3Location, source_root: Path) -> Path:
    """Where a target is; its folder is there, durably, when this returns.

    Raises:
        ImageError: ``target_unsafe`` for a target that is no plain path below its folder, or lies in the source.
        OSError: Its folder cannot be made.
    """
    names = target.key.split("/")
    if {"", ".", ".."} & set(names) or "\0" in target.key:
        raise ImageError(f"{target.uri}: not a plain path below its folder", code="target_unsafe")
    folder = folder_of(target.bucket).joinpath(*names[:-1])
    if folder.resolve().is_relative_to(source_root):
        raise ImageError(f"{target.uri}: lies in the source, through a symbolic link", code="target_unsafe")
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)
    return folder / names[-1]


def sync(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def reading(image: ObjectRef) -> Iterator[None]:
    """Raise what goes wrong while an image is read as what it means for the image.

    Raises:
        ImageError: ``vanished``, ``access_denied``, or ``invalid_name`` for a name the system does not take.
        TransientError: Anything else.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise ImageError(f"{image.uri}: the file is gone", code="vanished") from exc
    except PermissionError as exc:
        raise ImageError.access_denied(
            f"{image.uri}: may not be read", remedy="Make the files of the source readable (chmod)."
        ) from exc
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENAMETOOLONG}:
            raise ImageError(f"{image.uri}: {exc.strerror}", code="invalid_name") from exc
        raise TransientError(f"{image.uri}: {exc.strerror or exc}", may_be_billed=False) from exc


@contextmanager
def writing(target: S3Location) -> Iterator[None]:
    """Raise what goes wrong while a target is written as what it means for the run.

    Raises:
        ImageError: ``target_blocked`` by something else in its place, or ``target_too_long``.
        AccessError: Nothing can be written there: permission, space, file system.
        TransientError: Anything else.
    """
    try:
        yield
    except PermissionError as exc:
        raise PermissionDeniedError(
            f"{target.uri}: may not be written ({exc.strerror})", hint="Choose targets that you may write to."
        ) from exc
    except OSError as exc:
        said = f"{target.uri}: {exc.strerror or exc}"
        if exc.errno == errno.ENAMETOOLONG:
            remedy = "Shorten the target under actions."
            raise ImageError(said, code="target_too_long", remedy=remedy) from exc
        if exc.errno in _FOR_ALL:
            raise AccessError(said, hint=_FOR_ALL[exc.errno]) from exc
        if exc.errno in _BLOCKED:
            raise ImageError(said, code="target_blocked", remedy="Choose an empty target.") from exc
        raise TransientError(said, may_be_billed=False) from exc
