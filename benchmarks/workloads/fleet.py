"""Processor time of the command's process, the head of a fleet: beside one process alone, and with conversion.

Two workers on a Ray that the command starts, all on the cores of this machine. Only the head's own process is measured,
between two moments of a run; neither Ray's processes nor the workers count. Without Ray nothing is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import SandboxProcess
from benchmarks.answers import CLEAN, RAW
from benchmarks.bench import Bench, detections, environment, wait_for_first_call
from benchmarks.peers.ours import command
from benchmarks.process import BenchmarkError, Process, cpu_s
from benchmarks.workloads.pictures import fill
from benchmarks.workloads.quota import LATENCY

TPS = 300.0
CLUSTER = {"engine": "ray", "workers": 2, "per_worker": {"cpus": 1}, "send": "all"}
RAMP_S = 8.0
_START_S = 300.0
_LOOK_S = 0.05


def measure(bench: Bench) -> dict[str, Any]:
    """Milliseconds of processor time an image: by reference alone and with workers, and with workers that convert."""
    if find_spec("ray") is None:
        return {"tps": TPS, "alone_ms": None, "head_ms": None, "converting_head_ms": None}
    return {
        "tps": TPS,
        "alone_ms": _by_reference(bench, "local"),
        "head_ms": _by_reference(bench, "ray"),
        "converting_head_ms": _converting(bench),
    }


def _by_reference(bench: Bench, where: str) -> float:
    seconds = bench.sizes.fleet_s
    with bench.sandbox(int(TPS * (RAMP_S + seconds)), latency=LATENCY) as sandbox:
        job = _job(bench.new_folder(), f"s3://{RAW}/", {"keep": {"copy": f"s3://{CLEAN}/{{key}}"}}, bench, tps=TPS)
        with _running(job, where, sandbox) as process:
            time.sleep(RAMP_S)
            return _measured(process, sandbox, until_s=time.monotonic() + seconds)


def _converting(bench: Bench) -> float:
    """Of pictures in a folder that the service would reject; the first and the last ones are not measured."""
    pictures, count = bench.new_folder(), bench.sizes.conversions
    fill(pictures, "WEBP", count)
    with bench.sandbox(1) as sandbox:
        job = _job(bench.new_folder(), str(pictures), {}, bench, tps=10_000.0, convert=True)
        with _running(job, "ray", sandbox) as process:
            _await(sandbox, process, count // 8)
            return _measured(process, sandbox, calls=count * 3 // 4)


def _job(folder: Path, source: str, actions: Mapping[str, object], bench: Bench, *, tps: float, **keys: object) -> Path:
    document = {
        "version": 1,
        "name": "fleet",
        "source": {"uri": source, "include": "*"},
        "detector": {"region": "us-east-1"},
        "rules": [{"keep": {"any": [bench.answers.label], "confidence": bench.answers.confidence_pct}}],
        "otherwise": "reject",
        "actions": actions,
        "limits": {"tps": tps},
        "cluster": CLUSTER,
        **keys,
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@contextmanager
def _running(job: Path, where: str, sandbox: SandboxProcess) -> Iterator[Process]:
    """A run on all cores, from its first call on; it goes to its end, so that its Ray is stopped."""
    started = [*command("run", job), "--on", where]
    with Process(started, environment(sandbox.environment()), job.parent) as process:
        wait_for_first_call(sandbox, process, timeout_s=_START_S)
        yield process
        ran = process.wait()
        if ran.exit_code not in {0, 1}:
            raise BenchmarkError(f"{started} ended with {ran.exit_code}: {process.complaint()}")


def _measured(
    process: Process, sandbox: SandboxProcess, *, until_s: float = float("inf"), calls: int | None = None
) -> float:
    """Milliseconds of processor time for each call, until a moment or a number of calls."""
    cpu_before_s, calls_before = cpu_s(process.pid), detections(sandbox)
    while time.monotonic() < until_s and (calls is None or detections(sandbox) < calls):
        time.sleep(_LOOK_S)
    made = detections(sandbox) - calls_before
    if not made:
        raise BenchmarkError(f"no call was made: {process.complaint()}")
    return round((cpu_s(process.pid) - cpu_before_s) * 1000 / made, 3)


def _await(sandbox: SandboxProcess, process: Process, calls: int) -> None:
    """Return once so many calls were made."""
    until_s = time.monotonic() + _START_S
    while detections(sandbox) < calls:
        if time.monotonic() > until_s:
            raise BenchmarkError(f"too few calls in {_START_S:g} s: {process.complaint()}")
        time.sleep(_LOOK_S)
