"""``apply --stale``: copies that changed rules no longer make are deleted, and never a possible only copy."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from asyncfilter.errors import UsageError
from asyncfilter.events import ActionDone
from asyncfilter.job import Job
from asyncfilter.policy.removal_plan import RemovalPlan, RemovalSummary
from asyncfilter.testing.crash import crashed
from tests.kit.buckets import Bucket
from tests.kit.jobs import make_bare_job

KEYS = [f"{n:02}.jpg" for n in range(10)]
SURE_PCT = 95.0
UNSURE = KEYS[:3]
"""What only the first rules keep."""


def a_job(confidence: float = 80.0, target: str = "s3://clean/{key}") -> Job:
    """A job that copies robins."""
    return make_bare_job(
        rules=[{"keep": {"any": "Robin", "confidence": confidence}}], actions={"keep": {"copy": target}}
    )


class CopiedBucket(Bucket):
    """A bucket with ten images copied by rules that keep more than the present ones."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(KEYS, "Robin"))
        self.detector.learn({key: [("Robin", 85.0 if key in UNSURE else 99.0)] for key in KEYS})
        self.run(a_job())
        self.refilter(a_job(SURE_PCT))
        self.events.clear()

    def stale_plan(self, job: Job | None = None) -> RemovalPlan:
        """``asyncfilter apply --stale --dry-run``."""
        return self.plan(job or a_job(SURE_PCT), stale=True)

    def clear(
        self, copies: int, job: Job | None = None, *, max_share: float = 0.5, at: int = 0, **options: Any
    ) -> RemovalSummary:
        """``asyncfilter apply --stale --yes --expect COPIES``; killed at crash point ``at``."""
        return self.apply(job or a_job(SURE_PCT), copies, max_share, at=at, stale=True, **options)

    @property
    def stale(self) -> int:
        """The number of stale copies in the checkpoint."""
        return self.checkpoint.opened.watermark.tally.stale


def test_stale_copies_go_and_nothing_else() -> None:
    """Copies of images that are no longer kept are deleted; sources and other copies stay; no copy stays stale."""
    bucket = CopiedBucket()
    assert bucket.stale == len(UNSURE)
    plan = bucket.stale_plan()
    assert (plan.images, plan.examined, plan.is_stale) == (3, 10, True)
    summary = bucket.clear(3)
    assert (summary.cleared, summary.left, summary.failed, summary.exit_code) == (3, 0, {}, 0)
    assert bucket.store.keys() == KEYS
    assert bucket.store.keys("clean") == [key for key in KEYS if key not in UNSURE]
    assert bucket.stale == 0
    assert bucket.stale_plan().images == 0
    reported = [event for event in bucket.events if isinstance(event, ActionDone)]
    assert [(event.kind, event.key, event.target) for event in reported] == [
        ("clear", key, f"s3://clean/{key}") for key in UNSURE
    ]


def test_copies_that_are_wanted_again_are_made_again() -> None:
    """A run with the former rules makes the copies again at no cost."""
    bucket = CopiedBucket()
    calls = bucket.detector.attempts.total()
    bucket.clear(3)
    bucket.refilter(a_job())
    assert bucket.store.keys("clean") == KEYS
    assert bucket.detector.attempts.total() == calls


def test_copies_at_former_targets_go_one_by_one() -> None:
    """All stale copies of an image are deleted; the one that the present template makes stays."""
    bucket = CopiedBucket()
    for folder in ("second", "third"):
        bucket.refilter(a_job(target=f"s3://clean/{folder}/{{key}}"))
    job = a_job(target="s3://clean/third/{key}")
    assert bucket.stale_plan(job).images == 2 * len(KEYS)
    with pytest.raises(UsageError, match=r"does not name for it: s3://clean/, s3://clean/second/"):
        bucket.clear(2 * len(KEYS), job, max_share=1.0)
    former = ("s3://clean/",)
    assert bucket.clear(2 * len(KEYS), job, max_share=1.0, allow_places=former).cleared == 2 * len(KEYS)
    assert bucket.store.keys("clean") == [f"third/{key}" for key in KEYS]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_may_be_the_only_copy_stays(is_replaced: bool) -> None:
    """A copy whose image is missing or was replaced is kept and reported, and stays stale."""
    bucket = CopiedBucket()
    if is_replaced:
        bucket.store.put(UNSURE[0], b"another picture")
    else:
        bucket.store.remove(UNSURE[0])
    summary = bucket.clear(3)
    assert (summary.cleared, summary.failed, summary.exit_code) == (2, {"original_gone": 1}, 1)
    assert bucket.store.body(UNSURE[0], "clean") == UNSURE[0].encode()
    assert bucket.stale == 1


def test_what_is_no_copy_stays() -> None:
    """Another client's object at the target is kept and reported."""
    bucket = CopiedBucket()
    bucket.store.put(UNSURE[1], b"somebody's own", "clean")
    summary = bucket.clear(3)
    assert (summary.cleared, summary.failed) == (2, {"target_exists": 1})
    assert bucket.store.body(UNSURE[1], "clean") == b"somebody's own"


def test_a_copy_that_is_gone_is_no_longer_stale() -> None:
    """A stale copy that is already missing counts as cleared, whoever deleted it."""
    bucket = CopiedBucket()
    bucket.store.remove(UNSURE[2], "clean")
    assert bucket.clear(3).cleared == 3
    assert bucket.stale == 0


def test_another_number_or_too_large_a_share_does_nothing() -> None:
    """The number must be that of the stale copies, and at most half of all copies."""
    bucket = CopiedBucket()
    with pytest.raises(UsageError, match="2 copies were agreed to, 3 are pending"):
        bucket.clear(2)
    with pytest.raises(UsageError, match=r"3 of 10 copies \(30.0 %\) would be deleted"):
        bucket.clear(3, max_share=0.2)
    with pytest.raises(UsageError, match="not those of this job"):
        bucket.clear(3, a_job(50.0))
    assert bucket.store.keys("clean") == KEYS


def test_killed_at_every_moment() -> None:
    """Killed at any crash point and repeated, the command deletes the same copies, and the sources stay."""
    for at in count(1):
        bucket = CopiedBucket()
        if not crashed(bucket.clear, 3, at=at):
            assert at > 10
            break
        left = bucket.stale_plan().images
        assert bucket.clear(left, max_share=1.0).cleared == left
        assert (bucket.store.keys(), bucket.store.keys("clean")) == (KEYS, KEYS[3:])
        assert bucket.stale == 0
