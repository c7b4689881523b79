"""Durations as users write them: ``90s``, ``45m``, ``2h``, ``1d``, ``1h30m``."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?\Z", re.ASCII)
_UNITS_S = (86_400, 3_600, 60, 1)

FORMS = "90s, 45m, 2h, 1d or 1h30m"
"""Examples, for messages."""


def duration_s(text: str) -> float | None:
    """A duration in seconds; None when ``text`` is none, or 0."""
    found = _DURATION.match(text)
    parts = found.groups() if found else ()
    total_s = sum(int(part) * unit_s for part, unit_s in zip(parts, _UNITS_S, strict=False) if part)
    return float(total_s) if total_s else None
