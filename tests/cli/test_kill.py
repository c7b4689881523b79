"""``kill -9`` at random moments: the program as a process, a sandbox as another, nothing pretended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from asyncfilter.sandbox import (
    BucketSpec,
    Fault,
    FaultKind,
    Latency,
    SandboxOptions,
    SandboxProcess,
    SyntheticSpec,
)

IMAGES = 2000
TPS = 400
CONCURRENCY = 50
KILLS = 20

JOB = """
version: 1
name: killed
source: s3://raw/
rules:
  - keep: {{any: Robin, confidence: 60}}
  - review: {{any: Robin, confidence: 40}}
otherwise: reject
actions:
  keep: {{copy: "s3://clean/{{key}}"}}
limits: {{tps: {tps}, concurrency: {concurrency}, budget_usd: {budget}, timeout_s: 2}}
stop: {{matches: {matches}}}
"""


CALM = SandboxOptions(synthetic=(SyntheticSpec("raw", IMAGES),), buckets=(BucketSpec("clean"),))
"""The same images and labels, without latency and faults."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A service that takes 100 ms and a long tail, and that stumbles now and then."""
    options = replace(
        CALM,
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
    """The twenty-line script: verdicts and copied keys, up to the stop."""
    s3, rekognition = client(sandbox, "s3"), client(sandbox, "rekognition")
    verdicts: dict[str, str] = {}
    kept: list[str] = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="raw"):
        for item in page["Contents"]:
            if len(kept) >= matches:
                return verdicts, kept
            answer = rekognition.detect_labels(
                Image={"S3Object": {"Bucket": "raw", "Name": item["Key"]}}, MinConfidence=0
            )
            sure = max((label["Confidence"] for label in answer["Labels"] if label["Name"] == "Robin"), default=0.0)
            verdicts[item["Key"]] = "keep" if sure >= 60 else "review" if sure >= 40 else "reject"
            if sure >= 60:
                kept.append(item["Key"])
    return verdicts, kept


def client(sandbox: SandboxProcess, service: str) -> Any:
    """A boto3 client of the sandbox."""
    environment = sandbox.environment()
    return boto3.client(
        service,
        endpoint_url=sandbox.endpoint_url,
        region_name=environment["AWS_DEFAULT_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )


def start(job: Path, sandbox: SandboxProcess) -> subprocess.Popen[str]:
    """The program, in a process of its own."""
    command = [sys.executable, "-m", "asyncfilter", "run", str(job), "--json"]
    environment = os.environ | sandbox.environment()
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_twenty_kills_change_nothing(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Verdicts, copies and stop position are the one-by-one script's; little is paid twice; the budget holds."""
    matches = 60
    budget_calls = 2 * IMAGES
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(tps=TPS, concurrency=CONCURRENCY, matches=matches, budget=budget_calls / 1000))
    rng = random.Random(20)
    killed = 0
    while killed < KILLS:
        process = start(job, sandbox)
        time.sleep(rng.uniform(1.0, 3.0))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += 1
    process = start(job, sandbox)
    said, talk = process.communicate(timeout=120)
    assert process.returncode == 0, talk
    summary = json.loads(said)
    stats = sandbox.stats()

    with SandboxProcess(CALM) as calm:
        verdicts, kept = one_by_one(calm, matches)
    assert summary["stop_reason"] == "matches"
    assert (summary["examined"], summary["keep"], summary["copied"]) == (len(verdicts), matches, matches)
    assert stored_verdicts(job, sandbox) == verdicts
    assert copies(sandbox) == sorted(kept, key=str.encode)

    again = sum(count - 1 for count in stats.keys_examined_again.values())
    detect = stats.operations["DetectLabels"]
    assert again <= detect.faulted.get("reset", 0) + detect.faulted.get("internal", 0) + killed * CONCURRENCY
    assert detect.billed_at_most <= budget_calls
    assert detect.billed <= round(summary["spent_usd"] * 1000) <= budget_calls


def stored_verdicts(job: Path, sandbox: SandboxProcess) -> dict[str, str]:
    """What the checkpoint says, through the program's own export."""
    command = [sys.executable, "-m", "asyncfilter", "export", str(job), "--format", "jsonl", "--output", "-"]
    environment = os.environ | sandbox.environment()
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["key"]: row["verdict"] for row in rows if row["seq"] is not None}


def copies(sandbox: SandboxProcess) -> list[str]:
    """Keys in the target bucket."""
    s3 = client(sandbox, "s3")
    return [
        item["Key"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="clean")
        for item in page.get("Contents", [])
    ]
