"""The command that starts this program, so that printed commands can be pasted into the shell."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path

NAME = "asyncfilter"


@cache
def program() -> str:
    """``asyncfilter`` where the shell finds this program by its name, else the path by which it was started.

    A path below the current folder is given relative to it.
    """
    started = Path(sys.argv[0])
    if started.name != NAME or not started.is_file():
        return NAME
    found = shutil.which(NAME)
    if found is not None and Path(found).samefile(started):
        return NAME
    relative = os.path.relpath(started)
    return str(started) if relative.startswith(os.pardir) else relative
