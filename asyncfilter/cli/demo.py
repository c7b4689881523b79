"""``asyncfilter demo``: the sandbox, drawn pictures and a whole run, nothing else needed."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfilter.cli.options import Json, LogFormat, Yes, described
from asyncfilter.cli.signals import Signals
from asyncfilter.cli.terminal import say
from asyncfilter.errors import UsageError
from asyncfilter.model import StopReason
from asyncfilter.report.program import program

if TYPE_CHECKING:
    from asyncfilter.job.spec import Job
    from asyncfilter.model import Summary
    from asyncfilter.ports import StoredImage
    from asyncfilter.report.gallery import Picture
    from asyncfilter.sandbox import SandboxOptions, SandboxProcess

FOLDER = Path(".asyncfilter-demo")
MARK = "This folder belongs to `asyncfilter demo`, which empties it each time.\n"

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


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "demo",
        help=described(
            "See it work: a sandbox with 300 drawn pictures, a whole run with live progress, a second run that costs "
            "nothing, other rules at no cost, and a page of what was kept. Takes half a minute; needs no account and "
            f"writes only to {FOLDER}/.",
            "asyncfilter demo",
            "asyncfilter demo --serve      keep the sandbox open afterwards, to try more",
        ),
    )(demo)


def demo(
    *,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="How many are drawn.")] = 300,
    serve: Annotated[bool, typer.Option("--serve", help="Keep the sandbox open afterwards, until Ctrl-C.")] = False,
    json_: Json = False,
    yes: Yes = False,
) -> None:
    """Show a whole run."""
    del yes  # nothing is asked
    from asyncfilter.job.load import load_job  # noqa: PLC0415
    from asyncfilter.sandbox import SandboxProcess  # noqa: PLC0415

    path = _prepare()
    say(f"Drawing {pictures} pictures and starting a sandbox: S3, Rekognition and Service Quotas on a local port.")
    with SandboxProcess(_options(pictures)) as sandbox:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        os.environ.update(sandbox.environment())
        summary = _show(load_job(path), as_json=json_)
        if summary.stop_reason is StopReason.INTERRUPTED:
            raise typer.Exit(summary.exit_code)
        if serve:
            _serve(sandbox)
    if summary.stop_reason is not StopReason.COMPLETED:
        raise typer.Exit(summary.exit_code or 1)


def _prepare() -> Path:
    """An empty folder of our own with the job file in it; a folder that is not ours is left alone."""
    mark = FOLDER / "README"
    if FOLDER.exists() and not mark.exists() and any(FOLDER.iterdir()):
        raise UsageError(f"{FOLDER} exists and is not the demo's", hint="Move it, or run the demo in another folder.")
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        FOLDER.mkdir()
        mark.write_text(MARK)
        path = FOLDER / "job.yaml"
        path.write_text(JOB)
    except OSError as error:
        raise UsageError(f"{FOLDER}: {error.strerror}", hint="Run the demo in a folder that can be written.") from error
    return path


def _options(pictures: int) -> SandboxOptions:
    from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, syntax  # noqa: PLC0415

    return SandboxOptions(
        samples=(SamplesSpec("demo-raw", pictures),),
        buckets=(BucketSpec("demo-clean"), BucketSpec("demo-review")),
        tps=_QUOTA_TPS,
        latency=syntax.parse_latency("p50=150ms,p99=900ms"),
        s3_latency=syntax.parse_latency("5ms"),
        faults=(syntax.parse_fault("throttle=1%"), syntax.parse_fault("internal=0.5%")),
    )


def _show(job: Job, *, as_json: bool) -> Summary:
    """The run, and what can be done once it is over; a run that was interrupted is not followed by anything."""
    import anyio  # noqa: PLC0415

    from asyncfilter import wiring  # noqa: PLC0415
    from asyncfilter.cli.conduct import Voice, conduct  # noqa: PLC0415
    from asyncfilter.cli.run import tell  # noqa: PLC0415

    say(f"Running {job.path}: {program()} run {job.path} --events {FOLDER / 'events.jsonl'}\n")
    with Signals() as signals:
        voice = Voice(events=str(FOLDER / "events.jsonl"))
        summary = conduct(job, functools.partial(wiring.run, job, counts_ahead=True), signals, voice)
    tell(summary, job, as_json=as_json, log_format=LogFormat.TEXT, dry_run=False)
    if summary.stop_reason is not StopReason.COMPLETED:
        return summary
    anyio.run(_afterwards, job)
    say(f"""
