"""Rules that can never match, match everything, or ask for something else than was probably meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from asyncfilter.job.spec import Area, Assumed, Condition, Count, Job, nested_conditions
from asyncfilter.model import Detection, Verdict
from asyncfilter.policy.assumed import has_unknown_thresholds
from asyncfilter.policy.cautions.rule_logic import Follows, RuleLogic
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.rules import compile_rules

_LEAST_OWN_PCT = 0.5
_FEW_LABELS = 5
"""Below this many labels an image's specific ones are often cut off, since ancestors (Animal, Bird) count too."""


class Reachable:
    """The rules of a job that can decide an image, as far as logic tells.

    Args:
        job: The job.
        follows: As for ``RuleLogic``.

    Attributes:
        cautions: Why the others cannot, one sentence each.
        reasons: Those about a rule that can never match, by its index.
        deciding: Indexes of the rules that can.
        verdicts: What images can get.
    """

    def __init__(self, job: Job, follows: Follows = lambda _: ()) -> None:
        self._job = job
        self._logic = RuleLogic(job, follows)
        self.reasons: dict[int, str] = {}
        self.deciding: list[int] = []
        self.cautions: list[str] = []
        for index in range(len(job.rules)):
            if not self._look_at(index):
                break
        self.verdicts = {job.rules[index].verdict for index in self.deciding}
        if self._logic.can_all_fail(self.deciding):
            self.verdicts.add(job.otherwise)

    def _look_at(self, index: int) -> bool:
        """Find out what a rule can decide; False when the rules after it can decide nothing, whatever they are."""
        if why := self._why_not(index):
            self.reasons[index] = f"{self._named(index)} can never match: {why}"
            self.cautions.append(self.reasons[index])
            return True
        self.deciding.append(index)
        is_last = index + 1 == len(self._job.rules)
        if is_last or self._logic.can_all_fail([index]):
            return True
        self.cautions.append(f"{self._named(index)} matches every image: no rule after it can decide one")
        return False

    def _why_not(self, index: int) -> str | None:
        """Why a rule can decide no image; None when it may."""
        if not self._logic.can_match(index):
            return self._contradiction(index)
        earlier = self._enough_to_cover(index)
        if not earlier:
            return None
        if len(earlier) == 1:
            other = earlier[0]
            return (
                f"{self._named(other)} comes first and matches every image that it would match; "
                f"put it before rules[{other}], or make rules[{other}] ask for more"
            )
        names = ", ".join(f"rules[{other}]" for other in earlier[:-1])
        return f"{names} and rules[{earlier[-1]}] come first and together match every image that it would match"

    def _enough_to_cover(self, index: int) -> list[int]:
        """Earlier rules that leave nothing for a rule: one where one is enough; empty when it can decide an image."""
        if self._logic.can_match(index, after=self.deciding):
            return []
        for other in self.deciding:
            if not self._logic.can_match(index, after=[other]):
                return [other]
        needed = list(self.deciding)
        for other in self.deciding:
            rest = [one for one in needed if one != other]
            if not self._logic.can_match(index, after=rest):
                needed = rest
        return needed

    def _contradiction(self, index: int) -> str:
        wants_category = any(condition.category for condition in self._job.rules[index].conditions)
        if wants_category and not PROFILES[self._job.detector.kind].has_categories:
            return "the labels of a Custom Labels model belong to no category"
        return "its conditions exclude each other"

    def _named(self, index: int) -> str:
        return f"rules[{index}] ({self._job.rules[index].verdict})"


def one_verdict(reachable: Reachable) -> Iterator[str]:
    """A job that gives every image the same verdict."""
    if len(reachable.verdicts) == 1 and not reachable.cautions:
        (verdict,) = reachable.verdicts
        yield f"every image gets the verdict {verdict}, whatever it shows: no rule leads to another, nor does otherwise"


def open_areas(job: Job) -> Iterator[str]:
    """A rule that keeps small objects, and with them every image that shows none."""
    conditions = [condition for rule in job.rules for condition in nested_conditions(rule.conditions)]
    if any(condition.like for condition in conditions) or has_unknown_thresholds(job):
        return  # what these need is not known yet
    decided = compile_rules(job).decide(Detection(()))
    if decided.rule is None or decided.verdict is not Verdict.KEEP:
        return
    rule = job.rules[decided.rule]
    for area in (condition.area for condition in rule.conditions):
        if area is not None and not area.min and area.max:
            yield (
                f"rules[{decided.rule}] ({rule.verdict}) has area: {{label: {area.label}, max: {area.max:g}}}, which "
                f"holds for every image without {area.label} as well; if one is meant to be there, add any: "
                f"{area.label}"
            )


