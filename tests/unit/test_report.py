"""Output as text and JSON: figures, messages, forecasts, progress, log lines, summaries."""

from __future__ import annotations

import io
import json
import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType

from asyncfilter import events
from asyncfilter.errors import JobError
from asyncfilter.events import FleetAwaited, ImageFailed, RateChanged, RunEnded
from asyncfilter.job import Job
from asyncfilter.model import Counts, LaneCounts, Progress, Skip, StopReason, Summary
from asyncfilter.report import formatting, messages
from asyncfilter.report.as_json import counts_mapping, event_line, summary_mapping
from asyncfilter.report.event_file import EventFile
from asyncfilter.report.logs import LogLines, open_log
from asyncfilter.report.terminal.eta import Eta, EtaEstimator
from asyncfilter.report.terminal.progress import DisplayState, LiveDisplay, draw
from asyncfilter.report.terminal.summary import draw_summary, next_steps
from tests.kit.jobs import make_bare_job

MICROS = st.integers(0, 10**13)


def job(**settings: Any) -> Job:
    """A job with the given top-level keys."""
    return make_bare_job(**settings)


def progress(**fields: Any) -> Progress:
    """The progress in the middle of a run."""
    usual: dict[str, Any] = {
        "counts": Counts(),
        "this_run": Counts(),
        "rate_tps": 48.9,
        "allowed_tps": 50.0,
        "limit_tps": 50.0,
        "in_flight": 12,
        "actions": 3,
        "ending": None,
        "listing_done": False,
        "budget_micros": 25_000_000,
        "price_micros": 1000,
        "elapsed_s": 42.0,
    }
    return Progress(**usual | fields)


def summary(**fields: Any) -> Summary:
    """The summary of a completed run."""
    usual: dict[str, Any] = {
        "run_id": "20261122-041500-1f3a",
        "name": "robins",
        "stop_reason": StopReason.COMPLETED,
        "counts": Counts(),
        "this_run": Counts(),
        "budget_micros": None,
        "tps_mean": 48.7,
        "tps_limit": 50.0,
        "wall_s": 6.4,
        "resumed": False,
        "checkpoint": "/photos/.asyncfilter/robins.db",
    }
    return Summary(**usual | fields)


