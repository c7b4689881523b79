"""``apply`` and ``undo`` in virtual time: killed at every step, with other clients changing the bucket meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from anyio.lowlevel import checkpoint as yield_to_others
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.errors import ThrottleCause, ThrottledError, TransientError
from asyncfilter.job import Job
from asyncfilter.model import location
from asyncfilter.records.removal import REMOVED, Step, Versioning
from asyncfilter.testing import MemoryStore
from asyncfilter.testing.crash import crashed
from tests.kit.buckets import Bucket
from tests.kit.jobs import make_bare_job

BIN = "bin"
LABELS = {
    "a keep.jpg": "Robin",
    "b.jpg": "Person",
    "c.jpg": "Person",
    "d review.jpg": "Cat",
    "e.jpg": "Person",
    "f keep.jpg": "Robin",
    "g\x01.jpg": "Person",
}
REMOVED_KEYS = [key for key, label in LABELS.items() if label == "Person"]
ACTIONS = {"delete": "delete", "move": {"move": f"s3://{BIN}/{{key}}"}}
BUCKETS = [Versioning.OFF, Versioning.ON, Versioning.SUSPENDED]


def a_job(kind: str = "delete", **changes: Any) -> Job:
    """A job that keeps robins and removes people."""
    rules = [{"keep": {"any": "Robin"}}, {"reject": {"any": "Person"}}]
    return make_bare_job(**{"rules": rules, "otherwise": "review", "actions": {"reject": ACTIONS[kind]}} | changes)


def make_bucket(versioning: Versioning = Versioning.OFF) -> Bucket:
    """A bucket of ``LABELS``, most of whose images are removed."""
    return Bucket(LABELS, max_share=1.0, versioning=versioning)


body_of = str.encode
"""The content of the image under a key; no two are the same."""


def crash_points() -> Iterator[int]:
    """Every crash point from 1; the caller stops at the first that is beyond the end."""
    return count(1)


def check_nothing_lost(bucket: Bucket) -> None:
    """Check that images to keep are there, and that each other image is there or was removed exactly once."""
    there, quarantine = bucket.bodies(), bucket.bodies(BIN)
    gone = {object_.key for object_, _ in bucket.store.deleted if object_.bucket == "raw"}
    for key in LABELS:
        if key not in REMOVED_KEYS or key not in gone:
            assert there[key] == body_of(key)
    assert max(Counter(bucket.store.deleted).values(), default=0) <= 1
    for key, body in quarantine.items():
        assert body == body_of(key)


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("versioning", BUCKETS)
def test_a_kill_at_every_point_of_apply(kind: str, versioning: Versioning) -> None:
    """Killed anywhere and resumed, each selected image is removed once, and no other; the journal agrees."""
    job = a_job(kind)
    for at in crash_points():
        bucket = make_bucket(versioning)
        bucket.run(job)
        was_killed = crashed(bucket.apply, job, at=at)
        check_nothing_lost(bucket)
        if kind == "move":
            missing = [key for key in REMOVED_KEYS if {bucket.store.body(key), bucket.store.body(key, BIN)} == {None}]
            assert not missing
        if was_killed:
            bucket.apply(job)
        check_nothing_lost(bucket)
        assert sorted(bucket.store.keys()) == sorted(set(LABELS) - set(REMOVED_KEYS))
        assert sorted(bucket.store.keys(BIN)) == (sorted(REMOVED_KEYS) if kind == "move" else [])
        assert sorted(object_.key for object_, _ in bucket.store.deleted) == sorted(REMOVED_KEYS)
        assert max(Counter(bucket.store.copies).values(), default=0) <= 1
        assert bucket.effects == {kind: len(REMOVED_KEYS)}
        assert bucket.checkpoint.opened.watermark.tally.failed == {}
        assert [one.step for one in bucket.checkpoint.journal] == [Step.DELETED] * len(REMOVED_KEYS)
        if versioning is Versioning.ON:
            assert {one.key: one.marker for one in bucket.checkpoint.journal} == {
                key: bucket.store.history(key)[-1].id for key in REMOVED_KEYS
            }
        assert bucket.plan(job).images == 0
        if kind == "move" or versioning is Versioning.ON:
            bucket.undo(job)
            assert bucket.bodies() == {key: body_of(key) for key in LABELS}
            assert bucket.store.keys(BIN) == []
        if not was_killed:
            assert at > 10
            break


@pytest.mark.parametrize(("kind", "versioning"), [("move", each) for each in BUCKETS] + [("delete", Versioning.ON)])
def test_a_kill_at_every_point_of_undo(kind: str, versioning: Versioning) -> None:
    """Killed anywhere and resumed, every image is restored unchanged, the quarantine is empty, the journal agrees."""
    job = a_job(kind)
    for at in crash_points():
        bucket = make_bucket(versioning)
        bucket.run(job)
        bucket.apply(job)
        before = {key: bucket.store.history(key)[0].id for key in REMOVED_KEYS if bucket.store.history(key)}
        was_killed = crashed(bucket.undo, job, at=at)
        if kind == "move":
            missing = [key for key in REMOVED_KEYS if {bucket.store.body(key), bucket.store.body(key, BIN)} == {None}]
            assert not missing
        if was_killed:
            bucket.undo(job)
        assert bucket.bodies() == {key: body_of(key) for key in LABELS}
        assert bucket.store.keys(BIN) == []
        assert bucket.effects == {}
        assert [one.step for one in bucket.checkpoint.journal] == [Step.UNDONE] * len(REMOVED_KEYS)
        if versioning is Versioning.ON:
            assert {key: [one.id for one in bucket.store.history(key)] for key in REMOVED_KEYS} == {
                key: [id_] for key, id_ in before.items()
            }
        assert bucket.plan_undo(job).images == 0
        if not was_killed:
            assert at > 10
            break


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("versioning", BUCKETS)
def test_what_changed_or_vanished_is_left_and_reported(kind: str, versioning: Versioning) -> None:
    """Deletes are conditional on the examined ETag: killed at any crash point, newer objects stay."""
    job = a_job(kind)
    for at in crash_points():
        bucket = make_bucket(versioning)
        bucket.run(job)
        bucket.store.put("b.jpg", b"new")
        bucket.store.remove("c.jpg")
        was_killed = crashed(bucket.apply, job, at=at)
        if was_killed:
            bucket.apply(job)
        assert bucket.store.body("b.jpg") == b"new"
        assert sorted(object_.key for object_, _ in bucket.store.deleted) == sorted(
            set(REMOVED_KEYS) - {"b.jpg", "c.jpg"}
        )
        assert bucket.checkpoint.opened.watermark.tally.failed == {"changed": 1, "vanished": 1}
        assert bucket.effects == {kind: len(REMOVED_KEYS) - 2}
        if not was_killed:
            break


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("versioning", BUCKETS)
def test_changes_of_others_between_kill_and_resume(kind: str, versioning: Versioning) -> None:
    """An object that was put meanwhile, after this process's delete or instead of it, is never changed."""
    job = a_job(kind)
    for at in crash_points():
        bucket = make_bucket(versioning)
        bucket.run(job)
        was_killed = crashed(bucket.apply, job, at=at)
        bucket.store.put("b.jpg", b"new")
        bucket.store.put("a keep.jpg", b"new too")
        if was_killed:
            bucket.apply(job)
        assert bucket.store.body("b.jpg") == b"new"
        assert bucket.store.body("a keep.jpg") == b"new too"
        assert bucket.store.keys() == sorted(set(LABELS) - set(REMOVED_KEYS) | {"b.jpg"})
        assert max(Counter(object_ for object_, _ in bucket.store.deleted).values()) == 1
        claimed = {one.key for one in bucket.checkpoint.journal if one.step is Step.DELETED}
        assert claimed <= {object_.key for object_, _ in bucket.store.deleted}
        if not was_killed:
            break


