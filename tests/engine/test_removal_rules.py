"""The conditions that ``apply`` and ``undo`` check before they change anything, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.errors import (
    CallError,
    ImageError,
    PermissionDeniedError,
    ThrottleCause,
    ThrottledError,
    TransientError,
    UsageError,
)
from asyncfilter.events import ActionDone
from asyncfilter.job import Job
from asyncfilter.model import StopReason
from asyncfilter.policy.removal_plan import Consent, RemovalSummary
from asyncfilter.ports.remover import DeleteRequest, DeleteResult
from asyncfilter.records.removal import BucketState, Versioning
from asyncfilter.testing import ScriptedDetector
from asyncfilter.wiring import Overrides
from asyncfilter.wiring.apply import apply
from asyncfilter.wiring.refilter import refilter
from tests.kit.buckets import Bucket
from tests.kit.collision import same_md5
from tests.kit.jobs import make_bare_job

LABELS = {f"{n:02}.jpg": "Person" if n % 5 == 0 else "Robin" for n in range(20)}
PEOPLE = [key for key, label in LABELS.items() if label == "Person"]


def a_job(*, reject: Any = "delete", **changes: Any) -> Job:
    """A job that keeps robins and removes people."""
    return make_bare_job(**{"actions": {"reject": reject}} | changes)


# -- Consent -----------------------------------------------------------------------------------------------------------


@given(images=st.integers(-3, 40).filter(lambda images: images != len(PEOPLE)))
def test_no_other_number_does_anything(images: int) -> None:
    """Nothing is done unless the number is exactly that of the pending images."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    with pytest.raises(UsageError, match=f"{images} images were agreed to, 4 are pending"):
        bucket.apply(job, images, 1.0)
    assert (bucket.deleted, bucket.checkpoint.journal) == ([], [])


def test_the_right_number_of_other_images_does_nothing() -> None:
    """The consent covers the images that were shown: the same number of other images is refused."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    digest = bucket.plan(job).digest
    other = a_job(rules=[{"keep": {"none": "Robin"}}], otherwise="review", actions={"keep": "delete"})
    bucket.refilter(other)
    assert bucket.plan(other).images == 4
    assert bucket.plan(other).digest == digest  # the same images
    with pytest.raises(UsageError, match="not as they were shown"):
        bucket.apply(other, 4, digest="another")
    assert bucket.deleted == []


@pytest.mark.parametrize("later", [Versioning.SUSPENDED, Versioning.OFF, Versioning.UNKNOWN])
def test_consent_to_undoable_deletes_needs_versioning(later: Versioning) -> None:
    """A consent to deletes that can be undone is not valid for a bucket that keeps no versions any more."""
    job, bucket = a_job(), Bucket(LABELS, versioning=Versioning.ON)
    bucket.run(job)
    digest = bucket.plan(job).digest
    bucket.store.versioning = later
    with pytest.raises(UsageError, match="4 are pending"):
        bucket.apply(job, 4, digest=digest)
    assert bucket.deleted == []
    bucket.store.versioning = Versioning.ON
    assert bucket.apply(job, 4, digest=digest).deleted == 4


@pytest.mark.parametrize(
    ("max_share", "is_allowed"), [(0.19, False), (0.2, True), (0.21, True), (0.0, False), (1.0, True)]
)
def test_no_more_than_the_share(max_share: float, is_allowed: bool) -> None:
    """The share is compared exactly: a fifth allows a fifth of the images and not one more."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    if is_allowed:
        assert bucket.apply(job, 4, max_share).deleted == 4
    else:
        with pytest.raises(UsageError, match=r"20\.0 %"):
            bucket.apply(job, 4, max_share)
        assert bucket.deleted == []


def test_rules_that_match_nothing_cannot_empty_a_bucket() -> None:
    """Without --max-share at most half of the images is removed, at once or in several calls."""
    job, bucket = a_job(rules=[{"keep": {"any": "Typo"}}]), Bucket(LABELS)
    bucket.run(job)
    with pytest.raises(UsageError, match=r"100\.0 %"):
        bucket.apply(job, 20)
    assert bucket.deleted == []
    little = a_job(rules=[{"keep": {"any": "Robin"}}])
    bucket.refilter(little)
    assert bucket.apply(little, 4).deleted == 4
    more = a_job(rules=[{"keep": {"any": "Typo"}}], actions={"reject": "delete"})
    bucket.refilter(more)
    with pytest.raises(UsageError, match=r"100\.0 %"):
        bucket.apply(more, 16, 0.8)  # 16 of 20 are 80 %, but 4 are gone already
    assert len(bucket.deleted) == 4


