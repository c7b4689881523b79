"""The quota of an account, and the source of that figure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class QuotaOrigin(StrEnum):
    """The source of a quota."""

    APPLIED = "applied"
    """Service Quotas: the account's own value."""
    DEFAULT = "default"
    """Service Quotas: AWS's default, because the account has no value of its own."""
    DOCUMENTED = "documented"
    """AWS's documentation, because Service Quotas could not be read."""


@dataclass(frozen=True, slots=True)
class QuotaAnswer:
    """A quota in calls a second, per account, region and operation.

    Attributes:
        reason: Why the documented value was used; None for the others.
    """

    tps: float
    origin: QuotaOrigin
    reason: str | None = None
