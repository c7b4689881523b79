"""The checkpoint: everything that was paid for, in one SQLite file that one run at a time writes to."""

from __future__ import annotations

from asyncfilter.checkpoint.archive import archive_checkpoint
from asyncfilter.checkpoint.lock import Holder
from asyncfilter.checkpoint.lookup import Lookup, open_lookup
from asyncfilter.checkpoint.place import checkpoint_exists
from asyncfilter.checkpoint.place_trial import PlaceTrial, try_place
from asyncfilter.checkpoint.reader import (
    RunRecord,
    Status,
    count_outside,
    count_pending,
    read_duplicates,
    read_epoch,
    read_identity,
    read_images,
    read_images_named,
    read_labels,
    read_status,
    read_stored_references,
    read_taken_over,
    read_uid,
)
from asyncfilter.checkpoint.store import SqliteCheckpoint, open_checkpoint

__all__ = [
    "Holder",
    "Lookup",
    "PlaceTrial",
    "RunRecord",
    "SqliteCheckpoint",
    "Status",
    "archive_checkpoint",
    "checkpoint_exists",
    "count_outside",
    "count_pending",
    "open_checkpoint",
    "open_lookup",
    "read_duplicates",
    "read_epoch",
    "read_identity",
    "read_images",
    "read_images_named",
    "read_labels",
    "read_status",
    "read_stored_references",
    "read_taken_over",
    "read_uid",
    "try_place",
]
