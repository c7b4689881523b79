"""Texts of files as verdicts and moments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from asyncfilter.errors import UsageError
from asyncfilter.records.answers import PersonVerdict

UNRESOLVED = "unresolved"


class VerdictWords:
    """Which texts are verdicts: ``keep``, ``reject`` and ``unsure`` in any case, and those of ``--map``.

    Args:
        maps: ``TEXT=VERDICT`` each.

    Raises:
        UsageError: One is not of that form, or two contradict each other.
    """

    def __init__(self, maps: Iterable[str] = ()) -> None:
        self._verdicts = {verdict.value: verdict for verdict in PersonVerdict}
        mapped: dict[str, PersonVerdict] = {}
        for given in maps:
            text, equals, word = given.rpartition("=")
            if not equals or not text.strip() or word.strip().lower() not in set(PersonVerdict):
                raise UsageError(
                    f"--map {given!r}: not TEXT=VERDICT", hint="Write it like --map good=keep: keep, reject or unsure."
                )
            verdict = PersonVerdict(word.strip().lower())
            if mapped.setdefault(_folded(text), verdict) is not verdict:
                raise UsageError(f"--map {given!r}: the text is mapped to two verdicts", hint="Leave out one of them.")
        self._verdicts |= mapped

    def of(self, text: str) -> PersonVerdict | None:
        """The verdict that a text is; None when it is none."""
        return self._verdicts.get(_folded(text))


def moment_unix_s(value: object) -> float | None:
    """A moment as ISO 8601, of which one without an offset is UTC, or as seconds since 1970; None when it is none.

    Nobody has answered before 1970.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value <= _LAST_S else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        unix_s = (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, OverflowError):
        return None
    return unix_s if 0 <= unix_s <= _LAST_S else None


def moment_text(unix_s: float) -> str:
    """A moment as all results have it: ``YYYY-MM-DDTHH:MM:SS.mmmZ``."""
    moment = datetime.fromtimestamp(round(unix_s, 3), UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


_LAST_S = 253_402_300_799
"""The last second of the year 9999."""


def _folded(text: str) -> str:
    return text.strip().casefold()
