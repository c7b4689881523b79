"""Images that are refused for the rate again and again."""

from __future__ import annotations

from asyncfilter.errors import ThrottleCause, ThrottledError
from asyncfilter.events import AttemptFailed
from asyncfilter.policy.retrying import PACED_CAP_S
from asyncfilter.testing import Stage
from tests.kit.jobs import make_bare_job

REFUSALS = 8
"""After which waits that double would have come to twenty seconds."""


def test_no_image_waits_for_long_where_a_limiter_paces() -> None:
    """However often it is refused, an image asks again soon: all that come after it wait for it in the end."""

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
