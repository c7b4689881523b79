"""One suite for people's answers: the file and the double in memory fold, bound and page alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.answers import AnswersFile, SqliteAnswers, open_answers, open_reader
from asyncfilter.policy.answers.checks import BadAnswerError
from asyncfilter.policy.answers.identity import name_of
from asyncfilter.ports.answers import AnsweredImage, Answers
from asyncfilter.records.answers import CurrentAnswer, CurrentVerdict, NewAnswer, PersonVerdict, Subject
from asyncfilter.testing import MemoryAnswers
from tests.kit.answers import MEMORY, new_answer, subject

PLAIN = "0123456789abcdef" * 2


class Harness(Protocol):
    """One implementation: how rows get in, and the port."""

    def add(self, rows: Sequence[NewAnswer]) -> Sequence[object]:
        """Add rows."""
        ...

    @property
    def port(self) -> Answers:
        """What the engine sees."""
        ...


class MemoryHarness:
    """The double."""

    def __init__(self) -> None:
        self.port = MemoryAnswers()
        self.add = self.port.add


class SqliteHarness:
    """The file, read beside its open writer."""

    def __init__(self, folder: Path) -> None:
        self.file: AnswersFile = open_answers(folder / "a.answers.db")
        self.add = self.file.add
        reader = open_reader(folder / "a.answers.db")
        assert reader is not None
        self.reader = reader
        self.port = SqliteAnswers(reader)

    def close(self) -> None:
        """Close both."""
        self.reader.close()
        self.file.close()


@pytest.fixture(params=["memory", "sqlite"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    """Every test runs on both."""
    if request.param == "memory":
        yield MemoryHarness()
        return
    found = SqliteHarness(tmp_path)
    yield found
    found.close()


async def verdict(port: Answers, about: Subject, up_to: int | None = None) -> CurrentVerdict | None:
    """The current verdict about one object."""
    (found,) = await port.current([about], up_to=await port.last_serial() if up_to is None else up_to)
    return None if found is None else found.verdict


async def test_nothing_is_known_at_first(harness: Harness) -> None:
    """An empty file has no serial, no answers, and an id."""
    port = harness.port
    assert await port.last_serial() == 0
    assert await port.current([subject()], up_to=0) == [None]
    assert await port.since(0, up_to=10, limit=5) == []
    assert len(port.id) == 32
    assert list(port.merged) == []
    assert port.location


async def test_answers_come_in_the_order_of_the_objects(harness: Harness) -> None:
    """An object without an answer has None in its place."""
    harness.add([new_answer("keep", subject("a")), new_answer("reject", subject("b"), reviewer="ben")])
    found = await harness.port.current([subject("b"), subject("c"), subject("a"), subject("b")], up_to=2)
    assert [one and (one.verdict, one.serial, one.reviewer) for one in found] == [
        ("reject", 2, "ben"),
        None,
        ("keep", 1, "anna"),
        ("reject", 2, "ben"),
    ]


async def test_rows_beyond_the_serial_do_not_exist(harness: Harness) -> None:
    """A read up to a serial gives the same whatever is written later."""
    harness.add([new_answer("keep", subject("a"))])
    harness.add([new_answer("reject", subject("a"), uid="take-me-back")])
    harness.add([new_answer(None, subject("a"), undoes="take-me-back")])
    assert [await verdict(harness.port, subject("a"), up_to) for up_to in range(4)] == [None, "keep", "reject", "keep"]


async def test_a_later_content_joins_nothing_before_it_was_known(harness: Harness) -> None:
    """That two objects have one content counts from the row on that told it."""
    content = "c" * 64
    harness.add([new_answer("keep", subject("a", content=content)), new_answer("keep", subject("b"))])
    harness.add([new_answer(None, subject("b", content=content), labels=("Robin",))])
    harness.add(
        [new_answer("reject", subject("a"), reviewer="ben"), new_answer("reject", subject("a"), reviewer="cleo")]
    )
    assert await verdict(harness.port, subject("b"), 2) == "keep"
    assert await verdict(harness.port, subject("b"), 5) == "reject"
    assert await verdict(harness.port, subject("other", content=content), 1) == "keep"


async def test_the_same_bytes_have_the_same_answer_anywhere(harness: Harness) -> None:
    """Another bucket, another key: by a plain ETag and the size; by a hash that somebody read; not by another ETag."""
    harness.add([new_answer("keep", subject("a", etag=PLAIN)), new_answer("reject", subject("b", etag=f"{PLAIN}-2"))])
    assert await verdict(harness.port, subject("x/y", bucket="other", etag=PLAIN)) == "keep"
    assert await verdict(harness.port, subject("x/y", bucket="other", etag=PLAIN, size_bytes=11)) is None
    assert await verdict(harness.port, subject("b", bucket="other", etag=f"{PLAIN}-2")) is None
    assert await verdict(harness.port, subject("b", etag="changed")) is None


async def test_a_chain_of_equal_subjects_is_one_image(harness: Harness) -> None:
    """One has the ETag of the second, which has the content of the third: all share their answers."""
    content = "d" * 64
    first, third = subject("1", etag=PLAIN), subject("3", content=content)
    harness.add([new_answer("keep", first)])
    harness.add([new_answer("reject", third, reviewer="ben")])
    assert await verdict(harness.port, first) == "keep"
    harness.add([new_answer("reject", subject("2", etag=PLAIN, content=content), reviewer="cleo")])
    assert await verdict(harness.port, first) == "reject"
    (image,) = await harness.port.since(0, up_to=3, limit=10)
    assert {one.key for one in image.subjects} == {"1", "2", "3"}
    assert (image.serial, image.current and image.current.verdict) == (1, "reject")


async def test_since_pages_through_all_images(harness: Harness) -> None:
    """Read on from the last serial: each image comes, with what all its rows fold to."""
    harness.add([new_answer("keep", subject(key)) for key in "abcab"])
    harness.add([new_answer("reject", subject("c"))])
    assert [one.serial for one in await harness.port.since(0, up_to=6, limit=10)] == [1, 2, 3]
    first = await harness.port.since(0, up_to=6, limit=2)
    assert [(one.serial, one.subjects[0].key) for one in first] == [(1, "a"), (2, "b")]
    (third, *_) = await harness.port.since(2, up_to=6, limit=2)
    assert (third.serial, third.current and third.current.verdict) == (3, "reject")
    assert [one.serial for one in await harness.port.since(4, up_to=5, limit=9)] == [5]
    assert (await harness.port.count(4, up_to=5), await harness.port.count(0, up_to=9)) == (1, 6)


async def test_an_image_whose_answers_are_taken_back_comes_without_one(harness: Harness) -> None:
    """The engine has to learn of an undo too."""
    harness.add([new_answer("keep", subject("a"), uid="the-first")])
    harness.add([new_answer(None, subject("ignored"), undoes="the-first")])
    (found,) = await harness.port.since(1, up_to=2, limit=1)
    assert (found.serial, found.current) == (2, None)
    assert [one.key for one in found.subjects] == ["a"]


async def test_the_same_uid_again_changes_nothing(harness: Harness) -> None:
    """A repetition is a success, in a batch and later."""
    row = new_answer("keep", subject("a"))
    other = new_answer("reject", subject("a"), uid=row.uid)
    harness.add([row, other])
    harness.add([other])
    assert await harness.port.last_serial() == 1
    assert await verdict(harness.port, subject("a")) == "keep"


@pytest.mark.parametrize(
    ("undoes", "code"), [("nobody-has-it", "unknown_uid"), ("that-of-anna", "not_yours")], ids=["unknown", "not yours"]
)
async def test_only_ones_own_rows_are_taken_back(undoes: str, code: str, harness: Harness) -> None:
    """A batch with such a row is not written at all."""
    harness.add([new_answer("keep", uid="that-of-anna")])
    with pytest.raises(BadAnswerError) as raised:
        harness.add([new_answer("keep"), new_answer(None, reviewer="ben", undoes=undoes)])
    assert raised.value.code == code
    assert await harness.port.last_serial() == 1


# -- Any history -------------------------------------------------------------------------------------------------------

subjects = st.builds(
    subject,
    st.sampled_from(["a", "b", "c"]),
    bucket=st.sampled_from(["raw", "other"]),
    etag=st.sampled_from([PLAIN, PLAIN[::-1], f"{PLAIN}-2"]),
    size_bytes=st.sampled_from([1, 2]),
    content=st.sampled_from([None, None, "c" * 64, "d" * 64]),
)


@st.composite
def row_lists(draw: st.DrawFn) -> list[NewAnswer]:
    """Rows about a few subjects, some of which take earlier ones of the same person back."""
    rows: list[NewAnswer] = []
    for number in range(draw(st.integers(1, 12))):
        reviewer = draw(st.sampled_from(["anna", "ben"]))
        own: list[str] = [row.uid for row in rows if row.reviewer == reviewer]
        undoes = draw(st.sampled_from([*own, None])) if own else None
        word = None if undoes else draw(st.sampled_from([*PersonVerdict]))
        labels = None if undoes else draw(st.sampled_from([None, (), ("Robin",)]))
        about = draw(subjects)
        parts = {"uid": f"row-{number:06}", "reviewer": reviewer, "undoes": undoes, "labels": labels}
        rows.append(new_answer(word, about, at_unix_s=float(number), **parts))
    return rows


@settings(max_examples=25, deadline=None)
@given(row_lists(), st.lists(subjects, min_size=1, max_size=6), st.integers(1, 4))
def test_file_and_double_are_the_same(rows: list[NewAnswer], objects: list[Subject], limit: int) -> None:
    """Any rows, read up to any serial, by objects and by serial, in any pages: both give the same."""
    memory = MemoryHarness()
    with TemporaryDirectory(dir=MEMORY) as folder:
        sqlite = SqliteHarness(Path(folder))
        try:
            for harness in (memory, sqlite):
                harness.add(rows[: len(rows) // 2])
                harness.add(rows[len(rows) // 2 :])
            for up_to in {len(rows) // 3, len(rows) // 2, len(rows)}:
                one, other = (asyncio.run(everything(each.port, objects, up_to, limit)) for each in (memory, sqlite))
                assert one == other
        finally:
            sqlite.close()


async def everything(
    port: Answers, objects: list[Subject], up_to: int, limit: int
) -> tuple[list[CurrentAnswer | None], list[object]]:
    """All that a port tells up to a serial."""
    pages: list[AnsweredImage] = []
    while page := await port.since(pages[-1].serial if pages else 0, up_to=up_to, limit=limit):
        pages += page
    told = [(one.serial, one.current, sorted(map(name_of, one.subjects))) for one in pages]
    return list(await port.current(objects, up_to=up_to)), list(told)
