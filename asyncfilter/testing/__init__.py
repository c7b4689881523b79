"""Ports in memory, for tests, notebooks and your own programs: they need no AWS, no network and no disk."""

from asyncfilter.testing.answers import MemoryAnswers
from asyncfilter.testing.checkpoint import MemoryCheckpoint
from asyncfilter.testing.clock import ManualClock
from asyncfilter.testing.crash import Crash, CrashingProxy, CrashPlan
from asyncfilter.testing.ports import MemoryReferences, MemorySource, RecordingSink, ScriptedDetector
from asyncfilter.testing.stage import BROKEN, SeededFaults, Stage
from asyncfilter.testing.store import MemoryStore
from asyncfilter.testing.virtual import LoopClock, run_virtually

__all__ = [
    "BROKEN",
    "Crash",
    "CrashPlan",
    "CrashingProxy",
    "LoopClock",
    "ManualClock",
    "MemoryAnswers",
    "MemoryCheckpoint",
    "MemoryReferences",
    "MemorySource",
    "MemoryStore",
    "RecordingSink",
    "ScriptedDetector",
    "SeededFaults",
    "Stage",
    "run_virtually",
]
