"""Limits, stop rules and prices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from asyncfilter.job import spec
from asyncfilter.job.schema.types import Positive, Section, Usd, WholeNumber

_LIMITS = spec.Limits()
_PRICING = spec.Pricing()
MAX_WINDOW = spec.MAX_WINDOW
Auto = Literal["auto"]


class Limits(Section):
    """How fast, how much and how long."""

    tps: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | Auto = Field(
        default="auto",
        description="Calls a second, retries included. `auto`: the account's quota from Service Quotas, else the "
        "documented default of the region.",
    )
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=_LIMITS.share, description="Part of that quota this run may use."
    )
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | Auto = Field(
        default="auto", description="Calls in flight. `auto` follows rate x measured latency."
    )
    budget_usd: Usd | None = Field(
        default=None, description="Hard ceiling in dollars for this checkpoint, across resumes. `null`: none."
    )
    max_images: Positive | None = Field(default=_LIMITS.max_images, description="Most images to examine. `null`: all.")
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=_LIMITS.max_attempts, description="Attempts per image and per S3 request; throttles do not count."
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=_LIMITS.timeout_s, description="Seconds per attempt, detector and S3 alike."
    )


class HitRate(Section):
    """Stop once matches are too rare to go on. Holds however often one looks; see `docs/planning.md`."""

    below: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="Share of `keep` among all verdicts, as a fraction: 0.02 is two in a hundred."
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] = Field(
        default=0.95,
        description="How sure to be that the share is below that, as a fraction. A source whose share is not below it "
        "is stopped wrongly with a probability of at most one less this.",
    )


class ErrorShare(Section):
    """Stop once too many images could not be examined."""

    rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        description="Share of failed images among the last `window`, as a fraction."
    )
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(
        default=200, description="How many images back are looked at; nothing is said before that many."
    )


class Stop(Section):
    """When enough has been seen. `null` means never."""

    matches: Positive | None = Field(default=None, description="Stop after this many `keep`.")
    misses_in_a_row: Positive | None = Field(
        default=None, description="Stop after this many `reject` without a `keep` between; `review` does not count."
    )
    hit_rate: HitRate | None = Field(
        default=None, description="Stop once matches are surely too rare. Wants `source.order: random`."
    )
    errors: ErrorShare | None = Field(default=None, description="Stop once too many images could not be examined.")


class Tier(Section):
    """The price of an image while no more than `up_to` were billed this month."""

    up_to: Positive | None = Field(description="Images a month; `null` in the last tier: without end.")
    usd: Usd = Field(description="Dollars an image.")


class Pricing(Section):
    """What the account has used this month, and what it pays."""

    used_this_month: WholeNumber = Field(
        default=_PRICING.used_this_month, description="Images already billed this month, for the tiers."
    )
    tiers: Annotated[list[Tier], Field(min_length=1)] | None = Field(
        default=None, description="Prices that take the place of the table that ships with asyncfilter; never rising."
    )
    inference_unit_hour_usd: Usd | None = Field(
        default=None, description="Dollars an hour for one inference unit of a Custom Labels model."
    )
    inference_units: Positive | None = Field(
        default=None,
        description="Units the Custom Labels model runs with at the most; `null` asks the service, which takes the "
        "permissions rekognition:DescribeProjects and rekognition:DescribeProjectVersions.",
    )
