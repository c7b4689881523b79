"""The fold of answers and the identity of images, compared with naive implementations of their definitions."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.policy.answers.checks import BadAnswerError, checked_answer, checked_box, checked_boxes
from asyncfilter.policy.answers.fold import fold, last_word, taken_back
from asyncfilter.policy.answers.identity import Images
from asyncfilter.records.answers import Answer, AskedAs, CurrentVerdict, LabelledBox, PersonVerdict, Subject
from tests.kit.answers import box, histories, new_answer, stored, subject

# -- The fold ----------------------------------------------------------------------------------------------------------


def is_undone(row: Answer, rows: list[Answer]) -> bool:
    """By definition: a later row of the same person that is not undone itself takes it back."""
    return any(
        other.undoes == row.uid
        and other.reviewer == row.reviewer
        and other.serial > row.serial
        and not is_undone(other, rows)
        for other in rows
    )


def naive_verdict(rows: list[Answer]) -> tuple[str | None, set[int]]:
    """The verdict of the contract's rules 2 and 3, and the serials of the words that make it."""
    counting = [row for row in rows if not is_undone(row, rows) and row.verdict is not None]
    adjudications = [row for row in counting if row.asked_as == "adjudicate"]
    words = adjudications[-1:]
    if not words:
        people = {row.reviewer for row in counting}
        words = [[row for row in counting if row.reviewer == person][-1] for person in people]
    if not words:
        return None, set()
    keep, reject = (sum(row.verdict == verdict for row in words) for verdict in ("keep", "reject"))
    if keep == reject == 0:
        verdict = "unsure"
    else:
        verdict = "unresolved" if keep == reject else "keep" if keep > reject else "reject"
    makers = {row.serial for row in words if verdict in (row.verdict, "unresolved")}
    return verdict, makers


def naive_part(rows: list[Answer], name: str) -> object:
    """Labels or boxes by the contract's rule 4."""
    saying = [row for row in rows if not is_undone(row, rows) and getattr(row, name) is not None]
    saying.sort(key=lambda row: (row.asked_as == "adjudicate", row.serial))
    return getattr(saying[-1], name) if saying else None


@given(histories())
def test_fold_is_the_contract(rows: list[Answer]) -> None:
    """Any history folds to what the definition gives, with the newest person of the outcome."""
    found = fold(rows)
    verdict, makers = naive_verdict(rows)
    if found is None:
        assert verdict is naive_part(rows, "labels") is naive_part(rows, "boxes") is None
        return
    assert found.verdict == verdict
    assert found.labels == naive_part(rows, "labels")
    assert found.boxes == naive_part(rows, "boxes")
    assert found.serial == rows[-1].serial
    if makers:
        decisive = rows[max(makers) - 1]
        assert (found.reviewer, found.at_unix_s) == (decisive.reviewer, decisive.at_unix_s)


@given(histories())
def test_taken_back_is_the_definition(rows: list[Answer]) -> None:
    """A row is taken back by a later one of the same person that is not taken back itself."""
    assert taken_back(rows) == {row.uid for row in rows if is_undone(row, rows)}


@given(histories(), st.sampled_from(["anna", "ben"]))
def test_undo_and_undo_of_the_undo_change_nothing(rows: list[Answer], reviewer: str) -> None:
    """Taking one's last word back, and that back again, gives the same answer as before."""
    word = last_word(rows, reviewer)
    if word is None:
        return
    serial = len(rows) + 1
    undo = stored(serial, None, reviewer=reviewer, undoes=word.uid)
    redo = stored(serial + 1, None, reviewer=reviewer, undoes=undo.uid)
    before, after = fold(rows), fold([*rows, undo, redo])
    assert before is not None
    assert after is not None
    assert (before.verdict, before.labels, before.boxes) == (after.verdict, after.labels, after.boxes)
    assert last_word([*rows, undo], reviewer) != word


def test_a_tie_is_unresolved_whoever_is_unsure() -> None:
    """One keep, one reject: unresolved, told of the newest person of all."""
    rows = [stored(1, "keep"), stored(2, "reject", reviewer="ben"), stored(3, "unsure", reviewer="cleo")]
    found = fold(rows)
    assert found is not None
    assert (found.verdict, found.reviewer) == (CurrentVerdict.UNRESOLVED, "cleo")


def test_nobody_takes_back_the_row_of_another() -> None:
    """One may take back one's own rows only."""
    rows = [stored(1, "keep"), stored(2, None, reviewer="ben", undoes="uid-00000001")]
    found = fold(rows)
    assert found is not None
    assert found.verdict is CurrentVerdict.KEEP


def test_an_adjudication_without_a_verdict_adjudicates_its_labels_alone() -> None:
    """A row may say something about labels and nothing about the verdict."""
    rows = [
        stored(1, "keep", labels=("Tit",)),
        stored(2, None, labels=("Wren",), asked_as=AskedAs.ADJUDICATE),
        stored(3, "reject", labels=("Robin",)),
    ]
    found = fold(rows)
    assert found is not None
    assert (found.verdict, found.labels) == (CurrentVerdict.REJECT, ("Wren",))


