"""The job as the rest of the program uses it: frozen, validated, with defaults filled in.

``asyncfilter.job.load`` makes these from YAML; no layer below uses YAML or pydantic. Field names are those of the
job file with their units added. Lists are tuples; money is in integer micro-dollars.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from asyncfilter.model import ActionKind, IfExists, StoreKind, Verdict, folder_of, store_of, uri_of

DEFAULT_CONFIDENCE_PCT = 55.0
"""Default confidence of a rule, percent: the default MinConfidence of DetectLabels."""

MAX_WINDOW = 1000
"""Largest window of ``stop.errors``, images; their failures are stored with every watermark."""

ANSWERS_SUFFIX = ".answers.db"
"""Of the file of people's answers, after the checkpoint's name without ``.db``."""


class Order(StrEnum):
    """The order in which images are examined."""

    LISTING = "listing"
    RANDOM = "random"


class ListKind(StrEnum):
    """The kinds of lists of keys that may be a source."""

    LIST = "list"
    """A table with a column of keys or addresses, or a manifest; its order is that of its rows."""
    INVENTORY = "inventory"
    """An S3 Inventory, whose rows have no order; its order is that of the listing."""


class DetectorKind(StrEnum):
    """What examines the images."""

    REKOGNITION = "rekognition"
    CUSTOM_LABELS = "rekognition-custom-labels"
    ONNX = "onnx"
    """A model of one's own, on this machine."""


LOCAL_KINDS = frozenset({DetectorKind.ONNX})
"""The kinds that call no service."""


T = TypeVar("T")


def for_every_kind(name: str, table: Mapping[DetectorKind, T]) -> Mapping[DetectorKind, T]:
    """``table`` itself, when it has a row for every kind of detector.

    Each table by detector kind is checked with this function when its module is imported. So a kind without a row
    in one of them is an error at once, and never a job that runs with the row of another kind.

    Args:
        name: Of the table, for the message.
        table: By kind.

    Raises:
        LookupError: A kind has no row.
    """
    return _complete(name, table, list(DetectorKind))


def for_every_service(name: str, table: Mapping[DetectorKind, T]) -> Mapping[DetectorKind, T]:
    """As ``for_every_kind``, for a table of what is sent to a service: kinds that call none have no row."""
    return _complete(name, table, [kind for kind in DetectorKind if kind not in LOCAL_KINDS])


def _complete(name: str, table: Mapping[DetectorKind, T], kinds: Iterable[DetectorKind]) -> Mapping[DetectorKind, T]:
    missing = [kind.value for kind in kinds if kind not in table]
    if missing:
        raise LookupError(f"{name} has no row for the detector kind {', '.join(missing)}")
    return table


class Precheck(StrEnum):
    """The check of an image before it is paid for."""

    NONE = "none"
    HEADER = "header"


class TargetCheck(StrEnum):
    """The check of the targets of actions before anything is paid for."""

    EXISTS = "exists"
    """Buckets exist, folders could be written."""
    POLICY = "policy"
    """The same, and IAM is asked whether the caller's policies allow the writes."""
    WRITE = "write"
    """An empty object or file is written to each target, and taken away again."""


