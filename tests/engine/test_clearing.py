"""``apply --stale``: copies that changed rules no longer make go, and nothing that could be the only copy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest
from anyio.lowlevel import checkpoint as yield_to_others

from asyncfilter.errors import UsageError
from asyncfilter.events import ActionDone, Event
from asyncfilter.job import Job, parse_job
from asyncfilter.policy.removal import Consent, RemovalPlan, RemovalSummary
from asyncfilter.testing import LoopClock, MemoryCheckpoint, MemoryStore, ScriptedDetector, run_virtually
from asyncfilter.wiring import Overrides, apply, plan_apply, refilter, run

T = TypeVar("T")

KEYS = [f"{n:02}.jpg" for n in range(10)]
SURE_PCT = 95.0
UNSURE = KEYS[:3]
"""What only the first rules keep."""


def a_job(confidence: float = 80.0, target: str = "s3://clean/{key}", **changes: Any) -> Job:
    """Robins are copied."""
    document = {
        "version": 1,
        "name": "robins",
        "source": "s3://raw/",
        "rules": [{"keep": {"any": "Robin", "confidence": confidence}}],
        "otherwise": "reject",
        "actions": {"keep": {"copy": target}},
    }
    return parse_job(document | changes, base_dir=Path("/nowhere"))


class Died(BaseException):
    """The process was killed."""


class Yard:
    """Two buckets and a checkpoint; ten images were copied by rules that ask for less than the present ones."""

    def __init__(self) -> None:
        self.store = MemoryStore("raw")
        labels = {key: [("Robin", 85.0 if key in UNSURE else 99.0)] for key in KEYS}
        self.detector = ScriptedDetector(labels)
        self.checkpoint = MemoryCheckpoint()
        self.events: list[Event] = []
        for key in KEYS:
            self.store.put(key, key.encode())
        self.live(lambda overrides: run(a_job(), overrides=overrides))
        self.refilter(a_job(SURE_PCT))

    def refilter(self, job: Job) -> None:
        """``asyncfilter refilter``."""
        self.live(lambda overrides: refilter(job, overrides=overrides))

    def plan(self, job: Job | None = None) -> RemovalPlan:
        """``asyncfilter apply --stale --dry-run``."""
        return self.live(lambda overrides: plan_apply(job or a_job(SURE_PCT), stale=True, overrides=overrides))

    def clear(self, copies: int, job: Job | None = None, max_share: float = 0.5) -> RemovalSummary:
        """``asyncfilter apply --stale --yes --expect COPIES``."""
        consent = Consent(images=copies, max_share=max_share)
        wanted = job or a_job(SURE_PCT)
        return self.live(
            lambda overrides: apply(wanted, consent, stale=True, overrides=overrides, on_event=self.events.append)
        )

    def live(self, life: Callable[[Overrides], Awaitable[T]]) -> T:
        """One process."""
        store = self.store
        overrides = Overrides(
            source=store,
            detector=self.detector,
            sink=store,
            remover=store,
            checkpoint=self.checkpoint,
            clock=LoopClock(),
        )
        try:
            return run_virtually(lambda: life(overrides))
        finally:
            self.checkpoint = self.checkpoint.reopen()

    @property
    def stale(self) -> int:
        """What the checkpoint counts as stale."""
        return self.checkpoint.opened.watermark.tally.stale


def test_stale_copies_go_and_nothing_else() -> None:
    """The copies of images that are no longer kept are deleted; sources and other copies stay, and nothing is stale."""
    yard = Yard()
    assert yard.stale == len(UNSURE)
    plan = yard.plan()
    assert (plan.images, plan.examined, plan.is_stale) == (3, 10, True)
    summary = yard.clear(3)
    assert (summary.cleared, summary.left, summary.failed, summary.exit_code) == (3, 0, {}, 0)
    assert yard.store.keys() == KEYS
    assert yard.store.keys("clean") == [key for key in KEYS if key not in UNSURE]
    assert yard.stale == 0
    assert yard.plan().images == 0
    told = [event for event in yard.events if isinstance(event, ActionDone)]
    assert [(event.kind, event.key, event.target) for event in told] == [
        ("clear", key, f"s3://clean/{key}") for key in UNSURE
    ]


def test_copies_that_are_wanted_again_are_made_again() -> None:
    """The way back is the former rules: the copies come back at no cost."""
    yard = Yard()
    calls = yard.detector.attempts.total()
    yard.clear(3)
    yard.refilter(a_job())
    assert yard.store.keys("clean") == KEYS
    assert yard.detector.attempts.total() == calls


def test_copies_at_former_targets_go_one_by_one() -> None:
    """An image may have several: all go, while the one that the present template makes stays."""
    yard = Yard()
    for folder in ("second", "third"):
        yard.refilter(a_job(target=f"s3://clean/{folder}/{{key}}"))
    job = a_job(target="s3://clean/third/{key}")
    assert yard.plan(job).images == 2 * len(KEYS)
    assert yard.clear(2 * len(KEYS), job, max_share=1.0).cleared == 2 * len(KEYS)
    assert yard.store.keys("clean") == [f"third/{key}" for key in KEYS]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_what_may_be_the_only_copy_stays(is_replaced: bool) -> None:
    """A copy whose image is gone or another one by now is left and reported, and stays stale."""
    yard = Yard()
    if is_replaced:
        yard.store.put(UNSURE[0], b"another picture")
    else:
        yard.store.remove(UNSURE[0])
    summary = yard.clear(3)
    assert (summary.cleared, summary.failed, summary.exit_code) == (2, {"original_gone": 1}, 1)
    assert yard.store.body(UNSURE[0], "clean") == UNSURE[0].encode()
    assert yard.stale == 1


def test_what_is_no_copy_stays() -> None:
    """Somebody else's object at the target is left and reported."""
    yard = Yard()
    yard.store.put(UNSURE[1], b"somebody's own", "clean")
    summary = yard.clear(3)
    assert (summary.cleared, summary.failed) == (2, {"target_exists": 1})
    assert yard.store.body(UNSURE[1], "clean") == b"somebody's own"


