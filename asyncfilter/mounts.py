"""Where folders and files really are: the mounts of this process, as ``/proc/self/mountinfo`` lists them.

One folder or file can be mounted in several places (bind mounts, containers that share a volume). Its paths then have
nothing in common, and only the table of mounts shows that they lead to the same place. Systems without that table have
an empty one here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mount.

    Attributes:
        device: Major and minor number of the file system, such as ``8:1``.
        root: The folder or file of that file system that is mounted.
        point: The path at which it is mounted.
        kind: Type of the file system, such as ``ext4`` or ``nfs4``.
    """

    device: str
    root: str
    point: str
    kind: str = ""


def is_folder(path: str | Path) -> bool:
    """Whether a path leads to a folder; false also where that cannot be found out, as with a name that is too long."""
    return os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises there


def read_mounts(table: Path = _TABLE) -> list[Mount]:
    """All mounts, in the order in which they were made; none where the system has no such table."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    fields = [line.split(" ") for line in lines]
    return [Mount(row[2], _unescaped(row[3]), _unescaped(row[4]), _kind(row)) for row in fields if len(row) > 4]


def is_mount_point(path: Path, mounts: Sequence[Mount]) -> bool:
    """Whether something is mounted at exactly this path, which is absolute and free of links."""
    return any(mount.point == str(path) for mount in mounts)


def mount_of(folder: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that holds a folder, given by an absolute path without links; None where that is not known."""
    covering = [mount for mount in mounts if is_below(folder, mount.point)]
    # Of mounts at one point the last hides the others; max() would return the first.
    return max(reversed(covering), key=lambda mount: len(mount.point), default=None)


def real_places(folder: str, mounts: Sequence[Mount]) -> list[str]:
    """Where the content of a folder really is: device and path in it, of the folder and of each mount below it.

    Args:
        folder: An absolute path without links; it need not exist.
        mounts: From ``read_mounts``.
    """
    nearest = mount_of(folder, mounts)
    if nearest is None:
        return []
    inner = folder[len(nearest.point.rstrip("/")) :]
    below = [mount for mount in mounts if mount.point != folder and is_below(mount.point, folder)]
    return [
        f"/{nearest.device}{nearest.root.rstrip('/')}{inner}".rstrip("/"),
        *(f"/{mount.device}{mount.root.rstrip('/')}" for mount in below),
    ]


def is_below(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or inside it; both are absolute."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _kind(row: Sequence[str]) -> str:
    """Type of the file system: it follows a hyphen, behind a varying number of optional fields."""
    rest = row[6:]
    return rest[rest.index("-") + 1] if "-" in rest[:-1] else ""


def _unescaped(field: str) -> str:
    """A field of the table, in which spaces, tabs, line breaks and backslashes are octal escapes."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)
