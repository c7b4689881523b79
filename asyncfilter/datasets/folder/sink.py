"""Copies, hard links, moves and deletes of files.

Invariants: a target is there whole or not at all, under its own name only when its bytes are on disk; only the file
that was examined is copied, moved or deleted; a repeat of an action is harmless. A process that is killed may leave a
part of a copy behind, ``.asyncfilter-*.part`` beside the target.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
from msgspec import structs

from asyncfilter.datasets.folder.files import check_same, etag_of, open_file, reading, source_path, target_path, writing
from asyncfilter.errors import AccessError, ImageError, UsageError
from asyncfilter.model import FOLDER, ActionKind, Effect, IfExists, ObjectRef, S3Location

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
        self._actions: Mapping[ActionKind, Callable[[Effect], object]] = {
            ActionKind.COPY: self.copy,
            ActionKind.MOVE: self.move,
            ActionKind.DELETE: lambda effect: delete(effect.source),
        }

    async def perform(self, effect: Effect) -> None:
        """Carry out one action; see ``Sink``.

        Raises:
            UsageError: The kind of action is not one for files.
        """
        action = self._actions.get(effect.kind)
        if action is None:
            raise UsageError(f"files know no action of kind {effect.kind}", hint="Use copy, link or none.")
        await anyio.to_thread.run_sync(action, effect, limiter=self._threads)

    def copy(self, effect: Effect) -> str:
        """Copy or link a file; returns what stands for the ETag of the file at the target."""
        target = _target(effect)
        with writing(target):
            path = target_path(target, self._source)
            if effect.if_exists is not IfExists.OVERWRITE and os.path.lexists(path):
                return _found(effect, path)
            with _part(effect, path) as part:
                if effect.if_exists is IfExists.OVERWRITE:
                    part.replace(path)
                else:
                    try:
                        path.hardlink_to(part)
                    except FileExistsError:
                        return _found(effect, path)
            _sync(path.parent)
            return etag_of(path.stat())

    def move(self, effect: Effect) -> str:
        """Link the file at the target, or copy it to another file system, then delete the source.

        What stands at the target already stays, and the move fails unless it is the same picture.

        Returns:
            What stands for the ETag of the file at the target.
        """
        linked = structs.replace(effect, kind=ActionKind.COPY, if_exists=IfExists.FAIL, is_link=True)
        try:
            etag = self.copy(linked)
        except UnlinkableError:
            etag = self.copy(structs.replace(linked, is_link=False))
        except ImageError as error:
            if error.code == "vanished" and (moved := _moved_before(effect)) is not None:
                return moved
            raise
        delete(effect.source)
        return etag


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
        _sync(path.parent)


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
    """Copy, with the time of change, and see to it that all is on disk."""
    image = effect.source
    with reading(image):
        source = open_file(image)
    with source, part.open("xb") as out:
        status = os.fstat(source.fileno())
        check_same(image, status)
        shutil.copyfileobj(source, out, _BLOCK_BYTES)
        out.flush()
        os.utime(out.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(out.fileno())
        check_same(image, os.fstat(source.fileno()))


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


def _moved_before(effect: Effect) -> str | None:
    """What stands at the target, when it is the file whose source an earlier attempt deleted: time and size tell."""
    target = _target(effect)
    with suppress(OSError):
        status = Path(target.bucket.removeprefix(FOLDER) or "/", target.key).stat()
        if status.st_size == effect.source.size_bytes and etag_of(status)[:16] == effect.source.etag[:16]:
            return etag_of(status)
    return None


def _sync(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)


def _target(effect: Effect) -> S3Location:
    if effect.target is None:
        raise UsageError(f"{effect.source.uri}: a {effect.kind} needs a target", hint="Set actions.*.copy.")
    return effect.target
