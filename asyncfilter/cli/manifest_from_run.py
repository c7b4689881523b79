"""``asyncfilter manifest from-run``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_output import ManifestOptions
from asyncfilter.cli.manifest_writers import Beside, S3Path, checked_s3_path, write_manifest
from asyncfilter.cli.options import JobPath, Settings, command_group, help_text, takes_options
from asyncfilter.cli.reading import load_for_reading
from asyncfilter.cli.run_lines import (
    RULE,
    RefsChoice,
    RejectLabel,
    check_reject_label,
    label_choice,
    label_names,
    write_run_lines,
)
from asyncfilter.cli.taken_over import told_answers
from asyncfilter.datasets.manifests.from_run import RunChoice, RunKind
from asyncfilter.datasets.manifests.run_answers import People
from asyncfilter.datasets.manifests.run_refs import Refs, RunRefs
from asyncfilter.datasets.manifests.writing import ManifestWriter
from asyncfilter.job.spec import Job
from asyncfilter.model import Verdict

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """The options of which images have a line, and what is in it."""

    kind: Annotated[
        RunKind,
        typer.Option("--kind", metavar="KIND", help="image (labels of whole images), boxes, or both in one line."),
    ] = RunKind.IMAGE
    verdict: Annotated[
        list[Verdict] | None,
        typer.Option(
            "--verdict",
            metavar="VERDICT",
            help="keep, review or reject; may be repeated. Default: keep.",
            show_default=False,
        ),
    ] = None
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="WHICH",
            help="rule: the name that made the rule match; rules: all names of the keep rules that were found; or "
            "names, with commas between them.",
        ),
    ] = RULE
    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", metavar="PCT", min=0, max=100, help="Least confidence of --labels NAME,NAME."),
    ] = 55
    reject_label: RejectLabel = None
    refs: RefsChoice = Refs.TARGET
    s3_path: S3Path = None
    reviewed: Annotated[
        bool,
        typer.Option(
            "--reviewed", help="Only images that people answered, with their labels and boxes (human-annotated: yes)."
        ),
    ] = False

    def choice(self, job: Job, addresses: RunRefs) -> RunChoice:
        """What they say of the run of ``job``, whose lines have ``addresses``.

        Raises:
            UsageError: One cannot be used.
        """
        return RunChoice(
            kind=self.kind,
            verdicts=self.verdict or (Verdict.KEEP,),
            choice=label_choice(self.labels, self.min_confidence, job),
            people=People(names=label_names(self.labels), confirms=self.labels == RULE, only_people=self.reviewed),
            only_reviewed=self.reviewed,
            reject_label=self.reject_label,
            refs=addresses,
            skips_duplicates=job.source.skip_duplicates,
        )


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
    lines: LineOptions,
    options: ManifestOptions,
) -> None:
    """Write a line for each image of a run that is chosen."""
    check_reject_label(lines.reject_label, lines.kind)
    prefix = checked_s3_path(lines.s3_path)
    loaded = deferred.with_known_bucket(load_for_reading(job, settings or ()))
    told_answers(loaded)
    choice = lines.choice(loaded, RunRefs(loaded, lines.refs, prefix))

    def write(writer: ManifestWriter, beside: Beside) -> None:
        write_run_lines(loaded, choice, writer, classes=options.labels(), rejected=beside.rejected)

    write_manifest(options, write, of=f"{loaded.name}.manifest", human_annotated=False)
