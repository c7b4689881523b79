"""The ports of the engine: protocols that a program can implement to replace source, detector, sink or checkpoint.

Any object with the methods of a protocol can be used in a run; ``asyncfilter.testing`` has one of each in memory. Every
method makes exactly one attempt and raises from ``asyncfilter.errors`` (``CallError`` for what concerns one call,
``AccessError`` for what concerns the account): the engine is responsible for retries, rate, budget and concurrency.
"""

from __future__ import annotations

from asyncfilter.policy.removal_query import RemovalQuery
from asyncfilter.ports.answers import AnsweredImage, Answers
from asyncfilter.ports.checkpoint import Checkpoint, LabelStore, ListingStore, Positions, RemovalJournal, RunHistory
from asyncfilter.ports.examine import (
    BoundedPreparation,
    Contents,
    Detector,
    Files,
    Memory,
    Page,
    Preparation,
    Prepared,
    References,
    Sink,
    Source,
)
from asyncfilter.ports.remover import (
    DELETES_AT_ONCE,
    CopyResult,
    DeleteRequest,
    DeleteResult,
    ObjectState,
    Remover,
    VersionState,
)
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict, LabelledBox, Subject, TakenOver
from asyncfilter.records.images import DoneEffect, Owner, StoredImage, StoredReference
from asyncfilter.records.progress import Batch, Opened, Totals, Watermark
from asyncfilter.records.removal import BucketState, Removal, Step
from asyncfilter.records.tally import Tally

__all__ = [
    "DELETES_AT_ONCE",
    "AnsweredImage",
    "Answers",
    "Batch",
    "BoundedPreparation",
    "BucketState",
    "Checkpoint",
    "Contents",
    "CopyResult",
    "CurrentAnswer",
    "CurrentVerdict",
    "DeleteRequest",
    "DeleteResult",
    "Detector",
    "DoneEffect",
    "Files",
    "LabelStore",
    "LabelledBox",
    "ListingStore",
    "Memory",
    "ObjectState",
    "Opened",
    "Owner",
    "Page",
    "Positions",
    "Preparation",
    "Prepared",
    "References",
    "Removal",
    "RemovalJournal",
    "RemovalQuery",
    "Remover",
    "RunHistory",
    "Sink",
    "Source",
    "Step",
    "StoredImage",
    "StoredReference",
    "Subject",
    "TakenOver",
    "Tally",
    "Totals",
    "VersionState",
    "Watermark",
]
