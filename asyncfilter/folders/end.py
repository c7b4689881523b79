"""A folder as one end of copies from and to other kinds of stores.

Invariants: a file at a target exists whole and verified or not at all, and has its name only once its bytes are on
disk; nothing is written outside of the target's folder, whatever its key. A process that was killed may leave part of a
copy beside the target, as ``.asyncfilter-*.part``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

from asyncfilter.errors import ImageError, TransientError
from asyncfilter.folders.contents import FolderContents
from asyncfilter.folders.files import check_same, etag_of, reading, source_path, writing
from asyncfilter.folders.plain_paths import PlainPath, check_name, open_folder, plain_path
from asyncfilter.folders.sink import UNLINKABLE, WRITES_AT_ONCE
from asyncfilter.model import ObjectRef, S3Location
from asyncfilter.policy.digests import Digest, Hasher
from asyncfilter.ports.remover import ObjectState
from asyncfilter.ports.transfer import Content

_BLOCK_BYTES = 1024 * 1024
_LEFT_BYTES = 16 * 1024 * 1024
"""Space that no copy takes: a full disk would keep the checkpoint from being written, too."""

_NO_FILE_BYTES = -1
"""Size of what is at a target and is no file, such as a symbolic link: no image has it."""


class FileContent:
    """``Content`` of a file.

    Args:
        contents: Reads files.
        image: The file.
        blake2b: The hash that it must have; None where it is not known.
    """

    def __init__(self, contents: FolderContents, image: ObjectRef, blake2b: str | None = None) -> None:
        self.image = image
        self._contents = contents
        self._blake2b = blake2b
        self._hash = hashlib.blake2b(digest_size=16)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """See ``Content``; the file is checked before the first byte and after the last one."""
        self._hash = hashlib.blake2b(digest_size=16)
        async with self._contents.opened(self.image) as file:
            while block := await anyio.to_thread.run_sync(_read, self.image, file, self._hash):
                yield block

    async def check(self, digest: Digest) -> None:
        """See ``Content``: a file has no digest of its own; the bytes must be those that were examined."""
        if digest.size_bytes != self.image.size_bytes:
            raise TransientError(f"{self.image.uri}: {digest.size_bytes} bytes were read", may_be_billed=False)
        if self._blake2b not in {None, self._hash.hexdigest()}:
            message = f"{self.image.uri}: has other bytes than those examined, although time and inode are the same"
            raise ImageError(message, code="changed")


class FolderEnd:
    """``StoreEnd`` of folders.

    Args:
        roots: The folders of the job's targets, and of its source.
    """

    has_digests = False

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._contents = FolderContents()
        self._threads = anyio.CapacityLimiter(WRITES_AT_ONCE)

    def content(self, image: ObjectRef, blake2b: str | None = None) -> FileContent:
        """See ``StoreEnd``."""
        return FileContent(self._contents, image, blake2b)

    async def check_examined(self, image: ObjectRef) -> None:
        """See ``StoreEnd``."""
        await anyio.to_thread.run_sync(_check_examined, image, limiter=self._threads)

    async def has_content(self, image: ObjectRef, digest: Digest) -> bool | None:
        """See ``StoreEnd``: a file has no digest of its own."""
        del image, digest
        return None

    async def head(self, target: S3Location) -> ObjectState | None:
        """See ``StoreEnd``."""
        path = plain_path(target, self._roots)
        return await anyio.to_thread.run_sync(_head, path, limiter=self._threads)

    async def write(self, target: S3Location, content: Content, *, only_new: bool) -> str | None:
        """See ``StoreEnd``: written under another name beside the target, made durable, then renamed."""
        path = plain_path(target, self._roots)
        part = await anyio.to_thread.run_sync(_begun, path, content.image.size_bytes, limiter=self._threads)
        try:
            async with aclosing(content.pieces()) as pieces:
                async for piece in pieces:
                    await anyio.to_thread.run_sync(part.append, piece, limiter=self._threads)
            await content.check(part.digest)
            return await anyio.to_thread.run_sync(part.publish, only_new, limiter=self._threads)
        finally:
            part.close()


class _Part:
    """A file that is being written, under an unused name beside its own.

    Args:
        path: The file that it will be.
        folder: Descriptor of its folder, closed with it.
    """

    def __init__(self, path: PlainPath, folder: int) -> None:
        self._path = path
        self._folder = folder
        self._name = f".asyncfilter-{secrets.token_hex(8)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # What others may read of it is decided by the umask, as for every file that a program makes.
        self._fd = os.open(self._name, flags, 0o666, dir_fd=folder)
        self._hasher = Hasher()

    @property
    def digest(self) -> Digest:
        """Of what was appended."""
        return self._hasher.digest()

    def append(self, piece: bytes) -> None:
        """Write the next bytes."""
        with writing(self._path.target):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        self._hasher.update(piece)

    def publish(self, only_new: bool) -> str | None:  # noqa: FBT001  called in a thread, by position
        """Make the file durable and give it its name; returns its ETag, None when the name is taken."""
        target, name = self._path.target, self._path.name
        with writing(target):
            os.fsync(self._fd)
            if not self._take_name():
                check_name(target, self._folder, name)
                if only_new:
                    return None
                os.replace(self._name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            with suppress(OSError):  # not every file system can do it for a folder
                os.fsync(self._folder)
            return etag_of(os.fstat(self._fd))

    def _take_name(self) -> bool:
        """Give the file its name, unless it is taken; without hard links, an empty file reserves the name first."""
        name, folder = self._path.name, self._folder
        try:
            # A link and not a rename, which would replace an existing file without an error.
            os.link(self._name, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as exc:
            if exc.errno not in UNLINKABLE:
                raise
            try:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, dir_fd=folder))
            except FileExistsError:
                return False
            os.replace(self._name, name, src_dir_fd=folder, dst_dir_fd=folder)
        return True

    def close(self) -> None:
        """Close it, and take its own name away."""
        with suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)
        os.close(self._fd)
        os.close(self._folder)


def _begun(path: PlainPath, size_bytes: int) -> _Part:
    """A part for a file of this size, which has room on the disk."""
    with writing(path.target):
        folder = open_folder(path, makes=True)
        try:
            _check_space(folder, size_bytes)
            return _Part(path, folder)
        except BaseException:
            os.close(folder)
            raise


def _check_space(folder: int, size_bytes: int) -> None:
    """Check that a file fits on the disk.

    Raises:
        OSError: It does not, or would leave too little.
    """
    system = os.fstatvfs(folder)
    if system.f_bavail * system.f_frsize < size_bytes + _LEFT_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _head(path: PlainPath) -> ObjectState | None:
    with writing(path.target):
        try:
            folder = open_folder(path, makes=False)
        except FileNotFoundError:
            return None
        try:
            status = os.lstat(path.name, dir_fd=folder)
            check_name(path.target, folder, path.name)
        except FileNotFoundError:
            return None
        finally:
            os.close(folder)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    is_file = stat.S_ISREG(status.st_mode)
    return ObjectState(etag=etag_of(status), size_bytes=status.st_size if is_file else _NO_FILE_BYTES)


def _read(image: ObjectRef, file: BinaryIO, hasher: hashlib.blake2b) -> bytes:
    with reading(image):
        block = file.read(_BLOCK_BYTES)
    hasher.update(block)
    return block


def _check_examined(image: ObjectRef) -> None:
    with reading(image):
        check_same(image, source_path(image).stat())
