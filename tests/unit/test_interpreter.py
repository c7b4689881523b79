"""Settings of the interpreter are changed by processes that are ours, never by the library."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asyncfilter import Overrides, refilter, run
from asyncfilter.fleet.examiner import ExaminerPorts
from asyncfilter.fleet.messages import Bye, Greet, Hello, encode, head_frame
from asyncfilter.interpreter import SWITCH_INTERVAL_S, shorten_switch_interval
from asyncfilter.model import ListedObject
from asyncfilter.testing import MemorySource, RecordingSink, ScriptedDetector
from asyncfilter.wiring import fleet_actor
from tests.kit.jobs import make_bare_job

KEYS = [f"{number}.jpg" for number in range(20)]


async def test_the_library_does_not_change_the_interval(tmp_path: Path) -> None:
    """A run over a checkpoint file, and a refilter of it, do not change the interval, also not temporarily."""
    before_s = sys.getswitchinterval()
    seen_s: set[float] = set()
    overrides = Overrides(
        source=MemorySource([ListedObject(key=key, etag=key, size_bytes=1) for key in KEYS]),
        detector=ScriptedDetector({key: [("Robin", 99.0)] for key in KEYS}),
        sink=RecordingSink(),
    )
    job = make_bare_job(base_dir=tmp_path)
    summary = await run(job, overrides=overrides, on_event=lambda _: seen_s.add(sys.getswitchinterval()))
    assert summary.counts.keep == len(KEYS)
    assert job.checkpoint.exists()
    await refilter(job, overrides=overrides, on_event=lambda _: seen_s.add(sys.getswitchinterval()))
    assert seen_s == {before_s}
    assert sys.getswitchinterval() == before_s


def test_the_command_line_shortens_it() -> None:
    """The program sets the interval before any command begins."""
    code = (
        "import atexit, sys\n"
        "from asyncfilter.__main__ import main\n"
        "atexit.register(lambda: print(sys.getswitchinterval()))\n"
        "sys.argv = ['asyncfilter', '--version']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert float(done.stdout.splitlines()[-1]) == pytest.approx(SWITCH_INTERVAL_S, rel=0.01)


def test_a_shorter_interval_stays() -> None:
    """An interval that is already shorter is not made longer."""
    before_s = sys.getswitchinterval()
    try:
        sys.setswitchinterval(SWITCH_INTERVAL_S / 10)
        shorten_switch_interval()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S / 10, rel=0.01)
        sys.setswitchinterval(0.005)
        shorten_switch_interval()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S, rel=0.01)
    finally:
        sys.setswitchinterval(before_s)


async def test_a_worker_spares_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full one takes longer than a turn is good for: turns came back unused, two in a hundred at 2,000 a second."""
    before, ended = gc.get_threshold(), asyncio.Event()
    never = SimpleNamespace(detect=None)
    hello = Hello("1", "f", "p", "host", 1, "node", 1.0, 0.0)
    monkeypatch.setattr(fleet_actor, "read_spec", lambda _: SimpleNamespace(environment={}))
    monkeypatch.setattr(fleet_actor, "open_ports", _open(ExaminerPorts(detector=cast("Any", never))))
    monkeypatch.setattr(fleet_actor, "_hello", lambda _: hello)
    monkeypatch.setattr(fleet_actor, "on_sigterm", lambda _: None)
    monkeypatch.setattr(fleet_actor, "end_this_actor", ended.set)
    actor = fleet_actor.ExaminerActor(b"", "worker")
    try:
        assert await actor.opened() == b""
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() != before
        await actor.take(head_frame("s", 1, 0.0, [encode(Greet("1", "f", "head")), encode(Bye())]))
        await asyncio.wait_for(ended.wait(), 30)
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


def _open(ports: ExaminerPorts) -> Callable[[object, object], Awaitable[ExaminerPorts]]:
    async def opened(_spec: object, _stack: object) -> ExaminerPorts:
        return ports

    return opened
