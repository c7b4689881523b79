"""What is stored of a detection gives back exactly what came, bit by bit."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncfilter.checkpoint.codec import AskedLabels, decode, encode
from asyncfilter.checkpoint.faults import DamagedError
from asyncfilter.checkpoint.interning import Interned, LabelDefinition
from asyncfilter.model import Box, Detection, Instance, Label

RECORDED = (
    Path(__file__).resolve().parents[2].parent / "shared" / "data" / "rekognition" / "detect_labels_recorded.jsonl"
)


class Table(list[Any]):
    """Interned values as a file would hold them."""

    def load(self, first: int) -> Sequence[Any]:
        """Everything from ``first`` on."""
        return self[first:]


class Tables:
    """The tables of one file, and a process that reads them."""

    def __init__(self) -> None:
        self.stored_labels, self.stored_words = Table(), Table()

    def process(self) -> tuple[Interned[LabelDefinition], Interned[str]]:
        """What another process begins with."""
        return Interned(self.stored_labels.load), Interned(self.stored_words.load)


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
    """Detections whose numbers come from one place."""
    boxes = st.builds(Box, numbers, numbers, numbers, numbers)
    instances = st.lists(st.builds(Instance, boxes, numbers), max_size=4).map(tuple)
    labels = st.builds(Label, names, numbers, instances, name_lists, name_lists, name_lists)
    return st.builds(Detection, st.lists(labels, max_size=8).map(tuple), st.text(max_size=4), st.binary(max_size=30))


detections = numbers.flatmap(detections_of)


def bits(detection: Detection) -> tuple[bytes, Any]:
    """All numbers as their bits, and all the rest as it is: equal for -0.0 and NaN only when they are the same."""
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
    """Whatever numbers, names and extras: another process reads back the same, also while tables grow."""
    tables = Tables()
    labels, words = tables.process()
    reader = tables.process()
    for detection in given_detections:
        stored = encode(detection, labels, words)
        tables.stored_labels += [value for _, value in labels.unsaved]
        tables.stored_words += [value for _, value in words.unsaved]
        labels.saved()
        words.saved()
        assert bits(decode(stored, *reader)) == bits(detection)


@settings(deadline=None)  # the example with 65,536 labels takes its time on a busy machine
@given(
    st.lists(detections, min_size=1, max_size=4),
    st.sets(st.text(max_size=1), max_size=9),
    st.sampled_from([0, 1 << 8]),
)
@example([Detection((Label("Bird", 99.0), Label("Robin", 98.0)))], {"R"}, 1 << 16)
def test_the_labels_asked_for_are_those_of_the_whole(
    given_detections: list[Detection], initials: set[str], others: int
) -> None:
    """Whatever is asked, however many labels there are and while tables grow: as if the rest were taken out."""

    def is_asked(label: Label) -> bool:
        return label.confidence_pct == 0 and label.name[:1] in initials

    tables = Tables()
    tables.stored_labels += [(f"{number:08}", (), (), ()) for number in range(others)]
    labels, words = tables.process()
    asked = AskedLabels(tables.process()[0], is_asked)
    for detection in given_detections:
        stored = encode(detection, labels, words)
        tables.stored_labels += [value for _, value in labels.unsaved]
        labels.saved()
        asked.catch_up()
        bare = [msgspec.structs.replace(label, instances=()) for label in detection.labels]
        wanted = tuple(label for label in bare if label.name[:1] in initials)
        assert bits(asked.decode(stored)) == bits(Detection(wanted))


@given(st.lists(service_numbers, min_size=1, max_size=30), st.sampled_from([None, 10, 4]))
def test_the_service_s_numbers_take_four_bytes(values: list[float], decimals: int | None) -> None:
    """Full float32 digits, ten decimals and four decimals are all stored as float32."""
    # Adding zero: the sign of a zero is kept too, but takes eight bytes.
    shown = [(value if decimals is None else round(value, decimals)) + 0.0 for value in values]
    detection = Detection(tuple(Label("Bird", value) for value in shown))
    stored = encode(detection, *Tables().process())
    assert len(stored) == 1 + 3 + 5 * len(values)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_called_damaged(stored: bytes) -> None:
    """Damage is one error, never a crash of another kind."""
    tables = Tables()
    tables.stored_labels += [("Bird", (), (), ())]
    tables.stored_words += ["3.0"]
    with suppress(DamagedError):
        decode(stored, *tables.process())
    asked = AskedLabels(tables.process()[0], lambda _: True)
    asked.catch_up()
    with suppress(DamagedError):
        asked.decode(stored)


def test_labels_of_another_table_are_damage() -> None:
    """A number beyond the table is never taken for a label that nobody asks for."""
    stored = encode(Detection((Label("Bird", 99.0), Label("Robin", 98.0))), *Tables().process())
    tables = Tables()
    tables.stored_labels += [("Bird", (), (), ())]
    asked = AskedLabels(tables.process()[0], lambda _: False)
    asked.catch_up()
    with pytest.raises(DamagedError):
        asked.decode(stored)


def test_a_number_waits_until_it_is_stored() -> None:
    """What a transaction that was rolled back had named goes into the next one: the tables have no hole."""
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
    """All real answers come back exactly, each number in four bytes."""
    answers = recorded()
    labels, words = Tables().process()
    stored = [encode(detection, labels, words) for detection in answers]
    assert [bits(decode(one, labels, words)) for one in stored] == [bits(detection) for detection in answers]
    values = [len(label.instances) * 5 + 1 for detection in answers for label in detection.labels]
    assert sum(map(len, stored)) < 8 * sum(values)
    assert not any(math.isnan(label.confidence_pct) for detection in answers for label in detection.labels)
