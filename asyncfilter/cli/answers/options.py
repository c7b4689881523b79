"""Arguments and options that the commands about answers share."""

from __future__ import annotations

import getpass
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from asyncfilter.errors import UsageError
from asyncfilter.policy.answers.checks import BadAnswerError, checked_reviewer

Target = Annotated[
    Path, typer.Argument(metavar="JOB", help="The job file (YAML), or a folder of pictures.", show_default=False)
]
AnswersFile = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        metavar="FILE",
        help="The answers file. Default: that of the job, or .asyncfilter/review.answers.db in the folder.",
        show_default=False,
    ),
]
As = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="The person who says it. Default: the login name, else me.", show_default=False
    ),
]


def reviewer_of(given: str | None, *, option: str = "--as") -> str:
    """The person of an option; by default the login name, else ``me``.

    Raises:
        UsageError: It cannot be a name.
    """
    if given is not None:
        try:
            return checked_reviewer(given)
        except BadAnswerError as error:
            raise UsageError(f"{option}: {error.message}") from error
    with suppress(BadAnswerError, OSError, KeyError):  # a user without a name
        return checked_reviewer(getpass.getuser())
    return "me"
