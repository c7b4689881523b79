"""The comparison that an improvement proposes by."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from asyncfilter.custom_labels.improving import VersionComparison
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import DataResult, ModelVersion, VersionStatus
from asyncfilter.testing import run_virtually
from asyncfilter.testing.models import MemoryFiles
from asyncfilter.wiring.improvements import judge_versions
from tests.kit import evaluations
from tests.kit.evaluations import Judged


def version(files: MemoryFiles, name: str, *, f1: float, tested: Sequence[str]) -> ModelVersion:
    """A trained version with its files."""
    summary = evaluations.summary({"Robin": (0.9, 0.8, f1, 0.5, len(tested))}, figures=(0.9, 0.8, f1), version=name)
    lines = [evaluations.image_line(ref, ["Robin"], [Judged("Robin", 0.9, "tp")]) for ref in tested]
    files.objects[f"s3://out/{name}.json"] = json.dumps(summary).encode()
    files.objects[f"s3://out/{name}.manifest"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return ModelVersion(
        name=name,
        arn=evaluations.arn(version=name),
        status=VersionStatus.TRAINING_COMPLETED,
        f1=f1,
        summary=S3Location("out", f"{name}.json"),
        testing=DataResult(output=[S3Location("out", f"{name}.manifest")]),
    )


def judged(files: MemoryFiles, old: ModelVersion | None, new: ModelVersion) -> VersionComparison:
    """The comparison of two versions."""
    return run_virtually(lambda: judge_versions(files, old, new, lambda _text: None))


@pytest.mark.parametrize(("f1_new", "better"), [(0.9, True), (0.8, False), (0.7, False)])
def test_the_same_test(f1_new: float, *, better: bool) -> None:
    """The higher F1 wins; an equal one is no reason to switch."""
    files = MemoryFiles()
    old = version(files, "v1", f1=0.8, tested=["s3://b/1.jpg"])
    found = judged(files, old, version(files, "v2", f1=f1_new, tested=["s3://b/1.jpg"]))
    assert (found.f1_old, found.f1_new, found.test_sets_equal) == (0.8, f1_new, True)
    assert (found.better, found.differences) == (better, ())


def test_another_test() -> None:
    """Other test images show nothing, which is said."""
    files = MemoryFiles()
    old = version(files, "v1", f1=0.8, tested=["s3://b/1.jpg"])
    found = judged(files, old, version(files, "v2", f1=0.9, tested=["s3://b/1.jpg", "s3://b/2.jpg"]))
    assert (found.test_sets_equal, found.better) == (False, False)
    assert found.differences == ("1 test images of v2 are not among those of v1",)


def test_an_old_version_whose_evaluation_is_gone() -> None:
    """It cannot be compared with, which is said; its F1 is known from the service."""
    files = MemoryFiles()
    old = version(files, "v1", f1=0.8, tested=["s3://b/1.jpg"])
    new = version(files, "v2", f1=0.9, tested=["s3://b/1.jpg"])
    del files.objects["s3://out/v1.json"]
    found = judged(files, old, new)
    assert (found.f1_old, found.f1_new, found.test_sets_equal, found.better) == (0.8, 0.9, False, False)
    assert found.differences == ("v1 has no evaluation: s3://out/v1.json is not there",)


def test_no_old_version() -> None:
    """The first one is better than none."""
    files = MemoryFiles()
    found = judged(files, None, version(files, "v1", f1=0.4, tested=["s3://b/1.jpg"]))
    assert (found.f1_old, found.f1_new, found.test_sets_equal, found.better) == (None, 0.4, None, True)
