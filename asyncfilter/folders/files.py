"""Files as objects: their ETags, the paths of keys, and the translation of the system's errors.

Invariants: a file counts as the one examined while size, modification time in nanoseconds, and inode are the same; no
path that is opened or written is outside its root.
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
from asyncfilter.policy.targets import is_plain

NO_TEXT = "name-is-not-utf-8"
"""ETag of a file whose name is not UTF-8: it is listed with its bytes as escapes, and not examined."""

_BLOCKED = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP, errno.EINVAL}
_FOR_ALL = {
    errno.ENOSPC: "Free space where the targets are, then repeat the command; it continues.",
    errno.EDQUOT: "Free space where the targets are, then repeat the command; it continues.",
    errno.EROFS: "Choose targets that can be written.",
}


def etag_of(status: os.stat_result) -> str:
    """The ETag of a file, which any write or replacement changes: 16 hex digits each of mtime (ns) and inode.

    The hyphen distinguishes it from a hash of the content, by which equal images in S3 are recognised.
    """
    mask = (1 << 64) - 1
    return f"{status.st_mtime_ns & mask:016x}-{status.st_ino & mask:016x}"


def check_same(image: ObjectRef, status: os.stat_result) -> None:
    """Check that a file is the one that was examined.

    Raises:
        ImageError: ``changed``, or ``vanished`` when the path is no longer a file.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{image.uri}: is no longer a file", code="vanished")
    if etag_of(status) != image.etag or status.st_size != image.size_bytes:
        raise ImageError(f"{image.uri}: changed since it was examined", code="changed")


def source_path(image: ObjectRef) -> Path:
    """The path of an image's file.

    Raises:
        ImageError: ``invalid_name``; or ``outside_source`` for a symbolic link that leads out of the folder, and for a
            key that does, which no listing has (a checkpoint may come from somebody else).
    """
    if image.etag == NO_TEXT:
        raise ImageError(
            f"{image.uri}: the file's name is not text in UTF-8 (here its bytes are escaped)",
            code="invalid_name",
            remedy="Rename the files, for instance with convmv.",
        )
    root = folder_of(image.bucket)
    path = root / image.key
    link = path if path.is_symlink() else path.parent
    if not real_path(link).is_relative_to(real_path(root)):
        raise ImageError(
            f"{image.uri}: leads out of the source, to {real_path(link)}",
            code="outside_source",
            remedy="Choose a source that holds the files, or replace symbolic links with hard links.",
        )
    return path


def real_path(path: Path) -> Path:
    """The path without symbolic links, as far as it can be followed; never raises for links that lead in a circle."""
    return Path(os.path.realpath(path))


def check_listable(image: ObjectRef) -> None:
    """Raise the error of listing a folder that could not be listed.

    Raises:
        ImageError: ``changed``: it can be listed now.
        OSError: It still cannot.
    """
    with os.scandir(folder_of(image.bucket) / image.key) as found:
        next(found, None)
    raise ImageError(f"{image.uri}: the folder can be listed now", code="changed")


def open_file(image: ObjectRef) -> BinaryIO:
    """Open the file of an image for reading; never blocks, even if a pipe replaced the file.

    Raises:
        ImageError: As ``source_path``.
        OSError: It cannot be opened.
    """
    return os.fdopen(os.open(source_path(image), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def target_path(target: S3Location, source_root: Path) -> Path:
    """The path of a target; its folder exists, durably, on return.

    Raises:
        ImageError: ``target_unsafe`` for a target that is not a plain path below its folder, or is inside the source.
        OSError: Its folder cannot be created.
    """
    if not is_plain(target.key):
        raise ImageError(f"{target.uri}: not a plain path below its folder", code="target_unsafe")
    names = target.key.split("/")
    folder = folder_of(target.bucket).joinpath(*names[:-1])
    if real_path(folder).is_relative_to(source_root):
        raise ImageError(f"{target.uri}: is inside the source, through a symbolic link", code="target_unsafe")
    # Found before they are created: the name of each new folder has to be made durable in its parent.
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)
    return folder / names[-1]


def sync(folder: Path) -> None:
    """Make the names in a folder durable, where the system supports it."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def reading(image: ObjectRef) -> Iterator[None]:
    """Translate the errors of reading an image to the package's errors.

    Raises:
        ImageError: ``vanished``, ``access_denied``, ``invalid_name`` for a name that the system does not accept, or
            ``invalid_link`` for links in a circle.
        TransientError: Anything else.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
        raise ImageError(f"{image.uri}: the file no longer exists", code="vanished") from exc
    except PermissionError as exc:
        raise ImageError.access_denied(
            f"{image.uri}: may not be read", remedy="Make files and folders of the source readable (chmod)."
        ) from exc
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:
            raise ImageError(f"{image.uri}: {exc.strerror}", code="invalid_name") from exc
        if exc.errno == errno.ELOOP:
            raise ImageError(f"{image.uri}: a symbolic link that leads to itself", code="invalid_link") from exc
        raise TransientError(f"{image.uri}: {exc.strerror or exc}", may_be_billed=False) from exc


@contextmanager
def writing(target: S3Location) -> Iterator[None]:
    """Translate the errors of writing a target to the package's errors.

    Raises:
        ImageError: ``target_blocked`` when the path is taken by something other than a file, or ``target_too_long``.
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
        message = f"{target.uri}: {exc.strerror or exc}"
        if exc.errno == errno.ENAMETOOLONG:
            remedy = "Shorten the target under actions."
            raise ImageError(message, code="target_too_long", remedy=remedy) from exc
        if exc.errno in _FOR_ALL:
            raise AccessError(message, hint=_FOR_ALL[exc.errno]) from exc
        if exc.errno in _BLOCKED:
            raise ImageError(message, code="target_blocked", remedy="Choose an empty target.") from exc
        raise TransientError(message, may_be_billed=False) from exc
