"""Which labels of an examined image go into a manifest, with their confidences and instances."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from asyncfilter.job.spec import Assumed, Condition, Job
from asyncfilter.model import Instance, Label, Verdict
from asyncfilter.policy.rules import least_pct
from asyncfilter.records.images import StoredImage

_ABSENT_PCT = -1.0


class ChosenLabel(NamedTuple):
    """One label of an image.

    Attributes:
        name: As it is written.
        confidence_pct: Of the detector.
        instances: All occurrences that have a box.
    """

    name: str
    confidence_pct: float
    instances: tuple[Instance, ...] = ()


Choice = Callable[[StoredImage], Sequence[ChosenLabel]]
"""The labels of an image, each once."""


def of_rule(image: StoredImage) -> Sequence[ChosenLabel]:
    """The one name that made the rule of an image match; nothing where the rule names none."""
    name = image.decision.label if image.decision is not None else None
    if name is None:
        return ()
    chosen = _chosen(image, name) or _chosen_category(image, name)
    return () if chosen is None else (chosen,)


def of_rules(job: Job) -> Choice:
    """Every name of the job's keep rules that was found with its condition's confidence.

    Args:
        job: Its rules name labels alone: references are resolved.
    """
    wanted = list(
        _names(condition for rule in job.rules if rule.verdict is Verdict.KEEP for condition in rule.conditions)
    )

    def choice(image: StoredImage) -> Sequence[ChosenLabel]:
        found: dict[str, ChosenLabel] = {}
        for name, is_category, pct in wanted:
            chosen = _chosen_category(image, name) if is_category else _chosen(image, name)
            if chosen is not None and chosen.confidence_pct >= pct:
                found.setdefault(name.casefold(), chosen)
        return tuple(found.values())

    return choice


def of_names(names: Sequence[str], least_pct: float) -> Choice:
    """Those of the names that were found with a confidence."""
    wanted = list({name.casefold(): name for name in reversed(names)}.values())[::-1]

    def choice(image: StoredImage) -> Sequence[ChosenLabel]:
        found = (_chosen(image, name) for name in wanted)
        return tuple(one for one in found if one is not None and one.confidence_pct >= least_pct)

    return choice


def _names(conditions: Iterable[Condition]) -> Iterator[tuple[str, bool, float]]:
    """The names that conditions need to be there; whether each is a category; the confidence that it must have."""
    for condition in conditions:
        yield from ((name, False, least_pct(condition, name)) for name in (*condition.any, *condition.all))
        if not isinstance(condition.confidence_pct, Assumed):  # which categories have no threshold for
            pct = condition.confidence_pct
            yield from ((name, True, pct) for name in condition.category)
        for part in (condition.count, condition.area):
            if part is not None and part.min:
                yield part.label, False, least_pct(condition, part.label)


def _chosen(image: StoredImage, name: str) -> ChosenLabel | None:
    """The label of an image that has a name, as its own or as an alias, without regard to case."""
    folded = name.casefold()
    return _united(
        name, (label for label in _labels(image) if folded in map(str.casefold, (label.name, *label.aliases)))
    )


def _chosen_category(image: StoredImage, name: str) -> ChosenLabel | None:
    folded = name.casefold()
    return _united(name, (label for label in _labels(image) if folded in map(str.casefold, label.categories)))


def _labels(image: StoredImage) -> Sequence[Label]:
    return () if image.detection is None else image.detection.labels


def _united(name: str, labels: Iterable[Label]) -> ChosenLabel | None:
    confidence_pct, instances = _ABSENT_PCT, list[Instance]()
    for label in labels:
        confidence_pct = max(confidence_pct, label.confidence_pct)
        instances += label.instances
    return None if confidence_pct < 0 else ChosenLabel(name, confidence_pct, tuple(dict.fromkeys(instances)))
