"""What a job would cost and find: a forecast from its listing, and estimates from a random sample of it.

Arithmetic over counts; money is integer micro-dollars, shares are fractions. Every interval holds with at least
``CONFIDENCE``, each taken alone. A forecast without a sample is an upper bound: it assumes that every image is billed
once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

import msgspec

from asyncfilter import notebook
from asyncfilter.job.spec import ByHand, Job, Limits, Stop
from asyncfilter.model import AnswersState, Counts, ListedObject, NothingFound, StopReason, Summary
from asyncfilter.policy.by_hand import ReviewByPeople, review_by_people
from asyncfilter.policy.intervals import CONFIDENCE, hits_in_whole
from asyncfilter.policy.lane_prices import LanePrices, Place, least_micros, most_micros
from asyncfilter.policy.pricing import PriceList
from asyncfilter.policy.units import UnitTerms
from asyncfilter.records.progress import LaneTotals, MonthUse

HOUR_S = 3600
_SHORTEST_MONTH_S = 28 * 24 * HOUR_S
MOST_IMAGES = 10**12
"""More images than any bucket holds; the upper bound of searches."""


class ListingSurvey(msgspec.Struct, kw_only=True):
    """The counts of a listing.

    Attributes:
        listed: Objects in the listing.
        skipped: Of these, the ones that are not examined, by reason; the others are candidates.
        skipped_keys: The first of them, by reason.
        size_bytes: Of the candidates.
        settled: Candidates whose outcome is in the checkpoint.
        waiting: Candidates with a cached outcome in the checkpoint, without a position yet; they cost nothing.
        unpaid: Candidates whose outcome is not known; ``shared`` of them have the content of another and cost nothing.
        drawn: A uniform sample of the candidates; its first n images, for any n, are one too.
        drawn_unpaid: The most images of the sample that must be paid for; ``drawn_failed`` are known to fail.
    """

    listed: int = 0
    skipped: dict[str, int] = {}
    skipped_keys: dict[str, list[str]] = {}
    size_bytes: int = 0
    settled: int = 0
    waiting: int = 0
    unpaid: int = 0
    shared: int = 0
    drawn: list[ListedObject] = []
    drawn_unpaid: int = 0
    drawn_failed: int = 0

    @property
    def candidates(self) -> int:
        """Objects that the job examines or has examined."""
        return self.settled + self.waiting + self.unpaid

    @property
    def calls(self) -> int:
        """Calls needed to examine everything."""
        return self.unpaid - self.shared


class CheckpointTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What the checkpoint held when the listing began; all zero without one. ``stop`` is a stop rule that holds."""

    spent_micros: int = 0
    billed_calls: int = 0
    month_use: MonthUse = MonthUse()
    examined: int = 0
    matches: int = 0
    stop: StopReason | None = None
    images: int = 0
    lanes: Mapping[str, LaneTotals] = {}


class PricingTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The price of calls, and their rate.

    Attributes:
        prices: Of calls; of the lane where the next one costs most.
        used: Images billed this month before the next one, those of the checkpoint among them; at that lane.
        month_left_s: Seconds until the month ends (UTC), when the tiers begin anew; None when that is not known.
        old_used: Lanes whose ``used_this_month`` is of an earlier month, and not counted; an empty name without lanes.
        hourly_micros: What the detector costs an hour while a run lasts.
        limit_tps: Calls a second; None when it is not known.
        tps_origin: The source of that figure, as text for reports.
        unit: Of the inference units of a model; None for detectors without a model.
        lanes: The lanes of the job, which share the calls; ``limit_tps`` is the sum of their rates.
    """

    prices: PriceList
    used: int
    hourly_micros: int
    limit_tps: float | None
    tps_origin: str
    month_left_s: float | None = None
    old_used: tuple[str, ...] = ()
    unit: UnitTerms | None = None
    lanes: tuple[LanePrices, ...] = ()

    def duration_s(self, calls: int) -> float | None:
        """Seconds that ``calls`` take at the rate; None when that is not known."""
        return None if self.limit_tps is None else calls / self.limit_tps

    def cost_micros(self, calls: int) -> int:
        """Price of the next ``calls`` at the rate, including the detector's hourly price while they last.

        With lanes it is the most that they can cost.
        """
        time_micros = ceil(self.hourly_micros * (self.duration_s(calls) or 0.0) / HOUR_S)
        return self.calls_micros(calls) + time_micros

    def least_micros(self, calls: int) -> int:
        """As ``cost_micros``, with all calls at the cheapest lane."""
        return self._over_months(calls, least_micros) if self.lanes else self.cost_micros(calls)

    def calls_micros(self, calls: int) -> int:
        """Price of the next ``calls`` at the rate, without the hourly price; each month has its tiers."""
        return self._over_months(calls, most_micros)

    def _over_months(self, calls: int, price: Callable[[Sequence[Place], int], int]) -> int:
        now_at, then_at = self._places(), self._places(begins_anew=True)
        if self.month_left_s is None or self.limit_tps is None:
            return price(now_at, calls)
        now = min(calls, max(1, floor(self.month_left_s * self.limit_tps)))
        # All months as short as the shortest: more tiers begin anew than will, so that the price is an upper bound.
        month_calls = max(1, floor(_SHORTEST_MONTH_S * self.limit_tps))
        months, rest = divmod(calls - now, month_calls)
        return price(now_at, now) + months * price(then_at, month_calls) + price(then_at, rest)

    def _places(self, *, begins_anew: bool = False) -> list[Place]:
        lanes = [(lane.prices, lane.used) for lane in self.lanes] or [(self.prices, self.used)]
        return [Place(prices, 1 if begins_anew else used + 1) for prices, used in lanes]

    def affordable(self, micros: int) -> int:
        """The largest number of calls that cost no more than ``micros``, up to ``MOST_IMAGES``."""
        low, high = 0, MOST_IMAGES
        while low < high:
            middle = (low + high + 1) // 2
            if self.cost_micros(middle) <= micros:
                low = middle
            else:
                high = middle - 1
        return low


class PlanInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before anything is paid; ``cautions`` say what is probably a mistake in the job.

    ``name_cautions`` are those of ``cautions`` that are about names in rules, which a sample can refute.
    ``nothing`` says why a run would have no image to examine; None when it would have some.
    ``thresholds_pct`` are what ``confidence: assumed`` stands for in the rules, by label.
    ``answers`` is the file of people's answers, and how many of them the run would take over; None where there is none.
    """

    survey: ListingSurvey
    checkpoint_totals: CheckpointTotals
    terms: PricingTerms
    cautions: tuple[str, ...] = ()
    name_cautions: tuple[str, ...] = ()
    nothing: NothingFound | None = None
    thresholds_pct: Mapping[str, float] = {}
    answers: AnswersState | None = None

    @property
    def sample_micros(self) -> int:
        """Highest price of the sample, if every attempt gets a response."""
        return self.terms.cost_micros(self.survey.drawn_unpaid)


class CostForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds for running the job to its end, or to its limits.

    Attributes:
        calls: Images that would be paid for before the run ends for ``ends``; stop rules are not foreseen.
        cost_micros: Their price; ``whole_micros`` is that of everything unpaid, whatever the limits.
        least_micros: Their price if the cheapest lane makes all of them; without lanes as ``cost_micros``.
        duration_s: Time at the rate; None when that is not known.
        by_hand: The review of all candidates by people.
    """

    calls: int
    cost_micros: int
    duration_s: float | None
    ends: StopReason
    whole_micros: int
    by_hand: ReviewByPeople
    least_micros: int


def forecast(plan_inputs: PlanInputs, limits: Limits, by_hand: ByHand | None = None) -> CostForecast:
    """The forecast for the job.

    Args:
        plan_inputs: What is known before anything is paid.
        limits: Those of the job.
        by_hand: What people would cost; by default the defaults of the job file.
    """
    survey, checkpoint_totals, terms = plan_inputs.survey, plan_inputs.checkpoint_totals, plan_inputs.terms
    end = StopReason.COMPLETED if plan_inputs.nothing is None else StopReason.NOTHING_TO_EXAMINE
    ends = {end: survey.calls}
    if limits.max_images is not None and limits.max_images < survey.candidates:
        ends[StopReason.MAX_IMAGES] = min(max(0, limits.max_images - checkpoint_totals.examined), survey.calls)
    if limits.budget_micros is not None:
        affordable = terms.affordable(limits.budget_micros - checkpoint_totals.spent_micros)
        if affordable < survey.calls:
            ends[StopReason.BUDGET] = affordable
    reason = min(ends, key=lambda reason: (ends[reason], reason is end))
    return CostForecast(
        calls=ends[reason],
        cost_micros=terms.cost_micros(ends[reason]),
        duration_s=terms.duration_s(ends[reason]),
        ends=reason,
        whole_micros=terms.cost_micros(survey.calls),
        by_hand=review_by_people(survey.candidates, by_hand or ByHand()),
        least_micros=terms.least_micros(ends[reason]),
    )


# -- From a sample -----------------------------------------------------------------------------------------------------


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its interval; ``high`` is None without an upper end, ``value`` is None without a figure."""

    value: float | None
    low: float
    high: float | None

    def written(self, figure: Callable[[float], str]) -> str:
        """``figure`` of the value, and of both ends of the interval in parentheses."""
        value = "no figure" if self.value is None else figure(self.value)
        high = "no limit" if self.high is None else figure(self.high)
        return f"{value} ({figure(self.low)} to {high})"


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """Estimates for all candidates, made from a sample.

    Attributes:
        sampled: Images of the sample with an outcome.
        confidence: Of each interval.
        hit_rate: Share of keep among verdicts; fraction.
        failure_share: Share of candidates that cannot be examined; fraction.
        keep: Candidates that would be kept.
        total_micros: Price of everything unpaid when the sample was drawn.
        kept_micros: Price of one kept image.
        to_matches: Images to examine until ``stop.matches`` is reached; None without that rule.
    """

    sampled: int
    confidence: float
    hit_rate: Estimate
    failure_share: Estimate
    keep: Estimate
    total_micros: Estimate
    kept_micros: Estimate
    to_matches: Estimate | None


def estimate(counts: Counts, plan_inputs: PlanInputs, stop: Stop) -> Estimates:
    """Estimates from the sample of a listing.

    Args:
        counts: Of the sample alone: verdicts and failures of all its images, and the calls made for it.
        plan_inputs: The state before the sample was paid for.
        stop: The job's stop rules.
    """
    survey, checkpoint_totals, terms = plan_inputs.survey, plan_inputs.checkpoint_totals, plan_inputs.terms
    failed = sum(counts.failed.values())
    judged = counts.keep + counts.review + counts.reject
    sampled, whole = judged + failed, survey.candidates
    billed_each = _billed_each(counts, survey)
    hit_rate = _share(counts.keep, judged, whole - failed)
    failure_share = _share(failed, sampled, whole)
    keep = _scaled(_share(counts.keep, sampled, whole), whole)
    return Estimates(
        sampled=sampled,
        confidence=CONFIDENCE,
        hit_rate=hit_rate,
        failure_share=failure_share,
        keep=keep,
        total_micros=_total(failure_share, billed_each, survey.calls, terms),
        kept_micros=_per_hit(_mean_price(survey, terms) * float(billed_each), hit_rate),
        to_matches=None if stop.matches is None else _until(stop.matches - checkpoint_totals.matches, keep, whole),
    )


def _share(hits: int, sample: int, whole: int) -> Estimate:
    if not whole:
        return Estimate(None, 0.0, 0.0)
    interval = hits_in_whole(hits, sample, whole)
    return Estimate(hits / sample if sample else None, interval.low / whole, interval.high / whole)


def _scaled(share: Estimate, by: float) -> Estimate:
    return Estimate(
        None if share.value is None else share.value * by,
        share.low * by,
        None if share.high is None else share.high * by,
    )


def _billed_each(counts: Counts, survey: ListingSurvey) -> Fraction:
    """Billed attempts for each image that got its labels: above 1 when time-outs were billed as well.

    It is 1 for a sample that cost nothing, and for one in which only failures were paid for.
    """
    succeeded = counts.calls - (sum(counts.failed.values()) - survey.drawn_failed)
    return max(Fraction(1), Fraction(counts.billed_calls, succeeded)) if succeeded > 0 else Fraction(1)


