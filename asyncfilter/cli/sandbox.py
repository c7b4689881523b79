"""``asyncfilter sandbox``."""

from __future__ import annotations

import gc
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.job_sandbox.local import draw_files, lane_keys, profile_file
from asyncfilter.cli.options import ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.sandbox_options import (
    ContentOptions,
    LabelOptions,
    LimitOptions,
    ModelServiceOptions,
    ServerOptions,
    TroubleOptions,
    sandbox_options,
)
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.streams import StdoutEndedError
from asyncfilter.cli.terminal import write_json
from asyncfilter.errors import UsageError
from asyncfilter.sandbox import LabelSource, SandboxOptions, client_environment, serve
from asyncfilter.sandbox.options import SECRET_KEY

app = command_group()

_QUICK_START = 100.0
"""The speed of a sandbox for a job that starts its model, unless another is given."""


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
    server: ServerOptions,
    content: ContentOptions,
    labels: LabelOptions,
    limits: LimitOptions,
    models: ModelServiceOptions,
    trouble: TroubleOptions,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all random choices.")] = 0,
    env_file: Annotated[
        Path | None, typer.Option("--env-file", metavar="FILE", help="Write the environment variables to FILE.")
    ] = None,
    options: ResultOptions,
) -> None:
    """Serve until interrupted."""
    try:
        served = sandbox_options(
            server=server,
            content=content,
            labels=labels,
            limits=limits,
            models=models,
            trouble=trouble,
            seed=seed,
        )
        _refuse_unread_files(served)
        served, profiles, lanes = _with_jobs(served, content.for_ or (), pictures=content.pictures, yes=options.yes)
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
