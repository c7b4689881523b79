"""The options of a sandbox: plain values, set by command-line flags or sent as JSON to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.answers.folder import Noise
from asyncfilter.sandbox.answers.source import Label
from asyncfilter.sandbox.faults import Fault
from asyncfilter.sandbox.latency import Latency
from asyncfilter.sandbox.organizations import OptOut
from asyncfilter.sandbox.quirks import ConditionalWrites, Quirk
from asyncfilter.sandbox.rates import RateSpec
from asyncfilter.sandbox.synthetic import DEFAULT_PATTERN
from asyncfilter.sandbox.throttle import ThrottleMode

ACCESS_KEY: Final = "AKIASANDBOXSANDBOX00"
SECRET_KEY: Final = "sandbox-secret-that-opens-nothing"  # noqa: S105 - public, and valid for a sandbox only  # nosec B105
DEFAULT_MODEL_ARN: Final = (
    "arn:aws:rekognition:us-east-1:123456789012:project/sandbox/version/sandbox.2026-01-01T00.00.00/1767225600000"
)


class LabelSource(StrEnum):
    """The source of labels for pictures that are not in an answers file."""

    FOLDER = "folder"
    RECORDED = "recorded"
    ONNX = "onnx"


class SummaryShape(StrEnum):
    """The two shapes in which the guide shows the summary of a training."""

    FLAT = "flat"
    """The metrics stand in ``AggregatedEvaluationResults``, as in the guide's example."""
    NESTED = "nested"
    """They stand in its ``Metrics``, as in the guide's reference."""


class BucketSpec(NamedTuple):
    """An empty bucket; an empty region means the sandbox's."""

    name: str
    region: str = ""


class ModelVersionSpec(NamedTuple):
    """What a region answers as ``LabelModelVersion``; an empty region means all without one of their own."""

    version: str
    region: str = ""


class LoadSpec(NamedTuple):
    """A bucket filled with the files of a folder; keys are their paths below it."""

    bucket: str
    directory: str


class SyntheticSpec(NamedTuple):
    """A bucket of computed objects that share one tiny picture."""

    bucket: str
    objects: int
    pattern: str = DEFAULT_PATTERN


class SamplesSpec(NamedTuple):
    """A bucket of drawn sample pictures, with an answer for each that has the label of the drawn subject."""

    bucket: str
    pictures: int = 300


class DrawnSpec(NamedTuple):
    """One drawn picture, and the labels that a detector finds in it, by its address or its bytes.

    Attributes:
        bucket: Where it is stored; empty for a picture that is not, but that clients may send.
        key: Decides its format too: PNG or JPEG.
        subject: What is drawn; empty for a text file.
        text: Of a text file.
    """

    bucket: str
    key: str
    subject: str
    labels: tuple[Label, ...] = ()
    text: str = "Not a picture.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """The options of a sandbox; every one has a default.

    Attributes:
        port: 0 selects a free port.
        region: The region of buckets for which none is given.
        answers: JSON Lines of answers by key; they take precedence over ``labels``.
        recorded: JSON Lines of recorded answers, for ``labels: recorded``.
        onnx_model, onnx_labels: Classifier and its label list, for ``labels: onnx``.
        onnx_preprocess: Its ``preprocessor_config.json``; None for a model that takes pixels.
        tps: Quota of each detection operation, in calls per second, for each pair of access key and region; None
            accepts any rate.
        rates: Quotas of regions, and of single pairs.
        announced_tps: The quota that Service Quotas returns to pairs that have none of ``rates``; None returns ``tps``,
            or AWS's default if ``tps`` is None.
        ramp: Throttle rates that grow by more than this factor per second.
        model_versions: ``LabelModelVersion`` of DetectLabels, of all regions or of single ones; without, that of the
            labels.
        latency: Latency of detections.
        s3_latency: Latency of all operations without a latency of their own.
        list_latency: Latency of listings of objects; None is ``s3_latency``.
        conditional_writes: Whether PutObject and CopyObject obey ``If-Match`` and ``If-None-Match``.
        archived, restored, kms_denied, denied: Globs on ``bucket/key`` of objects in that state; a restored object is
            an archived one that can be read.
        quirks: How the S3 differs from AWS's.
        policy: File with the identity policy of every caller; None allows everything.
        access_log: Note the IAM permissions that requests need, for ``GET /_sandbox/access``.
        ai_opt_out: What the organisation of the account says about AWS keeping images.
        model_arn, model_status, inference_units: A Custom Labels model that is there from the start. Its labels are
            those of ``labels``, at any rate unless ``unit_tps`` is given. The default one is found by its name only.
        model_thresholds: Its labels with their assumed thresholds, 0 to 1; with any, its evaluation has a summary, in a
            bucket of its own.
        unit_tps: Detections a second of one inference unit; None for 5, the figure of the first API text.
        control_tps: Quota of each operation of the control plane of Custom Labels (5 at AWS); None accepts any rate.
        control_latency: Latency of the control plane of Custom Labels.
        speed: How many times faster than at AWS datasets, trainings, starts and stops of Custom Labels are.
        summary_shape: The shape of the summary file of a training.
        credentials: Secret keys by access key.
        any_credentials: Accept other access keys as well; without effect if ``verify_signatures`` is set.
        session_s: Lifetime of the temporary keys that AssumeRole returns, seconds; None for what the request asks for.
        count_keys: Count how often each image is examined (about 150 bytes per image).
    """

    host: str = "127.0.0.1"
    port: int = 0
    region: str = "us-east-1"
    account: str = "123456789012"
    buckets: tuple[BucketSpec, ...] = ()
    load: tuple[LoadSpec, ...] = ()
    synthetic: tuple[SyntheticSpec, ...] = ()
    samples: tuple[SamplesSpec, ...] = ()
    drawn: tuple[DrawnSpec, ...] = ()
    labels: LabelSource = LabelSource.FOLDER
    answers: str | None = None
    recorded: str | None = None
    onnx_model: str | None = None
    onnx_labels: str | None = None
    onnx_preprocess: str | None = None
    noise: Noise = field(default_factory=Noise)
    tps: float | None = None
    rates: tuple[RateSpec, ...] = ()
    throttle_mode: ThrottleMode = ThrottleMode.WINDOW
    announced_tps: float | None = None
    ramp: float | None = None
    latency: Latency = field(default_factory=Latency)
    s3_latency: Latency = field(default_factory=Latency)
    list_latency: Latency | None = None
    conditional_writes: ConditionalWrites = ConditionalWrites.YES
    model_versions: tuple[ModelVersionSpec, ...] = ()
    faults: tuple[Fault, ...] = ()
    deny: tuple[DenyRule, ...] = ()
    policy: str | None = None
    access_log: bool = False
    ai_opt_out: OptOut = OptOut.NO_ORGANIZATION
    archived: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    kms_denied: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    model_arn: str = DEFAULT_MODEL_ARN
    model_status: str = "RUNNING"
    model_thresholds: tuple[tuple[str, float], ...] = ()
    inference_units: int = 1
    unit_tps: float | None = None
    control_tps: float | None = None
    control_latency: Latency = field(default_factory=Latency)
    speed: float = 1.0
    summary_shape: SummaryShape = SummaryShape.FLAT
    check_images: bool = True
    verify_signatures: bool = False
    credentials: Mapping[str, str] = field(default_factory=lambda: {ACCESS_KEY: SECRET_KEY})
    any_credentials: bool = True
    session_s: float | None = None
    count_keys: bool = True
    seed: int = 0
