"""``asyncfilter answers merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.answers.options import AnswersFile, Target
from asyncfilter.cli.options import ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.reading import load_for_answering
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.report.formatting import count

app = command_group()


@app.command(
    "merge",
    help=help_text(
        "Merge other answers files into that of a job or folder: every row that is not there yet, in order of time. "
        "All of the files or none. A checkpoint that follows one of the merged files then takes this one.",
        "asyncfilter answers merge job.yaml ../laptop/robins.answers.db",
        "asyncfilter answers merge job.yaml anna.answers.db ben.answers.db",
    ),
)
@takes_options
def merge(
    target: Target,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Answers files; they are not changed.", show_default=False)
    ],
    *,
    answers: AnswersFile = None,
    settings: Settings = None,
    options: ResultOptions,
) -> None:
    """Merge answers files."""
    place = deferred.find_answers(target, answers=answers, settings=settings or (), load=load_for_answering)
    merged, serial = deferred.merge_files(place.path, files)
    if options.as_json:
        write_json({"files": [msgspec.structs.asdict(one) for one in merged], "serial": serial})
    else:
        write_lines(
            f"{one.file}: {count(one.rows)} rows, {count(one.added)} added, {count(one.repeated)} there already"
            for one in merged
        )
