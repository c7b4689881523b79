"""The main job over real photographs, labelled by a real classifier in the sandbox, through S3."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="the real photographs are not on this machine"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One run over everything."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    patch = pytest.MonkeyPatch()
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        patch.setenv(name, "")
    try:
        yield runpy.run_path(str(ROOT / "benchmarks" / "real_photos.py"))["find"](DATA, 30.0)
    finally:
        patch.undo()


def test_kept_images_are_those_that_the_classifier_labels(found: Any) -> None:
    """Of the clothes, exactly those are kept that the classifier, called directly, labels as jeans."""
    from asyncfilter.sandbox.answers.onnx import OnnxAnswers
    from asyncfilter.sandbox.answers.source import Picture

    model, labels = DATA / "models" / "mobilenet_v2_1.0_224_quant.onnx", DATA / "models" / "imagenet_labels.txt"
    classifier = OnnxAnswers(str(model), str(labels))
    expected = set()
    for photo in (DATA / "photos" / "clothing").rglob("*.jpg"):
        key = f"{photo.parent.name}/{photo.name}"
        seen = classifier.labels(Picture(bucket="b", key=key, etag=key, body=photo.read_bytes())).labels
        if any(label.name == "Jean" and label.confidence_pct >= 30.0 for label in seen):
            expected.add(key)
    clothes = {key for key in found.kept if not key.startswith(("dirt/", "broken/"))}
    assert clothes == expected


def test_folder_names_bear_it_out(found: Any) -> None:
    """Kept images are mostly trousers and never broken files; the figures are printed."""
    print(json.dumps(found.figures(), indent=2))  # noqa: T201  shown with -s
    assert found.precision >= 0.7
    assert found.recall >= 0.4
    assert not any(key.startswith("dirt/") for key in found.kept)


def test_every_broken_file_ends_as_a_recorded_outcome(found: Any) -> None:
    """Each file has a verdict, a failure with its cause, or a reason for its skip."""
    counts = found.summary.counts
    assert counts.listed == len(found.uploaded)
    assert counts.examined == len(found.outcomes)
    assert counts.examined + sum(counts.skipped.values()) == len(found.uploaded)
    broken = {key: outcome for key, outcome in found.outcomes.items() if key.startswith("broken/")}
    assert broken["broken/derived/webp_named.jpg"] == "invalid_image_format"
    assert broken["broken/derived/s3_error_saved_as.jpg"] == "invalid_image_format"
    assert broken["broken/derived/jpeg_named.png"] in {"keep", "reject"}
    assert found.summary.exit_code == 1
