"""A caller's detector over images in S3 and in a folder: no request to Rekognition is made or paid."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncfilter import Overrides, parse_job, run
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.testing import ScriptedDetector

BIRDS = {f"{name}.jpg": [("Bird", 90.0)] for name in "abc"}


@pytest.mark.parametrize("store", ["s3", "folder"])
async def test_a_detector_of_the_callers_needs_no_rekognition(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source and sink are real; neither quota nor labels are requested, and a call costs the job's price."""
    (tmp_path / "photos").mkdir()
    async with Sandbox(SandboxOptions(buckets=(BucketSpec("raw"), BucketSpec("clean")))) as sandbox:
        for name, value in sandbox.environment().items():
            monkeypatch.setenv(name, value)
        for key in BIRDS:
            sandbox.put("raw", key, b"no picture at all")
            (tmp_path / "photos" / key).write_bytes(b"no picture at all, but " + key.encode())
        source, target = ("s3://raw/", "s3://clean/") if store == "s3" else ("./photos", "./clean/")
        settings = {
            "version": 1,
            "name": "own",
            "source": {"uri": source, "duplicates": "same"},
            "rules": [{"keep": {"any": "Bird"}}],
            "actions": {"keep": {"copy": target}},
            "pricing": {"tiers": [{"up_to": None, "usd": 0.5}]},
        }
        detector = ScriptedDetector(BIRDS)
        summary = await run(parse_job(settings, base_dir=tmp_path), overrides=Overrides(detector=detector))
        asked = set(sandbox.stats().operations)
    calls = sum(detector.attempts.values())
    assert (summary.counts.keep, summary.counts.copied, summary.counts.spent_micros) == (3, 3, 500_000 * calls)
    assert not {one for one in asked if "Detect" in one or "Quota" in one}
    assert bool(asked) is (store == "s3")
