"""The HTML of results in notebooks: ``_repr_html_``."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter import notebook
from asyncfilter.model import ActionKind, Counts, Detection, Label, StopReason, Summary, Verdict
from asyncfilter.policy.reference_labels import Labelled
from asyncfilter.policy.removal_plan import Group, RemovalPlan, RemovalSummary
from asyncfilter.policy.throughput import BenchPlan, Measurement, Samples, throughput
from asyncfilter.records.removal import BucketState, Versioning
from asyncfilter.testing import Stage, run_virtually
from asyncfilter.wiring.plan import plan
from tests.kit.jobs import make_bare_job

HOSTILE = "<script>alert('a & \"b\"')</script>"


class Text(HTMLParser):
    """Parses HTML into tags and text, and checks that it is well formed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs in ([], [("style", "text-align: left")])
        self.tags.add(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def shown(result: Any) -> Text:
    """The parsed HTML of a result."""
    return Text(result._repr_html_())


def summary(name: str = "robins", **fields: Any) -> Summary:
    """A finished run."""
    usual: dict[str, Any] = {
        "run_id": "1",
        "name": name,
        "stop_reason": StopReason.COMPLETED,
        "counts": Counts(listed=1234, examined=5, keep=3, failed={"vanished": 2}, spent_micros=5000, billed_calls=5),
        "this_run": Counts(),
        "budget_micros": 25_000_000,
        "tps_mean": 1.0,
        "tps_limit": None,
        "wall_s": 62.4,
        "resumed": False,
        "checkpoint": "robins.db",
    }
    return Summary(**usual | fields)


def removal_plan(text: str) -> RemovalPlan:
    """A plan whose every text is ``text``."""
    group = Group(
        verdict=Verdict.REJECT, rule=0, kind=ActionKind.MOVE, target=text, images=2, size_bytes=2000, sample=(text,)
    )
    return RemovalPlan(
        name=text,
        source=text,
        is_removal=True,
        groups=(group,),
        lost=(Group(kind=ActionKind.DELETE, target="none", images=1, size_bytes=1, sample=()),),
        images=2,
        size_bytes=2000,
        examined=10,
        state=BucketState(versioning=Versioning.OFF),
        digest="",
    )


def removal_summary(text: str) -> RemovalSummary:
    """A summary whose every text is ``text``."""
    return RemovalSummary(
        run_id=text,
        name=text,
        stop_reason=StopReason.ERRORS,
        planned=2,
        moved=1,
        failed={text: 1},
        checkpoint=text,
        error=text,
        hint=text,
    )


def labelled(text: str) -> Labelled:
    """Reference labels whose every text is ``text``."""
    return Labelled(labels={text: Detection((Label(text, 98.76),)), "b": Detection(())}, calls=1, spent_micros=1000)


@pytest.mark.parametrize(
    "result",
    [
        summary(HOSTILE, checkpoint=HOSTILE, error=HOSTILE, hint=HOSTILE, counts=Counts(failed={HOSTILE: 1})),
        removal_plan(HOSTILE),
        removal_summary(HOSTILE),
        labelled(HOSTILE),
    ],
    ids=["summary", "removal plan", "removal summary", "labels"],
)
def test_names_and_keys_cannot_become_markup(result: Any) -> None:
    """A key with a script is shown as text."""
    assert "<script" not in result._repr_html_()
    page = shown(result)
    assert page.tags <= {"table", "caption", "tr", "th", "td", "bdi"}
    assert any(HOSTILE in text for text in page.text)


@given(st.text())
def test_any_text_is_one_cell(text: str) -> None:
    """With any key, cells are closed correctly and stay on one line."""
    page = notebook.table(text, [(text, text)])
    assert Text(page).tags <= {"table", "caption", "tr", "th", "td", "bdi"}
    assert len(page.splitlines()) == 1


def test_a_summary_shows_its_figures() -> None:
    """Amounts are exact, counts have separators, and zero counts have no row."""
    text = shown(summary()).text
    for cell in ("robins: completed", "1,234", "2 vanished", "$0.005 of $25.00 for 5 billed calls", "0:01:02"):
        assert cell in text
    assert not {"error", "hint", "copied", "stale", "pending"} & set(text)


def test_a_removal_plan_shows_groups_and_what_is_lost() -> None:
    """Each group has a row with reason, count, action and some keys."""
    text = shown(removal_plan("a.jpg")).text
    assert "a.jpg: 2 images to leave a.jpg, 20.0 % with those removed before" in text
    for cell in ("reject, rules[0]", "move to a.jpg", "2,000", "cannot be brought back"):
        assert cell in text


def test_reference_labels_are_listed() -> None:
    """The table has the labels with the highest confidence of each image, and the cost."""
    assert shown(labelled("a.jpg")).text == [
        "2 images, $0.001 for 1 calls",
        "a.jpg",
        "a.jpg 98.8 %",
        "b",
        "no labels",
    ]


def test_a_plan_shows_forecast_and_estimates() -> None:
    """With a sample, each estimate has its interval."""
    stage = Stage({f"{n:02}.jpg": "Robin" if n % 2 else "Cat" for n in range(40)})
    job = make_bare_job(limits={"tps": 10})
    free = shown(run_virtually(lambda: plan(job, overrides=stage.overrides()))).text
    assert {"40", "40 of 40", "0:00:04"} <= set(free)
    assert "hit rate" not in free
    sampled = shown(run_virtually(lambda: plan(job, sample=40, overrides=stage.overrides()))).text
    assert "50.0 % (50.0 % to 50.0 %)" in sampled


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "$0.00"), (250, "$0.00025"), (1000, "$0.001"), (25_000_000, "$25.00"), (1_234_567_890, "$1,234.56789")],
)
def test_amounts_are_exact(micros: int, text: str) -> None:
    """Amounts have all decimals, at least two."""
    assert notebook.usd(micros) == text


def test_a_measurement_shows_rate_latency_and_cost() -> None:
    """What was accepted, and what it cost; a measurement without a result shows the cost alone."""
    bench_plan = BenchPlan(
        seconds_s=30.0, ceiling_tps=75.0, quota=None, region="", is_local=True, allowance_micros=1, limit_micros=1,
        quota_micros=1, images=None,
    )  # fmt: skip
    samples = Samples()
    for second in range(40):
        counted = samples.second(float(second))
        counted.attempts, counted.accepted, counted.throttled = 60, 50, 10
    samples.latencies[300] = 2000
    found = Measurement(
        bench_plan=bench_plan,
        summary=summary(this_run=Counts(spent_micros=2_000_000, billed_calls=2000)),
        samples=samples,
        throughput=throughput(samples, 75.0),
        is_time_up=True,
    )
    text = shown(found).text
    for cell in ("50.0 calls a second", "300 ms at the median, 300 ms at 99 %", "$2.00 for 2,000 billed calls"):
        assert cell in text
    assert "accepted" not in shown(msgspec.structs.replace(found, throughput=None)).text


def test_no_colour_is_set() -> None:
    """No colours are set, so that the notebook's own ones are used."""
    assert not re.search(r"colou?r|background|#[0-9a-f]{3}", summary()._repr_html_())