class ClientKind(StrEnum):
    """The client for AWS: asyncfilter's signed HTTP client for the frequent calls, or that of aioboto3 for all."""

    FAST = "fast"
    AIOBOTO3 = "aioboto3"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSpec:
    """A list of keys in place of the listing of the source.

    Attributes:
        address: ``s3://bucket/key``, or an absolute path.
        column: The column of keys or addresses; None to find it.
    """

    kind: ListKind
    address: str
    column: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """The location of the images, and the keys to include and exclude.

    Globs match the whole key, without regard to case.

    Attributes:
        bucket: A bucket of S3, or ``file://`` and an absolute folder; empty while only a list names it.
        spelled: The folder as written in the job file, so that a project can be moved; None for S3.
        ranges: Listing requests under way at once; for S3 alone.
        skip_duplicates: Images with the content of an earlier one are not examined and have no verdict.
        examine_duplicates: Every image is examined by itself, whatever its ETag.
        listed: The list of keys to examine; None for all that the store lists.
    """

    bucket: str
    spelled: str | None = None
    prefix: str = ""
    include: tuple[str, ...] = ("*.jpg", "*.jpeg", "*.png")
    exclude: tuple[str, ...] = ()
    order: Order = Order.LISTING
    seed: int = 0
    ranges: int = 1
    skip_duplicates: bool = False
    examine_duplicates: bool = False
    listed: ListSpec | None = None

    @property
    def described(self) -> str:
        """The source in a few words, for people."""
        where = uri_of(self.bucket, self.prefix) if self.bucket else ""
        return where if self.listed is None else f"{self.listed.kind} {self.listed.address}{where and f' of {where}'}"

    @property
    def duplicates(self) -> str:
        """``same``, ``skip`` or ``examine``, as in the job file."""
        return "examine" if self.examine_duplicates else "skip" if self.skip_duplicates else "same"

    @property
    def store(self) -> StoreKind:
        """The kind of store that holds the images."""
        return store_of(self.bucket)

    @property
    def folder(self) -> Path | None:
        """The folder whose files are the images; None for S3."""
        return folder_of(self.bucket) if self.store is StoreKind.FOLDER else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStart:
    """How a run starts its model, under a lease that it owns.

    Attributes:
        for_s: Longest time of the lease, seconds.
        units: Inference units.
        max_units: Units up to which the service may scale; None without scaling.
        poll_s: Pause between two looks at the model, seconds.
    """

    for_s: float
    units: int = 1
    max_units: int | None = None
    poll_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier:
    """Price of one image while no more than ``up_to`` images were billed this month; None means no limit."""

    up_to: int | None
    micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpec:
    """One region of one account, with a quota, a rate and prices of its own.

    Attributes:
        profile: Of the AWS configuration files; with neither profile nor role, the credentials of the job.
        role: ARN of a role that is assumed with the credentials of the job.
        tps: Calls a second; None means the quota.
        share: The part of that rate that may be used, a fraction.
        used_this_month: Images that other programs had billed this month.
        tiers: Prices in place of the table; None for the table.
    """

    name: str
    region: str
    profile: str | None = None
    role: str | None = None
    external_id: str | None = None
    tps: float | None = None
    share: float = 1.0
    used_this_month: int = 0
    tiers: tuple[PriceTier, ...] | None = None

    @property
    def is_own(self) -> bool:
        """Whether it calls with the credentials of the job."""
        return self.role is None and self.profile is None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnModelSpec:
    """What belongs to a model of one's own, whose address is ``DetectorSpec.model``.

    ``batch``, ``threads`` and ``device`` may change at any time; any other change makes stored labels unusable.

    Attributes:
        labels: Path of the label file.
        preprocess: Path of a ``preprocessor_config.json``, or a mapping with its keys; None without.
        output: The output with the scores; None for the only one.
        scores: ``auto``, ``softmax``, ``sigmoid`` or ``none``.
        batch: Most images a call.
        threads: Threads within one call.
        device: ``cpu``, ``cuda`` or ``auto``.
        identity: Keys of the job file with what they come to, the model as its digest; None until it was read.
        local: Where a model in S3 lies on this machine; None until it was fetched, and for a model that was there.
    """

    labels: str
    preprocess: str | Mapping[str, object] | None = None
    output: str | None = None
    scores: str = "auto"
    batch: int = 32
    threads: int = 1
    device: str = "cpu"
    identity: Mapping[str, str] | None = None
    local: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSpec:
    """The request to the service; a change of a field other than ``start`` and the lanes makes stored labels unusable.

    Attributes:
        model: The ARN of a model version, or the address of a model of one's own: ``s3://bucket/key``, or a path.
        start: The run starts the model and stops it; None for a model that runs without it.
        own: What belongs to a model of one's own; None for other kinds.
        lanes: The regions and accounts among which calls are divided; empty for one region of the job's account.
        lanes_must_agree: Whether answers of different model versions end the run.
    """

    kind: DetectorKind = DetectorKind.REKOGNITION
    region: str | None = None
    model: str | None = None
    min_confidence_pct: float = 0.0
    max_labels: int = 1000
    features: tuple[str, ...] = ("GENERAL_LABELS",)
    start: ModelStart | None = None
    own: OwnModelSpec | None = None
    lanes: tuple[LaneSpec, ...] = ()
    lanes_must_agree: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many instances of a label an image shows, at or above the rule's confidence."""

    label: str
    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """How much of the image a label's largest box covers, as a fraction."""

    label: str
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """``confidence: assumed``: each label has its own threshold, that of the evaluation of the model.

    Attributes:
        thresholds_pct: Casefolded labels with their thresholds, percent; None until they are read (``policy.assumed``).
    """

    thresholds_pct: tuple[tuple[str, float], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a rule; all parts that are given must hold."""

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    count: Count | None = None
    area: Area | None = None
    not_: tuple[Condition, ...] = ()
    """Holds when not all of these hold."""
    like: tuple[str, ...] = ()
    """Reference images, ``s3://bucket/key`` or an absolute path; label names replace them before the first decision."""
    ignore: tuple[str, ...] = ()
    """Label names that ``like`` must not use."""
    confidence_pct: float | Assumed = DEFAULT_CONFIDENCE_PCT

    def least_pct(self, label: str) -> float | None:
        """Least confidence of ``label``, percent; None while the threshold that it stands for is not known."""
        if not isinstance(self.confidence_pct, Assumed):
            return self.confidence_pct
        return dict(self.confidence_pct.thresholds_pct or ()).get(label.casefold())


def nested_conditions(conditions: Iterable[Condition]) -> Iterator[Condition]:
    """Each condition, followed by those below its ``not``, at any depth."""
    for condition in conditions:
        yield condition
        yield from nested_conditions(condition.not_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A verdict and the conditions that must all hold for it."""

    verdict: Verdict
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """The action on the images of one verdict.

    Attributes:
        target: Bucket and key template of a copy or move, as ``s3://bucket/template``, or ``file:///folder/template``;
            a template that ended in ``/`` has ``{key}`` added already.
        is_link: True for a copy between folders that is made as a hard link.
    """

    kind: ActionKind = ActionKind.NONE
    target: str | None = None
    if_exists: IfExists = IfExists.OVERWRITE
    is_link: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on rate, cost, number of images and time.

    None means ``auto`` for tps and concurrency, and no limit elsewhere.
    """

    tps: float | None = None
    share: float = 1.0
    concurrency: int | None = None
    budget_micros: int | None = None
    max_images: int | None = None
    max_attempts: int = 8
    timeout_s: float = 15.0
    decoding_mb: int = 350

    @property
    def usable_tps(self) -> float | None:
        """The part of ``tps`` that this run may use; None for ``auto``."""
        return None if self.tps is None else self.tps * self.share


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRate:
    """Stop once the share of ``keep`` among all verdicts is below ``below``, a fraction, with this confidence."""

    below: float
    confidence: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorShare:
    """Stop once this share of the last ``window`` images, a fraction, could not be examined."""

    rate: float
    window: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When the run stops early. None means never."""

    matches: int | None = None
    misses_in_a_row: int | None = None
    hit_rate: HitRate | None = None
    errors: ErrorShare | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """What people cost who would review the images, and how fast they are; ``policy.by_hand`` has the sources."""

    hour_micros: int = 44_400_000
    images_per_hour: float = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """Usage and prices of the account; None means the table that ships with the package, or the service's value."""

    used_this_month: int = 0
    tiers: tuple[PriceTier, ...] | None = None
    inference_unit_hour_micros: int | None = None
    inference_units: int | None = None
    by_hand: ByHand = field(default_factory=ByHand)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """Access to AWS; None means the standard AWS settings."""

    profile: str | None = None
    region: str | None = None
    client: ClientKind = ClientKind.FAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What people are shown.

    Attributes:
        labels: The labels to choose from; empty for those of the keep and review rules.
    """

    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpec:
    """Where in S3 the state of a job is.

    Attributes:
        bucket: The bucket.
        prefix: Of several states; empty, or with a final slash.
        is_authoritative: S3 decides (``checkpoint``); else the local file, which S3 follows (``checkpoint_copy``).
    """

    bucket: str
    prefix: str
    is_authoritative: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where images are examined, in place of this process alone.

    Attributes:
        address: ``auto``, or host and port of a Ray that runs.
        least: Workers to begin with.
        most: Workers at the most; None for as many as the cluster's cores hold.
        cpus: Cores of a worker; ``gpus`` and ``memory_gb`` likewise, None without a limit.
        sends_all: Also what workers make dearer is sent.
        wait_s: How long the first workers are waited for, seconds.
    """

    engine: str = "ray"
    address: str = "auto"
    least: int = 1
    most: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float | None = None
    sends_all: bool = False
    wait_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A whole job.

    Attributes:
        path: The job file; None for a job made in a program.
        checkpoint: The SQLite file that holds the paid results; a working copy where ``state`` is the truth.
        state: The state in S3; None without one.
        answers: The SQLite file of people's answers; None for the one beside the checkpoint (``answers_path``).
        actions: One per verdict; every verdict is present.
        duplicate: The action on images with the same content as an earlier one; None: the action of their verdict.
        precheck: Whether headers are read before a call is paid for.
        check_targets: How the targets of actions are checked before the first paid call.
        convert: Whether images that the service cannot read are converted and sent.
        near_duplicates: Whether a perceptual hash of each image is kept.
        cluster: Where images are examined; None for this process alone.
    """

    name: str
    path: Path | None
    source: SourceSpec
    detector: DetectorSpec
    rules: tuple[Rule, ...]
    otherwise: Verdict
    actions: Mapping[Verdict, Action]
    duplicate: Action | None = None
    limits: Limits
    stop: Stop
    checkpoint: Path
    pricing: Pricing
    aws: Aws
    precheck: Precheck = Precheck.NONE
    check_targets: TargetCheck = TargetCheck.POLICY
    convert: bool = False
    near_duplicates: bool = False
    state: StateSpec | None = None
    answers: Path | None = None
    review: Review = field(default_factory=Review)
    cluster: Cluster | None = None

    @property
    def answers_path(self) -> Path:
        """The SQLite file of people's answers: the one named, else the checkpoint's path without ``.db``, and suffix.

        It need not exist.
        """
        return self.answers or self.checkpoint.with_name(f"{self.checkpoint.name.removesuffix('.db')}{ANSWERS_SUFFIX}")

    @property
    def actions_by_key(self) -> dict[str, Action]:
        """Every action, that on duplicates among them, by its key in the job file: ``actions.keep`` and so on."""
        found = {f"actions.{verdict}": action for verdict, action in self.actions.items()}
        return found if self.duplicate is None else {**found, "actions.duplicate": self.duplicate}

    @property
    def target_stores(self) -> frozenset[StoreKind]:
        """The kinds of stores that images are copied or moved to."""
        targets = [action.target for action in self.actions_by_key.values()]
        return frozenset(store_of(target) for target in targets if target is not None)
