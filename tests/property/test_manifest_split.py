"""Every split of a manifest: nothing is lost, groups do not part, labels are on both sides in proportion."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.datasets.manifests.splitting import Splitter
from asyncfilter.errors import DataError
from tests.kit.manifests import encoded, image_line, ref

SHARES = st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.8])
SINGLE = st.lists(st.sampled_from("abcdef"), min_size=2, max_size=60).map(lambda names: [[name] for name in names])


class Split:
    """A split, and the labels of its lines."""

    def __init__(
        self, labels: list[list[str]], *, share: float, seed: int = 0, groups: list[int] | None = None
    ) -> None:
        self.labels = labels
        self.lines = [
            encoded(image_line(*names, source_ref=ref(index)) if names else {"source-ref": ref(index)}) + b"\n"
            for index, names in enumerate(labels)
        ]
        splitter = Splitter(io.BytesIO(b"".join(self.lines)), seed=seed, skips_invalid=False)
        if groups is not None:
            splitter.read_groups((f"{ref(index)},{group}\n" for index, group in enumerate(groups)), file="g")
        splitter.divide(share=share)
        train, test = io.BytesIO(), io.BytesIO()
        splitter.write(train, test)
        self.counts = splitter.counts
        self.train, self.test = (out.getvalue().splitlines(keepends=True) for out in (train, test))
        self.in_test = [line in set(self.test) for line in self.lines]

    def label_counts(self) -> Iterator[tuple[str, int, int]]:
        """Each label, its images, and those in the test."""
        images, tested = Counter[str](), Counter[str]()
        for names, in_test in zip(self.labels, self.in_test, strict=True):
            images.update(names)
            tested.update(names if in_test else [])
        for name, number in images.items():
            assert self.counts.labels[name] == (number - tested[name], tested[name])
            yield name, number, tested[name]

    def check_lines(self) -> None:
        """Each line is on one side, in order."""
        assert [line for line, in_test in zip(self.lines, self.in_test, strict=True) if in_test] == self.test
        assert [line for line, in_test in zip(self.lines, self.in_test, strict=True) if not in_test] == self.train
        assert (self.counts.train, self.counts.test) == (len(self.train), len(self.test))


def made(*arguments: Any, **options: Any) -> Split | None:
    """A split; None when no image can go to the test."""
    try:
        return Split(*arguments, **options)
    except DataError:
        return None


@given(labels=SINGLE, share=SHARES, seed=st.integers(0, 3))
@settings(deadline=None, max_examples=150)
def test_one_label_an_image(labels: list[list[str]], share: float, seed: int) -> None:
    """Within one image of the share, and at least one on each side."""
    done = made(labels, share=share, seed=seed)
    if done is None:
        assert max(Counter(names[0] for names in labels).values()) == 1
        return
    done.check_lines()
    for _, images, tested in done.label_counts():
        assert abs(tested - share * images) <= 1
        assert tested == 0 if images == 1 else 0 < tested < images


def test_several_labels_an_image() -> None:
    """Within two images, or 5 %, of the share, for labels of any frequency and for labels that come together."""
    for seed in range(12):
        chance = random.Random(seed)
        names = [f"l{index}" for index in range(chance.choice([3, 10, 40]))]
        weights = [1 / (index + 1) for index in range(len(names))]
        labels = [
            list(dict.fromkeys(chance.choices(names, weights, k=chance.randint(0, 5))))
            for _ in range(chance.choice([60, 400, 1500]))
        ]
        share = chance.choice([0.1, 0.2, 0.5])
        done = Split(labels, share=share, seed=seed)
        done.check_lines()
        assert not any(in_test for names_, in_test in zip(labels, done.in_test, strict=True) if not names_)
        for name, images, tested in done.label_counts():
            if images > 1:
                assert 0 < tested < images, (seed, name)
                assert abs(tested - share * images) <= max(2, 0.05 * images), (seed, name)


def test_as_even_as_the_peer() -> None:
    """The package iterative-stratification (Sechidis 2011) parts the same images no more evenly, by half an image."""
    peer = pytest.importorskip("iterstrat.ml_stratifiers", reason="iterative-stratification is not installed")
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    for seed in range(8):
        chance = random.Random(seed)
        names = [f"l{index}" for index in range(chance.choice([3, 10, 40]))]
        weights = [1 / (index + 1) for index in range(len(names))]
        labels = [
            list(dict.fromkeys(chance.choices(names, weights, k=chance.randint(1, 5))))
            for _ in range(chance.choice([60, 400, 1500]))
        ]
        share = chance.choice([0.1, 0.2, 0.5])
        ours = [
            abs(tested - share * images) for _, images, tested in Split(labels, share=share, seed=seed).label_counts()
        ]
        has = numpy.array([[name in found for name in names] for found in labels], dtype=int)
        splitter = peer.MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
        _, test = next(splitter.split(has, has))
        theirs = abs(has[test].sum(axis=0) - share * has.sum(axis=0))
        assert max(ours) <= theirs.max() + 0.5
        assert sum(ours) / len(ours) <= theirs.mean() + 0.25


@given(
    labels=st.lists(st.lists(st.sampled_from("abcd"), max_size=3, unique=True), min_size=2, max_size=40),
    share=SHARES,
    data=st.data(),
)
@settings(deadline=None, max_examples=100)
def test_groups_do_not_part(labels: list[list[str]], share: float, data: st.DataObject) -> None:
    """Groups are on one side; a label that is on one side is told."""
    groups = data.draw(st.lists(st.integers(0, 8), min_size=len(labels), max_size=len(labels)))
    done = made(labels, share=share, groups=groups)
    if done is None:
        return
    done.check_lines()
    sides: dict[int, set[bool]] = {}
    for group, in_test in zip(groups, done.in_test, strict=True):
        sides.setdefault(group, set()).add(in_test)
    assert all(len(found) == 1 for found in sides.values())
    for name, images, tested in done.label_counts():
        if images > 1 and tested in {0, images}:
            assert name in [*done.counts.undivided, *done.counts.one_sided]


def test_groups_of_one_label_are_divided() -> None:
    """Whenever two groups have a label, it is on both sides, if every image has one label."""
    for seed in range(20):
        chance = random.Random(seed)
        labels = [[chance.choice("abcde")] for _ in range(200)]
        groups = [10 * ord(names[0]) + chance.randint(0, 5) for names in labels]
        done = Split(labels, share=0.2, seed=seed, groups=groups)
        assert all(0 < tested < images for _, images, tested in done.label_counts())


def test_order_of_lines_does_not_matter_to_chance() -> None:
    """The seed and the address decide, so that a line more does not mix all others anew."""
    labels = [["a"] for _ in range(200)]
    few, many = Split(labels, share=0.2), Split([*labels, ["b"]], share=0.2)
    assert few.in_test == many.in_test[:200]
