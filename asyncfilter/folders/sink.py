"""Copies, hard links and deletes of files.

Invariants: a target exists complete or not at all, and has its name only once its bytes are on disk; only the file that
was examined is copied or deleted; an action can be repeated without harm. A process that was killed may leave part of
a copy beside the target, as ``.asyncfilter-*.part``.
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

from asyncfilter.errors import AccessError, ImageError, UsageError
from asyncfilter.folders.files import (
    check_same,
    etag_of,
    open_file,
    reading,
    real_path,
    source_path,
    sync,
    target_path,
    writing,
)
from asyncfilter.model import ActionKind, Effect, IfExists, ObjectRef, S3Location, folder_of

WRITES_AT_ONCE = 16
_BLOCK_BYTES = 1024 * 1024


UNLINKABLE = {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


class UnlinkableError(AccessError):
    """The target is on another file system, or on one without hard links: no file of the job can be linked."""


class FolderSink:
    """``Sink`` between folders.

    Args:
        source: The folder that the images are in; nothing is written into it.
    """

    def __init__(self, source: Path) -> None:
        self._source = real_path(source)
        self._threads = anyio.CapacityLimiter(WRITES_AT_ONCE)

    async def perform(self, effect: Effect) -> None:
        """Copy or link a file; see ``Sink``.

        Raises:
            UsageError: The effect is neither a copy nor a link.
        """
        if effect.kind is not ActionKind.COPY:
            raise UsageError(f"a run has no action {effect.kind} for files", hint="Use copy, link or none.")
        await anyio.to_thread.run_sync(self.copy, effect, limiter=self._threads)

    def copy(self, effect: Effect) -> str:
        """Copy or link a file; returns the ETag of the file at the target, as ``etag_of`` gives it."""
        target = _target(effect)
        with writing(target):
            path = target_path(target, self._source)
            _check_apart(effect, path)
            # lexists: a symbolic link that leads nowhere takes the name, too.
            if effect.if_exists is not IfExists.OVERWRITE and os.path.lexists(path):
                return _found(effect, path)
            with _part(effect, path) as part:
                if effect.if_exists is IfExists.OVERWRITE:
                    part.replace(path)
                else:
                    try:
                        _take_name(part, path)
                    except FileExistsError:
                        # Another program took the name after the check above.
                        return _found(effect, path)
            sync(path.parent)
            return etag_of(path.stat())

    def existing_copy(self, effect: Effect) -> str | None:
        """The ETag of the file at the target, if it counts as the copy; None if there is no file.

        Raises:
            ImageError: ``target_exists``; ``changed`` or ``vanished``, of the source; ``target_unsafe``.
        """
        target = _target(effect)
        path = folder_of(target.bucket) / target.key
        with writing(target):
            if not os.path.lexists(path):
                return None
            if real_path(path.parent).is_relative_to(self._source):
                raise ImageError(f"{target.uri}: is inside the source", code="target_unsafe")
            _check_apart(effect, path)
            return _found(effect, path)


def delete(image: ObjectRef) -> None:
    """Delete a file, if it is the one that was examined; of a symbolic link, the link.

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
    """A complete copy or link beside the target, under an unused name; removed on exit."""
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
    """Give a file an unused name; without hard links, an empty file reserves the name first.

    Raises:
        FileExistsError: The name is in use.
    """
    try:
        # A link and not a rename, which would replace an existing file without an error.
        path.hardlink_to(part)
    except OSError as exc:
        if exc.errno not in UNLINKABLE:
            raise
        path.touch(exist_ok=False)
        part.replace(path)


def _link(effect: Effect, part: Path) -> None:
    image = effect.source
    with reading(image):
        path = real_path(source_path(image))
        check_same(image, path.stat())
    try:
        part.hardlink_to(path)
    except OSError as exc:
        if exc.errno not in UNLINKABLE:
            raise
        raise UnlinkableError(
            f"{_target(effect).uri}: no hard link to {image.uri} is possible there ({exc.strerror})",
            hint="Use copy in place of link.",
        ) from exc
    # The path may have been replaced between check and link: the link itself shows which file it is.
    check_same(image, part.stat())


def _write(effect: Effect, part: Path) -> None:
    """Copy a file with its permissions and modification time; all of it is on disk on return."""
    image = effect.source
    with reading(image):
        source = open_file(image)
    # Made for the owner alone: who may not read the source must not read the copy while it is written.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with source, os.fdopen(os.open(part, flags, 0o600), "wb") as out:
        status = os.fstat(source.fileno())
        check_same(image, status)
        shutil.copyfileobj(source, out, _BLOCK_BYTES)
        out.flush()
        # Without set-user-ID, set-group-ID and the sticky bit: a copy has another owner.
        os.fchmod(out.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(out.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(out.fileno())
        # Checked again at the end: a write during the copy would mix two states of the file.
        check_same(image, os.fstat(source.fileno()))


def _check_apart(effect: Effect, path: Path) -> None:
    """Check that the target is not the source itself, in a folder that is mounted twice.

    A delete under one mount would delete the file under the other. A target with the source's inode is the source, and
    not a hard link to it, if it has only one name or is in the source's folder. Folders are compared by inode, which is
    the same through every mount.

    Raises:
        ImageError: ``target_unsafe``.
    """
    image = effect.source
    with suppress(FileNotFoundError):
        existing_copy = path.stat()
        with reading(image):
            source = source_path(image)
            check_same(image, source.stat())
            folders = {path.parent.stat().st_ino, source.parent.stat().st_ino}
        if etag_of(existing_copy) == image.etag and (existing_copy.st_nlink == 1 or len(folders) == 1):
            raise ImageError(f"{_target(effect).uri}: is {image.uri} itself, by another path", code="target_unsafe")


def _found(effect: Effect, path: Path) -> str:
    """The ETag of a file that exists at the target already, if it counts as the copy.

    Raises:
        ImageError: ``target_exists``.
    """
    if effect.if_exists is IfExists.FAIL and not _is_same_content(effect.source, path):
        raise ImageError(
            f"{_target(effect).uri}: the target has another file",
            code="target_exists",
            remedy="Set if_exists to skip or overwrite beside copy, or choose an empty target.",
        )
    return etag_of(path.lstat())


def same_content(image: ObjectRef, original: ObjectRef) -> bool:
    """Whether two files have the same bytes.

    Raises:
        ImageError: ``changed`` or ``vanished``, of the image; ``original_gone``, also where both are one name of one
            file, through symbolic links or mounts: the content would go with it.
    """
    try:
        with reading(original):
            path = source_path(original)
            check_same(original, path.stat())
    except ImageError as error:
        raise ImageError(error.message, code="original_gone") from error
    with reading(image):
        if _is_one_name(source_path(image), path):
            raise ImageError(f"{original.uri}: is {image.uri} itself, by another path", code="original_gone")
    return _is_same_content(image, path)


def _is_one_name(one: Path, other: Path) -> bool:
    """Whether two paths are one name of a file, not hard links: compared as in ``_check_apart``, in doubt True."""
    if real_path(one) == real_path(other):
        return True
    status, is_named_so = one.stat(), one.name == other.name
    if etag_of(status) != etag_of(other.stat()):
        return False
    return status.st_nlink == 1 or (is_named_so and one.parent.stat().st_ino == other.parent.stat().st_ino)


def _is_same_content(image: ObjectRef, path: Path) -> bool:
    with reading(image), open_file(image) as source:
        status = os.fstat(source.fileno())
        check_same(image, status)
        if os.path.samestat(status, path.stat()):
            return True  # a hard link
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
