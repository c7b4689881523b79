"""``asyncfilter manifest from-run``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_output import ManifestOptions
from asyncfilter.cli.manifest_writers import Beside, S3Path, checked_s3_path, write_manifest
from asyncfilter.cli.options import JobPath, Settings, command_group, help_text, takes_options
from asyncfilter.cli.signals import PROCESS, show_cursor
from asyncfilter.cli.terminal import is_live, stderr_console
from asyncfilter.datasets.manifests.from_run import RunChoice, RunKind, RunLines
from asyncfilter.datasets.manifests.image_facts import ImageFacts
from asyncfilter.datasets.manifests.model import MAX_LABEL_CHARS
from asyncfilter.datasets.manifests.run_answers import People
from asyncfilter.datasets.manifests.run_labels import Choice, of_names, of_rule, of_rules
from asyncfilter.datasets.manifests.run_refs import Refs, RunRefs
from asyncfilter.datasets.manifests.writing import ManifestWriter
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import Verdict, uri_of
from asyncfilter.policy.assumed import uses_assumed, with_stored_thresholds
from asyncfilter.policy.reference_labels import references_of, resolved
from asyncfilter.records.images import StoredImage
from asyncfilter.report.formatting import count

if TYPE_CHECKING:
    from asyncfilter.datasets.manifests.image_journal import ImageJournal
    from asyncfilter.wiring.image_readers import WantedImage

app = command_group()

_RULE, _RULES = "rule", "rules"


@app.command(
    "from-run",
    help=help_text(
        "Write a manifest from the images that a run has examined: the labels that decided, or boxes. The detector is "
        "not called. What people say comes before what the rules say. For boxes the sizes of the images are read from "
        "their first bytes, once, and kept in CHECKPOINT.sizes.",
        "asyncfilter manifest from-run job.yaml -o train.manifest",
        "asyncfilter manifest from-run job.yaml --reject-label other -o train.manifest    two labels",
        "asyncfilter manifest from-run job.yaml --reviewed -o corrections.manifest        what people decided",
        "asyncfilter manifest from-run job.yaml --kind boxes --labels Dog,Cat --min-confidence 80 -o boxes.manifest",
    ),
)
@takes_options
def from_run(
    job: JobPath,
    *,
    settings: Settings = None,
    kind: Annotated[
        RunKind,
        typer.Option("--kind", metavar="KIND", help="image (labels of whole images), boxes, or both in one line."),
    ] = RunKind.IMAGE,
    verdict: Annotated[
        list[Verdict] | None,
        typer.Option(
            "--verdict",
            metavar="VERDICT",
            help="keep, review or reject; may be repeated. Default: keep.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="WHICH",
            help="rule: the name that made the rule match; rules: all names of the keep rules that were found; or "
            "names, with commas between them.",
        ),
    ] = _RULE,
    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", metavar="PCT", min=0, max=100, help="Least confidence of --labels NAME,NAME."),
    ] = 55,
    reject_label: Annotated[
        str | None,
        typer.Option("--reject-label", metavar="NAME", help="Add rejected images with this label.", show_default=False),
    ] = None,
    refs: Annotated[
        Refs,
        typer.Option(
            "--refs", metavar="WHICH", help="target: where an image was copied or moved to, else its source; or source."
        ),
    ] = Refs.TARGET,
    s3_path: S3Path = None,
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed", help="Only images that people answered, with their labels and boxes (human-annotated: yes)."
        ),
    ] = False,
    options: ManifestOptions,
) -> None:
    """Write a line for each image of a run that is chosen."""
    _check_reject_label(reject_label, kind)
    prefix = checked_s3_path(s3_path)
    loaded = deferred.with_known_bucket(deferred.load_job(job, overrides=settings or ()))
    addresses = RunRefs(loaded, refs, prefix)
    choice = RunChoice(
        kind=kind,
        verdicts=verdict or (Verdict.KEEP,),
        choice=_choice(labels, min_confidence, loaded),
        people=People(names=_names(labels), confirms=labels == _RULE, only_people=reviewed),
        only_reviewed=reviewed,
        reject_label=reject_label,
        refs=addresses,
        skips_duplicates=loaded.source.skip_duplicates,
    )

    def write(writer: ManifestWriter, beside: Beside) -> None:
        with _facts(loaded, choice) as facts:
            lines = RunLines(writer, classes=options.labels(), choice=choice, facts=facts, rejected=beside.rejected)
            lines.write(deferred.read_images(loaded.checkpoint))

    write_manifest(options, write, of=f"{loaded.name}.manifest", human_annotated=False)


def _check_reject_label(label: str | None, kind: RunKind) -> None:
    """Check ``--reject-label``.

    Raises:
        UsageError: It cannot be a label, or boxes are asked for, which rejected images do not have.
    """
    if label is None:
        return
    if not label.strip() or len(label) > MAX_LABEL_CHARS:
        raise UsageError(
            f"--reject-label {label[:20]!r} cannot be a label", hint=f"Give 1 to {MAX_LABEL_CHARS} characters."
        )
    if kind is not RunKind.IMAGE:
        raise UsageError(
            f"--reject-label and --kind {kind}: rejected images have no boxes", hint="Leave out --reject-label."
        )


def _choice(given: str, least_pct: float, job: Job) -> Choice:
    """What ``--labels`` chooses.

    Raises:
        UsageError: It names nothing.
        CheckpointError: The checkpoint, which holds the labels of references, cannot be read.
    """
    if given == _RULE:
        return of_rule
    names = _names(given)
    if names is None:
        return of_rules(_with_names(job))
    if not names:
        raise UsageError("--labels names no label", hint="Give rule, rules, or names with commas between them.")
    return of_names(names, least_pct)


def _names(given: str) -> list[str] | None:
    """The names of ``--labels``; None where it chooses by rules."""
    if given in {_RULE, _RULES}:
        return None
    return [name for part in given.split(",") if (name := part.strip())]


def _with_names(job: Job) -> Job:
    """The job with the thresholds of its model, and with names in place of its references."""
    if uses_assumed(job):
        job = with_stored_thresholds(job, deferred.read_status(job.checkpoint).model)
    if not references_of(job):
        return job
    stored = deferred.read_stored_references(job.checkpoint)
    return resolved(job, {one.uri: one.detection for one in stored})


Facts = Callable[[StoredImage], ImageFacts | None]


@contextmanager
def _facts(job: Job, choice: RunChoice) -> Iterator[Facts]:
    """What is known of each image itself; for boxes their headers are read first.

    Raises:
        UsageError: The file of the sizes cannot be used.
        AccessError: No image can be read.
    """
    if not choice.has_boxes:
        yield lambda _: None
        return
    from asyncfilter.datasets.manifests.image_journal import ImageJournal  # noqa: PLC0415  only for boxes

    next(deferred.read_images(job.checkpoint), None)  # an error before the file of the sizes is made
    with ImageJournal(sizes_path(job.checkpoint)) as journal:
        read_sizes(_requests(job, choice), journal, job)
        bucket = job.source.bucket
        yield lambda image: journal.facts_at(uri_of(bucket, image.key), image.etag)


def sizes_path(checkpoint: Path) -> Path:
    """``<CHECKPOINT>.sizes``, which keeps the sizes of images; it may be deleted at any time."""
    return checkpoint.with_name(f"{checkpoint.name}.sizes")


def _requests(job: Job, choice: RunChoice) -> Iterator[WantedImage]:
    from asyncfilter.wiring.image_readers import wanted  # noqa: PLC0415  it imports the client

    for found in choice.boxed(deferred.read_images(job.checkpoint)):
        yield wanted(found.image, job.source.bucket)


def read_sizes(requests: Iterator[WantedImage], journal: ImageJournal, job: Job) -> None:
    """Read the sizes that the journal does not have, and show how many on a terminal; raises as ``image_sizes``."""
    console = stderr_console()
    if not is_live(console):
        deferred.run_async(partial(deferred.read_sizes, requests, journal, job))
        return
    with PROCESS.at_end(show_cursor), console.status("reading sizes") as status:

        def on_read(number: int) -> None:
            status.update(f"reading sizes: {count(number)}")

        deferred.run_async(partial(deferred.read_sizes, requests, journal, job, on_read=on_read))
