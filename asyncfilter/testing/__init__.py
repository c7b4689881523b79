"""Ports in memory, for tests, notebooks and programs of your own: nothing here needs AWS, a network or a disk."""

from asyncfilter.testing.checkpoint import MemoryCheckpoint
from asyncfilter.testing.clock import ManualClock
from asyncfilter.testing.ports import MemorySource, RecordingSink, ScriptedDetector

__all__ = ["ManualClock", "MemoryCheckpoint", "MemorySource", "RecordingSink", "ScriptedDetector"]
