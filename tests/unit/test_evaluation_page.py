"""The page of an evaluation: its size, its thumbnails, and boxes of images that are stored on their side."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, evaluate
from asyncfilter.custom_labels.evaluation.model import Frame
from asyncfilter.custom_labels.evaluation.snapshot import read_snapshot
from asyncfilter.custom_labels.evaluation.summary import read_summary
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.pictures.convert import convert
from asyncfilter.policy.image_limits import ImageLimits
from asyncfilter.policy.upright import orientation_of
from asyncfilter.report.html.evaluation_cards import Thumbnail, turned
from asyncfilter.report.html.evaluation_mistakes import MOST_PICTURES, PICTURE_BYTES, thumbnail_size
from asyncfilter.report.html.evaluation_page import MOST_BYTES, evaluation_page
from tests.kit.evaluations import Judged, image_line, lines, summary
from tests.kit.pictures import encoded, plain


def evaluation(images: int) -> Evaluation:
    """Images with one mistake each, under long keys."""
    documents = [
        image_line(f"s3://photos/{'k' * 900}/{number}.jpg", [], [Judged("cap", 0.9, "fp")]) for number in range(images)
    ]
    document = summary({f"label {number}": (0.9, 0.8, 0.847, 0.5, 3) for number in range(250)})
    return evaluate(
        read_summary(json.dumps(document).encode(), file="s"), read_snapshot(io.BytesIO(lines(documents)), file="t")
    )


@pytest.mark.parametrize("pictures", [1, 40, MOST_PICTURES])
def test_the_largest_pictures_leave_room_for_the_words(pictures: int) -> None:
    """As many thumbnails as a page has, each as large as it may be."""
    found = evaluation(1_000)
    _, most_bytes = thumbnail_size(pictures)
    assert pictures * most_bytes <= PICTURE_BYTES
    thumbnails = {
        image.source_ref: Thumbnail(bytes(most_bytes), 320, 240) for image in found.snapshot.images[:pictures]
    }
    html = evaluation_page(found, None, thumbnails)
    assert len(html.encode()) < MOST_BYTES
    assert html.count("data:image/jpeg") == pictures
    assert "more images with mistakes are not on this page" in html


def test_fewer_pictures_are_larger() -> None:
    """Five mistakes need no magnifying glass."""
    sizes = [thumbnail_size(pictures) for pictures in (1, 40, 100, MOST_PICTURES)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0][0] == 560
    assert sizes[-1][0] == 320


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@given(
    frame=st.builds(
        Frame,
        left=st.integers(0, 30).map(float),
        top=st.integers(0, 20).map(float),
        width=st.integers(8, 30).map(float),
        height=st.integers(8, 20).map(float),
    )
)
def test_a_box_turns_with_its_image(orientation: int, frame: Frame) -> None:
    """A mark that is drawn where the box is in the stored image is where the turned box is in the upright one."""
    stored = Image.new("RGB", (64, 48), "black")
    left, top, right, bottom = frame.left, frame.top, frame.left + frame.width, frame.top + frame.height
    stored.paste("white", (int(left), int(top), int(right), int(bottom)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = encoded(stored, exif=exif, quality=95, subsampling=0)
    assert orientation_of(body) == orientation
    limits = ImageLimits(max_inline_bytes=10**6, max_object_bytes=10**6, min_px=1, max_px=64)
    upright = Image.open(io.BytesIO(convert(body, limits).body))
    assert upright.size == (48, 64)
    mark = upright.convert("L").point(lambda level: 255 if level > 128 else 0).getbbox()
    box = turned(frame, ImageSize(64, 48), orientation)
    expected = (box.left, box.top, box.left + box.width, box.top + box.height)
    assert mark is not None
    assert all(abs(seen - drawn) <= 1 for seen, drawn in zip(mark, expected, strict=True))


def test_only_a_jpeg_is_turned() -> None:
    """A PNG is taken as it is stored."""
    assert orientation_of(plain("PNG")) == 1
    assert orientation_of(b"") == 1
