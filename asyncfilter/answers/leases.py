"""Leases of images to people: who decides an image now, so that nobody else is given it.

They are a table of the answers file: several servers of one file see each other's, and those of a server that was
killed go on to hold. A lease that is not renewed ends by itself. Whether an answer counts never depends on one.
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.answers.writer import Writing
from asyncfilter.checkpoint import sql
from asyncfilter.policy.answers.identity import Name, name_of
from asyncfilter.records.answers import NewAnswer, Subject

LEASE_S = 300.0
"""How long a lease holds after the last call about its image."""

TABLE = """
CREATE TABLE IF NOT EXISTS lease (
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  etag TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  reviewer TEXT NOT NULL,
  until_unix_s REAL NOT NULL,
  PRIMARY KEY (bucket, key, etag, size_bytes)
) WITHOUT ROWID
"""
"""Made when it is needed first: most answers files are never served."""

_IS = "bucket = ? AND key = ? AND etag = ? AND size_bytes = ?"
_END = f"DELETE FROM lease WHERE {_IS} AND reviewer = ?"  # noqa: S608  constants
_PUT = "INSERT OR REPLACE INTO lease (bucket, key, etag, size_bytes, reviewer, until_unix_s)"


def leases(writing: Writing, *, now_unix_s: float) -> dict[Name, tuple[str, float]]:
    """All leases that hold, by the name of the version: the reviewer, and until when. Those that ended are removed."""
    writing.db.execute(TABLE)
    writing.db.execute("DELETE FROM lease WHERE until_unix_s <= ?", (now_unix_s,))
    rows = writing.db.execute("SELECT bucket, key, etag, size_bytes, reviewer, until_unix_s FROM lease")
    return {(bucket, key, etag, size): (reviewer, until) for bucket, key, etag, size, reviewer, until in rows}


def put_leases(writing: Writing, subjects: Sequence[Subject], reviewer: str, *, until_unix_s: float) -> None:
    """Lease images to a person, whoever had them before."""
    writing.db.execute(TABLE)
    sql.insert(writing.db, _PUT, [(*name_of(one), reviewer, until_unix_s) for one in subjects])


def end_leases(writing: Writing, subjects: Sequence[Subject], reviewer: str) -> None:
    """End the leases of a person on images."""
    writing.db.execute(TABLE)
    writing.db.executemany(_END, [(*name_of(one), reviewer) for one in subjects])


def follow_answers(writing: Writing, rows: Sequence[NewAnswer], *, until_unix_s: float) -> None:
    """Let leases follow answers: who gave a verdict is done, who took one back has the image again if it is free.

    Args:
        writing: The transaction that adds the rows.
        rows: The rows that were added.
        until_unix_s: Until when new leases hold.
    """
    writing.db.execute(TABLE)
    writing.db.executemany(_END, [(*name_of(row.subject), row.reviewer) for row in rows if row.verdict is not None])
    again = [(*name_of(row.subject), row.reviewer, until_unix_s) for row in rows if row.undoes is not None]
    writing.db.executemany("INSERT OR IGNORE INTO lease VALUES (?, ?, ?, ?, ?, ?)", again)


def renew_leases(
    writing: Writing, subjects: Sequence[Subject], reviewer: str, *, now_unix_s: float, until_unix_s: float
) -> None:
    """Renew those leases on images that a person still holds."""
    writing.db.execute(TABLE)
    query = f"UPDATE lease SET until_unix_s = ? WHERE {_IS} AND reviewer = ? AND until_unix_s > ?"  # noqa: S608  constants
    writing.db.executemany(query, [(until_unix_s, *name_of(one), reviewer, now_unix_s) for one in subjects])
