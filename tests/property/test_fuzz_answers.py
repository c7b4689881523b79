"""Files of answers may come from anybody: no byte stops a reader, no unit vanishes, and only sound rows are written."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.datasets.answers.detecting import AnswerFormat, format_of
from asyncfilter.datasets.answers.importing import AnswerImport
from asyncfilter.datasets.answers.trial import Trial
from asyncfilter.errors import UsageError
from asyncfilter.policy.answers.checks import checked_answer
from asyncfilter.records.answers import NewAnswer
from asyncfilter.report.as_json import json_line
from tests.kit.answer_files import NOW_S, Known, annotation, check_sums, choice, rectangle, subject, task, units_of
from tests.kit.fuzzing import EXAMPLES, MIB, bounded, damaged, fuzz
from tests.kit.manifests import CASES

_OURS = {"bucket": "pictures", "key": "a.jpg", "etag": subject("a.jpg").etag, "size_bytes": 1005, "seq": 1}
_TASKS = [
    task(
        "s3://pictures/a.jpg",
        annotation(choice("keep", "Robin"), rectangle(rotation=30)),
        annotation(was_cancelled=True),
    ),
    task("s3://pictures/birds/b%20c.jpg?x=1", annotation(choice("reject"), completed_by={"email": "anna@x.org"})),
    task("s3://pictures/a.jpg", data={"image": "x", "asyncfilter": _OURS}),
    {**annotation(choice("unsure"), rectangle()), "task": task("https://pictures.s3.amazonaws.com/%C3%BC/%C3%9F.jpg")},
]
_ROWS = [
    {"key": "a.jpg", "verdict": "keep", "reviewer": "anna", "uid": "anna-0001", "at": "2024-01-01T00:00:00.000Z"},
    {"key": "a.jpg", "undoes": "anna-0001", "reviewer": "anna", "uid": "anna-0002", "saw": {"score": 1.5}},
    {"key": "a.jpg", "labels": ["x"], "boxes": [{"label": "x", "left": 0.1, "top": 0, "width": 1, "height": 1}]},
]
_CSV = (
    'key,verdict,label,labels,reviewer,at,etag,size_bytes,note\r\na.jpg,keep,Robin,"[""Robin""]",anna,2024-01-01,,,"a\n'
    "b\"\r\n'=1+1.jpg,reject,,,ben,,,,\r\n,,,,,,,,\r\nq?v=1.jpg,unresolved,,,,,,,\r\nü/ß.jpg,UNSURE,,,anna,,,x,\r\n"
)
DOCUMENTS = {
    AnswerFormat.LABEL_STUDIO: [
        json.dumps(_TASKS).encode(),
        json.dumps(_TASKS[0], indent=1).encode(),
        b"\n".join(json.dumps(one).encode() for one in _TASKS),
    ],
    AnswerFormat.JSONL: [b"\n".join(json.dumps(one).encode() for one in _ROWS)],
    AnswerFormat.CSV: [_CSV.encode(), _CSV.replace(",", ";").encode("utf-16"), b"a.jpg,keep,x\nb\n\n=1+1.jpg,no\n"],
    AnswerFormat.GROUND_TRUTH: [
        b"\n".join(case.content.replace(b"s3://pictures/", b"s3://pictures/a.jpg") for case in CASES[at : at + 6])
        for at in range(0, len(CASES), 6)
        if all(len(case.content) < 9_000 for case in CASES[at : at + 6])
    ],
}
TOKENS = [
    *(
        b"\n",
        b"\r\n",
        b"\r",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xff",
        b"\0",
        b'"',
        b"'",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b";",
    ),
    *(b"null", b"NaN", b"1e999", b"-1", b"9" * 400, b"\\ud800", b"true", b'"result":', b'"annotations":', b'"data":'),
    *(
        b'"was_cancelled":true',
        b'"rotation":',
        b"keep",
        b"reject",
        b"s3://",
        b"a.jpg",
        b'"undoes":"anna-0002"',
        b"=",
        b"{}",
    ),
]


class CheckedRows(Trial):
    """An answers file without rows, which refuses what a real one refuses."""

    def __init__(self) -> None:
        super().__init__(None)
        self._reviewers: dict[str, str] = {}

    def add(self, rows: Sequence[NewAnswer]) -> None:
        """Check rows as ``Writing.add`` does."""
        for row in rows:
            assert checked_answer(row) == row
            assert row.uid not in self._reviewers
            assert row.undoes is None or self._reviewers[row.undoes] == row.reviewer
            self._reviewers[row.uid] = row.reviewer


def check_everything(content: bytes, format_: AnswerFormat) -> None:
    """All promises about one file, whatever is in it."""
    found = AnswerImport(known=Known(), reviewer=None, default_reviewer="me", now_unix_s=NOW_S)
    try:
        found.add_all(units_of(content, format_, found.notes, maps=["good=keep"]))
        found.settle()
        rows = CheckedRows()
        found.prepare(rows)
        found.store(rows)
        check_sums(found)
        for problem in found.problems:
            json_line({"at": problem.at, "key": problem.key, "message": problem.message})
    except UsageError:
        pass
    finally:
        found.close()


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, AnswerFormat]:
    """A damaged file, and the format that it is read as, which is mostly its own."""
    format_ = draw(st.sampled_from(AnswerFormat))
    content = draw(damaged(DOCUMENTS[format_], TOKENS, most_bytes=64 * 1024))
    return content, draw(st.sampled_from([format_, format_, format_, *AnswerFormat]))


@fuzz
@given(files())
def test_damaged_files_are_read(file: tuple[bytes, AnswerFormat]) -> None:
    """Each unit is in one place, also where the file has another format than it is read as."""
    check_everything(*file)
    with suppress(UsageError):
        format_of(io.BytesIO(file[0]))


@pytest.mark.parametrize(
    "content",
    [
        (
            b'[{"annotations":[{"result":[{"type":"choices","value":{"choices":["keep"]}}]}],'
            b'"data":{"image":"s3://pictures/a.jpg?\\ud800"}}]'
        ),
        *(b"[" * 60_000, b'{"a":' * 10_000, b'"' * 60_000, b'"a\n' * 20_000, b"\n" * 60_000, b"[" + b"0" * 60_000),
        *(
            b"[" + b"{}," * 20_000 + b"{}]",
            b'{"data":{"image":"' + b"%" * 60_000,
            b"a,keep\n" * 8_000,
            b'"a,\n' * 16_000,
        ),
    ],
)
def test_hostile_files_are_read_in_bounded_memory(content: bytes) -> None:
    """Nesting, open quotes, and units without end, read as every format."""
    with bounded(400 * len(content) + 8 * MIB):
        for format_ in AnswerFormat:
            check_everything(content, format_)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["0", "keep"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A value of which parts are missing or something else."""
    if draw(st.integers(0, 30)) == 0:
        return draw(JSON)
    if isinstance(value, dict):
        kept = {name: member for name, member in value.items() if draw(st.integers(0, 25))}
        return {name: draw(changed(member)) for name, member in kept.items()}
    return [draw(changed(one)) for one in value] if isinstance(value, list) else value


