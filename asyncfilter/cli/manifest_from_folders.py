"""``asyncfilter manifest from-folders``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_output import ManifestOptions
from asyncfilter.cli.manifest_writers import Beside, S3Path, checked_s3_path, write_manifest
from asyncfilter.cli.options import Profile, command_group, help_text, takes_options
from asyncfilter.datasets.manifests.from_folders import IMAGE_GLOBS, FolderLines
from asyncfilter.datasets.manifests.row_rules import Unlabelled
from asyncfilter.datasets.manifests.source_ref import join_path
from asyncfilter.datasets.manifests.writing import ManifestWriter
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import Aws
from asyncfilter.model import FOLDER, S3, S3Location
from asyncfilter.mounts import is_folder

app = command_group()


@app.command(
    "from-folders",
    help=help_text(
        "Write a manifest from folders: the first folder below SOURCE is the label of all images in it, as the console "
        "of Custom Labels has it. Nothing is read but the listing.",
        "asyncfilter manifest from-folders s3://my-bucket/birds/ -o train.manifest",
        "asyncfilter manifest from-folders ./birds --s3-path s3://my-bucket/birds -o train.manifest",
    ),
)
@takes_options
def from_folders(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="s3://BUCKET/PREFIX or a local folder.", show_default=False)
    ],
    *,
    s3_path: S3Path = None,
    unlabelled: Annotated[
        Unlabelled,
        typer.Option(
            "--unlabelled",
            metavar="WHAT",
            help="What happens to images right at SOURCE: skip, keep (as lines without a label), or error.",
        ),
    ] = Unlabelled.SKIP,
    include: Annotated[
        list[str] | None,
        typer.Option(
            "--include",
            metavar="GLOB",
            help="Only paths that match; may be repeated. Default: *.jpg, *.jpeg and *.png in any case.",
            show_default=False,
        ),
    ] = None,
    profile: Profile = None,
    options: ManifestOptions,
) -> None:
    """Write a line for each image of a listing."""
    place, address = _opened_source(source, checked_s3_path(s3_path))

    def write(writer: ManifestWriter, beside: Beside) -> None:
        lines = FolderLines(
            writer,
            classes=options.labels(),
            address=address,
            include=tuple(include or IMAGE_GLOBS),
            unlabelled=unlabelled,
            rejected=beside.rejected,
        )
        deferred.run_async(partial(deferred.list_entries, place, lines.add, aws=Aws(profile=profile)))

    name = place.key.rstrip("/").rpartition("/")[2] or place.bucket.rpartition("/")[2] or "manifest"
    write_manifest(options, write, of=name, human_annotated=True)


def _opened_source(source: str, s3_path: str | None) -> tuple[S3Location, Callable[[str], str]]:
    """Where the images are, and what gives the address of a path below it.

    Raises:
        UsageError: The source is none, or ``--s3-path`` is missing or useless.
    """
    if not source.startswith(S3):
        folder = Path(source)
        if not is_folder(folder):
            raise UsageError(f"{source}: there is no such folder", hint="Name a folder, or s3://BUCKET/PREFIX.")
        if s3_path is None:
            raise UsageError(
                f"{source} is a local folder, and a manifest names images in S3",
                hint="Say where they will be: --s3-path s3://BUCKET/PREFIX.",
            )
        return S3Location(FOLDER + str(folder.absolute()).rstrip("/"), ""), partial(join_path, s3_path)
    if s3_path is not None:
        raise UsageError("--s3-path is for local folders alone", hint="Leave it out: the images are in S3 already.")
    try:
        bucket, prefix = parse_s3_uri(source)
    except ValueError as error:
        raise UsageError(str(error), hint="Name a folder, or s3://BUCKET/PREFIX.") from error
    below = prefix if not prefix or prefix.endswith("/") else f"{prefix}/"
    return S3Location(bucket, below), lambda path: f"{S3}{bucket}/{below}{path}"
