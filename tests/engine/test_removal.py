"""``apply`` and ``undo`` in virtual time: a death at every step, and whatever others do to the bucket meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from anyio.lowlevel import checkpoint as yield_to_others
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.errors import ThrottleCause, ThrottledError, TransientError
from asyncfilter.events import Event
from asyncfilter.job import Job, parse_job
from asyncfilter.model import Summary, location
from asyncfilter.policy.removal import REMOVED, Consent, RemovalPlan, RemovalSummary, Step, Versioning
from asyncfilter.ports import Batch, Checkpoint
from asyncfilter.testing import LoopClock, MemoryCheckpoint, MemoryStore, ScriptedDetector, run_virtually
from asyncfilter.wiring import Overrides, apply, plan_apply, plan_undo, refilter, run, undo

T = TypeVar("T")

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
CONDEMNED = [key for key, label in LABELS.items() if label == "Person"]
ACTIONS = {"delete": "delete", "move": {"move": f"s3://{BIN}/{{key}}"}}
BUCKETS = [Versioning.OFF, Versioning.ON, Versioning.SUSPENDED]
ALL = 1.0


def a_job(kind: str = "delete", **changes: Any) -> Job:
    """Robins stay, people go."""
    document = {
        "version": 1,
        "name": "cleanup",
        "source": "s3://raw/",
        "rules": [{"keep": {"any": "Robin"}}, {"reject": {"any": "Person"}}],
        "otherwise": "review",
        "actions": {"reject": ACTIONS[kind]},
    }
    return parse_job(document | changes, base_dir=Path("/nowhere"))


class Died(BaseException):
    """The process was killed."""


class Reaper:
    """Kills at the n-th of the moments between effects; 0 lets live."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.moments: list[str] = []

    async def point(self, what: str) -> None:
        """One moment: before or after an effect."""
        await yield_to_others()
        self.moments.append(what)
        if len(self.moments) == self.at:
            raise Died


class Mortal:
    """A checkpoint whose process may die before or after each commit."""

    def __init__(self, checkpoint: MemoryCheckpoint, reaper: Reaper) -> None:
        self._checkpoint = checkpoint
        self._reaper = reaper

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoint, name)

    async def commit(self, batch: Batch) -> None:
        """See ``Checkpoint``."""
        await self._reaper.point("before commit")
        await self._checkpoint.commit(batch)
        await self._reaper.point("after commit")


class Yard:
    """One bucket, its checkpoint, and the processes that work on them one after another."""

    def __init__(self, versioning: Versioning = Versioning.OFF, labels: dict[str, str] = LABELS, **store: Any) -> None:
        self.labels = dict(labels)
        self.store = MemoryStore("raw", versioning=versioning, **store)
        self.detector = ScriptedDetector({key: [(label, 90.0)] for key, label in labels.items()})
        self.checkpoint = MemoryCheckpoint()
        self.events: list[Event] = []
        for key in labels:
            self.store.put(key, body_of(key))

    def run(self, job: Job, **options: Any) -> Summary:
        """``asyncfilter run``."""
        return self._live(lambda overrides: run(job, overrides=overrides, on_event=self.events.append, **options))

    def refilter(self, job: Job) -> Summary:
        """``asyncfilter refilter``."""
        return self._live(lambda overrides: refilter(job, overrides=overrides))

    def plan_apply(self, job: Job, **options: Any) -> RemovalPlan:
        """``asyncfilter apply --dry-run``."""
        return self._live(lambda overrides: plan_apply(job, overrides=overrides, **options))

    def apply(self, job: Job, images: int | None = None, at: int = 0, **options: Any) -> RemovalSummary:
        """``asyncfilter apply`` of what is pending, or of a number."""
        images = self.plan_apply(job).images if images is None else images
        share = options.pop("max_share", ALL)
        consent = Consent(images=images, max_share=share)
        return self._live(
            lambda overrides: apply(job, consent, overrides=overrides, on_event=self.events.append, **options),
            Reaper(at),
        )

    def plan_undo(self, job: Job) -> RemovalPlan:
        """``asyncfilter undo --dry-run``."""
        return self._live(lambda overrides: plan_undo(job, overrides=overrides))

    def undo(self, job: Job, images: int | None = None, at: int = 0, **options: Any) -> RemovalSummary:
        """``asyncfilter undo``."""
        images = self.plan_undo(job).images if images is None else images
        return self._live(
            lambda overrides: undo(
                job, Consent(images=images), overrides=overrides, on_event=self.events.append, **options
            ),
            Reaper(at),
        )

    def effects(self) -> dict[str, int]:
        """What the checkpoint counts as done."""
        return self.checkpoint.opened.watermark.tally.effects

    def bodies(self, bucket: str | None = None) -> dict[str, bytes | None]:
        """What is there."""
        return {key: self.store.body(key, bucket) for key in self.store.keys(bucket)}

    def _live(self, life: Callable[[Overrides], Awaitable[T]], reaper: Reaper | None = None) -> T:
        reaper = reaper or Reaper()
        self.store.point = reaper.point
        self.moments = reaper.moments

        async def live() -> T:
            overrides = Overrides(
                source=self.store,
                detector=self.detector,
                sink=self.store,
                remover=self.store,
                checkpoint=cast("Checkpoint", Mortal(self.checkpoint, reaper)),
                clock=LoopClock(),
            )
            return await life(overrides)

        try:
            return run_virtually(live)
        finally:
            self.checkpoint = self.checkpoint.reopen()


