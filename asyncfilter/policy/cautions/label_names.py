"""Names in rules that no label has: compared with AWS's published list, and with the labels of the answers so far.

A detector whose labels are not published (a Custom Labels model, a detector of the caller's own) is compared with the
answers alone, once there are enough of them. No finding stops a run. One that an answer refutes is no longer reported.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from asyncfilter.job.spec import Area, Condition, Count, Job, nested_conditions
from asyncfilter.model import Label
from asyncfilter.policy.cautions.kinship import Kin, hidden_rules, kin_in_answers
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.label_list import LabelList, published_labels
from asyncfilter.records.known_model import NOTHING_KNOWN, KnownModel

FEW_ANSWERS = 50
"""Answers from which on a name that resembles one of theirs is taken for a mistake, where labels are not published."""

MANY_ANSWERS = 200
"""Answers from which on any name that none of them has is reported, where labels are not published."""

_ALIKE = 0.75
"""Similarity of two names, 0 to 1, from which on one of them is more likely a misspelling of the other."""

_LABEL, _CATEGORY, _RULE = "label", "category", "rule"

_BETWEEN = re.compile(r"\s*[,;/|&+]\s*|\s+(?:or|and)\s+", re.IGNORECASE)
"""What stands between names that were written as one."""

_NamesOf = Callable[[Condition], Iterable[str]]
"""The names of one kind in a condition."""

_Named = dict[str, tuple[str, str]]
"""By their casefolded form: names as they are spelt first, and the rules that use them."""

Findings = dict[tuple[str, str], str]
"""One sentence for each mistake, by its kind and the casefolded name, or the rule; only the key stays."""


class KnownNames(msgspec.Struct, frozen=True, kw_only=True):
    """The names in the answers so far.

    Attributes:
        labels: Names and aliases of labels, as the service writes them, by their casefolded form.
        categories: Of those labels, likewise.
        kin: What goes with a name in every answer that has it.
        boxed: Labels and aliases, casefolded, that had a box in some answer.
        answers: The number of images with an answer.
        is_own: True for a detector of the caller's own, which has names of its own.
        model: What is known about a model; its labels are all that it has.
    """

    labels: Mapping[str, str] = {}
    categories: Mapping[str, str] = {}
    kin: Kin = {}
    boxed: frozenset[str] = frozenset()
    answers: int = 0
    is_own: bool = False
    model: KnownModel = NOTHING_KNOWN


def known_names(
    labels: Iterable[Label], *, answers: int, is_own: bool, model: KnownModel = NOTHING_KNOWN
) -> KnownNames:
    """The names of ``labels``, which are those of ``answers`` images; ``model`` is what is known beside these."""
    seen = list(labels)
    return KnownNames(
        labels=_folded(name for label in seen for name in (label.name, *label.aliases)),
        categories=_folded(name for label in seen for name in label.categories),
        kin=kin_in_answers(seen),
        boxed=frozenset(name.casefold() for label in seen if label.instances for name in (label.name, *label.aliases)),
        answers=answers,
        is_own=is_own,
        model=model,
    )


def label_list_of(job: Job, *, is_own: bool) -> LabelList | None:
    """The published labels of the job's detector; None when its labels are not published."""
    return published_labels() if PROFILES[job.detector.kind].has_published_labels and not is_own else None


def name_findings(job: Job, known: KnownNames) -> Findings:
    """The names in the job's rules that are probably mistakes.

    Args:
        job: Its rules are compared.
        known: The names in the answers so far.
    """
    listed = label_list_of(job, is_own=known.is_own)
    if listed is None and known.model.labels:
        return _unknown_to_model(job, known)
    if listed is None:
        return _never_seen(job, known)
    return {
        **_unlisted_labels(_named(job, _labels_of), known, listed),
        **ignored_name_findings(job, known),
        **_unlisted_categories(_named(job, _categories_of), known, listed),
        **_without_boxes(job, known, listed),
        **{(_RULE, str(index)): told for index, told in hidden_rules(job, listed, known.kin).items()},
    }


def ignored_name_findings(job: Job, known: KnownNames) -> Findings:
    """Names under ``ignore`` that no label has; apart, since they are gone once references are replaced by names."""
    named = _named(job, _ignored_of)
    # The list is read only where there is something to look up: it takes 1.5 MB.
    listed = label_list_of(job, is_own=known.is_own) if named else None
    return {} if listed is None else _unlisted_labels(named, known, listed)


# -- Compared with the list --------------------------------------------------------------------------------------------


def _unlisted_labels(named: _Named, known: KnownNames, listed: LabelList) -> Findings:
    found: Findings = {}
    for folded, (name, rules) in named.items():
        if folded in listed.names or folded in known.labels:
            continue
        what = f"{rules}: Rekognition has no label {name!r} (AWS's list of {listed.date}), and no answer so far has it"
        if folded in listed.categories:
            what += f"; it is a category: write category: {listed.categories[folded]}"
        elif several := _several(name, listed):
            what += f"; for several labels write a list: [{', '.join(several)}]"
        else:
            what += f"; the nearest is {_nearest(folded, {**listed.names, **known.labels})!r}"
        found[_LABEL, folded] = what
    return found


def _several(name: str, listed: LabelList) -> list[str]:
    """The labels in a text such as ``Robin or Bird``; none when not every part of it is one."""
    parts = [part.casefold() for part in _BETWEEN.split(name)]
    return (
        [listed.names[part] for part in parts] if len(parts) > 1 and all(part in listed.names for part in parts) else []
    )


