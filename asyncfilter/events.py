"""The events of a run: one type an event, each with a fixed name under ``event``.

Events are the only output of the engine while it runs: logs, the ``--events`` file and the live display are made from
them. They are cheap values; a listener ignores those that it does not use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from asyncfilter.model import Summary


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="event"):
    """An event, at ``at_unix_s`` seconds since 1970-01-01 UTC."""

    at_unix_s: float


class LaneTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A lane at the start of a run.

    Attributes:
        tps: The rate that it may have; None where it is not known.
        origin: The origin of that figure, as text for people.
        by: ``reference`` or ``bytes``: how it gets its images.
        price_micros: What the next image costs there.
    """

    name: str
    region: str
    account: str | None
    tps: float | None
    origin: str
    by: str
    price_micros: int


class RunStarted(Event, frozen=True, kw_only=True, tag="run_started"):
    """The first event of every run, but for those about the model that it starts, or the fleet that it waits for.

    Attributes:
        lanes: The names of the lanes; empty without lanes. ``lane_terms`` says what each has.
    """

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
    lanes: list[str] = []
    lane_terms: list[LaneTerms] = []
    epoch: int = 0
    """Number of this opening of the checkpoint for writing."""
    on: str = "local"
    """Where images are examined: ``local``, in this process, or ``ray``."""
    workers_wanted: int | None = None
    """Workers that the fleet may have; None without one."""


class JobWarning(Event, frozen=True, kw_only=True, tag="cautioned"):
    """A caution: what is probably a mistake in the job; each sentence is emitted once, most at the start."""

    message: str


class ModelNotice(Event, frozen=True, kw_only=True, tag="model_notice"):
    """The state of a model changed that the run starts or stops, or that an ended lease of another run stops."""

    message: str


class ThresholdsAssumed(Event, frozen=True, kw_only=True, tag="thresholds_assumed"):
    """What ``confidence: assumed`` stands for in the rules: the thresholds of the model's evaluation, in percent."""

    thresholds: dict[str, float]


class LikeResolved(Event, frozen=True, kw_only=True, tag="like_resolved"):
    """The references of a rule were replaced by names; ``calls`` were made for all references of the job."""

    rule: int
    verdict: str
    names: list[str]
    references: list[str]
    calls: int


class OutcomeChange(msgspec.Struct, frozen=True, kw_only=True):
    """The number of stored images that changed from one outcome (a verdict, or ``failed``) to another."""

    before: str
    after: str
    images: int


class RulesApplied(Event, frozen=True, kw_only=True, tag="rules_applied"):
    """The effect of changed rules, actions or stop rules on stored images; emitted before any action.

    Attributes:
        images: Images decided anew.
        changes: Outcomes that changed.
        actions: Copies and tags that will be made.
        stale: Copies that the present rules would not make.
        dropped: Images beyond a stop that holds earlier now; their labels stay.
    """

    images: int
    changes: list[OutcomeChange]
    actions: int
    stale: int
    dropped: int


class AnswersTakenOver(Event, frozen=True, kw_only=True, tag="answers_taken_over"):
    """The effect of people's newer answers on stored images.

    Attributes:
        answers: Newer answers.
        images: Stored images that were decided anew for them; of changed rules, ``rules_applied`` says what follows.
        changes: Outcomes that changed.
        actions: Copies and tags that follow.
    """

    answers: int
    images: int
    changes: list[OutcomeChange]
    actions: int


class ImageExamined(Event, frozen=True, kw_only=True, tag="image_examined"):
    """An image has its verdict; emitted in order of examination.

    Attributes:
        lane: The lane whose answer it is; None without lanes, and where the answer is from the checkpoint.
    """

    seq: int
    key: str
    verdict: str
    rule: int | None
    label: str | None
    from_checkpoint: bool
    lane: str | None = None


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
    """One attempt failed and will be repeated after ``delay_s`` seconds, at any lane; ``lane`` had this one."""

    key: str
    attempt: int
    reason: str
    delay_s: float
    lane: str | None = None


