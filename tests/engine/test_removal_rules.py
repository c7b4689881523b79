"""What ``apply`` and ``undo`` ask before they do anything, and how they end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.engine.ending import Interrupt
from asyncfilter.errors import (
    CallError,
    ImageError,
    PermissionDeniedError,
    ThrottleCause,
    ThrottledError,
    TransientError,
    UsageError,
)
from asyncfilter.events import ActionDone, Event
from asyncfilter.job import Job, parse_job
from asyncfilter.model import StopReason, Summary
from asyncfilter.policy.removal import BucketState, Consent, RemovalPlan, RemovalSummary, Versioning
from asyncfilter.ports import Condemned, Gone
from asyncfilter.testing import LoopClock, MemoryCheckpoint, MemoryStore, ScriptedDetector, run_virtually
from asyncfilter.wiring import Overrides, apply, plan_apply, plan_undo, refilter, run, undo

T = TypeVar("T")

LABELS = {f"{n:02}.jpg": "Person" if n % 5 == 0 else "Robin" for n in range(20)}
PEOPLE = [key for key, label in LABELS.items() if label == "Person"]


def a_job(*, reject: Any = "delete", **changes: Any) -> Job:
    """Robins stay, people go."""
    document = {
        "version": 1,
        "name": "cleanup",
        "source": "s3://raw/",
        "rules": [{"keep": {"any": "Robin"}}],
        "otherwise": "reject",
        "actions": {"reject": reject},
    }
    return parse_job(document | changes, base_dir=Path("/nowhere"))


class Yard:
    """A bucket with its checkpoint, worked on by one process after another."""

    def __init__(self, labels: dict[str, str] = LABELS, **store: Any) -> None:
        self.store = MemoryStore("raw", **store)
        self.detector = ScriptedDetector({key: [(label, 90.0)] for key, label in labels.items()})
        self.checkpoint = MemoryCheckpoint()
        self.events: list[Event] = []
        for key in labels:
            self.store.put(key, key.encode())

    def overrides(self) -> Overrides:
        """All its ports."""
        store = self.store
        return Overrides(
            source=store,
            detector=self.detector,
            sink=store,
            remover=store,
            checkpoint=self.checkpoint,
            clock=LoopClock(),
        )

    def run(self, job: Job, **options: Any) -> Summary:
        """``asyncfilter run``."""
        return self.live(lambda: run(job, overrides=self.overrides(), **options))

    def refilter(self, job: Job, **options: Any) -> Summary:
        """``asyncfilter refilter``."""
        return self.live(lambda: refilter(job, overrides=self.overrides(), **options))

    def plan(self, job: Job, **options: Any) -> RemovalPlan:
        """``asyncfilter apply --dry-run``."""
        return self.live(lambda: plan_apply(job, overrides=self.overrides(), **options))

    def apply(self, job: Job, images: int, max_share: float = 0.5, **options: Any) -> RemovalSummary:
        """``asyncfilter apply --yes --expect IMAGES``."""
        consent = Consent(images=images, max_share=max_share, digest=options.pop("digest", None))
        return self.live(
            lambda: apply(job, consent, overrides=self.overrides(), on_event=self.events.append, **options)
        )

    def plan_undo(self, job: Job) -> RemovalPlan:
        """``asyncfilter undo --dry-run``."""
        return self.live(lambda: plan_undo(job, overrides=self.overrides()))

    def undo(self, job: Job, images: int) -> RemovalSummary:
        """``asyncfilter undo --yes --expect IMAGES``."""
        return self.live(lambda: undo(job, Consent(images=images), overrides=self.overrides()))

    def live(self, life: Callable[[], Awaitable[T]]) -> T:
        """One process."""
        try:
            return run_virtually(life)
        finally:
            self.checkpoint = self.checkpoint.reopen()

    @property
    def deleted(self) -> Sequence[str]:
        """Keys deleted by ``apply``, in order."""
        return [place.key for place, _ in self.store.deleted]


# -- Consent -----------------------------------------------------------------------------------------------------------


@given(images=st.integers(-3, 40).filter(lambda images: images != len(PEOPLE)))
def test_no_other_number_does_anything(images: int) -> None:
    """Nothing is done unless the number is exactly that of the pending images."""
    job, yard = a_job(), Yard()
    yard.run(job)
    with pytest.raises(UsageError, match=f"{images} images were agreed to, 4 are pending"):
        yard.apply(job, images, 1.0)
    assert (yard.deleted, yard.checkpoint.journal) == ([], [])


def test_the_right_number_of_other_images_does_nothing() -> None:
    """What was shown is what is done: the same number of other images is refused."""
    job, yard = a_job(), Yard()
    yard.run(job)
    digest = yard.plan(job).digest
    other = a_job(rules=[{"keep": {"none": "Robin"}}], otherwise="review", actions={"keep": "delete"})
    yard.refilter(other)
    assert yard.plan(other).images == 4
    assert yard.plan(other).digest == digest  # the same images
    with pytest.raises(UsageError, match="not as they were shown"):
        yard.apply(other, 4, digest="another")
    assert yard.deleted == []


@pytest.mark.parametrize("later", [Versioning.SUSPENDED, Versioning.OFF, Versioning.UNKNOWN])
def test_what_was_said_of_undo_must_still_be_so(later: Versioning) -> None:
    """Somebody agreed to deletes that can be undone: a bucket that keeps no versions by now is another matter."""
    job, yard = a_job(), Yard(versioning=Versioning.ON)
    yard.run(job)
    digest = yard.plan(job).digest
    yard.store.versioning = later
    with pytest.raises(UsageError, match="4 are pending"):
        yard.apply(job, 4, digest=digest)
    assert yard.deleted == []
    yard.store.versioning = Versioning.ON
    assert yard.apply(job, 4, digest=digest).deleted == 4


@pytest.mark.parametrize(
    ("max_share", "is_allowed"), [(0.19, False), (0.2, True), (0.21, True), (0.0, False), (1.0, True)]
)
def test_no_more_than_the_share(max_share: float, is_allowed: bool) -> None:
    """A fifth is a fifth, to the image."""
    job, yard = a_job(), Yard()
    yard.run(job)
    if is_allowed:
        assert yard.apply(job, 4, max_share).deleted == 4
    else:
        with pytest.raises(UsageError, match=r"20\.0 %"):
            yard.apply(job, 4, max_share)
        assert yard.deleted == []


def test_rules_that_match_nothing_cannot_empty_a_bucket() -> None:
    """Without --max-share no more than half of the images leaves, in one go or bit by bit."""
    job, yard = a_job(rules=[{"keep": {"any": "Typo"}}]), Yard()
    yard.run(job)
    with pytest.raises(UsageError, match=r"100\.0 %"):
        yard.apply(job, 20)
    assert yard.deleted == []
    little = a_job(rules=[{"keep": {"any": "Robin"}}])
    yard.refilter(little)
    assert yard.apply(little, 4).deleted == 4
    more = a_job(rules=[{"keep": {"any": "Typo"}}], actions={"reject": "delete"})
    yard.refilter(more)
    with pytest.raises(UsageError, match=r"100\.0 %"):
        yard.apply(more, 16, 0.8)  # 16 of 20 are 80 %, but 4 are gone already
    assert len(yard.deleted) == 4


@pytest.mark.parametrize(
    "change", [{"otherwise": "review"}, {"rules": [{"keep": {"any": "Person"}}]}, {"reject": "none"}]
)
def test_decisions_of_other_rules_are_refused(change: dict[str, Any]) -> None:
    """What is removed is what the job as it is now decides; a changed one must decide first."""
    job, yard = a_job(), Yard()
    yard.run(job)
    with pytest.raises(UsageError, match="not those of this job") as caught:
        yard.apply(a_job(**change), 4)
    assert "refilter" in str(caught.value.hint)
    assert yard.deleted == []


def test_a_job_that_never_ran_is_refused() -> None:
    """Without decisions nothing is removed, and a dry run makes none that count."""
    job, yard = a_job(), Yard()
    with pytest.raises(UsageError, match="not those of this job"):
        yard.plan(job)
    yard.run(job, dry_run=True)
    with pytest.raises(UsageError, match="not those of this job"):
        yard.plan(job)


@pytest.mark.parametrize("life_s", [0.0, 0.01, 0.025, 0.05])
def test_decisions_half_made_anew_are_refused(life_s: float) -> None:
    """A refilter that is killed leaves decisions of two rules; the old job cannot carry them out as its own."""
    labels = {f"{n:04}.jpg": "Person" if n % 5 == 0 else "Robin" for n in range(3000)}
    job, yard = a_job(), Yard(labels)
    yard.run(job)
    other = a_job(rules=[{"keep": {"any": "Person"}}])

    async def live() -> bool:
        with anyio.move_on_after(life_s) as scope:
            await refilter(other, overrides=yard.overrides())
        return scope.cancelled_caught

    if yard.live(live):
        wrong = [row.key for row in yard.checkpoint.images if row.decision and row.decision.rule == 0]
        for each in (job, other):
            try:
                plan = yard.plan(each)
            except UsageError:
                continue
            assert each is job
            assert (plan.images, len(wrong)) == (600, 2400)
    yard.refilter(job)
    assert yard.plan(job).images == 600


# -- What is decided anew ----------------------------------------------------------------------------------------------


def test_what_was_undone_is_not_proposed_again_by_itself() -> None:
    """After undo the same decisions propose nothing; ``again`` or other decisions do, and say so."""
    job, yard = a_job(reject={"move": "s3://bin/"}), Yard()
    yard.run(job)
    yard.apply(job, 4)
    yard.undo(job, 4)
    plan = yard.plan(job)
    assert (plan.images, plan.held_back) == (0, 4)
    assert yard.run(job).pending_removals == 0
    plan = yard.plan(job, again=True)
    assert (plan.images, plan.undone, plan.held_back) == (4, 4, 0)
    other = a_job(reject={"move": "s3://bin/"}, rules=[{"keep": {"any": "Robin", "confidence": 80}}])
    yard.refilter(other)
    plan = yard.plan(other)
    assert (plan.images, plan.undone) == (4, 4)
    assert yard.apply(other, 4).moved == 4
    assert yard.undo(other, 4).restored == 4
    assert sorted(yard.store.keys()) == sorted(LABELS)


def test_what_is_removed_stays_removed_under_other_rules() -> None:
    """An image that is gone is neither copied nor removed again, and stays counted, whatever new rules say of it."""
    job, yard = a_job(), Yard()
    yard.run(job)
    yard.apply(job, 4)
    everything = a_job(rules=[{"keep": {"any": ["Robin", "Person"]}}], actions={"keep": {"copy": "s3://clean/"}})
    summary = yard.refilter(everything)
    assert (summary.counts.keep, summary.counts.copied, summary.counts.deleted) == (20, 16, 4)
    assert summary.counts.failed == {}
    assert yard.refilter(job).counts.deleted == 4


def test_an_image_that_stands_there_again_is_decided_again_at_no_cost() -> None:
    """Somebody puts removed images back: a run seats them, pays nothing, and they are pending once more."""
    job, yard = a_job(), Yard()
    yard.run(job)
    yard.apply(job, 4)
    yard.store.put(PEOPLE[0], PEOPLE[0].encode())
    summary = yard.run(job)
    assert (summary.this_run.calls, summary.pending_removals) == (0, 1)
    assert (summary.counts.examined, summary.counts.reject, summary.counts.deleted) == (20, 4, 3)
    assert yard.apply(job, 1).deleted == 1
    assert yard.run(job).counts.deleted == 4
    assert yard.store.keys() == sorted(set(LABELS) - set(PEOPLE))


def test_a_new_version_of_a_removed_image_is_examined_anew() -> None:
    """Other content under a removed key is an image of its own."""
    job, yard = a_job(reject={"move": "s3://bin/"}), Yard()
    yard.run(job)
    yard.apply(job, 4)
    yard.store.put(PEOPLE[0], b"another person")
    assert yard.run(job).pending_removals == 1
    summary = yard.apply(job, 1)
    assert summary.failed == {"target_exists": 1}  # the first one lies there, and is not overwritten
    assert yard.store.body(PEOPLE[0], "bin") == PEOPLE[0].encode()
    assert yard.store.body(PEOPLE[0]) == b"another person"


def test_overwriting_in_quarantine_is_for_those_who_ask() -> None:
    """``if_exists: overwrite`` moves over what lies there."""
    job, yard = a_job(reject={"move": "s3://bin/", "if_exists": "overwrite"}), Yard()
    yard.store.put(PEOPLE[0], b"old", "bin")
    yard.run(job)
    assert yard.apply(job, 4).moved == 4
    assert yard.store.body(PEOPLE[0], "bin") == PEOPLE[0].encode()


def test_what_lay_in_quarantine_before_is_left_there() -> None:
    """The same content there counts as copied, and undo does not take away what it did not put there."""
    job, yard = a_job(reject={"move": "s3://bin/"}), Yard()
    yard.store.put(PEOPLE[0], PEOPLE[0].encode(), "bin")
    yard.run(job)
    assert yard.apply(job, 4).moved == 4
    assert yard.undo(job, 4).restored == 4
    assert yard.store.keys("bin") == [PEOPLE[0]]
    assert yard.store.keys() == sorted(LABELS)


def test_two_images_never_share_a_place_in_quarantine() -> None:
    """The first in order has it; the other stays where it is, also in a later process."""
    labels = {"a/x.jpg": "Person", "b/x.jpg": "Person", "b/y.jpg": "Robin", "c.jpg": "Robin"}
    job, yard = a_job(reject={"move": "s3://bin/{basename}"}), Yard(labels)
    yard.run(job)
    summary = yard.apply(job, 2)
    assert (summary.moved, summary.failed) == (1, {"target_collision": 1})
    assert yard.store.body("x.jpg", "bin") == b"a/x.jpg"
    assert yard.store.body("b/x.jpg") == b"b/x.jpg"
    yard.run(job, retry_failed=True)
    assert yard.apply(job, 1).failed == {"target_collision": 1}
    assert yard.store.body("b/x.jpg") == b"b/x.jpg"


def test_a_copy_never_overwrites_what_lies_in_quarantine() -> None:
    """Also when other actions made room for it: where a moved image lies, a run copies nothing else."""
    labels = {"a/x.jpg": "Person", "x.jpg": "Robin", "y.jpg": "Robin"}
    job, yard = a_job(reject={"move": "s3://bin/{basename}"}), Yard(labels)
    yard.run(job)
    assert yard.apply(job, 1).moved == 1
    summary = yard.refilter(a_job(actions={"keep": {"copy": "s3://bin/{key}"}}))
    assert (summary.counts.copied, summary.counts.failed) == (1, {"target_collision": 1})
    assert yard.store.body("x.jpg", "bin") == b"a/x.jpg"
    assert yard.undo(job, 1).restored == 1


def test_a_copy_never_overwrites_what_its_key_held_before() -> None:
    """An image that was moved is there alone: what somebody stored under its key since does not take its place."""
    job = a_job(actions={"keep": {"copy": "s3://bin/{key}"}, "reject": {"move": "s3://bin/{key}"}})
    yard = Yard({"a.jpg": "Person", "b.jpg": "Robin", "c.jpg": "Robin"})
    yard.run(job)
    assert yard.apply(job, 1).moved == 1
    yard.store.put("a.jpg", b"a robin now")
    yard.detector = ScriptedDetector({"a.jpg": [("Robin", 90.0)]})
    summary = yard.run(job)
    assert (summary.counts.keep, summary.counts.failed) == (2, {"target_collision": 1})
    assert yard.store.body("a.jpg", "bin") == b"a.jpg"


def test_a_copy_never_overwrites_another_images_copy() -> None:
    """The same for copies that an earlier template put there."""
    labels = {"a/x.jpg": "Robin", "x.jpg": "Robin", "y.jpg": "Robin"}
    yard = Yard(labels)
    assert yard.run(a_job(actions={"keep": {"copy": "s3://clean/{basename}"}})).counts.copied == 2
    summary = yard.refilter(a_job(actions={"keep": {"copy": "s3://clean/{key}"}}))
    assert (summary.counts.copied, summary.counts.failed) == (2, {"target_collision": 1})
    assert yard.store.body("x.jpg", "clean") == b"a/x.jpg"


# -- How it ends -------------------------------------------------------------------------------------------------------


def test_leaving_keeps_everything_and_the_same_command_goes_on() -> None:
    """An interrupt at any image ends with 75; what is left is said, and the next apply does it."""
    job = a_job(reject={"move": "s3://bin/"})
    for moment in range(40):
        yard = Yard()
        yard.run(job)
        interrupt, seen = Interrupt(), 0

        async def point(_what: str) -> None:
            nonlocal seen
            await anyio.lowlevel.checkpoint()
            seen += 1
            if seen == moment:  # noqa: B023  used in this round alone
                interrupt.request()  # noqa: B023

        yard.store.point = point
        summary = yard.apply(job, 4, interrupt=interrupt)
        assert (summary.exit_code, summary.stop_reason) in {(75, StopReason.INTERRUPTED), (0, StopReason.COMPLETED)}
        assert summary.moved + summary.left == 4
        if summary.left:
            assert yard.apply(job, summary.left).moved == summary.left
        assert yard.store.keys("bin") == PEOPLE


def test_who_leaves_before_the_start_announces_nothing() -> None:
    """What was not even looked at is not in the journal: if it vanishes later, that was somebody else."""
    job, yard = a_job(), Yard()
    yard.run(job)
    interrupt = Interrupt()
    interrupt.request()

    async def leave() -> RemovalSummary:
        async def point(_what: str) -> None:
            await anyio.lowlevel.checkpoint()

        yard.store.point = point
        return await apply(job, Consent(images=4), overrides=yard.overrides(), interrupt=interrupt)

    assert yard.live(leave).exit_code == 75
    assert yard.checkpoint.journal == []
    for key in PEOPLE:
        yard.store.remove(key)
    summary = yard.apply(job, 4)
    assert summary.failed == {"vanished": 4}


def denied(what: str) -> ImageError:
    """What S3 says of one object."""
    return ImageError(f"{what}: Access Denied", code="access_denied", remedy="Allow s3:DeleteObject.", access=True)


@pytest.mark.parametrize("operation", ["look", "copy", "delete"])
def test_a_permission_that_no_image_has_is_the_accounts(operation: str) -> None:
    """Denied throughout: exit 4 with the remedy, nothing is held against the images, and all is pending still."""
    job, yard = a_job(reject={"move": "s3://bin/"}), Yard()
    yard.run(job)
    yard.store.fault = lambda what, _attempt: denied(what) if what.startswith(operation) else None
    summary = yard.apply(job, 4)
    assert (summary.exit_code, summary.stop_reason, summary.failed) == (4, StopReason.FAILED, {})
    assert summary.hint == "Allow s3:DeleteObject."
    yard.store.fault = lambda _what, _attempt: None
    assert yard.apply(job, 4).moved == 4


@pytest.mark.parametrize("operation", ["look", "copy", "delete"])
def test_a_permission_that_one_image_lacks_is_its_own(operation: str) -> None:
    """One denied image is reported; the others go."""
    job, yard = a_job(reject={"move": "s3://bin/"}), Yard()
    yard.run(job)
    yard.store.fault = lambda what, _attempt: denied(what) if what == f"{operation} {PEOPLE[1]}" else None
    summary = yard.apply(job, 4)
    assert (summary.exit_code, summary.moved, summary.failed) == (1, 3, {"access_denied": 1})
    assert yard.store.body(PEOPLE[1]) == PEOPLE[1].encode()
    assert yard.run(job).counts.failed == {"access_denied": 1}
    yard.store.fault = lambda _what, _attempt: None
    assert yard.run(job, retry_failed=True).pending_removals == 1
    assert yard.apply(job, 1).moved == 1


def test_what_fails_in_passing_stays_pending() -> None:
    """An image that S3 would not answer for is not failed: the same command goes on with it."""
    job, yard = a_job(), Yard()
    yard.run(job)
    away = TransientError("timed out", may_be_billed=True)
    yard.store.fault = lambda what, _attempt: away if what == f"delete {PEOPLE[0]}" else None
    summary = yard.apply(job, 4)
    assert (summary.exit_code, summary.deleted, summary.failed) == (1, 3, {"unavailable": 1})
    assert yard.run(job).counts.failed == {}
    yard.store.fault = lambda _what, _attempt: None
    assert yard.apply(job, 1).deleted == 1


def test_single_keys_of_a_batch_are_sent_again() -> None:
    """SlowDown and InternalError of single keys are repeated; the rest of the batch is not."""
    job, yard = a_job(), Yard()
    yard.run(job)
    slow = ThrottledError("slow down", cause=ThrottleCause.SERVER)
    broken = TransientError("internal error", may_be_billed=True)
    faults = {(f"delete {PEOPLE[0]}", 1): slow, (f"delete {PEOPLE[2]}", 1): broken, (f"delete {PEOPLE[2]}", 2): broken}
    yard.store.fault = lambda what, attempt: faults.get((what, attempt))
    assert yard.apply(job, 4).deleted == 4
    assert sorted(yard.deleted) == PEOPLE


@pytest.mark.parametrize("versioning", [Versioning.OFF, Versioning.ON])
def test_a_refusal_that_came_after_the_deed_is_no_loss(versioning: Versioning) -> None:
    """A gateway's 503 may follow a delete that was done: what is gone then was ours, and undo knows of it."""
    job, yard = a_job(), Yard(versioning=versioning)
    yard.run(job)
    late = ThrottledError("503", cause=ThrottleCause.SERVER, may_be_billed=True)
    real = yard.store.delete

    async def delete(bucket: str, condemned: Sequence[Condemned]) -> Sequence[Gone | CallError]:
        yard.store.__dict__.pop("delete")
        await real(bucket, condemned)
        raise late

    yard.store.__dict__["delete"] = delete
    summary = yard.apply(job, 4)
    assert (summary.deleted, summary.failed) == (4, {})
    assert yard.plan_undo(job).images == (4 if versioning is Versioning.ON else 0)


