"""Pages of a listing, and the tokens that lead from one to the next."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

from asyncfilter.sandbox.message import ServiceError

T = TypeVar("T")


def page(
    rows: Sequence[T], token: str | None, size: int, keeps: Callable[[T], bool] = lambda _: True
) -> tuple[list[T], str | None]:
    """Rows of one page, and the token of the next; None for the last page.

    Raises:
        ServiceError: ``InvalidPaginationTokenException``.
    """
    start = _start(token) if token else 0
    if start > len(rows):
        raise _invalid()
    found: list[T] = []
    for place in range(start, len(rows)):
        if not keeps(rows[place]):
            continue
        if len(found) == size:
            return found, base64.urlsafe_b64encode(f"from {place}".encode()).decode()
        found.append(rows[place])
    return found, None


def _start(token: str) -> int:
    try:
        word, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
        if word == "from":
            return int(number)
    except (ValueError, binascii.Error):
        pass
    raise _invalid()


def _invalid() -> ServiceError:
    return ServiceError("InvalidPaginationTokenException", "Request has an invalid Pagination Token")
