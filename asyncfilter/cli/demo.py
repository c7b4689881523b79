"""``asyncfilter demo``: a whole run over generated pictures in a sandbox; no account is needed."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import anyio
import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.demo_folder import prepare_folder, show_command, unwritable, use_sandbox
from asyncfilter.cli.options import LogFormat, OutputOptions, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.run import print_summary
from asyncfilter.cli.signals import PROCESS
from asyncfilter.cli.stderr import print_err, print_lines
from asyncfilter.cli.terminal import write_json
from asyncfilter.cli.where import On, check_on, placed
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import StopReason, Summary
from asyncfilter.report.program import program
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess, syntax

FOLDER = Path(".asyncfilter-demo")
MANIFEST = FOLDER / "train.manifest"

_PICTURES = 300
_QUOTA_TPS = 25.0
_OTHER_CONFIDENCE = 70
_REJECTS_SHOWN = 24
_FETCHES_AT_ONCE = 16
_TIMEOUT_S = 15.0

JOB = """\
# What `asyncfilter demo` ran: keep the robins of a collected set of bird pictures.
version: 1
name: demo

source: s3://demo-raw/raw/               # 300 drawn pictures in class folders, dirt among them

rules:                                   # the first that matches decides
  - reject: {any: [Person], confidence: 85}
  - keep:   {any: [Robin], confidence: 85}
  - review: {any: [Robin], confidence: 60}
otherwise: reject

actions:
  keep:   {copy: "s3://demo-clean/robin/{relative}"}
  review: {copy: "s3://demo-review/robin/{relative}"}

limits:
  tps: auto                              # the quota of the account, here 25 calls a second
  budget_usd: 1.00                       # the sandbox bills as us-east-1 does
"""


app = command_group()


@app.command(
    "demo",
    help=help_text(
        "See it work: a sandbox with 300 generated pictures, a whole run with live progress, a second run that costs "
        "nothing, other rules at no cost, and a manifest to train from; with --review, the page on which people decide "
        "the uncertain pictures. Takes "
        f"half a minute; needs no account and writes only to {FOLDER}/.",
        "asyncfilter demo",
        "asyncfilter demo --review     decide the uncertain pictures on a local page, until Ctrl-C",
        "asyncfilter demo --serve      keep the sandbox open afterwards, to try more",
        "asyncfilter demo --on ray     examine by two workers, on a Ray that is started for it",
        "asyncfilter demo --train      train a model on drawn pictures, run it under a lease, correct and stop it",
    ),
)
@takes_options
def demo(
    *,
    pictures: Annotated[
        int, typer.Option("--pictures", min=1, max=100_000, help="How many pictures to generate.")
    ] = _PICTURES,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the sandbox open afterwards, until Ctrl-C.")] = False,
    train: Annotated[
        bool, typer.Option("--train", help="Show a model of Custom Labels from folders of pictures to its stop.")
    ] = False,
    review: Annotated[bool, typer.Option("--review", help="Serve the review page afterwards, until Ctrl-C.")] = False,
    on: On = None,
    options: ResultOptions,
) -> None:
    """Show a whole run, or the way to a model."""
    check_on(on)
    if train:
        if on not in {None, "local"}:
            raise UsageError(f"--train and --on {on}: a training has no workers", hint="Leave one of them out.")
        _show_training(pictures=pictures, is_open=serve or review, as_json=options.as_json)
        return
    if serve and review:
        raise UsageError("--serve and --review both go on until Ctrl-C", hint="Give one of them.")
    path = _prepare_folder()
    print_err(
        f"Drawing {pictures} pictures and starting a sandbox: S3, Rekognition and Service Quotas on a local port."
    )
    with SandboxProcess(_sandbox_options(pictures)) as sandbox:
        use_sandbox(sandbox)
        summary = _run(_placed(deferred.load_job(path), on), as_json=options.as_json and not review)
        if summary.stop_reason is StopReason.INTERRUPTED:
            raise typer.Exit(summary.exit_code)
        if serve:
            _serve(sandbox)
        if review:
            _review(path, as_json=options.as_json)
    if summary.stop_reason is not StopReason.COMPLETED:
        raise typer.Exit(summary.exit_code or ExitCode.SOME_FAILED)


def _placed(job: Job, on: str | None) -> Job:
    """The job with ``--on``: two workers, to which all images are sent."""
    job = placed(job, on)
    return job if job.cluster is None else replace(job, cluster=replace(job.cluster, least=2, most=2, sends_all=True))


def _show_training(*, pictures: int, is_open: bool, as_json: bool) -> None:
    """The other demo.

    Raises:
        UsageError: An option is not for it.
    """
    if is_open or pictures != _PICTURES:
        raise UsageError("--train takes neither --pictures, --serve nor --review", hint="Leave them out.")
    from asyncfilter.cli.demo_train import demo_train  # noqa: PLC0415  what the usual demo does not need

    result = demo_train()
    if as_json:
        write_json(result)


def _prepare_folder() -> Path:
    """An empty folder with the job file in it.

    Raises:
        UsageError: The folder was not made by the demo, or cannot be written.
    """
    prepare_folder(FOLDER, "demo")
    path = FOLDER / "job.yaml"
    try:
        path.write_text(JOB)
    except OSError as error:
        raise unwritable(FOLDER, error) from error
    return path


def _sandbox_options(pictures: int) -> SandboxOptions:
    return SandboxOptions(
        samples=(SamplesSpec("demo-raw", pictures),),
        buckets=(BucketSpec("demo-clean"), BucketSpec("demo-review")),
        tps=_QUOTA_TPS,
        latency=syntax.parse_latency("p50=150ms,p99=900ms"),
        s3_latency=syntax.parse_latency("5ms"),
        faults=(syntax.parse_fault("throttle=1%"), syntax.parse_fault("internal=0.5%")),
    )


def _run(job: Job, *, as_json: bool) -> Summary:
    """The run, and after a complete run the repetitions, the manifest and the next steps."""
    print_lines(f"Running {job.path}: {program()} run {job.path} --events {FOLDER / 'events.jsonl'}\n")
    output = OutputOptions(events=str(FOLDER / "events.jsonl"))
    summary = deferred.run_with_console(job, functools.partial(deferred.run, job, counts_ahead=True), PROCESS, output)
    # Its next steps need a service, and the sandbox is gone then; those of the demo work without one.
    print_summary(summary, job, as_json=as_json, log_format=LogFormat.TEXT, dry_run=False, with_steps=False)
    if summary.stop_reason is not StopReason.COMPLETED:
        return summary
    deferred.run_async(_show_repetitions, job)
    _show_dataset(job)
    print_lines(f"""
