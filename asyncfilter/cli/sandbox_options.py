"""The options of ``asyncfilter sandbox``, in blocks by what they are about, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from asyncfilter.sandbox import ConditionalWrites, LabelSource, OptOut, Quirk, SandboxOptions, syntax
from asyncfilter.sandbox.options import SummaryShape
from asyncfilter.sandbox.throttle import ThrottleMode

T = TypeVar("T")
W = TypeVar("W", bound=StrEnum)

_Texts = list[str] | None
_CONTENT, _LABELS, _LIMITS, _TROUBLE = "Content", "Labels", "Speed and limits", "Trouble"
_MODELS = "Custom Labels"


def _texts(flag: str, metavar: str, text: str, panel: str) -> object:
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=panel, show_default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where the sandbox serves."""

    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0 chooses a free one.")] = 0
    host: Annotated[str, typer.Option("--host", help="Address to serve on.")] = "127.0.0.1"
    region: Annotated[str, typer.Option("--region", help="Region of buckets that name none.")] = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentOptions:
    """What is in its buckets."""

    for_: Annotated[
        list[Path] | None,
        _texts(
            "--for",
            "JOB",
            "What a job file needs: its buckets, pictures in its source, references, profile. A folder that is its "
            "source is filled only if it is empty, after a yes. May be repeated.",
            _CONTENT,
        ),
    ] = None
    pictures: Annotated[
        int,
        typer.Option(
            "--pictures", min=1, max=100_000, help="Pictures of each source of --for.", rich_help_panel=_CONTENT
        ),
    ] = 300
    bucket: Annotated[_Texts, _texts("--bucket", "NAME[@REGION]", "An empty bucket.", _CONTENT)] = None
    load: Annotated[_Texts, _texts("--load", "BUCKET=DIR", "A bucket with the files of a folder.", _CONTENT)] = None
    samples: Annotated[
        _Texts, _texts("--samples", "BUCKET[=COUNT]", "A bucket of generated pictures, some of them broken.", _CONTENT)
    ] = None
    synthetic: Annotated[
        _Texts, _texts("--synthetic", "BUCKET=COUNT[:PATTERN]", "A bucket of computed objects.", _CONTENT)
    ] = None
    archived: Annotated[_Texts, _texts("--archived", "GLOB", "Objects (bucket/key) in Glacier.", _CONTENT)] = None
    restored: Annotated[
        _Texts, _texts("--restored", "GLOB", "Objects in Glacier that were restored for now.", _CONTENT)
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """What it answers to detections."""

    labels: Annotated[
        str,
        typer.Option(
            "--labels", help="Source of labels: folder, recorded or onnx.", rich_help_panel=_LABELS, metavar="SOURCE"
        ),
    ] = "folder"
    answers: Annotated[
        Path | None, _texts("--answers", "FILE", "JSON Lines of responses by key; used before --labels.", _LABELS)
    ] = None
    recorded: Annotated[Path | None, _texts("--recorded", "FILE", "Responses for --labels recorded.", _LABELS)] = None
    onnx_model: Annotated[Path | None, _texts("--onnx-model", "FILE", "Model for --labels onnx.", _LABELS)] = None
    onnx_labels: Annotated[Path | None, _texts("--onnx-labels", "FILE", "Names of its classes.", _LABELS)] = None
    onnx_preprocess: Annotated[
        Path | None,
        _texts("--onnx-preprocess", "FILE", "Its preprocessor_config.json. Default: it takes pixels.", _LABELS),
    ] = None
    model_version: Annotated[
        _Texts,
        _texts("--model-version", "[REGION=]VERSION", "LabelModelVersion of DetectLabels, of a region alone.", _LABELS),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """How many requests it takes, and how fast it answers them."""

    tps: Annotated[
        _Texts,
        _texts(
            "--tps",
            "[[KEY@]REGION=]RATE",
            "Quota of detections, a second, for each pair of access key and region; with REGION or KEY@REGION for it "
            "alone. KEY may be the number of an account whose role is assumed. May be repeated; default: no limit.",
            _LIMITS,
        ),
    ] = None
    announced_tps: Annotated[
        float | None, _texts("--announced-tps", "RATE", "The quota that Service Quotas reports.", _LIMITS)
    ] = None
    throttle_mode: Annotated[
        str,
        typer.Option(
            "--throttle-mode",
            help="How the quota is enforced: window or bucket.",
            rich_help_panel=_LIMITS,
            metavar="MODE",
        ),
    ] = "window"
    ramp: Annotated[
        float | None, _texts("--ramp", "FACTOR", "Throttle a rate that grows faster than this in a second.", _LIMITS)
    ] = None
    latency: Annotated[
        str, _texts("--latency", "TIME", "Latency of detections: 300ms, or p50=120ms,p99=1.5s.", _LIMITS)
    ] = "0s"
    s3_latency: Annotated[str, _texts("--s3-latency", "TIME", "Latency of all other requests.", _LIMITS)] = "0s"
    list_latency: Annotated[
        str | None,
        _texts("--list-latency", "TIME", "Latency of listings of objects; default: --s3-latency.", _LIMITS),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServiceOptions:
    """How its Custom Labels service works."""

    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            metavar="N",
            help="Divides the times of Custom Labels: dataset 30 s, training 30 min, start 8 min, stop 2 min.",
            rich_help_panel=_MODELS,
        ),
    ] = 1.0
    summary_shape: Annotated[
        str,
        typer.Option(
            "--summary-shape",
            metavar="SHAPE",
            help="The shape of a training's summary file: flat or nested.",
            rich_help_panel=_MODELS,
        ),
    ] = "flat"
    unit_tps: Annotated[
        float | None,
        _texts("--unit-tps", "RATE", "Detections a second of one inference unit; default: 5.", _MODELS),
    ] = None
    control_tps: Annotated[
        float | None,
        _texts("--control-tps", "RATE", "Quota of each control-plane operation (AWS: 5); default: no limit.", _MODELS),
    ] = None
    control_latency: Annotated[
        str, _texts("--control-latency", "TIME", "Latency of control-plane requests.", _MODELS)
    ] = "0s"


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleOptions:
    """What goes wrong in it, and what it checks."""

    fault: Annotated[
        _Texts,
        _texts(
            "--fault",
            "KIND[:OPERATION][@GLOB]=AMOUNT",
            "throttle, ramp, s3-read, internal, unavailable, slowdown, timeout, reset, cut, late, twice, late-error, "
            "conflict, denied, expired, or the name of an error; a share (1%) or the first tries on each key (3x).",
            _TROUBLE,
        ),
    ] = None
    deny: Annotated[_Texts, _texts("--deny", "OPERATION[@GLOB]", "An operation without permission.", _TROUBLE)] = None
    policy: Annotated[
        Path | None, _texts("--policy", "FILE", "The IAM policy of the caller, as `policy JOB` prints it.", _TROUBLE)
    ] = None
    ai_opt_out: Annotated[
        str,
        typer.Option(
            "--ai-opt-out",
            metavar="STATE",
            help="What the organisation says about AWS keeping images: none (no organisation), unset, in or out.",
            rich_help_panel=_TROUBLE,
        ),
    ] = "none"
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log",
            help="Note the IAM permissions that requests need, for GET /_sandbox/access.",
            rich_help_panel=_TROUBLE,
        ),
    ] = False
    denied: Annotated[_Texts, _texts("--denied", "GLOB", "Objects that cannot be read: no permission.", _TROUBLE)] = (
        None
    )
    kms_denied: Annotated[_Texts, _texts("--kms-denied", "GLOB", "Objects whose KMS key cannot be used.", _TROUBLE)] = (
        None
    )
    quirk: Annotated[_Texts, _texts("--quirk", "NAME", f"How S3 differs from AWS's: {', '.join(Quirk)}.", _TROUBLE)] = (
        None
    )
    conditional_writes: Annotated[
        str,
        typer.Option(
            "--conditional-writes",
            metavar="HOW",
            help="If-Match and If-None-Match of puts and copies: yes (obeyed), ignored, or refused (501).",
            rich_help_panel=_TROUBLE,
        ),
    ] = "yes"
    verify_signatures: Annotated[
        bool,
        typer.Option("--verify-signatures", help="Check the signature of every request.", rich_help_panel=_TROUBLE),
    ] = False
    session_s: Annotated[
        float | None,
        typer.Option(
            "--session-seconds",
            metavar="S",
            min=0,
            help="Lifetime of the temporary keys that AssumeRole returns; default what is asked for.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None
    check_images: Annotated[
        bool, typer.Option(help="Reject images that Rekognition would reject.", rich_help_panel=_TROUBLE)
    ] = True


def sandbox_options(
    *,
    server: ServerOptions,
    content: ContentOptions,
    labels: LabelOptions,
    limits: LimitOptions,
    models: ModelServiceOptions,
    trouble: TroubleOptions,
    seed: int,
) -> SandboxOptions:
    """What the options of a command line come to, but for those of jobs.

    Raises:
        ValueError: One cannot be read.
    """
    return SandboxOptions(
        host=_host(server.host),
        port=server.port,
        region=server.region,
        buckets=_parsed(syntax.parse_bucket, content.bucket),
        load=_parsed(syntax.parse_load, content.load),
        samples=_parsed(syntax.parse_samples, content.samples),
        synthetic=_parsed(syntax.parse_synthetic, content.synthetic),
        archived=tuple(content.archived or ()),
        restored=tuple(content.restored or ()),
        quirks=_parsed(syntax.parse_quirk, trouble.quirk),
        labels=_word(LabelSource, labels.labels, "--labels"),
        answers=_text(labels.answers),
        recorded=_text(labels.recorded),
        onnx_model=_text(labels.onnx_model),
        onnx_labels=_text(labels.onnx_labels),
        onnx_preprocess=_text(labels.onnx_preprocess),
        rates=_parsed(syntax.parse_rate, limits.tps),
        announced_tps=limits.announced_tps,
        throttle_mode=_word(ThrottleMode, limits.throttle_mode, "--throttle-mode"),
        ramp=limits.ramp,
        latency=syntax.parse_latency(limits.latency),
        s3_latency=syntax.parse_latency(limits.s3_latency),
        list_latency=None if limits.list_latency is None else syntax.parse_latency(limits.list_latency),
        model_versions=_parsed(syntax.parse_model_version, labels.model_version),
        conditional_writes=_word(ConditionalWrites, trouble.conditional_writes, "--conditional-writes"),
        speed=models.speed,
        summary_shape=_word(SummaryShape, models.summary_shape, "--summary-shape"),
        unit_tps=models.unit_tps,
        control_tps=models.control_tps,
        control_latency=syntax.parse_latency(models.control_latency),
        faults=_parsed(syntax.parse_fault, trouble.fault),
        deny=_parsed(syntax.parse_deny, trouble.deny),
        policy=_text(trouble.policy),
        ai_opt_out=_word(OptOut, trouble.ai_opt_out, "--ai-opt-out"),
        access_log=trouble.access_log,
        denied=tuple(trouble.denied or ()),
        kms_denied=tuple(trouble.kms_denied or ()),
        verify_signatures=trouble.verify_signatures,
        any_credentials=not trouble.verify_signatures,
        session_s=trouble.session_s,
        check_images=trouble.check_images,
        seed=seed,
    )


def _parsed(parse: Callable[[str], T], texts: Sequence[str] | None) -> tuple[T, ...]:
    return tuple(parse(text) for text in texts or ())


def _word(words: type[W], text: str, option: str) -> W:
    """The word of an option that takes one of a few."""
    try:
        return words(text)
    except ValueError as exc:
        *others, last = words
        raise ValueError(f"{option}: expected {', '.join(others)} or {last}, found {text!r}") from exc


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _host(given: str) -> str:
    if not given:
        raise ValueError("--host: expected an address; without one, every machine of the network could reach it")
    return given
