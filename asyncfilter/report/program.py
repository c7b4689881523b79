"""How the program is called here, so that what is proposed can be pasted."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from pathlib import Path

NAME = "asyncfilter"


@cache
def program() -> str:
    """``asyncfilter`` where the shell finds this very program, else the path it was started by.

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