def _total(failure_share: Estimate, billed_each: Fraction, calls: int, terms: PricingTerms) -> Estimate:
    """Price of all calls: those that fail are not billed."""

    def price(share: float) -> int:
        return terms.cost_micros(round(calls * (1 - share) * billed_each))

    value = None if failure_share.value is None else price(failure_share.value)
    return Estimate(value, price(failure_share.high or 0.0), price(failure_share.low))


def _mean_price(survey: ListingSurvey, terms: PricingTerms) -> float:
    """Mean price of the images whose outcome is not known; the price of the next call where there are none."""
    return terms.cost_micros(survey.calls) / survey.unpaid if survey.unpaid else float(terms.cost_micros(1))


def _per_hit(price_micros: float, hit_rate: Estimate) -> Estimate:
    return Estimate(
        price_micros / hit_rate.value if hit_rate.value else None,
        price_micros / hit_rate.high if hit_rate.high else 0.0,
        price_micros / hit_rate.low if hit_rate.low else None,
    )


def _until(wanted: int, keep: Estimate, whole: int) -> Estimate:
    """Images to examine until ``wanted`` are kept, given the share of ``keep`` in the whole."""
    wanted = max(0, wanted)
    return Estimate(
        wanted * whole / keep.value if keep.value else None,
        wanted * whole / keep.high if keep.high else 0.0,
        wanted * whole / keep.low if keep.low else None,
    )


# -- Both --------------------------------------------------------------------------------------------------------------


class PlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``plan``.

    Attributes:
        sample: Summary of the run over the sample; None without one.
        estimates: Estimates made from it; None without a sample, or when no image of it has an outcome.
    """

    plan_inputs: PlanInputs
    forecast: CostForecast
    sample: Summary | None = None
    estimates: Estimates | None = None

    @property
    def cautions(self) -> tuple[str, ...]:
        """What is probably a mistake in the job, one sentence each, also from what the sample showed."""
        inputs = self.plan_inputs
        if self.sample is None:
            return inputs.cautions
        refuted = set(inputs.name_cautions).difference(self.sample.cautions)
        kept = [caution for caution in inputs.cautions if caution not in refuted]
        return tuple(dict.fromkeys([*kept, *self.sample.cautions]))

    def _repr_html_(self) -> str:
        """For notebooks: listing, forecast, and the estimates of the sample with their intervals."""
        survey, forecast, estimates = self.plan_inputs.survey, self.forecast, self.estimates
        rows: list[tuple[str, object]] = [
            ("listed", survey.listed),
            ("skipped", survey.skipped),
            ("images", survey.candidates),
            ("to pay for", f"{forecast.calls:,} of {survey.calls:,}"),
            ("cost at most", notebook.usd(forecast.cost_micros)),
            ("time", None if forecast.duration_s is None else notebook.duration(forecast.duration_s)),
        ]
        if estimates is not None:
            rows += [
                ("sampled", estimates.sampled),
                ("hit rate", estimates.hit_rate.written(lambda share: f"{100 * share:.1f} %")),
                ("failures", estimates.failure_share.written(lambda share: f"{100 * share:.1f} %")),
                ("kept", estimates.keep.written(lambda number: f"{number:,.0f}")),
                ("total", estimates.total_micros.written(notebook.usd)),
                ("each kept", estimates.kept_micros.written(notebook.usd)),
            ]
        return notebook.table("plan", rows)


def plan_result(job: Job, plan_inputs: PlanInputs, sample: Summary | None = None) -> PlanResult:
    """Combine the listing, the forecast and the sample into one result."""
    has_outcome = sample is not None and sample.this_run.examined > 0
    return PlanResult(
        plan_inputs=plan_inputs,
        forecast=forecast(plan_inputs, job.limits, job.pricing.by_hand),
        sample=sample,
        estimates=estimate(sample.this_run, plan_inputs, job.stop) if sample is not None and has_outcome else None,
    )
