"""``asyncfilter manifest stats``."""

from __future__ import annotations

from asyncfilter.cli.manifest_input import ManifestPath, open_manifest
from asyncfilter.cli.options import Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.datasets.manifests.statistics import statistics_of
from asyncfilter.job.spec import Aws
from asyncfilter.report.terminal.manifest import statistics_lines

app = command_group()


@app.command(
    "stats",
    help=help_text(
        "Show what a manifest holds: images, labels with their shares, boxes, image sizes, dates. Lines that the "
        "service does not use are counted apart; manifest validate says what is wrong with them.",
        "asyncfilter manifest stats train.manifest",
        "asyncfilter manifest stats s3://my-bucket/train.manifest --json",
    ),
)
@takes_options
def stats(file: ManifestPath, *, profile: Profile = None, options: ResultOptions) -> None:
    """Show the figures of a manifest."""
    with open_manifest(file, aws=Aws(profile=profile)) as manifest:
        found = statistics_of(manifest.stream)
    if options.as_json:
        write_json(found.as_mapping())
    else:
        write_lines(statistics_lines(manifest.name, found))
