"""``asyncfilter manifest from-run``."""

from __future__ import annotations

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
from asyncfilter.model import Verdict

app = command_group()


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
    ] = RULE,
    min_confidence: Annotated[
        float,
        typer.Option("--min-confidence", metavar="PCT", min=0, max=100, help="Least confidence of --labels NAME,NAME."),
    ] = 55,
    reject_label: RejectLabel = None,
    refs: RefsChoice = Refs.TARGET,
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
    check_reject_label(reject_label, kind)
    prefix = checked_s3_path(s3_path)
    loaded = deferred.with_known_bucket(load_for_reading(job, settings or ()))
    told_answers(loaded)
    addresses = RunRefs(loaded, refs, prefix)
    choice = RunChoice(
        kind=kind,
        verdicts=verdict or (Verdict.KEEP,),
        choice=label_choice(labels, min_confidence, loaded),
        people=People(names=label_names(labels), confirms=labels == RULE, only_people=reviewed),
        only_reviewed=reviewed,
        reject_label=reject_label,
        refs=addresses,
        skips_duplicates=loaded.source.skip_duplicates,
    )

    def write(writer: ManifestWriter, beside: Beside) -> None:
        write_run_lines(loaded, choice, writer, classes=options.labels(), rejected=beside.rejected)

    write_manifest(options, write, of=f"{loaded.name}.manifest", human_annotated=False)
