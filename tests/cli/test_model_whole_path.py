"""The whole path on photos of clothes: folders, manifests, import, training, evaluation, corrections, better model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.sandbox import BucketSpec, LoadSpec, SandboxOptions, SandboxProcess
from tests.kit.jobs import write_job
from tests.kit.workspace import Workspace

pytest.importorskip("numpy", reason="trainings in the sandbox need the extra sandbox-training")

CLOTHING = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "photos" / "clothing"
POLL = ("--poll", "0.05")
OUTPUT = ("--output", "s3://models/out/", *POLL, "--yes")


def _mislabelled(file: Path) -> list[dict[str, Any]]:
    """Give half of the lines of a manifest the label of another line; returns the right lines of these."""
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    names = sorted({line["label0-metadata"]["class-name"] for line in lines})
    right = []
    for number, line in enumerate(lines):
        if number % 2:
            right.append(json.loads(json.dumps(line)))
            place = names.index(line["label0-metadata"]["class-name"])
            line["label0-metadata"]["class-name"] = names[(place + 1 + number % (len(names) - 1)) % len(names)]
    _write(file, lines)
    return right


def _write(file: Path, lines: list[dict[str, Any]]) -> None:
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")


@pytest.mark.real
@pytest.mark.skipif(not CLOTHING.is_dir(), reason=f"no photos at {CLOTHING}")
def test_the_whole_path(tmp_path: Path) -> None:
    """F1 on held-out photos of ten kinds of clothes is above chance by far, and higher after the corrections."""
    options = SandboxOptions(buckets=(BucketSpec("models"),), load=(LoadSpec("photos", str(CLOTHING)),), speed=2000.0)
    with SandboxProcess(options) as sandbox:
        workspace = Workspace(tmp_path, sandbox)
        workspace.json("manifest", "from-folders", "s3://photos/", "-o", "all.manifest")
        parts = ("--train", "train.manifest", "--test", "test.manifest", "--test-share", "0.25")
        workspace.json("manifest", "split", "all.manifest", *parts)
        right = _mislabelled(tmp_path / "train.manifest")
        _write(tmp_path / "corrections.manifest", right)
        workspace.json("dataset", "check", "train.manifest", "test.manifest")
        workspace.json("model", "create", "clothes", *POLL)
        workspace.json("model", "import", "clothes", "--train", "train.manifest", "--test", "test.manifest", *POLL)
        assert workspace.json("model", "train", "clothes", "--version", "v1", *OUTPUT)["status"] == "TRAINING_COMPLETED"
        workspace.json("model", "start", "clothes", "v1", "--for", "1h", "--no-watcher", *POLL, "--yes")
        command = ("model", "improve", "clothes", "--corrections", "corrections.manifest", *OUTPUT)
        improved = workspace.json(*command, "--version", "v2", "--switch")
        evaluated = workspace.json("model", "evaluate", "clothes", "v2", "--compare", "v1", "--html", "v2.html")
        write_job(
            workspace.job,
            source="s3://photos/",
            detector={"kind": "rekognition-custom-labels", "model": evaluated["arn"]},
            rules=[{"keep": {"any": "shoes", "confidence": "assumed"}}],
        )
        workspace.json("run", "job.yaml")
        kept = workspace.here("export", "job.yaml", "--verdict", "keep")[1].splitlines()
        stopped = workspace.json("model", "stop", "clothes", "v2", *POLL, "--yes")
        shown = workspace.json("model", "status", "clothes")
    assert (improved["added"], improved["replaced"]) == (0, len(right))
    assert (improved["test_sets_equal"], improved["proposal"], improved["switched"]) == (True, "switch", True)
    assert improved["new"]["f1"] > improved["old"]["f1"] + 0.05
    assert evaluated["f1"] == pytest.approx(improved["new"]["f1"])
    assert evaluated["f1"] > 0.3  # by chance a tenth is right
    assert evaluated["comparison"]["f1_delta"] == pytest.approx(improved["new"]["f1"] - improved["old"]["f1"])
    shoes = sum('"shoes/' in line for line in kept)
    assert shoes > len(kept) / 2
    assert len(stopped["stopped"]) == 1
    assert {one["version"]: one["status"] for one in shown["versions"]} == {"v1": "STOPPED", "v2": "STOPPED"}
