"""The rows that match a listed object, compared with a naive implementation, over any rows of one key."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.model import ActionKind, Detection, Failure, ListedObject
from asyncfilter.policy.matching import match, newest
from asyncfilter.records.images import DoneEffect, StoredImage

LISTED = ListedObject("a.jpg", 9, "now")

rows = st.builds(
    StoredImage,
    id=st.just(0),
    seq=st.none(),
    key=st.just(LISTED.key),
    etag=st.sampled_from(["now", "now", "before"]),
    size_bytes=st.sampled_from([9, 9, 8]),
    failure=st.none() | st.just(Failure("unavailable", "why")),
    detection=st.none() | st.just(Detection(labels=())),
    effects=st.sampled_from([(), (), (DoneEffect(ActionKind.DELETE, ""),), (DoneEffect(ActionKind.COPY, "s3://c/a"),)]),
)


@st.composite
def keys(draw: st.DrawFn) -> list[StoredImage]:
    """The rows of one key, by id; at most one has a position."""
    drawn = draw(st.lists(rows, max_size=4))
    counted = draw(st.none() | st.integers(0, 3))
    return [
        msgspec.structs.replace(row, id=number, seq=5 if number == counted else None)
        for number, row in enumerate(drawn)
    ]


def is_same(row: StoredImage) -> bool:
    """Whether the row belongs to the object as it is listed."""
    return (row.etag, row.size_bytes) == ("now", 9)


def is_removed(row: StoredImage) -> bool:
    """Whether the row's image was removed from the source."""
    return any(effect.kind is ActionKind.DELETE for effect in row.effects)


def usable(found: Sequence[StoredImage], *, retry_failed: bool) -> list[int]:
    """Ids of rows whose labels or failure can be used, the best first."""
    cached = [row for row in found if row.seq is None and is_same(row)]
    if retry_failed:
        cached = [row for row in cached if row.detection is not None]
    returned = [row for row in found if row.seq is not None and is_same(row) and row.detection is not None]
    return [row.id for row in cached[::-1]] + [row.id for row in returned]


@settings(max_examples=500, deadline=None)
@given(found=keys(), retry_failed=st.booleans())
def test_the_match_is_that_of_the_naive_reading(found: list[StoredImage], retry_failed: bool) -> None:
    """An outcome is used only for the same object while it is in the source; else the best known row is used."""
    counted = [row for row in found if row.seq is not None]
    match_ = match(found, LISTED, retry_failed=retry_failed)
    if counted and is_same(counted[0]) and not is_removed(counted[0]):
        assert match_.standing == counted[0]
        assert match_.stored is match_.replaced is None
        return
    ids = usable(found, retry_failed=retry_failed)
    assert match_.standing is None
    assert match_.replaced == (counted[0] if counted else None)
    assert (match_.stored.id if match_.stored is not None else None) == (ids[0] if ids else None)
    if match_.stored is not None:
        assert match_.is_own == (match_.stored.seq is None and not is_removed(match_.stored))


@given(found=keys())
def test_the_newest_row_is_that_with_a_position_or_the_last(found: list[StoredImage]) -> None:
    """Rows of other content are ignored."""
    same = [row for row in found if is_same(row)]
    expected = [row for row in same if row.seq is not None] or same[-1:]
    assert newest(found, LISTED) == (expected[0] if expected else None)
