"""Each code of a line is found where its rule says, and nowhere else."""

from __future__ import annotations

import io

import pytest

from asyncfilter.datasets.manifests.codes import CODES, RANKS, Consequence, Severity
from asyncfilter.datasets.manifests.line_checks import CheckedLine, LineState, read_manifest
from asyncfilter.datasets.manifests.physical_lines import MAX_HELD_BYTES, line_bytes, read_lines
from tests.kit.manifests import CASES, Case, box, box_line, encoded, image_line, ref

OF_FILES = {*list(CODES)[RANKS["ERROR_EMPTY_MANIFEST"] :], "MIXED_USE_CASES", "SIMILAR_LABELS", "FEW_IMAGES"}
ELSEWHERE = {"REPEATED_SOURCE_REF", "IMAGE_SIZE_MISMATCH"}


def state_of(checked: CheckedLine) -> str:
    """The state in the words of ``Case``."""
    return "dropped" if checked.is_dropped else checked.state.value


@pytest.mark.parametrize("expected", CASES, ids=lambda case: f"{case.state}-{'-'.join(case.codes)}"[:70])
def test_a_line(expected: Case) -> None:
    """All findings of the line, in the order of the table, and what the service does with it."""
    (checked,) = read_manifest(io.BytesIO(expected.content + b"\n"))
    assert [found.code for found in checked.findings] == list(expected.codes)
    assert state_of(checked) == expected.state
    assert all(found.line == 1 for found in checked.findings)
    if checked.state is not LineState.VALID:
        assert not checked.labels
        assert not checked.boxes


def test_every_code_of_a_line_has_a_case() -> None:
    """No rule is without a line that breaks it."""
    assert {code for case in CASES for code in case.codes} == CODES.keys() - OF_FILES - ELSEWHERE


def test_facts_of_the_codes_follow_their_names() -> None:
    """The service's warnings are warnings, its errors errors, and what is dropped is never a notice."""
    for code, facts in CODES.items():
        if code.startswith("ERROR_"):
            assert facts.severity is Severity.ERROR
            assert facts.effect is not Consequence.NONE
        if code.startswith("WARNING_"):
            assert (facts.severity, facts.effect) == (Severity.WARNING, Consequence.IGNORED)
        assert facts.hint.endswith(".")


def test_a_message_stays_short() -> None:
    """A name may be as long as its line: a terminal and a log need not show all of it."""
    name = "x" * 90_000
    metadata = {"type": "groundtruth/image-classification", "class-name": name, "confidence": 1}
    line = {"source-ref": "s3://pictures/a", name: 1, f"{name}-metadata": metadata, "label": 1, "label-metadata": {}}
    (checked,) = read_manifest(io.BytesIO(encoded(line)))
    assert checked.findings
    assert max(len(found.message) for found in checked.findings) <= 1001


def test_repeated_addresses() -> None:
    """The message names the earlier line; a line that was dropped itself does not count."""
    first = encoded(image_line(source_ref="s3://pictures/a"))
    lines = [first + b" x", first, encoded(image_line(source_ref="s3://pictures/b")), first, b"", first]
    found = list(read_manifest(io.BytesIO(b"\n".join(lines))))
    assert [state_of(checked) for checked in found] == ["dropped", "valid", "valid", "dropped", "dropped", "dropped"]
    for checked in (found[3], found[5]):
        (repeated,) = checked.findings
        assert repeated.code == "REPEATED_SOURCE_REF"
        assert "line 2 " in repeated.message
    assert [checked.source_ref for checked in found][1:4] == ["s3://pictures/a", "s3://pictures/b", "s3://pictures/a"]


def test_labels_and_boxes_of_a_line() -> None:
    """What can be used is there with its names and numbers, what cannot is not."""
    document = box_line(box(), box(left=-1), box(1, 2, 3, 4, class_id=1), **image_line("Crow"))
    (checked,) = read_manifest(io.BytesIO(encoded(document)))
    assert [(label.attribute, label.name, label.value, label.confidence) for label in checked.labels] == [
        ("label0", "Crow", 1, 1)
    ]
    (boxes,) = checked.boxes
    assert (boxes.size.width, boxes.size.height, boxes.size.depth) == (640, 480, 3)
    assert [(found.label, found.left, found.top, found.width, found.height) for found in boxes.boxes] == [
        ("Robin", 10, 20, 30, 40),
        ("Wren", 1, 2, 3, 4),
    ]
    assert checked.label_names() == ["Crow", "Robin", "Wren"]
    assert checked.place is not None
    assert checked.place.bucket == "pictures"


def test_line_ends() -> None:
    """Only a line feed ends a line, and a carriage return before it belongs to the end."""
    body = b'{"a":"\xe2\x80\xa8\xc2\x85"}\r\n{\r}\n\n\r\nlast\r'
    lines = list(read_lines(io.BytesIO(body)))
    assert [(line.number, line.content, line.end) for line in lines] == [
        (1, b'{"a":"\xe2\x80\xa8\xc2\x85"}', b"\r\n"),
        (2, b"{\r}", b"\n"),
        (3, b"", b"\n"),
        (4, b"", b"\r\n"),
        (5, b"last\r", b""),
    ]
    assert [line.is_blank for line in lines] == [False, False, True, True, False]
    assert b"".join(line.content + line.end for line in lines) == body
    assert line_bytes(lines[4]) == b"last\r\n"
    assert [body[line.offset : line.offset + line.size_bytes] for line in lines] == [
        line.content + line.end for line in lines
    ]
    assert list(read_lines(io.BytesIO(b""))) == []


@pytest.mark.parametrize("extra", [-1, 0, 1, 2, 3, 70_000, 3_000_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_long_lines_are_not_held(extra: int, end: bytes) -> None:
    """A line of any length is one line; only its beginning is held."""
    long = b"x" * (MAX_HELD_BYTES + extra)
    lines = list(read_lines(io.BytesIO(b"1\n" + long + end + (b"3\n" if end else b""))))
    assert [line.number for line in lines] == ([1, 2, 3] if end else [1, 2])
    assert lines[1].size_bytes == len(long) + len(end)
    assert len(lines[1].content) <= MAX_HELD_BYTES + 2
    assert lines[1].is_whole == (extra <= 0) or lines[1].content == long
    if end:
        assert lines[2].offset == 2 + len(long) + len(end)


def test_characters_are_counted_and_not_bytes() -> None:
    """100,000 characters are allowed, however many bytes they have."""
    start = encoded(image_line(source_ref=ref())).decode()[:-1] + ',"x":"'
    for count, is_long in ((100_000, False), (100_001, True)):
        line = start + "😀" * (count - len(start) - 2) + '"}'
        assert len(line) == count
        (checked,) = read_manifest(io.BytesIO(line.encode()))
        assert ("LINE_TOO_LONG" in [found.code for found in checked.findings]) is is_long


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_named(name: str) -> None:
    """The message has the word, and no place where it is not."""
    (checked,) = read_manifest(io.BytesIO(b'{"source-ref":"s3://pictures/1.jpg","x":[' + name.encode() + b"]}"))
    assert [found.message for found in checked.findings] == [f"the line is not JSON: it has {name}"]
