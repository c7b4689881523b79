"""``asyncfilter labels``."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.signals import interruptible
from asyncfilter.cli.stderr import ask
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.errors import ExitCode
from asyncfilter.job.spec import Aws
from asyncfilter.policy.reference_labels import common_labels
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.labels import draw_labels, labels_mapping

_CONFIDENCE_PCT = 85.0

_UNASKED = 20
"""Images up to which nobody is asked; more are rather a pattern of the shell that matched too much."""

app = command_group()


@app.command(
    "labels",
    help=help_text(
        "Show which labels and boxes Rekognition returns for a few good images, which labels they have in common, and "
        "the rule that keeps images like them. Labels that are too general for a rule are marked. Each image is paid "
        "for once; its labels are kept in .asyncfilter/references.db. Local files are sent, up to 5 MB each. More than "
        "20 images are examined only after a question.",
        "asyncfilter labels s3://raw/good1.jpg s3://raw/good2.jpg local.jpg",
        "asyncfilter labels s3://raw/good1.jpg --confidence 70 --ignore Wheel",
    ),
)
@takes_options
def labels(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="s3://bucket/key, or a file.", show_default=False)
    ],
    *,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0, max=100, help="Percent that a label must reach to count.")
    ] = _CONFIDENCE_PCT,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore", metavar="NAME", help="A label to leave out of the rule; may be repeated.", show_default=False
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region", help="Where files are examined. Default: that of the AWS settings.", show_default=False
        ),
    ] = None,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Show labels of reference images and the rule they suggest. Labels of a few are paid for without a question."""
    with interruptible():
        number = len(set(images))
        question = f"{count(number)} images are more than a few references, and each is paid for. Examine them all?"
        if number > _UNASKED and not ask(question, yes=options.yes):
            raise typer.Exit(ExitCode.ABORTED)
        aws = Aws(profile=profile, region=region)
        found = deferred.run_draining(functools.partial(deferred.label_references, images, aws=aws))
        shared = common_labels(found.labels, confidence, ignore or ())
        if options.as_json:
            write_json(labels_mapping(found, shared, confidence))
        else:
            print_out(draw_labels(found, shared, confidence))
