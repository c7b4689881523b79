"""Where the time of an image goes: a whole run of ours without latency, its processor time told apart by stage.

``python -m benchmarks.workloads.costs JOB`` runs the program in this process and prints JSON. A timer interrupts it at
every millisecond of processor time; what the main thread used since the time before is booked on the innermost frame
that belongs to a stage, so that libraries count for whom they work. Other threads only write the checkpoint.
"""

from __future__ import annotations

import io
import json
import signal
import statistics
import sys
import threading
import time
from collections import defaultdict
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

from asyncfilter.cli.app import command_line
from benchmarks.bench import Bench
from benchmarks.peers import ours
from benchmarks.workloads.whole import UNBOUNDED_TPS

BEFORE = Path(__file__).with_name("costs_before.json")
"""The same figures at an earlier commit, measured by this module."""

ROUNDS = 3
_EVERY_S = 0.001

STAGES = {
    "producer": ("engine/producer.py", "aws/listing.py", "aws/fast.py:list_objects", "engine/preparing.py"),
    "same content": ("engine/twins.py",),
    "limiter": ("engine/limiter.py", "policy/pacing.py", "policy/rate.py", "policy/sliding.py"),
    "budget": ("engine/purse.py", "policy/budget.py", "policy/pricing.py"),
    "admission": ("engine/admission.py",),
    "decoding": ("aws/rekognition.py:read_labels", "aws/rekognition.py:_detection"),
    "rules": ("policy/rules.py",),
    "order and stop rules": ("engine/monitor.py", "policy/outcome.py", "records/tally.py", "policy/stopping.py"),
    "checkpoint": ("engine/journal.py", "checkpoint/"),
    "sink": ("engine/actions.py", "aws/s3.py", "aws/fast.py:copy_object"),
    "logging and progress": ("asyncfilter/report/", "cli/conduct.py:_tick", "cli/conduct.py:emit"),
    "call": (
        "engine/call.py",
        "engine/pool.py",
        "aws/rekognition.py",
        "aws/fast.py:__call__",
        "aws/http/connection.py:buffer_updated",
    ),
}
"""Ends of file names, or parts of them, and functions in them; the first stage that fits a frame has it."""

LOOP = "event loop"
"""What the event loop does between them."""

START = "start"
"""What belongs to no stage: imports, and opening everything."""


def measure(bench: Bench) -> dict[str, Any]:
    """Microseconds an image by stage, medians of a few runs, beside those before."""
    images = bench.sizes.whole["ours"]
    with bench.sandbox(images) as sandbox:
        rounds = [_round(bench, sandbox) for _ in range(min(ROUNDS, bench.sizes.rounds))]
    used_us = {
        stage: round(statistics.median(one.get(stage, 0.0) for one in rounds) * 1e6 / images, 1)
        for stage in (*STAGES, LOOP)
    }
    figures = {"rounds": len(rounds), "images": images, "us": used_us}
    return {**figures, "before": json.loads(BEFORE.read_text(encoding="utf-8"))} if BEFORE.exists() else figures


def _round(bench: Bench, sandbox: Any) -> dict[str, float]:
    job = ours.write_job(bench.task(tps=UNBOUNDED_TPS), bench.new_folder())
    used_s: dict[str, float] = bench.module("benchmarks.workloads.costs", job, sandbox=sandbox)
    return used_s


class Meter:
    """Books the main thread's processor time on stages, while it is started."""

    def __init__(self) -> None:
        self.used_s: defaultdict[str, float] = defaultdict(float)
        self._stage_of: dict[tuple[str, str], str | None] = {}
        self._at_s = 0.0

    def start(self) -> None:
        """Begin to interrupt this thread."""
        self._at_s = time.thread_time()
        signal.signal(signal.SIGPROF, self._book)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def stop(self) -> None:
        """Interrupt no more, and book what other threads have used on the checkpoint."""
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        self.used_s["checkpoint"] += time.process_time() - time.thread_time()

    def _book(self, _number: int, frame: FrameType | None) -> None:
        now_s = time.thread_time()
        used_s, self._at_s = now_s - self._at_s, now_s
        stage, is_in_loop = None, False
        while frame is not None:
            code = frame.f_code
            place = (code.co_filename, code.co_name)
            if place not in self._stage_of:
                self._stage_of[place] = stage_of(*place)
            stage = self._stage_of[place]
            if stage is not None:
                break
            is_in_loop = is_in_loop or place[1] == "_run_once"
            frame = frame.f_back
        else:
            stage = LOOP if is_in_loop else START
        self.used_s[stage] += used_s


def stage_of(file: str, function: str) -> str | None:
    """The stage that a frame belongs to; None when its caller decides."""
    for stage, places in STAGES.items():
        for place in places:
            path, _, name = place.partition(":")
            if path in file and name in {"", function}:
                return stage
    return None


def main() -> None:
    """Run the job that the command line names."""
    if threading.active_count() > 1:
        raise RuntimeError("other threads would be taken for the checkpoint's")
    meter = Meter()
    meter.start()
    with redirect_stdout(io.StringIO()):
        code = command_line(["run", sys.argv[1], "--json"])
    meter.stop()
    print(json.dumps(meter.used_s))
    sys.exit(code)


if __name__ == "__main__":
    main()
