"""What a run tells while it goes on: one type an event, each with a fixed name under ``event``.

Events are the only voice of the engine: logs, the ``--events`` file and the live display are made of them. They are
cheap values; a listener that does not care for one ignores it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from asyncfilter.model import Summary


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event"):
    """Something that happened, at ``at_unix_s`` seconds since 1970-01-01 UTC."""

    at_unix_s: float


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """The first event of every run."""

    run_id: str
    name: str
    checkpoint: str
    resumed: bool
    listing_from: str | None
    tps_limit: float | None
    tps_origin: str
    budget_micros: int | None
    spent_micros: int
    dry_run: bool


class JobWarning(Event, frozen=True, kw_only=True, tag="cautioned"):
    """Something about the job that a user should know; told once, at the start."""

    message: str


class LikeResolved(Event, frozen=True, kw_only=True, tag="like_resolved"):
    """Reference images of a rule gave it the names it asks for; ``calls`` were made for all references of the job."""

    rule: int
    verdict: str
    names: list[str]
    references: list[str]
    calls: int


class OutcomeChange(msgspec.Struct, frozen=True, kw_only=True):
    """So many stored images went from one outcome (a verdict, or ``failed``) to another."""

    before: str
    after: str
    images: int


class RulesApplied(Event, frozen=True, kw_only=True, tag="rules_applied"):
    """What changed rules, actions or stop rules make of the stored labels; told before anything is done.

    Attributes:
        images: Images decided anew.
        changes: Outcomes that are not what they were.
        actions: Copies and tags that follow.
        stale: Copies that the present rules would not make.
        dropped: Images beyond a stop that holds earlier now; their labels stay.
    """

    images: int
    changes: list[OutcomeChange]
    actions: int
    stale: int
    dropped: int


class ImageExamined(Event, frozen=True, kw_only=True, tag="image_examined"):
    """An image has its verdict, in order of examination."""

    seq: int
    key: str
    verdict: str
    rule: int | None
    label: str | None
    from_checkpoint: bool


class ImageFailed(Event, frozen=True, kw_only=True, tag="image_failed"):
    """An image could not be examined, or its action failed."""

    seq: int
    key: str
    code: str
    message: str


class ActionDone(Event, frozen=True, kw_only=True, tag="action_done"):
    """S3 confirmed an action."""

    seq: int
    key: str
    kind: str
    target: str | None


class AttemptFailed(Event, frozen=True, kw_only=True, tag="attempt_failed"):
    """One attempt failed and will be repeated after ``delay_s`` seconds."""

    key: str
    attempt: int
    reason: str
    delay_s: float


class RateChanged(Event, frozen=True, kw_only=True, tag="rate_changed"):
    """The rate of attempts was changed, and why."""

    old_tps: float
    new_tps: float
    reason: str


class Draining(Event, frozen=True, kw_only=True, tag="draining"):
    """No new calls are made; what is in flight finishes and is kept."""

    reason: str
    message: str | None
    in_flight: int


class RunEnded(Event, frozen=True, kw_only=True, tag="run_ended"):
    """The last event of every run."""

    summary: Summary


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does not listen."""


def after_start(emit: Emit, events: Sequence[Event]) -> Emit:
    """A listener that is told ``events`` right after the first event of its run."""

    def listen(event: Event) -> None:
        emit(event)
        if isinstance(event, RunStarted):
            for late in events:
                emit(late)

    return listen
