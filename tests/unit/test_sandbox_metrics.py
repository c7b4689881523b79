"""Figures of the sandbox's trained models, and how they are chosen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.sandbox.custom_labels.metrics import Scored, confusion, label_metrics, means

SCORED = st.lists(st.builds(Scored, st.integers(0, 20).map(lambda number: number / 20), st.booleans()), max_size=30)


def figures_at(scored: list[Scored], truths: int, threshold: float) -> tuple[float, float, float]:
    """Precision, recall and F1 at a threshold, counted one by one."""
    found = [row for row in scored if row.confidence >= threshold]
    right = sum(row.is_right for row in found)
    if not right:
        return 0.0, 0.0, 0.0
    precision, recall = right / len(found), right / truths
    return precision, recall, 2 * precision * recall / (precision + recall)


@given(SCORED, st.integers(0, 5))
def test_the_threshold_gives_the_best_f1(scored: list[Scored], missed: int) -> None:
    """No other threshold is better, and the figures are those at the threshold."""
    truths = sum(row.is_right for row in scored) + missed
    found = label_metrics("a", scored, truths, truths)
    at_threshold = figures_at(scored, truths, found.threshold)
    if found.f1:
        assert (found.precision, found.recall, found.f1) == pytest.approx(at_threshold)
    best = max((figures_at(scored, truths, row.confidence)[2] for row in scored), default=0.0)
    assert found.f1 == pytest.approx(best)
    assert 0 <= found.average_precision <= 1
    assert 0 <= found.threshold <= 1


def test_a_threshold_lies_between_what_is_found_and_what_is_not() -> None:
    """So that an image a little less sure than those of the test is still found."""
    rows = [Scored(0.9, is_right=True), Scored(0.8, is_right=True), Scored(0.2, is_right=False)]
    assert label_metrics("a", rows, 2, 2).threshold == 0.5
    assert label_metrics("a", [], 0, 0)[1:5] == (0, 0, 0, 0.5)


def test_figures_of_a_model_are_means_over_tested_labels() -> None:
    """As in the guide's example; a label that no test image has does not count."""
    labels = [
        label_metrics("cap", [Scored(0.9, is_right=True)], 1, 1),
        label_metrics("watch", [Scored(0.9, is_right=False)], 1, 1),
        label_metrics("shoe", [], 0, 0),
    ]
    assert means(labels)[:3] == (0.5, 0.5, 0.5)


def test_confusion_is_told_by_truth() -> None:
    """The share of the images of one label in which each label is found."""
    truths = [frozenset({"cap"}), frozenset({"cap"}), frozenset({"watch"})]
    found = [{"cap": 0.9, "watch": 0.6}, {"cap": 0.8, "watch": 0.1}, {"cap": 0.1, "watch": 0.2}]
    assert confusion(truths, found, {"cap": 0.5, "watch": 0.5}) == [("cap", "cap", 1.0), ("cap", "watch", 0.5)]