def body_of(key: str) -> bytes:
    """What the image under a key holds; no two are the same."""
    return f"the picture of {key}".encode()


def died(act: Callable[..., object], job: Job, *, at: int) -> bool:
    """Whether the process was killed."""
    is_dead = False
    try:
        act(job, at=at)
    except* Died:
        is_dead = True
    return is_dead


def deaths() -> Iterator[int]:
    """Every moment, until one is beyond the end."""
    return count(1)


def check_nothing_lost(yard: Yard) -> None:
    """Whatever happened: what should stay is there, and what should go is there or went as it should."""
    there, quarantine = yard.bodies(), yard.bodies(BIN)
    gone = {place.key for place, _ in yard.store.deleted if place.bucket == "raw"}
    for key in LABELS:
        if key not in CONDEMNED or key not in gone:
            assert there[key] == body_of(key)
    assert max(Counter(yard.store.deleted).values(), default=0) <= 1
    for key, body in quarantine.items():
        assert body == body_of(key)


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("versioning", BUCKETS)
def test_a_death_at_every_moment_of_apply(kind: str, versioning: Versioning) -> None:
    """Killed anywhere and resumed, everything condemned is gone, once, and nothing else; the books say so."""
    job = a_job(kind)
    for at in deaths():
        yard = Yard(versioning)
        yard.run(job)
        is_dead = died(yard.apply, job, at=at)
        check_nothing_lost(yard)
        if kind == "move":
            missing = [key for key in CONDEMNED if {yard.store.body(key), yard.store.body(key, BIN)} == {None}]
            assert not missing
        if is_dead:
            yard.apply(job)
        check_nothing_lost(yard)
        assert sorted(yard.store.keys()) == sorted(set(LABELS) - set(CONDEMNED))
        assert sorted(yard.store.keys(BIN)) == (sorted(CONDEMNED) if kind == "move" else [])
        assert sorted(place.key for place, _ in yard.store.deleted) == sorted(CONDEMNED)
        assert max(Counter(yard.store.copies).values(), default=0) <= 1
        assert yard.effects() == {kind: len(CONDEMNED)}
        assert yard.checkpoint.opened.watermark.tally.failed == {}
        assert [one.step for one in yard.checkpoint.journal] == [Step.DELETED] * len(CONDEMNED)
        if versioning is Versioning.ON:
            assert {one.key: one.marker for one in yard.checkpoint.journal} == {
                key: yard.store.history(key)[-1].id for key in CONDEMNED
            }
        assert yard.plan_apply(job).images == 0
        if kind == "move" or versioning is Versioning.ON:
            yard.undo(job)
            assert yard.bodies() == {key: body_of(key) for key in LABELS}
            assert yard.store.keys(BIN) == []
        if not is_dead:
            assert at > 10
            break


