"""Calls without pauses, for tests over a sandbox that do not look at the pace, and bursts on a machine of any speed.

The ramp of a run and the paces of the control plane and of Service Quotas have tests of their own in virtual time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from asyncfilter.aws import session
from asyncfilter.custom_labels import paced
from asyncfilter.policy.rate import RateController
from asyncfilter.sandbox import dispatch

QUICK_TPS = 1000.0


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Let calls of this process follow each other at once, from the first second on."""
    patch.setattr(session, "QUOTA_REQUESTS_TPS", QUICK_TPS)
    patch.setattr(paced, "CALLS_A_SECOND", QUICK_TPS)
    patch.setitem(RateController.__init__.__kwdefaults__ or {}, "start_tps", QUICK_TPS)


@contextmanager
def one_moment(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """All requests of the context arrive at the sandbox of this process at one time, however slow the machine is."""
    at_s = time.monotonic()
    with patch.context() as inner:
        inner.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: at_s))
        yield
