"""Limits, stop rules and prices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from asyncfilter.job import spec
from asyncfilter.job.schema.types import Positive, Section, Usd, WholeNumber

_LIMITS = spec.Limits()
_PRICING = spec.Pricing()
_BY_HAND = spec.ByHand()
MAX_WINDOW = spec.MAX_WINDOW
Auto = Literal["auto"]


class Limits(Section):
    """Limits on rate, cost, number of images and time."""

    tps: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | Auto = Field(
        default="auto",
        description="Calls a second, retries included. `auto`: the account's quota from Service Quotas, else the "
        "documented default of the region.",
    )
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=_LIMITS.share, description="Fraction of that quota that this run may use."
    )
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | Auto = Field(
        default="auto", description="Calls in flight. `auto`: rate times measured latency."
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
    decoding_mb: Annotated[int, Field(ge=50, le=100_000)] = Field(
        default=_LIMITS.decoding_mb,
        description="Memory in MB for all pictures that are decoded at one time (`convert`, `near_duplicates`). A "
        "picture that alone takes more fails as `decompression_bomb`.",
    )


class HitRate(Section):
    """Stop once matches are too rare. The confidence holds for any number of checks; see `docs/planning.md`."""

    below: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="Share of `keep` among all verdicts, as a fraction: 0.02 is 2 %."
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] = Field(
        default=0.95,
        description="Confidence that the share is below that, as a fraction. A source whose share is not below it is "
        "stopped wrongly with a probability of at most one minus this.",
    )


class ErrorShare(Section):
    """Stop once too many images could not be examined."""

    rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        description="Share of failed images among the last `window`, as a fraction."
    )
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(
        default=200, description="Number of most recent images that count; the rule applies from that many images on."
    )


class Stop(Section):
    """When the run stops early. `null` means never."""

    matches: Positive | None = Field(default=None, description="Stop after this many `keep`.")
    misses_in_a_row: Positive | None = Field(
        default=None, description="Stop after this many `reject` without a `keep` between; `review` does not count."
    )
    hit_rate: HitRate | None = Field(
        default=None,
        description="Stop once matches are too rare with a given confidence. Needs `source.order: random`.",
    )
    errors: ErrorShare | None = Field(default=None, description="Stop once too many images could not be examined.")


class Tier(Section):
    """The price of an image while no more than `up_to` were billed this month."""

    up_to: Positive | None = Field(description="Images a month; `null` in the last tier: no limit.")
    usd: Usd = Field(description="Dollars an image.")


class ByHand(Section):
    """What people cost who would review the images themselves, for the comparison in `plan`."""

    hour_usd: Usd | None = Field(
        default=None,
        description="Dollars for an hour of a person's work. `null`: 44.40, the mean cost of an hour worked in US "
        "private industry (Bureau of Labor Statistics, *Employer Costs for Employee Compensation*, September 2024).",
    )
    images_per_hour: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] = Field(
        default=_BY_HAND.images_per_hour,
        description="Images that a person decides in an hour. Default: 3 s an image. A yes-or-no answer takes 1.7 s "
        "(Krishna et al., *Embracing Error to Enable Rapid Crowdsourcing*, CHI 2016); loading, doubt and pauses take "
        "the rest.",
    )


class Pricing(Section):
    """What the account has used this month, and what it pays."""

    used_this_month: WholeNumber = Field(
        default=_PRICING.used_this_month,
        description="Images that other programs had billed this month (UTC), for the tiers. It counts in the month in "
        "which a run first sees the value, and no longer; calls of the checkpoint are counted by themselves.",
    )
    tiers: Annotated[list[Tier], Field(min_length=1)] | None = Field(
        default=None, description="Prices that replace the table that ships with asyncfilter; they must not rise."
    )
    inference_unit_hour_usd: Usd | None = Field(
        default=None, description="Dollars an hour for one inference unit of a Custom Labels model."
    )
    inference_units: Positive | None = Field(
        default=None,
        description="Most units that the Custom Labels model runs with; the model is not looked at then. `null`: read "
        "from the service; without the permissions rekognition:DescribeProjects and "
        "rekognition:DescribeProjectVersions time is counted for one.",
    )
    by_hand: ByHand = Field(
        default=ByHand(), description="What people cost who would review the images themselves, for `plan`."
    )
