"""Copies, hard links and deletes of files.

Invariants: a target is there whole or not at all, under its own name only when its bytes are on disk; only the file
that was examined is copied or deleted; a repeat of an action is harmless. A process that is killed may leave a
part of a copy behind, ``.asyncfilter-*.part`` beside the target.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread

from asyncfilter.datasets.folder.files import (
    check_same,
    etag_of,
    open_file,
    reading,
    source_path,
    sync,
    target_path,
    writing,
)
from asyncfilter.errors import AccessError, ImageError, UsageError
from asyncfilter.model import ActionKind, Effect, IfExists, ObjectRef, S3Location, folder_of

WRITES_AT_ONCE = 16
_BLOCK_BYTES = 1024 * 1024


_UNLINKABLE = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class UnlinkableError(AccessError):
    """Another file system, or one without hard links: then no file of the job can be linked."""


class FolderSink:
    """``Sink`` between folders.

    Args:
        source: The folder that the images are in; nothing is written into it.
    """

    def __init__(self, source: Path) -> None:
        self._source = source.resolve()
        self._threads = anyio.CapacityLimiter(WRITES_AT_ONCE)

    async def perform(self, effect: Effect) -> None:
        """Copy or link a file; see ``Sink``.

        Raises:
            UsageError: The kind of action is another one.
        """
        if effect.kind is not ActionKind.COPY:
            raise UsageError(f"a run does nothing of kind {effect.kind} to files", hint="Use copy, link or none.")
        await anyio.to_thread.run_sync(self.copy, effect, limiter=self._threads)

    def copy(self, effect: Effect) -> str:
        """Copy or link a file; returns what stands for the ETag of the file at the target."""
        target = _target(effect)
        with writing(target):
            path = target_path(target, self._source)
            _check_apart(effect, path)
            if effect.if_exists is not IfExists.OVERWRITE and os.path.lexists(path):
                return _found(effect, path)
            with _part(effect, path) as part:
                if effect.if_exists is IfExists.OVERWRITE:
                    part.replace(path)
                else:
                    try:
                        _take_name(part, path)
                    except FileExistsError:
                        return _found(effect, path)
            sync(path.parent)
            return etag_of(path.stat())

    def standing(self, effect: Effect) -> str | None:
        """What stands for the ETag of the file at the target, if it has the content of the source; None without one.

        Raises:
            ImageError: ``target_exists``; ``changed`` or ``vanished``, of the source; ``target_unsafe``.
        """
        target = _target(effect)
        path = folder_of(target.bucket) / target.key
        with writing(target):
            if not os.path.lexists(path):
                return None
            if path.parent.resolve().is_relative_to(self._source):
                raise ImageError(f"{target.uri}: lies in the source", code="target_unsafe")
            _check_apart(effect, path)
            return _found(effect, path)


def delete(image: ObjectRef) -> None:
    """Delete a file, if it is the one examined; of a symbolic link, the link.

    Raises:
        ImageError: ``changed`` or ``vanished``.
        PermissionDeniedError: Files may not be deleted there.
    """
    with reading(image):
        path = source_path(image)
        check_same(image, path.stat())
    with writing(S3Location(image.bucket, image.key)), suppress(FileNotFoundError):
        path.unlink()
        sync(path.parent)


@contextmanager
def _part(effect: Effect, path: Path) -> Iterator[Path]:
    """The whole of the file beside its target, under a name that nobody has; gone when this ends."""
    part = path.with_name(f".asyncfilter-{secrets.token_hex(8)}.part")
    try:
        if effect.is_link:
            _link(effect, part)
        else:
            _write(effect, part)
        yield part
    finally:
        part.unlink(missing_ok=True)


def _take_name(part: Path, path: Path) -> None:
    """Give a file a name that nobody has; where there are no hard links, an empty file holds the name meanwhile.

    Raises:
        FileExistsError: Somebody has it.
    """
    try:
        path.hardlink_to(part)
    except OSError as exc:
        if exc.errno not in _UNLINKABLE:
            raise
        path.touch(exist_ok=False)
        part.replace(path)


def _link(effect: Effect, part: Path) -> None:
    image = effect.source
    with reading(image):
        path = source_path(image).resolve()
        check_same(image, path.stat())
    try:
        part.hardlink_to(path)
    except OSError as exc:
        if exc.errno not in _UNLINKABLE:
            raise
        raise UnlinkableError(
            f"{_target(effect).uri}: no hard link of {image.uri} can be there ({exc.strerror})",
            hint="Use copy in place of link.",
        ) from exc
    check_same(image, part.stat())


def _write(effect: Effect, part: Path) -> None:
    """Copy, with permissions and the time of change, and see to it that all is on disk."""
    image = effect.source
    with reading(image):
        source = open_file(image)
    with source, part.open("xb") as out:
        status = os.fstat(source.fileno())
        check_same(image, status)
        shutil.copyfileobj(source, out, _BLOCK_BYTES)
        out.flush()
        os.fchmod(out.fileno(), stat.S_IMODE(status.st_mode))
        os.utime(out.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(out.fileno())
        check_same(image, os.fstat(source.fileno()))


def _check_apart(effect: Effect, path: Path) -> None:
    """See that the target is not the source itself, in a folder that is mounted twice.

    What is deleted at the one place would be gone at the other. A file that has no other name, or whose folder is the
    source's, is no hard link of it; folders are told by their inode, which is the same through every mount.

    Raises:
        ImageError: ``target_unsafe``.
    """
    image = effect.source
    with suppress(FileNotFoundError):
        standing = path.stat()
        with reading(image):
            source = source_path(image)
            check_same(image, source.stat())
            folders = {path.parent.stat().st_ino, source.parent.stat().st_ino}
        if etag_of(standing) == image.etag and (standing.st_nlink == 1 or len(folders) == 1):
            raise ImageError(f"{_target(effect).uri}: is {image.uri} itself, by another way", code="target_unsafe")


def _found(effect: Effect, path: Path) -> str:
    """What to make of a file that stands at the target already.

    Raises:
        ImageError: ``target_exists``.
    """
    if effect.if_exists is IfExists.FAIL and not _is_same_content(effect.source, path):
        raise ImageError(
            f"{_target(effect).uri}: another file stands there",
            code="target_exists",
            remedy="Set if_exists to skip or overwrite beside copy, or choose an empty target.",
        )
    return etag_of(path.lstat())


def _is_same_content(image: ObjectRef, path: Path) -> bool:
    with reading(image), open_file(image) as source:
        check_same(image, os.fstat(source.fileno()))
        if not path.is_file() or path.stat().st_size != image.size_bytes:
            return False
        with path.open("rb") as other:
            while block := source.read(_BLOCK_BYTES):
                if block != other.read(_BLOCK_BYTES):
                    return False
    return True


def _target(effect: Effect) -> S3Location:
    if effect.target is None:
        raise UsageError(f"{effect.source.uri}: a {effect.kind} needs a target", hint="Set actions.*.copy.")
    return effect.target