@pytest.mark.parametrize(("kind", "versioning"), [("move", each) for each in BUCKETS] + [("delete", Versioning.ON)])
def test_a_death_at_every_moment_of_undo(kind: str, versioning: Versioning) -> None:
    """Killed anywhere and resumed, every image is back as it was, nothing lies in quarantine, and the books say so."""
    job = a_job(kind)
    for at in deaths():
        yard = Yard(versioning)
        yard.run(job)
        yard.apply(job)
        before = {key: yard.store.history(key)[0].id for key in CONDEMNED if yard.store.history(key)}
        is_dead = died(yard.undo, job, at=at)
        if kind == "move":
            missing = [key for key in CONDEMNED if {yard.store.body(key), yard.store.body(key, BIN)} == {None}]
            assert not missing
        if is_dead:
            yard.undo(job)
        assert yard.bodies() == {key: body_of(key) for key in LABELS}
        assert yard.store.keys(BIN) == []
        assert yard.effects() == {}
        assert [one.step for one in yard.checkpoint.journal] == [Step.UNDONE] * len(CONDEMNED)
        if versioning is Versioning.ON:
            assert {key: [one.id for one in yard.store.history(key)] for key in CONDEMNED} == {
                key: [id_] for key, id_ in before.items()
            }
        assert yard.plan_undo(job).images == 0
        if not is_dead:
            assert at > 10
            break


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("versioning", BUCKETS)
def test_what_changed_or_vanished_is_left_and_reported(kind: str, versioning: Versioning) -> None:
    """The ETag that was examined is the condition: at every moment of death, what is new stays."""
    job = a_job(kind)
    for at in deaths():
        yard = Yard(versioning)
        yard.run(job)
        yard.store.put("b.jpg", b"new")
        yard.store.remove("c.jpg")
        is_dead = died(yard.apply, job, at=at)
        if is_dead:
            yard.apply(job)
        assert yard.store.body("b.jpg") == b"new"
        assert sorted(place.key for place, _ in yard.store.deleted) == sorted(set(CONDEMNED) - {"b.jpg", "c.jpg"})
        assert yard.checkpoint.opened.watermark.tally.failed == {"changed": 1, "vanished": 1}
        assert yard.effects() == {kind: len(CONDEMNED) - 2}
        if not is_dead:
            break


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("versioning", BUCKETS)
def test_what_others_do_between_death_and_resume(kind: str, versioning: Versioning) -> None:
    """An object that was put meanwhile, after our delete or instead of it, is never touched."""
    job = a_job(kind)
    for at in deaths():
        yard = Yard(versioning)
        yard.run(job)
        is_dead = died(yard.apply, job, at=at)
        yard.store.put("b.jpg", b"new")
        yard.store.put("a keep.jpg", b"new too")
        if is_dead:
            yard.apply(job)
        assert yard.store.body("b.jpg") == b"new"
        assert yard.store.body("a keep.jpg") == b"new too"
        assert yard.store.keys() == sorted(set(LABELS) - set(CONDEMNED) | {"b.jpg"})
        assert max(Counter(place for place, _ in yard.store.deleted).values()) == 1
        claimed = {one.key for one in yard.checkpoint.journal if one.step is Step.DELETED}
        assert claimed <= {place.key for place, _ in yard.store.deleted}
        if not is_dead:
            break


@pytest.mark.parametrize("versioning", BUCKETS)
def test_undo_never_overwrites_what_stands_there(versioning: Versioning) -> None:
    """A newer object keeps its place, and the image stays where it can be had."""
    job = a_job("move")
    for at in deaths():
        yard = Yard(versioning)
        yard.run(job)
        yard.apply(job)
        yard.store.put("b.jpg", b"new")
        is_dead = died(yard.undo, job, at=at)
        summary = yard.undo(job)
        assert yard.store.body("b.jpg") == b"new"
        assert yard.store.body("b.jpg", BIN) == body_of("b.jpg")
        assert summary.failed == {"source_exists": 1}
        assert yard.effects() == {"move": 1}
        assert yard.bodies() == {key: body_of(key) for key in LABELS} | {"b.jpg": b"new"}
        if not is_dead:
            break


