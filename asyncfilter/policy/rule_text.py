"""Rules in a few words, for people: ``Robin or Bird``, ``all of Dog, Ball and not Person``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncfilter.job.spec import Area, Condition, Count, Rule

_NAMES_SHOWN = 5


def rule_text(rule: Rule) -> str:
    """What a rule asks for, without its verdict and its confidence."""
    return _conditions_text(rule.conditions)


def _conditions_text(conditions: Sequence[Condition]) -> str:
    return " and ".join(part for condition in conditions for part in _parts(condition)) or "every image"


def _parts(condition: Condition) -> Iterator[str]:
    if condition.any:
        yield _names(condition.any, "or")
    if condition.all:
        yield _names(condition.all, "and")
    if condition.none:
        yield f"no {_names(condition.none, 'or')}"
    if condition.category:
        yield f"category {_names(condition.category, 'or')}"
    if condition.count is not None:
        yield _count(condition.count)
    if condition.area is not None:
        yield _area(condition.area)
    if condition.like:
        yield f"like {len(condition.like)} reference{'' if len(condition.like) == 1 else 's'}"
    if condition.not_:
        yield f"not ({_conditions_text(condition.not_)})"


def _names(names: Sequence[str], word: str) -> str:
    if len(names) > _NAMES_SHOWN:
        return f"{', '.join(names[: _NAMES_SHOWN - 1])} {word} {len(names) - _NAMES_SHOWN + 1} more"
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def _count(count: Count) -> str:
    if count.max is None:
        return f"at least {count.min or 0} {count.label}"
    return f"{count.min or 0} to {count.max} {count.label}"


def _area(area: Area) -> str:
    low = f"{100 * (area.min or 0):g}"
    return (
        f"{area.label} on {low} % of the picture or more"
        if area.max is None
        else f"{area.label} on {low} to {100 * area.max:g} %"
    )
