"""The tables of the ledger about calls that change something at the service, and about imports and trainings.

``ledger_schema`` adds them to the file. Times are seconds since 1970-01-01 UTC; ``endpoint`` is empty for AWS's own.
"""

from __future__ import annotations

CALLS = (
    """
CREATE TABLE calls (
  id INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL,
  region TEXT NOT NULL,
  operation TEXT NOT NULL,
  subject TEXT NOT NULL,
  parameters TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('intent', 'done', 'refused', 'unknown')),
  asked_at REAL NOT NULL,
  answered_at REAL,
  answer TEXT
)
""",
    """
CREATE TABLE trainings (
  id INTEGER PRIMARY KEY,
  endpoint TEXT NOT NULL,
  project_arn TEXT NOT NULL,
  version TEXT NOT NULL,
  output TEXT NOT NULL,
  kms_key TEXT,
  state TEXT NOT NULL CHECK (state IN ('intent', 'started', 'reported', 'dropped')),
  version_arn TEXT,
  asked_at REAL NOT NULL,
  ended_at REAL
)
""",
    "CREATE UNIQUE INDEX trainings_open ON trainings (endpoint, project_arn) WHERE state IN ('intent', 'started')",
    """
CREATE TABLE imports (
  id INTEGER PRIMARY KEY,
  job TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  project_arn TEXT NOT NULL,
  dataset TEXT NOT NULL CHECK (dataset IN ('TRAIN', 'TEST')),
  mode TEXT NOT NULL CHECK (mode IN ('reference', 'entries', 'split')),
  digest TEXT NOT NULL,
  manifest TEXT,
  offset INTEGER NOT NULL,
  batches INTEGER NOT NULL,
  sent INTEGER NOT NULL,
  entries_before INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'done', 'reported', 'failed', 'dropped')),
  asked_at REAL NOT NULL,
  ended_at REAL
)
""",
    "CREATE UNIQUE INDEX imports_open ON imports (endpoint, project_arn, dataset) WHERE state = 'open'",
)
"""``calls`` has one row for each call that changes something, written before it is sent; a row whose process died stays
an intent, and what happened is seen at the service.

``trainings`` has one row for each training that is paid for. Its version's name is there before CreateProjectVersion is
sent; ``started`` says that the service has it, ``reported`` that a command has shown its end, ``dropped`` that it
certainly was not started. Of one project, at most one is open.

``imports`` has one row for each import into a dataset; those of one command share a ``job``. ``digest`` is the SHA-256
of the file, or of what the test dataset is split from. Of ``entries``, all bytes before ``offset`` are in ``batches``
batches that the service has taken in; ``sent`` says that it has accepted the next one, too. Of the other modes it says
that the call was made. ``entries_before`` are those that the dataset had. Of one dataset, at most one is open.
"""