@pytest.mark.parametrize("may_list", [True, False])
def test_a_bucket_that_does_not_tell_may_keep_versions(*, may_list: bool) -> None:
    """An answer that was lost: the marker is looked for all the same, and who may not list versions is not stopped."""
    job, yard = a_job(), Yard(versioning=Versioning.ON)
    yard.run(job)
    lost = TransientError("no answer", may_be_billed=True)
    secret = PermissionDeniedError("s3:ListBucketVersions", hint="Allow it.")
    real = yard.store.delete

    async def delete(bucket: str, condemned: Sequence[Condemned]) -> Sequence[Gone | CallError]:
        yard.store.__dict__.pop("delete")
        await real(bucket, condemned)
        raise lost

    async def state() -> BucketState:
        return BucketState(versioning=Versioning.UNKNOWN)

    yard.store.__dict__ |= {"delete": delete, "state": state}
    yard.store.fault = lambda what, _attempt: secret if what.startswith("versions") and not may_list else None
    summary = yard.apply(job, 4)
    assert (summary.exit_code, summary.deleted, summary.failed) == (0, 4, {})
    assert yard.plan_undo(job).images == (4 if may_list else 0)


def test_what_may_be_gone_and_may_not_be_looked_at_stays_pending() -> None:
    """Where what is gone looks forbidden, an interrupted delete has not failed: undo would never hear of it."""
    job, yard = a_job(reject={"move": "s3://bin/"}), Yard()
    yard.run(job)
    lost = TransientError("no answer", may_be_billed=True)
    yard.store.fault = lambda what, _attempt: lost if what.startswith(("batch", f"delete {PEOPLE[0]}")) else None
    yard.apply(job, 4)
    yard.store.remove(PEOPLE[0])  # the delete had arrived
    yard.store.fault = lambda what, _attempt: denied(what) if what == f"look {PEOPLE[0]}" else None
    summary = yard.apply(job, 4)
    assert (summary.exit_code, summary.moved, summary.failed) == (1, 3, {"access_denied": 1})
    yard.store.fault = lambda _what, _attempt: None
    assert yard.apply(job, 1).moved == 1
    assert yard.undo(job, 4).restored == 4


