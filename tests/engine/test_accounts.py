"""The counts that a checkpoint keeps are those of its rows after any sequence of processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Job, Summary
from asyncfilter.errors import ImageError
from asyncfilter.model import ListedObject
from asyncfilter.testing import BROKEN, Stage
from tests.kit import jobs


def make_job(wanted: str, folder: str, matches: int | None, template: str) -> Job:
    """One of many jobs over the same checkpoint."""
    return jobs.make_job(
        rules=[{"keep": {"any": wanted}}, {"review": {"any": "Wing"}}],
        actions={"keep": {"copy": f"s3://clean/{folder}/{template}"}, "review": {"copy": "s3://look/{key}"}},
        limits={"tps": 2000, "concurrency": 20},
        stop={"matches": matches},
    )


JOBS = st.builds(
    make_job,
    wanted=st.sampled_from(["Robin", "Cat"]),
    folder=st.sampled_from(["a", "b"]),
    matches=st.none() | st.integers(1, 15),
    template=st.sampled_from(["{key}", "{key}", "{ext}"]),
)


@dataclass
class Process:
    """One process over the checkpoint, and the changes of the bucket before it."""

    job: Job
    verb: str
    killed_at_s: float
    put: dict[str, str] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()


KEYS = [f"{number:02d}.jpg" for number in range(30)]
LABELS = st.sampled_from(["Robin", "Cat", "Wing", BROKEN])
PROCESSES = st.builds(
    Process,
    job=JOBS,
    verb=st.sampled_from(["run", "run", "retry", "refilter", "die", "dry"]),
    killed_at_s=st.floats(0.01, 4.0),
    put=st.dictionaries(st.sampled_from(KEYS), LABELS, max_size=4),
    broken=st.frozensets(st.sampled_from(KEYS), max_size=6),
)


def recount(stage: Stage) -> dict[str, Any]:
    """The counts computed from the rows."""
    rows = [row for row in stage.checkpoint.images if row.seq is not None]
    verdicts = Counter(row.decision.verdict.value for row in rows if row.decision is not None and row.failure is None)
    return {
        "keep": verdicts["keep"],
        "review": verdicts["review"],
        "reject": verdicts["reject"],
        "failed": dict(Counter(row.failure.code for row in rows if row.failure is not None)),
        "examined": len(rows),
    }


def reported(summary: Summary) -> dict[str, Any]:
    """The same counts as the summary reports them."""
    counts = summary.counts
    return {
        "keep": counts.keep,
        "review": counts.review,
        "reject": counts.reject,
        "failed": counts.failed,
        "examined": counts.examined,
    }


@settings(max_examples=150, deadline=None)
@given(
    first=st.dictionaries(st.sampled_from(KEYS), LABELS, min_size=1),
    processes=st.lists(PROCESSES, min_size=1, max_size=6),
)
def test_counts_are_those_of_the_rows(first: dict[str, str], processes: list[Process]) -> None:
    """Runs, retries, refilters, dry runs and crashes under changing rules, targets, stops, objects and faults."""
    broken: set[str] = set()
    version = 0

    def sink_fault(key: str, _attempt: int) -> Exception | None:
        return ImageError("archived", code="archived") if key in broken else None

    stage = Stage(first, sink_fault=sink_fault)
    for process in processes:
        version += 1
        broken.clear()
        broken.update(process.broken)
        for key, label in process.put.items():
            stage.labels[key] = label
            stage.detector.learn({key: [(label, 90.0)]})
            stage.source.put(ListedObject(key, 1000, f"{key}-{version}"))
        if process.verb == "die":
            stage.run_and_die(process.job, process.killed_at_s)
            continue
        if process.verb == "refilter":
            summary = stage.refilter(process.job)
        else:
            summary = stage.run(process.job, retry_failed=process.verb == "retry", dry_run=process.verb == "dry")
        if process.verb != "dry":
            assert reported(summary) == recount(stage)
        kept = [row for row in stage.checkpoint.images if row.seq is not None and row.failure is None]
        wanted = [row for row in kept if row.decision is not None and row.decision.verdict.value != "reject"]
        if process.verb != "dry":
            assert all(row.effects for row in wanted)
            assert summary.counts.copied == len(wanted)
