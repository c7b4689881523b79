"""``apply --stale``: copies that changed rules no longer make go, and nothing that could be the only copy."""

from __future__ import annotations

from itertools import count

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
    """Robins are copied."""
    return make_bare_job(
        rules=[{"keep": {"any": "Robin", "confidence": confidence}}], actions={"keep": {"copy": target}}
    )


class CopiedBucket(Bucket):
    """Ten images were copied by rules that ask for less than the present ones."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(KEYS, "Robin"))
        self.detector.learn({key: [("Robin", 85.0 if key in UNSURE else 99.0)] for key in KEYS})
        self.run(a_job())
        self.refilter(a_job(SURE_PCT))
        self.events.clear()

    def stale_plan(self, job: Job | None = None) -> RemovalPlan:
        """``asyncfilter apply --stale --dry-run``."""
        return self.plan(job or a_job(SURE_PCT), stale=True)

    def clear(self, copies: int, job: Job | None = None, *, max_share: float = 0.5, at: int = 0) -> RemovalSummary:
        """``asyncfilter apply --stale --yes --expect COPIES``; killed at moment ``at``."""
        return self.apply(job or a_job(SURE_PCT), copies, max_share, at=at, stale=True)

    @property
    def stale(self) -> int:
        """What the checkpoint counts as stale."""
        return self.checkpoint.opened.watermark.tally.stale


def test_stale_copies_go_and_nothing_else() -> None:
    """The copies of images that are no longer kept are deleted; sources and other copies stay, and nothing is stale."""
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
    """The way back is the former rules: the copies come back at no cost."""
    bucket = CopiedBucket()
    calls = bucket.detector.attempts.total()
    bucket.clear(3)
    bucket.refilter(a_job())
    assert bucket.store.keys("clean") == KEYS
    assert bucket.detector.attempts.total() == calls


def test_copies_at_former_targets_go_one_by_one() -> None:
    """An image may have several: all go, while the one that the present template makes stays."""
    bucket = CopiedBucket()
    for folder in ("second", "third"):
        bucket.refilter(a_job(target=f"s3://clean/{folder}/{{key}}"))
    job = a_job(target="s3://clean/third/{key}")
    assert bucket.stale_plan(job).images == 2 * len(KEYS)
    assert bucket.clear(2 * len(KEYS), job, max_share=1.0).cleared == 2 * len(KEYS)
    assert bucket.store.keys("clean") == [f"third/{key}" for key in KEYS]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_may_be_the_only_copy_stays(is_replaced: bool) -> None:
    """A copy whose image is gone or another one by now is left and reported, and stays stale."""
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
    """Somebody else's object at the target is left and reported."""
    bucket = CopiedBucket()
    bucket.store.put(UNSURE[1], b"somebody's own", "clean")
    summary = bucket.clear(3)
    assert (summary.cleared, summary.failed) == (2, {"target_exists": 1})
    assert bucket.store.body(UNSURE[1], "clean") == b"somebody's own"


def test_a_copy_that_is_gone_is_no_longer_stale() -> None:
    """Whoever deleted it."""
    bucket = CopiedBucket()
    bucket.store.remove(UNSURE[2], "clean")
    assert bucket.clear(3).cleared == 3
    assert bucket.stale == 0


def test_another_number_or_too_large_a_share_does_nothing() -> None:
    """The number must be the one that is stale, and no more than half of all copies."""
    bucket = CopiedBucket()
    with pytest.raises(UsageError, match="2 copies were agreed to, 3 are pending"):
        bucket.clear(2)
    with pytest.raises(UsageError, match=r"3 of 10 copies \(30.0 %\) would be deleted"):
        bucket.clear(3, max_share=0.2)
    with pytest.raises(UsageError, match="not those of this job"):
        bucket.clear(3, a_job(50.0))
    assert bucket.store.keys("clean") == KEYS


def test_killed_at_every_moment() -> None:
    """Whenever it dies, the same command ends it: the same copies are gone, and the sources stand."""
    for at in count(1):
        bucket = CopiedBucket()
        if not crashed(bucket.clear, 3, at=at):
            assert at > 10
            break
        left = bucket.stale_plan().images
        assert bucket.clear(left, max_share=1.0).cleared == left
        assert (bucket.store.keys(), bucket.store.keys("clean")) == (KEYS, KEYS[3:])
        assert bucket.stale == 0
