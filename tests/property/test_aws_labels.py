"""A detection and its ``extra`` together hold the whole answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.aws.detectors.custom_labels import read_custom_labels
from asyncfilter.aws.detectors.labels import read_labels
from asyncfilter.errors import AccessError
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.model import Box, Detection, Instance, Label

NAMES = st.text(min_size=1, max_size=12)
PCT = st.floats(0, 100, allow_nan=False)
RATIO = st.floats(-0.2, 1.2, allow_nan=False)
JSON = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text(max_size=5).filter(bool),
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text(max_size=4), inner, min_size=1),
    max_leaves=5,
)
BOX = st.fixed_dictionaries({"Width": RATIO, "Height": RATIO, "Left": RATIO, "Top": RATIO})


def with_unknown(fields: Any, optional: Any = None) -> st.SearchStrategy[dict[str, Any]]:
    """An object with its known fields and sometimes an unknown one, as AWS may add."""
    known = st.fixed_dictionaries(fields, optional=optional)
    return st.builds(
        lambda a, b: {**b, **a}, known, st.dictionaries(st.sampled_from(["New", "Other"]), JSON, max_size=1)
    )


NAMED = st.lists(with_unknown({"Name": NAMES}), max_size=2)
INSTANCE = with_unknown({"BoundingBox": BOX, "Confidence": PCT}, {"DominantColors": JSON})
LABEL = with_unknown(
    {"Name": NAMES, "Confidence": PCT},
    {"Instances": st.lists(INSTANCE, max_size=3), "Parents": NAMED, "Aliases": NAMED, "Categories": NAMED},
)
ANSWER = with_unknown(
    {"Labels": st.lists(LABEL, max_size=4)},
    {
        "LabelModelVersion": st.just("3.0"),
        "OrientationCorrection": st.none() | st.just("ROTATE_90"),
        "ImageProperties": JSON,
    },
)
GEOMETRY = with_unknown({"BoundingBox": BOX}, {"Polygon": st.lists(st.fixed_dictionaries({"X": RATIO}), min_size=1)})


def overlaid(value: Any, overlay: Any) -> Any:
    """Apply an overlay as ``asyncfilter.aws.detectors.labels`` documents it."""
    if isinstance(value, list):
        return [overlaid(item, overlay.get(str(index), {})) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {
            **value,
            **{name: overlaid(value[name], rest) if name in value else rest for name, rest in overlay.items()},
        }
    return overlay or value


def answer_of(detection: Detection) -> dict[str, Any]:
    """The answer that the modelled part of a detection represents."""
    labels = [
        {
            "Name": label.name,
            "Confidence": label.confidence_pct,
            "Instances": [
                {
                    "BoundingBox": {
                        "Width": one.box.width,
                        "Height": one.box.height,
                        "Left": one.box.left,
                        "Top": one.box.top,
                    },
                    "Confidence": one.confidence_pct,
                }
                for one in label.instances
            ],
            "Parents": [{"Name": name} for name in label.parents],
            "Aliases": [{"Name": name} for name in label.aliases],
            "Categories": [{"Name": name} for name in label.categories],
        }
        for label in detection.labels
    ]
    return {"Labels": labels, "LabelModelVersion": detection.model_version}


def without_empty(value: Any) -> Any:
    """The answer without nulls and empty lists, which carry no information."""
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    if isinstance(value, dict):
        return {name: without_empty(item) for name, item in value.items() if item not in (None, [], "")}
    return value


def whole(detection: Detection) -> Any:
    """The answer that detection and extra together represent."""
    extra = json.loads(detection.extra) if detection.extra else {}
    return without_empty(overlaid(answer_of(detection), extra))


@given(ANSWER)
def test_detect_labels_answers_are_kept_whole(answer: dict[str, Any]) -> None:
    """Known and unknown fields are restored from detection and extra."""
    assert whole(read_labels(json.dumps(answer).encode())) == without_empty(answer)


def test_a_plain_answer_needs_no_extra() -> None:
    """The usual answers of Rekognition are fully modelled: their extra is empty."""
    answer = {
        "Labels": [{"Name": "Bird", "Confidence": 99.5, "Instances": [], "Parents": [{"Name": "Animal"}]}],
        "LabelModelVersion": "3.0",
        "OrientationCorrection": None,
    }
    detection = read_labels(json.dumps(answer).encode())
    assert detection.extra == b""
    assert detection.labels == (Label("Bird", 99.5, parents=("Animal",)),)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"Labels": 7}', b'{"Labels": [{"Confidence": 1}]}'])
@pytest.mark.parametrize("read", [read_labels, read_custom_labels])
def test_nonsense_is_refused(read: Callable[[bytes], Detection], body: bytes) -> None:
    """A body that is no such answer raises an error and is not read as an image without labels."""
    with pytest.raises(msgspec.DecodeError):
        read(body.replace(b"Labels", b"CustomLabels") if read is read_custom_labels else body)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), PCT, BOX), max_size=6))
def test_custom_labels_of_one_name_become_one_label_with_their_boxes(
    found: list[tuple[str, float, dict[str, float]]],
) -> None:
    """Every box keeps its confidence; the label has the highest of them; labels are sorted by falling confidence."""
    entries = [{"Name": n, "Confidence": c, "Geometry": {"BoundingBox": box}} for n, c, box in found]
    detection = read_custom_labels(json.dumps({"CustomLabels": entries}).encode())
    for label in detection.labels:
        known = [(c, box) for n, c, box in found if n == label.name]
        boxes = [Instance(Box(b["Left"], b["Top"], b["Width"], b["Height"]), c) for c, b in known]
        assert label.instances == tuple(boxes)
        assert label.confidence_pct == max(c for c, _ in known)
    assert {label.name for label in detection.labels} == {n for n, _, _ in found}
    assert [label.confidence_pct for label in detection.labels] == sorted(
        (label.confidence_pct for label in detection.labels), reverse=True
    )
    assert detection.extra == b""


def test_custom_labels_of_a_classifier_have_no_boxes() -> None:
    """Answers of image-level models have no geometry."""
    detection = read_custom_labels(b'{"CustomLabels":[{"Name":"good","Confidence":91.5}]}')
    assert detection.labels == (Label("good", 91.5),)


def test_polygons_and_unknown_fields_of_custom_labels_are_kept_at_their_instance() -> None:
    """``extra`` is an overlay of the detection's form, not of the answer's."""
    box = {"Width": 0.1, "Height": 0.1, "Left": 0.1, "Top": 0.1}
    answer = {
        "CustomLabels": [
            {"Name": "a", "Confidence": 90, "Geometry": {"BoundingBox": box}},
            {"Name": "b", "Confidence": 80, "Geometry": {"BoundingBox": box, "Polygon": [{"X": 0, "Y": 1}]}, "New": 1},
            {"Name": "a", "Confidence": 70, "Geometry": {"BoundingBox": box, "Polygon": [{"X": 1, "Y": 1}]}},
        ],
        "Later": {"x": 1},
    }
    detection = read_custom_labels(json.dumps(answer).encode())
    assert json.loads(detection.extra) == {
        "Later": {"x": 1},
        "Labels": {
            "0": {"Instances": {"1": {"Polygon": [{"X": 1, "Y": 1}]}}},
            "1": {"Instances": {"0": {"Polygon": [{"X": 0, "Y": 1}], "New": 1}}},
        },
    }


def test_a_model_arn_is_taken_apart() -> None:
    """Region and names come from the ARN; any other text is refused with the expected form."""
    arn = "arn:aws:rekognition:eu-west-1:123456789012:project/birds/version/birds.2026-01-01T10.00.00/1767261600000"
    assert ModelArn.parse(arn) == ModelArn("eu-west-1", "birds", "birds.2026-01-01T10.00.00")
    for wrong in ("", "birds", arn.replace("rekognition", "sagemaker"), arn.partition("/version")[0]):
        with pytest.raises(AccessError, match="not the ARN"):
            ModelArn.parse(wrong)


RECORDED = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rekognition" / "detect_labels_recorded.jsonl"
)


@pytest.mark.real
@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded answers on this machine")
def test_recorded_answers_are_kept_whole() -> None:
    """Recorded answers of label model 2.0, without the metadata of the SDK."""
    for line in RECORDED.read_text().splitlines():
        answer = json.loads(line)["response"]
        answer.pop("ResponseMetadata", None)
        assert whole(read_labels(json.dumps(answer).encode())) == without_empty(answer)
