"""A stored detection decodes to exactly the original, bit by bit."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncfilter.checkpoint.codec import MOST_EXTRA_BYTES, AskedLabels, decode, encode
from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.checkpoint.interning import Interned, LabelDefinition
from asyncfilter.model import Box, Detection, Instance, Label
from tests.kit.fuzzing import bounded

RECORDED = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rekognition" / "detect_labels_recorded.jsonl"
)


class Table(list[Any]):
    """A table of interned values, as the file holds them."""

    def load(self, first: int) -> Sequence[Any]:
        """All entries from ``first`` on."""
        return self[first:]


class Tables:
    """The tables of one file, and a process that uses them."""

    def __init__(self) -> None:
        self.stored_labels, self.stored_texts = Table(), Table()

    def process(self) -> tuple[Interned[LabelDefinition], Interned[str]]:
        """The tables as another process loads them."""
        return Interned(self.stored_labels.load), Interned(self.stored_texts.load)


def single(value: float) -> float:
    """The float32 nearest to ``value``."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


singles = st.floats(width=32)
service_numbers = st.floats(-2, 101).map(single)
numbers = st.one_of(
    st.just(service_numbers),
    st.just(service_numbers.map(lambda value: round(value, 10))),
    st.just(service_numbers.map(lambda value: round(value, 4))),
    st.just(st.floats(-1, 101).map(lambda value: round(value, 2))),
    st.just(singles),
    st.just(st.floats()),
)
names = st.text(min_size=1, max_size=6)
name_lists = st.lists(names, max_size=3).map(tuple)


def detections_of(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Detection]:
    """Detections whose numbers are drawn from ``numbers``."""
    boxes = st.builds(Box, numbers, numbers, numbers, numbers)
    instances = st.lists(st.builds(Instance, boxes, numbers), max_size=4).map(tuple)
    labels = st.builds(Label, names, numbers, instances, name_lists, name_lists, name_lists)
    return st.builds(Detection, st.lists(labels, max_size=8).map(tuple), st.text(max_size=4), st.binary(max_size=30))


detections = numbers.flatmap(detections_of)


def bits(detection: Detection) -> tuple[bytes, Any]:
    """Numbers as their bits, all else unchanged: -0.0 and NaN are equal only to themselves."""
    values: list[float] = []
    rest: list[Any] = [detection.model_version, detection.extra]
    for label in detection.labels:
        values.append(label.confidence_pct)
        rest.append((label.name, label.parents, label.aliases, label.categories, len(label.instances)))
        for instance in label.instances:
            box = instance.box
            values += (instance.confidence_pct, box.left, box.top, box.width, box.height)
    return struct.pack(f"<{len(values)}d", *values), rest


@given(st.lists(detections, min_size=1, max_size=4))
def test_every_detection_survives(given_detections: list[Detection]) -> None:
    """Another process reads back any numbers, names and extras unchanged, also while tables grow."""
    tables = Tables()
    labels, texts = tables.process()
    reader = tables.process()
    for detection in given_detections:
        stored = encode(detection, labels, texts)
        tables.stored_labels += [value for _, value in labels.unsaved]
        tables.stored_texts += [value for _, value in texts.unsaved]
        labels.saved()
        texts.saved()
        assert bits(decode(stored, *reader)) == bits(detection)


@settings(deadline=None)  # the example with 65,536 labels is slow on a busy machine
@given(
    st.lists(detections, min_size=1, max_size=4),
    st.sets(st.text(max_size=1), max_size=9),
    st.sampled_from([0, 1 << 8]),
)
@example([Detection((Label("Bird", 99.0), Label("Robin", 98.0)))], {"R"}, 1 << 16)
def test_selected_labels_are_those_of_the_whole(
    given_detections: list[Detection], initials: set[str], others: int
) -> None:
    """Reading selected names gives the detection without all other labels, for any names, also while tables grow."""

    def is_selected(label: Label) -> bool:
        return label.confidence_pct == 0 and label.name[:1] in initials

    tables = Tables()
    tables.stored_labels += [(f"{number:08}", (), (), ()) for number in range(others)]
    labels, texts = tables.process()
    selected = AskedLabels(tables.process()[0], is_selected)
    for detection in given_detections:
        stored = encode(detection, labels, texts)
        tables.stored_labels += [value for _, value in labels.unsaved]
        labels.saved()
        selected.catch_up()
        bare = [msgspec.structs.replace(label, instances=()) for label in detection.labels]
        wanted = tuple(label for label in bare if label.name[:1] in initials)
        assert bits(selected.decode(stored)) == bits(Detection(wanted))