@pytest.mark.parametrize(
    "change", [{"otherwise": "review"}, {"rules": [{"keep": {"any": "Person"}}]}, {"reject": "none"}]
)
def test_decisions_of_other_rules_are_refused(change: dict[str, Any]) -> None:
    """Removals follow the decisions of the present job; a changed job must decide first."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    with pytest.raises(UsageError, match="not those of this job") as caught:
        bucket.apply(a_job(**change), 4)
    assert "refilter" in str(caught.value.hint)
    assert bucket.deleted == []


def test_a_job_that_never_ran_is_refused() -> None:
    """Without decisions nothing is removed; those of a dry run do not count."""
    job, bucket = a_job(), Bucket(LABELS)
    with pytest.raises(UsageError, match="not those of this job"):
        bucket.plan(job)
    bucket.run(job, dry_run=True)
    with pytest.raises(UsageError, match="not those of this job"):
        bucket.plan(job)


@pytest.mark.parametrize("at_s", [0.0, 0.01, 0.025, 0.05])
def test_decisions_half_made_anew_are_refused(at_s: float) -> None:
    """A killed refilter leaves decisions of two rules, which the old job must not carry out as its own."""
    labels = {f"{n:04}.jpg": "Person" if n % 5 == 0 else "Robin" for n in range(3000)}
    job, bucket = a_job(), Bucket(labels)
    bucket.run(job)
    other = a_job(rules=[{"keep": {"any": "Person"}}])

    async def killed_refilter(overrides: Overrides) -> bool:
        with anyio.move_on_after(at_s) as scope:
            await refilter(other, overrides=overrides)
        return scope.cancelled_caught

    if bucket.in_process(killed_refilter):
        wrong = [row.key for row in bucket.checkpoint.images if row.decision and row.decision.rule == 0]
        for each in (job, other):
            try:
                plan = bucket.plan(each)
            except UsageError:
                continue
            assert each is job
            assert (plan.images, len(wrong)) == (600, 2400)
    bucket.refilter(job)
    assert bucket.plan(job).images == 600


# -- What is decided anew ----------------------------------------------------------------------------------------------


def test_what_was_undone_is_not_proposed_again_by_itself() -> None:
    """After undo the same decisions make nothing pending; ``again`` or other decisions do, and the plan shows it."""
    job, bucket = a_job(reject={"move": "s3://bin/"}), Bucket(LABELS)
    bucket.run(job)
    bucket.apply(job, 4)
    bucket.undo(job, 4)
    plan = bucket.plan(job)
    assert (plan.images, plan.held_back) == (0, 4)
    assert bucket.run(job).pending_removals == 0
    plan = bucket.plan(job, again=True)
    assert (plan.images, plan.undone, plan.held_back) == (4, 4, 0)
    other = a_job(reject={"move": "s3://bin/"}, rules=[{"keep": {"any": "Robin", "confidence": 80}}])
    bucket.refilter(other)
    plan = bucket.plan(other)
    assert (plan.images, plan.undone) == (4, 4)
    assert bucket.apply(other, 4).moved == 4
    assert bucket.undo(other, 4).restored == 4
    assert sorted(bucket.store.keys()) == sorted(LABELS)


def test_what_is_removed_stays_removed_under_other_rules() -> None:
    """A removed image is neither copied nor removed again, and stays counted under any new rules."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    bucket.apply(job, 4)
    everything = a_job(rules=[{"keep": {"any": ["Robin", "Person"]}}], actions={"keep": {"copy": "s3://clean/"}})
    summary = bucket.refilter(everything)
    assert (summary.counts.keep, summary.counts.copied, summary.counts.deleted) == (20, 16, 4)
    assert summary.counts.failed == {}
    assert bucket.refilter(job).counts.deleted == 4


