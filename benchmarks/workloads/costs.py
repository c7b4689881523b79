"""Where the time of an image goes: a whole run of ours without latency, its processor time split by stage.

``python -m benchmarks.workloads.costs JOB`` runs the program in this process and prints JSON. A timer interrupts it at
every millisecond of processor time. The time that the main thread used since the previous interrupt is booked on the
innermost frame that belongs to a stage, so that a library counts for its caller. Other threads only write the
checkpoint.
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
from asyncfilter.interpreter import shorten_switch_interval
from benchmarks.bench import Bench
from benchmarks.peers import ours
from benchmarks.workloads.whole import UNBOUNDED_TPS

BEFORE = Path(__file__).with_name("costs_before.json")
"""The same figures at an earlier commit, measured by this module."""

ROUNDS = 3
_EVERY_S = 0.001

STAGES = {
    "producer": (
        "engine/examine/producer.py",
        "aws/clients/list_xml.py",
        "aws/clients/fast.py:list_objects",
        "engine/examine/prefetch.py",
        "engine/examine/stored_listing.py",
        "engine/examine/listing_count.py",
    ),
    "same content": ("engine/examine/duplicates.py",),
    "limiter": (
        "engine/core/limiter.py",
        "engine/core/backends.py",
        "engine/core/watchdog.py",
        "policy/pacing.py",
        "policy/rate.py",
        "policy/sliding_window.py",
    ),
    "budget": ("engine/core/budget_gate.py", "policy/budget.py", "policy/pricing.py"),
    "admission": ("engine/examine/admission.py",),
    "decoding": ("aws/detectors/labels.py:read_labels", "aws/detectors/labels.py:_detection"),
    "rules": ("policy/rules.py",),
    "order and stop rules": (
        "engine/settle/sequencer.py",
        "engine/settle/target_claims.py",
        "records/tally.py",
        "policy/stopping.py",
        "policy/outcome.py",
    ),
    "checkpoint": (
        "engine/settle/committer.py",
        "engine/settle/loop.py",
        "engine/core/pending.py",
        "engine/core/spending.py",
        "checkpoint/",
    ),
    "sink": ("engine/settle/sink_stage.py", "aws/s3/source_sink.py", "aws/clients/fast.py:copy_object"),
    "logging and progress": (
        "asyncfilter/report/",
        "engine/core/listener.py",
        "engine/settle/run_summary.py",
        "cli/run_console.py:_tick",
        "cli/run_console.py:emit",
    ),
    "call": (
        "engine/examine/detect.py",
        "engine/examine/stage.py",
        "engine/core/pool.py",
        "aws/detectors/labels.py",
        "aws/clients/fast.py:__call__",
        "aws/clients/http/connection.py:buffer_updated",
    ),
}
"""Ends or parts of file paths, with a function after a colon where only that function counts.

A frame belongs to the first stage that matches. Files that several stages use (work_item, retry, stopping,
memory_limit) are not listed: their time counts for the caller. Assemblies and the life cycle of a run belong to no
stage. Redecision is not listed because a new run has nothing to redecide."""

LOOP = "event loop"
"""Time of the event loop outside all stages."""

START = "start"
"""Time that belongs to no stage: imports, and opening files and clients."""


def measure(bench: Bench) -> dict[str, Any]:
    """Microseconds per image by stage, medians of a few runs, and the figures of the earlier commit."""
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
    """Books the main thread's processor time on stages, between ``start`` and ``stop``."""

    def __init__(self) -> None:
        self.used_s: defaultdict[str, float] = defaultdict(float)
        self._stage_of: dict[tuple[str, str], str | None] = {}
        self._at_s = 0.0

    def start(self) -> None:
        """Start the timer that interrupts this thread."""
        self._at_s = time.thread_time()
        signal.signal(signal.SIGPROF, self._book)
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def stop(self) -> None:
        """Stop the timer, and book the processor time of all other threads on the checkpoint."""
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
    """The stage of a frame; None if its time counts for the caller."""
    for stage, places in STAGES.items():
        for place in places:
            path, _, name = place.partition(":")
            if path in file and name in {"", function}:
                return stage
    return None


def main() -> None:
    """Run the job that the command line names."""
    if threading.active_count() > 1:
        raise RuntimeError("the processor time of other threads would count for the checkpoint")
    shorten_switch_interval()  # as the program does at its start
    meter = Meter()
    meter.start()
    with redirect_stdout(io.StringIO()):
        code = command_line(["run", sys.argv[1], "--json"])
    meter.stop()
    print(json.dumps(meter.used_s))
    sys.exit(code)


if __name__ == "__main__":
    main()