def test_what_cannot_be_found_out_is_not_called_done() -> None:
    """Begun under other actions, and not to be looked at now: it stays as it is, and the exit code says so."""
    job, yard = a_job(), Yard()
    yard.run(job)
    lost = TransientError("no answer", may_be_billed=True)
    yard.store.fault = lambda what, _attempt: lost if what.startswith("batch") else None
    assert yard.apply(job, 4).failed == {"unavailable": 4}
    other = a_job(reject={"move": "s3://bin/"})
    yard.refilter(other)
    yard.store.fault = lambda what, _attempt: denied(what) if what == f"look {PEOPLE[0]}" else None
    summary = yard.apply(other, 4)
    assert (summary.exit_code, summary.moved, summary.failed) == (1, 3, {"unavailable": 1})
    yard.store.fault = lambda _what, _attempt: None
    assert yard.apply(other, 1).moved == 1


def test_a_store_that_refuses_for_ten_minutes_ends_it() -> None:
    """Endless throttling does not hang a script; nothing is lost by it."""
    job, yard = a_job(), Yard()
    yard.run(job)
    slow = ThrottledError("slow down", cause=ThrottleCause.SERVER)
    yard.store.fault = lambda what, _attempt: slow if what.startswith("batch") else None
    summary = yard.apply(job, 4)
    assert (summary.exit_code, summary.stop_reason, summary.left) == (1, StopReason.ERRORS, 4)
    yard.store.fault = lambda _what, _attempt: None
    assert yard.apply(job, 4).deleted == 4


