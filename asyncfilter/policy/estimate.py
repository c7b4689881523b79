"""What a job would come to: forecast from its listing, and estimates from a random sample of it.

Arithmetic over counts; money is integer micro-dollars, shares are fractions. Every interval holds with at least
``CONFIDENCE``, each by itself. A forecast without a sample is an upper bound: it takes every image for one that is
billed once.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil

import msgspec

from asyncfilter import notebook
from asyncfilter.job.spec import Job, Limits, Stop
from asyncfilter.model import Counts, ListedObject, StopReason, Summary
from asyncfilter.policy.intervals import CONFIDENCE, hits_in_whole
from asyncfilter.policy.pricing import PriceList

JUDGEMENT_MICROS = 12_000
"""What one person's look at one image costs (SageMaker Ground Truth's price for image classification by a crowd)."""

JUDGEMENTS = (3, 5)
"""How many people look at an image, at the least and at the most, before their answers are believed."""

HOUR_S = 3600
MOST_IMAGES = 10**12
"""More than any bucket holds; bounds searches."""


class Survey(msgspec.Struct, kw_only=True):
    """What a listing showed.

    Attributes:
        listed: Objects seen.
        skipped: Of these, the ones that are not examined, by reason; the others are candidates.
        size_bytes: Of the candidates.
        standing: Candidates whose outcome the checkpoint has.
        waiting: Candidates whose outcome waits there for its place, so that they cost nothing.
        unpaid: Candidates whose outcome is not known; ``shared`` of them have the content of another and cost nothing.
        drawn: A uniform sample of the candidates; any beginning of it is one too.
        drawn_unpaid: How many of the sample must be paid for at the most; ``drawn_failed`` are known to fail.
    """

    listed: int = 0
    skipped: dict[str, int] = {}
    size_bytes: int = 0
    standing: int = 0
    waiting: int = 0
    unpaid: int = 0
    shared: int = 0
    drawn: list[ListedObject] = []
    drawn_unpaid: int = 0
    drawn_failed: int = 0

    @property
    def candidates(self) -> int:
        """Objects that the job examines or has examined."""
        return self.standing + self.waiting + self.unpaid

    @property
    def calls(self) -> int:
        """Calls that examining everything takes."""
        return self.unpaid - self.shared


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the checkpoint held when the listing began; all zero without one."""

    spent_micros: int = 0
    billed_calls: int = 0
    examined: int = 0
    matches: int = 0


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What calls cost and how fast they may follow each other.

    Attributes:
        prices: Of calls.
        used: Images billed this month before the next one, those of the checkpoint among them.
        hourly_micros: What the detector costs an hour while a run lasts.
        limit_tps: Calls a second; None when nothing is known of it.
        tps_origin: Where that figure comes from, for people.
    """

    prices: PriceList
    used: int
    hourly_micros: int
    limit_tps: float | None
    tps_origin: str

    def duration_s(self, calls: int) -> float | None:
        """Seconds that ``calls`` take at the rate; None when that is not known."""
        return None if self.limit_tps is None else calls / self.limit_tps

    def cost_micros(self, calls: int) -> int:
        """Price of the next ``calls``, and of the detector's time for them."""
        time_micros = ceil(self.hourly_micros * (self.duration_s(calls) or 0.0) / HOUR_S)
        return self.prices.total_micros(self.used + 1, calls) + time_micros

    def affordable(self, micros: int) -> int:
        """The most calls that cost no more than ``micros``, up to ``MOST_IMAGES``."""
        low, high = 0, MOST_IMAGES
        while low < high:
            middle = (low + high + 1) // 2
            if self.cost_micros(middle) <= micros:
                low = middle
            else:
                high = middle - 1
        return low


class Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before anything is paid."""

    survey: Survey
    held: Held
    terms: Terms

    @property
    def sample_micros(self) -> int:
        """Price of the sample at the most, if every attempt is answered."""
        return self.terms.cost_micros(self.survey.drawn_unpaid)


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """What running the job to its end, or to its limits, comes to at the most.

    Attributes:
        calls: Images that would be paid for before the run ends for ``ends``; stop rules are not foreseen.
        cost_micros: Their price; ``whole_micros`` is that of everything unpaid, whatever the limits.
        duration_s: Time at the rate; None when that is not known.
        by_hand_micros: What people would cost for all candidates, least and most.
    """

    calls: int
    cost_micros: int
    duration_s: float | None
    ends: StopReason
    whole_micros: int
    by_hand_micros: tuple[int, int]


def forecast(prospect: Prospect, limits: Limits) -> Forecast:
    """What the job comes to."""
    survey, held, terms = prospect.survey, prospect.held, prospect.terms
    ends = {StopReason.COMPLETED: survey.calls}
    if limits.max_images is not None and limits.max_images < survey.candidates:
        ends[StopReason.MAX_IMAGES] = min(max(0, limits.max_images - held.examined), survey.calls)
    if limits.budget_micros is not None:
        affordable = terms.affordable(limits.budget_micros - held.spent_micros)
        if affordable < survey.calls:
            ends[StopReason.BUDGET] = affordable
    reason = min(ends, key=lambda reason: (ends[reason], reason is StopReason.COMPLETED))
    fewest, most = JUDGEMENTS
    return Forecast(
        calls=ends[reason],
        cost_micros=terms.cost_micros(ends[reason]),
        duration_s=terms.duration_s(ends[reason]),
        ends=reason,
        whole_micros=terms.cost_micros(survey.calls),
        by_hand_micros=(survey.candidates * fewest * JUDGEMENT_MICROS, survey.candidates * most * JUDGEMENT_MICROS),
    )


# -- From a sample -----------------------------------------------------------------------------------------------------


class Estimate(msgspec.Struct, frozen=True):
    """A figure with its interval; ``high`` is None where there is no upper end, ``value`` where there is no figure."""

    value: float | None
    low: float
    high: float | None

    def written(self, figure: Callable[[float], str]) -> str:
        """``figure`` of the value, and of both ends of the interval in parentheses."""
        value = "no figure" if self.value is None else figure(self.value)
        high = "no limit" if self.high is None else figure(self.high)
        return f"{value} ({figure(self.low)} to {high})"


class Estimates(msgspec.Struct, frozen=True, kw_only=True):
    """What a sample says of the whole.

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


