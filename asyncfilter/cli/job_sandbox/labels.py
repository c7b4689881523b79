"""Labels with which the rules of a job decide: for each rule that can hold, and for ``otherwise``.

What a rule asks for is chosen at random, and every result is checked with the rules themselves. The same seed gives the
same images.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from asyncfilter.job.spec import Assumed, Condition, Job, nested_conditions
from asyncfilter.model import Box, Detection, Instance, Label, Verdict
from asyncfilter.policy.label_list import published_labels
from asyncfilter.policy.rules import compile_rules, least_pct
from asyncfilter.sandbox.answers import source as sandbox
from asyncfilter.sandbox.answers.folder import build_labels

_SHARES = {Verdict.KEEP: 0.45, Verdict.REVIEW: 0.2, Verdict.REJECT: 0.35}
"""Share of the images with each verdict; rules with the same verdict share it equally. Rejected images are less than
half, the largest part that `apply` removes."""
_OTHERS = ("Boat", "Car", "Cat", "Dog", "Flower", "Squirrel")
"""What images show beside what the rules ask for."""
_SCENERY = ("Grass", "Nature", "Outdoors", "Plant", "Sky", "Wood")
_TRIES = 300
_MOST_PCT = 99.9
_LEAST_PCT = 30.0


class Shown(NamedTuple):
    """What one image shows: the label that it is named after, and all labels as the sandbox returns them."""

    subject: str
    labels: tuple[sandbox.Label, ...]


class SampleLabels:
    """Draws what images show.

    Args:
        job: Its references are replaced by names.
        seed: Of all choices.
    """

    def __init__(self, job: Job, seed: int) -> None:
        self._job = job
        self._ruleset = compile_rules(job)
        conditions = [inner for rule in job.rules for inner in nested_conditions(rule.conditions)]
        self._named = sorted({name for condition in conditions for name in names_of(condition)})
        outcomes = [*((index, rule.verdict) for index, rule in enumerate(job.rules)), (None, job.otherwise)]
        chance = random.Random(f"{seed} outcomes")
        possible = [(rule, verdict) for rule, verdict in outcomes if self._try(rule, chance) is not None]
        verdicts = [verdict for _, verdict in possible]
        self._rules = [rule for rule, _ in possible]
        self._weights = [_SHARES[verdict] / verdicts.count(verdict) for verdict in verdicts]

    def draw(self, chance: random.Random) -> Shown:
        """What one image shows; how often each rule decides follows from the shares of the verdicts."""
        rule = chance.choices(self._rules, self._weights)[0]
        shown = self._try(rule, chance)
        return _Scene(chance).end() if shown is None else shown

    def _try(self, rule: int | None, chance: random.Random) -> Shown | None:
        """Labels with which this rule decides, or none does; None if no try gives any."""
        for _ in range(_TRIES):
            scene = _Scene(chance)
            if rule is None:
                scene.show(chance.choice((*_OTHERS, *self._named)), _LEAST_PCT)
            else:
                for condition in self._job.rules[rule].conditions:
                    scene.satisfy(condition)
            shown = scene.end()
            if self._ruleset.decide(self._detection(shown)).rule == rule:
                return shown
        return None

    def _detection(self, shown: Shown) -> Detection:
        """The labels that the job's detector would return."""
        least_pct = self._job.detector.min_confidence_pct
        return Detection(tuple(_label(each) for each in shown.labels if each.confidence >= least_pct))


def reference_labels(subject: str, chance: random.Random) -> Shown:
    """What a reference image of a subject shows: that subject, almost certain, and its ancestors."""
    scene = _Scene(chance)
    scene.show(subject, 93.0)
    return Shown(subject, tuple(build_labels(scene.found, chance)))


def detection_of(shown: Shown) -> Detection:
    """What is shown, as a detector of the package returns it."""
    return Detection(tuple(map(_label, shown.labels)))


class _Scene:
    """The labels of one image while they are collected."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._areas: dict[str, list[float]] = {}
        self._categories: dict[str, str] = {}
        self.found: dict[str, float] = {}

    def satisfy(self, condition: Condition) -> None:
        """Add what a condition asks for; what it excludes is left to the check."""
        chance = self._chance
        for name in condition.all:
            self.show(name, least_pct(condition, name))
        if condition.any:
            name = chance.choice((condition.any[0], *condition.any))
            self.show(name, least_pct(condition, name))
        if condition.category and not isinstance(condition.confidence_pct, Assumed):  # which no category reaches
            self._show_category(chance.choice(condition.category), condition.confidence_pct)
        if (count := condition.count) is not None:
            low = count.min or 0
            number = chance.randint(low, low + 2 if count.max is None else count.max)
            self._show_boxes(
                count.label, [chance.uniform(0.02, 0.1) for _ in range(number)], least_pct(condition, count.label)
            )
        if (area := condition.area) is not None:
            low_share, high_share = area.min or 0.0, 1.0 if area.max is None else area.max
            share = chance.uniform(low_share, min(high_share, low_share + 0.4))
            self._show_boxes(area.label, [share], least_pct(condition, area.label))

    def show(self, name: str, least_pct: float) -> str:
        """Add a label; returns its name in the spelling of AWS's list, where that has it."""
        spelled = published_labels().names.get(name.casefold(), name)
        confidence_pct = self._chance.uniform(least_pct, max(least_pct, _MOST_PCT))
        self.found[spelled] = max(confidence_pct, self.found.get(spelled, 0.0))
        return spelled

    def end(self) -> Shown:
        """What is shown, with ancestors of the labels, and scenery."""
        chance = self._chance
        if not self.found:
            self.show(chance.choice(_OTHERS), _LEAST_PCT)
        subject = next(iter(self.found))
        for scenery in chance.sample(_SCENERY, 2):
            self.found.setdefault(scenery, chance.uniform(20.0, 90.0))
        labels = build_labels(self.found, chance)
        for label in labels:
            if label.name in self._areas:
                label.instances = [self._instance(area, label.confidence) for area in self._areas[label.name]]
            category = self._categories.get(label.name) or published_labels().category_of.get(label.name.casefold())
            if category is not None:
                label.categories = [sandbox.Name(category)]
        return Shown(subject, tuple(labels))

    def _show_category(self, category: str, least_pct: float) -> None:
        listed, folded = published_labels(), category.casefold()
        names = [name for name, one in listed.category_of.items() if one.casefold() == folded] or [category]
        self._categories[self.show(self._chance.choice(names), least_pct)] = category

    def _show_boxes(self, name: str, areas: list[float], least_pct: float) -> None:
        if areas:
            self._areas.setdefault(self.show(name, least_pct), []).extend(areas)

    def _instance(self, area: float, confidence_pct: float) -> sandbox.Instance:
        side = float(area**0.5)
        left, top = self._chance.uniform(0, 1 - side), self._chance.uniform(0, 1 - side)
        return sandbox.Instance(sandbox.Box(width=side, height=side, left=left, top=top), confidence_pct)


def names_of(condition: Condition) -> Iterator[str]:
    """The labels that a condition names itself."""
    yield from (*condition.any, *condition.all, *condition.none)
    yield from (part.label for part in (condition.count, condition.area) if part is not None)


def _label(label: sandbox.Label) -> Label:
    return Label(
        name=label.name,
        confidence_pct=label.confidence,
        instances=tuple(
            Instance(Box(one.box.left, one.box.top, one.box.width, one.box.height), one.confidence)
            for one in label.instances
        ),
        parents=tuple(parent.name for parent in label.parents),
        categories=tuple(category.name for category in label.categories),
    )
