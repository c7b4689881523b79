"""``asyncfilter labels``."""

from __future__ import annotations

import functools
from typing import Annotated

import typer

from asyncfilter.cli.options import Json, Yes, described
from asyncfilter.cli.run import INTERRUPTED
from asyncfilter.cli.signals import Signals

_CONFIDENCE_PCT = 85.0


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command(
        "labels",
        help=described(
            "Show which labels and boxes Rekognition gives a few good images, what they have in common, and the rule "
            "that keeps images like them. Labels too general to select by are marked. Each image is paid for once and "
            "kept in .asyncfilter/references.db; files are sent, up to 5 MB each.",
            "asyncfilter labels s3://raw/good1.jpg s3://raw/good2.jpg local.jpg",
            "asyncfilter labels s3://raw/good1.jpg --confidence 70 --ignore Wheel",
        ),
    )(labels)


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
        typer.Option("--ignore", metavar="NAME", help="A label not to select by; may be repeated.", show_default=False),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region", help="Where files are examined. Default: that of the AWS settings.", show_default=False
        ),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="Of the AWS config file.", show_default=False)
    ] = None,
    json_: Json = False,
    yes: Yes = False,
) -> None:
    """Show labels of reference images and the rule they suggest."""
    del yes  # nothing is asked: naming an image is asking for its labels
    with Signals():
        try:
            import anyio  # noqa: PLC0415

            from asyncfilter import wiring  # noqa: PLC0415  brings AWS's client with it
            from asyncfilter.cli.terminal import show, write_json  # noqa: PLC0415
            from asyncfilter.job.spec import Aws  # noqa: PLC0415
            from asyncfilter.policy.references import likeness  # noqa: PLC0415
            from asyncfilter.report.labels import draw_labels, labels_mapping  # noqa: PLC0415

            aws = Aws(profile=profile, region=region)
            found = anyio.run(functools.partial(wiring.label_references, images, aws=aws))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        shared = likeness(found.labels, confidence, ignore or ())
        if json_:
            write_json(labels_mapping(found, shared, confidence))
        else:
            show(draw_labels(found, shared, confidence))