class RateChanged(Event, frozen=True, kw_only=True, tag="rate_changed"):
    """The rate of attempts, of one lane where there are lanes, was changed, and why."""

    old_tps: float
    new_tps: float
    reason: str
    lane: str | None = None


class LaneClosed(Event, frozen=True, kw_only=True, tag="lane_closed"):
    """A lane is not called any more in this run, and why; the other lanes go on."""

    lane: str
    reason: str


class ModelVersionsDiffer(Event, frozen=True, kw_only=True, tag="model_versions_differ"):
    """Answers of one checkpoint are of different model versions: ``versions`` by lane."""

    versions: dict[str, list[str]]


class WorkerJoined(Event, frozen=True, kw_only=True, tag="worker_joined"):
    """A worker of the fleet can be asked; one that was lost and came back joins anew."""

    worker: str
    host: str
    pid: int
    node: str
    cpus: float
    gpus: float


class WorkerLost(Event, frozen=True, kw_only=True, tag="worker_lost"):
    """A worker is gone without having said so.

    Attributes:
        reason: ``connection``, ``silence``, ``process`` or ``node``.
        asks: Paid attempts that were under way there: at most so many are made again.
    """

    worker: str
    reason: str
    asks: int


class WorkerLeft(Event, frozen=True, kw_only=True, tag="worker_left"):
    """A worker went as it had said before (``spot``, ``sigterm``, ``idle``, ``end``); nothing is made again for it."""

    worker: str
    reason: str


class TurnsReturned(Event, frozen=True, kw_only=True, tag="turns_returned"):
    """Turns came to a worker too late, and came back unused and unbilled; at most one event a second and worker."""

    worker: str
    turns: int


class AnswersAdopted(Event, frozen=True, kw_only=True, tag="answers_adopted"):
    """Answers that workers had kept for a former head were taken over.

    Attributes:
        offered: What the workers had.
        adopted: Those that the checkpoint had not.
        from_epoch: Of the former head.
    """

    offered: int
    adopted: int
    from_epoch: int


class FleetAwaited(Event, frozen=True, kw_only=True, tag="fleet_awaited"):
    """A run waits for its fleet before it begins.

    Attributes:
        what: ``ray`` while a Ray is found or started and joined, ``workers`` while the first workers are.
        message: The same in a few words.
        address: Of the Ray; None while that is not known.
    """

    what: str
    message: str
    address: str | None = None


class KeptAtHome(Event, frozen=True, kw_only=True, tag="kept_at_home"):
    """The job runs in this process, because workers would make it dearer and no faster.

    Attributes:
        ms_an_image: Processor time of an image here, milliseconds.
    """

    message: str
    ms_an_image: float


class StateOwned(Event, frozen=True, kw_only=True, tag="state_owned"):
    """This process owns the state in S3; ``holder`` did before and did not let it go."""

    epoch: int
    holder: str | None


class StateRestoredEvent(Event, frozen=True, kw_only=True, tag="state_restored"):
    """The file of this machine was made from the state in S3."""

    commit: int
    epoch: int
    segments: int
    rows: int
    bytes: int
    wall_s: float


class StateCommitted(Event, frozen=True, kw_only=True, tag="state_committed"):
    """A commit to the state in S3 succeeded; it had ``rows`` changed rows."""

    commit: int
    rows: int
    bytes: int
    wall_s: float


class StateBehind(Event, frozen=True, kw_only=True, tag="state_behind"):
    """The state in S3 was not written for ``behind_s`` seconds; ``rows`` of the file are in no commit."""

    rows: int
    behind_s: float
    message: str


class StateLost(Event, frozen=True, kw_only=True, tag="state_lost"):
    """Another process, ``holder``, owns the state in S3 now; this one pays and acts no more."""

    epoch: int
    holder: str | None


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
    """A listener that ignores every event."""


def after_start(emit: Emit, events: Sequence[Event]) -> Emit:
    """A listener that is called with ``events`` right after the first event of its run."""

    def listen(event: Event) -> None:
        emit(event)
        if isinstance(event, RunStarted):
            for late in events:
                emit(late)

    return listen
