"""Lines are written exactly as docs/datasets.md says, and a manifest is whole or not there."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from asyncfilter.datasets.manifests.line_form import (
    LineForm,
    attribute_problem,
    confidence_number,
    creation_date,
    encode_json,
    line_form,
)
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.pixels import box_of_edges, box_of_ratios, is_outside, is_too_small, rounded
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter, read_classes
from asyncfilter.errors import DataError, ExitCode, UsageError
from asyncfilter.model import Box

MOMENT = "2026-11-27T10:00:00.000"
IMAGE = LineForm(attribute="label", job_name="labeling-job/label", human_annotated=True, creation_date=MOMENT)
BOXES = LineForm(attribute="boxes", job_name="labeling-job/boxes", human_annotated=False, creation_date=MOMENT)


def writer(out: io.BytesIO, classes: Classes | None = None) -> ManifestWriter:
    """A writer of both kinds."""
    return ManifestWriter(out, image_form=IMAGE, box_form=BOXES, classes=classes)


def test_lines_are_those_of_the_document() -> None:
    """Field order, numbers, blanks and line ends are fixed."""
    out = io.BytesIO()
    lines = writer(out)
    lines.write("s3://bkt/k.jpg", [("Robin", 1.0)])
    box = PixelBox("Robin", 86, 65, 220, 334, 0.97)
    lines.write("s3://bkt/k.jpg", size=ImageSize(640, 480), boxes=[box])
    assert out.getvalue().decode() == (
        '{"source-ref":"s3://bkt/k.jpg","label0":1,"label0-metadata":{"class-name":"Robin","confidence":1,'
        '"type":"groundtruth/image-classification","job-name":"labeling-job/label","human-annotated":"yes",'
        '"creation-date":"2026-11-27T10:00:00.000"}}\n'
        '{"source-ref":"s3://bkt/k.jpg","boxes":{"image_size":[{"width":640,"height":480,"depth":3}],"annotations":'
        '[{"class_id":0,"top":65,"left":86,"width":220,"height":334}]},"boxes-metadata":{"objects":'
        '[{"confidence":0.97}],"class-map":{"0":"Robin"},"type":"groundtruth/object-detection",'
        '"human-annotated":"no","creation-date":"2026-11-27T10:00:00.000","job-name":"labeling-job/boxes"}}\n'
    )
    counts = lines.finish()
    assert counts.as_mapping(output="a.manifest") == {
        "lines": 2,
        "images": 2,
        "labels": {"Robin": 2},
        "boxes": 1,
        "skipped": {},
        "duplicates": 0,
        "rejected": 0,
        "output": "a.manifest",
        "duplicates_file": None,
        "rejected_file": None,
    }


def test_text_is_raw() -> None:
    """Only quotes, backslashes and what is below a blank are escaped."""
    out = io.BytesIO()
    writer(out).write('s3://bkt/é/\u2028"\\/\x7f\n\x01😀', [("Rotkehlchen ü", 0.5)])
    assert out.getvalue().startswith('{"source-ref":"s3://bkt/é/\u2028\\"\\\\/\x7f\\n\\u0001😀","label0":1'.encode())
    assert out.getvalue().count(b"\n") == 1


def test_several_labels_have_numbered_attributes() -> None:
    """No attribute is made from a label's text."""
    out = io.BytesIO()
    writer(out).write("s3://bkt/k", [("source-ref", 0.9912345678), ("x", 0), ("x-metadata", 1)])
    text = out.getvalue().decode()
    assert all(f'"label{number}":1,"label{number}-metadata":' in text for number in range(3))
    assert '"confidence":0.991235' in text
    assert '"confidence":0,' in text


def test_class_numbers_are_those_of_the_whole_file() -> None:
    """Numbers follow first appearance; a line's map has its own classes only, by rising number."""
    out = io.BytesIO()
    lines = writer(out)
    size = ImageSize(100, 100)
    lines.write("s3://bkt/1", size=size, boxes=[PixelBox("b", 0, 0, 9, 9), PixelBox("a", 0, 0, 9, 9)])
    lines.write("s3://bkt/2", size=size, boxes=[PixelBox("a", 0, 0, 9, 9)])
    lines.write("s3://bkt/3", size=size, boxes=[PixelBox("a", 0, 0, 9, 9), PixelBox("b", 0, 0, 9, 9)])
    maps = [line.partition('"class-map":')[2].partition("}")[0] for line in out.getvalue().decode().splitlines()]
    assert maps == ['{"0":"b","1":"a"', '{"1":"a"', '{"0":"b","1":"a"']


def test_classes_of_a_file(tmp_path: Path) -> None:
    """The file fixes labels and numbers; any other label has a code."""
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeffüb\r\n\n b c \n".encode())
    classes = read_classes(path)
    assert classes.numbers == {"üb": 0, "b c": 1}
    assert classes.problem("b c") is None
    assert classes.problem("x") == "UNKNOWN_CLASS"
    assert Classes().problem("x" * 256) == "LABEL_TOO_LONG"
    assert Classes().problem("x" * 255) is None


@pytest.mark.parametrize("body", [b"", b"\n\n", b"a\nb\na\n", b"\xff", b"x" * 256])
def test_a_file_of_classes_that_cannot_be_used(tmp_path: Path, body: bytes) -> None:
    """It is refused before anything is read."""
    path = tmp_path / "classes.txt"
    path.write_bytes(body)
    with pytest.raises(UsageError, match="--classes"):
        read_classes(path)
    with pytest.raises(UsageError, match="No such file"):
        read_classes(tmp_path / "none")


