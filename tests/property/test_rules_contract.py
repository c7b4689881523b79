"""Rules compared with a naive implementation of docs/guarantees.md, *Rules*, over any labels and any rules."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.job.spec import Area, Condition, Count, Rule
from asyncfilter.model import Box, Decision, Detection, Instance, Label, Verdict
from asyncfilter.policy.rules import Ruleset

NAMES = ["Bird", "bird", "Robin", "Person", "STRASSE", "straße", "Animals and Pets"]
names = st.sampled_from(NAMES)
some_names = st.lists(names, max_size=3).map(tuple)
percents = st.sampled_from([0.0, 54.9, 55.0, 55.1, 85.0, 100.0])
fractions = st.sampled_from([0.0, 0.25, 0.5, 1.0])
sides = st.sampled_from([0.0, 0.5, 1.0])

instances = st.builds(
    Instance, box=st.builds(Box, left=sides, top=sides, width=sides, height=sides), confidence_pct=percents
)
labels = st.builds(
    Label,
    name=names,
    confidence_pct=percents,
    instances=st.lists(instances, max_size=3).map(tuple),
    aliases=some_names,
    categories=some_names,
)
detections = st.builds(Detection, labels=st.lists(labels, max_size=5).map(tuple))

plain = {
    "any": some_names,
    "all": some_names,
    "none": some_names,
    "category": some_names,
    "confidence_pct": percents,
    "count": st.none()
    | st.builds(Count, label=names, min=st.none() | st.integers(0, 3), max=st.none() | st.integers(0, 3)),
    "area": st.none() | st.builds(Area, label=names, min=st.none() | fractions, max=st.none() | fractions),
}
leaves = st.builds(Condition, **plain)
inner = st.lists(leaves | st.builds(Condition, not_=st.lists(leaves, max_size=2).map(tuple)), max_size=3).map(tuple)
conditions = (
    st.builds(Condition, **plain) | st.builds(Condition, **plain, not_=inner) | st.builds(Condition, not_=inner)
)
rules = st.builds(
    Rule, verdict=st.sampled_from(Verdict), conditions=st.lists(conditions, min_size=1, max_size=3).map(tuple)
)


def is_called(label: Label, name: str) -> bool:
    """A name matches a label's Name or one of its Aliases, case-insensitively."""
    return any(name.casefold() == own.casefold() for own in (label.name, *label.aliases))


def there(detection: Detection, name: str, pct: float) -> bool:
    """The label must be at least the rule's confidence."""
    return any(is_called(label, name) and label.confidence_pct >= pct for label in detection.labels)


def categorised(detection: Detection, name: str, pct: float) -> bool:
    """There is a label of the category."""
    return any(
        label.confidence_pct >= pct and any(own.casefold() == name.casefold() for own in label.categories)
        for label in detection.labels
    )


def shown(detection: Detection, name: str, pct: float) -> list[Instance]:
    """Instances of the label at or above the rule's confidence."""
    return [
        instance
        for label in detection.labels
        if is_called(label, name)
        for instance in label.instances
        if instance.confidence_pct >= pct
    ]


def within(value: float, low: float | None, high: float | None) -> bool:
    """Both bounds are inclusive."""
    return (low is None or value >= low) and (high is None or value <= high)


def asked_pct(condition: Condition) -> float:
    """The confidence of a condition; none here leaves it to a model."""
    assert isinstance(condition.confidence_pct, (int, float))
    return condition.confidence_pct


def holds(condition: Condition, seen: Detection) -> bool:
    """All given parts must hold."""
    pct = asked_pct(condition)
    parts = []
    if condition.any:
        parts.append(any(there(seen, name, pct) for name in condition.any))
    parts += [there(seen, name, pct) for name in condition.all]
    parts += [not there(seen, name, pct) for name in condition.none]
    if condition.category:
        parts.append(any(categorised(seen, name, pct) for name in condition.category))
    if (count := condition.count) is not None:
        parts.append(within(len(shown(seen, count.label, pct)), count.min, count.max))
    if (area := condition.area) is not None:
        boxes = [instance.box.width * instance.box.height for instance in shown(seen, area.label, pct)]
        parts.append(within(max(boxes, default=0), area.min, area.max))
    if condition.not_:
        parts.append(not all(holds(inner, seen) for inner in condition.not_))
    return all(parts)


def named(rule: Rule, seen: Detection) -> str | None:
    """The first name of the rule's own list that matched, labels before categories and measures."""
    for part in rule.conditions:
        for name in (*part.any, *part.all):
            if there(seen, name, asked_pct(part)):
                return name
    for part in rule.conditions:
        for name in part.category:
            if categorised(seen, name, asked_pct(part)):
                return name
        for measure in (part.count, part.area):
            if measure is not None and measure.min:
                return measure.label
    return None


@given(st.lists(rules, max_size=4), st.sampled_from(Verdict), detections)
@settings(max_examples=250)
def test_decisions_are_as_promised(several: list[Rule], otherwise: Verdict, seen: Detection) -> None:
    """The first rule that holds decides, with the name that made it match; else ``otherwise``."""
    expected = Decision(otherwise)
    for index, rule in enumerate(several):
        if all(holds(condition, seen) for condition in rule.conditions):
            expected = Decision(rule.verdict, index, named(rule, seen))
            break
    assert Ruleset(several, otherwise).decide(seen) == expected


@given(st.lists(rules, min_size=1, max_size=3), detections, st.randoms())
def test_the_order_of_labels_does_not_matter(several: list[Rule], seen: Detection, random: object) -> None:
    """A decision depends on the labels, not on their order in the response."""
    shuffled = list(seen.labels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random
    ruleset = Ruleset(several, Verdict.REJECT)
    assert ruleset.decide(seen) == ruleset.decide(Detection(labels=tuple(shuffled)))
