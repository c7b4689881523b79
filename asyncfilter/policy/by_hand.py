"""What the review of the same images by people would cost: the user's own people, at their own cost and pace.

Crowd prices are no measure any more: Amazon Mechanical Turk takes no new customers since 2026-07-30, Augmented AI takes
none, and SageMaker Ground Truth is reported to take none either. What everybody can still buy is the time of people:
colleagues, or a company by the hour. So the figures are an hourly cost and a pace, ``pricing.by_hand`` of the job, with
defaults from public sources.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from asyncfilter.job.spec import ByHand

PEOPLE = (1, 3)
"""How many people look at each image: one, or three whose majority decides."""

COST_SOURCE = "US employers' mean cost of an hour worked in private industry, BLS, September 2024"
PACE_SOURCE = "a yes-or-no answer takes 1.7 s (Krishna et al., CHI 2016), with loading and pauses 3 s"
OWN_SOURCE = "pricing.by_hand of the job file"

_DEFAULT = ByHand()


class ReviewByPeople(msgspec.Struct, frozen=True, kw_only=True):
    """The review of some images by people; least and most, for ``PEOPLE`` an image.

    Attributes:
        cost_micros: Its price.
        hours: The hours of work, of all people together.
        terms: The hourly cost and the pace that it is counted with.
    """

    cost_micros: tuple[int, int]
    hours: tuple[float, float]
    terms: ByHand

    @property
    def sources(self) -> list[str]:
        """Where cost and pace come from, in this order; one source where both have the same."""
        return list(dict.fromkeys(_sources(self.terms)))


def review_by_people(images: int, terms: ByHand) -> ReviewByPeople:
    """The review of ``images`` images."""
    fewest, most = (images * people / terms.images_per_hour for people in PEOPLE)
    return ReviewByPeople(
        cost_micros=(round(fewest * terms.hour_micros), round(most * terms.hour_micros)),
        hours=(fewest, most),
        terms=terms,
    )


def _sources(terms: ByHand) -> Iterator[str]:
    yield COST_SOURCE if terms.hour_micros == _DEFAULT.hour_micros else OWN_SOURCE
    yield PACE_SOURCE if terms.images_per_hour == _DEFAULT.images_per_hour else OWN_SOURCE
