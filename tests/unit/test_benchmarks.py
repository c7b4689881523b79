"""The benchmarks are fair and correct: peers do the same work, and tables agree with the figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import asyncfilter
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess, SyntheticSpec
from benchmarks import check, files, tables
from benchmarks.answers import PATTERN, RAW, Answers
from benchmarks.bench import Bench, environment
from benchmarks.goals import GOALS, Goal, judge
from benchmarks.machine import Cores
from benchmarks.peers import PEERS
from benchmarks.peers.task import Task
from benchmarks.plots import all_plots
from benchmarks.process import BenchmarkError
from benchmarks.sizes import FULL, QUICK
from benchmarks.workloads import costs, quota
from benchmarks.workloads.whole import full_seconds
from tests.kit.services import boto_client

IMAGES = 20

# -- Peers -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """The keys with ETags that each peer copied; all peers run at once on one sandbox."""
    folder, answers = tmp_path_factory.mktemp("peers"), Answers.of(None)
    buckets = {name: f"clean-{name.replace('_', '-')}" for name in PEERS}
    options = SandboxOptions(
        synthetic=(SyntheticSpec(RAW, IMAGES, PATTERN),), buckets=tuple(map(BucketSpec, buckets.values()))
    )
    with ExitStack() as stack:
        sandbox = stack.enter_context(SandboxProcess(options))
        running = []
        for name, peer in PEERS.items():
            task = Task(
                source=RAW,
                target=buckets[name],
                label=answers.label,
                confidence_pct=answers.confidence_pct,
                tps=100.0,
            )
            command = peer.command(task, folder / name)
            env = environment(sandbox.environment())
            running.append(stack.enter_context(subprocess.Popen(command, env=env, stdout=-3, stderr=-1)))
        for process in running:
            error_output = process.communicate(timeout=60)[1].decode()
            assert process.returncode == 0, error_output
        yield {name: _contents(sandbox, bucket) for name, bucket in buckets.items()}


def _contents(sandbox: SandboxProcess, bucket: str) -> dict[str, str]:
    with boto_client(sandbox, "s3") as s3:
        return {item["Key"]: item["ETag"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


@pytest.mark.parametrize("name", [name for name in PEERS if name != "one_by_one"])
def test_every_peer_makes_the_copies_of_the_one_by_one_script(name: str, copies: dict[str, dict[str, str]]) -> None:
    """All copied the same keys with the same content; some images are kept and some are not."""
    assert 0 < len(copies["one_by_one"]) < IMAGES
    assert copies[name] == copies["one_by_one"]


def test_drawn_answers_keep_about_one_image_in_seven() -> None:
    """Matches are neither rare nor common, so that the share of copies is realistic."""
    answers = Answers.of(None)
    kept = sum(
        any(label.name == answers.label and label.confidence_pct >= answers.confidence_pct for label in one.labels)
        for one in answers.detections
    )
    assert 0.1 < kept / len(answers.detections) < 0.2


def test_recorded_answers_give_the_label(tmp_path: Path) -> None:
    """The label is the one whose share is nearest to one in seven, and the sandbox gives these answers."""
    rows = [{"Labels": [{"Name": "Usual", "Confidence": 90.0}] * (n < 2)} for n in range(13)]
    rows.append({"Labels": [{"Name": "Rare", "Confidence": 90.0}]})
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text("".join(json.dumps({"response": row}) + "\n" for row in rows))
    answers = Answers.of(recorded)
    assert (answers.name, answers.label, len(answers.detections)) == ("recorded", "Usual", 14)
    assert answers.sandbox["recorded"] == str(recorded)


# -- Measuring ---------------------------------------------------------------------------------------------------------


def test_a_process_is_measured_from_outside(tmp_path: Path) -> None:
    """Processor time, memory and output are the process's own; a failure has its cause."""
    bench = Bench(sizes=QUICK, folder=tmp_path, cores=Cores(None, None))
    busy = "import time; held = bytearray(60_000_000); until = time.process_time() + 0.25\n"
    busy += "while time.process_time() < until: pass\nprint('done')"
    ran = bench.run([sys.executable, "-c", busy])
    assert ran.stdout == "done\n"
    assert ran.cpu_s >= 0.25
    assert ran.peak_mb >= 60
    with pytest.raises(BenchmarkError, match="no such luck"):
        bench.run([sys.executable, "-c", "raise SystemExit('no such luck')"])