def test_a_copy_that_is_gone_is_no_longer_stale() -> None:
    """Whoever deleted it."""
    yard = Yard()
    yard.store.remove(UNSURE[2], "clean")
    assert yard.clear(3).cleared == 3
    assert yard.stale == 0


def test_another_number_or_too_large_a_share_does_nothing() -> None:
    """The number must be the one that is stale, and no more than half of all copies."""
    yard = Yard()
    with pytest.raises(UsageError, match="2 copies were agreed to, 3 are pending"):
        yard.clear(2)
    with pytest.raises(UsageError, match=r"3 of 10 copies \(30.0 %\) would be deleted"):
        yard.clear(3, max_share=0.2)
    with pytest.raises(UsageError, match="not those of this job"):
        yard.clear(3, a_job(50.0))
    assert yard.store.keys("clean") == KEYS


def test_killed_at_every_moment() -> None:
    """Whenever it dies, the same command ends it: the same copies are gone, and the sources stand."""
    for moment in count(1):
        yard = Yard()
        moments = 0

        async def point(_what: str) -> None:
            nonlocal moments
            await yield_to_others()
            moments += 1
            if moments == moment:  # noqa: B023  asked before the next round
                raise Died

        yard.store.point = point
        try:
            yard.clear(3)
        except BaseException as error:  # noqa: BLE001  it comes in a group
            assert "Died" in repr(error)  # noqa: PT017  see above
        else:
            return
        yard.store.point = lambda _what: yield_to_others()
        left = yard.plan().images
        assert yard.clear(left, max_share=1.0).cleared == left
        assert (yard.store.keys(), yard.store.keys("clean")) == (KEYS, KEYS[3:])
        assert yard.stale == 0
