"""How far a listing in ranges of keys is; the checkpoint has it beside the keys that are listed."""

from __future__ import annotations

import msgspec


class KeyRange(msgspec.Struct, frozen=True):
    """Keys that are not listed yet: all above ``after``, up to and including ``upto`` (None: to the end)."""

    after: str = ""
    upto: str | None = None


class ListingRanges(msgspec.Struct, frozen=True, kw_only=True):
    """A listing of all keys above ``start``.

    Attributes:
        left: What is not listed yet, in the order of the keys; empty for a whole listing.
        cuts: How often a range was cut in two.
        keys: Keys that were listed.
        is_dry: It was made by a dry run, which moves no position: the next run lists anew.
    """

    start: str = ""
    left: tuple[KeyRange, ...] = ()
    cuts: int = 0
    keys: int = 0
    is_dry: bool = False
