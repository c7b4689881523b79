"""The one path of a file, whichever links and dots its address holds."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from asyncfilter.model import FOLDER, S3Location, StoreKind, folder_of


def canonical_places() -> Callable[[S3Location], str]:
    """A function that gives the address of a file or of a prefix of files with links and ``..`` resolved.

    The last name is kept, since a delete removes a link and not its file. The address of an object that is not a file
    is returned as it is. Folders are resolved once by each function, so that a plan takes no second for a thousand
    images; a later plan needs a new one.
    """
    real = functools.lru_cache(maxsize=1024)(_real)

    def canonical(place: S3Location) -> str:
        if place.store is not StoreKind.FOLDER:
            return place.uri
        folder, _, name = f"{str(folder_of(place.bucket)).rstrip('/')}/{place.key}".rpartition("/")
        if name in {".", ".."}:
            folder, name = f"{folder}/{name}", ""
        return f"{FOLDER}{real(folder or '/').rstrip('/')}/{name}"

    return canonical


def _real(folder: str) -> str:
    try:
        return os.path.realpath(folder)
    except ValueError:
        return "\0"  # a null character: there is no such folder, and no place covers it
