"""Repeated and failed images leave no reference cycles to the garbage collector."""

from __future__ import annotations

import gc

import pytest

from asyncfilter.errors import CallError, ThrottleCause, ThrottledError, TransientError
from asyncfilter.testing import Stage
from tests.kit.jobs import make_bare_job

IMAGES = 12


@pytest.mark.parametrize("max_attempts", [1, 2, 3])
@pytest.mark.parametrize("is_throttled", [True, False])
def test_errors_of_attempts_are_freed_at_once(max_attempts: int, is_throttled: bool) -> None:
    """Images that are throttled and repeated, or fail for good, leave no error in a reference cycle with its frames.

    Thousands of throttles left hundreds of thousands of objects once, and a collection of them stops the event loop.
    """

    def refuse(_key: str, attempt: int) -> Exception | None:
        if attempt > 5:
            return None
        # raised here, since the detector's frame would keep a reference to its arguments
        if is_throttled:
            raise ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE)
        raise TransientError("reset", may_be_billed=True)

    stage = Stage({f"{n:02}.jpg": "Robin" for n in range(IMAGES)}, fault=refuse)
    job = make_bare_job(limits={"tps": 50, "max_attempts": max_attempts})
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        summary = stage.run(job)
        gc.collect()
        left = [one for one in gc.garbage if isinstance(one, CallError)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert summary.counts.keep == (IMAGES if is_throttled else 0)
    assert sum(summary.counts.failed.values()) == (0 if is_throttled else IMAGES)
    assert left == []