def test_an_image_that_is_back_is_decided_again_at_no_cost() -> None:
    """Removed images that are put back are placed by a run without payment, and are pending again."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    bucket.apply(job, 4)
    bucket.store.put(PEOPLE[0], PEOPLE[0].encode())
    summary = bucket.run(job)
    assert (summary.this_run.calls, summary.pending_removals) == (0, 1)
    assert (summary.counts.examined, summary.counts.reject, summary.counts.deleted) == (20, 4, 3)
    assert bucket.apply(job, 1).deleted == 1
    assert bucket.run(job).counts.deleted == 4
    assert bucket.store.keys() == sorted(set(LABELS) - set(PEOPLE))


def test_a_new_version_of_a_removed_image_is_examined_anew() -> None:
    """Other content under a removed key is another image."""
    job, bucket = a_job(reject={"move": "s3://bin/"}), Bucket(LABELS)
    bucket.run(job)
    bucket.apply(job, 4)
    bucket.store.put(PEOPLE[0], b"another person")
    assert bucket.run(job).pending_removals == 1
    summary = bucket.apply(job, 1)
    assert summary.failed == {"target_exists": 1}  # the first one is there, and is not overwritten
    assert bucket.store.body(PEOPLE[0], "bin") == PEOPLE[0].encode()
    assert bucket.store.body(PEOPLE[0]) == b"another person"


def test_overwriting_in_quarantine_needs_if_exists_overwrite() -> None:
    """With ``if_exists: overwrite`` a move replaces an existing object."""
    job, bucket = a_job(reject={"move": "s3://bin/", "if_exists": "overwrite"}), Bucket(LABELS)
    bucket.store.put(PEOPLE[0], b"old", "bin")
    bucket.run(job)
    assert bucket.apply(job, 4).moved == 4
    assert bucket.store.body(PEOPLE[0], "bin") == PEOPLE[0].encode()


def test_what_lay_in_quarantine_before_is_left_there() -> None:
    """The same content at the target counts as copied, and undo does not delete a copy that apply did not make."""
    job, bucket = a_job(reject={"move": "s3://bin/"}), Bucket(LABELS)
    bucket.store.put(PEOPLE[0], PEOPLE[0].encode(), "bin")
    bucket.run(job)
    assert bucket.apply(job, 4).moved == 4
    assert bucket.undo(job, 4).restored == 4
    assert bucket.store.keys("bin") == [PEOPLE[0]]
    assert bucket.store.keys() == sorted(LABELS)


def test_two_images_never_share_a_target_in_quarantine() -> None:
    """The first image in order gets the target; the other is not moved, also in a later process."""
    labels = {"a/x.jpg": "Person", "b/x.jpg": "Person", "b/y.jpg": "Robin", "c.jpg": "Robin"}
    job, bucket = a_job(reject={"move": "s3://bin/{basename}"}), Bucket(labels)
    bucket.run(job)
    summary = bucket.apply(job, 2)
    assert (summary.moved, summary.failed) == (1, {"target_collision": 1})
    assert bucket.store.body("x.jpg", "bin") == b"a/x.jpg"
    assert bucket.store.body("b/x.jpg") == b"b/x.jpg"
    bucket.run(job, retry_failed=True)
    assert bucket.apply(job, 1).failed == {"target_collision": 1}
    assert bucket.store.body("b/x.jpg") == b"b/x.jpg"


def test_a_copy_never_overwrites_what_lies_in_quarantine() -> None:
    """A run copies nothing over a moved image, also after actions changed."""
    labels = {"a/x.jpg": "Person", "x.jpg": "Robin", "y.jpg": "Robin"}
    job, bucket = a_job(reject={"move": "s3://bin/{basename}"}), Bucket(labels)
    bucket.run(job)
    assert bucket.apply(job, 1).moved == 1
    summary = bucket.refilter(a_job(actions={"keep": {"copy": "s3://bin/{key}"}}))
    assert (summary.counts.copied, summary.counts.failed) == (1, {"target_collision": 1})
    assert bucket.store.body("x.jpg", "bin") == b"a/x.jpg"
    assert bucket.undo(job, 1).restored == 1


def test_a_copy_never_overwrites_what_its_key_held_before() -> None:
    """A moved image exists in quarantine only: a new object under its key is not copied over it."""
    job = a_job(actions={"keep": {"copy": "s3://bin/{key}"}, "reject": {"move": "s3://bin/{key}"}})
    bucket = Bucket({"a.jpg": "Person", "b.jpg": "Robin", "c.jpg": "Robin"})
    bucket.run(job)
    assert bucket.apply(job, 1).moved == 1
    bucket.store.put("a.jpg", b"a robin now")
    bucket.detector = ScriptedDetector({"a.jpg": [("Robin", 90.0)]})
    summary = bucket.run(job)
    assert (summary.counts.keep, summary.counts.failed) == (2, {"target_collision": 1})
    assert bucket.store.body("a.jpg", "bin") == b"a.jpg"


def test_a_copy_never_overwrites_another_images_copy() -> None:
    """The same holds for copies made by an earlier template."""
    labels = {"a/x.jpg": "Robin", "x.jpg": "Robin", "y.jpg": "Robin"}
    bucket = Bucket(labels)
    assert bucket.run(a_job(actions={"keep": {"copy": "s3://clean/{basename}"}})).counts.copied == 2
    summary = bucket.refilter(a_job(actions={"keep": {"copy": "s3://clean/{key}"}}))
    assert (summary.counts.copied, summary.counts.failed) == (2, {"target_collision": 1})
    assert bucket.store.body("x.jpg", "clean") == b"a/x.jpg"


# -- How it ends -------------------------------------------------------------------------------------------------------


def test_an_interrupt_keeps_everything_and_the_same_command_resumes() -> None:
    """An interrupt at any image ends with 75; the remaining images are reported, and the next apply removes them."""
    job = a_job(reject={"move": "s3://bin/"})
    for moment in range(40):
        bucket = Bucket(LABELS)
        bucket.run(job)
        interrupt, seen = Interrupt(), 0

        async def point(_what: str) -> None:
            nonlocal seen
            await anyio.lowlevel.checkpoint()
            seen += 1
            if seen == moment:  # noqa: B023  used in this round alone
                interrupt.request()  # noqa: B023

        bucket.store.point = point
        summary = bucket.apply(job, 4, interrupt=interrupt)
        assert (summary.exit_code, summary.stop_reason) in {(75, StopReason.INTERRUPTED), (0, StopReason.COMPLETED)}
        assert summary.moved + summary.left == 4
        if summary.left:
            assert bucket.apply(job, summary.left).moved == summary.left
        assert bucket.store.keys("bin") == PEOPLE


def test_an_interrupt_before_the_start_records_nothing() -> None:
    """Images not yet reached are not in the journal: one that vanishes later was removed by another client."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    interrupt = Interrupt()
    interrupt.request()

    async def interrupted_apply(overrides: Overrides) -> RemovalSummary:
        async def point(_what: str) -> None:
            await anyio.lowlevel.checkpoint()

        bucket.store.point = point
        return await apply(job, Consent(images=4), overrides=overrides, interrupt=interrupt)

    assert bucket.in_process(interrupted_apply).exit_code == 75
    assert bucket.checkpoint.journal == []
    for key in PEOPLE:
        bucket.store.remove(key)
    summary = bucket.apply(job, 4)
    assert summary.failed == {"vanished": 4}


