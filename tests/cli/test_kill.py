"""``kill -9`` at random times, with the program and the sandbox as real processes."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import (
    BucketSpec,
    Fault,
    FaultKind,
    Latency,
    SandboxOptions,
    SandboxProcess,
    SyntheticSpec,
)
from tests.kit.jobs import COPIES
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace, ended

IMAGES = 2000
TPS = 400
CONCURRENCY = 50
KILLS = 20

JOB: dict[str, Any] = {
    "source": "s3://raw/",
    "rules": [
        {"keep": {"any": "Robin", "confidence": 60}},
        {"review": {"any": "Robin", "confidence": 40}},
    ],
    "actions": COPIES,
}

WITHOUT_FAULTS = SandboxOptions(synthetic=(SyntheticSpec("raw", IMAGES),), buckets=(BucketSpec("clean"),))
"""The same images and labels, without latency and faults."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A service with a latency of 100 ms with a long tail, and with transient faults."""
    options = replace(
        WITHOUT_FAULTS,
        latency=Latency(0.1, 0.6),
        faults=(
            Fault(FaultKind.THROTTLE, rate=0.02),
            Fault(FaultKind.INTERNAL, rate=0.02),
            Fault(FaultKind.RESET, rate=0.01),
        ),
        count_keys=True,
    )
    with SandboxProcess(options) as process:
        yield process


def one_by_one(sandbox: SandboxProcess, matches: int) -> tuple[dict[str, str], list[str]]:
    """A simple sequential script: verdicts and copied keys, up to the stop."""
    verdicts: dict[str, str] = {}
    kept: list[str] = []
    with boto_client(sandbox, "s3") as s3, boto_client(sandbox, "rekognition") as rekognition:
        for key in keys(s3, "raw"):
            if len(kept) >= matches:
                break
            answer = rekognition.detect_labels(Image={"S3Object": {"Bucket": "raw", "Name": key}}, MinConfidence=0)
            sure = max((label["Confidence"] for label in answer["Labels"] if label["Name"] == "Robin"), default=0.0)
            verdicts[key] = "keep" if sure >= 60 else "review" if sure >= 40 else "reject"
            if sure >= 60:
                kept.append(key)
    return verdicts, kept


def keys(s3: Any, bucket: str) -> Iterator[str]:
    """Keys of a bucket in order."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", []):
            yield item["Key"]


@pytest.mark.slow
def test_twenty_kills_change_nothing(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Verdicts, copies and stop position are those of the sequential script; little is paid twice; the budget holds."""
    matches = 60
    budget_calls = 2 * IMAGES
    limits = {"tps": TPS, "concurrency": CONCURRENCY, "budget_usd": budget_calls / 1000, "timeout_s": 2}
    workspace = Workspace(tmp_path, sandbox, **JOB, limits=limits, stop={"matches": matches})
    rng = random.Random(20)
    killed = 0
    while killed < KILLS:
        process = workspace.start("run", "job.yaml", "--json")
        time.sleep(rng.uniform(1.0, 3.0))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
    code, out, err = ended(workspace.start("run", "job.yaml", "--json"))
    assert code == 0, err
    summary = json.loads(out)
    stats = sandbox.stats()

    with SandboxProcess(WITHOUT_FAULTS) as undisturbed:
        verdicts, kept = one_by_one(undisturbed, matches)
    assert summary["stop_reason"] == "matches"
    assert (summary["examined"], summary["keep"], summary["copied"]) == (len(verdicts), matches, matches)
    assert stored_verdicts(workspace) == verdicts
    with boto_client(sandbox, "s3") as s3:
        assert list(keys(s3, "clean")) == sorted(kept, key=str.encode)

    again = sum(count - 1 for count in stats.keys_examined_again.values())
    detect = stats.operations["DetectLabels"]
    assert again <= detect.faulted.get("reset", 0) + detect.faulted.get("internal", 0) + killed * CONCURRENCY
    assert detect.billed_at_most <= budget_calls
    assert detect.billed <= round(summary["spent_usd"] * 1000) <= budget_calls


def stored_verdicts(workspace: Workspace) -> dict[str, str]:
    """Verdicts in the checkpoint, read with ``export``."""
    done = workspace("export", "job.yaml", "--format", "jsonl", "--output", "-")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["key"]: row["verdict"] for row in rows if row["seq"] is not None}
