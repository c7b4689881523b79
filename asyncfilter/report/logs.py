"""Log lines of a run: one line for each important event, and for its progress.

Every line has a fixed name: that of its event, or ``progress`` and ``image_failed_again`` for counts. The first few
failures of one cause are logged in full; later ones are only counted. Progress is logged often at first, then less
often.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

from asyncfilter.events import (
    ActionDone,
    AnswersAdopted,
    AnswersTakenOver,
    AttemptFailed,
    Draining,
    Event,
    FleetAwaited,
    ImageExamined,
    ImageFailed,
    JobWarning,
    KeptAtHome,
    LikeResolved,
    ModelNotice,
    RateChanged,
    RulesApplied,
    RunEnded,
    RunStarted,
    StateBehind,
    StateCommitted,
    StateLost,
    StateOwned,
    StateRestoredEvent,
    ThresholdsAssumed,
    TurnsReturned,
    WorkerJoined,
    WorkerLeft,
    WorkerLost,
)
from asyncfilter.job.spec import Job
from asyncfilter.model import Progress, StopReason
from asyncfilter.printable import printable, printable_json, without_secrets
from asyncfilter.report import formatting
from asyncfilter.report.messages import FAILURES
from asyncfilter.report.terminal.eta import EtaEstimator

LEVELS = ("debug", "info", "warning", "error")

MICROS = 1_000_000

_UNWANTED = frozenset({StopReason.ERRORS, StopReason.FAILED, StopReason.NOTHING_TO_EXAMINE})

LOGGED_IN_FULL = 3
"""How many failures of one cause are logged with key and message."""

_EACH_TIME_ABOVE = 10
_INTERVALS_S = ((120, 10), (900, 30), (float("inf"), 60))
"""Pairs of (elapsed seconds up to which an interval is used, seconds between two lines of progress)."""


def open_log(write: Callable[[str], object], *, level: str, as_json: bool, colours: bool) -> Any:  # noqa: ANN401  structlog's own type
    """A logger that calls ``write`` with finished lines, each with its line end.

    Args:
        write: Called with one line.
        level: One of ``LEVELS``; calls below it cost hardly any time.
        as_json: One JSON object a line instead of text; its values are exact.
        colours: Use colours, for a terminal; the time is then local time of day, else UTC in ISO 8601.
    """
    renderers: list[structlog.typing.Processor] = [
        _harmless,
        structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0, pad_level=False, sort_keys=False),
    ]
    if as_json:
        renderers = [_without_secrets, structlog.processors.JSONRenderer(serializer=_json)]
    return structlog.wrap_logger(
        _Lines(write),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if colours else "iso", utc=not colours),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
    )


def _harmless(_log: object, _name: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show what does not print as escapes; other values than strings are shown by ``repr``, which does the same."""
    return {name: printable(without_secrets(v)) if isinstance(v, str) else v for name, v in fields.items()}


def _without_secrets(_log: object, _name: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: without_secrets(v) if isinstance(v, str) else v for name, v in fields.items()}


def _json(fields: object, **options: Any) -> str:  # noqa: ANN401  structlog's own
    return printable_json(json.dumps(fields, **options))