@settings(fuzz, max_examples=max(1, EXAMPLES // 3))
@given(st.data())
def test_fuzzed_documents_are_accounted_for(data: st.DataObject) -> None:
    """JSON with anything in the places of annotations, results, boxes and rows."""
    tasks = data.draw(st.lists(st.sampled_from(_TASKS).flatmap(changed), max_size=4))
    check_everything(json.dumps(tasks).encode(), AnswerFormat.LABEL_STUDIO)
    check_everything(b"\n".join(json.dumps(one).encode() for one in tasks), AnswerFormat.LABEL_STUDIO)
    rows = data.draw(st.lists(st.sampled_from(_ROWS).flatmap(changed), max_size=5))
    check_everything(b"\n".join(json.dumps(one).encode() for one in rows), AnswerFormat.JSONL)


CELLS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["a.jpg", "'=1+1.jpg", "keep", "Reject", "unresolved", "", " ", '["x"]', "2024-01-01", "anna", "ben"]
    ),
)


@fuzz
@given(st.lists(st.lists(CELLS, max_size=5), max_size=8), st.booleans(), st.sampled_from(",;\t"))
def test_fuzzed_rows_are_accounted_for(rows: list[list[str]], has_header: bool, delimiter: str) -> None:
    """Rows of any cells, as a spreadsheet that knows nothing of quotes writes them."""
    header = [delimiter.join(["key", "verdict", "reviewer", "at", "labels"])] if has_header else []
    text = "\n".join([*header, *(delimiter.join(row) for row in rows)])
    check_everything(text.encode("utf-8", "replace"), AnswerFormat.CSV)
