"""Common labels of reference images: from the labels of a few good images to the names in a rule.

A label is too general to select by when it is an ancestor of another label of the references, or on a short list of
names that only describe the setting of an image. A reference without a more specific label keeps its most specific
ones, except those on the list. So the resulting rule matches every reference, or the result names those it does not
match.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from asyncfilter import notebook
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Assumed, Condition, Job, Rule, nested_conditions
from asyncfilter.model import Detection, Label
from asyncfilter.policy.assumed import limited

GENERAL = frozenset(
    {"animal", "indoors", "landscape", "nature", "outdoors", "photo", "photography", "plant", "scenery", "vegetation"}
)
"""Names, casefolded, that nearly every photograph of some kind has; no rule should select by them."""

SHOWN = 15
"""How many labels of one image a notebook shows."""


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """Labels of reference images.

    Attributes:
        labels: By address, in the order of the request.
        calls: Images that had to be paid for, for ``spent_micros``; the others were stored already.
    """

    labels: dict[str, Detection]
    calls: int
    spent_micros: int

    def _repr_html_(self) -> str:
        """For notebooks: the surest labels of each image."""
        rows = [
            (
                uri,
                ", ".join(f"{label.name} {label.confidence_pct:.1f} %" for label in one.labels[:SHOWN]) or "no labels",
            )
            for uri, one in self.labels.items()
        ]
        return notebook.table(f"{len(rows):,} images, {notebook.usd(self.spent_micros)} for {self.calls:,} calls", rows)


class SharedLabel(msgspec.Struct, frozen=True, kw_only=True):
    """One label of the references.

    Attributes:
        images: In how many references its confidence is high enough.
        least_pct: Its lowest confidence among those; ``most_pct`` its highest.
        boxes: Its boxes in all of them.
        why_not: Why a rule should not name it; None for one that it names.
    """

    name: str
    images: int
    least_pct: float
    most_pct: float
    boxes: int
    why_not: str | None


class CommonLabels(msgspec.Struct, frozen=True, kw_only=True):
    """The labels that references have in common.

    Attributes:
        labels: All with enough confidence, those of most references first, then by falling confidence.
        names: Of these, the ones for a rule, in that order.
        unlike: References that no such name matches.
    """

    labels: tuple[SharedLabel, ...]
    names: tuple[str, ...]
    unlike: tuple[str, ...]


def common_labels(
    references: Mapping[str, Detection], confidence_pct: float | Assumed, ignore: Collection[str] = ()
) -> CommonLabels:
    """Compare references.

    Args:
        references: Labels by the reference's address.
        confidence_pct: What a label must reach in an image to count there; one without a threshold does not count.
        ignore: Names that are never selected by.
    """
    ignored = {name.casefold() for name in ignore}
    asked = Condition(confidence_pct=confidence_pct)
    hits = {uri: _hits(detection, asked) for uri, detection in references.items()}
    child_of = _children(label for labels in hits.values() for label in labels)
    found: dict[str, list[Label]] = {}
    for labels in hits.values():
        for label in labels:
            found.setdefault(label.name, []).append(label)
    why_not = {name: _why_not(name, child_of, ignored) for name in found}
    for labels in hits.values():
        if not any(why_not[label.name] is None for label in labels):
            for name in _most_specific(labels, ignored):
                why_not[name] = None
    shared = [_shared(name, labels, why_not[name]) for name, labels in found.items()]
    shared.sort(key=lambda label: (-label.images, -label.most_pct, label.name))
    return CommonLabels(
        labels=tuple(shared),
        names=tuple(label.name for label in shared if label.why_not is None),
        unlike=tuple(uri for uri, labels in hits.items() if not any(why_not[label.name] is None for label in labels)),
    )


def _hits(detection: Detection, asked: Condition) -> list[Label]:
    least = [(label, asked.least_pct(label.name)) for label in detection.labels]
    return [label for label, pct in least if pct is not None and label.confidence_pct >= pct]


def _children(labels: Iterable[Label]) -> dict[str, str]:
    """By the name of an ancestor, casefolded, one label below it."""
    return {parent.casefold(): label.name for label in labels for parent in label.parents}


def _why_not(name: str, child_of: Mapping[str, str], ignored: Collection[str]) -> str | None:
    folded = name.casefold()
    if folded in ignored:
        return "ignored"
    if folded in child_of:
        return f"above {child_of[folded]}"
    return "too general" if folded in GENERAL else None


def _most_specific(labels: Iterable[Label], ignored: Collection[str]) -> Iterator[str]:
    """Labels of one image that are not ancestors of another one of it."""
    own = list(labels)
    above = _children(own)
    for label in own:
        folded = label.name.casefold()
        if folded not in above and folded not in GENERAL and folded not in ignored:
            yield label.name


def _shared(name: str, labels: list[Label], why_not: str | None) -> SharedLabel:
    percents = [label.confidence_pct for label in labels]
    return SharedLabel(
        name=name,
        images=len(labels),
        least_pct=min(percents),
        most_pct=max(percents),
        boxes=sum(len(label.instances) for label in labels),
        why_not=why_not,
    )


# -- In a job ----------------------------------------------------------------------------------------------------------


def references_of(job: Job) -> tuple[str, ...]:
    """Addresses of all references that the job's rules name, each once."""
    named = (uri for rule in job.rules for condition in nested_conditions(rule.conditions) for uri in condition.like)
    return tuple(dict.fromkeys(named))