class _Lines:
    """The logger that structlog calls with the finished line, by the name of the level."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def msg(self, line: str) -> None:
        self._write(f"{line}\n")

    debug = info = warning = error = msg


class LogLines:
    """Converts events and progress to log lines.

    Args:
        log: From ``open_log``.
        job: The job that is run.
        level: The level of the log; events below it get no listener.
        brief: Leave out what the summary will explain.
    """

    def __init__(self, log: Any, job: Job, *, level: str, brief: bool = False) -> None:  # noqa: ANN401  structlog's own
        self._brief = brief
        self._log = log
        self._level = level
        self._failures: Counter[str] = Counter()
        self._forecaster = EtaEstimator(job)
        self._next_s = 0.0

    def listeners(self) -> dict[type[Event], Callable[..., None]]:
        """The listener of each event type."""
        listeners: dict[type[Event], Callable[..., None]] = {
            RunStarted: self._started,
            JobWarning: self._as_it_is("warning"),
            ModelNotice: self._as_it_is("warning"),
            ThresholdsAssumed: self._thresholds_assumed,
            LikeResolved: self._like_resolved,
            RulesApplied: self._rules_applied,
            AnswersTakenOver: self._answers_taken_over,
            RateChanged: self._rate_changed,
            ImageFailed: self._failed,
            Draining: self._draining,
            RunEnded: self._ended,
            WorkerJoined: self._as_it_is("info"),
            WorkerLost: self._as_it_is("warning"),
            WorkerLeft: self._as_it_is("info"),
            AnswersAdopted: self._as_it_is("info"),
            FleetAwaited: self._as_it_is("info"),
            KeptAtHome: self._as_it_is("info"),
            StateOwned: self._as_it_is("info"),
            StateRestoredEvent: self._as_it_is("info"),
            StateBehind: self._as_it_is("warning"),
            StateLost: self._as_it_is("warning"),
        }
        if self._level == "debug":
            often = (ImageExamined, ActionDone, AttemptFailed, TurnsReturned, StateCommitted)
            listeners |= dict.fromkeys(often, self._as_it_is("debug"))
        return listeners

    def tick(self, progress: Progress | None) -> None:
        """Log the progress when its interval has passed; to be called about once a second."""
        if progress is None:
            return
        forecast = self._forecaster.see(progress)
        if progress.elapsed_s < self._next_s:
            return
        interval_s = next(every_s for up_to_s, every_s in _INTERVALS_S if progress.elapsed_s < up_to_s)
        is_first, self._next_s = not self._next_s, progress.elapsed_s + interval_s
        if is_first:
            return
        counts = progress.counts
        left = {} if forecast is None else {"left_s": round(forecast.left_s), "until": forecast.reason.value}
        self._log.info(
            "progress",
            examined=counts.examined,
            keep=counts.keep,
            review=counts.review,
            reject=counts.reject,
            failed=sum(counts.failed.values()),
            in_flight=progress.in_flight,
            rate_tps=round(progress.rate_tps, 1),
            limit_tps=progress.limit_tps,
            spent_usd=counts.spent_micros / MICROS,
            **left,
        )

    def _as_it_is(self, level: str) -> Callable[[Event], None]:
        log = getattr(self._log, level)

        def listener(event: Event) -> None:
            log(_name(event), **_fields(event))

        return listener

    def _started(self, event: RunStarted) -> None:
        self._log.info(
            "run_started",
            run_id=event.run_id,
            name=event.name,
            checkpoint=event.checkpoint,
            resumed=event.resumed,
            tps_limit=event.tps_limit,
            tps_origin=event.tps_origin,
            budget_usd=None if event.budget_micros is None else event.budget_micros / MICROS,
            spent_usd=event.spent_micros / MICROS,
            dry_run=event.dry_run,
        )
        # Beside live progress too, which shows the sum of the lanes alone.
        log = self._log.warning if self._brief else self._log.info
        for lane in event.lane_terms:
            log(
                "lane",
                name=lane.name,
                region=lane.region,
                account=lane.account,
                tps=lane.tps,
                origin=lane.origin,
                by=lane.by,
                price_usd=lane.price_micros / MICROS,
            )

    def _rules_applied(self, event: RulesApplied) -> None:
        """Logged beside live progress too, since the rules are applied before anything else is done."""
        log = self._log.warning if self._brief else self._log.info
        changes = [f"{change.images} {change.before} -> {change.after}" for change in event.changes]
        log(
            "rules_applied",
            images=event.images,
            changes=", ".join(changes) or "none",
            actions=event.actions,
            stale=event.stale,
            dropped=event.dropped,
        )

    def _answers_taken_over(self, event: AnswersTakenOver) -> None:
        log = self._log.warning if self._brief else self._log.info
        changes = [f"{change.images} {change.before} -> {change.after}" for change in event.changes]
        log(
            "answers_taken_over",
            answers=event.answers,
            images=event.images,
            changes=", ".join(changes) or "none",
            actions=event.actions,
        )

    def _thresholds_assumed(self, event: ThresholdsAssumed) -> None:
        self._log.info("thresholds_assumed", thresholds=formatting.thresholds(event.thresholds))

    def _like_resolved(self, event: LikeResolved) -> None:
        self._log.info(
            "like_resolved",
            rule=event.rule,
            verdict=event.verdict,
            names=", ".join(event.names),
            references=len(event.references),
            calls=event.calls,
        )

    def _rate_changed(self, event: RateChanged) -> None:
        lane = {} if event.lane is None else {"lane": event.lane}
        old_tps, new_tps = round(event.old_tps, 2), round(event.new_tps, 2)
        self._log.info("rate_changed", **lane, old_tps=old_tps, new_tps=new_tps, reason=event.reason)

    def _failed(self, event: ImageFailed) -> None:
        self._failures[event.code] += 1
        times = self._failures[event.code]
        if times <= LOGGED_IN_FULL:
            self._log.warning("image_failed", code=event.code, key=event.key, **self._explained(event))
        elif times >= _EACH_TIME_ABOVE and str(times).strip("0") == "1":
            self._log.warning("image_failed_again", code=event.code, times=times)

    def _explained(self, event: ImageFailed) -> dict[str, str]:
        if self._brief and event.code in FAILURES:
            return {}
        return {"message": event.message.partition(f"/{event.key}: ")[2] or event.message}

    def _draining(self, event: Draining) -> None:
        log = self._log.error if event.reason in _UNWANTED else self._log.info
        cause = {} if event.message is None else {"message": event.message}
        log("draining", reason=event.reason, in_flight=event.in_flight, **cause)

    def _ended(self, event: RunEnded) -> None:
        summary = event.summary
        counts = summary.counts
        self._log.info(
            "run_ended",
            stop_reason=summary.stop_reason.value,
            exit_code=int(summary.exit_code),  # the number alone: a log shows members of an enum by name
            examined=counts.examined,
            keep=counts.keep,
            review=counts.review,
            reject=counts.reject,
            failed=sum(counts.failed.values()),
            copied=counts.copied,
            calls=summary.this_run.calls,
            spent_usd=counts.spent_micros / MICROS,
            tps_mean=round(summary.tps_mean, 2),
            wall_s=round(summary.wall_s, 1),
        )


def _name(event: Event) -> str:
    return str(event.__struct_config__.tag)


def _fields(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__ if name != "at_unix_s"}
