"""Keys that the source of a job includes: below its prefix, matching its globs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asyncfilter.job.spec import SourceSpec
from asyncfilter.policy.globs import KeyFilter

_PIECE = re.compile(r"(\*|\?|\[!?\]?[^\]]*\])")
"""What stands for other characters in a glob."""


class SampleKeys:
    """Makes keys for the pictures of one source."""

    def __init__(self, source: SourceSpec) -> None:
        self._source = source
        self._filter = KeyFilter(source.include, source.exclude)

    def named(self, number: int, subject: str) -> str:
        """The key of a picture, such as ``birds/0001-robin.jpg``, also if the globs allow none below the prefix.

        Args:
            number: In the order of the listing, from 1.
            subject: What it shows.
        """
        word = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")
        for stem in (f"{number:04d}-{word}", f"{number:04d}"):
            for key in self._candidates(stem):
                if key.startswith(self._source.prefix) and self._filter.skip(key) is None:
                    return key
        return f"{self._source.prefix}{number:04d}-{word}.jpg"

    def left_out(self, name: str) -> str | None:
        """A key below the prefix that the source does not include; None where it includes this name too."""
        key = f"{self._source.prefix}{name}"
        return None if self._filter.skip(key) is None else key

    def _candidates(self, stem: str) -> Iterator[str]:
        yield f"{self._source.prefix}{stem}.jpg"
        for glob in self._source.include:
            yield _fill(glob, self._source.prefix, stem)


def _fill(glob: str, prefix: str, stem: str) -> str:
    """A key that matches ``glob``: a first ``*`` is the prefix, the last one ``stem``, ``?`` a digit."""
    pieces = _PIECE.split(glob)
    stars = [place for place, piece in enumerate(pieces) if piece == "*"]
    digits = iter(stem[:4].zfill(pieces.count("?"))[-pieces.count("?") :])
    for place, piece in enumerate(pieces):
        if piece == "?":
            pieces[place] = next(digits)
        elif place % 2 and piece.startswith("[!"):
            pieces[place] = "0"
        elif place % 2 and piece.startswith("["):
            pieces[place] = piece[1]
        elif piece == "*":
            pieces[place] = stem if place == stars[-1] else "0"
    if stars and not "".join(pieces[: stars[0]]):
        is_alone = len(stars) == 1
        follows = pieces[stars[0] + 1]
        beginning = prefix if is_alone or not follows.startswith("/") else prefix.rstrip("/") or "0"
        pieces[stars[0]] = beginning + (stem if is_alone else "")
    return "".join(pieces)
