"""The switch interval is shortened by the program, never by the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asyncfilter import Overrides, refilter, run
from asyncfilter.cli.switch_interval import SWITCH_INTERVAL_S, shorten_switch_interval
from asyncfilter.model import ListedObject
from asyncfilter.testing import MemorySource, RecordingSink, ScriptedDetector
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
