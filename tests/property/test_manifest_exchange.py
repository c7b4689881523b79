"""Boxes through COCO, VOC and YOLO and back: labels, images and boxes within half a pixel; nothing vanishes."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncfilter.datasets.exchange.boxed_image import BoxedImage
from asyncfilter.datasets.exchange.coco import CocoReader, CocoWriter
from asyncfilter.datasets.exchange.conversion import Conversion
from asyncfilter.datasets.exchange.file_sizes import ImageFolder
from asyncfilter.datasets.exchange.formats import Format
from asyncfilter.datasets.exchange.names import FileNames
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.exchange.voc import VocWriter, voc_images
from asyncfilter.datasets.exchange.yolo import YoloWriter, yolo_images
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.writing import Classes
from asyncfilter.errors import DataError
from tests.kit.manifests import encoded, label_metadata, ref
from tests.kit.pictures import plain

pytestmark = pytest.mark.skipif(find_spec("globox") is None, reason="globox, the extra datasets, is not installed")

Made = tuple[str, ImageSize, list[PixelBox]]
LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=12)


@st.composite
def made_images(draw: st.DrawFn) -> list[Made]:
    """Images with boxes in whole or fractional pixels."""
    labels = draw(st.lists(LABELS, min_size=1, max_size=4, unique=True))
    found = []
    for number in range(draw(st.integers(1, 4))):
        width, height = draw(st.integers(64, 300)), draw(st.integers(64, 300))
        boxes = []
        for _ in range(draw(st.integers(0, 4))):
            left, top = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
            right, bottom = draw(st.floats(left, width)), draw(st.floats(top, height))
            boxes.append(PixelBox(draw(st.sampled_from(labels)), left, top, right - left, bottom - top))
        found.append((f"{draw(st.sampled_from(['', 'a/', 'ü b/']))}{number}.jpg", ImageSize(width, height), boxes))
    return found


class NoRejects(Rejects):
    """Nothing may be rejected."""

    def add(self, place: str, code: str, message: str) -> None:
        """Never called."""
        raise AssertionError(f"{place}: {code}: {message}")


def through_coco(images: list[Made], folder: Path) -> list[BoxedImage]:
    """Written and read as COCO."""
    out = io.BytesIO()
    _write(CocoWriter(out, Classes()), images)
    out.seek(0)
    return list(CocoReader(out, file="x", skipped=Counter(), rejects=NoRejects()).images())


def through_voc(images: list[Made], folder: Path) -> list[BoxedImage]:
    """Written and read as VOC."""
    _write(VocWriter(folder), images)
    return list(voc_images(folder, NoRejects()))


def through_yolo(images: list[Made], folder: Path) -> list[BoxedImage]:
    """Written and read as YOLO."""
    for name, size, _ in images:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(plain(width=size.width, height=size.height))
    _write(YoloWriter(folder, Classes()), images)
    return list(yolo_images(folder, ImageFolder(folder / "images"), NoRejects()))


def _write(writer: Any, images: list[Made]) -> None:
    for image in images:
        writer.add(*image)
    writer.finish()


@pytest.mark.parametrize("through", [through_coco, through_voc, through_yolo])
@given(images=made_images())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.differing_executors])
def test_there_and_back(through: Callable[[list[Made], Path], list[BoxedImage]], images: list[Made]) -> None:
    """Labels, names and sizes are the same, and edges are."""
    with tempfile.TemporaryDirectory() as folder:
        found = {image.name: image for image in through(images, Path(folder))}
    assert found.keys() == {name for name, _, _ in images}
    for name, size, boxes in images:
        assert found[name].size == size
        assert [box.label for box in found[name].boxes] == [box.label for box in boxes]
        for read, box in zip(found[name].boxes, boxes, strict=True):
            edges = (box.left, box.top, box.left + box.width, box.top + box.height)
            assert list(read[1:5]) == pytest.approx(edges, abs=1e-6)


VALUES = st.one_of(st.none(), st.integers(-3, 5), st.text(max_size=3), st.just([]), st.just({}), st.floats())


@given(
    images=st.lists(st.dictionaries(st.sampled_from(["id", "file_name", "width", "height"]), VALUES), max_size=4),
    annotations=st.lists(
        st.dictionaries(st.sampled_from(["id", "image_id", "category_id", "bbox", "iscrowd", "score"]), VALUES),
        max_size=4,
    ),
    categories=st.lists(st.dictionaries(st.sampled_from(["id", "name"]), VALUES), max_size=3),
)
@settings(deadline=None, max_examples=150)
def test_odd_coco_documents(images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    """Anything is read or told, and every image and annotation is accounted for."""
    document = {"images": images, "annotations": annotations, "categories": categories}
    conversion = Conversion(classes=Classes(), names=FileNames.KEY, s3_path="s3://pictures", images=None)
    found = list(conversion.images_of("x", Format.COCO, io.BytesIO(json.dumps(document).encode())))
    boxes = sum(len(image.boxes) for image in found)
    told = conversion.rejects.total + conversion.counts.skipped["crowd"]
    assert len(found) + boxes + told == len(images) + len(annotations)


@given(
    lines=st.lists(
        st.lists(st.integers(0, 5), max_size=6, unique=True).map(
            lambda ids: {
                "source-ref": ref(),
                "tags": ids,
                "tags-metadata": label_metadata(type="groundtruth/image-classification-multilabel")
                | {"class-map": {str(number): f"c{number}" for number in range(5)}, "confidence-map": {"1": 0.5}},
            }
        ),
        max_size=8,
    )
)
@settings(deadline=None, max_examples=80)
def test_multi_label_lines_are_accounted_for(lines: list[dict[str, Any]]) -> None:
    """Lines in are lines out and rejects; there and back keeps labels and confidences."""
    body = b"".join(encoded(line) + b"\n" for line in lines)
    single, again, back = io.BytesIO(), io.BytesIO(), io.BytesIO()
    conversion = Conversion(classes=Classes(), names=FileNames.KEY, s3_path=None, images=None)
    try:
        conversion.write_lines(io.BytesIO(body), single)
    except DataError:
        assert all(5 in line["tags"] for line in lines)
        return
    assert conversion.counts.lines + conversion.rejects.total == len(lines)
    assert conversion.rejects.total == sum(5 in line["tags"] for line in lines)
    other = Conversion(classes=Classes(), names=FileNames.KEY, s3_path=None, images=None)
    other.write_multi_label(io.BytesIO(single.getvalue()), again, attribute=None)
    other.begin_again()
    other.write_lines(io.BytesIO(again.getvalue()), back)
    assert [json.loads(line) for line in back.getvalue().splitlines()] == [
        json.loads(line) for line in single.getvalue().splitlines()
    ]
