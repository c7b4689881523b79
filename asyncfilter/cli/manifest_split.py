"""``asyncfilter manifest split``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_input import ManifestPath, open_manifest
from asyncfilter.cli.manifest_output import data_errors_told
from asyncfilter.cli.options import STDOUT, Profile, ResultOptions, command_group, help_text, takes_options
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.result_file import open_result
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.datasets.exchange.label_files import opened
from asyncfilter.datasets.manifests.equal_files import file_contents
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.splitting import SplitCounts, Splitter
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3
from asyncfilter.mounts import is_folder
from asyncfilter.report.formatting import count
from asyncfilter.report.terminal.manifest import split_lines

app = command_group()


@app.command(
    "split",
    help=help_text(
        "Split a manifest into one for training and one for the test, so that each label is in both in the same "
        "proportion. Lines stay as they are, in their order.",
        "asyncfilter manifest split all.manifest --train train.manifest --test test.manifest",
        "asyncfilter manifest split all.manifest --train a --test b --groups scenes.csv --images s3://my-bucket/birds/",
    ),
)
@takes_options
def split(
    file: ManifestPath,
    *,
    train: Annotated[
        Path, typer.Option("--train", metavar="FILE", help="The manifest for training to write.", show_default=False)
    ],
    test: Annotated[
        Path, typer.Option("--test", metavar="FILE", help="The manifest for the test to write.", show_default=False)
    ],
    test_share: Annotated[
        float, typer.Option("--test-share", metavar="SHARE", help="Share of the test, above 0 and below 1.")
    ] = 0.2,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Equal seeds give equal splits.")] = 0,
    groups: Annotated[
        Path | None,
        typer.Option(
            "--groups",
            metavar="FILE",
            help="Images that must not part: CSV with source-ref and group.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="SOURCE",
            help="Where the images are, a folder or s3://BUCKET/PREFIX: those of equal content do not part.",
            show_default=False,
        ),
    ] = None,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out lines that cannot be used, instead of writing nothing.")
    ] = False,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Split a manifest."""
    _check(train, test, test_share)
    check_replaced([train, test], yes=options.yes)
    aws = Aws(profile=profile)
    bare = {**SplitCounts().as_mapping(), "train_file": None, "test_file": None}
    with open_manifest(file, aws=aws) as manifest, data_errors_told(bare, as_json=options.as_json):
        splitter = Splitter(manifest.stream, seed=seed, skips_invalid=skip_invalid)
        if groups is not None:
            _read_groups(splitter, groups)
        if images is not None:
            _group_equal(splitter, images, aws)
        splitter.divide(share=test_share)
        with ExitStack() as stack:
            splitter.write(
                stack.enter_context(open_result("--train", train)), stack.enter_context(open_result("--test", test))
            )
    if options.as_json:
        write_json({**splitter.counts.as_mapping(), "train_file": str(train), "test_file": str(test)})
    else:
        write_lines(split_lines(splitter.counts))
    _tell_one_sided(splitter)


def _check(train: Path, test: Path, share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"--test-share {share:g} is not above 0 and below 1", hint="Use a share such as 0.2.")
    if STDOUT in {str(train), str(test)}:
        raise UsageError("--train and --test are files, not stdout", hint="Name two files.")
    if train.resolve() == test.resolve():
        raise UsageError(f"--train and --test are both {train}", hint="Name two files.")


def _read_groups(splitter: Splitter, path: Path) -> None:
    try:
        # Not one that may have no end: its rows are held.
        with opened(path) as file, TextIOWrapper(file, encoding="utf-8-sig", newline="") as rows:
            unknown = splitter.read_groups(rows, file=str(path))
    except OSError as error:
        raise UsageError(f"--groups {path}: {error.strerror or error}", hint="Name a file that can be read.") from error
    if unknown:
        print_err(f"--groups {path}: rows that name no image of the manifest: {count(unknown)}")


def _group_equal(splitter: Splitter, source: str, aws: Aws) -> None:
    """Keep images of equal content together."""
    seen, found = RefIndex(), 0

    def add(ref: str, content: str) -> None:
        nonlocal found
        found += splitter.group(ref, content, seen, even_alone=False)

    if source.startswith(S3):
        try:
            place = parse_s3_uri(source)
        except ValueError as error:
            raise UsageError(f"--images: {error}", hint="Name a folder, or s3://BUCKET/PREFIX.") from error
        deferred.run_async(partial(deferred.list_contents, place, add, aws=aws))
    else:
        _hash_files(splitter, Path(source), add)
    missing = splitter.used - found
    if missing:
        print_err(f"--images {source}: {count(missing)} of {count(splitter.used)} images are not there")


def _hash_files(splitter: Splitter, folder: Path, add: Callable[[str, str], None]) -> None:
    if not is_folder(folder):
        raise UsageError(f"--images {folder}: there is no such folder", hint="Name a folder, or s3://BUCKET/PREFIX.")
    try:
        for content in file_contents(splitter.refs(), folder):
            if content.digest is not None:
                add(content.source_ref, content.digest)
    except OSError as error:
        raise UsageError(
            f"--images {folder}: {error.filename}: {error.strerror or error}", hint="Make the images readable."
        ) from error


def _tell_one_sided(splitter: Splitter) -> None:
    for name in splitter.counts.undivided:
        print_err(f"all images of {name!r} are in one group, and so on one side")
    for name in splitter.counts.one_sided:
        print_err(f"the images of {name!r} could not be divided without worse for others; they are on one side")
