"""Lines of a manifest from the images of a run, for every command that writes some: options, choices and sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.signals import PROCESS, show_cursor
from asyncfilter.cli.terminal import is_live, stderr_console
from asyncfilter.datasets.manifests.from_run import RunChoice, RunKind, RunLines
from asyncfilter.datasets.manifests.image_facts import ImageFacts
from asyncfilter.datasets.manifests.model import MAX_LABEL_CHARS
from asyncfilter.datasets.manifests.row_rules import RowSink
from asyncfilter.datasets.manifests.run_labels import Choice, of_names, of_rule, of_rules
from asyncfilter.datasets.manifests.run_refs import Refs
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import uri_of
from asyncfilter.policy.assumed import uses_assumed, with_stored_thresholds
from asyncfilter.policy.reference_labels import references_of, resolved
from asyncfilter.records.images import StoredImage
from asyncfilter.report.formatting import count

if TYPE_CHECKING:
    from asyncfilter.datasets.manifests.image_journal import ImageJournal
    from asyncfilter.wiring.image_readers import WantedImage

RULE, RULES = "rule", "rules"
"""Values of ``--labels`` that are no names."""

RejectLabel = Annotated[
    str | None,
    typer.Option("--reject-label", metavar="NAME", help="Add rejected images with this label.", show_default=False),
]
RefsChoice = Annotated[
    Refs,
    typer.Option(
        "--refs", metavar="WHICH", help="target: where an image was copied or moved to, else its source; or source."
    ),
]


def write_run_lines(
    job: Job, choice: RunChoice, writer: ManifestWriter, *, classes: Classes, rejected: RowSink
) -> None:
    """Write a line for each image of a run that is chosen; for boxes the headers of images are read first.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        UsageError: The file of the sizes cannot be used.
        AccessError: No image can be read.
        DataError: The images are in several buckets.
    """
    with _facts(job, choice) as facts:
        lines = RunLines(writer, classes=classes, choice=choice, facts=facts, rejected=rejected)
        lines.write(deferred.read_images(job.checkpoint))


def check_reject_label(label: str | None, kind: RunKind) -> None:
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


def label_choice(given: str, least_pct: float, job: Job) -> Choice:
    """What ``--labels`` chooses.

    Raises:
        UsageError: It names nothing.
        CheckpointError: The checkpoint, which holds the labels of references, cannot be read.
    """
    if given == RULE:
        return of_rule
    names = label_names(given)
    if names is None:
        return of_rules(_with_names(job))
    if not names:
        raise UsageError("--labels names no label", hint="Give rule, rules, or names with commas between them.")
    return of_names(names, least_pct)


def label_names(given: str) -> list[str] | None:
    """The names of ``--labels``; None where it chooses by rules."""
    if given in {RULE, RULES}:
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