def test_thousands_go_in_batches() -> None:
    """No batch is larger than S3 takes, and every image is told of once."""
    labels = {f"{n:04}.jpg": "Person" if n % 2 else "Robin" for n in range(5000)}
    job, yard = a_job(), Yard(labels)
    yard.run(job)
    yard.apply(job, 2500)
    told = [event for event in yard.events if isinstance(event, ActionDone)]
    assert len({event.key for event in told}) == len(told) == 2500
    assert yard.store.batches == [1000, 1000, 500]
    assert yard.store.keys() == [key for key, label in labels.items() if label == "Robin"]


# -- What undo can do --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versioning", [Versioning.OFF, Versioning.SUSPENDED, Versioning.UNKNOWN])
def test_undo_says_what_it_cannot_bring_back(versioning: Versioning) -> None:
    """Deleted where no versions are kept: gone, and said so."""
    job, yard = a_job(), Yard(versioning=versioning)
    yard.run(job)
    yard.apply(job, 4)
    plan = yard.plan_undo(job)
    assert (plan.images, sum(group.images for group in plan.lost)) == (0, 4)
    assert yard.undo(job, 0).restored == 0


def test_mfa_delete_keeps_markers() -> None:
    """Only the bucket's owner can remove a marker there: moves come back as copies, deletes do not."""
    for reject, images in (("delete", 0), ({"move": "s3://bin/"}, 4)):
        job, yard = a_job(reject=reject), Yard(versioning=Versioning.ON, mfa_delete=True)
        yard.run(job)
        yard.apply(job, 4)
        assert yard.plan_undo(job).images == images
        assert yard.undo(job, images).restored == images


