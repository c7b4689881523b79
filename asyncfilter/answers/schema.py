"""The tables of an answers file, and the marks by which one is recognized.

Outside tools may read ``subject``, ``answer``, ``reviewer`` and ``setting``, with the columns that are named below;
columns in ``_OWN`` comments and all other tables are for this package.

- ``subject``: one version of an object. ``content`` is the blake2b-256 of its bytes, NULL where they were never read.
  ``since`` and ``content_since`` (ours) are the serials of the rows that brought the subject and its content, so that
  what is read up to a serial never changes.
- ``answer``: one row for everything that a person said, in the order of ``serial``; never updated or deleted.
- ``reviewer``: the people. ``setting``: ``id`` (32 hexadecimal digits, made once) and ``merged`` (a JSON array of the
  ids of files that were merged into this one).

Text compares by its UTF-8 bytes.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from asyncfilter.answers.draw_tables import STATEMENTS as DRAWS

APPLICATION_ID = 0x4146414E
"""``AFAN``: shown by ``file`` and by every SQLite tool."""

FORMAT_VERSION = 1
"""Raised whenever an older asyncfilter could misread the file; kept in ``user_version``."""

ID = "id"
MERGED = "merged"
"""Keys of ``setting``."""

_CORE = (
    """
CREATE TABLE subject (
  id INTEGER PRIMARY KEY,
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  etag TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  content TEXT,
  since INTEGER NOT NULL,
  content_since INTEGER,
  UNIQUE (bucket, key, etag, size_bytes)
)
""",
    "CREATE INDEX subject_content ON subject (content) WHERE content IS NOT NULL",
    "CREATE INDEX subject_etag ON subject (etag, size_bytes)",
    "CREATE TABLE reviewer (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """
CREATE TABLE answer (
  serial INTEGER PRIMARY KEY AUTOINCREMENT,
  uid TEXT NOT NULL UNIQUE,
  subject INTEGER NOT NULL REFERENCES subject (id),
  reviewer INTEGER NOT NULL REFERENCES reviewer (id),
  at_unix_s REAL NOT NULL,
  verdict TEXT CHECK (verdict IN ('keep', 'reject', 'unsure')),
  labels TEXT,
  boxes TEXT,
  note TEXT,
  shown_ms INTEGER,
  how TEXT NOT NULL CHECK (how IN ('key', 'sheet', 'group', 'set', 'import')),
  asked_as TEXT NOT NULL CHECK (asked_as IN ('decide', 'audit', 'second', 'adjudicate', 'free')),
  blind INTEGER NOT NULL CHECK (blind IN (0, 1)),
  saw TEXT,
  undoes TEXT
)
""",
    "CREATE INDEX answer_subject ON answer (subject)",
    """
CREATE TRIGGER answer_kept BEFORE UPDATE ON answer BEGIN
  SELECT RAISE (ABORT, 'rows of answer are never updated');
END
""",
    """
CREATE TRIGGER answer_stays BEFORE DELETE ON answer BEGIN
  SELECT RAISE (ABORT, 'rows of answer are never deleted');
END
""",
    "CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)

STATEMENTS: tuple[str, ...] = (*_CORE, *DRAWS)
"""What makes an empty database file an answers file."""


def create_tables(db: sqlite3.Connection, file_id: str) -> None:
    """Fill an empty database file with the tables, and mark it as an answers file with this id."""
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
    db.execute("BEGIN")
    for statement in STATEMENTS:
        db.execute(statement)
    db.execute("INSERT INTO setting VALUES (?, ?)", (ID, file_id))
    db.execute("COMMIT")


def table_names(db: sqlite3.Connection) -> set[str]:
    """Names of all tables, indexes and triggers of a file, SQLite's own left out."""
    rows = db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'")
    return {name for (name,) in rows}


def expected_names() -> set[str]:
    """What ``table_names`` gives at least for an answers file that is not damaged."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        create_tables(db, "")
        return table_names(db)
