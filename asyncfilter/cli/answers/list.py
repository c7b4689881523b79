"""``asyncfilter answers list``."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.answers.options import AnswersFile, Target, reviewer_of
from asyncfilter.cli.nothing import nothing_told
from asyncfilter.cli.options import ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.reading import load_for_answers
from asyncfilter.cli.terminal import print_out, write_json
from asyncfilter.policy.answers.listing import Selection
from asyncfilter.records.answers import CurrentVerdict

app = command_group()


@app.command(
    "list",
    help=help_text(
        "Show what people said about the images: the current answer of each, and how many wait to be taken over. With "
        "--key all that was ever said about one.",
        "asyncfilter answers list job.yaml",
        "asyncfilter answers list job.yaml --verdict unresolved",
        "asyncfilter answers list job.yaml --key birds/0017.jpg --json",
    ),
)
@takes_options
def list_(
    target: Target,
    *,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Only this image, with its history.", show_default=False),
    ] = None,
    reviewer: Annotated[
        str | None,
        typer.Option("--reviewer", metavar="NAME", help="Only images that this person answered.", show_default=False),
    ] = None,
    verdict: Annotated[
        CurrentVerdict | None,
        typer.Option(
            "--verdict",
            metavar="VERDICT",
            help="Only images with this answer: keep, reject, unsure or unresolved (people disagree).",
            show_default=False,
        ),
    ] = None,
    answers: AnswersFile = None,
    settings: Settings = None,
    options: ResultOptions,
) -> None:
    """Show an answers file."""
    place = deferred.find_answers(target, answers=answers, settings=settings or (), load=load_for_answers)
    bucket = None
    if key is not None and (found := place.key_of(key)) is not None:
        key, bucket = found, place.images.bucket
    person = None if reviewer is None else reviewer_of(reviewer, option="--reviewer")
    with nothing_told(as_json=options.as_json):
        listed = deferred.list_answers(place, Selection(key=key, bucket=bucket, reviewer=person, verdict=verdict))
    if options.as_json:
        write_json(deferred.answers_mapping(listed))
    else:
        print_out(deferred.draw_answers(listed))