@pytest.mark.parametrize("versioning", BUCKETS)
def test_a_copy_that_is_lost_before_the_resume_is_made_again(versioning: Versioning) -> None:
    """An image leaves the source only for a copy that stands at that moment, whatever the journal says of before."""
    job = a_job("move")
    for at in deaths():
        yard = Yard(versioning)
        yard.run(job)
        is_dead = died(yard.apply, job, at=at)
        there = [key for key in CONDEMNED if yard.store.body(key) is not None]
        for key in yard.store.keys(BIN):
            yard.store.remove(key, BIN)
        yard.apply(job)
        assert [key for key in there if yard.store.body(key, BIN) != body_of(key)] == []
        assert yard.store.keys() == sorted(set(LABELS) - set(CONDEMNED))
        if not is_dead:
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
def test_other_actions_after_a_death(kind: str, other: str, versioning: Versioning) -> None:
    """Killed at any moment, then told to do otherwise: what was begun is found out, and what moves is somewhere."""
    job, then = a_job(kind), OTHERWISE[other]
    for at in count(1, 3):
        yard = Yard(versioning)
        yard.run(job)
        is_dead = died(yard.apply, job, at=at)
        begun = set(CONDEMNED) - set(yard.store.keys())
        yard.refilter(then)
        for again in (at, 0):
            died(yard.apply, then, at=again)
            assert max(Counter(yard.store.deleted).values(), default=0) <= 1
            assert set(LABELS) - set(CONDEMNED) <= set(yard.store.keys())
        gone = set(CONDEMNED) - set(yard.store.keys())
        assert gone == (begun if other == "stay" else set(CONDEMNED))
        books = {one.key: one for one in yard.checkpoint.journal if one.step in REMOVED}
        assert set(books) == gone
        for key, one in books.items():
            assert not one.target or yard.store.body(location(one.target).key, BIN) == body_of(key)
        assert sum(yard.effects().values()) == len(gone)
        if kind == "move" and other not in {"delete", "elsewhere"}:
            yard.undo(then)
            assert yard.bodies() == {key: body_of(key) for key in LABELS}
        if not is_dead:
            break


def meddling(yard: Yard, when: str, deed: Callable[[], object]) -> None:
    """Have somebody do ``deed`` at the first moment called ``when``."""
    live, is_done = yard._live, False

    def meddled(life: Callable[[Overrides], Awaitable[T]], reaper: Reaper | None = None) -> T:
        reaper = reaper or Reaper()
        point = reaper.point

        async def watched(what: str) -> None:
            nonlocal is_done
            if what == when and not is_done:
                is_done = True
                deed()
            await point(what)

        reaper.__dict__["point"] = watched
        return live(life, reaper)

    yard.__dict__["_live"] = meddled


@pytest.mark.parametrize("spoilt", [b"other", None])
def test_an_unverified_copy_lets_no_image_go(spoilt: bytes | None) -> None:
    """A copy that is not there as it was made leaves the image in the source, as failed."""
    job, yard = a_job("move"), Yard()
    yard.run(job)
    deed = (lambda: yard.store.put("b.jpg", spoilt, BIN)) if spoilt else (lambda: yard.store.remove("b.jpg", BIN))
    meddling(yard, "copied b.jpg", deed)
    summary = yard.apply(job)
    assert (summary.failed, summary.exit_code) == ({"not_verified": 1}, 1)
    assert yard.store.body("b.jpg") == body_of("b.jpg")
    assert yard.checkpoint.opened.watermark.tally.failed == {"not_verified": 1}


def test_the_copy_in_quarantine_stays_until_the_image_was_seen_in_its_place() -> None:
    """An image that does not arrive stays in quarantine, and can be brought back later."""
    job, yard = a_job("move"), Yard()
    yard.run(job)
    yard.apply(job)
    meddling(yard, "copied b.jpg", lambda: yard.store.remove("b.jpg"))
    assert yard.undo(job).failed == {"not_verified": 1}
    assert yard.store.body("b.jpg", BIN) == body_of("b.jpg")
    assert yard.undo(job).restored == 1
    assert yard.bodies() == {key: body_of(key) for key in LABELS}


@pytest.mark.parametrize("versioning", BUCKETS)
def test_an_image_removed_after_it_was_back_is_somebody_elses_doing(versioning: Versioning) -> None:
    """A resumed undo finishes its books, or brings the image back once more; it does not fail."""
    job = a_job("move")
    for at in deaths():
        yard = Yard(versioning)
        yard.run(job)
        yard.apply(job)
        is_dead = died(yard.undo, job, at=at)
        if is_dead and yard.store.body("b.jpg") is not None:
            yard.store.remove("b.jpg")
            had_copy = yard.store.body("b.jpg", BIN) is not None
            summary = yard.undo(job)
            assert summary.failed == {}
            assert (yard.store.body("b.jpg") is not None) == had_copy
            assert {one.step for one in yard.checkpoint.journal} == {Step.UNDONE}
        if not is_dead:
            break


