"""Lines with damaged members, united and converted: an error with a code, or a result that can be read."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.datasets.exchange.coco import CocoWriter
from asyncfilter.datasets.exchange.conversion import Conversion
from asyncfilter.datasets.exchange.names import FileNames
from asyncfilter.datasets.manifests.merging import Merger, OnConflict
from asyncfilter.datasets.manifests.writing import Classes
from asyncfilter.errors import AsyncFilterError
from tests.kit.manifests import D, box, box_line, box_metadata, image_line, label_metadata, ref

IMAGE = image_line("Robin", "Wren", source_ref=ref(1))
BOXES = box_line(box(), box(class_id=1), metadata=box_metadata(2)) | {"source-ref": ref(1)}
MULTI: D = {
    "source-ref": ref(1),
    "m": [1, 0],
    "m-metadata": label_metadata(type="groundtruth/image-classification-multilabel")
    | {"class-map": {"0": "Robin", "1": "Crow"}, "confidence-map": {"0": 0.5, "1": 1}},
}
LINES = [IMAGE, BOXES, MULTI, IMAGE | BOXES, IMAGE | MULTI]
VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 97.5, 2**70, 1e308, 0.5, "", "x", "\ud800", [], [1], {}, {"0": "a"}, {"": ""}),
    *({"-1": "q", "0": "r", "00": "s"}, "groundtruth/object-detection", "groundtruth/image-classification"),
]
NAMES = ["label0", "label1", "boxes", "boxes-metadata", "x-metadata", "k\ud800"]


def damaged(chance: random.Random, value: Any) -> Any:
    """A copy of a JSON value, with some members changed, gone or new."""
    if isinstance(value, list):
        return [damaged(chance, member) for member in value]
    if not isinstance(value, dict):
        return value
    members = {name: damaged(chance, member) for name, member in value.items()}
    if members and chance.random() < 0.1:
        members[chance.choice(list(members))] = chance.choice(VALUES)
    if members and chance.random() < 0.05:
        members.pop(chance.choice(list(members)))
    if chance.random() < 0.05:
        members[chance.choice(NAMES)] = chance.choice(VALUES)
    return members


def union(manifests: list[bytes]) -> bytes:
    """The manifests as one."""
    out = io.BytesIO()
    inputs = [(f"file {number}", io.BytesIO(body)) for number, body in enumerate(manifests)]
    Merger(inputs, on_conflict=OnConflict.UNION).merge(out)
    return out.getvalue()


def custom_labels(manifests: list[bytes]) -> bytes:
    """All lines, SageMaker's turned."""
    out = io.BytesIO()
    conversion().write_lines(io.BytesIO(b"".join(manifests)), out)
    return out.getvalue()


def multi_label(manifests: list[bytes]) -> bytes:
    """All lines in SageMaker's form."""
    out = io.BytesIO()
    conversion().write_multi_label(io.BytesIO(b"".join(manifests)), out, attribute=None)
    return out.getvalue()


def coco(manifests: list[bytes]) -> bytes:
    """All boxes as COCO, in one line."""
    pytest.importorskip("globox", reason="globox is not installed")
    out, converting = io.BytesIO(), conversion()
    converting.write_files(io.BytesIO(b"".join(manifests)), CocoWriter(out, converting.classes), has_files=False)
    return out.getvalue().replace(b"\n", b"")


def conversion() -> Conversion:
    """One conversion."""
    return Conversion(classes=Classes(), names=FileNames.KEY, s3_path=None, images=None)


@pytest.mark.parametrize("change", [union, custom_labels, multi_label, coco])
@given(chance=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_damaged_members_are_no_internal_error(change: Callable[[list[bytes]], bytes], chance: random.Random) -> None:
    """What cannot be used is refused with a code; what is written is JSON."""
    for _ in range(5):
        documents = [damaged(chance, chance.choice(LINES)) for _ in range(2)]
        try:
            written = change([json.dumps(document).encode() + b"\n" for document in documents])
        except AsyncFilterError:
            continue
        for line in written.splitlines():
            json.loads(line)
