"""``asyncfilter answers set``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.answers.options import AnswersFile, As, Target, reviewer_of
from asyncfilter.cli.nothing import nothing_told
from asyncfilter.cli.options import ResultOptions, Settings, command_group, help_text, takes_options
from asyncfilter.cli.reading import load_for_answering
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json, write_lines
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.policy.answers.checks import BadAnswerError, checked_labels, checked_note
from asyncfilter.records.answers import PersonVerdict

app = command_group()


class Said(StrEnum):
    """What can be said; ``none`` takes one's own last word back."""

    KEEP = "keep"
    REJECT = "reject"
    UNSURE = "unsure"
    NONE = "none"


@app.command(
    "set",
    help=help_text(
        "Say keep, reject or unsure about one image; none takes one's own last word back. The next run, refilter or "
        "apply obeys it.",
        "asyncfilter answers set job.yaml birds/0017.jpg keep --label Robin",
        "asyncfilter answers set job.yaml s3://raw/birds/-odd.jpg reject --as anna --note 'a drawing'",
        "asyncfilter answers set ./photos 2024/a.jpg none",
    ),
)
@takes_options
def set_(
    target: Target,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="The image's key, verbatim, or its address s3://BUCKET/KEY (for keys that begin with -).",
            show_default=False,
        ),
    ],
    verdict: Annotated[
        Said, typer.Argument(metavar="VERDICT", help="keep, reject, unsure or none.", show_default=False)
    ],
    *,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="L", help="What is in the image; may be repeated.", show_default=False),
    ] = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="A note.", show_default=False)] = None,
    as_: As = None,
    answers: AnswersFile = None,
    settings: Settings = None,
    options: ResultOptions,
) -> None:
    """Write one answer."""
    person = None if verdict is Said.NONE else PersonVerdict(verdict)
    if person is None and label:
        raise UsageError("--label and none: nothing is said about an image", hint="Leave out --label.")
    reviewer = reviewer_of(as_)
    place = deferred.find_answers(target, answers=answers, settings=settings or (), load=load_for_answering)
    caution = place.caution()
    try:
        labels = checked_labels(label) if label else None
        word = deferred.Word(reviewer=reviewer, verdict=person, labels=labels, note=checked_note(note))
        with nothing_told(_unsaid(key, verdict, reviewer), as_json=options.as_json):
            changed = deferred.set_answer(place, key, word)
    except BadAnswerError as error:
        raise UsageError(f"--label, --note: {error.message}") from error
    if caution is not None and changed.uid is not None:
        print_err(f"caution: {caution}")
    if options.as_json:
        write_json(
            {
                **_unsaid(changed.key, verdict, reviewer),
                "previous": changed.previous,
                "current": changed.current,
                "uid": changed.uid,
                "serial": changed.serial,
            }
        )
    elif changed.uid is not None:
        write_lines([f"{changed.key}: {changed.previous or '-'} -> {changed.current or '-'}"])
    if changed.uid is None:
        print_err(f"{changed.key}: {reviewer} has said nothing that could be taken back")
        raise typer.Exit(ExitCode.SOME_FAILED)


def _unsaid(key: str, verdict: Said, reviewer: str) -> dict[str, object]:
    """The object of ``--json`` where nothing was written."""
    return {
        "key": key,
        "verdict": verdict.value,
        "previous": None,
        "current": None,
        "reviewer": reviewer,
        "uid": None,
        "serial": None,
    }