def denied(what: str) -> ImageError:
    """The error that S3 gives for one object."""
    return ImageError(f"{what}: Access Denied", code="access_denied", remedy="Allow s3:DeleteObject.", access=True)


@pytest.mark.parametrize("operation", ["head", "copy", "delete"])
def test_a_permission_that_no_image_has_is_the_accounts(operation: str) -> None:
    """If all are denied: exit 4 with the remedy, no image is failed, and all stay pending."""
    job, bucket = a_job(reject={"move": "s3://bin/"}), Bucket(LABELS)
    bucket.run(job)
    bucket.store.fault = lambda what, _attempt: denied(what) if what.startswith(operation) else None
    summary = bucket.apply(job, 4)
    assert (summary.exit_code, summary.stop_reason, summary.failed) == (4, StopReason.FAILED, {})
    assert summary.hint == "Allow s3:DeleteObject."
    bucket.store.fault = lambda _what, _attempt: None
    assert bucket.apply(job, 4).moved == 4


@pytest.mark.parametrize("operation", ["head", "copy", "delete"])
def test_a_permission_that_one_image_lacks_is_its_own(operation: str) -> None:
    """One denied image is reported; the others are removed."""
    job, bucket = a_job(reject={"move": "s3://bin/"}), Bucket(LABELS)
    bucket.run(job)
    bucket.store.fault = lambda what, _attempt: denied(what) if what == f"{operation} {PEOPLE[1]}" else None
    summary = bucket.apply(job, 4)
    assert (summary.exit_code, summary.moved, summary.failed) == (1, 3, {"access_denied": 1})
    assert bucket.store.body(PEOPLE[1]) == PEOPLE[1].encode()
    assert bucket.run(job).counts.failed == {"access_denied": 1}
    bucket.store.fault = lambda _what, _attempt: None
    assert bucket.run(job, retry_failed=True).pending_removals == 1
    assert bucket.apply(job, 1).moved == 1


