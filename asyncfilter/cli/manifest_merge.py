"""``asyncfilter manifest merge``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from asyncfilter.cli.manifest_input import open_manifest
from asyncfilter.cli.manifest_output import Output, data_errors_told, open_output
from asyncfilter.cli.options import (
    STDOUT,
    Profile,
    ResultOptions,
    command_group,
    help_text,
    refuse_two_for_stdout,
    takes_options,
)
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json
from asyncfilter.datasets.manifests.merging import MergeCounts, Merger, OnConflict
from asyncfilter.errors import ExitCode
from asyncfilter.job.spec import Aws
from asyncfilter.report.formatting import count

app = command_group()


@app.command(
    "merge",
    help=help_text(
        "Merge manifests: one line an image, in the order of first appearance. Lines that the service drops are left "
        "out; then the exit code is 1.",
        "asyncfilter manifest merge old.manifest new.manifest -o all.manifest       the last line of an image holds",
        "asyncfilter manifest merge cats.manifest dogs.manifest --on-conflict union -o pets.manifest",
    ),
)
@takes_options
def merge(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="The manifests: files, or s3://BUCKET/KEY.", show_default=False),
    ],
    *,
    output: Output = STDOUT,
    on_conflict: Annotated[
        OnConflict,
        typer.Option(
            "--on-conflict",
            metavar="RULE",
            help="Different lines for one image: last or first holds, union has the labels and boxes of all, fail.",
        ),
    ] = OnConflict.LAST,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Merge manifests."""
    refuse_two_for_stdout(as_json=options.as_json, option="--output", target=output)
    bare = {**MergeCounts(inputs=[]).as_mapping(), "output": None}
    with data_errors_told(bare, as_json=options.as_json), ExitStack() as stack:
        aws = Aws(profile=profile)
        manifests = [stack.enter_context(open_manifest(file, aws=aws)) for file in files]
        merger = Merger([(opened.name, opened.stream) for opened in manifests], on_conflict=on_conflict)
        with open_output(output, yes=options.yes) as out:
            counts = merger.merge(out)
    _tell_rejected(counts)
    if options.as_json:
        write_json({**counts.as_mapping(), "output": output})
    else:
        where = "" if output == STDOUT else f" in {output}"
        print_err(
            f"{count(counts.lines)} images{where}: {count(counts.added)} added, {count(counts.replaced)} replaced, "
            f"{count(counts.unchanged)} unchanged"
        )
    if counts.rejected:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _tell_rejected(counts: MergeCounts) -> None:
    for found in counts.inputs:
        for number, code, message in found.rejected:
            print_err(f"{found.file}:{number}: left out: {code}: {message}")
        if len(found.rejected) < found.rejected_lines:
            print_err(f"{found.file}: {count(found.rejected_lines - len(found.rejected))} more lines were left out")