def test_a_marker_that_is_not_ours_stays() -> None:
    """Deleted, brought back by hand and deleted again by somebody: undo leaves their marker alone."""
    job, yard = a_job(), Yard(versioning=Versioning.ON)
    yard.run(job)
    yard.apply(job, 4)
    yard.store.put(PEOPLE[0], b"somebody's")
    theirs = yard.store.remove(PEOPLE[0])
    summary = yard.undo(job, 4)
    assert (summary.restored, summary.failed) == (3, {"not_restorable": 1})
    assert yard.store.history(PEOPLE[0])[-1].id == theirs


def test_moves_come_back_without_their_marker() -> None:
    """A marker that is gone leaves the copy: the image is copied back."""
    job, yard = a_job(reject={"move": "s3://bin/"}), Yard(versioning=Versioning.ON)
    yard.run(job)
    yard.apply(job, 4)
    yard.store.put(PEOPLE[0], b"somebody's")
    yard.store.remove(PEOPLE[0])
    assert yard.undo(job, 4).restored == 4
    assert yard.store.body(PEOPLE[0]) == PEOPLE[0].encode()


# -- Duplicates --------------------------------------------------------------------------------------------------------


def a_yard_of_twins(**store: Any) -> Yard:
    """Two robins with one content, three people with another."""
    labels = {"1.jpg": "Robin", "2.jpg": "Person", "3.jpg": "Robin", "4.jpg": "Person", "5.jpg": "Person"}
    yard = Yard(labels, **store)
    for key, label in labels.items():
        yard.store.put(key, label.encode())
    return yard


