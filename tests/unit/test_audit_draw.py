"""Populations of rules, and the images that an audit draws from them."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from asyncfilter.errors import NothingToWorkOnError, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, Detection, Label
from asyncfilter.policy.audit_draw import PopulationCounts, new_draws
from asyncfilter.policy.audit_options import Announcement, milestones_in
from asyncfilter.policy.audit_rules import measured_rules
from asyncfilter.policy.sampling import Ranking
from asyncfilter.records.draws import NewDraw
from asyncfilter.records.images import DoneEffect, StoredImage
from tests.kit.jobs import make_bare_job

RULES: list[Any] = [
    {"reject": {"any": ["Person"], "confidence": 85}},
    {"keep": {"any": ["Robin"], "confidence": 85}},
    {"review": {"any": ["Robin"], "confidence": 60}},
    {"keep": {"any": ["Owl"], "confidence": 50}},
]


def image(seq: int, **labels: float) -> StoredImage:
    """An image with labels and a place."""
    found = tuple(Label(name, pct) for name, pct in labels.items())
    return StoredImage(id=seq, seq=seq, key=f"b/{seq}.jpg", etag=f"e{seq}", size_bytes=9, detection=Detection(found))


def images(number: int = 500) -> list[StoredImage]:
    """Images with random labels, always the same."""
    random = Random(1)
    return [
        image(
            seq, **{name: random.randint(0, 1000) / 10 for name in ("Person", "Robin", "Owl") if random.random() < 0.6}
        )
        for seq in range(1, number + 1)
    ]


def drawn(job: Job, found: list[StoredImage], *, positions: int = 40, **options: Any) -> tuple[NewDraw, ...]:
    """The draws of a job over these images, with the seeds 1, 2 and so on."""
    announced = Announcement(milestones=(10, positions))
    rules = measured_rules(job, job, **options)
    seeds = list(range(1, len(rules) + 1))
    counts = PopulationCounts(job, zip(rules, seeds, strict=True), positions)
    for one in found:
        counts.add(one)
    return new_draws(counts, seeds, job=job, targets=announced.targets(), at_unix_s=0.0)


def pct(one: StoredImage, name: str) -> float:
    """The confidence of a label in an image."""
    assert one.detection is not None
    return max((label.confidence_pct for label in one.detection.labels if label.name == name), default=0.0)


def test_parts_are_what_the_rule_could_take_and_what_no_rule_keeps() -> None:
    """Against a plain count: earlier rules take away, the floor is that of the review rule, later keeps are no rest."""
    robin, owl = drawn(make_bare_job(rules=RULES), images())
    population = [one for one in images() if pct(one, "Person") < 85]
    taken = [one for one in population if pct(one, "Robin") >= 60]
    rest = [one for one in population if pct(one, "Robin") < 60 and pct(one, "Owl") < 50]
    assert (robin.images, robin.taken.images, robin.rest.images) == (len(population), len(taken), len(rest))
    assert (robin.measured.floor, robin.measured.present, robin.measured.asks) == (60, 85, 2)
    for threshold, count in robin.counts:
        assert count == sum(pct(one, "Robin") >= threshold for one in taken)
    assert [threshold for threshold, _ in robin.counts] == list(range(60, 100))
    later = [one for one in population if pct(one, "Robin") < 60]
    assert (owl.measured.floor, owl.images) == (50, len(later))
    assert owl.taken.images == sum(pct(one, "Owl") >= 50 for one in later)


def test_positions_are_those_of_the_lowest_ranks() -> None:
    """Position 1 has the lowest rank; each has its score and the version of its object."""
    (robin, _) = drawn(make_bare_job(rules=RULES), images())
    ranking = Ranking(1)
    taken = [one for one in images() if pct(one, "Person") < 85 and pct(one, "Robin") >= 60]
    taken.sort(key=lambda one: (ranking.rank(f"audit\n{one.key}"), one.key))
    assert [(one.key, one.etag, one.size_bytes, one.score) for one in robin.taken.positions] == [
        (one.key, one.etag, one.size_bytes, pct(one, "Robin")) for one in taken[:40]
    ]


def test_the_order_of_images_does_not_matter() -> None:
    """The same population and seed give the same draw."""
    job, found = make_bare_job(rules=RULES), images()
    assert drawn(job, found) == drawn(job, found[::-1])


def test_images_without_a_place_or_labels_and_removed_ones_are_in_no_population() -> None:
    """Images with the content of an earlier one count, unless they are skipped."""
    replace = msgspec.structs.replace
    job = make_bare_job(rules=RULES)
    measured = measured_rules(job, job)
    counts = PopulationCounts(job, [(one, 1) for one in measured], 10)
    whole = image(1, Robin=90)
    counts.add(whole)
    counts.add(replace(whole, id=2, seq=None))
    counts.add(replace(whole, id=3, seq=3, detection=None))
    counts.add(replace(whole, id=4, seq=4, effects=(DoneEffect(ActionKind.MOVE, "s3://x/y"),)))
    counts.add(replace(whole, id=5, seq=5, key="twin", same_as=1))
    assert (counts.populations[0].images, counts.last_seq) == (2, 5)


def test_a_rule_without_a_score_is_measured_as_it_stands() -> None:
    """Taken is what it takes, and its own threshold is the only one."""
    rules = [{"keep": {"any": ["Robin"], "none": ["Person"], "confidence": 70}}]
    (found,) = drawn(make_bare_job(rules=rules), images(), numbers=[0])
    taken = [one for one in images() if pct(one, "Robin") >= 70 > pct(one, "Person")]
    assert (found.taken.images, found.rest.images) == (len(taken), 500 - len(taken))
    assert found.counts == ((70.0, len(taken)),)
    assert {one.score for one in found.taken.positions} == {None}


def test_which_rules_can_be_measured() -> None:
    """Keep rules by their number; all with a score when none is named."""
    job = make_bare_job(rules=RULES)
    assert [one.rule for one in measured_rules(job, job)] == [1, 3]
    for numbers, hint in (([0], "expected a keep rule, found reject"), ([4], "from 0 to 3"), ([-1], "from 0 to 3")):
        with pytest.raises(UsageError, match=hint):
            measured_rules(job, job, numbers=numbers)
    with pytest.raises(UsageError, match="at most the confidence of rules\\[3\\], 50, found 55"):
        measured_rules(job, job, floor=55)
    bare = make_bare_job(rules=[{"keep": {"any": ["A"], "none": ["B"]}}])
    with pytest.raises(NothingToWorkOnError, match="has none"):
        measured_rules(bare, bare)


def test_a_moved_threshold_leaves_the_population_and_another_rule_before_it_does_not() -> None:
    """The digest says whether a frozen draw is still about the rule."""

    def digest(*rules: Any) -> str:
        job = make_bare_job(rules=list(rules))
        return measured_rules(job, job)[0].population

    keep = {"keep": {"any": ["Robin"], "confidence": 85}}
    assert digest(keep) == digest({"keep": {"any": ["Robin"], "confidence": 70}})
    assert digest(keep) != digest({"keep": {"any": ["Robin", "Owl"], "confidence": 85}})
    assert digest(RULES[0], keep) != digest({"reject": {"any": ["Person"], "confidence": 80}}, keep)


@pytest.mark.parametrize(
    "given",
    [
        {"precision": 0.0},
        {"precision": 1.01},
        {"precision": float("nan")},
        {"recall": 0.0},
        {"confidence": 1.0},
        {"floor": 101.0},
        {"seed": -1},
    ],
)
def test_values_that_cannot_be_announced(given: dict[str, Any]) -> None:
    """Shares are between 0 and 1, percents up to 100."""
    with pytest.raises(UsageError, match="expected"):
        Announcement(**given)


def test_milestones() -> None:
    """They are whole numbers, and rise."""
    assert milestones_in("200, 100,100") == (100, 200)
    for text in ("", "a", "0,100", "-5", "100,,200", "1000001"):
        with pytest.raises(UsageError, match="--milestones"):
            milestones_in(text)
