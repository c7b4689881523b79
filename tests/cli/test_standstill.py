"""The program stands still longer than a timeout (SIGSTOP): responses that came meanwhile are not paid for again."""

from __future__ import annotations

import json
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from asyncfilter.sandbox import BucketSpec, Latency, SandboxOptions, SandboxProcess, SyntheticSpec
from tests.kit.jobs import COPIES
from tests.kit.workspace import Workspace, ended, wait_until

IMAGES = 100
STOPS = 2


def _has_examined(workspace: Workspace, images: int) -> bool:
    return workspace.billed() >= images


@pytest.mark.parametrize("client", ["fast", "aioboto3"])
def test_a_stopped_program_pays_nothing_twice(client: str, tmp_path: Path) -> None:
    """Stopped twice in the middle of calls, each time for longer than the timeout: no attempt is repeated."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", IMAGES),), buckets=(BucketSpec("clean"),), latency=Latency(0.4, 0.0)
    )
    with SandboxProcess(options) as sandbox:
        workspace = Workspace(
            tmp_path,
            sandbox,
            source="s3://raw/",
            rules=[{"keep": {"any": "Robin", "confidence": 60}}],
            actions=COPIES,
            aws={"client": client},
            limits={"tps": 25, "timeout_s": 1, "budget_usd": IMAGES / 1000},
        )
        process = workspace.start("run", "job.yaml", "--json")
        for stop in range(1, STOPS + 1):
            seen = stop * IMAGES // 4
            wait_until(partial(_has_examined, workspace, seen))
            process.send_signal(signal.SIGSTOP)
            # Longer than the timeout and the latency: all responses are in the sockets.
            time.sleep(1.8)
            process.send_signal(signal.SIGCONT)
        code, out, err = ended(process)
        assert code == 0, err
        summary, stats = json.loads(out), sandbox.stats()
        assert (summary["stop_reason"], summary["examined"], summary["failed"]) == ("completed", IMAGES, {})
        assert (summary["attempts"], summary["retried"]) == (IMAGES, 0)
        assert (summary["billed_calls"], summary["spent_usd"]) == (IMAGES, IMAGES / 1000)
        assert workspace.billed() == IMAGES
        assert stats.calls_per_key_max == 1