def test_what_fails_in_passing_stays_pending() -> None:
    """An image for which S3 gave no answer is not failed: the same command resumes it."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    away = TransientError("timed out", may_be_billed=True)
    bucket.store.fault = lambda what, _attempt: away if what == f"delete {PEOPLE[0]}" else None
    summary = bucket.apply(job, 4)
    assert (summary.exit_code, summary.deleted, summary.failed) == (1, 3, {"unavailable": 1})
    assert bucket.run(job).counts.failed == {}
    bucket.store.fault = lambda _what, _attempt: None
    assert bucket.apply(job, 1).deleted == 1


def test_single_keys_of_a_batch_are_sent_again() -> None:
    """SlowDown and InternalError of single keys are repeated; the rest of the batch is not."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    slow = ThrottledError("slow down", cause=ThrottleCause.SERVER)
    broken = TransientError("internal error", may_be_billed=True)
    faults = {(f"delete {PEOPLE[0]}", 1): slow, (f"delete {PEOPLE[2]}", 1): broken, (f"delete {PEOPLE[2]}", 2): broken}
    bucket.store.fault = lambda what, attempt: faults.get((what, attempt))
    assert bucket.apply(job, 4).deleted == 4
    assert sorted(bucket.deleted) == PEOPLE


@pytest.mark.parametrize("versioning", [Versioning.OFF, Versioning.ON])
def test_a_refusal_that_came_after_the_deed_is_no_loss(versioning: Versioning) -> None:
    """A 503 may follow a delete that was done: a missing object then counts as removed, and undo restores it."""
    job, bucket = a_job(), Bucket(LABELS, versioning=versioning)
    bucket.run(job)
    late = ThrottledError("503", cause=ThrottleCause.SERVER, may_be_done=True)
    real = bucket.store.delete

    async def delete(name: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        bucket.store.__dict__.pop("delete")
        await real(name, requests)
        raise late

    bucket.store.__dict__["delete"] = delete
    summary = bucket.apply(job, 4)
    assert (summary.deleted, summary.failed) == (4, {})
    assert bucket.plan_undo(job).images == (4 if versioning is Versioning.ON else 0)


@pytest.mark.parametrize("may_list", [True, False])
def test_a_bucket_of_unknown_state_may_keep_versions(*, may_list: bool) -> None:
    """After a lost answer the delete marker is searched; missing permission to list versions does not end apply."""
    job, bucket = a_job(), Bucket(LABELS, versioning=Versioning.ON)
    bucket.run(job)
    lost = TransientError("no answer", may_be_billed=True)
    secret = PermissionDeniedError("s3:ListBucketVersions", hint="Allow it.")
    real = bucket.store.delete

    async def delete(name: str, requests: Sequence[DeleteRequest]) -> Sequence[DeleteResult | CallError]:
        bucket.store.__dict__.pop("delete")
        await real(name, requests)
        raise lost

    async def state() -> BucketState:
        return BucketState(versioning=Versioning.UNKNOWN)

    bucket.store.__dict__ |= {"delete": delete, "state": state}
    bucket.store.fault = lambda what, _attempt: secret if what.startswith("versions") and not may_list else None
    summary = bucket.apply(job, 4)
    assert (summary.exit_code, summary.deleted, summary.failed) == (0, 4, {})
    assert bucket.plan_undo(job).images == (4 if may_list else 0)


def test_what_may_be_gone_and_may_not_be_looked_at_stays_pending() -> None:
    """If a missing object answers 403, an interrupted delete is not failed; otherwise undo could not restore it."""
    job, bucket = a_job(reject={"move": "s3://bin/"}), Bucket(LABELS)
    bucket.run(job)
    lost = TransientError("no answer", may_be_billed=True)
    bucket.store.fault = lambda what, _attempt: lost if what.startswith(("batch", f"delete {PEOPLE[0]}")) else None
    bucket.apply(job, 4)
    bucket.store.remove(PEOPLE[0])  # the delete had arrived
    bucket.store.fault = lambda what, _attempt: denied(what) if what == f"head {PEOPLE[0]}" else None
    summary = bucket.apply(job, 4)
    assert (summary.exit_code, summary.moved, summary.failed) == (1, 3, {"access_denied": 1})
    bucket.store.fault = lambda _what, _attempt: None
    assert bucket.apply(job, 1).moved == 1
    assert bucket.undo(job, 4).restored == 4


def test_what_cannot_be_found_out_is_not_called_done() -> None:
    """A removal begun under other actions that cannot be checked now is left as it is; the exit code shows it."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    lost = TransientError("no answer", may_be_billed=True)
    bucket.store.fault = lambda what, _attempt: lost if what.startswith("batch") else None
    assert bucket.apply(job, 4).failed == {"unavailable": 4}
    other = a_job(reject={"move": "s3://bin/"})
    bucket.refilter(other)
    bucket.store.fault = lambda what, _attempt: denied(what) if what == f"head {PEOPLE[0]}" else None
    summary = bucket.apply(other, 4)
    assert (summary.exit_code, summary.moved, summary.failed) == (1, 3, {"unavailable": 1})
    bucket.store.fault = lambda _what, _attempt: None
    assert bucket.apply(other, 1).moved == 1


def test_a_store_that_refuses_for_ten_minutes_ends_it() -> None:
    """Endless throttling ends the command; nothing is lost."""
    job, bucket = a_job(), Bucket(LABELS)
    bucket.run(job)
    slow = ThrottledError("slow down", cause=ThrottleCause.SERVER)
    bucket.store.fault = lambda what, _attempt: slow if what.startswith("batch") else None
    summary = bucket.apply(job, 4)
    assert (summary.exit_code, summary.stop_reason, summary.left) == (1, StopReason.ERRORS, 4)
    bucket.store.fault = lambda _what, _attempt: None
    assert bucket.apply(job, 4).deleted == 4


def test_thousands_go_in_batches() -> None:
    """No batch is larger than S3 accepts, and every image is reported once."""
    labels = {f"{n:04}.jpg": "Person" if n % 2 else "Robin" for n in range(5000)}
    job, bucket = a_job(), Bucket(labels)
    bucket.run(job)
    bucket.apply(job, 2500)
    reported = [event for event in bucket.events if isinstance(event, ActionDone)]
    assert len({event.key for event in reported}) == len(reported) == 2500
    assert bucket.store.batches == [1000, 1000, 500]
    assert bucket.store.keys() == [key for key, label in labels.items() if label == "Robin"]


# -- Undo --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versioning", [Versioning.OFF, Versioning.SUSPENDED, Versioning.UNKNOWN])
def test_undo_reports_what_it_cannot_restore(versioning: Versioning) -> None:
    """Images deleted where no versions are kept cannot be restored, and the plan reports it."""
    job, bucket = a_job(), Bucket(LABELS, versioning=versioning)
    bucket.run(job)
    bucket.apply(job, 4)
    plan = bucket.plan_undo(job)
    assert (plan.images, sum(group.images for group in plan.lost)) == (0, 4)
    assert bucket.undo(job, 0).restored == 0


def test_mfa_delete_keeps_markers() -> None:
    """Only the bucket's owner can remove a marker there: moves are restored by copies, deletes are not."""
    for reject, images in (("delete", 0), ({"move": "s3://bin/"}, 4)):
        job, bucket = a_job(reject=reject), Bucket(LABELS, versioning=Versioning.ON, mfa_delete=True)
        bucket.run(job)
        bucket.apply(job, 4)
        assert bucket.plan_undo(job).images == images
        assert bucket.undo(job, images).restored == images


def test_a_marker_that_is_not_ours_stays() -> None:
    """Undo does not remove the marker of an image that another client restored and deleted again."""
    job, bucket = a_job(), Bucket(LABELS, versioning=Versioning.ON)
    bucket.run(job)
    bucket.apply(job, 4)
    bucket.store.put(PEOPLE[0], b"somebody's")
    theirs = bucket.store.remove(PEOPLE[0])
    summary = bucket.undo(job, 4)
    assert (summary.restored, summary.failed) == (3, {"not_restorable": 1})
    assert bucket.store.history(PEOPLE[0])[-1].id == theirs


def test_moves_come_back_without_their_marker() -> None:
    """If the marker is missing, the image is restored from its copy."""
    job, bucket = a_job(reject={"move": "s3://bin/"}), Bucket(LABELS, versioning=Versioning.ON)
    bucket.run(job)
    bucket.apply(job, 4)
    bucket.store.put(PEOPLE[0], b"somebody's")
    bucket.store.remove(PEOPLE[0])
    assert bucket.undo(job, 4).restored == 4
    assert bucket.store.body(PEOPLE[0]) == PEOPLE[0].encode()


# -- Duplicates --------------------------------------------------------------------------------------------------------


def a_bucket_of_duplicates(**store: Any) -> Bucket:
    """Two robins with one content, three people with another."""
    labels = {"1.jpg": "Robin", "2.jpg": "Person", "3.jpg": "Robin", "4.jpg": "Person", "5.jpg": "Person"}
    bucket = Bucket(labels, **store)
    for key, label in labels.items():
        bucket.store.put(key, label.encode())
    return bucket


def duplicates(action: Any, **changes: Any) -> Job:
    """Duplicates of an earlier image are removed under any verdict."""
    return a_job(actions={"duplicate": action}, **changes)


def test_duplicates_are_removed_while_the_original_exists() -> None:
    """Only later duplicates are removed; the plan gives the reason, and undo restores them."""
    job, bucket = duplicates("delete"), a_bucket_of_duplicates(versioning=Versioning.ON)
    bucket.run(job)
    plan = bucket.plan(job)
    assert {(group.is_duplicate, group.images) for group in plan.groups} == {(True, 1), (True, 2)}
    assert bucket.apply(job, 3, 0.6).deleted == 3
    assert bucket.store.keys() == ["1.jpg", "2.jpg"]
    assert bucket.undo(job, 3).restored == 3


@pytest.mark.parametrize("action", ["delete", {"move": "s3://bin/"}])
@pytest.mark.parametrize("is_replaced", [True, False])
def test_the_last_of_its_content_never_goes(action: Any, is_replaced: bool) -> None:
    """If the original is missing, its duplicates stay: one of them may be the only copy."""
    job, bucket = duplicates(action), a_bucket_of_duplicates()
    bucket.run(job)
    if is_replaced:
        bucket.store.put("2.jpg", b"another")
    else:
        bucket.store.remove("2.jpg")
    summary = bucket.apply(job, 3, 0.6)
    assert (summary.deleted + summary.moved, summary.failed) == (1, {"original_gone": 2})
    assert (bucket.store.body("4.jpg"), bucket.store.body("5.jpg")) == (b"Person", b"Person")


def test_content_that_the_rules_reject_goes_altogether() -> None:
    """A moved original does not keep its duplicates from removal if their verdict removes them too."""
    job = a_job(actions={"reject": {"move": "s3://bin/"}, "duplicate": "delete"})
    bucket = a_bucket_of_duplicates()
    bucket.run(job)
    summary = bucket.apply(job, 4, 0.8)
    assert (summary.moved, summary.deleted, summary.failed) == (1, 3, {})
    assert (bucket.store.keys(), bucket.store.keys("bin")) == (["1.jpg"], ["2.jpg"])


def a_cautious_job(bin_: str = "bin") -> Job:
    """An image that the rules remove is in quarantine; its duplicates are not kept twice."""
    return a_job(actions={"reject": {"move": f"s3://{bin_}/"}, "duplicate": "delete"})


@pytest.mark.parametrize("is_replaced", [True, False])
def test_duplicates_of_what_never_came_to_quarantine_stay(is_replaced: bool) -> None:
    """Rules that move content keep one copy of it: a duplicate is deleted only if the original or its copy exists."""
    job, bucket = a_cautious_job(), a_bucket_of_duplicates()
    bucket.run(job)
    if is_replaced:
        bucket.store.put("2.jpg", b"another")
    else:
        bucket.store.remove("2.jpg")
    summary = bucket.apply(job, 4, 0.8)
    assert (summary.moved, summary.deleted) == (0, 1)
    assert summary.failed == {"changed" if is_replaced else "vanished": 1, "original_gone": 2}
    assert (bucket.store.body("4.jpg"), bucket.store.body("5.jpg")) == (b"Person", b"Person")


@pytest.mark.parametrize("is_copy_deleted", [True, False])
def test_duplicates_are_removed_while_the_original_is_in_quarantine(is_copy_deleted: bool) -> None:
    """If an earlier apply moved the original, duplicates are removed only while its copy in quarantine exists."""
    job, bucket = a_cautious_job(), a_bucket_of_duplicates()
    bucket.run(job)
    busy = TransientError("timed out", may_be_billed=True)
    bucket.store.fault = lambda what, _attempt: busy if what in {"head 4.jpg", "head 5.jpg"} else None
    assert bucket.apply(job, 4, 0.8).moved == 1
    bucket.store.fault = lambda _what, _attempt: None
    if is_copy_deleted:
        bucket.store.put("2.jpg", b"another", "bin")
    summary = bucket.apply(job, 2, 0.8)
    assert (summary.deleted, summary.failed) == ((0, {"original_gone": 2}) if is_copy_deleted else (2, {}))


@pytest.mark.parametrize("action", ["delete", {"move": "s3://bin/"}])
@pytest.mark.parametrize("judged", ["none", "delete", {"move": "s3://bin/else/"}])
@pytest.mark.parametrize("was_moved", [False, True])
def test_another_picture_with_the_same_md5_never_goes(action: Any, judged: Any, was_moved: bool) -> None:
    """It has ETag and size of the image it seems to duplicate, and its labels: it fails alone and stays."""
    one, other = same_md5(b"a picture")
    bucket = Bucket({"1.jpg": "Person", "2.jpg": "Person", "3.jpg": "Person"}, max_share=1.0)
    for key, body in (("1.jpg", one), ("2.jpg", other), ("3.jpg", one)):
        bucket.store.put(key, body)
    job = a_job(actions={"reject": judged, "duplicate": action})
    bucket.run(job)
    assert bucket.detector.attempts == {"1.jpg": 1}
    if was_moved and judged != "none":
        # An earlier apply removed the original alone.
        busy = TransientError("timed out", may_be_billed=True)
        bucket.store.fault = lambda what, _attempt: busy if what in {"head 2.jpg", "head 3.jpg"} else None
        bucket.apply(job)
        bucket.store.fault = lambda _what, _attempt: None
    summary = bucket.apply(job)
    if was_moved and judged == "delete":
        # Nothing is left to compare with: they go for their verdict, or wait for an original that is gone.
        return
    assert summary.failed == {"content_differs": 1}
    assert bucket.store.body("2.jpg") == other
    assert bucket.store.body("3.jpg") is None


def test_skipped_duplicates_are_never_touched() -> None:
    """A skipped image has no verdict under any rules."""
    source = {"uri": "s3://raw/", "duplicates": "skip"}
    job, bucket = a_job(source=source), a_bucket_of_duplicates()
    bucket.run(job)
    assert bucket.apply(job, 1).deleted == 1
    assert bucket.store.keys() == ["1.jpg", "3.jpg", "4.jpg", "5.jpg"]


# -- Tags --------------------------------------------------------------------------------------------------------------


def test_tags_are_written_by_the_run_and_again_when_they_change() -> None:
    """Tags are written once for the same tags, again for others, and again for the first."""
    bucket = Bucket(LABELS)
    for tags in ({"class": "person"}, {"class": "person"}, {"class": "human"}, {"class": "person"}):
        job = a_job(reject={"tag": tags})
        summary = bucket.run(job)
        assert (summary.counts.tagged, summary.pending_removals) == (4, 0)
        assert list(bucket.store.tags.values()) == [tags] * 4
    rows = [row for row in bucket.checkpoint.images if row.effects]
    assert [[effect.target for effect in row.effects] for row in rows] == [["class=person"]] * 4


def test_a_run_says_what_waits_for_apply() -> None:
    """A run or a refilter decides and counts moves and deletes and never does them."""
    job, bucket = a_job(), Bucket(LABELS)
    assert bucket.run(job).pending_removals == 4
    assert bucket.run(job).pending_removals == 4
    other = a_job(rules=[{"keep": {"any": "Person"}}])
    assert bucket.refilter(other).pending_removals == 16
    assert (bucket.deleted, sorted(bucket.store.keys())) == ([], sorted(LABELS))


def test_the_plan_has_reasons_sizes_and_a_sample() -> None:
    """Counts and bytes add up; the sample is drawn from the group and is the same each time."""
    job, bucket = a_job(rules=[{"reject": {"any": "Person"}}, {"keep": {"any": "Robin"}}]), Bucket(LABELS)
    bucket.run(job)
    plan = bucket.plan(job)
    (group,) = plan.groups
    assert (group.rule, group.images, plan.images) == (0, 4, 4)
    assert plan.size_bytes == group.size_bytes == sum(len(key) for key in PEOPLE)
    assert set(group.sample) == set(PEOPLE)
    assert plan == bucket.plan(job)
    assert bucket.checkpoint.journal == []
