"""Arguments, options and results that the ``model`` commands share."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.options import Json, Profile, Yes
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json
from asyncfilter.errors import RefusedError, UsageError
from asyncfilter.job.model_names import ProjectName
from asyncfilter.job.spec import Aws

ProjectArgument = Annotated[
    str, typer.Argument(metavar="PROJECT", help="Name or ARN of the project.", show_default=False)
]
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="Name or ARN of the version.", show_default=False)
]

R = TypeVar("R")

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\Z")
_UNITS_S = (86_400, 3_600, 60, 1)


def parse_duration(text: str) -> float:
    """A duration such as ``90s``, ``45m``, ``2h``, ``1d`` or ``1h30m`` in seconds.

    Raises:
        UsageError: It is none, or 0.
    """
    found = _DURATION.match(text)
    parts = found.groups() if found else ()
    duration_s = sum(int(part) * unit_s for part, unit_s in zip(parts, _UNITS_S, strict=False) if part)
    if not duration_s:
        raise UsageError(f"{text!r} is no duration", hint="Write 90s, 45m, 2h, 1d or 1h30m.")
    return float(duration_s)


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
        """``timeout`` in seconds.

        Raises:
            UsageError: It is no duration.
        """
        return None if self.timeout is None else parse_duration(self.timeout)


def run_verb(verb: Callable[[], Awaitable[R]], bare: Mapping[str, Any], options: ModelOptions) -> R:
    """Run a verb, and return its result; where the service refuses, a result is on stdout with ``--json``.

    Args:
        verb: With all arguments bound.
        bare: The result where nothing was done; with ``error`` it stands for one that is not there.
        options: Of the command.

    Raises:
        RefusedError: The service refuses.
    """
    try:
        return deferred.run_async(verb)
    except RefusedError as error:
        if options.as_json:
            write_json({**bare, "error": {"code": error.code, "message": error.message}})
        raise


def tell(text: str) -> None:
    """Say on stderr how a wait goes on."""
    print_err(text)
