"""What a check of a caller's permissions found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from asyncfilter.policy.permissions.rows import Command, Need


class Access(StrEnum):
    """Whether the caller has a permission."""

    ALLOWED = "allowed"
    MISSING = "missing"
    UNKNOWN = "unknown"


class CheckMethod(StrEnum):
    """How that is known."""

    TRIED = "tried"
    """A request that changes nothing was answered."""
    SIMULATED = "simulated"
    """IAM was asked; it knows the caller's own policies, and those of the organisation."""
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessResult:
    """The result for one permission.

    Attributes:
        need: The permission.
        commands: The commands that need it.
        access: Whether the caller has it.
        how: How that is known.
        detail: The answer in words; why it is not known.
    """

    need: Need
    commands: tuple[Command, ...]
    access: Access
    how: CheckMethod
    detail: str = ""

    @property
    def is_required(self) -> bool:
        """Whether a command cannot do its work without it."""
        return self.need.without is None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessReport:
    """All results for a caller.

    Attributes:
        caller: ARN of the caller.
        simulation: Why IAM could not be asked; empty when it was.
        results: One for each permission.
    """

    caller: str
    simulation: str
    results: Sequence[AccessResult]

    def of(self, access: Access) -> list[AccessResult]:
        """The results with this access."""
        return [result for result in self.results if result.access is access]

    @property
    def is_ok(self) -> bool:
        """Whether nothing that a command cannot do without is missing, as far as is known."""
        return not any(result.is_required for result in self.of(Access.MISSING))
