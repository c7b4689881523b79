"""What is written about an examined image: what people say about it before what the detector has found.

Labels and boxes are each the person's own where something is said about them, also when that is "none". A verdict
alone, without labels, confirms the label of the rule where the rules were for it too, or left the image to people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from asyncfilter.datasets.manifests.run_labels import Choice, ChosenLabel
from asyncfilter.model import Box, Verdict
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict
from asyncfilter.records.images import StoredImage

_CERTAIN_PCT = 100.0
_DECIDED = frozenset({CurrentVerdict.KEEP, CurrentVerdict.REJECT})


class ChosenBox(NamedTuple):
    """One box of an image, in fractions of it."""

    label: str
    box: Box
    confidence_pct: float


class SaidOfImage(NamedTuple):
    """The labels and boxes that a line has.

    Attributes:
        labels_by_people: Whether a person gave or confirmed the labels.
        boxes_by_people: Whether a person drew the boxes.
    """

    labels: Sequence[ChosenLabel]
    boxes: Sequence[ChosenBox]
    labels_by_people: bool = False
    boxes_by_people: bool = False


def is_reviewed(image: StoredImage) -> bool:
    """Whether people gave a verdict, labels or boxes."""
    answer = image.answer
    return answer is not None and any(part is not None for part in (answer.verdict, answer.labels, answer.boxes))


class People:
    """What people say, as far as it is wanted.

    Args:
        names: The labels that may be written, as they are written; None for any.
        confirms: Whether a verdict alone confirms the label of the rule: only where that is what is chosen.
        only_people: Whether boxes of the detector are left out.
    """

    def __init__(self, *, names: Sequence[str] | None = None, confirms: bool, only_people: bool = False) -> None:
        self._names = None if names is None else {name.casefold(): name for name in reversed(names)}
        self._confirms, self._only_people = confirms, only_people

    def before(self, image: StoredImage, choice: Choice) -> SaidOfImage:
        """The labels and boxes of an image: a person's, else those of ``choice``."""
        answer = image.answer
        found = () if self._is_contradicted(image) else choice(image)
        labels, boxes = found, [] if self._only_people else _instances(found)
        if answer is None:
            return SaidOfImage(labels, boxes)
        if answer.labels is not None:
            named = dict.fromkeys(name for label in answer.labels if (name := self._written(label)) is not None)
            labels = tuple(_confirmed(name) for name in named)
        elif answer.verdict in _DECIDED:
            labels = tuple(_confirmed(label.name) for label in found)
        return SaidOfImage(
            labels=labels,
            boxes=boxes if answer.boxes is None else self._drawn(answer),
            labels_by_people=answer.labels is not None or answer.verdict in _DECIDED,
            boxes_by_people=answer.boxes is not None,
        )

    def rejected(self, image: StoredImage, label: str) -> SaidOfImage:
        """A rejected image under the label of all of them."""
        is_decided = image.answer is not None and image.answer.verdict in _DECIDED
        return SaidOfImage([ChosenLabel(label, _CERTAIN_PCT)], [], labels_by_people=is_decided)

    def _is_contradicted(self, image: StoredImage) -> bool:
        """Whether a person's verdict is against what the label of the rule was for."""
        decision = image.decision
        if not self._confirms or decision is None or decision.ruled is None or decision.verdict is decision.ruled:
            return False
        return not (decision.verdict is Verdict.KEEP and decision.ruled is Verdict.REVIEW)

    def _written(self, label: str) -> str | None:
        """A person's label as it is written; None when it is not wanted."""
        return label if self._names is None else self._names.get(label.casefold())

    def _drawn(self, answer: CurrentAnswer) -> list[ChosenBox]:
        return [
            ChosenBox(name, Box(one.left, one.top, one.width, one.height), _CERTAIN_PCT)
            for one in answer.boxes or ()
            if (name := self._written(one.label)) is not None
        ]


def _confirmed(name: str) -> ChosenLabel:
    return ChosenLabel(name, _CERTAIN_PCT)


def _instances(labels: Sequence[ChosenLabel]) -> list[ChosenBox]:
    """The boxes that the detector has found, each with its own confidence."""
    return [
        ChosenBox(label.name, instance.box, instance.confidence_pct) for label in labels for instance in label.instances
    ]