def test_a_share_is_that_of_the_second_half() -> None:
    """A slow start does not count; throttles of the halves are counted separately."""
    result = quota.judge([(10, 0, 10), (10, 10, 0), (60, 45, 15), (50, 50, 0)], 50)
    assert result["share"] == 0.95
    assert result["throttled_late_pct"] == round(15 / 110 * 100, 3)
    assert result["throttled_pct"] == round(25 / 130 * 100, 3)


def test_images_a_second_leave_ramp_and_end_out() -> None:
    """Only seconds with at least half of the fullest one count, and never the last; too few give no figure."""
    assert full_seconds([5, 10, 20, 3000, 5000, 4000, 10_000]) == 4000.0
    assert full_seconds([400, 100]) is None
    assert full_seconds([400]) is None


@pytest.mark.parametrize("sizes", [FULL, QUICK], ids=lambda sizes: sizes.name)
def test_every_goal_of_a_quota_has_its_case(sizes: Any) -> None:
    """Each peer is measured, light cases have few calls a second, and nothing is measured twice."""
    every = list(quota.cases(sizes))
    assert len(set(every)) == len(every)
    assert {case.peer for case in every} == set(PEERS) - {"fallback"}
    assert all(case.quota_tps <= 50 for case in every if case.is_light)
    assert {case.told for case in every if case.peer == "ours"} == {"right", "half", "unknown"}


# -- Tables and plots --------------------------------------------------------------------------------------------------


def test_time_is_booked_on_parts_that_are_there() -> None:
    """Every stage names existing files and functions: a renamed one would be counted for its caller."""
    sources = {
        path.as_posix(): path.read_text(encoding="utf-8") for path in Path(asyncfilter.__file__).parent.rglob("*.py")
    }
    for stage, locations in costs.STAGES.items():
        for location in locations:
            path, _, function = location.partition(":")
            texts = [text for file, text in sources.items() if path in file]
            assert texts, (stage, location)
            assert any(f"def {function}" in text for text in texts), (stage, location)
            assert costs.stage_of(next(file for file in sources if path in file), function) == stage
    assert costs.stage_of("/usr/lib/python3/json/decoder.py", "decode") is None


def test_goals_are_judged_by_full_runs_alone() -> None:
    """A figure beyond its upper or lower bound is not met; a quick run has no verdict."""
    results = {"checkpoint": {"cpu_us_per_image": 26.0, "bytes_per_image": 260}, "listing": {"ours_times_less": 20.0}}
    met = {one.what: (one.is_met, one.is_stretch_met) for one in judge(results, is_full=True) if one.figure is not None}
    assert met == {
        "listing, processor time times less than aioboto3's paginator": (True, None),
        "checkpoint, processor time an image, whole answer kept": (False, None),
        "checkpoint, size of an image": (True, False),
    }
    assert all(one.is_met is None and one.is_stretch_met is None for one in judge(results, is_full=False))


def test_the_worst_case_decides() -> None:
    """For quotas of one kind the lowest share and the most throttles count; peers do not."""
    case = {"peer": "ours", "told": "half", "quota_tps": 50, "share": 0.99, "throttled_late_pct": 0.1}
    cases = [case, {**case, "quota_tps": 5, "share": 0.9, "throttled_late_pct": 0.6}, {**case, "peer": "x", "share": 0}]
    results_by_name = {one.what: one for one in judge({"quota": {"cases": cases}}, is_full=True)}
    share = results_by_name["quota half of what was told, share in the second half, the worst"]
    throttled = results_by_name["quota half of what was told, throttled in the second half, the worst"]
    assert (share.figure, share.is_met) == (0.9, False)
    assert (throttled.figure, throttled.is_met) == (0.6, False)
    assert results_by_name["share of a known quota of 50 a second, 300 ms with a slow tail"].figure is None


