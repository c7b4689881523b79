"""Manifests may come from anybody: no line stops the reader, none vanishes, and what is repaired is sound."""

from __future__ import annotations

import io
import json
from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncfilter.datasets.manifests.codes import RANKS, Consequence, Severity
from asyncfilter.datasets.manifests.fixing import Fixer
from asyncfilter.datasets.manifests.line_checks import LineState, read_manifest
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.statistics import statistics_of
from asyncfilter.datasets.manifests.validation import validate
from asyncfilter.report.as_json import json_line, json_text
from asyncfilter.report.terminal.manifest import statistics_lines, validation_lines
from tests.kit.fuzzing import IS_LONG, MIB, bounded, damaged, fuzz
from tests.kit.manifests import CASES, MOMENT, box, box_metadata, label_metadata, size

LINES = [case.content for case in CASES if len(case.content) < 20_000]
MANIFESTS = [b"\n".join(LINES[at : at + 5]) for at in range(0, len(LINES), 5)]
TOKENS = [
    *(b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"\xff", b"\0", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":"),
    *(b'"source-ref":', b"s3://", b"-metadata", b"null", b"NaN", b"1e999", b"-0", b"9" * 400, b"\\ud800", b"0.5"),
    *(b'"class_id":', b'"confidence":', b'"annotations":[]', b'"objects":', b"groundtruth/", b"\xe2\x80\xa8"),
]


passes = settings(fuzz, deadline=timedelta(seconds=10) if IS_LONG else None)
"""A file is read seven times here, and its memory is traced."""


def check_everything(body: bytes) -> None:
    """All promises about one file, whatever is in it."""
    lines = list(read_lines(io.BytesIO(body)))
    assert b"".join(line.content + line.end for line in lines if line.is_whole) == body or len(body) > MIB
    assert sum(line.size_bytes for line in lines) == len(body)
    source, out, rejected = io.BytesIO(body), io.BytesIO(), io.BytesIO()
    fixer = Fixer(source, out=out, rejected=rejected, creation_date=MOMENT)
    result = validate(source, file="a.manifest", on_line=fixer.add, on_finding=json_line)
    tally = result.tally
    assert tally.lines == len(lines) == tally.valid + tally.invalid + tally.ignored
    assert tally.blank <= tally.dropped <= tally.invalid
    assert fixer.kept + fixer.repaired + fixer.rejected == tally.lines
    assert sum(result.log.counts.values()) == result.log.total
    json.loads(json_text(result.as_mapping()))
    list(validation_lines(result))
    for checked in read_manifest(io.BytesIO(body)):
        codes = [found.code for found in checked.findings]
        assert codes == sorted(codes, key=RANKS.__getitem__)
        assert codes or checked.state is LineState.VALID
        assert checked.is_dropped == any(found.effect is Consequence.DROPPED for found in checked.findings)
        assert (checked.state is LineState.VALID) == bool(checked.label_names())
    check_fixed(out.getvalue(), fixer.kept + fixer.repaired)
    found = statistics_of(io.BytesIO(body))
    json_text(found.as_mapping())
    list(statistics_lines("a", found))


def check_fixed(out: bytes, lines: int) -> None:
    """The output of a repair has no error in a line, and is its own repair."""
    again, rejected = io.BytesIO(), io.BytesIO()
    source = io.BytesIO(out)
    fixer = Fixer(source, out=again, rejected=rejected, creation_date="2000-01-01T00:00:00.000")
    result = validate(source, file="a.manifest", on_line=fixer.add)
    assert not [found for found in result.log.kept if found.line and found.severity is Severity.ERROR]
    assert (again.getvalue(), rejected.getvalue()) == (out, b"")
    assert (fixer.kept, fixer.repaired, result.tally.dropped) == (lines, 0, 0)


@passes
@given(damaged(MANIFESTS, TOKENS, most_bytes=64 * 1024))
@example(b"\n" * 500)
@example(b"[" * 200_000)
@example(b'{"source-ref":"s3://pictures/a","a":' + b"9" * 5000)
@example(b'{"source-ref":"s3://pictures/a","a":' + b"9" * 5000 + b',"b":NaN}')
@example(b'{"source-ref":"s3://pictures/a","a":' + b'{"a":' * 98 + b"1" + b"}" * 99)
def test_a_damaged_manifest_is_read(body: bytes) -> None:
    """Every physical line is accounted for, in bounded memory."""
    with bounded(64 * len(body) + 4 * MIB):
        check_everything(body)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["0", "yes"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
EDGES = st.one_of(st.integers(-3, 700), st.floats(-3, 700), st.sampled_from([0, 640, 480, 639.5]))
BOXES = st.builds(box, EDGES, EDGES, EDGES, EDGES, st.sampled_from([0, 0, 0, 1, 7])) | JSON
SIZES = st.sampled_from([size(), size(), size(1300, 64), size(5000, 480), size(640.5, 480), size()[0]]) | JSON


def changed(fields: dict[str, object]) -> st.SearchStrategy[dict[str, object]]:
    """Metadata of which some fields are missing or something else."""
    members = {name: st.just(value) | st.just(value) | JSON for name, value in fields.items()}
    return st.fixed_dictionaries({}, optional=members)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, object]:
    """A line with attributes of all kinds, some of whose parts are no good."""
    document: dict[str, object] = {"source-ref": f"s3://pictures/{draw(st.integers(0, 3))}.jpg"}
    for number in range(draw(st.integers(0, 2))):
        document |= {
            f"l{number}": draw(st.integers(0, 3) | JSON),
            f"l{number}-metadata": draw(changed(label_metadata()) | JSON),
        }
    for number in range(draw(st.integers(0, 2))):
        boxes = draw(st.lists(BOXES, max_size=4))
        document[f"b{number}"] = draw(st.just({"image_size": draw(SIZES), "annotations": boxes}) | JSON)
        document[f"b{number}-metadata"] = draw(st.just(box_metadata(len(boxes))) | changed(box_metadata(len(boxes))))
    return document


@passes
@given(st.lists(documents(), max_size=4))
def test_fuzzed_lines_are_accounted_for(lines: list[dict[str, object]]) -> None:
    """Lines that are JSON, with anything in the places of labels, boxes and metadata."""
    check_everything("\n".join(map(json.dumps, lines)).encode())


@fuzz
@given(st.lists(st.integers(0, 400).map(str)), st.lists(st.integers(0, 400).map(str)))
def test_the_index_is_a_dictionary(ones: list[str], others: list[str]) -> None:
    """It keeps the number of the first of equal addresses, and finds what two indexes share."""
    index, expected = RefIndex(), dict[str, int]()
    for number, ref in enumerate(ones, 1):
        assert index.add(ref, number) == expected.get(ref, 0)
        expected.setdefault(ref, number)
    assert len(index) == len(expected)
    assert all(index.find(ref) == expected.get(ref, 0) for ref in [*ones, *others, "none"])
    other = RefIndex()
    for number, ref in enumerate(others, 1):
        other.add(ref, number)
    shared = set(ones) & set(others)
    count, first, there = index.shared_with(other)
    assert count == len(shared)
    assert not shared or first == min(expected[ref] for ref in shared)
    assert not shared or there == others.index(ones[first - 1]) + 1