def duplicates(action: Any, **changes: Any) -> Job:
    """Whatever their verdict, copies of an earlier image go."""
    return a_job(actions={"duplicate": action}, **changes)


def test_duplicates_go_while_the_original_stands() -> None:
    """Only the later ones; the plan says why, and undo brings them back."""
    job, yard = duplicates("delete"), a_yard_of_twins(versioning=Versioning.ON)
    yard.run(job)
    plan = yard.plan(job)
    assert {(group.is_duplicate, group.images) for group in plan.groups} == {(True, 1), (True, 2)}
    assert yard.apply(job, 3, 0.6).deleted == 3
    assert yard.store.keys() == ["1.jpg", "2.jpg"]
    assert yard.undo(job, 3).restored == 3


@pytest.mark.parametrize("action", ["delete", {"move": "s3://bin/"}])
@pytest.mark.parametrize("is_replaced", [True, False])
def test_the_last_of_its_content_never_goes(action: Any, is_replaced: bool) -> None:
    """Where the original is not there any more, its duplicates stay: one of them may be the only one."""
    job, yard = duplicates(action), a_yard_of_twins()
    yard.run(job)
    if is_replaced:
        yard.store.put("2.jpg", b"another")
    else:
        yard.store.remove("2.jpg")
    summary = yard.apply(job, 3, 0.6)
    assert (summary.deleted + summary.moved, summary.failed) == (1, {"original_gone": 2})
    assert (yard.store.body("4.jpg"), yard.store.body("5.jpg")) == (b"Person", b"Person")