def test_a_goal_that_is_not_met_is_shown_so() -> None:
    """In a full run every goal in the table is met, not met, or not measured."""
    goal = Goal(what="speed", figure=lambda _: 2.0, goal=3, is_least=True)
    assert goal not in GOALS
    text = tables.goals_table(judge({"listing": {"ours_times_less": 19.0}}, is_full=True))
    assert "| listing, processor time times less than aioboto3's paginator | 19.0 | >= 20 | **not met** |" in text
    assert "| `asyncfilter --help` | not measured | <= 0.3 s |  |" in text


def test_a_block_takes_its_place_in_the_page() -> None:
    """Only the text between the marks changes; a page without marks is refused."""
    page = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    assert tables.placed(page, "new") == f"before\n{tables.BEGIN}\nnew\n{tables.END}\nafter\n"
    with pytest.raises(ValueError, match="no place"):
        tables.placed("nothing here", "new")


def test_json_keeps_its_values_and_its_lists_on_a_line() -> None:
    """Series are written one per line, which keeps diffs readable, and are read back unchanged."""
    document = {"a": {"b": [1, 2, [3, 4.5]], "c": [{"d": []}]}, "e": "x"}
    text = files.compact_json(document)
    assert json.loads(text) == document
    assert '"b": [1,2,[3,4.5]]' in text


def test_the_guard_compares_ratios() -> None:
    """The same ratio on a machine half as fast is the same result."""

    def whole(ours: float, obvious: float) -> dict[str, Any]:
        return {"peers": {"ours": {"cpu_ms": ours}, "obvious": {"cpu_ms": obvious}}}

    assert check.ratio(whole(0.1, 1.0)) == check.ratio(whole(0.2, 2.0)) == 0.1


# -- The committed results ---------------------------------------------------------------------------------------------

COMMITTED = files.read(files.RESULTS)


def test_the_page_agrees_with_the_results() -> None:
    """``docs/performance.md`` holds exactly the table of the committed JSON."""
    page = files.PAGE.read_text(encoding="utf-8")
    assert page == tables.placed(page, tables.summary(COMMITTED)), "run: python -m benchmarks --redraw"


def test_tables_and_plots_are_those_of_the_results() -> None:
    """The committed plots are those drawn from the JSON now, and they are complete."""
    report = (files.RESULTS / "results.md").read_text(encoding="utf-8")
    assert report == tables.report(COMMITTED), "run: python -m benchmarks --redraw"
    drawn = dict(all_plots(tables.figures(COMMITTED)))
    assert set(drawn) == {"cpu.svg", "rates.svg", "memory.svg"}
    for name, text in drawn.items():
        assert (files.RESULTS / name).read_text(encoding="utf-8") == text, "run: python -m benchmarks --redraw"
        assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"


def test_lanes_and_fleets_are_judged_by_the_worst_of_what_was_measured() -> None:
    """A lane that was cut is not judged while it is; without Ray the head of a fleet is not measured."""
    lanes = {"a": {"share": 0.97, "share_beside_cut": 0.96}, "b": {"share": 0.94, "share_beside_cut": None}}
    fleet = {"alone_ms": None, "head_ms": None, "converting_head_ms": None}
    found = {one.what: one for one in judge({"lanes": {"lanes": lanes}, "fleet": fleet}, is_full=True)}
    of_lanes = [
        (one.figure, one.is_met) for what, one in found.items() if what.startswith(("lanes of", "the same while"))
    ]
    assert of_lanes == [(0.94, False), (0.96, True)]
    assert {one.figure for what, one in found.items() if what.startswith("head of a fleet")} == {None}


def test_all_workloads_are_in_the_results() -> None:
    """The committed results have all measurements, and a figure for every goal in a full run."""
    from benchmarks.suite import WORKLOADS

    assert set(COMMITTED["workloads"]) == set(WORKLOADS)
    if COMMITTED["name"] == "full":
        assert all(one.figure is not None for one in judge(tables.figures(COMMITTED), is_full=True))