def _unlisted_categories(named: _Named, known: KnownNames, listed: LabelList) -> Findings:
    found: Findings = {}
    for folded, (name, rules) in named.items():
        if folded in listed.categories or folded in known.categories:
            continue
        what = f"{rules}: Rekognition has no category {name!r} (AWS's list of {listed.date})"
        if folded in listed.names:
            category = listed.category_of.get(folded)
            what += f"; it is a label{f' of the category {category!r}' if category else ''}: write any: {name}"
        else:
            what += f"; the nearest is {_nearest(folded, listed.categories)!r}"
        found[_CATEGORY, folded] = what
    return found


def _without_boxes(job: Job, known: KnownNames, listed: LabelList) -> Findings:
    """Counts and areas of labels that never have boxes; those of unknown labels are not reported twice."""
    found: Findings = {}
    for where, kind, part in _measured(job):
        folded = part.label.casefold()
        if folded in listed.names and folded not in listed.boxed | known.boxed:
            found.setdefault(
                (kind, folded),
                f"{where}: the label {part.label!r} never has boxes (AWS's list of {listed.date}), so its {kind} is "
                f"always 0, which {_at_zero(part)}",
            )
    return found


def _at_zero(part: Count | Area) -> str:
    """What follows for the condition when there are no boxes."""
    return "is never enough" if part.min else "is always within max"


# -- Compared with the evaluation of a model ---------------------------------------------------------------------------


def _unknown_to_model(job: Job, known: KnownNames) -> Findings:
    """Labels that a model does not have, and boxes of one that classifies whole images."""
    labels, found = _folded(known.model.labels), Findings()
    for folded, (name, rules) in _named(job, _labels_of).items():
        if folded not in labels and folded not in known.labels:
            nearest = _nearest(folded, labels)
            found[_LABEL, folded] = f"{rules}: the model has no label {name!r}; the nearest is {nearest!r}"
    if known.model.finds_objects is not False or known.boxed:
        return found
    for where, kind, part in _measured(job):
        found.setdefault(
            (kind, part.label.casefold()),
            f"{where}: the model classifies whole images and finds no boxes, so the {kind} of {part.label!r} is always "
            f"0, which {_at_zero(part)}",
        )
    return found


# -- Compared with the answers -----------------------------------------------------------------------------------------


def _never_seen(job: Job, known: KnownNames) -> Findings:
    """Names that no answer has; among few answers, only those that are probably misspelt."""
    if known.answers < FEW_ANSWERS:
        return {}
    found: Findings = {}
    for kind, named, seen in (
        (_LABEL, _named(job, _labels_of), known.labels),
        (_CATEGORY, _named(job, _categories_of), known.categories),
    ):
        for folded, (name, rules) in named.items():
            is_alike = bool(difflib.get_close_matches(folded, seen, n=1, cutoff=_ALIKE))
            if folded not in seen and (is_alike or known.answers >= MANY_ANSWERS):
                hint = f"; the nearest that was seen is {_nearest(folded, seen)!r}" if seen else ""
                found[kind, folded] = f"{rules}: no answer so far has the {kind} {name!r}{hint}"
    return found | _never_boxed(job, known)


def _never_boxed(job: Job, known: KnownNames) -> Findings:
    """Counts and areas of labels that answers have, when no answer has any box: the model is one of whole images."""
    found: Findings = {}
    if known.is_own:
        return found
    for where, kind, part in _measured(job):
        folded = part.label.casefold()
        if folded in known.labels and not known.boxed:
            found.setdefault(
                (kind, folded),
                f"{where}: no answer so far has a box, as those of a model that classifies whole images, so the {kind} "
                f"of {part.label!r} is always 0, which {_at_zero(part)}",
            )
    return found


# -- Both --------------------------------------------------------------------------------------------------------------


def _named(job: Job, names_of: _NamesOf) -> _Named:
    """The names of one kind in all rules."""
    spelt: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    for index, rule in enumerate(job.rules):
        for condition in nested_conditions(rule.conditions):
            for name in names_of(condition):
                folded, where = name.casefold(), f"rules[{index}] ({rule.verdict})"
                spelt.setdefault(folded, name)
                if where not in rules.setdefault(folded, []):
                    rules[folded].append(where)
    return {folded: (name, ", ".join(rules[folded])) for folded, name in spelt.items()}


def uses_boxes(job: Job) -> bool:
    """Whether a rule counts or measures instances."""
    return any(True for _ in _measured(job))


def _measured(job: Job) -> Iterator[tuple[str, str, Count | Area]]:
    """Each count and area in the rules, with its rule and its key."""
    for index, rule in enumerate(job.rules):
        for condition in nested_conditions(rule.conditions):
            for key, part in (("count", condition.count), ("area", condition.area)):
                if part is not None:
                    yield f"rules[{index}] ({rule.verdict})", key, part


def _labels_of(condition: Condition) -> Iterator[str]:
    yield from (*condition.any, *condition.all, *condition.none)
    for part in (condition.count, condition.area):
        if part is not None:
            yield part.label


def _ignored_of(condition: Condition) -> Iterator[str]:
    yield from condition.ignore


def _categories_of(condition: Condition) -> Iterator[str]:
    yield from condition.category


def _folded(names: Iterable[str]) -> dict[str, str]:
    return {name.casefold(): name for name in names}


def _nearest(folded: str, names: Mapping[str, str]) -> str:
    """Of ``names``, of which there are some: one spelt alike, else one with the same words, else the most similar."""
    close = difflib.get_close_matches(folded, names, n=5, cutoff=_ALIKE)
    close.sort(key=lambda name: sorted(name) != sorted(folded))  # exchanged letters are the likeliest mistake
    words = set(folded.split())
    wider = sorted((name for name in names if words <= set(name.split())), key=len)
    # Only last without a bound: every name is compared in full then.
    return names[(close or wider or difflib.get_close_matches(folded, names, n=1, cutoff=0.0))[0]]
