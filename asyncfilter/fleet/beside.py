"""Small files beside a checkpoint: written whole and for their owner alone, and read only where they are ours.

Others may be able to write to the folder: no link that was planted there is followed, and no pipe is waited for.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_MODE = 0o600
_MOST_BYTES = 65_536


def write_beside(path: Path, content: bytes) -> None:
    """Replace a file whole.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, _MODE), "wb") as file:
            file.write(content)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def read_beside(path: Path) -> bytes:
    """The content of a file that this user wrote.

    Raises:
        OSError: There is none, or it is a link, no regular file, too large, or another user's.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_size > _MOST_BYTES:
            raise OSError(f"{path} is not a file of this program")
        return os.pread(fd, _MOST_BYTES, 0)
    finally:
        os.close(fd)
