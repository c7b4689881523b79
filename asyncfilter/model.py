"""The data types of the package: object, label, detection, verdict, decision, effect, summary.

Values are treated as immutable; methods depend on their own fields only. Units are suffixes: ``_pct`` is 0 to 100,
fractions of an image are 0 to 1 (Rekognition may go slightly beyond for objects cut by the frame).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec

from asyncfilter import notebook


class Verdict(StrEnum):
    """The result of the rules for an image."""

    KEEP = "keep"
    REVIEW = "review"
    REJECT = "reject"


class StopReason(StrEnum):
    """Why a run ended; when several hold at one image, the first in this order is reported.

    See docs/guarantees.md, *Stop rules*.
    """

    MATCHES = "matches"
    MISSES_IN_A_ROW = "misses_in_a_row"
    HIT_RATE = "hit_rate"
    ERRORS = "errors"
    MAX_IMAGES = "max_images"
    BUDGET = "budget"
    COMPLETED = "completed"
    NOTHING_TO_EXAMINE = "nothing_to_examine"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class ActionKind(StrEnum):
    """The kinds of action on an image after its verdict."""

    NONE = "none"
    COPY = "copy"
    TAG = "tag"
    MOVE = "move"
    DELETE = "delete"


class Skip(StrEnum):
    """Why a listed object is not examined; the keys of ``skipped`` in the summary."""

    NOT_INCLUDED = "not_included"
    EXCLUDED = "excluded"
    EMPTY = "empty"
    FOLDER = "folder"
    TOO_LARGE = "too_large"
    ARCHIVED = "archived"
    DUPLICATE = "duplicate"
    OUTSIDE = "outside"
    """In a list of keys, and not below the prefix of the source."""
    MISSING = "missing"
    """In a list of keys, and no longer in the store."""


class Box(msgspec.Struct, frozen=True, gc=False):
    """A bounding box in fractions of the image, origin at the top left."""

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Fraction of the image that the box covers."""
        return self.width * self.height


class Instance(msgspec.Struct, frozen=True, gc=False):
    """One occurrence of a label in an image; ``confidence_pct`` can lie below the label's own."""

    box: Box
    confidence_pct: float


class Label(msgspec.Struct, frozen=True):
    """One label of an image, as in a response of DetectLabels.

    Parents are all ancestors; each is also in the detection as a label of its own. Synonyms are separate labels in
    model 2.0 and aliases from model 3.0 on.
    """

    name: str
    confidence_pct: float
    instances: tuple[Instance, ...] = ()
    parents: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


LabelFilter = Callable[[Label], bool]
"""True for a label that is wanted. It is called with the label's definition, not with an occurrence: the confidence is
0."""


class Detection(msgspec.Struct, frozen=True):
    """The labels that a detector found in one image.

    Attributes:
        labels: In the order of the response, which is by falling confidence.
        model_version: ``LabelModelVersion``; results change with it. Empty when the service sent none.
        extra: JSON of everything else in the response (such as image properties); empty when there was nothing.
    """

    labels: tuple[Label, ...]
    model_version: str = ""
    extra: bytes = b""


class ListedObject(msgspec.Struct, frozen=True, gc=False):
    """One entry of a listing.

    ``etag`` is without its quotes, and empty where a list of keys has none; ``storage_class`` is the class that it can
    be read from, STANDARD for a restored object.
    """

    key: str
    size_bytes: int
    etag: str
    storage_class: str = "STANDARD"


UNREADABLE = "cannot-be-read"
"""ETag of a file that could not be looked at when its folder was listed, or, under a key that ends in a slash, of a
folder that could not be listed. It is examined like an image, and fails with the cause."""

MISSING = "is-missing"
"""ETag of an object of a list that is no longer in its store; its size is 0, and it is skipped."""

UNKNOWN_BYTES = 1
"""Size of an object of a list that does not have it: not 0, since empty objects are skipped."""

FOLDER = "file://"
"""Beginning of ``bucket`` where objects are files: ``file://`` and an absolute folder, without a final slash."""


OWN = "own:"
"""Beginning of ``bucket`` where the calling program supplies the store: ``own:`` and the store's name."""

S3 = "s3://"
"""Beginning of the address of an object in S3; ``bucket`` is the name alone."""