@pytest.mark.parametrize("versioning", BUCKETS)
def test_undo_never_overwrites_an_existing_object(versioning: Versioning) -> None:
    """A newer object is not overwritten, and the image stays in quarantine."""
    job = a_job("move")
    for at in crash_points():
        bucket = make_bucket(versioning)
        bucket.run(job)
        bucket.apply(job)
        bucket.store.put("b.jpg", b"new")
        was_killed = crashed(bucket.undo, job, at=at)
        summary = bucket.undo(job)
        assert bucket.store.body("b.jpg") == b"new"
        assert bucket.store.body("b.jpg", BIN) == body_of("b.jpg")
        assert summary.failed == {"source_exists": 1}
        assert bucket.effects == {"move": 1}
        assert bucket.bodies() == {key: body_of(key) for key in LABELS} | {"b.jpg": b"new"}
        if not was_killed:
            break


@pytest.mark.parametrize("versioning", BUCKETS)
def test_a_copy_that_is_lost_before_the_resume_is_made_again(versioning: Versioning) -> None:
    """An image is deleted only while its copy exists, also if the journal has an earlier check of the copy."""
    job = a_job("move")
    for at in crash_points():
        bucket = make_bucket(versioning)
        bucket.run(job)
        was_killed = crashed(bucket.apply, job, at=at)
        there = [key for key in REMOVED_KEYS if bucket.store.body(key) is not None]
        for key in bucket.store.keys(BIN):
            bucket.store.remove(key, BIN)
        bucket.apply(job)
        assert [key for key in there if bucket.store.body(key, BIN) != body_of(key)] == []
        assert bucket.store.keys() == sorted(set(LABELS) - set(REMOVED_KEYS))
        if not was_killed:
            break