def test_no_line_is_an_error() -> None:
    """The error has the service's code, exit code 1, and says what was left out."""
    lines = writer(io.BytesIO())
    lines.counts.skipped["no_boxes"] += 3
    with pytest.raises(DataError, match=r"ERROR_EMPTY_MANIFEST: .*3 no_boxes") as caught:
        lines.finish()
    assert caught.value.exit_code == ExitCode.SOME_FAILED
    assert caught.value.code == "ERROR_EMPTY_MANIFEST"


def test_two_buckets_are_an_error() -> None:
    """Unless the caller allows them."""
    lines = writer(io.BytesIO())
    lines.write("s3://one/k")
    with pytest.raises(DataError, match="ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS"):
        lines.write("s3://two/k")
    several = ManifestWriter(io.BytesIO(), image_form=IMAGE, box_form=BOXES, one_bucket=False)
    several.write("s3://one/k")
    several.write("s3://two/k")
    with pytest.raises(ValueError, match="no address"):
        several.write("https://one/k")


@pytest.mark.parametrize(
    "name", ["a-metadata", "a-metadata-b", "a-ref", "$a", "source-ref", "", "errors", "cl-metadata", "line-idx"]
)
def test_attribute_names_that_cannot_be_used(name: str) -> None:
    """They are refused with exit code 2."""
    with pytest.raises(UsageError, match="--attribute"):
        line_form(attribute=name, default="label", job_name=None, human_annotated=True, creation_date=MOMENT)


def test_the_job_name_follows_the_attribute() -> None:
    """Unless it is given."""
    form = line_form(attribute="a b", default="label", job_name=None, human_annotated=True, creation_date=MOMENT)
    assert (form.attribute, form.job_name, form.human) == ("a b", "labeling-job/a b", "yes")
    form = line_form(attribute=None, default="boxes", job_name="x", human_annotated=False, creation_date=MOMENT)
    assert (form.attribute, form.job_name, form.human) == ("boxes", "x", "no")
    assert attribute_problem("reference") is None


def test_creation_date() -> None:
    """``--creation-date``, then ``SOURCE_DATE_EPOCH``, then now; all in UTC with milliseconds."""
    assert creation_date("2026-11-27T12:00:00.5+02:00", {"SOURCE_DATE_EPOCH": "0"}, 1) == "2026-11-27T10:00:00.500"
    assert creation_date("2026-11-27 10:00", {}, 1) == MOMENT
    assert creation_date(None, {"SOURCE_DATE_EPOCH": "86400"}, 1) == "1970-01-02T00:00:00.000"
    assert creation_date(None, {}, 1.5) == "1970-01-01T00:00:01.500"
    for given, environ in [
        ("tomorrow", {}),
        ("", {}),
        (None, {"SOURCE_DATE_EPOCH": "x"}),
        (None, {"SOURCE_DATE_EPOCH": "9" * 12}),
    ]:
        with pytest.raises(UsageError):
            creation_date(given, environ, 1)


def test_confidences() -> None:
    """0 to 1 with 6 decimals; whole numbers are written as such."""
    assert [confidence_number(value) for value in (1.0, 0.0, 0.1234567, 1.2, -1)] == [1, 0, 0.123457, 1, 0]
    assert str(confidence_number(1.0)) == "1"


def test_pixels_from_ratios() -> None:
    """Edges are rounded and cut, so that no box leaves the frame and neighbours still touch."""
    size = ImageSize(101, 51)
    assert box_of_ratios("a", Box(-0.1, 0.5, 1.3, 0.6), size, 1) == PixelBox("a", 0, 26, 101, 25, 1)
    for split in (0.1, 0.333, 0.5, 0.70297):
        one = box_of_ratios("a", Box(0.0, 0.0, split, 1.0), size, 1)
        other = box_of_ratios("a", Box(split, 0.0, 1 - split, 1.0), size, 1)
        assert one.left + one.width == other.left
        assert other.left + other.width == 101
    assert box_of_edges("a", size, left=-3, top=0.5, right=200, bottom=50.4) == PixelBox("a", 0, 1, 101, 49)
    assert is_outside(size, left=-0.1, top=0, right=5, bottom=5)
    assert not is_outside(size, left=0, top=0, right=101, bottom=51)
    assert [rounded(value) for value in (0.5, 1.5, 2.4999)] == [1, 2, 2]


def test_boxes_that_are_too_small() -> None:
    """A side must have more than one pixel after the service has scaled the image to 1,280 px."""
    assert is_too_small(1, 50, ImageSize(640, 480))
    assert not is_too_small(1.1, 50, ImageSize(640, 480))
    assert not is_too_small(2, 2, ImageSize(640, 480))
    assert is_too_small(2, 9, ImageSize(2560, 480))
    assert is_too_small(3, 9, ImageSize(480, 3840))
    assert not is_too_small(4, 9, ImageSize(480, 3840))
    lines = writer(io.BytesIO())
    kept = lines.usable(ImageSize(640, 480), [PixelBox("a", 0, 0, 1, 9), PixelBox("a", 0, 0, 2, 9)])
    assert [box.width for box in kept] == [2]
    assert lines.counts.notes["boxes_too_small"] == 1


def test_text_and_numbers_beyond_utf_8_and_64_bits() -> None:
    """A lone half of a surrogate pair stays an escape, a long whole number keeps its digits: no command ends."""
    content = encode_json({"a\ud800": ["ü", 2**70, float("inf"), {"b": 0.5}]})
    assert content == '{"a\\ud800":["ü",1180591620717411303424,null,{"b":0.5}]}'.encode()
    assert json.loads(content)["a\ud800"][:2] == ["ü", 2**70]