class Faults:
    """Throttles, time-outs before and after an effect, by a drawn table."""

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


SQUATTER = b"somebody else's"
OUTSIDERS = st.lists(
    st.tuples(st.sampled_from(sorted(LABELS)), st.sampled_from(["put", "remove", "put back", "steal", "squat"])),
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(ACTIONS)),
    versioning=st.sampled_from(BUCKETS),
    lives=st.lists(st.tuples(st.booleans(), st.integers(0, 45), OUTSIDERS), max_size=5),
    draws=st.lists(st.integers(0, 5), max_size=9),
)
def test_any_life(
    kind: str, versioning: Versioning, lives: list[tuple[bool, int, list[tuple[str, str]]]], draws: list[int]
) -> None:
    """Applies and undoes that die at any moment, beside others and faults: only what was examined and condemned goes.

    Nobody's new object is ever removed or overwritten, a moved image is always somewhere, and at the end books and
    bucket agree.
    """
    job = a_job(kind)
    yard = Yard(versioning)
    yard.run(job)
    yard.store.fault = Faults(draws)
    mine = {key: body_of(key) for key in LABELS}
    stolen: set[str] = set()
    squatted: set[str] = set()
    for is_apply, at, others in lives:
        act = yard.apply if is_apply else yard.undo
        died(act, job, at=at)
        _check_life(yard, mine, stolen)
        for key, deed in others:
            _do(yard, key, deed, mine, stolen)
            squatted |= {key} if deed == "squat" else set()
    yard.store.fault = lambda _what, _attempt: None
    yard.apply(job)
    _check_life(yard, mine, stolen)
    assert yard.plan_apply(job).images == 0
    removed = [one.key for one in yard.checkpoint.journal if one.step in REMOVED]
    assert yard.effects().get(kind, 0) == len(removed)
    yard.undo(job)
    _check_life(yard, mine, stolen)
    removed = [one.key for one in yard.checkpoint.journal if one.step in REMOVED]
    assert yard.effects().get(kind, 0) == len(removed)
    if not stolen and kind == "move":
        assert yard.bodies() == mine
    assert all(yard.store.body(key, BIN) == SQUATTER for key in squatted)


def _do(yard: Yard, key: str, deed: str, mine: dict[str, bytes], stolen: set[str]) -> None:
    """What somebody else does; ``mine`` follows what an image's place must hold when we do not touch it."""
    if deed == "put":
        mine[key] = b"new " + key.encode()
        yard.store.put(key, mine[key])
    elif deed == "put back":
        mine[key] = body_of(key)
        yard.store.put(key, mine[key])
    elif deed == "remove" and yard.store.body(key) is not None:
        yard.store.remove(key)
        stolen.add(key)
    elif deed == "steal" and yard.store.body(key, BIN) != SQUATTER and yard.store.body(key, BIN) is not None:
        yard.store.remove(key, BIN)
        stolen.add(key)
    elif deed == "squat":
        if yard.store.body(key, BIN) is not None:
            stolen.add(key)
        yard.store.put(key, SQUATTER, BIN)


def _check_life(yard: Yard, mine: dict[str, bytes], stolen: set[str]) -> None:
    """Hold the bucket to what everybody did."""
    for place, etag in yard.store.deleted:
        is_ours = place.key in CONDEMNED and etag == examined_etag(place.key)
        assert is_ours, f"{place} was deleted"
    for key, body in mine.items():
        if key in stolen:
            continue
        standing = yard.store.body(key)
        if body != body_of(key) or key not in CONDEMNED:
            assert standing == body
        elif standing is None and yard.store.versioning is Versioning.OFF:
            (removal,) = [one for one in yard.checkpoint.journal if one.key == key]
            assert not removal.target or yard.store.body(key, BIN) == body
        else:
            assert standing in {None, body}


def examined_etag(key: str) -> str:
    """The ETag that was examined."""
    return MemoryStore().put(key, body_of(key))
