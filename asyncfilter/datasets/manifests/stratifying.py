"""A division of images into training and test, so that every label is in both in the same proportion.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011): the label with the fewest images left is dealt out
first, each image to the side that lacks that label most. Images that must not part are one unit. What the method leaves
beyond the tolerance is put right by moving and exchanging single units.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from math import floor

_MISSING = 10_000.0
"""Cost of a label that is on one side only although it could be on both."""
_RARE_IN_TEST = 1_000.0
"""Cost of a label in the test that is not in the training."""
_BEYOND = 10.0
"""Cost of one image beyond the tolerance."""

_MOST_ROUNDS = 20
_MOST_MOVES = 2_000
_MOST_FIRST = 32
_MOST_SECOND = 256


class Units:
    """What is divided: sets of images, each with the number of its images that have each label.

    Attributes:
        images: For each label, from 0, the images that have it.
        units: For each label, the units that have it, in the order in which they were added.
    """

    def __init__(self, labels: int) -> None:
        self.images = [0] * labels
        self.units = [array("I") for _ in range(labels)]
        self._starts, self._labels, self._weights = array("Q", [0]), array("I"), array("I")

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add(self, counts: Mapping[int, int]) -> None:
        """Add a unit; the order decides between units that are equal otherwise."""
        unit = len(self)
        for label, images in counts.items():
            self._labels.append(label)
            self._weights.append(images)
            self.images[label] += images
            self.units[label].append(unit)
        self._starts.append(len(self._labels))

    def counts(self, unit: int) -> Iterator[tuple[int, int]]:
        """The labels of a unit with the number of its images that have each."""
        start, end = self._starts[unit], self._starts[unit + 1]
        return zip(self._labels[start:end], self._weights[start:end], strict=True)

    def is_whole(self, label: int) -> bool:
        """Whether one unit has all images of a label."""
        return len(self.units[label]) == 1


class Division:
    """Divides units.

    Args:
        units: In the order of chance.
        share: Of the test, above 0 and below 1.
        is_single: Whether no image has several labels, so that shares can be met within one image.

    Attributes:
        is_test: For each unit whether it is in the test; those without labels are not.
        in_test: For each label its images in the test.
    """

    def __init__(self, units: Units, *, share: float, is_single: bool) -> None:
        self._units, self._share, self._is_single = units, share, is_single
        labels = range(len(units.images))
        self._targets = [self._target(label) for label in labels]
        self.is_test = bytearray(len(units))
        self.in_test = [0] * len(labels)
        self._deal()
        self._put_right()

    def _target(self, label: int) -> int:
        images = self._units.images[label]
        if images < 2 or self._units.is_whole(label):
            return 0
        return min(max(floor(self._share * images + 0.5), 1), images - 1)

    # -- The first division --------------------------------------------------------------------------------------------

    def _deal(self) -> None:
        units = self._units
        left = [len(of_label) for of_label in units.units]
        wanted_test = list(self._targets)
        wanted_train = [images - target for images, target in zip(units.images, self._targets, strict=True)]
        is_dealt = bytearray(len(units))
        total_test, total_train = sum(wanted_test), sum(wanted_train)
        heap = [(number, label) for label, number in enumerate(left) if number]
        heapq.heapify(heap)
        while heap:
            number, label = heapq.heappop(heap)
            if number != left[label] or not number:
                continue  # an entry that a later one replaced
            changed: set[int] = set()
            for unit in units.units[label]:
                if is_dealt[unit]:
                    continue
                is_dealt[unit] = 1
                lacks = wanted_test[label] - wanted_train[label] or total_test - total_train
                wanted = wanted_test if lacks > 0 else wanted_train
                self.is_test[unit] = lacks > 0
                for other, images in units.counts(unit):
                    wanted[other] -= images
                    left[other] -= 1
                    changed.add(other)
                    if lacks > 0:
                        self.in_test[other] += images
                        total_test -= images
                    else:
                        total_train -= images
            for other in changed:
                if left[other]:
                    heapq.heappush(heap, (left[other], other))

    # -- Corrections ---------------------------------------------------------------------------------------------------

    def _put_right(self) -> None:
        """Move and exchange units while that mends a label."""
        for _ in range(_MOST_ROUNDS):
            bad = [label for label in range(len(self._targets)) if self._is_bad(label)]
            if not sum(self._mend(label) for label in bad):
                return

    def _is_bad(self, label: int) -> bool:
        return self._cost(label, self.in_test[label]) >= _BEYOND / 100

    def _mend(self, label: int) -> bool:
        """Bring one label nearer to its share; returns whether anything was moved."""
        is_moved = False
        for _ in range(_MOST_MOVES):
            if not self._is_bad(label) or not (self._move_one(label) or self._exchange(label)):
                break
            is_moved = True
        return is_moved

    def _movable(self, label: int) -> list[tuple[float, int]]:
        """Units whose move brings a label nearer to its share, the best first, with what a move costs."""
        to_test = self.in_test[label] < self._targets[label]
        units = (unit for unit in self._units.units[label] if self.is_test[unit] != to_test)
        return sorted((self._change([unit]), unit) for unit in islice(units, _MOST_MOVES))

    def _move_one(self, label: int) -> bool:
        best = next(iter(self._movable(label)), None)
        if best is None or best[0] >= 0:
            return False
        self._move([best[1]])
        return True

    def _exchange(self, label: int) -> bool:
        """Move one unit, and another the other way round that makes up for it."""
        for _, unit in self._movable(label)[:_MOST_FIRST]:
            others = dict.fromkeys(
                other
                for shared, _ in self._units.counts(unit)
                if shared != label
                for other in islice(self._opposite(shared, unit), _MOST_SECOND)
            )
            change, other = min(((self._change([unit, other]), other) for other in others), default=(0.0, 0))
            if change < 0:
                self._move([unit, other])
                return True
        return False

    def _opposite(self, label: int, unit: int) -> Iterable[int]:
        side = self.is_test[unit]
        return (other for other in self._units.units[label] if self.is_test[other] != side)

    def _change(self, moved: list[int]) -> float:
        """What the cost of all labels changes by when units move to the other side."""
        changes: dict[int, int] = {}
        for unit in moved:
            for label, images in self._units.counts(unit):
                changes[label] = changes.get(label, 0) + (-images if self.is_test[unit] else images)
        return sum(
            self._cost(label, self.in_test[label] + change) - self._cost(label, self.in_test[label])
            for label, change in changes.items()
        )

    def _move(self, moved: list[int]) -> None:
        for unit in moved:
            for label, images in self._units.counts(unit):
                self.in_test[label] += -images if self.is_test[unit] else images
            self.is_test[unit] ^= 1

    def _cost(self, label: int, in_test: int) -> float:
        images = self._units.images[label]
        if images < 2 or self._units.is_whole(label):
            return _RARE_IN_TEST if in_test else 0.0
        wanted = self._share * images
        beyond = abs(in_test - wanted) - (1.0 if self._is_single else max(2.0, 0.05 * images))
        cost = (in_test - self._targets[label]) ** 2 / images * 0.001
        if in_test in {0, images}:
            cost += _MISSING
        elif beyond > 0:
            cost += _BEYOND * beyond + _BEYOND / 100
        return cost
