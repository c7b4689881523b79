"""Images that are throttled many times."""

from __future__ import annotations

from asyncfilter.errors import ThrottleCause, ThrottledError
from asyncfilter.events import AttemptFailed
from asyncfilter.policy.retrying import PACED_CAP_S
from asyncfilter.testing import Stage
from tests.kit.jobs import make_bare_job

REFUSALS = 8
"""Throttles of each image; waits that doubled would have reached twenty seconds by then."""


def test_no_image_waits_for_long_where_a_limiter_paces() -> None:
    """An image throttled many times is still repeated soon, since all later images are settled after it."""

    def refuse(key: str, attempt: int) -> Exception | None:
        if key.startswith("slow") and attempt <= REFUSALS:
            return ThrottledError("Provisioned rate exceeded", cause=ThrottleCause.RATE)
        return None

    stage = Stage({f"slow/{n:02}.jpg": "Robin" for n in range(20)}, fault=refuse)
    summary = stage.run(make_bare_job(limits={"tps": 50}))
    assert summary.counts.keep == len(stage.labels)
    waits_s = [event.delay_s for event in stage.events if isinstance(event, AttemptFailed)]
    assert len(waits_s) == REFUSALS * len(stage.labels)
    assert PACED_CAP_S / 2 < max(waits_s) <= PACED_CAP_S
