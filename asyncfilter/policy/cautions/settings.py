"""Source, detector, limits, stop rules and prices that have no effect, or another one than was probably meant."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

from asyncfilter.job.spec import ByHand, HitRate, Job, Order, Pricing
from asyncfilter.model import Verdict
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.extensions import CONVERTED, NO_IMAGES
from asyncfilter.policy.sequential import is_surely_below

PREFIX_IS_NO_SAMPLE = (
    "stop.hit_rate with source.order: listing: neighbouring images of a listing are alike, so its beginning is "
    "no random sample of the rest; set source.order: random, for which the confidence holds"
)

_AT_ONCE = 5
"""A share of matches that can end a run after so few images is more likely the share that was hoped for."""

_UNSURE = 0.8
"""A confidence below this stops more than one source in five wrongly."""

_LEAST_TIMEOUT_S = 1.0

_MOST_TIMEOUT_S = 300.0
"""From here on milliseconds were probably meant: the slowest calls take seconds."""

_MANY_ATTEMPTS = 25
"""More attempts than this hardly help an image that fails, and each may be billed."""

_DEAR_MICROS = 50_000
"""A price of an image, micro-dollars, above which it is more likely that of a thousand: the dearest is under 2,000."""

_MANY_IMAGES = 100_000_000
"""Images a month, from which on a mistake is more likely: they cost tens of thousands of dollars."""


# -- Stop rules --------------------------------------------------------------------------------------------------------


def odd_stops(job: Job, verdicts: Collection[Verdict]) -> Iterator[str]:
    """Stop rules that can never hold, or that hold at once.

    Args:
        job: The job.
        verdicts: What images can get.
    """
    stop = job.stop
    if stop.matches is not None and Verdict.KEEP not in verdicts:
        yield f"stop.matches: {stop.matches} is never reached: no image can get the verdict keep"
    if stop.misses_in_a_row is not None and Verdict.REJECT not in verdicts:
        yield f"stop.misses_in_a_row: {stop.misses_in_a_row} is never reached: no image can get the verdict reject"
    elif stop.misses_in_a_row == 1:
        yield "stop.misses_in_a_row: 1 ends the run at the first image that is rejected"
    if stop.errors is not None and stop.errors.rate * stop.errors.window <= 1:
        yield (
            f"stop.errors: one failed image of {stop.errors.window} is enough to end the run "
            f"(rate: {stop.errors.rate:g}, window: {stop.errors.window})"
        )
    if stop.hit_rate is not None:
        yield from _odd_hit_rate(job, stop.hit_rate, has_matches=Verdict.KEEP in verdicts)


def _odd_hit_rate(job: Job, rare: HitRate, *, has_matches: bool) -> Iterator[str]:
    if job.source.order is Order.LISTING:
        yield PREFIX_IS_NO_SAMPLE
    if not has_matches:
        yield "stop.hit_rate ends the run in any case: no image can get the verdict keep"
    elif any(is_surely_below(rare.below, rare.confidence, hits=0, trials=n) for n in range(1, _AT_ONCE + 1)):
        yield (
            f"stop.hit_rate with below: {rare.below:g} can end the run after {_AT_ONCE} images: it stops when fewer "
            f"than {rare.below:.0%} of the images match, not when that many do"
        )
    if rare.confidence < _UNSURE:
        yield (
            f"stop.hit_rate with confidence: {rare.confidence:g} may stop a source with enough matches, with a "
            f"probability of up to {1 - rare.confidence:.0%}"
        )


# -- Limits and prices -------------------------------------------------------------------------------------------------


def odd_limits(job: Job) -> Iterator[str]:
    """Limits with which little or nothing can be examined."""
    limits = job.limits
    if limits.budget_micros == 0 and PROFILES[job.detector.kind].is_service:
        yield "limits.budget_usd: 0 pays for no image: only labels that are stored already are used"
    if limits.timeout_s < _LEAST_TIMEOUT_S:
        yield (
            f"limits.timeout_s: {limits.timeout_s:g} is shorter than many calls take; a call that is cut off counts as "
            "paid, and is repeated"
        )
    if limits.timeout_s >= _MOST_TIMEOUT_S:
        yield (
            f"limits.timeout_s: {limits.timeout_s:g} waits {limits.timeout_s / 60:.0f} minutes for a call that is "
            "never answered; it is in seconds, and most calls take less than one"
        )
    if limits.max_attempts > _MANY_ATTEMPTS:
        yield (
            f"limits.max_attempts: {limits.max_attempts} can bill one image {limits.max_attempts} times: an attempt "
            "that breaks off counts as paid"
        )


def odd_prices(job: Job) -> Iterator[str]:
    """Prices and usage that do not apply to the detector, or that are out of proportion."""
    pricing, is_by_hour = job.pricing, PROFILES[job.detector.kind].needs_model
    if not PROFILES[job.detector.kind].is_service:
        if dataclasses.replace(pricing, by_hand=ByHand()) != Pricing():
            yield f"pricing has no effect: {job.detector.kind} costs nothing"
        return
    if not is_by_hour:
        hourly = {
            "inference_unit_hour_usd": pricing.inference_unit_hour_micros,
            "inference_units": pricing.inference_units,
        }
        for key in (key for key, value in hourly.items() if value is not None):
            yield f"pricing.{key} has no effect: {job.detector.kind} has no price by the hour"
    if is_by_hour and pricing.used_this_month and pricing.tiers is None:
        yield f"pricing.used_this_month has no effect: {job.detector.kind} has no price by the image"
    elif pricing.used_this_month >= _MANY_IMAGES:
        yield (
            f"pricing.used_this_month: {pricing.used_this_month} images are priced from the last tier on; if it is too "
            "high, the run costs more than its budget"
        )
    yield from _odd_tiers(job)


def _odd_tiers(job: Job) -> Iterator[str]:
    for index, tier in enumerate(job.pricing.tiers or ()):
        if tier.micros > _DEAR_MICROS:
            yield (
                f"pricing.tiers[{index}].usd: {tier.micros / 1_000_000:g} is the price of one image, not of a "
                "thousand; DetectLabels costs about 0.001"
            )
        elif not tier.micros and job.limits.budget_micros is not None and not PROFILES[job.detector.kind].needs_model:
            yield f"pricing.tiers[{index}].usd: 0 makes images free, so that limits.budget_usd never holds for them"


# -- Source ----------------------------------------------------------------------------------------------------------


def unreadable_formats(job: Job) -> Iterator[str]:
    """Included names whose images cannot be read."""
    wanted = {glob: glob.rpartition(".")[2].lower() for glob in job.source.include if "." in glob}
    no_image = sorted(glob for glob, extension in wanted.items() if extension in NO_IMAGES)
    if no_image:
        yield f"source.include: {', '.join(no_image)}: such files cannot be examined, also with convert, and each fails"
    unread = sorted(glob for glob, extension in wanted.items() if extension in CONVERTED)
    if unread and not job.convert and PROFILES[job.detector.kind].is_service:
        yield (
            f"source.include: {', '.join(unread)}: the service reads only JPEG and PNG, so that each of these fails as "
            "invalid_image_format; set convert: true"
        )