OTHERWISE = {
    "delete": a_job("delete"),
    "move": a_job("move"),
    "elsewhere": a_job("delete", actions={"reject": {"move": "s3://bin/else/{key}"}}),
    "stay": a_job("delete", rules=[{"keep": {"any": ["Robin", "Person"]}}]),
}


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("other", OTHERWISE)
@pytest.mark.parametrize("versioning", BUCKETS)
def test_other_actions_after_a_kill(kind: str, other: str, versioning: Versioning) -> None:
    """Killed at any crash point, then run with other actions: begun removals are resolved, moved images still exist."""
    job, then = a_job(kind), OTHERWISE[other]
    for at in count(1, 3):
        bucket = make_bucket(versioning)
        bucket.run(job)
        was_killed = crashed(bucket.apply, job, at=at)
        begun = set(REMOVED_KEYS) - set(bucket.store.keys())
        bucket.refilter(then)
        for again in (at, 0):
            crashed(bucket.apply, then, at=again)
            assert max(Counter(bucket.store.deleted).values(), default=0) <= 1
            assert set(LABELS) - set(REMOVED_KEYS) <= set(bucket.store.keys())
        gone = set(REMOVED_KEYS) - set(bucket.store.keys())
        assert gone == (begun if other == "stay" else set(REMOVED_KEYS))
        journaled = {one.key: one for one in bucket.checkpoint.journal if one.step in REMOVED}
        assert set(journaled) == gone
        for key, one in journaled.items():
            assert not one.target or bucket.store.body(location(one.target).key, BIN) == body_of(key)
        assert sum(bucket.effects.values()) == len(gone)
        if kind == "move" and other not in {"delete", "elsewhere"}:
            # The present actions do not name the quarantine any more, so the user has to.
            bucket.undo(then, allow_places=("s3://bin/",))
            assert bucket.bodies() == {key: body_of(key) for key in LABELS}
        if not was_killed:
            break


def with_other_client(bucket: Bucket, when: str, change: Callable[[], object]) -> None:
    """Call ``change`` at the first crash point called ``when``, as another client would."""
    is_done = False

    async def point(point_name: str) -> None:
        nonlocal is_done
        if point_name == when and not is_done:
            is_done = True
            change()
        await yield_to_others()

    bucket.store.point = point


@pytest.mark.parametrize("changed_copy", [b"other", None])
def test_an_image_without_a_verified_copy_is_not_removed(changed_copy: bytes | None) -> None:
    """If the copy is missing or differs, the image stays in the source and is failed."""
    job, bucket = a_job("move"), make_bucket()
    bucket.run(job)
    change = (
        (lambda: bucket.store.put("b.jpg", changed_copy, BIN))
        if changed_copy
        else (lambda: bucket.store.remove("b.jpg", BIN))
    )
    with_other_client(bucket, "copied b.jpg", change)
    summary = bucket.apply(job)
    assert (summary.failed, summary.exit_code) == ({"not_verified": 1}, 1)
    assert bucket.store.body("b.jpg") == body_of("b.jpg")
    assert bucket.checkpoint.opened.watermark.tally.failed == {"not_verified": 1}


def test_the_copy_in_quarantine_stays_until_the_image_was_seen_in_its_place() -> None:
    """An image that could not be restored stays in quarantine and can be restored later."""
    job, bucket = a_job("move"), make_bucket()
    bucket.run(job)
    bucket.apply(job)
    with_other_client(bucket, "copied b.jpg", lambda: bucket.store.remove("b.jpg"))
    assert bucket.undo(job).failed == {"not_verified": 1}
    assert bucket.store.body("b.jpg", BIN) == body_of("b.jpg")
    assert bucket.undo(job).restored == 1
    assert bucket.bodies() == {key: body_of(key) for key in LABELS}


@pytest.mark.parametrize("versioning", BUCKETS)
def test_an_image_removed_again_by_another_client(versioning: Versioning) -> None:
    """A resumed undo completes the journal or restores the image once more; it does not fail."""
    job = a_job("move")
    for at in crash_points():
        bucket = make_bucket(versioning)
        bucket.run(job)
        bucket.apply(job)
        was_killed = crashed(bucket.undo, job, at=at)
        if was_killed and bucket.store.body("b.jpg") is not None:
            bucket.store.remove("b.jpg")
            had_copy = bucket.store.body("b.jpg", BIN) is not None
            summary = bucket.undo(job)
            assert summary.failed == {}
            assert (bucket.store.body("b.jpg") is not None) == had_copy
            assert {one.step for one in bucket.checkpoint.journal} == {Step.UNDONE}
        if not was_killed:
            break