def test_content_that_the_rules_condemn_goes_altogether() -> None:
    """An original that was moved itself does not hold its duplicates back when their verdict condemns them too."""
    job = a_job(actions={"reject": {"move": "s3://bin/"}, "duplicate": "delete"})
    yard = a_yard_of_twins()
    yard.run(job)
    summary = yard.apply(job, 4, 0.8)
    assert (summary.moved, summary.deleted, summary.failed) == (1, 3, {})
    assert (yard.store.keys(), yard.store.keys("bin")) == (["1.jpg"], ["2.jpg"])


def a_cautious_job(bin_: str = "bin") -> Job:
    """What the rules condemn is to be had in quarantine; its duplicates are not kept twice."""
    return a_job(actions={"reject": {"move": f"s3://{bin_}/"}, "duplicate": "delete"})


@pytest.mark.parametrize("is_replaced", [True, False])
def test_duplicates_of_what_never_came_to_quarantine_stay(is_replaced: bool) -> None:
    """Rules that move content keep one copy of it: without the original, here or there, a duplicate is not deleted."""
    job, yard = a_cautious_job(), a_yard_of_twins()
    yard.run(job)
    if is_replaced:
        yard.store.put("2.jpg", b"another")
    else:
        yard.store.remove("2.jpg")
    summary = yard.apply(job, 4, 0.8)
    assert (summary.moved, summary.deleted) == (0, 1)
    assert summary.failed == {"changed" if is_replaced else "vanished": 1, "original_gone": 2}
    assert (yard.store.body("4.jpg"), yard.store.body("5.jpg")) == (b"Person", b"Person")


