"""The tables of an answers file that hold the draws of audits."""

from __future__ import annotations

STATEMENTS = (
    """
CREATE TABLE draw (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  job TEXT NOT NULL,
  rule INTEGER NOT NULL,
  frozen TEXT NOT NULL
)
""",
    "CREATE INDEX draw_rule ON draw (job, rule)",
    """
CREATE TABLE draw_position (
  draw INTEGER NOT NULL REFERENCES draw (number),
  part TEXT NOT NULL,
  position INTEGER NOT NULL,
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  etag TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  score REAL,
  PRIMARY KEY (draw, part, position)
) WITHOUT ROWID
""",
)
"""What makes the tables: ``draw.frozen`` is a ``NewDraw`` as JSON without positions, ``draw_position`` has these."""
