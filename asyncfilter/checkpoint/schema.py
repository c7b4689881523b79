"""The tables of a checkpoint file, and the marks by which one is recognized.

``image`` holds one row for each image; ``seq`` is NULL while the image is cached, without a position. ``content`` is
the index from ETags to images, without the newest; ``effect`` holds the actions confirmed for an image, by age;
``removal`` is the removal journal, whose entries need no other row. ``label`` and ``word`` are the interned tables to
which the numbers in ``image.detection`` and ``image.label`` refer. ``state`` holds one JSON value for each key,
``identity`` one text. ``listing`` is used by ``order: random`` and by lists of keys. ``answer`` holds what people say
about an image, as it was taken over from an answers file; a file of format 1 lacks it.

Invariants that the file itself enforces: each position belongs to one row; each target belongs to one key (a tag's
target is its tags, of which an image has one set); the id of a row is never used twice. Text compares by its UTF-8
bytes, as S3 lists keys.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from asyncfilter.model import ActionKind, Verdict
from asyncfilter.records.removal import Step

APPLICATION_ID = 0x41464C54
"""``AFLT``: shown by ``file`` and by every SQLite tool."""

FORMAT_VERSION = 2
"""The newest format that is read; the format of a file is its ``user_version``. It is raised whenever an older
asyncfilter could misread the file: 1 is a file without people's answers, 2 one that follows an answers file."""

ANSWERS_FORMAT = 2
"""The format from which on a file has the table ``answer``."""

VERDICTS = {Verdict.KEEP: 0, Verdict.REVIEW: 1, Verdict.REJECT: 2}
"""How ``image.decision`` holds a verdict: this plus four times the rule's number from 1, 0 for ``otherwise``.

So the lowest two bits are the verdict that counts. Where a person decided, ``REVIEWED`` times the verdict of the rules,
from 1, is added."""

REVIEWED = 1 << 32
"""Above every rule's number times four; a multiple of four, so that a person's verdict is in the lowest bits, too."""

ACTIONS = {ActionKind.NONE: 0, ActionKind.COPY: 1, ActionKind.TAG: 2, ActionKind.MOVE: 3, ActionKind.DELETE: 4}
"""How ``effect.kind`` holds a kind of action."""

STEPS = {step: number for number, step in enumerate(Step)}
"""How ``removal.step`` holds a step."""

_TAG = ACTIONS[ActionKind.TAG]

TABLES = f"""
CREATE TABLE image (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  seq INTEGER,
  key TEXT NOT NULL,
  etag NOT NULL,
  size_bytes INTEGER NOT NULL,
  decision INTEGER,
  label INTEGER,
  failure TEXT,
  message TEXT,
  same_as INTEGER,
  detection BLOB
);
CREATE UNIQUE INDEX image_seq ON image (seq) WHERE seq IS NOT NULL;
CREATE INDEX image_key ON image (key);
CREATE INDEX image_failed ON image (seq) WHERE failure IS NOT NULL;
CREATE INDEX image_spare ON image (key) WHERE seq IS NULL;
CREATE TABLE effect (
  id INTEGER PRIMARY KEY,
  image INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
  kind INTEGER NOT NULL,
  target TEXT NOT NULL
);
CREATE INDEX effect_image ON effect (image);
CREATE UNIQUE INDEX effect_target ON effect (target) WHERE target <> '' AND kind <> {_TAG};
CREATE UNIQUE INDEX effect_kind ON effect (image, kind) WHERE target = '' OR kind = {_TAG};
CREATE TRIGGER effect_owner BEFORE INSERT ON effect WHEN NEW.target <> '' AND NEW.kind <> {_TAG} BEGIN
  SELECT RAISE (ABORT, 'a target belongs to another key')
  FROM effect JOIN image AS old ON old.id = effect.image JOIN image AS new ON new.id = NEW.image
  WHERE effect.target = NEW.target AND effect.target <> '' AND effect.kind <> {_TAG} AND old.key <> new.key;
END;
CREATE TABLE removal (
  image INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  etag NOT NULL,
  size_bytes INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  target TEXT NOT NULL,
  step INTEGER NOT NULL,
  copied TEXT NOT NULL,
  is_foreign INTEGER NOT NULL,
  marker TEXT NOT NULL,
  returned TEXT NOT NULL,
  decided_by TEXT NOT NULL,
  failure TEXT,
  message TEXT
);
CREATE INDEX removal_step ON removal (step, image);
CREATE INDEX removal_target ON removal (target) WHERE target <> '';
CREATE TABLE label (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  parents TEXT NOT NULL,
  aliases TEXT NOT NULL,
  categories TEXT NOT NULL
);
CREATE TABLE word (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run (
  id TEXT PRIMARY KEY,
  started_unix_s REAL NOT NULL,
  ended_unix_s REAL,
  outcome TEXT,
  counts TEXT
);
CREATE TABLE listing (
  key TEXT PRIMARY KEY,
  rank INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  etag NOT NULL,
  storage_class TEXT NOT NULL
) WITHOUT ROWID;
"""  # noqa: S608  a number

ANSWER = """CREATE TABLE answer (
  image INTEGER PRIMARY KEY REFERENCES image (id) ON DELETE CASCADE,
  serial INTEGER NOT NULL,
  verdict TEXT,
  labels TEXT,
  boxes TEXT,
  reviewer TEXT NOT NULL,
  at_unix_s REAL NOT NULL
)"""
"""Created when the first answer is taken over; a file without it can be used by an older asyncfilter."""

CONTENT = "CREATE TABLE content (beginning, image INTEGER NOT NULL, PRIMARY KEY (beginning, image)) WITHOUT ROWID"
"""Created from the rows where it is missing: in a new file, or in one that is older than this index."""

SHUFFLE = "CREATE INDEX IF NOT EXISTS listing_rank ON listing (rank)"
"""Created when the listing is complete: sorted once, instead of one page write for nearly every object."""

UNSHUFFLE = "DROP INDEX IF EXISTS listing_rank"
"""Undoes ``SHUFFLE`` before a new pass."""


def create_tables(db: sqlite3.Connection) -> None:
    """Fill an empty database file with the tables, and mark it as a checkpoint."""
    # Rows are hardly ever deleted and freed pages are used again: moving pages would gain nothing.
    db.execute("PRAGMA auto_vacuum = NONE")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA user_version = 1")
    db.executescript(f"BEGIN; {TABLES} COMMIT;")


def format_of(db: sqlite3.Connection) -> int:
    """The format of a file."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def add_answers(db: sqlite3.Connection) -> None:
    """Raise a file to the format with answers; to be called inside the transaction that stores the first one."""
    db.execute(ANSWER)
    db.execute(f"PRAGMA user_version = {ANSWERS_FORMAT}")


def table_names(db: sqlite3.Connection) -> set[str]:
    """Names of all tables, indexes and triggers of a file, SQLite's own left out."""
    rows = db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'")
    return {name for (name,) in rows}


def expected_names(version: int) -> set[str]:
    """What ``table_names`` gives at least for a checkpoint of a format that is not damaged."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES)
        if version >= ANSWERS_FORMAT:
            db.execute(ANSWER)
        return table_names(db)
