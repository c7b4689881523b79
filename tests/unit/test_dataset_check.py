"""Each limit of the table is told when it is broken, and only then."""

from __future__ import annotations

import io
from typing import Any

import pytest

from asyncfilter.datasets.check import DatasetContents, LimitResult, check_dataset, check_mapping, is_usable
from asyncfilter.datasets.limits import LIMITS, most_images
from asyncfilter.datasets.manifests.codes import Severity
from asyncfilter.datasets.manifests.image_facts import ImageFacts
from asyncfilter.datasets.manifests.line_checks import read_manifest
from asyncfilter.report.as_json import json_text
from asyncfilter.report.terminal.manifest import limit_lines
from tests.kit.manifests import D, box, box_line, encoded, image_line, ref

GOOD = ImageFacts(etag="e", size_bytes=1000, format="jpeg", width=200, height=100, channels=3)


def contents(*documents: D, size_bytes: int = 1000, facts: ImageFacts | None = None) -> DatasetContents:
    """What these lines hold; all of their images are like ``facts``."""
    found = DatasetContents(size_bytes, None if facts is None else lambda _ref: facts)
    for checked in read_manifest(io.BytesIO(b"\n".join(map(encoded, documents)))):
        found.add(checked)
    return found


def images(names: list[str], each: int = 1) -> list[D]:
    """Lines with one label each."""
    return [image_line(name) for name in names for _ in range(each)]


def results(
    train: DatasetContents, test: DatasetContents | None = None, region: str | None = None
) -> dict[str, LimitResult]:
    """The results by dataset and id, all of which can be shown."""
    found = check_dataset(train, test, region=region)
    json_text(check_mapping(found))
    list(limit_lines(found, [train.tally]))
    assert all(result.source and result.advice.endswith(".") for result in found)
    return {f"{result.dataset} {result.id}": result for result in found}


def broken(train: DatasetContents, test: DatasetContents | None = None, region: str | None = None) -> set[str]:
    """The limits that are broken, without advice."""
    return {
        name
        for name, found in results(train, test, region).items()
        if not found.ok and found.severity is not Severity.NOTICE
    }


TRAIN = images(["a", "b"], 10)
TEST = images(["a", "b"], 3)


def test_a_good_dataset() -> None:
    """Every limit is there, once for each dataset that it is about."""
    found = results(contents(*TRAIN, facts=GOOD), contents(*TEST, facts=GOOD))
    assert all(result.ok or result.severity is Severity.NOTICE for result in found.values())
    assert {result.id for result in found.values()} == LIMITS.keys()
    assert is_usable(list(found.values()))
    values = ["train labels_min", "both test_share", "train image_px", "train image_aspect"]
    assert [found[name].value for name in values] == [2, round(6 / 26, 6), (100, 200), 2]
    assert found["train manifest_bytes"].limit == 1024**3


