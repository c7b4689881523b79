"""The questions of ``asyncfilter init`` on a terminal; each has a default, which Enter takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import typer
from rich.console import Console, RenderableType

from asyncfilter.cli.stderr import ask_text, print_err
from asyncfilter.errors import AccessError, UsageError
from asyncfilter.policy.first_look import PlaceFound
from asyncfilter.report.formatting import count, usd
from asyncfilter.report.terminal.text import Text

NO_LIMIT = "none"
NOWHERE = "nowhere"
_ROOM = 10
"""Columns beside a question and its default, for the answer."""
_MOST_USD = 10**9
_MICROS = 1_000_000

T = TypeVar("T")


class Dialogue:
    """Asks on stderr.

    Args:
        console: The console on stderr, for what is explained before a question.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, what: RenderableType, cautions: Iterable[str] = ()) -> None:
        """Show what was found, before the questions about it."""
        self._console.print(what)
        for caution in cautions:
            self._console.print(Text(caution, "yellow"))

    def explain(self, text: str) -> None:
        """Explain the next question."""
        self._console.print(Text())
        self._console.print(Text(text))

    def place(self, default: str) -> str:
        """Where the images are."""
        return self._asked("Where are the images? s3://bucket/prefix/ or a folder.", "Place", default, str)

    def labels(self, default: tuple[str, ...]) -> tuple[str, ...]:
        """The labels of the images to keep."""
        return self._asked(
            "1 of 3. Which labels show that an image is to be kept? Names that Rekognition uses, with commas between.",
            "Keep",
            ", ".join(default),
            lambda answer: labels_of([answer]),
        )

    def copy_to(self, usable: Callable[[str], str]) -> str | None:
        """Where copies of the images to keep go; None for no copies.

        Args:
            usable: Returns the target as it is to stand in the file, and raises when it cannot be used.
        """
        return self._asked(
            "2 of 3. Where are copies of these images to go? s3://bucket/prefix/ or a folder; it can be added later at "
            "no cost.",
            "Copy to",
            NOWHERE,
            lambda answer: None if answer == NOWHERE else usable(answer),
        )

    def budget_micros(self, found: PlaceFound, default_micros: int) -> int | None:
        """The most to spend; None for no limit."""
        images = found.look.images
        cost = f"{count(images)} images cost {usd(found.cost_micros(images))}"
        more = "" if found.look.is_whole else ", and there are more"
        return self._asked(
            f"3 of 3. What may this job spend at most, in dollars? The {cost}{more}.",
            "Budget",
            f"{default_micros / _MICROS:.2f}",
            budget_micros_of,
        )

    def _asked(self, explained: str, question: str, default: str, meaning: Callable[[str], T]) -> T:
        """The meaning of an answer; asks again while it has none.

        Raises:
            typer.Abort: The end of the input.
        """
        self.explain(explained)
        shown = None
        if len(question) + len(default) + _ROOM > self._console.width:
            shown = "as above"
            self._console.print(Text(f"Default: {default}"))
        while True:
            try:
                return meaning(ask_text(question, default=default, shown=shown))
            except EOFError:
                print_err("")
                raise typer.Abort from None
            except (UsageError, AccessError) as error:
                print_err(error.message)
                if error.hint:
                    print_err(f"hint: {error.hint}")


def labels_of(given: list[str]) -> tuple[str, ...]:
    """Names of labels; several in one text have commas between.

    Raises:
        UsageError: There is none.
    """
    names = tuple(dict.fromkeys(name for text in given for part in text.split(",") if (name := part.strip())))
    if not names:
        raise UsageError("no label is named", hint="Name one or more, such as Bird, Robin.")
    return names


def budget_micros_of(text: str) -> int | None:
    """Dollars, or ``none``, as micro-dollars.

    Raises:
        UsageError: It is neither.
    """
    if text.strip().lower() == NO_LIMIT:
        return None
    try:
        amount = Decimal(text.strip().removeprefix("$"))
        micros = amount.scaleb(6)
    except InvalidOperation:
        amount = micros = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _MOST_USD or micros != micros.to_integral_value():
        raise UsageError(
            f"expected dollars with at most 6 decimals, or {NO_LIMIT}, found {text!r}", hint="Give a budget such as 25."
        )
    return int(micros)
