"""Arguments, options and results that the ``model`` commands share."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.model import verbs
from asyncfilter.cli.options import Json, Profile, Yes
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json
from asyncfilter.custom_labels.waiting import within
from asyncfilter.errors import ExitCode, RefusedError, UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.durations import FORMS, duration_s
from asyncfilter.job.model_names import ProjectName
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3Location
from asyncfilter.report.terminal.leases import failure_text

ProjectArgument = Annotated[
    str, typer.Argument(metavar="PROJECT", help="Name or ARN of the project.", show_default=False)
]
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="Name or ARN of the version.", show_default=False)
]
TrainingOutput = Annotated[
    str,
    typer.Option(
        "--output",
        metavar="s3://B/P/",
        help="Where the service writes the results of training and evaluation.",
        show_default=False,
    ),
]
NewVersion = Annotated[
    str | None,
    typer.Option("--version", metavar="NAME", help="Default: PROJECT.YYYY-MM-DDTHH.MM.SS.", show_default=False),
]

if TYPE_CHECKING:
    from asyncfilter.wiring.model_changes import Patience

R = TypeVar("R")

CALL_GRACE_S = 1.0
"""How much longer than ``--timeout`` a call may take, seconds."""


def parse_duration(text: str) -> float:
    """A duration such as ``90s``, ``45m``, ``2h``, ``1d`` or ``1h30m`` in seconds.

    Raises:
        UsageError: It is none, or 0.
    """
    if (found := duration_s(text)) is None:
        raise UsageError(f"{text!r} is no duration", hint=f"Write {FORMS}.")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The options of every ``model`` command that calls the service.

    Attributes:
        region: Of the project; by default that of the AWS settings, or of its ARN.
        profile: Profile of the AWS config file.
        as_json: The result is written as JSON.
        yes: Every question is answered with yes.
    """

    region: Annotated[
        str | None,
        typer.Option(
            "--region", metavar="REGION", help="Region of the project. Default: that of its ARN or the AWS settings.",
            show_default=False,
        ),
    ] = None  # fmt: skip
    profile: Profile = None
    as_json: Json = False
    yes: Yes = False

    def aws(self, project: ProjectName | None = None) -> Aws:
        """The AWS settings, with the region of the project's ARN where it has one.

        Raises:
            UsageError: ``--region`` is another one.
        """
        named = None if project is None else project.region
        if named is not None and self.region not in {None, named}:
            raise UsageError(f"--region {self.region}: the project is in {named}", hint="Leave --region out.")
        return Aws(profile=self.profile, region=named or self.region)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOptions:
    """The options of commands that wait for the service.

    Those that only look wait, too: for the stop of what is over. ``model status`` has them so that scripts can always
    give them.

    Attributes:
        poll_s: Pause between two looks, seconds.
        timeout: Longest time of all waits; None for no bound.
    """

    poll_s: Annotated[
        float, typer.Option("--poll", metavar="S", min=0.01, help="Seconds between two looks at the service.")
    ] = 10.0
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            help="Longest wait, such as 45m or 1h30m; then exit code 75, and the same command goes on. Default: until "
            "the service says that it is over.",
            show_default=False,
        ),
    ] = None

    @property
    def timeout_s(self) -> float | None:
        """``--timeout`` in seconds; None for no bound.

        Raises:
            UsageError: It is no duration.
        """
        return None if self.timeout is None else parse_duration(self.timeout)

    def patience(self, *, tell: Callable[[str], object] = print_err) -> Patience:
        """How the command waits.

        Args:
            tell: Called with a sentence when something changes.

        Raises:
            UsageError: ``--timeout`` is no duration.
        """
        return verbs.Patience(poll_s=self.poll_s, timeout_s=self.timeout_s, tell=tell)

    def quiet_patience(self) -> Patience:
        """As ``patience``, for progress that only somebody who watches needs. Raises as ``patience``."""
        return self.patience(tell=show_progress)


def show_progress(text: str) -> None:
    """Say on stderr how something goes on, if that is a terminal."""
    if sys.stderr.isatty():
        print_err(text)


def run_verb(
    verb: Callable[[], Awaitable[R]],
    bare: Mapping[str, Any],
    options: ModelOptions,
    *,
    waits: WaitOptions | None = None,
    reaps: bool = True,
    what: str = "what was begun",
) -> R:
    """Run a verb, and return its result; where the service refuses, a result is on stdout with ``--json``.

    Before it every model is stopped whose lease has expired or lost its owner, and stderr says so.

    Args:
        verb: With all arguments bound.
        bare: The result where nothing was done; with ``error`` it stands for one that is not there.
        options: Of the command.
        waits: How to wait.
        reaps: False for a command that never changes anything, or that has done so before.
        what: What goes on at the service after an interruption.

    Raises:
        RefusedError: The service refuses.
        WaitEndedError: What is over is not stopped within ``--timeout``.
        LedgerError: The ledger cannot be used.
    """
    timeout_s = None if waits is None else waits.timeout_s

    async def reaping() -> R:
        if reaps:
            await _reap(timeout_s)
        return await bounded(verb, what, waits)

    try:
        return wait_verb(reaping, what, waits=None)
    except RefusedError as error:
        if options.as_json:
            write_json({**bare, "error": {"code": error.code, "message": error.message}})
        raise


def reap_first(waits: WaitOptions | None = None) -> None:
    """Stop every model whose lease is over, ahead of a command that needs no service itself. Raises as ``run_verb``."""
    wait_verb(lambda: _reap(None if waits is None else waits.timeout_s), "the stop", waits=None)


async def _reap(timeout_s: float | None) -> None:
    for failure in await verbs.stop_due(print_err, timeout_s=timeout_s):
        print_err(failure_text(failure))


async def bounded(verb: Callable[[], Awaitable[R]], what: str, waits: WaitOptions | None) -> R:
    """Run a verb within ``--timeout``; raises ``WaitEndedError`` after that."""
    timeout_s = None if waits is None else waits.timeout_s
    return await within(timeout_s, verb, what=what, grace_s=CALL_GRACE_S)


def wait_verb(verb: Callable[[], Awaitable[R]], what: str, *, waits: WaitOptions | None) -> R:
    """Run a verb that waits for the service; an interruption says what goes on.

    Raises:
        typer.Exit: With ``ExitCode.INTERRUPTED`` after a signal.
        WaitEndedError: It takes longer than ``--timeout``, also within one call that is repeated.
    """
    try:
        return deferred.run_async(lambda: bounded(verb, what, waits))
    except typer.Exit as ended:
        if ended.exit_code == ExitCode.INTERRUPTED:
            print_err(f"interrupted: {what} goes on at the service; the same command takes it up again")
        raise


def parse_place(text: str, option: str) -> S3Location:
    """Bucket and prefix of ``s3://B/P/``.

    Raises:
        UsageError: It is none.
    """
    try:
        place = parse_s3_uri(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}", hint="Write it as s3://BUCKET/PREFIX/.") from error
    return S3Location(place.bucket, place.key)