Where to look next
  {FOLDER / "kept.html"}    what was kept, to review and rejected, as pictures
  {FOLDER / "job.yaml"}     the job file; README.md and docs/job-file.md explain every key
  {program()} status {job.path}
      what the checkpoint holds
  {program()} export {job.path} --failed | head
      why images failed (dirt was drawn on purpose)
  {program()} demo --serve
      the same, and the sandbox stays open for more""")
    return summary


async def _afterwards(job: Job) -> None:
    from asyncfilter import wiring  # noqa: PLC0415
    from asyncfilter.job.load import load_job  # noqa: PLC0415

    began_s = time.monotonic()
    again = await wiring.run(job)
    took_s = time.monotonic() - began_s
    say(f"\nThe same command again: {again.this_run.calls} calls, {took_s:.1f} s. Everything paid for is kept.")
    lower = load_job(job.path or "", overrides=[f"rules[1].keep.confidence={_OTHER_CONFIDENCE}"])
    other = await wiring.refilter(lower, dry_run=True)
    say(
        f"Other rules (keep from {_OTHER_CONFIDENCE} % on): {other.counts.keep} kept instead of {again.counts.keep}, "
        f"{other.this_run.calls} calls: asyncfilter refilter."
    )
    await _draw_page(job)


# -- The page ----------------------------------------------------------------------------------------------------------


async def _draw_page(job: Job) -> None:
    from asyncfilter.checkpoint import read_images  # noqa: PLC0415
    from asyncfilter.report.gallery import Section, page  # noqa: PLC0415

    groups: dict[str, list[StoredImage]] = {"keep": [], "review": [], "reject": [], "failed": []}
    for image in read_images(job.checkpoint):
        verdict = image.decision.verdict.value if image.decision is not None else "failed"
        groups["failed" if image.failure is not None else verdict].append(image)
    shown = {name: images[:_REJECTS_SHOWN] if name == "reject" else images for name, images in groups.items()}
    bodies = await _fetch(job, [image for name in ("keep", "review", "reject") for image in shown[name]])
    remarks = {
        "keep": "Copied to s3://demo-clean/.",
        "review": "Copied to s3://demo-review/, for people to look at.",
        "reject": f"Not copied; the first {len(shown['reject'])} of {len(groups['reject'])}.",
        "failed": "Not examined, with the cause; the run went on.",
    }
    sections = [
        Section(f"{name}: {len(groups[name])}", remarks[name], [_picture(image, bodies) for image in images])
        for name, images in shown.items()
    ]
    (FOLDER / "kept.html").write_text(page("asyncfilter demo: the robins", sections), encoding="utf-8")


def _picture(image: StoredImage, bodies: Mapping[int, bytes]) -> Picture:
    from asyncfilter.report.gallery import Picture  # noqa: PLC0415

    if image.failure is not None:
        return Picture(f"{image.key}: {image.failure.code}", None)
    labels = image.detection.labels if image.detection is not None else ()
    seen = ", ".join(f"{label.name} {label.confidence_pct:.0f}" for label in labels[:2])
    return Picture(f"{image.key}: {seen}", bodies.get(image.id))


async def _fetch(job: Job, images: Sequence[StoredImage]) -> dict[int, bytes]:
    """The objects themselves: copies where there are any, else the source."""
    import anyio  # noqa: PLC0415

    from asyncfilter.aws import open_aws  # noqa: PLC0415

    bodies: dict[int, bytes] = {}
    waiting: Iterator[StoredImage] = iter(images)
    async with open_aws(job.aws, timeout_s=_TIMEOUT_S, connections=_FETCHES_AT_ONCE) as session:

        async def fetch() -> None:
            for image in waiting:
                bucket, key = _place(job, image)
                client = await session.s3(bucket)
                answer = await client.get_object(Bucket=bucket, Key=key)
                bodies[image.id] = await answer["Body"].read()

        async with anyio.create_task_group() as tasks:
            for _ in range(_FETCHES_AT_ONCE):
                tasks.start_soon(fetch)
    return bodies


def _place(job: Job, image: StoredImage) -> tuple[str, str]:
    if not image.effects:
        return job.source.bucket, image.key
    bucket, _, key = image.effects[-1].target.removeprefix("s3://").partition("/")
    return bucket, key


# -- Afterwards --------------------------------------------------------------------------------------------------------


def _serve(sandbox: SandboxProcess) -> None:
    say("\nThe sandbox stays open until Ctrl-C. In another terminal, in this folder:\n")
    for name, value in sandbox.environment().items():
        say(f"  export {name}={value}")
    say(f"\n  {program()} run {FOLDER / 'job.yaml'} --set name=again --set limits.tps=10")
    try:
        signal.pause()
    except KeyboardInterrupt:
        say("the sandbox is closed")
