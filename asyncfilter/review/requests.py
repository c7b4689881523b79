"""What requests hold: bodies and numbers of queries, or a refusal that says what was expected."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from asyncfilter.review.gate import Call
from asyncfilter.review.replies import Refusal

T = TypeVar("T")


def body_of(call: Call, kind: type[T]) -> T:
    """The body of a POST.

    Raises:
        Refusal: It is no JSON, or does not fit.
    """
    try:
        return msgspec.json.decode(call.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unfit(str(error)) from error
    except RecursionError as error:
        raise unfit("it is nested too deeply") from error


def number(text: str, low: int, high: int) -> int:
    """A number in a query.

    Raises:
        Refusal: It is none, or outside of the range.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20) or not low <= int(text) <= high:
        raise unfit(f"expected a number from {low} to {high}")
    return int(text)


def unfit(why: str) -> Refusal:
    """The refusal of a request that does not fit."""
    return Refusal(400, "bad_request", f"The request does not fit: {why}")
