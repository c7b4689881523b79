"""The checkpoint's port is five narrow protocols; every class used as a ``Checkpoint`` has all of their methods.

mypy checks parameters and results where an object is passed as a ``Checkpoint``. That holds only while no class in
between has ``__getattr__`` or a method that is in no protocol; both are checked here.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.engine.preview.overlays import OpenedView, ReferenceView, SampleView, View
from asyncfilter.ports.checkpoint import Checkpoint, LabelStore, ListingStore, Positions, RemovalJournal, RunHistory
from asyncfilter.testing import MemoryCheckpoint
from tests.kit.jobs import make_bare_job

NARROW: list[type] = [LabelStore, Positions, RemovalJournal, ListingStore, RunHistory]
OWN = {"location", "opened"}
"""Members of ``Checkpoint`` that are in none of the five."""

JOB = make_bare_job()


def members(protocol: type) -> set[str]:
    """The members of a protocol itself."""
    return {name for name in vars(protocol) if not name.startswith("_")}


EVERY = set().union(*map(members, NARROW), OWN)


def test_the_five_are_the_checkpoint() -> None:
    """Each member is in exactly one protocol; ``Checkpoint`` adds its location and its opening state."""
    assert members(Checkpoint) == OWN
    assert set(NARROW) < set(Checkpoint.__mro__)
    for one, other in combinations(NARROW, 2):
        assert members(one).isdisjoint(members(other))
    assert len(EVERY) == 31


@pytest.fixture
async def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """An object of each class used as a ``Checkpoint``."""
    if request.param == "sqlite":
        async with await open_checkpoint(tmp_path / "some.db", identity={}, name="some") as opened:
            yield opened
    elif request.param == "memory":
        yield MemoryCheckpoint()
    else:
        yield VIEWS[request.param](MemoryCheckpoint())


VIEWS: dict[str, Callable[[Checkpoint], View]] = {
    "opened": lambda checkpoint: OpenedView(checkpoint, checkpoint.opened),
    "sample": lambda checkpoint: SampleView(checkpoint, JOB),
    "reference": lambda checkpoint: ReferenceView(checkpoint, JOB),
}


@pytest.mark.parametrize("checkpoint", ["sqlite", "memory", *VIEWS], indirect=True)
def test_whatever_passes_for_a_checkpoint_has_every_member(checkpoint: Any) -> None:
    """Methods have the port's parameters and are coroutine functions; none comes from ``__getattr__``."""
    assert not hasattr(type(checkpoint), "__getattr__")
    for name in EVERY - OWN:
        promised = inspect.signature(getattr(Checkpoint, name)).parameters
        method = getattr(checkpoint, name)
        assert inspect.iscoroutinefunction(method), name
        assert list(inspect.signature(method).parameters) == list(promised)[1:], name
    assert set(dir(checkpoint)) >= OWN


@pytest.mark.parametrize("checkpoint", VIEWS, indirect=True)
def test_a_view_replaces_only_what_the_protocols_have(checkpoint: View) -> None:
    """A misspelt method of a view is no member, and leaves one missing; no method is both delegated and overridden."""
    methods = {name for name, value in inspect.getmembers(type(checkpoint), inspect.isfunction) if name[0] != "_"}
    assert methods <= EVERY
    assert methods.isdisjoint(vars(checkpoint))
    results = {"totals", "found", "failures"} if isinstance(checkpoint, ReferenceView) else set()
    assert {name for name in vars(checkpoint) if name[0] != "_"} == (EVERY - methods) | results