def estimate(counts: Counts, prospect: Prospect, stop: Stop) -> Estimates:
    """Estimates from the sample of a survey.

    Args:
        counts: Of the sample alone: verdicts and failures of all its images, and the calls that were made for it.
        prospect: As it was before the sample was paid for.
        stop: The job's stop rules.
    """
    survey, held, terms = prospect.survey, prospect.held, prospect.terms
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
        to_matches=None if stop.matches is None else _until(stop.matches - held.matches, keep, whole),
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


def _billed_each(counts: Counts, survey: Survey) -> Fraction:
    """Billed attempts for each image that got its labels: above 1 when time-outs had to be counted twice.

    A sample that cost nothing says nothing of that, and neither does one where nothing but failures was paid for.
    """
    succeeded = counts.calls - (sum(counts.failed.values()) - survey.drawn_failed)
    return max(Fraction(1), Fraction(counts.billed_calls, succeeded)) if succeeded > 0 else Fraction(1)


def _total(failure_share: Estimate, billed_each: Fraction, calls: int, terms: Terms) -> Estimate:
    """Price of all calls: those that fail are not billed."""

    def price(share: float) -> int:
        return terms.cost_micros(round(calls * (1 - share) * billed_each))

    value = None if failure_share.value is None else price(failure_share.value)
    return Estimate(value, price(failure_share.high or 0.0), price(failure_share.low))


def _mean_price(survey: Survey, terms: Terms) -> float:
    """Price of an image on average over all that are not known or, where there are none, of the next call."""
    return terms.cost_micros(survey.calls) / survey.unpaid if survey.unpaid else float(terms.cost_micros(1))


def _per_hit(price_micros: float, hit_rate: Estimate) -> Estimate:
    return Estimate(
        price_micros / hit_rate.value if hit_rate.value else None,
        price_micros / hit_rate.high if hit_rate.high else 0.0,
        price_micros / hit_rate.low if hit_rate.low else None,
    )


def _until(wanted: int, keep: Estimate, whole: int) -> Estimate:
    """Images to draw until ``wanted`` are kept, at the share of ``keep`` in the whole."""
    wanted = max(0, wanted)
    return Estimate(
        wanted * whole / keep.value if keep.value else None,
        wanted * whole / keep.high if keep.high else 0.0,
        wanted * whole / keep.low if keep.low else None,
    )


# -- Both --------------------------------------------------------------------------------------------------------------


class Outlook(msgspec.Struct, frozen=True, kw_only=True):
    """All that ``plan`` finds.

    Attributes:
        sample: How examining the sample went; None when there was none.
        estimates: What it says; None without a sample, or when no image of it has an outcome.
    """

    prospect: Prospect
    forecast: Forecast
    sample: Summary | None = None
    estimates: Estimates | None = None

    def _repr_html_(self) -> str:
        """For notebooks: listing, forecast, and what the sample says with its intervals."""
        survey, forecast, said = self.prospect.survey, self.forecast, self.estimates
        rows: list[tuple[str, object]] = [
            ("listed", survey.listed),
            ("skipped", survey.skipped),
            ("images", survey.candidates),
            ("to pay for", f"{forecast.calls:,} of {survey.calls:,}"),
            ("cost at most", notebook.usd(forecast.cost_micros)),
            ("time", None if forecast.duration_s is None else notebook.duration(forecast.duration_s)),
        ]
        if said is not None:
            rows += [
                ("sampled", said.sampled),
                ("hit rate", said.hit_rate.written(lambda share: f"{100 * share:.1f} %")),
                ("failures", said.failure_share.written(lambda share: f"{100 * share:.1f} %")),
                ("kept", said.keep.written(lambda number: f"{number:,.0f}")),
                ("total", said.total_micros.written(notebook.usd)),
                ("each kept", said.kept_micros.written(notebook.usd)),
            ]
        return notebook.table("plan", rows)


def outlook(job: Job, prospect: Prospect, sample: Summary | None = None) -> Outlook:
    """Put together what was found."""
    has_outcome = sample is not None and sample.this_run.examined > 0
    return Outlook(
        prospect=prospect,
        forecast=forecast(prospect, job.limits),
        sample=sample,
        estimates=estimate(sample.this_run, prospect, job.stop) if sample is not None and has_outcome else None,
    )
