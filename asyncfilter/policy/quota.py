"""What an account was told to be its quota, and where that figure comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class QuotaOrigin(StrEnum):
    """Where a quota was learnt."""

    APPLIED = "applied"
    """Service Quotas: the account's own value."""
    DEFAULT = "default"
    """Service Quotas: AWS's default, since the account has no value of its own."""
    DOCUMENTED = "documented"
    """AWS's documentation, since Service Quotas could not be asked."""


@dataclass(frozen=True, slots=True)
class QuotaAnswer:
    """A quota in calls a second, per account, region and operation.

    Attributes:
        reason: Why the documented value was taken; None for the others.
    """

    tps: float
    origin: QuotaOrigin
    reason: str | None = None
