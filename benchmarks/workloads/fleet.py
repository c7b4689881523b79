"""Processor time of the command's process, the head of a fleet: beside one process alone, and with conversion.

Two workers on a Ray that the command starts, all on the cores of this machine. Only the head's own process is measured,
between two moments of a run; neither Ray's processes nor the workers count. No rate is set, so that all are as fast as
the machine lets them: at a low rate most of the time is that of rounds and commits, however few images these have, with
workers and without. Without Ray nothing is measured.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from asyncfilter.sandbox import SandboxProcess
from benchmarks.answers import CLEAN, RAW
from benchmarks.bench import Bench, detections, environment, wait_for_first_call
from benchmarks.peers.ours import command
from benchmarks.process import BenchmarkError, Process, cpu_s
from benchmarks.workloads.pictures import fill
from benchmarks.workloads.quota import LATENCY
from benchmarks.workloads.whole import UNBOUNDED_TPS

CLUSTER = {"engine": "ray", "workers": 2, "per_worker": {"cpus": 1}, "send": "all"}
CONVERTED_PX = (256, 192)
"""Pictures that two cores convert at the rate at which a fleet converts large ones."""
_START_S = 300.0
_LOOK_S = 0.02


class Head(NamedTuple):
    """What one process took.

    Attributes:
        cpu_ms: Processor time an image.
        per_s: Images a second meanwhile.
    """

    cpu_ms: float
    per_s: float


def measure(bench: Bench) -> dict[str, Any]:
    """Medians of rounds: a process alone and a head by reference, in turn, and a head whose workers convert."""
    alone: list[Head] = []
    heads: list[Head] = []
    converting: list[Head] = []
    if find_spec("ray") is not None:
        for _ in range(bench.sizes.fleet_rounds):
            alone.append(_by_reference(bench, "local"))
            heads.append(_by_reference(bench, "ray"))
            converting.append(_converting(bench))
    return {
        "alone_ms": _median([one.cpu_ms for one in alone], 3),
        "alone_per_s": _median([one.per_s for one in alone], 0),
        "head_ms": _median([head.cpu_ms for head in heads], 3),
        "head_per_s": _median([head.per_s for head in heads], 0),
        "head_times_alone": _median([head.cpu_ms / one.cpu_ms for one, head in zip(alone, heads, strict=True)], 3),
        "converting_head_ms": _median([head.cpu_ms for head in converting], 3),
        "converting_head_per_s": _median([head.per_s for head in converting], 0),
    }


def _median(figures: Sequence[float], digits: int) -> float | None:
    return round(statistics.median(figures), digits) if figures else None


def _by_reference(bench: Bench, where: str) -> Head:
    """Of images in a bucket; the first quarter and the last images are not measured."""
    images = bench.sizes.fleet_by_reference
    with bench.sandbox(images, latency=LATENCY) as sandbox:
        job = _job(bench.new_folder(), f"s3://{RAW}/", {"keep": {"copy": f"s3://{CLEAN}/{{key}}"}}, bench)
        with _running(job, where, sandbox) as process:
            return _measured(process, sandbox, images)


def _converting(bench: Bench) -> Head:
    """Of pictures in a folder that the service would reject."""
    pictures, images = bench.new_folder(), bench.sizes.fleet_converted
    fill(pictures, "WEBP", images, CONVERTED_PX)
    with bench.sandbox(1) as sandbox:
        job = _job(bench.new_folder(), str(pictures), {}, bench, convert=True)
        with _running(job, "ray", sandbox) as process:
            return _measured(process, sandbox, images)


def _job(folder: Path, source: str, actions: Mapping[str, object], bench: Bench, **keys: object) -> Path:
    document = {
        "version": 1,
        "name": "fleet",
        "source": {"uri": source, "include": "*"},
        "detector": {"region": "us-east-1"},
        "rules": [{"keep": {"any": [bench.answers.label], "confidence": bench.answers.confidence_pct}}],
        "otherwise": "reject",
        "actions": actions,
        "limits": {"tps": UNBOUNDED_TPS},
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


def _measured(process: Process, sandbox: SandboxProcess, images: int) -> Head:
    """From the first quarter of the images to the last sixteenth."""
    _await(sandbox, images // 4)
    began_s, cpu_before_s, calls_before = time.monotonic(), cpu_s(process.pid), detections(sandbox)
    _await(sandbox, images - images // 16)
    made = detections(sandbox) - calls_before
    if made <= 0:
        raise BenchmarkError(f"no call was made: {process.complaint()}")
    return Head((cpu_s(process.pid) - cpu_before_s) * 1000 / made, made / (time.monotonic() - began_s))


def _await(sandbox: SandboxProcess, calls: int) -> None:
    """Return once so many calls were made."""
    until_s = time.monotonic() + _START_S
    while detections(sandbox) < calls:
        if time.monotonic() > until_s:
            raise BenchmarkError(f"too few calls in {_START_S:g} s")
        time.sleep(_LOOK_S)
