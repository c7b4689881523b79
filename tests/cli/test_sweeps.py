"""Signals and kills at a few random moments; ``make sweep`` takes 200 of each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.fleet_sweep import sweep_fleets
from tests.kit.lease_sweep import sweep_leases
from tests.kit.state_sweep import sweep_states
from tests.kit.sweep import Sweep, sweep_kills, sweep_signals
from tests.kit.training_sweep import sweep_trainings

SEED = int(os.environ.get("ASYNCFILTER_SWEEP_SEED", "0")) or int.from_bytes(os.urandom(2))
MOMENTS = int(os.environ.get("ASYNCFILTER_SWEEP_MOMENTS", "2"))


@pytest.fixture(autouse=True)
def rows(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each sweep writes a row as soon as a moment is over: a sweep of hours that is ended shall not lose them."""
    path = tmp_path_factory.mktemp("rows") / "rows"
    monkeypatch.setattr(Sweep, "rows", path)
    yield
    assert path.read_text(encoding="utf-8").strip()


def test_fleets_in_memory(tmp_path: Path) -> None:
    """The answer of one process, and no call again but what was lost; ``sweep fleets`` takes 200 runs."""
    sweep = sweep_fleets(tmp_path, moments=1, seed=SEED)
    assert not sweep.wrong, f"seed {SEED}\n{sweep.report()}"


@pytest.mark.slow
def test_signals_at_any_moment(tmp_path: Path) -> None:
    """Exit 75 or 130 and no traceback; the signal is never lost; the same command gives the same result."""
    sweep = sweep_signals(tmp_path, moments=MOMENTS, seed=SEED)
    assert not sweep.wrong, f"seed {SEED}\n{sweep.report()}"


@pytest.mark.slow
def test_kills_of_leases(tmp_path: Path) -> None:
    """No model runs without a row, none after its lease once its watcher or a command has looked."""
    sweep = sweep_leases(tmp_path, moments=MOMENTS, seed=SEED)
    assert not sweep.wrong, f"seed {SEED}\n{sweep.report()}"


@pytest.mark.slow
def test_kills_of_trainings(tmp_path: Path) -> None:
    """No batch is sent again but the last, no training is paid for twice; the same command goes on to the end."""
    pytest.importorskip("numpy", reason="training in the sandbox needs the extra sandbox-training")
    sweep = sweep_trainings(tmp_path, moments=max(1, MOMENTS // 2), seed=SEED)
    assert not sweep.wrong, f"seed {SEED}\n{sweep.report()}"


@pytest.mark.slow
def test_machines_are_lost(tmp_path: Path) -> None:
    """With their disks, and the same command goes on elsewhere: what was committed is neither lost nor paid again."""
    sweep = sweep_states(tmp_path, moments=max(1, MOMENTS // 2), seed=SEED)
    assert not sweep.wrong, f"seed {SEED}\n{sweep.report()}"


@pytest.mark.slow
def test_kills_while_everything_fails(tmp_path: Path) -> None:
    """Nothing is lost, nothing is paid twice but what was in flight, no traceback that is not the program's own."""
    sweep = sweep_kills(tmp_path, moments=MOMENTS, seed=SEED)
    assert not sweep.wrong, f"seed {SEED}\n{sweep.report()}"
