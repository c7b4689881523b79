"""Two versions compared. F1 scores of different test images do not compare the models: differences are reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from asyncfilter.custom_labels.evaluation.evaluation import Evaluation
from asyncfilter.custom_labels.evaluation.model import Truth


class LabelDelta(NamedTuple):
    """The service's F1 of one label in both versions; None where a version does not have one."""

    label: str
    f1_old: float | None
    f1_new: float | None

    @property
    def delta(self) -> float | None:
        """New less old; None where one of them is not known."""
        return difference(self.f1_old, self.f1_new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An old version and a new one.

    Attributes:
        old: The name of the old version; ``new`` alike.
        f1_old: The service's F1 over all labels; ``f1_new`` alike.
        labels: Those of the new version in its order, then those of the old one alone.
        only_old: Test images of the old version alone; ``only_new`` alike.
        relabelled: Test images of both that have other labels or boxes now.
    """

    old: str
    new: str
    f1_old: float | None
    f1_new: float | None
    labels: tuple[LabelDelta, ...]
    only_old: int
    only_new: int
    relabelled: int

    @property
    def f1_delta(self) -> float | None:
        """New less old; None where one of them is not known."""
        return difference(self.f1_old, self.f1_new)

    @property
    def test_sets_equal(self) -> bool:
        """Whether both were tested with the same images, with the same labels."""
        return not (self.only_old or self.only_new or self.relabelled)

    def differences(self) -> Iterator[str]:
        """What is different between the test images; nothing where they are the same."""
        if self.only_old:
            yield f"{self.only_old:,} test images of {self.old} are not among those of {self.new}"
        if self.only_new:
            yield f"{self.only_new:,} test images of {self.new} are not among those of {self.old}"
        if self.relabelled:
            yield f"{self.relabelled:,} test images of both have other labels or boxes now"

    def as_mapping(self) -> dict[str, object]:
        """The fields of ``--json``."""
        return {
            "old": self.old,
            "new": self.new,
            "test_sets_equal": self.test_sets_equal,
            "labels": [{**one._asdict(), "delta": one.delta} for one in self.labels],
            "f1_delta": self.f1_delta,
            "f1_old": self.f1_old,
            "f1_new": self.f1_new,
            "only_old": self.only_old,
            "only_new": self.only_new,
            "relabelled": self.relabelled,
        }


def compare(old: Evaluation, new: Evaluation) -> Comparison:
    """Compare two versions."""
    f1_old, f1_new = ({one.label: one.figures.f1 for one in evaluation.summary.labels} for evaluation in (old, new))
    old_truths, new_truths = _truths(old), _truths(new)
    return Comparison(
        old=old.name,
        new=new.name,
        f1_old=old.summary.figures.f1,
        f1_new=new.summary.figures.f1,
        labels=tuple(LabelDelta(label, f1_old.get(label), f1_new.get(label)) for label in {**f1_new, **f1_old}),
        only_old=len(old_truths.keys() - new_truths.keys()),
        only_new=len(new_truths.keys() - old_truths.keys()),
        relabelled=sum(new_truths[ref] != truths for ref, truths in old_truths.items() if ref in new_truths),
    )


def difference(old: float | None, new: float | None) -> float | None:
    """New less old; None where one of them is not known."""
    return None if old is None or new is None else new - old


def _truths(evaluation: Evaluation) -> dict[str, Counter[Truth]]:
    return {image.source_ref: Counter(image.truths) for image in evaluation.snapshot.images}
