"""A transaction of SQLite that writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def begin_immediate(db: sqlite3.Connection) -> None:
    """Begin with the lock of writers, which is waited for here, and cannot be refused in the middle of the transaction.

    So nothing changes between what the transaction reads and what it writes.
    """
    db.execute("BEGIN IMMEDIATE")


@contextmanager
def committed(
    db: sqlite3.Connection, begin: Callable[[sqlite3.Connection], object] = begin_immediate
) -> Iterator[None]:
    """A transaction that is durable when the block ends, and has no effect after an exception.

    Args:
        db: In autocommit mode.
        begin: Begins it.
    """
    begin(db)
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:  # SQLite itself rolls back after some errors, such as a full disk
            db.execute("ROLLBACK")