Next steps
  {program()} demo --review
      runs the demo again and opens the page on which people decide the uncertain pictures
  {MANIFEST}
      the dataset for Custom Labels; docs/datasets.md has other formats
  {FOLDER / "job.yaml"}
      the job file; README.md and docs/job-file.md explain every key
  {program()} status {job.path}
      shows what the checkpoint holds
  {program()} export {job.path} --failed | head
      shows why images failed (some were made broken on purpose)
  {program()} demo --serve
      runs the demo again and keeps the sandbox open
  {program()} init s3://YOUR-BUCKET/PREFIX/
      looks at your own images, or at a folder, and writes a job for them; free""")
    return summary


async def _show_repetitions(job: Job) -> None:
    """Repeat the run, and apply other rules."""
    began_s = time.monotonic()
    again = await deferred.run(replace(job, cluster=None))  # nothing is examined: no workers are needed
    took_s = time.monotonic() - began_s
    print_lines(f"\nThe same command again: {again.this_run.calls} calls, {took_s:.1f} s. All paid labels are kept.")
    lower = deferred.load_job(job.path or "", overrides=[f"rules[1].keep.confidence={_OTHER_CONFIDENCE}"])
    other = await deferred.refilter(lower, dry_run=True)
    print_err(
        f"Other rules (keep from {_OTHER_CONFIDENCE} % on): {other.counts.keep} kept instead of {again.counts.keep}, "
        f"{other.this_run.calls} calls: asyncfilter refilter."
    )


def _show_dataset(job: Job) -> None:
    """Write a manifest from the run and check it, by the commands that a user would give."""
    chosen = ["--refs", "source", "--reject-label", "no robin", "-o", str(MANIFEST)]
    print_lines("\nThe same labels as a dataset to train from:")
    show_command(["manifest", "from-run", str(job.path), *chosen])
    show_command(["dataset", "check", str(MANIFEST)])


# -- Afterwards --------------------------------------------------------------------------------------------------------


def _serve(sandbox: SandboxProcess) -> None:
    print_lines("\nThe sandbox stays open until Ctrl-C. In another terminal, in this folder:\n")
    for name, value in sandbox.environment().items():
        print_err(f"  export {name}={value}")
    print_lines(f"\n  {program()} run {FOLDER / 'job.yaml'} --set name=again --set limits.tps=10")
    deferred.run_until_signal(anyio.sleep_forever)
    print_err("the sandbox is closed")


def _review(path: Path, *, as_json: bool) -> None:
    from asyncfilter.cli.review import serve_review  # noqa: PLC0415  what the usual demo does not need

    print_lines("\nThe page on which people decide the uncertain pictures, until Ctrl-C:\n")
    serve_review(path, as_json=as_json)