def odd_conditions(job: Job) -> Iterator[str]:
    """Thresholds and numbers that are allowed but seldom meant; one sentence a rule and kind."""
    for index, rule in enumerate(job.rules):
        conditions = tuple(nested_conditions(rule.conditions))
        for sentences in (
            _confidences(job, conditions),
            _no_limits(conditions),
            _repeated_names(conditions),
            _too_many_labels(job, conditions),
            _measures(conditions),
        ):
            yield from (f"rules[{index}] ({rule.verdict}) {sentence}" for sentence in sentences)


def _confidences(job: Job, conditions: Sequence[Condition]) -> Iterator[str]:
    given = [condition.confidence_pct for condition in conditions]
    written = [pct for pct in given if not isinstance(pct, Assumed)]
    assumed = [pct for one in given if isinstance(one, Assumed) for _, pct in one.thresholds_pct or ()]
    asked = [*written, *assumed]
    least_pct = job.detector.min_confidence_pct
    fractions = [pct for pct in written if 0 < pct <= 1]
    if fractions:
        pct = fractions[0]
        meant = f"for {pct:.0%} write {100 * pct:g}" if pct < 1 else "for nearly certain labels write 99"
        yield f"has confidence: {pct:g}, which is {pct:g} percent, nearly no limit; {meant}"
    elif min(asked, default=least_pct) < least_pct:
        yield (
            f"needs labels from confidence {min(asked):g} on, but with detector.min_confidence: {least_pct:g} the "
            "service leaves out those below it, for this rule and for any later one"
        )
    if any(pct >= 100 for pct in written):
        yield "has confidence: 100, which only labels without any doubt reach; for nearly certain ones write 99"


def _no_limits(conditions: Sequence[Condition]) -> Iterator[str]:
    """A confidence of 0, unless it is that of ``none``, where it is the strictest one and may be meant."""
    if any(condition.confidence_pct == 0 and (condition.any or condition.all) for condition in conditions):
        yield "has confidence: 0, which any label reaches, however unsure; leave it out for the default"


def _repeated_names(conditions: Sequence[Condition]) -> Iterator[str]:
    """A list that has a name twice probably lacks another one."""
    for condition in conditions:
        for key, names in (("any", condition.any), ("all", condition.all), ("none", condition.none)):
            counts = Counter(name.casefold() for name in names)
            if repeated := [name for name in names if counts[name.casefold()] > 1]:
                shown = ", ".join(dict.fromkeys(repeated))
                yield f"has one label more than once in {key} ({shown}): upper and lower case make no difference"


def _too_many_labels(job: Job, conditions: Sequence[Condition]) -> Iterator[str]:
    most = job.detector.max_labels
    wanted = max((len({name.casefold() for name in condition.all}) for condition in conditions), default=0)
    if wanted > most:
        yield f"needs {wanted} labels at once (all), but detector.max_labels: {most} keeps only the {most} surest"


def _measures(conditions: Sequence[Condition]) -> Iterator[str]:
    for condition in conditions:
        for name, part in (("count", condition.count), ("area", condition.area)):
            if part is not None and not part.min and part.max is None:
                yield f"has {name}: {_shown(part)}, which holds for every image, also without {part.label}"
        if condition.area is not None and condition.area.min is not None and condition.area.min >= 1:
            yield (
                f"has area: {_shown(condition.area)}, which asks for a {condition.area.label} that covers the whole "
                "image; one percent is 0.01"
            )


def _shown(part: Count | Area) -> str:
    return f"{{label: {part.label}, min: {part.min:g}}}"


def few_labels(job: Job) -> Iterator[str]:
    """A detector that is asked for very few labels."""
    most = job.detector.max_labels
    if most < _FEW_LABELS and PROFILES[job.detector.kind].has_categories:
        yield (
            f"detector.max_labels: {most} keeps only the surest labels of an image, which are often the general ones "
            "(Animal, Nature): rules miss the others, and they cannot be had later without paying again"
        )


def least_confidence(job: Job) -> Iterator[str]:
    """A detector threshold that was probably meant as a fraction."""
    pct = job.detector.min_confidence_pct
    # Half a percent is the default of a model of one's own.
    if 0 < pct <= 1 and (pct != _LEAST_OWN_PCT or job.detector.own is None):
        yield f"detector.min_confidence: {pct:g} is {pct:g} percent; for {pct:.0%} write {100 * pct:g}"
