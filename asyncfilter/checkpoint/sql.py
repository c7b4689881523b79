"""Statements that carry many rows each.

SQLite releases and takes Python's lock once for each statement, and with a busy event loop on another thread each of
these may take five milliseconds. So a hundred rows are written with one statement, not with a hundred (measured: 100
rows beside a busy thread take 68 ms one by one, 11 ms together).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

Row = tuple[Any, ...]
Item = TypeVar("Item")

VALUES_PER_STATEMENT = 900
"""Parameters in one statement: below the smallest limit that SQLite is built with (999 before 3.32)."""


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """``items`` in chunks of up to ``size``, in order."""
    return (items[start : start + size] for start in range(0, len(items), size))


def marks(count: int) -> str:
    """``count`` parameter marks: ``?, ?, ?``."""
    return ", ".join("?" * count)


def insert(db: sqlite3.Connection, into: str, rows: Sequence[Row]) -> None:
    """Insert ``rows``, all of one width; ``into`` is the statement up to its values, such as ``INSERT INTO word``."""
    for clause, parameters in values(rows):
        db.execute(f"{into} {clause}", parameters)


def values(rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
    """``rows``, all of one width, as ``VALUES`` clauses, each with its parameters."""
    if rows:
        width = len(rows[0])
        for some in chunks(rows, VALUES_PER_STATEMENT // width):
            yield "VALUES " + ", ".join([f"({marks(width)})"] * len(some)), list(chain.from_iterable(some))
