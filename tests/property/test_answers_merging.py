"""Merging of answers files, over any rows in any number of files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.answers import merge_files, open_answers, open_reader
from asyncfilter.policy.answers.fold import taken_back
from asyncfilter.records.answers import Answer, NewAnswer
from tests.kit.answers import MEMORY, new_answer, subject


@st.composite
def row_lists(draw: st.DrawFn, name: str) -> list[NewAnswer]:
    """The rows of one file, at any times; some take back earlier ones of the same person."""
    rows: list[NewAnswer] = []
    for number in range(draw(st.integers(0, 6))):
        reviewer = draw(st.sampled_from(["anna", "ben"]))
        own: list[str | None] = [row.uid for row in rows if row.reviewer == reviewer]
        undoes = draw(st.sampled_from([None, *own]))
        rows.append(
            new_answer(
                None if undoes else draw(st.sampled_from(["keep", "reject"])),
                subject(draw(st.sampled_from("ab"))),
                uid=f"{name}-{number:06}",
                reviewer=reviewer,
                undoes=undoes,
                at_unix_s=float(draw(st.integers(0, 5))),
            )
        )
    return rows


def rows_of(path: Path) -> list[Answer]:
    """All rows of a file."""
    reader = open_reader(path)
    assert reader is not None
    with reader:
        return list(reader.all_rows(up_to=reader.last_serial()))


@settings(max_examples=15, deadline=None)
@given(row_lists("one"), row_lists("two"), row_lists("own"), st.booleans())
def test_merging_unites_the_rows(
    one: list[NewAnswer], two: list[NewAnswer], own: list[NewAnswer], is_copied: bool
) -> None:
    """Every row is there once, after what it takes back, in order of time otherwise; what was taken back still is."""
    with TemporaryDirectory(dir=MEMORY) as name:
        target, *others = (Path(name) / f"{number}.db" for number in range(3))
        for path, rows in zip((target, *others), (own, one, two), strict=True):
            with open_answers(path) as file:
                file.add(rows)
        if is_copied:
            merge_files(others[1], [others[0]])
        files, serial = merge_files(target, others)
        merged = rows_of(target)
        assert serial == len(merged) == len(one) + len(two) + len(own)
        assert sum(file.added for file in files) == len(one) + len(two)
        assert {row.uid for row in merged} == {row.uid for row in (*one, *two, *own)}
        # By uid: a time is that of the row, or that of what it takes back, whichever is later.
        times: dict[str, float] = {}
        for row in merged:
            assert row.undoes is None or row.undoes in times
            times[row.uid] = max(row.at_unix_s, times.get(row.undoes or "", 0.0))
        added = [times[row.uid] for row in merged[len(own) :]]
        assert added == sorted(added)
        former = [rows_of(path) for path in others]
        undone = set.union(taken_back(merged[: len(own)]), *map(taken_back, former))
        assert taken_back(merged) == undone
        again, _ = merge_files(target, others)
        assert [file.added for file in again] == [0, 0]
