"""The tables of the ledger, and the steps from each of its formats to the next.

``STEPS`` has one item for each format, from 1: the statements that lead to it from the format before. A released step
never changes; what a later version needs is a new step, and ``user_version`` of the file says how many were taken.

Times are seconds since 1970-01-01 UTC. Text compares by its bytes.
"""

from __future__ import annotations

from asyncfilter.custom_labels.call_tables import CALLS

APPLICATION_ID = 0x41464C47
"""``AFLG``: shown by ``file`` and by every SQLite tool."""

LEASES = (
    """
CREATE TABLE leases (
  id TEXT PRIMARY KEY,
  arn TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  profile TEXT,
  units INTEGER NOT NULL,
  max_units INTEGER,
  state TEXT NOT NULL CHECK (state IN ('intent', 'starting', 'running', 'stopping', 'released')),
  kind TEXT NOT NULL CHECK (kind IN ('time', 'run')),
  started_at REAL NOT NULL,
  expires_at REAL NOT NULL,
  expires_boot_s REAL,
  sent_at REAL,
  reason TEXT,
  ended_at REAL,
  host TEXT NOT NULL,
  boot_id TEXT NOT NULL,
  pid_namespace TEXT NOT NULL,
  pid INTEGER NOT NULL,
  pid_started TEXT NOT NULL,
  run_id TEXT,
  watcher TEXT
)
""",
    "CREATE INDEX leases_open ON leases (arn) WHERE state <> 'released'",
)
"""One row for each lease; ``asyncfilter.custom_labels.lease`` says what the columns mean.

``host`` to ``pid_started`` name the process that took it; ``watcher`` names one in the same way, as JSON.
"""

IMPROVEMENTS = (
    """
CREATE TABLE improvements (
  id INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL,
  project_arn TEXT NOT NULL,
  dataset_arn TEXT NOT NULL,
  digest TEXT NOT NULL,
  version TEXT NOT NULL,
  old_version TEXT,
  entries_before INTEGER NOT NULL,
  added INTEGER,
  replaced INTEGER,
  state TEXT NOT NULL CHECK (state IN ('open', 'imported', 'shown', 'failed', 'dropped')),
  asked_at REAL NOT NULL,
  ended_at REAL
)
""",
    "CREATE UNIQUE INDEX improvements_open ON improvements (endpoint, project_arn) WHERE state IN ('open', 'imported')",
)
"""One row for each improvement; ``asyncfilter.custom_labels.improvement_log`` says what the columns mean.

Its import and its training have rows of their own. Of one project, at most one is open.
"""

IMPORTED_DATASETS = ("ALTER TABLE imports ADD COLUMN dataset_arn TEXT",)
"""The dataset that an import was sent to; its ARN has the time at which it was made."""

STEPS: tuple[tuple[str, ...], ...] = (LEASES, CALLS, IMPROVEMENTS, IMPORTED_DATASETS)
"""The statements of each step; see above."""