@pytest.mark.parametrize("is_stolen", [True, False])
def test_duplicates_go_while_the_original_stands_in_quarantine(is_stolen: bool) -> None:
    """The original was moved by an earlier apply: its copy there is what lets duplicates go, while it stands."""
    job, yard = a_cautious_job(), a_yard_of_twins()
    yard.run(job)
    busy = TransientError("timed out", may_be_billed=True)
    yard.store.fault = lambda what, _attempt: busy if what in {"look 4.jpg", "look 5.jpg"} else None
    assert yard.apply(job, 4, 0.8).moved == 1
    yard.store.fault = lambda _what, _attempt: None
    if is_stolen:
        yard.store.put("2.jpg", b"another", "bin")
    summary = yard.apply(job, 2, 0.8)
    assert (summary.deleted, summary.failed) == ((0, {"original_gone": 2}) if is_stolen else (2, {}))


def test_skipped_duplicates_are_never_touched() -> None:
    """What counts as skipped has no verdict, whatever the rules say of its content."""
    source = {"uri": "s3://raw/", "duplicates": "skip"}
    job, yard = a_job(source=source), a_yard_of_twins()
    yard.run(job)
    assert yard.apply(job, 1).deleted == 1
    assert yard.store.keys() == ["1.jpg", "3.jpg", "4.jpg", "5.jpg"]


# -- Tags --------------------------------------------------------------------------------------------------------------


def test_tags_are_written_by_the_run_and_again_when_they_change() -> None:
    """A tag is done like a copy: once for the same tags, again for others, and back again."""
    yard = Yard()
    for tags in ({"class": "person"}, {"class": "person"}, {"class": "human"}, {"class": "person"}):
        job = a_job(reject={"tag": tags})
        summary = yard.run(job)
        assert (summary.counts.tagged, summary.pending_removals) == (4, 0)
        assert list(yard.store.tags.values()) == [tags] * 4
    rows = [row for row in yard.checkpoint.images if row.effects]
    assert [[effect.target for effect in row.effects] for row in rows] == [["class=person"]] * 4


def test_a_run_says_what_waits_for_apply() -> None:
    """Moves and deletes are decided and counted, never done, by a run or a refilter."""
    job, yard = a_job(), Yard()
    assert yard.run(job).pending_removals == 4
    assert yard.run(job).pending_removals == 4
    other = a_job(rules=[{"keep": {"any": "Person"}}])
    assert yard.refilter(other).pending_removals == 16
    assert (yard.deleted, sorted(yard.store.keys())) == ([], sorted(LABELS))


def test_the_plan_tells_reasons_sizes_and_a_sample() -> None:
    """Counts and bytes add up; the sample is of the group, and the same whenever one looks."""
    job, yard = a_job(rules=[{"reject": {"any": "Person"}}, {"keep": {"any": "Robin"}}]), Yard()
    yard.run(job)
    plan = yard.plan(job)
    (group,) = plan.groups
    assert (group.rule, group.images, plan.images) == (0, 4, 4)
    assert plan.size_bytes == group.size_bytes == sum(len(key) for key in PEOPLE)
    assert set(group.sample) == set(PEOPLE)
    assert plan == yard.plan(job)
    assert yard.checkpoint.journal == []
