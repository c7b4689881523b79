"""Moments as manifests have them: ISO 8601, a date and a time."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

_DATE_AND_HOUR = re.compile(r"[0-9]{4}(?:-[0-9]{2}-[0-9]{2}|[0-9]{4})[T ][0-9]{2}")


@lru_cache(maxsize=1024)
def moment_of(text: str) -> datetime | None:
    """The moment that a text says, with ``T`` or a blank between date and time; None when it says none."""
    if not _DATE_AND_HOUR.match(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
