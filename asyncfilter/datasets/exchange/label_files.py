"""Small text files of a folder of labels, which may come from anybody: read with a bound, and never waited for.

A folder that was unpacked may have a pipe in place of a file, or a link to a device that has no end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of the labels of one image, or of the names of all classes."""


def opened(path: Path) -> BinaryIO:
    """A regular file, open for reading.

    Raises:
        OSError: It cannot be read, or is none.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("it is no regular file")
    return os.fdopen(fd, "rb")


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without its byte order mark.

    Raises:
        OSError: It cannot be read, or is no regular file.
        ValueError: It is too large, or not UTF-8.
    """
    with opened(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > MAX_FILE_BYTES:
            raise ValueError(f"it has more than {MAX_FILE_BYTES:,} bytes")
        return file.read(size_bytes).decode("utf-8-sig")
