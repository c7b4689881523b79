"""Whether a dataset is within the limits of Custom Labels, and within what AWS and practitioners advise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from asyncfilter.datasets.limits import LIMITS, MIN_BOX_LABELS, MIN_IMAGE_LABELS, most_images
from asyncfilter.datasets.manifests.codes import Severity
from asyncfilter.datasets.manifests.image_facts import (
    ImageFacts,
    KnownImage,
    aspect_problem,
    bytes_problem,
    format_problem,
    px_problem,
)
from asyncfilter.datasets.manifests.line_checks import CheckedLine
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.tally import ManifestTally, UseCase

MOST_EXAMPLES = 5


class LimitResult(msgspec.Struct, frozen=True, kw_only=True):
    """One limit and what a dataset has of it.

    Attributes:
        id: Of the limit.
        limit: The bound; two of them are the ends of a range.
        value: What the dataset has, in the same unit; None where there is nothing to measure.
        ok: Whether it is within the limit.
        severity: What breaking it means: only errors make the dataset unusable.
        dataset: ``train``, ``test``, or ``both``.
        examples: Some labels, images or buckets that break it.
        advice: What to do when it is broken.
        source: Where the limit is published.
    """

    id: str
    limit: float | Sequence[float]
    value: float | Sequence[float] | None
    ok: bool
    severity: Severity
    dataset: str
    examples: Sequence[str]
    advice: str
    source: str


class Extreme:
    """The largest of some values, and the first names of those that are too large."""

    def __init__(self) -> None:
        self.most = 0.0
        self.broken = 0
        self.examples: list[str] = []

    def add(self, value: float, name: str, *, is_broken: bool) -> None:
        """Note one value."""
        self.most = max(self.most, value)
        self.broken += is_broken
        if is_broken and len(self.examples) < MOST_EXAMPLES:
            self.examples.append(name)


class DatasetContents:
    """What a manifest holds, for its limits; lines are added one by one.

    Args:
        size_bytes: Of the manifest.
        known: The facts about its images; None when they were not looked at.
    """

    def __init__(self, size_bytes: int, known: KnownImage | None = None) -> None:
        self.size_bytes = size_bytes
        self.tally = ManifestTally()
        self.labels, self.boxes = Extreme(), Extreme()
        self.formats, self.bytes, self.aspects, self.sides = Extreme(), Extreme(), Extreme(), Extreme()
        self.shortest_px: int | None = None
        self.refs = RefIndex()
        self.has_images = known is not None
        self._known = known

    def add(self, checked: CheckedLine) -> None:
        """Count one line."""
        self.tally.add(checked)
        if checked.place is None or checked.is_dropped:
            return
        ref = checked.source_ref
        self.refs.add(ref, checked.line.number)
        labels = sum(pair.label is not None for pair in checked.pairs)
        boxes = sum(pair.annotations for pair in checked.pairs)
        self.labels.add(labels, ref, is_broken=labels > _number("labels_per_image"))
        self.boxes.add(boxes, ref, is_broken=boxes > _number("boxes_per_image"))
        facts = self._known(ref) if self._known is not None else None
        if facts is not None:
            self._add_image(ref, facts)

    def _add_image(self, ref: str, facts: ImageFacts) -> None:
        self.formats.add(0, ref, is_broken=format_problem(facts) is not None)
        self.bytes.add(facts.size_bytes, ref, is_broken=bytes_problem(facts) is not None)
        size = facts.size
        if size is None:
            return
        shorter, longer = sorted((size.width, size.height))
        self.shortest_px = shorter if self.shortest_px is None else min(self.shortest_px, shorter)
        self.sides.add(longer, ref, is_broken=px_problem(facts) is not None)
        self.aspects.add(round(longer / shorter, 3), ref, is_broken=aspect_problem(facts) is not None)


def check_dataset(train: DatasetContents, test: DatasetContents | None, *, region: str | None) -> list[LimitResult]:
    """All limits that can be told, in the order of the table, those of the training manifest first.

    Args:
        train: The training manifest.
        test: The test manifest; None when the service is to split the training manifest.
        region: Where the model is trained; None for a region without limits of its own.
    """
    results = list(_of_manifest(train, "train", region))
    if test is not None:
        results += _of_manifest(test, "test", region)
        results += _of_both(train, test)
    return results


def _of_manifest(contents: DatasetContents, dataset: str, region: str | None) -> Iterator[LimitResult]:
    tally, is_test = contents.tally, dataset == "test"
    usable = len(tally.usable_labels(tally.use_case))
    least = MIN_IMAGE_LABELS if tally.use_case is UseCase.IMAGE else MIN_BOX_LABELS
    yield _result("labels_min", dataset, usable, ok=usable >= least, limit=least)
    yield _at_most("labels_max", dataset, len(tally.labels))
    yield _at_most("images_max", dataset, tally.lines, limit=most_images(region, is_test=is_test))
    yield _at_most("manifest_bytes", dataset, contents.size_bytes)
    yield from _of_labels(tally, dataset)
    yield _of_extreme("labels_per_image", dataset, contents.labels)
    yield _of_extreme("boxes_per_image", dataset, contents.boxes)
    yield _at_most("one_bucket", dataset, len(tally.buckets), examples=list(tally.buckets)[1:])
    if contents.has_images:
        yield _at_most("image_format", dataset, contents.formats.broken, examples=contents.formats.examples)
        yield _of_extreme("image_bytes", dataset, contents.bytes)
        shortest, longest = contents.shortest_px, int(contents.sides.most)
        sides = None if shortest is None else (shortest, longest)
        yield _result("image_px", dataset, sides, ok=not contents.sides.broken, examples=contents.sides.examples)
        yield _of_extreme("image_aspect", dataset, contents.aspects)


def _of_labels(tally: ManifestTally, dataset: str) -> Iterator[LimitResult]:
    """Limits on the images of each label: of the training manifest how few, of the test manifest how many."""
    images = {name: counts.images for name, counts in tally.labels.items()}
    if dataset == "test":
        most = _number("test_images_per_label_max")
        examples = _labels(images, lambda number: number > most)
        yield _at_most("test_images_per_label_max", dataset, max(images.values(), default=0), examples=examples)
        return
    for name in ("images_per_label_min", "images_per_label_advised", "images_per_class_own_network"):
        least = _number(name)
        fewest = min(images.values(), default=None)
        examples = _labels(images, lambda number, least=least: number < least)  # type: ignore[misc]
        yield _result(name, dataset, fewest, ok=fewest is None or fewest >= least, examples=examples)


def _of_both(train: DatasetContents, test: DatasetContents) -> Iterator[LimitResult]:
    images = train.tally.valid + test.tally.valid
    share = round(test.tally.valid / images, 6) if images else 0.0
    low, high = LIMITS["test_share"].limit  # type: ignore[misc]  # a range
    yield _result("test_share", "both", share, ok=low <= share <= high)
    trained, tested = train.tally.labels.keys(), test.tally.labels.keys()
    overlap = round(len(trained & tested) / len(trained), 6) if trained else 1.0
    missing = [name for name in trained if name not in tested]
    is_enough = overlap >= _number("label_overlap")
    yield _result("label_overlap", "both", overlap, ok=is_enough, examples=[] if is_enough else missing)
    shared, line, _ = test.refs.shared_with(train.refs)
    yield _at_most("shared_images", "both", shared, examples=[f"line {line} of the test manifest"] if shared else [])
    advised = _number("test_share_advised")
    yield _result("test_share_advised", "both", share, ok=abs(share - advised) <= _SHARE_SLACK)


_SHARE_SLACK = 0.02


def _number(name: str) -> float:
    limit = LIMITS[name].limit
    return limit if isinstance(limit, int | float) else limit[0]


def _labels(images: dict[str, int], is_broken: Callable[[int], bool]) -> list[str]:
    return [name for name, number in images.items() if is_broken(number)]


def _of_extreme(name: str, dataset: str, found: Extreme) -> LimitResult:
    value = int(found.most) if found.most == int(found.most) else found.most
    return _result(name, dataset, value, ok=not found.broken, examples=found.examples)


def _at_most(
    name: str, dataset: str, value: float, *, limit: float | None = None, examples: Sequence[str] = ()
) -> LimitResult:
    most = _number(name) if limit is None else limit
    return _result(name, dataset, value, ok=value <= most, limit=limit, examples=examples)


def _result(
    name: str,
    dataset: str,
    value: float | Sequence[float] | None,
    *,
    ok: bool,
    limit: float | None = None,
    examples: Sequence[str] = (),
) -> LimitResult:
    facts = LIMITS[name]
    return LimitResult(
        id=name,
        limit=facts.limit if limit is None else limit,
        value=value,
        ok=ok,
        severity=facts.severity,
        dataset=dataset,
        examples=list(examples[:MOST_EXAMPLES]),
        advice=facts.advice,
        source=facts.source,
    )


def is_usable(results: Sequence[LimitResult]) -> bool:
    """Whether no limit of severity error is broken."""
    return all(result.ok or result.severity is not Severity.ERROR for result in results)


def check_mapping(results: Sequence[LimitResult]) -> dict[str, Any]:
    """The result for ``--json``."""
    return {"ok": is_usable(results), "limits": list(results)}