BROKEN: dict[str, tuple[Any, Any, set[str]]] = {
    "one label": (contents(*images(["a"], 10)), None, {"train labels_min"}),
    "one label with boxes": (contents(*[box_line() for _ in range(10)]), None, set()),
    "no label": (contents({"source-ref": ref()}), None, {"train labels_min"}),
    "251 labels": (contents(*images([f"l{number}" for number in range(251)], 10)), None, {"train labels_max"}),
    "a large manifest": (contents(*TRAIN, size_bytes=1024**3 + 1), None, {"train manifest_bytes"}),
    "few images": (contents(*TRAIN, image_line("c")), None, {"train images_per_label_min"}),
    "51 labels": (
        contents(*TRAIN, image_line(*(f"l{number}" for number in range(51)))),
        None,
        {"train labels_per_image"},
    ),
    "51 boxes": (contents(*TRAIN, box_line(*[box()] * 51)), None, {"train boxes_per_image"}),
    "two buckets": (contents(*TRAIN, image_line("a", source_ref=ref(bucket="two"))), None, {"train one_bucket"}),
    "two buckets in the test": (
        contents(*TRAIN),
        contents(*TEST, image_line("a", source_ref=ref(bucket="two"))),
        {"test one_bucket"},
    ),
    "many test images": (
        contents(*images(["a", "b"], 2400)),
        contents(*images(["b"]), *images(["a"], 1001)),
        {"test labels_min", "test test_images_per_label_max"} - {"test labels_min"},
    ),
    "a small test": (contents(*images(["a", "b"], 30)), contents(*images(["a", "b"])), {"both test_share"}),
    "a large test": (contents(*TRAIN), contents(*images(["a", "b"], 9)), {"both test_share"}),
    "too little overlap": (
        contents(*images(["a", "b", "c", "d", "e"], 10)),
        contents(*images(["a", "b"], 6)),
        {"both label_overlap"},
    ),
    "shared": (contents(*TRAIN), contents(*TEST, TRAIN[3]), {"both shared_images"}),
    "no image": (contents(*TRAIN, facts=ImageFacts(trouble="it is not there")), None, {"train image_format"}),
    "a GIF": (contents(*TRAIN, facts=ImageFacts(etag="e", size_bytes=9, format="gif")), None, {"train image_format"}),
    "a large image": (
        contents(*TRAIN, facts=ImageFacts(etag="e", size_bytes=15 * 1024 * 1024 + 1)),
        None,
        {"train image_bytes"},
    ),
    "a small image": (
        contents(*TRAIN, facts=ImageFacts(etag="e", size_bytes=9, format="png", width=63, height=64, channels=3)),
        None,
        {"train image_px"},
    ),
    "a long image": (
        contents(*TRAIN, facts=ImageFacts(etag="e", size_bytes=9, format="png", width=3000, height=100, channels=3)),
        None,
        {"train image_aspect"},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_limit(name: str) -> None:
    """It alone is told, and only errors make the dataset unusable."""
    train, test, expected = BROKEN[name]
    assert broken(train, test) == expected
    severities = {LIMITS[name.split()[1]].severity for name in expected}
    assert is_usable(check_dataset(train, test, region=None)) is (Severity.ERROR not in severities)


def test_every_limit_has_a_case() -> None:
    """No row of the table is without a dataset that breaks it; the number of images is below."""
    advised = {limit.id for limit in LIMITS.values() if limit.severity is Severity.NOTICE}
    told = {name.split()[1] for _, _, names in BROKEN.values() for name in names}
    assert told == LIMITS.keys() - advised - {"images_max"}


def test_images() -> None:
    """The most images depend on the region and the role."""
    train, test = contents(*TRAIN), contents(*TEST)
    for region, most, most_tests in ((None, 250_000, 250_000), ("ap-south-1", 28_000, 7_000)):
        found = results(train, test, region)
        assert (found["train images_max"].limit, found["test images_max"].limit) == (most, most_tests)
        assert most_images(region, is_test=True) == most_tests
    train.tally.lines, test.tally.lines = 28_001, 7_001
    assert {"train images_max", "test images_max"} <= broken(train, test, "eu-west-2")
    assert not {"train images_max", "test images_max"} & broken(train, test, "us-east-1")


def test_examples_and_advice() -> None:
    """A broken limit names some that break it; notices break nothing."""
    found = results(contents(*TRAIN, *images([f"l{number}" for number in range(9)])))
    few = found["train images_per_label_min"]
    assert (few.limit, few.value, few.ok, few.severity) == (10, 1, False, Severity.WARNING)
    assert few.examples == [f"l{number}" for number in range(5)]
    for name, least in (("images_per_label_advised", 100), ("images_per_class_own_network", 800)):
        notice = found[f"train {name}"]
        assert (notice.limit, notice.ok, notice.severity) == (least, False, Severity.NOTICE)
    assert results(contents(*images(["a", "b"], 100)))["train images_per_label_advised"].ok
    share = results(contents(*images(["a", "b"], 8)), contents(*images(["a", "b"], 2)))["both test_share_advised"]
    assert (share.limit, share.value, share.ok) == (0.2, 0.2, True)


def test_lines_that_are_dropped_do_not_count() -> None:
    """They are told apart."""
    train = contents(*TRAIN, TRAIN[0], {"x": 1})
    assert broken(train) == set()
    shown = list(limit_lines(check_dataset(train, None, region=None), [train.tally]))
    assert shown[0].startswith("2 lines cannot be used")