class StoreKind(StrEnum):
    """Where objects are kept."""

    S3 = "s3"
    FOLDER = "folder"
    OWN = "own"
    """In a store that the calling program supplies."""


def store_of(bucket: str) -> StoreKind:
    """The kind of store of ``bucket``, which may also be a whole address. No other code inspects the prefix."""
    if bucket.startswith(FOLDER):
        return StoreKind.FOLDER
    return StoreKind.OWN if bucket.startswith(OWN) else StoreKind.S3


def folder_of(bucket: str) -> Path:
    """The folder that ``bucket`` names, of a store that is one."""
    return Path(bucket.removeprefix(FOLDER) or "/")


def uri_of(bucket: str, key: str) -> str:
    """``s3://bucket/key``, ``file:///folder/key`` or ``own:name/key``; the key unchanged.

    Without a bucket it is the key alone: a reference is named by its address, or by the path of a file.
    """
    if not bucket:
        return key
    return f"{S3}{bucket}/{key}" if store_of(bucket) is StoreKind.S3 else f"{bucket}/{key}"


class ObjectRef(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One object to examine; ``seq`` is its position in the order of examination, from 1, without gaps."""

    bucket: str
    key: str
    size_bytes: int
    etag: str
    seq: int

    @property
    def uri(self) -> str:
        """See ``uri_of``."""
        return uri_of(self.bucket, self.key)

    @property
    def store(self) -> StoreKind:
        """Which kind of store it is in."""
        return store_of(self.bucket)


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The decision on an image: of the rules, or of a person, who takes precedence.

    Attributes:
        verdict: keep, review or reject: the one that counts and is acted on.
        rule: Index of the rule that matched, from 0; None when ``otherwise`` decided. Also where a person decided.
        label: A person's first label, else the first name of the rule's own list that matched; None without either.
        ruled: The verdict of the rules where a person decided, the same one or another; None where no person did.
    """

    verdict: Verdict
    rule: int | None = None
    label: str | None = None
    ruled: Verdict | None = None

    @property
    def by_rules(self) -> Verdict:
        """The verdict of the rules: the only one that stop rules see."""
        return self.verdict if self.ruled is None else self.ruled


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why an image has no outcome: ``code`` is its name under ``failed`` in the summary."""

    code: str
    message: str


class S3Location(NamedTuple):
    """A location in S3, or in a folder."""

    bucket: str
    key: str

    @property
    def uri(self) -> str:
        """See ``uri_of``."""
        return uri_of(self.bucket, self.key)

    @property
    def store(self) -> StoreKind:
        """Which kind of store it is in."""
        return store_of(self.bucket)


def location(uri: str) -> S3Location:
    """The location whose address is ``uri``, the inverse of ``uri_of``; for a file, the bucket is the root folder."""
    if store_of(uri) is StoreKind.FOLDER:
        return S3Location(FOLDER, uri.removeprefix(FOLDER).removeprefix("/"))
    bucket, _, key = uri.removeprefix(S3).partition("/")
    return S3Location(bucket, key)


class IfExists(StrEnum):
    """What a copy does when its target exists."""

    OVERWRITE = "overwrite"
    SKIP = "skip"
    FAIL = "fail"


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One action on one object, ready to be carried out; ``source.etag`` is its condition."""

    kind: ActionKind
    source: ObjectRef
    target: S3Location | None = None
    if_exists: IfExists = IfExists.OVERWRITE
    is_link: bool = False
    """True for a copy between folders that is made as a hard link."""
    tags: Mapping[str, str] = {}
    blake2b: str | None = None
    """Hash of the file that was examined (``Provenance``), for a copy of a file into another kind of store."""


class RateChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The rate of attempts was changed; ``at_s`` is monotonic seconds."""

    at_s: float
    old_tps: float
    new_tps: float
    reason: str


class Reviewed(msgspec.Struct, kw_only=True, frozen=True):
    """Examined images by the verdict of a person.

    Attributes:
        unsure: Images of which nobody could tell, or of which as many people say keep as reject.
        overruled: Images that the rules keep and a person rejects, or the reverse.
    """

    keep: int = 0
    reject: int = 0
    unsure: int = 0
    overruled: int = 0


class AnswersState(msgspec.Struct, kw_only=True, frozen=True):
    """How far a checkpoint follows an answers file.

    Attributes:
        file: The file.
        id: The id that it was given when it was made.
        serial: Of the last answer that was taken over; 0 before the first.
        pending: Answers that are not taken over yet.
    """

    file: str
    id: str
    serial: int
    pending: int


class LaneCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What one lane did; money is integer micro-dollars.

    Attributes:
        region: None for calls of no known lane; ``account`` and ``by`` likewise.
        account: None also where STS may not be asked.
        by: ``reference`` or ``bytes``.
        retried: Repetitions that were made here, wherever the attempt before was.
        tps_mean: Attempts a second of the present run; None where there is none.
        tps_limit: The rate that the lane may have; None for a lane of former runs, and where it is not known.
        closed: True once the run called it no more.
        model_versions: The model versions of its answers, over the checkpoint's whole life.
    """

    region: str | None = None
    account: str | None = None
    by: str | None = None
    calls: int = 0
    attempts: int = 0
    throttled: int = 0
    retried: int = 0
    billed_calls: int = 0
    spent_micros: int = 0
    tps_mean: float | None = None
    tps_limit: float | None = None
    closed: bool = False
    model_versions: tuple[str, ...] = ()


class Counts(msgspec.Struct, kw_only=True):
    """The countable part of a summary; their scope is given where they are used (``Summary``, ``Progress``).

    ``examined`` = keep + review + reject + failed, up to the stop position. Images paid for beyond it are in
    ``overshoot``, in ``calls`` and in money, not in the verdicts. ``duplicates`` share the labels of an image with the
    same content, which saved ``saved_micros``; ``adopted`` answers came from workers of a former head. ``lanes`` add up
    to calls, attempts and money; None without lanes. Money is integer micro-dollars.
    """

    listed: int = 0
    skipped: dict[str, int] = {}
    examined: int = 0
    overshoot: int = 0
    from_checkpoint: int = 0
    calls: int = 0
    attempts: int = 0
    throttled: int = 0
    retried: int = 0
    failed: dict[str, int] = {}
    keep: int = 0
    review: int = 0
    reject: int = 0
    copied: int = 0
    deleted: int = 0
    moved: int = 0
    tagged: int = 0
    stale: int = 0
    billed_calls: int = 0
    spent_micros: int = 0
    duplicates: int = 0
    saved_micros: int = 0
    reviewed: Reviewed = Reviewed()
    adopted: int = 0
    lanes: dict[str, LaneCounts] | None = None


class Workers(msgspec.Struct, kw_only=True, frozen=True):
    """The workers of a fleet in one run.

    Attributes:
        engine: What runs them.
        address: Of the cluster.
        now: Workers that can be asked.
        peak: The most at one time.
        joined: How often one joined, also again.
        lost: How often one was lost.
        left: How often one went as it had said before.
        returned_turns: Turns that came too late and were not used.
        late_answers: Answers that came after their worker was lost.
    """

    engine: str
    address: str
    now: int
    peak: int
    joined: int
    lost: int
    left: int
    returned_turns: int
    late_answers: int


class Progress(msgspec.Struct, kw_only=True, frozen=True):
    """The progress of a run at one moment; live displays show it.

    Attributes:
        counts: For the checkpoint's whole life; ``this_run`` for this process.
        rate_tps: Attempts in the last second.
        allowed_tps: The rate the limiter allows now; ``limit_tps`` is the ceiling it may grow to.
        in_flight: Calls in flight.
        actions: Actions in progress or queued.
        ending: Why the run drains; None while it admits new work.
        expected: Images that will have been examined when the listing ends; None while that is not known.
        listing_done: True once the source was listed to its end in this pass.
        price_micros: What the next call costs.
        elapsed_s: Since this process began.
        workers: Those of the fleet; None without one.
    """

    counts: Counts
    this_run: Counts
    rate_tps: float
    allowed_tps: float
    limit_tps: float
    in_flight: int
    actions: int
    ending: StopReason | None
    expected: int | None = None
    listing_done: bool
    budget_micros: int | None
    price_micros: int
    elapsed_s: float
    workers: Workers | None = None


class NothingFound(msgspec.Struct, frozen=True, kw_only=True):
    """Why a listing shows no image to examine.

    Attributes:
        message: All of it, for people; ``hint`` is what to do.
        skipped_keys: The first keys that were skipped, by reason.
        nearest_prefix: Address of the nearest prefix, or folder, that has images; None when none was found.
        likely_cause: What is probably wrong with the job, or with the objects.
    """

    message: str
    hint: str
    skipped_keys: dict[str, list[str]]
    nearest_prefix: str | None
    likely_cause: str


class StateRestored(msgspec.Struct, kw_only=True, frozen=True):
    """What a process fetched of a state in S3 when it began.

    Attributes:
        rows: Images in it.
        commit: The last commit in it.
        bytes: Bytes that were fetched.
        wall_s: Seconds that it took.
    """

    rows: int
    commit: int
    bytes: int
    wall_s: float


class StateHolder(msgspec.Struct, kw_only=True, frozen=True):
    """The process that a state in S3 was taken over from."""

    host: str
    pid: int


class StateSummary(msgspec.Struct, kw_only=True, frozen=True):
    """The state of a job in S3.

    Attributes:
        uri: Its address.
        mode: ``checkpoint`` where S3 is the truth, ``copy`` where S3 follows a file.
        epoch: Of this process, above those of all owners before.
        commit: The last commit that succeeded.
        committed_rows: Images in it.
        behind_rows: Rows of the file that are in no commit.
        bytes_sent: By this process.
        restored: What was fetched at the start; None when the file of this machine was used.
        taken_over_from: The owner before, which did not let the state go; None without one.
    """

    uri: str
    mode: str
    epoch: int
    commit: int
    committed_rows: int
    behind_rows: int
    bytes_sent: int
    restored: StateRestored | None = None
    taken_over_from: StateHolder | None = None


class Summary(msgspec.Struct, kw_only=True, frozen=True):
    """The result of a run: ``counts`` for the checkpoint's whole life, ``this_run`` for this process alone.

    Attributes:
        tps_mean: Attempts a second over ``wall_s``.
        tps_limit: The rate the run was allowed at its end; None when nothing was called.
        wall_s: Seconds this process ran.
        resumed: True when the checkpoint already held work.
    """

    run_id: str
    name: str
    stop_reason: StopReason
    counts: Counts
    this_run: Counts
    budget_micros: int | None
    tps_mean: float
    tps_limit: float | None
    wall_s: float
    resumed: bool
    checkpoint: str
    error: str | None = None
    """What ended the run when ``stop_reason`` is ``errors`` or ``failed``."""
    hint: str | None = None
    """What to do about the error."""
    exit_code: int = 0
    """The process's exit code for this result (docs/guarantees.md, *Exit codes*)."""
    pending_removals: int = 0
    """Images that ``apply`` would move or delete."""
    complete: bool = False
    """True when the listing was examined to its end, and no stop rule, budget or cap cut it short."""
    nothing: NothingFound | None = None
    """Why there is no image to examine, when ``stop_reason`` is ``nothing_to_examine``."""
    cautions: tuple[str, ...] = ()
    """What is probably a mistake in the job, one sentence each; none of them stops a run."""
    answers: AnswersState | None = None
    """The file of people's answers; None where there is none."""
    epoch: int = 0
    """Number of this opening of the checkpoint for writing, above those of all openings before."""
    state: StateSummary | None = None
    """The state in S3; None without one."""
    workers: Workers | None = None
    """The workers of the fleet; None without one."""

    def _repr_html_(self) -> str:
        """For notebooks: the main figures; an action that was not carried out is left out."""
        counts = self.counts
        actions = ("copied", "moved", "deleted", "tagged", "stale", "overshoot", "duplicates")
        budget = "" if self.budget_micros is None else f" of {notebook.usd(self.budget_micros)}"
        rows = [
            ("error", self.error),
            ("hint", self.hint),
            ("listed", counts.listed),
            ("skipped", counts.skipped),
            ("examined", counts.examined),
            *((verdict.value, getattr(counts, verdict.value)) for verdict in Verdict),
            ("failed", counts.failed),
            *((name, getattr(counts, name) or None) for name in actions),
            ("pending", self.pending_removals or None),
            ("spent", f"{notebook.usd(counts.spent_micros)}{budget} for {counts.billed_calls:,} billed calls"),
            ("time", notebook.duration(self.wall_s)),
            ("checkpoint", self.checkpoint),
        ]
        return notebook.table(f"{self.name}: {self.stop_reason.value}", rows)