@given(st.lists(service_numbers, min_size=1, max_size=30), st.sampled_from([None, 10, 4]))
def test_the_service_s_numbers_take_four_bytes(values: list[float], decimals: int | None) -> None:
    """Numbers with full float32 digits, ten decimals and four decimals are all stored as float32."""
    # Adding zero makes -0.0 positive: the sign of a zero is kept too, but takes eight bytes.
    shown = [(value if decimals is None else round(value, decimals)) + 0.0 for value in values]
    detection = Detection(tuple(Label("Bird", value) for value in shown))
    stored = encode(detection, *Tables().process())
    assert len(stored) == 1 + 3 + 5 * len(values)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_called_damaged(stored: bytes) -> None:
    """Damaged data raises one kind of error and no other."""
    tables = Tables()
    tables.stored_labels += [("Bird", (), (), ())]
    tables.stored_texts += ["3.0"]
    with suppress(CorruptRowError):
        decode(stored, *tables.process())
    selected = AskedLabels(tables.process()[0], lambda _: True)
    selected.catch_up()
    with suppress(CorruptRowError):
        selected.decode(stored)


def test_an_extra_part_that_inflates_without_end_is_damage() -> None:
    """A row of 200 KB that would need 200 MB is refused within little more than the bound; the largest one is read."""
    largest = Detection((), "", b"x" * MOST_EXTRA_BYTES)
    tables = Tables()
    labels, texts = tables.process()
    stored = encode(largest, labels, texts)
    tables.stored_texts += [value for _, value in texts.unsaved]
    assert decode(stored, *tables.process()) == largest
    bomb = encode(Detection((), ""), *tables.process())
    bomb = bytes([bomb[0] | 0x10]) + bomb[1:] + zlib.compress(bytes(200_000_000))
    with bounded(3 * MOST_EXTRA_BYTES), pytest.raises(CorruptRowError, match="extra"):
        decode(bomb, *tables.process())


def test_labels_of_another_table_are_damage() -> None:
    """A number beyond the table is an error and is not skipped as an unselected label."""
    stored = encode(Detection((Label("Bird", 99.0), Label("Robin", 98.0))), *Tables().process())
    tables = Tables()
    tables.stored_labels += [("Bird", (), (), ())]
    selected = AskedLabels(tables.process()[0], lambda _: False)
    selected.catch_up()
    with pytest.raises(CorruptRowError):
        selected.decode(stored)


def test_a_number_waits_until_it_is_stored() -> None:
    """Names of a transaction that was rolled back are written with the next one: the tables have no gap."""
    labels, _ = Tables().process()
    assert labels.numbers([("A", (), (), ()), ("B", (), (), ())]) == [0, 1]
    labels.saved()
    assert labels.number(("C", (), (), ())) == 2
    assert labels.number(("D", (), (), ())) == 3
    assert labels.unsaved == [(2, ("C", (), (), ())), (3, ("D", (), (), ()))]


def recorded() -> list[Detection]:
    """The recorded answers as detections."""
    if not RECORDED.exists():
        pytest.skip(f"the recorded answers are not here: {RECORDED}")
    answers = [json.loads(line)["response"] for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    return [Detection(tuple(_label(label) for label in a["Labels"]), a["LabelModelVersion"]) for a in answers]


def _label(label: dict[str, Any]) -> Label:
    instances = []
    for instance in label["Instances"]:
        box = instance["BoundingBox"]
        instances.append(
            Instance(Box(box["Left"], box["Top"], box["Width"], box["Height"]), float(instance["Confidence"]))
        )
    parents = tuple(parent["Name"] for parent in label["Parents"])
    return Label(label["Name"], float(label["Confidence"]), tuple(instances), parents)


@pytest.mark.real
def test_recorded_answers_survive_in_half_the_size() -> None:
    """All recorded answers are restored exactly, each number in four bytes."""
    answers = recorded()
    labels, texts = Tables().process()
    stored = [encode(detection, labels, texts) for detection in answers]
    assert [bits(decode(one, labels, texts)) for one in stored] == [bits(detection) for detection in answers]
    values = [len(label.instances) * 5 + 1 for detection in answers for label in detection.labels]
    assert sum(map(len, stored)) < 8 * sum(values)
    assert not any(math.isnan(label.confidence_pct) for detection in answers for label in detection.labels)
