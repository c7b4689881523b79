"""The keys that a source includes: include and exclude globs, compiled to one regular expression each.

Globs are those of ``fnmatch``: ``*`` any run of characters, ``?`` one character, ``[seq]`` and ``[!seq]`` one of a set.
They match the whole key, newlines and slashes included, without regard to case. There is no ``**``, because ``*`` also
matches ``/``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from asyncfilter.model import Skip


class KeyFilter:
    """The globs of one source.

    Args:
        include: One of these must match.
        exclude: None of these may match.
    """

    __slots__ = ("_exclude", "_include")

    def __init__(self, include: Sequence[str], exclude: Sequence[str] = ()) -> None:
        self._include = _compile(include)
        self._exclude = _compile(exclude) if exclude else None

    def skip(self, key: str) -> Skip | None:
        """Why ``key`` is not examined, include before exclude; None when it is."""
        if not self._include.match(key):
            return Skip.NOT_INCLUDED
        return Skip.EXCLUDED if self.excludes(key) else None

    def excludes(self, key: str) -> bool:
        """Whether a glob of ``exclude`` matches ``key``."""
        return self._exclude is not None and self._exclude.match(key) is not None


def _compile(globs: Sequence[str]) -> re.Pattern[str]:
    """One pattern that matches what any of ``globs`` matches; nothing for none."""
    return re.compile("|".join(map(translate, globs)) or r"(?!)", re.IGNORECASE)
