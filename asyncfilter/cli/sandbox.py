"""``asyncfilter sandbox``."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.job_sandbox.local import draw_files, lane_keys, profile_file
from asyncfilter.cli.options import ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.streams import StdoutEndedError
from asyncfilter.cli.terminal import write_json
from asyncfilter.errors import UsageError
from asyncfilter.sandbox import (
    ConditionalWrites,
    LabelSource,
    OptOut,
    Quirk,
    SandboxOptions,
    client_environment,
    serve,
    syntax,
)
from asyncfilter.sandbox.options import SECRET_KEY, SummaryShape
from asyncfilter.sandbox.throttle import ThrottleMode

app = command_group()

T = TypeVar("T")
W = TypeVar("W", bound=StrEnum)

_Texts = list[str] | None
_CONTENT, _LABELS, _LIMITS, _TROUBLE = "Content", "Labels", "Speed and limits", "Trouble"
_MODELS = "Custom Labels"

_QUICK_START = 100.0
"""The speed of a sandbox for a job that starts its model, unless another is given."""


def _texts(flag: str, metavar: str, text: str, panel: str) -> object:
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=panel, show_default=False)


@app.command(
    "sandbox",
    help=help_text(
        "Serve a double of S3, Rekognition, Service Quotas, STS, IAM and Organizations on one local port, for any AWS "
        "client, until Ctrl-C. All of its data is in memory.",
        "asyncfilter sandbox --for job.yaml          what the job needs, with pictures that its rules can tell apart",
        "asyncfilter sandbox --samples raw=300 --bucket clean",
        "asyncfilter sandbox --load photos=./pictures --bucket clean --tps 50 --latency 300ms",
        "asyncfilter sandbox --synthetic raw=2000000 --tps 500 --latency p50=120ms,p99=1.5s",
        "asyncfilter sandbox --samples raw --tps 50 --tps us-west-2=20 --tps eu-west-1=5    a quota for each region",
        "asyncfilter sandbox --samples raw --fault throttle=1% --fault 'reset@raw/robin/*=0.2' --seed 7",
        "asyncfilter sandbox --samples raw --deny 'CopyObject@clean/*' --env-file sandbox.env",
        "asyncfilter sandbox --samples raw --bucket models --speed 600    Custom Labels: a training takes 3 seconds",
    ),
)
@takes_options
def sandbox(
    *,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0 chooses a free one.")] = 0,
    host: Annotated[str, typer.Option("--host", help="Address to serve on.")] = "127.0.0.1",
    region: Annotated[str, typer.Option("--region", help="Region of buckets that name none.")] = "us-east-1",
    for_: Annotated[
        list[Path] | None,
        _texts(
            "--for",
            "JOB",
            "What a job file needs: its buckets, pictures in its source, references, profile. A folder that is its "
            "source is filled only if it is empty, after a yes. May be repeated.",
            _CONTENT,
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option("--pictures", min=1, help="Pictures of each source of --for.", rich_help_panel=_CONTENT)
    ] = 300,
    bucket: Annotated[_Texts, _texts("--bucket", "NAME[@REGION]", "An empty bucket.", _CONTENT)] = None,
    load: Annotated[_Texts, _texts("--load", "BUCKET=DIR", "A bucket with the files of a folder.", _CONTENT)] = None,
    samples: Annotated[
        _Texts, _texts("--samples", "BUCKET[=COUNT]", "A bucket of generated pictures, some of them broken.", _CONTENT)
    ] = None,
    synthetic: Annotated[
        _Texts, _texts("--synthetic", "BUCKET=COUNT[:PATTERN]", "A bucket of computed objects.", _CONTENT)
    ] = None,
    archived: Annotated[_Texts, _texts("--archived", "GLOB", "Objects (bucket/key) in Glacier.", _CONTENT)] = None,
    restored: Annotated[
        _Texts, _texts("--restored", "GLOB", "Objects in Glacier that were restored for now.", _CONTENT)
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels", help="Source of labels: folder, recorded or onnx.", rich_help_panel=_LABELS, metavar="SOURCE"
        ),
    ] = "folder",
    answers: Annotated[
        Path | None, _texts("--answers", "FILE", "JSON Lines of responses by key; used before --labels.", _LABELS)
    ] = None,
    recorded: Annotated[Path | None, _texts("--recorded", "FILE", "Responses for --labels recorded.", _LABELS)] = None,
    onnx_model: Annotated[Path | None, _texts("--onnx-model", "FILE", "Model for --labels onnx.", _LABELS)] = None,
    onnx_labels: Annotated[Path | None, _texts("--onnx-labels", "FILE", "Names of its classes.", _LABELS)] = None,
    onnx_preprocess: Annotated[
        Path | None,
        _texts("--onnx-preprocess", "FILE", "Its preprocessor_config.json. Default: it takes pixels.", _LABELS),
    ] = None,
    model_version: Annotated[
        _Texts,
        _texts("--model-version", "[REGION=]VERSION", "LabelModelVersion of DetectLabels, of a region alone.", _LABELS),
    ] = None,
    tps: Annotated[
        _Texts,
        _texts(
            "--tps",
            "[[KEY@]REGION=]RATE",
            "Quota of detections, a second, for each pair of access key and region; with REGION or KEY@REGION for it "
            "alone. KEY may be the number of an account whose role is assumed. May be repeated; default: no limit.",
            _LIMITS,
        ),
    ] = None,
    announced_tps: Annotated[
        float | None, _texts("--announced-tps", "RATE", "The quota that Service Quotas reports.", _LIMITS)
    ] = None,
    throttle_mode: Annotated[
        str,
        typer.Option(
            "--throttle-mode",
            help="How the quota is enforced: window or bucket.",
            rich_help_panel=_LIMITS,
            metavar="MODE",
        ),
    ] = "window",
    ramp: Annotated[
        float | None, _texts("--ramp", "FACTOR", "Throttle a rate that grows faster than this in a second.", _LIMITS)
    ] = None,
    latency: Annotated[
        str, _texts("--latency", "TIME", "Latency of detections: 300ms, or p50=120ms,p99=1.5s.", _LIMITS)
    ] = "0s",
    s3_latency: Annotated[str, _texts("--s3-latency", "TIME", "Latency of all other requests.", _LIMITS)] = "0s",
    list_latency: Annotated[
        str | None,
        _texts("--list-latency", "TIME", "Latency of listings of objects; default: --s3-latency.", _LIMITS),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            metavar="N",
            help="Divides the times of Custom Labels: dataset 30 s, training 30 min, start 8 min, stop 2 min.",
            rich_help_panel=_MODELS,
        ),
    ] = 1.0,
    summary_shape: Annotated[
        str,
        typer.Option(
            "--summary-shape",
            metavar="SHAPE",
            help="The shape of a training's summary file: flat or nested.",
            rich_help_panel=_MODELS,
        ),
    ] = "flat",
    unit_tps: Annotated[
        float | None,
        _texts("--unit-tps", "RATE", "Detections a second of one inference unit; default: 5.", _MODELS),
    ] = None,
    control_tps: Annotated[
        float | None,
        _texts("--control-tps", "RATE", "Quota of each control-plane operation (AWS: 5); default: no limit.", _MODELS),
    ] = None,
    control_latency: Annotated[
        str, _texts("--control-latency", "TIME", "Latency of control-plane requests.", _MODELS)
    ] = "0s",
    fault: Annotated[
        _Texts,
        _texts(
            "--fault",
            "KIND[:OPERATION][@GLOB]=AMOUNT",
            "throttle, ramp, s3-read, internal, unavailable, slowdown, timeout, reset, cut, late, twice, late-error, "
            "conflict, denied, expired, or the name of an error; a share (1%) or the first tries on each key (3x).",
            _TROUBLE,
        ),
    ] = None,
    deny: Annotated[_Texts, _texts("--deny", "OPERATION[@GLOB]", "An operation without permission.", _TROUBLE)] = None,
    policy: Annotated[
        Path | None, _texts("--policy", "FILE", "The IAM policy of the caller, as `policy JOB` prints it.", _TROUBLE)
    ] = None,
    ai_opt_out: Annotated[
        str,
        typer.Option(
            "--ai-opt-out",
            metavar="STATE",
            help="What the organisation says about AWS keeping images: none (no organisation), unset, in or out.",
            rich_help_panel=_TROUBLE,
        ),
    ] = "none",
    access_log: Annotated[
        bool,
        typer.Option(
            "--access-log",
            help="Note the IAM permissions that requests need, for GET /_sandbox/access.",
            rich_help_panel=_TROUBLE,
        ),
    ] = False,
    denied: Annotated[
        _Texts, _texts("--denied", "GLOB", "Objects that cannot be read: no permission.", _TROUBLE)
    ] = None,
    kms_denied: Annotated[
        _Texts, _texts("--kms-denied", "GLOB", "Objects whose KMS key cannot be used.", _TROUBLE)
    ] = None,
    quirk: Annotated[
        _Texts, _texts("--quirk", "NAME", f"How S3 differs from AWS's: {', '.join(Quirk)}.", _TROUBLE)
    ] = None,
    conditional_writes: Annotated[
        str,
        typer.Option(
            "--conditional-writes",
            metavar="HOW",
            help="If-Match and If-None-Match of puts and copies: yes (obeyed), ignored, or refused (501).",
            rich_help_panel=_TROUBLE,
        ),
    ] = "yes",
    verify_signatures: Annotated[
        bool,
        typer.Option("--verify-signatures", help="Check the signature of every request.", rich_help_panel=_TROUBLE),
    ] = False,
    session_s: Annotated[
        float | None,
        typer.Option(
            "--session-seconds",
            metavar="S",
            min=0,
            help="Lifetime of the temporary keys that AssumeRole returns; default what is asked for.",
            rich_help_panel=_TROUBLE,
        ),
    ] = None,
    check_images: Annotated[
        bool, typer.Option(help="Reject images that Rekognition would reject.", rich_help_panel=_TROUBLE)
    ] = True,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random choices.")] = 0,
    env_file: Annotated[
        Path | None, typer.Option("--env-file", metavar="FILE", help="Write the environment variables to FILE.")
    ] = None,
    options: ResultOptions,
) -> None:
    """Serve until interrupted."""
    try:
        served = SandboxOptions(
            host=host,
            port=port,
            region=region,
            buckets=_parsed(syntax.parse_bucket, bucket),
            load=_parsed(syntax.parse_load, load),
            samples=_parsed(syntax.parse_samples, samples),
            synthetic=_parsed(syntax.parse_synthetic, synthetic),
            archived=tuple(archived or ()),
            restored=tuple(restored or ()),
            quirks=_parsed(syntax.parse_quirk, quirk),
            labels=_word(LabelSource, labels, "--labels"),
            answers=_text(answers),
            recorded=_text(recorded),
            onnx_model=_text(onnx_model),
            onnx_labels=_text(onnx_labels),
            onnx_preprocess=_text(onnx_preprocess),
            rates=_parsed(syntax.parse_rate, tps),
            announced_tps=announced_tps,
            throttle_mode=_word(ThrottleMode, throttle_mode, "--throttle-mode"),
            ramp=ramp,
            latency=syntax.parse_latency(latency),
            s3_latency=syntax.parse_latency(s3_latency),
            list_latency=None if list_latency is None else syntax.parse_latency(list_latency),
            model_versions=_parsed(syntax.parse_model_version, model_version),
            conditional_writes=_word(ConditionalWrites, conditional_writes, "--conditional-writes"),
            speed=speed,
            summary_shape=_word(SummaryShape, summary_shape, "--summary-shape"),
            unit_tps=unit_tps,
            control_tps=control_tps,
            control_latency=syntax.parse_latency(control_latency),
            faults=_parsed(syntax.parse_fault, fault),
            deny=_parsed(syntax.parse_deny, deny),
            policy=_text(policy),
            ai_opt_out=_word(OptOut, ai_opt_out, "--ai-opt-out"),
            access_log=access_log,
            denied=tuple(denied or ()),
            kms_denied=tuple(kms_denied or ()),
            verify_signatures=verify_signatures,
            any_credentials=not verify_signatures,
            session_s=session_s,
            check_images=check_images,
            seed=seed,
        )
        _refuse_unread_files(served)
        served, profiles, lanes = _with_jobs(served, for_ or (), pictures=pictures, yes=options.yes)
        with profile_file(profiles, served, lanes) as variables:
            _serve(served, variables, env_file=env_file, as_json=options.as_json)
    except ValueError as error:
        raise UsageError(str(error), hint="See asyncfilter sandbox --help.") from error
    except OSError as error:
        raise UsageError(f"the sandbox cannot be served: {error}", hint="Try another --port or --host.") from error


def _refuse_unread_files(options: SandboxOptions) -> None:
    """Refuse a file of another source of labels than `--labels` names: no answer would come from it."""
    files = {
        "--recorded": (options.recorded, LabelSource.RECORDED),
        "--onnx-model": (options.onnx_model, LabelSource.ONNX),
        "--onnx-labels": (options.onnx_labels, LabelSource.ONNX),
        "--onnx-preprocess": (options.onnx_preprocess, LabelSource.ONNX),
    }
    for option, (path, source) in files.items():
        if path is not None and options.labels is not source:
            raise UsageError(
                f"{option} is read with --labels {source} alone, found --labels {options.labels}",
                hint=f"Add --labels {source}, or leave {option} out.",
            )


def _with_jobs(
    options: SandboxOptions, paths: Sequence[Path], *, pictures: int, yes: bool
) -> tuple[SandboxOptions, tuple[str, ...], Mapping[str, str]]:
    """The options with what the jobs need, the profiles that they name, and those of lanes with their access keys.

    A bucket that another option fills has only what that option puts there.
    """
    if not paths:
        return options, (), {}
    jobs = [deferred.with_known_bucket(deferred.load_job(path)) for path in paths]
    needed = deferred.contents_for(jobs, pictures=pictures, seed=options.seed)
    draw_files(needed.local, seed=options.seed, yes=yes)
    filled = {name for specs in (options.load, options.samples, options.synthetic) for name, *_ in specs}
    for job in jobs:
        if job.source.bucket not in filled and job.source.folder is None:
            print_err(f"{job.path}: {pictures} pictures in s3://{job.source.bucket}/{job.source.prefix}")
    lanes = lane_keys(needed.lane_profiles)
    served = replace(
        options,
        credentials={**options.credentials, **dict.fromkeys(lanes.values(), SECRET_KEY)},
        buckets=(*options.buckets, *needed.buckets),
        drawn=tuple(spec for spec in needed.drawn if spec.bucket not in filled),
        model_arn=needed.model_arn or options.model_arn,
        model_thresholds=needed.model_thresholds,
        model_status="STOPPED" if needed.starts_model else options.model_status,
        # As slow as at AWS, a job that starts its model would wait for ten minutes.
        speed=_QUICK_START if needed.starts_model and options.speed == 1 else options.speed,
    )
    return served, needed.profiles, lanes


def _serve(options: SandboxOptions, variables: Mapping[str, str], *, env_file: Path | None, as_json: bool) -> None:
    def started(endpoint_url: str) -> None:
        gc.freeze()  # loaded objects stay: traversing them again would delay responses
        environment = {**client_environment(options, endpoint_url), **variables}
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
        if env_file is not None:
            env_file.write_text("".join(f"{name}={value}\n" for name, value in environment.items()))
        if as_json:
            stats_url = f"{endpoint_url}/_sandbox/stats"
            write_json({"endpoint_url": endpoint_url, "stats_url": stats_url, "environment": environment})
        else:
            with suppress(StdoutEndedError):  # it serves all the same; what was lost is reported at its end
                print(f"unset AWS_PROFILE AWS_SESSION_TOKEN\n{exports}", end="", flush=True)  # noqa: T201
        print_err(f"serving on {endpoint_url}; Ctrl-C ends it")

    deferred.run_until_signal(lambda: serve(options, started=started))
    print_err("the sandbox is closed")


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