def test_a_row_that_says_nothing_any_more_leaves_no_answer() -> None:
    """After everything is taken back nobody has said anything."""
    assert fold([stored(1, "keep"), stored(2, None, undoes="uid-00000001")]) is None
    assert fold([]) is None


# -- Identity ----------------------------------------------------------------------------------------------------------

PLAIN = "0123456789abcdef" * 2
subjects = st.builds(
    Subject,
    bucket=st.sampled_from(["raw", "other"]),
    key=st.sampled_from(["a", "b"]),
    etag=st.sampled_from([PLAIN, PLAIN[::-1], f"{PLAIN}-2", "odd"]),
    size_bytes=st.sampled_from([1, 2]),
    content=st.sampled_from([None, "c" * 64, "d" * 64]),
)


def same(one: Subject, other: Subject) -> bool:
    """The contract's three rules."""
    if (one.bucket, one.key, one.etag, one.size_bytes) == (other.bucket, other.key, other.etag, other.size_bytes):
        return True
    if one.content is not None and one.content == other.content:
        return True
    return one.etag == other.etag and one.size_bytes == other.size_bytes and one.etag in {PLAIN, PLAIN[::-1]}


@given(st.lists(subjects, max_size=12))
def test_images_are_the_closure_of_the_three_rules(found: list[Subject]) -> None:
    """Two subjects are one image exactly when a chain of equal ones connects them."""
    images = Images(found)
    connected = [[same(one, other) for other in found] for one in found]
    numbers = range(len(found))
    for middle, one, other in product(numbers, numbers, numbers):
        connected[one][other] |= connected[one][middle] and connected[middle][other]
    for one, other in product(numbers, numbers):
        assert (images.image_of(one) == images.image_of(other)) == connected[one][other]
    assert sorted(map(id, (each for group in images.groups() for each in group))) == sorted(map(id, found))


# -- Checks ------------------------------------------------------------------------------------------------------------

numbers = st.floats(-3, 3)


@given(left=numbers, top=numbers, width=numbers, height=numbers)
def test_a_checked_box_is_in_the_picture_and_stays_as_it_is(
    left: float, top: float, width: float, height: float
) -> None:
    """Edges are clamped and rounded; checking a checked box changes nothing."""
    found = checked_box(" Robin ", left=left, top=top, width=width, height=height).box
    if found is None:
        return
    assert found.label == "Robin"
    assert 0 <= found.left < round(found.left + found.width, 6) <= 1
    assert 0 <= found.top < round(found.top + found.height, 6) <= 1
    assert checked_boxes([found]) == (found,)
    assert all(round(value, 6) == value for value in (found.left, found.top, found.width, found.height))


def test_a_box_beyond_the_frame_is_clamped_or_left_out() -> None:
    """A box wholly outside has no width left."""
    inside = checked_box("A", left=-0.5, top=0.25, width=1, height=2)
    assert inside == (LabelledBox(label="A", left=0, top=0.25, width=0.5, height=0.75), True)
    assert checked_box("A", left=1.5, top=0, width=1, height=1).box is None
    assert checked_box("A", left=0.1, top=0.2, width=0.3, height=0.4) == (box("A"), False)


BAD = {
    "bad_uid": {"uid": "short"},
    "bad_reviewer": {"reviewer": "a\tb"},
    "bad_label": {"labels": ("x" * 256,)},
    "too_many_labels": {"labels": tuple(map(str, range(51)))},
    "too_many_boxes": {"boxes": (box(),) * 1001},
    "bad_box": {"boxes": (box(left=float("nan")),)},
    "bad_note": {"note": "x" * 10_001},
    "bad_time": {"at_unix_s": float("inf")},
    "bad_subject": {"about": subject("")},
    "bad_row": {"undoes": "uid-00000001"},
}


@pytest.mark.parametrize(("code", "parts"), BAD.items(), ids=BAD)
def test_what_is_no_answer_is_refused_by_name(code: str, parts: dict[str, object]) -> None:
    """Each part has its bounds, and each mistake its code."""
    with pytest.raises(BadAnswerError) as raised:
        checked_answer(new_answer(**parts))  # type: ignore[arg-type]  # any part
    assert raised.value.code == code


def test_an_answer_is_trimmed() -> None:
    """Names and labels lose the white space around them, a label that is given twice is there once."""
    found = checked_answer(new_answer("keep", reviewer="  Anna B ", labels=(" Robin", "Robin", "a b"), note=" \n"))
    assert (found.reviewer, found.labels, found.note) == ("Anna B", ("Robin", "a b"), None)
    assert checked_answer(new_answer(None, labels=())).labels == ()
    with pytest.raises(BadAnswerError, match="found none"):
        checked_answer(new_answer(None))
    assert found.verdict is PersonVerdict.KEEP
