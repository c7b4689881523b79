"""``asyncfilter dataset check``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from asyncfilter.cli.manifest_images import checked_images
from asyncfilter.cli.manifest_input import Region, open_manifest
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.datasets.check import DatasetContents, check_dataset, check_mapping, is_usable
from asyncfilter.datasets.manifests.line_checks import read_manifest
from asyncfilter.errors import ExitCode
from asyncfilter.job.spec import Aws
from asyncfilter.report.terminal.manifest import limit_lines

app = command_group()


@app.command(
    "check",
    help=help_text(
        "Check a training manifest, and a test manifest beside it, against all limits of Custom Labels, and against "
        "what is advised: 100 images a label, 800 a class for a network of your own, a fifth of all images for the "
        "test. "
        "Exit code 1 when a limit is broken that the service enforces.",
        "asyncfilter dataset check train.manifest",
        "asyncfilter dataset check train.manifest test.manifest --images --region eu-west-2",
    ),
)
@takes_options
def check(
    train: Annotated[str, typer.Argument(metavar="TRAIN", help="The training manifest.", show_default=False)],
    test: Annotated[str | None, typer.Argument(metavar="[TEST]", help="The test manifest.", show_default=False)] = None,
    *,
    region: Region = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images", help="Look at every image in S3, too: format, bytes, pixels (as --check-images does)."
        ),
    ] = False,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Check a dataset against the limits."""
    aws = Aws(profile=profile, region=region)
    trained = _contents(train, images=images, aws=aws)
    tested = None if test is None else _contents(test, images=images, aws=aws)
    results = check_dataset(trained, tested, region=region)
    if options.as_json:
        write_json(check_mapping(results))
    else:
        write_lines(limit_lines(results, [contents.tally for contents in (trained, tested) if contents is not None]))
    if not is_usable(results):
        raise typer.Exit(ExitCode.SOME_FAILED)


def _contents(name: str, *, images: bool, aws: Aws) -> DatasetContents:
    """What a manifest holds, from one pass over its lines."""
    with ExitStack() as stack:
        manifest = stack.enter_context(open_manifest(name, aws=aws))
        known = stack.enter_context(checked_images(manifest, aws=aws)) if images else None
        contents = DatasetContents(manifest.size_bytes, known)
        for checked in read_manifest(manifest.stream):
            contents.add(checked)
        return contents