def resolved(job: Job, references: Mapping[str, Detection]) -> Job:
    """The job with its references replaced by names.

    Args:
        job: Its rules may name references.
        references: Labels by address.

    Raises:
        UsageError: The labels of a reference are not known, or contain no name to select by.
    """
    return dataclasses.replace(
        job, rules=tuple(_resolved_rule(index, rule, references) for index, rule in enumerate(job.rules))
    )


def names_of(job: Job, references: Mapping[str, Detection]) -> Iterator[tuple[int, Rule, list[str], list[str]]]:
    """For each rule with references: its index, the rule, the names that replace them, and their addresses."""
    for index, rule in enumerate(job.rules):
        like = [condition for condition in nested_conditions(rule.conditions) if condition.like]
        if like:
            names = [name for condition in like for name in _names(condition, references, f"rules[{index}]")]
            uris = [uri for condition in like for uri in condition.like]
            yield index, rule, list(dict.fromkeys(names)), list(dict.fromkeys(uris))


def _resolved_rule(index: int, rule: Rule, references: Mapping[str, Detection]) -> Rule:
    where = f"rules[{index}].{rule.verdict}.like"
    return dataclasses.replace(rule, conditions=_resolved_conditions(rule.conditions, references, where))


def _resolved_conditions(
    conditions: Iterable[Condition], references: Mapping[str, Detection], where: str
) -> tuple[Condition, ...]:
    """Each condition without its references, and an added one with the names that replace them."""
    found = []
    for condition in conditions:
        plain = dataclasses.replace(
            condition, like=(), ignore=(), not_=_resolved_conditions(condition.not_, references, where)
        )
        if condition.like:
            names = _names(condition, references, where)
            found.append(limited(Condition(any=names, confidence_pct=condition.confidence_pct)))
        if plain != Condition(confidence_pct=condition.confidence_pct) or not condition.like:
            found.append(limited(plain))
    return tuple(found)


def _names(condition: Condition, references: Mapping[str, Detection], where: str) -> tuple[str, ...]:
    unknown = [uri for uri in condition.like if uri not in references]
    if unknown:
        raise UsageError(
            f"{where}: the labels of {', '.join(unknown)} are not known yet, and nothing is paid for here",
            hint="Run the job once (asyncfilter run): it examines the references first.",
        )
    shared = common_labels({uri: references[uri] for uri in condition.like}, condition.confidence_pct, condition.ignore)
    if shared.unlike:
        at = _shown(condition.confidence_pct)
        raise UsageError(
            f"{where}: no label of {', '.join(shared.unlike)} is specific enough, at {at}",
            hint="Show its labels with `asyncfilter labels`; lower confidence, ignore less, or name labels with any.",
        )
    return shared.names


def _shown(confidence_pct: float | Assumed) -> str:
    return "its assumed threshold" if isinstance(confidence_pct, Assumed) else f"{confidence_pct:g} %"
