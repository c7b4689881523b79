"""The single values of a checkpoint, each a JSON text under a key: watermark, totals and a few more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from asyncfilter.checkpoint import sql
from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.records.images import StoredReference
from asyncfilter.records.listing_ranges import ListingRanges

Value = TypeVar("Value")

NAME = "name"
"""Name of the job that made the file."""

WATERMARK = "watermark"
TOTALS = "totals"

DECIDED_BY = "decided_by"
"""Fingerprint of rules, actions and limits that made the stored decisions; absent until ``decided``."""

REFERENCES = "references"
"""Reference images with their labels, by address; they are few and need no table."""

MODEL = "model"
"""What is known about the detector's model."""

ANSWERS = "answers"
"""How far the answers file is followed; absent until an answer is taken over."""

UID = "uid"
"""Made at random when the file is first opened for writing: names the checkpoint's workers in a cluster."""

LISTING = "listing"
"""State of the stored listing."""

IN_RANGES = "ranges"
"""The origin of a stored listing in ranges."""

SPREAD_KEYS = "spread_keys"
"""Keys of the last whole listing in ranges, evenly spread over it."""

INDEXED = "indexed"
"""Row id up to which the table ``content`` has every image with labels."""

EPOCH = "epoch"
"""Raised by every opening for writing; absent in a file that was last written before there was one."""


class ListingState(msgspec.Struct, kw_only=True):
    """Whether the stored listing is complete, the last key that it holds, and the version of the list it is of.

    Of one in ranges, ``ranges`` says how far it is.
    """

    is_whole: bool = False
    last_key: str | None = None
    origin: str = ""
    ranges: ListingRanges | None = None


def read_state(db: sqlite3.Connection, key: str, type_: type[Value]) -> Value | None:
    """The value stored under ``key``; None when there is none.

    Raises:
        msgspec.DecodeError: What is stored there is something else.
        CorruptRowError: It is no text.
    """
    row = db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    if row is not None and not isinstance(row[0], str):
        raise CorruptRowError(f"{key} of state is no text")
    return None if row is None else msgspec.json.decode(row[0], type=type_)


def read_references(db: sqlite3.Connection) -> list[StoredReference]:
    """The reference images, by address.

    Raises:
        msgspec.DecodeError: What is stored there is something else.
    """
    return read_state(db, REFERENCES, list[StoredReference]) or []


def merged(old: Iterable[StoredReference], new: Iterable[StoredReference]) -> list[StoredReference]:
    """All references, by address; new ones replace old ones with the same address."""
    by_uri = {reference.uri: reference for reference in (*old, *new)}
    return [by_uri[uri] for uri in sorted(by_uri)]


def write_state(db: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    """Store ``values`` under their keys, in place of older ones; to be called inside a transaction."""
    rows = [(key, msgspec.json.encode(value).decode()) for key, value in values.items()]
    sql.insert(db, "INSERT OR REPLACE INTO state", rows)
