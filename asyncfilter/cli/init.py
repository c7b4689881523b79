"""``asyncfilter init``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from asyncfilter.cli.init_dialogue import Dialogue, budget_micros_of, labels_of
from asyncfilter.cli.new_job import Given, NewJob
from asyncfilter.cli.new_job_file import DEFAULT_NAME, NewJobFile
from asyncfilter.cli.options import (
    STDOUT,
    Profile,
    ResultOptions,
    command_group,
    help_text,
    refuse_two_for_stdout,
    takes_options,
)
from asyncfilter.cli.signals import interruptible
from asyncfilter.cli.stderr import has_terminal
from asyncfilter.cli.terminal import print_out, stderr_console, write_json
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws
from asyncfilter.report.terminal.init import draw_initialised, init_mapping

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetOptions:
    """The options that answer questions in advance, or replace defaults."""

    name: Annotated[
        str | None, typer.Option("--name", help="The job's name. Default: that of the place.", show_default=False)
    ] = None
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="LABEL", help="A label to keep; may be repeated.", show_default=False),
    ] = None
    copy_to: Annotated[
        str | None,
        typer.Option("--copy-to", metavar="TARGET", help="Where copies of kept images go.", show_default=False),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="USD",
            help="The most to spend, or none. Default: what the images that were seen cost.",
            show_default=False,
        ),
    ] = None
    examine: Annotated[
        int | None,
        typer.Option(
            "--examine",
            metavar="N",
            min=0,
            max=20,
            help="Examine N of the images, to suggest labels (paid).",
            show_default=False,
        ),
    ] = None

    def given(self, *, profile: str | None) -> Given:
        """What they say.

        Args:
            profile: ``--profile``.

        Raises:
            UsageError: One cannot be used.
        """
        labels = labels_of(self.keep) if self.keep else None
        if self.budget is not None:
            budget_micros_of(self.budget)
        return Given(
            name=self.name,
            keep=labels,
            copy_to=self.copy_to,
            budget=self.budget,
            examine=self.examine,
            profile=profile,
        )


@app.command(
    "init",
    help=help_text(
        "Look at the images in a bucket or a folder, and write a job file with comments that plan and run accept. On a "
        "terminal three questions are asked: which labels to keep, where copies go, and what may be spent. Without "
        "one, or with --yes, the options and defaults count. Nothing is paid for, unless you agree to have a few "
        "images examined, which suggests labels. The look reads a bounded part of the listing.",
        "asyncfilter init s3://raw-images/birds/",
        "asyncfilter init ./photos -o photos.yaml",
        "asyncfilter init s3://raw-images/birds/ --keep Robin --copy-to s3://clean-images/robin/ --budget 25 --yes",
        "asyncfilter init s3://raw-images/birds/ --examine 5     suggests labels; shows the price and asks first",
        "asyncfilter init ./photos --json --yes",
    ),
)
@takes_options
def init(
    place: Annotated[
        str | None,
        typer.Argument(
            metavar="[PLACE]", help="s3://bucket/prefix, or a folder. Default: this folder.", show_default=False
        ),
    ] = None,
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="The job file to write; - is stdout.")
    ] = DEFAULT_NAME,
    preset: PresetOptions,
    region: Annotated[
        str | None,
        typer.Option("--region", help="Where images are examined. Default: the bucket's.", show_default=False),
    ] = None,
    profile: Profile = None,
    options: ResultOptions,
) -> None:
    """Write a job file."""
    refuse_two_for_stdout(as_json=options.as_json, option="--output", target=output)
    given = preset.given(profile=profile)
    with interruptible():
        asks = has_terminal() and not options.yes
        if given.examine and not (asks or options.yes):
            raise UsageError(
                "--examine pays for images, and there is no terminal to ask on",
                hint="Add --yes to pay for them without a question.",
            )
        file = NewJobFile(output)
        file.confirm(yes=options.yes)
        new = NewJob(file, given, Dialogue(stderr_console()) if asks else None, yes=options.yes)
        done = new.made(place, Aws(profile=profile, region=region))
        if options.as_json:
            write_json(init_mapping(done))
        elif output == STDOUT:
            stderr_console().print(draw_initialised(done, with_place=not asks))
        else:
            print_out(draw_initialised(done, with_place=not asks))
