"""Real classifiers on real photographs and real dirt: labels equal to those of onnxruntime called plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from asyncfilter.errors import ImageError
from asyncfilter.model import ObjectRef
from asyncfilter.onnx.label_names import read_name
from asyncfilter.onnx.model import ModelSettings, open_classifier
from asyncfilter.onnx.runner import Runner
from asyncfilter.onnx.scores import Scores
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.own_model import OwnModelDetector

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MODELS = {
    "imagenet": ("mobilenet_v2_1.0_224_quant.onnx", "imagenet_labels.txt"),
    "birds": ("mobilenet_v2_1.0_224_inat_bird_quant.onnx", "inat_bird_labels.txt"),
}
PHOTOS = sorted((DATA / "photos" / "clothing").glob("*/*.jpg"))[::12]
TURNED = sorted((DATA / "badimages" / "exif-orientation").glob("*.jpg"))
DIRT = sorted(path for path in (DATA / "badimages").glob("*/*") if path.is_file() and path.parent not in TURNED)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not PHOTOS, reason=f"no photographs below {DATA}"),
]


def read_lines(labels: str) -> list[str]:
    """The lines of a label file."""
    return Path(labels).read_text("utf-8").splitlines()


def plain(session: Any, lines: list[str], path: Path) -> dict[str, float]:
    """Percent by name, as a dozen lines of anybody's program compute it; of names that are equal the surest."""
    import numpy as np

    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    (scores,) = session.run(["prob"], {"input": np.asarray(upright, dtype=np.uint8)[None]})[0]
    found: dict[str, float] = {}
    for line, score in zip(lines, scores.tolist(), strict=True):
        name = read_name(line).name
        found[name] = max(found.get(name, 0.0), 100 * score)
    return found


@pytest.mark.parametrize("name", MODELS)
async def test_labels_are_those_of_a_plain_computation(name: str) -> None:
    """Within 0.05 points, for photographs and for one picture in every orientation; decoded in processes."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    model, labels = (str(DATA / "models" / file) for file in MODELS[name])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    lines = read_lines(labels)
    runner = Runner(open_classifier(ModelSettings(model=model, labels=labels)), Scores.AUTO)
    with DecoderPool() as decoders:
        detector = OwnModelDetector(runner, decoders)
        for path in (*PHOTOS, *TURNED):
            body = path.read_bytes()
            image = ObjectRef(bucket="b", key=path.name, size_bytes=len(body), etag="e", seq=1)
            found = await detector.examine(image, body)
            expected = plain(session, lines, path)
            assert found.labels, path
            for label in found.labels:
                assert label.confidence_pct == pytest.approx(expected[label.name], abs=0.05), path
            kept = {label.name for label in found.labels}
            assert all(percent < 0.55 or name in kept for name, percent in expected.items() if len(kept) < 20), path
    runner.close()


async def test_dirt_fails_alone() -> None:
    """Whatever a file is, it has labels or an error of its own, and the photograph after it is examined."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    model, labels = (str(DATA / "models" / file) for file in MODELS["imagenet"])
    runner = Runner(open_classifier(ModelSettings(model=model, labels=labels)), Scores.AUTO)
    failed: dict[str, str] = {}
    with DecoderPool() as decoders:
        detector = OwnModelDetector(runner, decoders)
        for path in (*DIRT, PHOTOS[0]):
            body = path.read_bytes()
            image = ObjectRef(bucket="b", key=path.name, size_bytes=len(body), etag="e", seq=1)
            try:
                found = await detector.examine(image, body)
            except ImageError as error:
                failed[path.name] = error.code
            else:
                assert found.labels, path
    runner.close()
    assert PHOTOS[0].name not in failed
    assert failed
    assert set(failed.values()) <= {"invalid_image_format", "decompression_bomb", "decoding_timeout"}
