"""What ``doctor`` finds: one finding for each thing that is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from asyncfilter.errors import AsyncFilterError, ExitCode


class Health(StrEnum):
    """How well it is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, and no trouble."""
    WARNING = "warning"
    """May become trouble."""
    ERROR = "error"
    """Commands will fail."""
    UNKNOWN = "unknown"
    """It could not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding.

    Attributes:
        name: What was looked at.
        health: How well it is.
        text: What was seen, in one sentence.
        hint: The remedy; None where there is nothing to do.
        facts: The same for scripts; no secrets.
        code: Exit code of a command that meets this, when it is an error.
    """

    name: str
    health: Health
    text: str
    hint: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    code: ExitCode = ExitCode.ACCESS

    @classmethod
    def failed(cls, name: str, error: AsyncFilterError, **facts: object) -> Finding:
        """The finding for an error that ended the look."""
        code = ExitCode(error.exit_code)
        return cls(name=name, health=Health.ERROR, text=error.message, hint=error.hint, facts=facts, code=code)

    @classmethod
    def unknown(cls, name: str, text: str, hint: str | None = None) -> Finding:
        """The finding for what could not be looked at."""
        return cls(name=name, health=Health.UNKNOWN, text=text, hint=hint)


def exit_code_of(findings: Iterable[Finding]) -> ExitCode:
    """``OK`` without errors; trouble with access comes before any other, which is that of the first error."""
    codes = [finding.code for finding in findings if finding.health is Health.ERROR]
    return ExitCode.ACCESS if ExitCode.ACCESS in codes else next(iter(codes), ExitCode.OK)