class Faults:
    """Throttles, and time-outs before and after an effect, from a drawn table."""

    def __init__(self, draws: list[int]) -> None:
        self._draws = draws
        self._next = 0

    def __call__(self, what: str, attempt: int) -> Exception | None:
        """See ``Fault``."""
        self._next += 1
        draw = [*self._draws, 0][self._next % (len(self._draws) + 1)]
        if what.startswith(("state", "list")):
            return None
        if draw == 1:
            return ThrottledError("slow down", cause=ThrottleCause.SERVER)
        return TransientError("timed out", may_be_billed=True) if draw == 2 else None


FOREIGN_BODY = b"somebody else's"
OTHER_CLIENTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(LABELS)),
        st.sampled_from(["put", "remove", "put back", "remove from quarantine", "occupy"]),
    ),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(ACTIONS)),
    versioning=st.sampled_from(BUCKETS),
    processes=st.lists(st.tuples(st.booleans(), st.integers(0, 45), OTHER_CLIENTS), max_size=5),
    draws=st.lists(st.integers(0, 5), max_size=9),
)
def test_any_sequence_of_processes_and_changes(
    kind: str, versioning: Versioning, processes: list[tuple[bool, int, list[tuple[str, str]]]], draws: list[int]
) -> None:
    """``apply`` and ``undo`` killed at any crash point, with other clients and faults: only selected images go.

    No other client's object is ever removed or overwritten, a moved image always exists somewhere, and at the end
    journal and bucket agree.
    """
    job = a_job(kind)
    bucket = make_bucket(versioning)
    bucket.run(job)
    bucket.store.fault = Faults(draws)
    expected = {key: body_of(key) for key in LABELS}
    taken: set[str] = set()
    occupied: set[str] = set()
    for is_apply, at, others in processes:
        act = bucket.apply if is_apply else bucket.undo
        crashed(act, job, at=at)
        check_bucket(bucket, expected, taken)
        for key, change in others:
            _change_bucket(bucket, key, change, expected, taken)
            occupied |= {key} if change == "occupy" else set()
    bucket.store.fault = lambda _what, _attempt: None
    bucket.apply(job)
    check_bucket(bucket, expected, taken)
    assert bucket.plan(job).images == 0
    removed = [one.key for one in bucket.checkpoint.journal if one.step in REMOVED]
    assert bucket.effects.get(kind, 0) == len(removed)
    bucket.undo(job)
    check_bucket(bucket, expected, taken)
    removed = [one.key for one in bucket.checkpoint.journal if one.step in REMOVED]
    assert bucket.effects.get(kind, 0) == len(removed)
    if not taken and kind == "move":
        assert bucket.bodies() == expected
    assert all(bucket.store.body(key, BIN) == FOREIGN_BODY for key in occupied)


def _change_bucket(bucket: Bucket, key: str, change: str, expected: dict[str, bytes], taken: set[str]) -> None:
    """Make another client's change; ``expected`` is kept up to date with the objects that it leaves in the source."""
    if change == "put":
        expected[key] = b"new " + key.encode()
        bucket.store.put(key, expected[key])
    elif change == "put back":
        expected[key] = body_of(key)
        bucket.store.put(key, expected[key])
    elif change == "remove" and bucket.store.body(key) is not None:
        bucket.store.remove(key)
        taken.add(key)
    elif (
        change == "remove from quarantine"
        and bucket.store.body(key, BIN) != FOREIGN_BODY
        and bucket.store.body(key, BIN) is not None
    ):
        bucket.store.remove(key, BIN)
        taken.add(key)
    elif change == "occupy":
        if bucket.store.body(key, BIN) is not None:
            taken.add(key)
        bucket.store.put(key, FOREIGN_BODY, BIN)


def check_bucket(bucket: Bucket, expected: dict[str, bytes], taken: set[str]) -> None:
    """Check the bucket against the changes that were made."""
    for object_, etag in bucket.store.deleted:
        is_selected = object_.key in REMOVED_KEYS and etag == examined_etag(object_.key)
        assert is_selected, f"{object_} was deleted"
    for key, body in expected.items():
        if key in taken:
            continue
        existing_copy = bucket.store.body(key)
        if body != body_of(key) or key not in REMOVED_KEYS:
            assert existing_copy == body
        elif existing_copy is None and bucket.store.versioning is Versioning.OFF:
            (removal,) = [one for one in bucket.checkpoint.journal if one.key == key]
            assert not removal.target or bucket.store.body(key, BIN) == body
        else:
            assert existing_copy in {None, body}


def examined_etag(key: str) -> str:
    """The ETag that was examined."""
    return MemoryStore().put(key, body_of(key))
