"""The sandbox judges manifests as ``manifest validate`` does, though neither uses the other's code."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given

from asyncfilter.datasets.manifests.line_checks import CheckedLine, read_manifest
from asyncfilter.sandbox.custom_labels.annotation import DATASET_KEYS, TRAINING_KEYS, annotated, encoded
from asyncfilter.sandbox.custom_labels.entries import DatasetError, read_entries, split_lines
from asyncfilter.sandbox.custom_labels.judgement import JudgedLine, judge
from asyncfilter.sandbox.custom_labels.messages import LINE_MESSAGES
from tests.kit.fuzzing import fuzz
from tests.kit.manifests import CASES, Case, box_line, image_line
from tests.kit.manifests import encoded as encoded_line
from tests.property.test_fuzz_manifests import documents


def checked_line(content: bytes) -> CheckedLine:
    """The line as ``manifest validate`` sees it."""
    (found,) = read_manifest(io.BytesIO(content + b"\n"))
    return found


def state_of(checked: CheckedLine) -> str:
    """Its state in the words of the sandbox."""
    return "dropped" if checked.is_dropped else checked.state.value


def compare(judged: JudgedLine, checked: CheckedLine) -> None:
    """The same state, the same labels and boxes, and no error that the other does not report."""
    assert judged.fate == state_of(checked)
    assert judged.labels == [label.name for label in checked.labels]
    theirs = [(box.label, box.left, box.top) for attribute in checked.boxes for box in attribute.boxes]
    assert [(box.label, box.left, box.top) for box in judged.boxes] == theirs
    if checked.is_dropped:
        return
    more = {"TOO_MANY_LABELS"} & {found.code for found in checked.findings}
    assert {fault.code for fault in judged.faults} - {found.code for found in checked.findings} <= (
        {"ERROR_NO_VALID_LABEL_ATTRIBUTES"} if more else set()
    )


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.content.strip()], ids=lambda case: repr(case.content[:60])
)
def test_every_case_has_the_same_fate(case: Case) -> None:
    """The cases that ``manifest validate`` is tested with."""
    judged = judge(case.content)
    if b"\n" not in case.content:
        compare(judged, checked_line(case.content))


@pytest.mark.fuzz
@fuzz
@given(documents())
def test_any_line_has_the_same_fate(line: dict[str, object]) -> None:
    """Lines with a member or two that are not as they should be."""
    content = json.dumps(line).encode()
    compare(judge(content), checked_line(content))


@pytest.mark.fuzz
@fuzz
@given(documents())
def test_what_is_added_can_be_taken_away(line: dict[str, object]) -> None:
    """Errors stand beside the members as they were sent, each with the service's message."""
    content = json.dumps(line).encode()
    judged = judge(content)
    for keys in (DATASET_KEYS, TRAINING_KEYS):
        document = annotated(judged, keys)
        found = json.loads(encoded(document))
        codes = json.dumps(found).count('"code": "ERROR_') + json.dumps(found).count('"code": "WARNING_')
        assert codes == len(judged.faults)
        if judged.document:
            assert {name for name in found if name not in judged.document} <= {*keys}
    assert all(fault.code in LINE_MESSAGES for fault in judged.faults)


def test_silent_drops() -> None:
    """Five kinds of lines are not entries; more than a fifth of them is too much."""
    good = [encoded_line(image_line()) for _ in range(20)]
    bad = [b"{", b'{"a":1}', b'{"source-ref":"http://b/k"}', b"", good[0]]
    entries = read_entries(b"\n".join([*good, *bad]) + b"\n", most_rows=100, already={})
    assert [entry.line for entry in entries.values()] == good
    with pytest.raises(DatasetError, match="too many terminal errors"):
        read_entries(b"\n".join([*good, *bad, b"{"]), most_rows=100, already={})


def test_terminal_errors_of_a_file() -> None:
    """Each with the service's message; labels and rows are counted with those that are there."""
    lines = [encoded_line(box_line())] + [encoded_line(image_line(f"l{number}")) for number in range(250)]
    for body, most, message in (
        (b"\n\r\n", 9, "is empty"),
        (b"\n".join(lines[:10]), 9, "too many rows"),
        (b"\n".join(lines), 999, "too many labels"),
    ):
        with pytest.raises(DatasetError, match=message):
            read_entries(body, most_rows=most, already={})
    first = read_entries(lines[0], most_rows=999, already={})
    assert read_entries(b"\n".join(lines[1:250]), most_rows=999, already=first).keys() & first.keys() == set()
    with pytest.raises(DatasetError, match="too many labels"):
        read_entries(b"\n".join(lines[1:]), most_rows=999, already=first)
    with pytest.raises(DatasetError, match="too many rows"):
        read_entries(lines[1], most_rows=1, already=first)
    assert read_entries(lines[0], most_rows=1, already=first) == first


def test_lines_end_as_the_product_reads_them() -> None:
    """Only a line feed ends a line; the last need not have one."""
    assert split_lines(b"a\r\nb\rc\xe2\x80\xa8d\n\ne") == [b"a", b"b\rc\xe2\x80\xa8d", b"", b"e"]
