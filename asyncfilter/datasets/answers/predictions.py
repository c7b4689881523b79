"""What the machine says about examined images, in the form of answers: verdict, score, labels to choose from, boxes."""

from __future__ import annotations

from collections.abc import Iterator

from asyncfilter.datasets.answers.label_studio_tasks import TaskPrediction
from asyncfilter.job.spec import Job, nested_conditions
from asyncfilter.model import Detection, Label, Verdict
from asyncfilter.policy.rules import compile_rules
from asyncfilter.policy.scores import score_of
from asyncfilter.records.answers import LabelledBox, PersonVerdict


def labels_to_choose(job: Job) -> tuple[str, ...]:
    """The labels that people choose from: ``review.labels``, else the names in the keep and review rules.

    Args:
        job: With names in place of references.
    """
    return job.review.labels or tuple(dict.fromkeys(_names(job)))


def _names(job: Job) -> Iterator[str]:
    for rule in job.rules:
        if rule.verdict is not Verdict.REJECT:
            for condition in nested_conditions(rule.conditions):
                yield from (*condition.any, *condition.all)
                yield from (part.label for part in (condition.count, condition.area) if part is not None)


class Predictions:
    """Makes predictions from stored labels.

    Args:
        known: The job, with names in place of references and thresholds in place of ``confidence: assumed``.
    """

    def __init__(self, known: Job) -> None:
        self._rules = compile_rules(known)
        self._scores = [score_of(rule) for rule in known.rules]
        self._labels = {label.casefold(): label for label in labels_to_choose(known)}

    def of(self, detection: Detection) -> tuple[TaskPrediction, int | None]:
        """The prediction for an image, and the number of the rule that decided, None for ``otherwise``.

        Args:
            detection: All of its labels, with boxes.
        """
        decision = self._rules.decide(detection)
        score = None if decision.rule is None else self._scores[decision.rule]
        found = [(label, chosen) for label in detection.labels for chosen in self._chosen(label)]
        prediction = TaskPrediction(
            model_version=detection.model_version,
            score_pct=None if score is None else score(self._rules.collect(detection)),
            verdict=None if decision.verdict is Verdict.REVIEW else PersonVerdict(decision.verdict.value),
            labels=tuple(dict.fromkeys(chosen for _, chosen in found)),
            boxes=tuple(box for label, chosen in found for box in _boxes(label, chosen)),
        )
        return prediction, decision.rule

    def _chosen(self, label: Label) -> Iterator[str]:
        for name in dict.fromkeys(map(str.casefold, (label.name, *label.aliases))):
            if name in self._labels:
                yield self._labels[name]


def _boxes(label: Label, chosen: str) -> Iterator[tuple[LabelledBox, float]]:
    for one in label.instances:
        box = one.box
        yield (
            LabelledBox(label=chosen, left=box.left, top=box.top, width=box.width, height=box.height),
            one.confidence_pct,
        )