def text_of(renderable: RenderableType, width: int) -> str:
    """The rendered text, without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


counts = st.builds(
    Counts,
    listed=st.integers(0, 10**9),
    examined=st.integers(0, 10**9),
    keep=st.integers(0, 10**9),
    review=st.integers(0, 10**9),
    reject=st.integers(0, 10**9),
    throttled=st.integers(0, 10**9),
    copied=st.integers(0, 10**9),
    overshoot=st.integers(0, 5000),
    spent_micros=MICROS,
    failed=st.dictionaries(st.sampled_from([*messages.FAILURES, "brand_new_error"]), st.integers(1, 10**6)),
    skipped=st.dictionaries(st.sampled_from(list(Skip)).map(str), st.integers(1, 10**6)),
)


# -- Figures -----------------------------------------------------------------------------------------------------------


@given(MICROS)
def test_amounts_in_json_are_exact(micros: int) -> None:
    """The JSON number is the sum to the last micro-dollar, with at least two decimals."""
    number = bytes(formatting.usd_number(micros)).decode()
    assert Decimal(number) * 1_000_000 == micros
    assert re.fullmatch(r"\d+\.\d{2,6}", number)


@given(MICROS)
def test_rounded_amounts_are_near(micros: int) -> None:
    """The rounded amount differs by at most a twentieth, and less for large amounts."""
    text = Decimal(formatting.usd(micros).removeprefix("$").replace(",", "")) * 1_000_000
    assert abs(text - micros) <= Decimal(micros) / 20


@pytest.mark.parametrize(
    ("micros", "text"),
    [(25_000_000, "$25.00"), (312_000, "$0.312"), (4683, "$0.0047"), (1000, "$0.001"), (7, "$0.000007"), (0, "$0.00")],
)
def test_amounts_are_readable(micros: int, text: str) -> None:
    """The number of decimals depends on the amount."""
    assert formatting.usd(micros) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (42, "42 s"),
        (192, "3 min 12 s"),
        (7500, "2 h 05 min"),
        (273_600, "3 d 4 h"),
        (59.7, "1 min 00 s"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    """A duration has at most two units."""
    assert formatting.duration(seconds) == text


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.integers(1, 200))
def test_bars_have_their_width(part: float, whole: float, width: int) -> None:
    """For any figures a bar has exactly the requested width."""
    assert cell_len(formatting.bar(part, whole, width)) == width


@given(st.lists(st.floats(0, 1e6), max_size=80), st.floats(0, 1e6))
def test_sparklines_have_a_block_for_each_value(values: list[float], top: float) -> None:
    """Values above the maximum, and a maximum of zero, are allowed."""
    assert len(formatting.sparkline(values, top)) == len(values)


# -- Messages ----------------------------------------------------------------------------------------------------------


def test_every_code_has_a_message() -> None:
    """Each stop reason, reason to skip and failure code of the program has a message."""
    assert set(messages.STOP_REASONS) == set(messages.ENDINGS) == set(StopReason)
    assert set(messages.SKIPS) == set(Skip)
    package = Path(messages.__file__).parents[1]
    sources = [*(package / "aws").glob("*.py"), *(package / "engine").glob("*.py"), *(package / "policy").glob("*.py")]
    named = r'(?:_image\(\s*|Failure\(\s*|code=)"([a-z0-9_]+)"'
    found = {code for source in sources for code in re.findall(named, source.read_text())}
    assert len(found) > 10
    assert found <= set(messages.FAILURES)


def test_unknown_failures_have_messages_too() -> None:
    """An unknown code of AWS is shown by its name and can be retried."""
    assert messages.failure("brand_new_error").meaning == "brand new error"
    assert "brand_new_error" not in messages.HOPELESS


# -- Forecast ----------------------------------------------------------------------------------------------------------


def forecasts(watched: Job, moments: list[tuple[float, Counts]]) -> Eta | None:
    """The forecast after these progress events."""
    forecaster, last = EtaEstimator(watched), None
    for elapsed_s, seen in moments:
        last = forecaster.see(progress(elapsed_s=elapsed_s, counts=seen))
    return last


def test_the_nearest_end_is_forecast() -> None:
    """10 images and 1 match a second: 50 matches are nearer than 1,000 images."""
    watched = job(limits={"max_images": 1000}, stop={"matches": 50})
    moments = [(second, Counts(examined=10 * second, keep=second)) for second in range(11)]
    assert forecasts(watched, [*moments]) == Eta(40.0, StopReason.MATCHES)


def test_nothing_is_forecast_without_limits_or_progress() -> None:
    """Without limits, without progress, or after too few images there is no forecast."""
    moving = [(float(second), Counts(examined=second)) for second in range(5)]
    assert forecasts(job(), moving) is None
    limited = job(limits={"max_images": 10})
    assert forecasts(limited, [(float(second), Counts(examined=5)) for second in range(5)]) is None
    assert forecasts(limited, moving[:2]) is None


def test_the_forecast_forgets_how_it_began() -> None:
    """After a slow start the speed of the last half minute counts."""
    moments = [(float(s), Counts(examined=0 if s < 100 else 10 * (s - 100))) for s in range(141)]
    assert forecasts(job(limits={"max_images": 500}), moments) == Eta(10.0, StopReason.MAX_IMAGES)


# -- Live progress -----------------------------------------------------------------------------------------------------


@given(counts, st.integers(20, 220), st.booleans(), st.floats(0, 20_000), st.integers(0, 10**6))
def test_no_drawing_is_wider_than_the_terminal(
    seen: Counts, width: int, ascii_only: bool, rate_tps: float, elapsed_s: int
) -> None:
    """For any figures the view has a fixed number of lines, each with room for the ^C that a terminal echoes."""
    moment = progress(counts=seen, rate_tps=rate_tps, elapsed_s=float(elapsed_s))
    view = DisplayState(
        "a-job-with-a-long-name", "examining", moment, [rate_tps] * 60, Eta(7e5, StopReason.BUDGET), "n" * 99
    )
    lines = text_of(draw(view, width, ascii_only=ascii_only), width).splitlines()
    assert len(lines) == 7
    assert all(cell_len(line.rstrip()) <= width - 3 for line in lines)


def test_ascii_terminals_get_ascii() -> None:
    """No blocks, no braille, no arrows."""
    view = DisplayState("robins", "examining", progress(counts=Counts(examined=9, keep=9)), [1.0] * 60)
    assert text_of(draw(view, 80, ascii_only=True), 80).isascii()


def test_the_most_important_stays_when_it_is_narrow() -> None:
    """Rate and quota, spending and budget, and matches fit into 30 columns."""
    text = text_of(
        draw(DisplayState("robins", "examining", progress(counts=Counts(keep=7, spent_micros=312_000))), 33), 33
    )
    for word in ("48.9/s of 50", "$0.312 of $25.00", "7 keep"):
        assert word in text


# -- Log lines ---------------------------------------------------------------------------------------------------------


def log_lines(level: str = "info", **settings: object) -> tuple[LogLines, list[dict[str, Any]]]:
    """The log of a job, and its output."""
    written: list[dict[str, Any]] = []
    log = open_log(lambda line: written.append(json.loads(line)), level=level, as_json=True, colours=False)
    return LogLines(log, job(**settings), level=level), written


def test_a_fleet_that_is_waited_for_is_shown_and_logged() -> None:
    """On a narrow terminal in place of the phase, and in the log as a line of its own."""
    display = LiveDisplay(Console(file=io.StringIO(), width=40), job())
    for message in ("starting a Ray here", "joining the Ray", "waiting for 1,000 workers"):
        event = FleetAwaited(at_unix_s=0.0, what="ray", message=message)
        display.listeners()[FleetAwaited](event)
        assert message in text_of(draw(display.view, 40), 40)
        lines, written = log_lines()
        lines.listeners()[FleetAwaited](event)
        assert [(line["event"], line["message"]) for line in written] == [("fleet_awaited", message)]
    display.end()
    assert "ending" in text_of(draw(display.view, 40), 40)


def failed(code: str, key: str = "a.jpg") -> ImageFailed:
    """An event of a failed image."""
    return ImageFailed(at_unix_s=0.0, seq=1, key=key, code=code, message=f"s3://raw/{key}: it is broken")


def test_causes_are_logged_in_full_a_few_times_and_then_counted() -> None:
    """Three lines with key and message for each cause, then one at 10, 100, 1,000."""
    lines, written = log_lines()
    listener = lines.listeners()[ImageFailed]
    for _ in range(1000):
        listener(failed("kms_denied"))
    listener(failed("archived"))
    names = [line["event"] for line in written]
    assert names == ["image_failed"] * 3 + ["image_failed_again"] * 3 + ["image_failed"]
    assert [line["times"] for line in written if "times" in line] == [10, 100, 1000]
    assert written[0]["message"] == "it is broken"


def test_progress_is_logged_ever_less_often() -> None:
    """Every 10 s in the first two minutes, then every half minute, then every minute."""
    lines, written = log_lines()
    logged_s = []
    for second in range(2000):
        before = len(written)
        lines.tick(progress(elapsed_s=float(second)))
        if len(written) > before:
            logged_s.append(second)
    gaps = [later - earlier for earlier, later in pairwise(logged_s)]
    assert logged_s[0] == 10
    assert gaps == sorted(gaps)
    assert set(gaps) == {10, 30, 60}


def test_events_that_are_not_logged_have_no_listener() -> None:
    """Without the level debug no listener for single images is registered."""
    assert events.ImageExamined not in log_lines("info")[0].listeners()
    assert events.ImageExamined in log_lines("debug")[0].listeners()


def test_every_change_of_the_rate_has_its_reason() -> None:
    """The line has old rate, new rate and reason."""
    lines, written = log_lines()
    lines.listeners()[RateChanged](RateChanged(at_unix_s=0.0, old_tps=50.0, new_tps=49.0, reason="over the quota"))
    assert written[0] | {"old_tps": 50.0, "new_tps": 49.0, "reason": "over the quota"} == written[0]


# -- Events ------------------------------------------------------------------------------------------------------------

EVENTS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)]


@pytest.mark.parametrize("kind", [kind for kind in EVENTS if kind is not events.Event])
def test_every_event_is_a_line_with_its_name(kind: type[events.Event]) -> None:
    """Every event of a run is one line of JSON; line ends in keys are escaped."""
    values: dict[Any, Any] = {str: "a\nb", int: 1, float: 0.5, bool: True, Summary: summary()}
    values[events.OutcomeChange] = [events.OutcomeChange(before="keep", after="reject", images=1)]
    values[events.LaneTerms] = [
        events.LaneTerms(name="a", region="r", account=None, tps=1.0, origin="quota", by="bytes", price_micros=1000)
    ]
    fields = {
        field.name: values[next(each for each in (get_args(field.type) or (field.type,)) if each is not type(None))]
        for field in msgspec.structs.fields(kind)
    }
    line = event_line(kind(**fields))
    assert line.count(b"\n") == 1
    assert json.loads(line)["event"] == kind.__struct_config__.tag


def test_an_event_file_that_fails_does_not_raise(tmp_path: Path) -> None:
    """A full disk ends the writing, not the run; the error is kept."""
    with EventFile(Path("/dev/full").open("wb", buffering=0)) as file:
        file.listener(failed("archived"))
        file.listener(failed("archived"))
        file.flush()
    assert isinstance(file.error, OSError)


def test_the_summary_event_has_the_names_of_the_summary() -> None:
    """The summary in the events is that of --json."""
    line = event_line(RunEnded(at_unix_s=1.0, summary=summary()))
    assert json.loads(line)["summary"].keys() == summary_mapping(summary()).keys()


@given(counts)
def test_counts_lose_nothing_on_the_way_to_scripts(seen: Counts) -> None:
    """Every count is in the JSON under its name, amounts in dollars."""
    mapped = counts_mapping(seen)
    names = {name.replace("_micros", "_usd") for name in seen.__struct_fields__}
    assert set(mapped) == names - {"lanes"}


def test_the_counts_of_lanes_are_there_where_there_are_lanes() -> None:
    """Each lane has its figures under its name, amounts in dollars."""
    lane = LaneCounts(region="us-east-1", by="bytes", calls=3, spent_micros=3000, tps_mean=0.12345)
    mapped = counts_mapping(Counts(lanes={"a": lane}))
    assert mapped["lanes"] == {
        "a": {
            "region": "us-east-1",
            "account": None,
            "by": "bytes",
            "calls": 3,
            "attempts": 0,
            "throttled": 0,
            "retried": 0,
            "billed_calls": 0,
            "spent_usd": formatting.usd_number(3000),
            "tps_mean": 0.123,
            "tps_limit": None,
            "closed": False,
            "model_versions": (),
        }
    }


# -- The summary -------------------------------------------------------------------------------------------------------


@given(counts, st.integers(40, 220), st.sampled_from(StopReason), st.booleans(), st.booleans())
def test_summaries_fit_and_name_the_stop_reason(
    seen: Counts, width: int, reason: StopReason, resumed: bool, ascii_only: bool
) -> None:
    """Any summary fits the terminal and names its stop reason."""
    drawn = draw_summary(
        summary(counts=seen, this_run=seen, stop_reason=reason, resumed=resumed),
        job(),
        width=width,
        ascii_only=ascii_only,
    )
    text = text_of(drawn, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert messages.STOP_REASONS[reason].split(":")[0] in text


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({}, True),
        ({"convert": True}, False),
        ({"source": "/photos"}, False),
        ({"detector": {"kind": "onnx", "model": "m.onnx", "labels": "l.txt"}}, False),
    ],
)
@pytest.mark.parametrize("code", ["image_too_large", "invalid_image_format"])
def test_a_conversion_is_advised_only_where_there_was_none(code: str, settings: dict[str, Any], is_told: bool) -> None:
    """A job that converts already, as those of folders do, or whose model reads pixels, is told something else."""
    drawn = draw_summary(summary(counts=Counts(failed={code: 3}), exit_code=1), job(**settings), width=100)
    text = text_of(drawn, 100)
    assert ("convert:" in text) == is_told
    assert code in text


@pytest.mark.parametrize(
    ("fields", "dry_run", "word"),
    [
        ({"stop_reason": StopReason.INTERRUPTED, "exit_code": 75}, False, "continues where"),
        ({"stop_reason": StopReason.BUDGET}, False, "raise limits.budget_usd"),
        ({"stop_reason": StopReason.MATCHES}, False, "raise stop.matches"),
        ({"counts": Counts(failed={"unavailable": 3}), "exit_code": 1}, False, "--retry-failed"),
        ({"counts": Counts(failed={"vanished": 3}), "exit_code": 1}, False, "refilter"),
        ({}, True, "carries the actions out"),
        ({"stop_reason": StopReason.FAILED, "exit_code": 4}, False, "nothing is paid twice"),
    ],
)
def test_the_next_step_follows_from_the_end(fields: dict[str, Any], dry_run: bool, word: str) -> None:
    """The hint has the command that helps for this stop reason."""
    assert word in next_steps(summary(**fields), job(), dry_run=dry_run)[0]


def test_the_jobs_of_these_tests_are_sound() -> None:
    """An invalid job would raise an error in these tests."""
    with pytest.raises(JobError):
        job(nonsense=1)
