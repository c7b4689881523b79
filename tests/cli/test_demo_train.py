"""The demo of training needs no settings, ends with a better model, and leaves nothing running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asyncfilter.cli.demo_train import draw_pictures
from asyncfilter.custom_labels.ledger import existing_ledger

FOLDER = ".asyncfilter-demo-train"


def test_the_demo_goes_from_folders_to_a_stopped_model(tmp_path: Path) -> None:
    """Exit 0; the corrected version is no worse than the first, its pages are there, and every lease has ended."""
    pytest.importorskip("numpy")
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_PROFILE": "precious",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "asyncfilter", "demo", "--train", "--json"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [one["status"] for one in result["versions"]] == ["STOPPED", "STOPPED"]
    assert result["usd"] == 2.4
    assert "birds: 0 images added, 10 corrected" in done.stderr
    assert "On AWS this would have cost about $" in done.stderr
    assert "compared with v1" in done.stderr
    assert "<html" in (tmp_path / FOLDER / "v1.html").read_text(encoding="utf-8")
    assert "v1" in (tmp_path / FOLDER / "v2.html").read_text(encoding="utf-8")
    ledger = existing_ledger(tmp_path / FOLDER / "state")
    assert ledger is not None
    with ledger, ledger.reading() as db:
        assert db.execute("SELECT count(*), sum(state = 'released') FROM leases").fetchone() == (2, 2)
    assert {path.name for path in tmp_path.iterdir()} == {FOLDER}


def test_pictures_in_wrong_folders_are_told(tmp_path: Path) -> None:
    """What is corrected later is in the training pictures, under another label."""
    wrong = draw_pictures(tmp_path)
    assert len(wrong) == 10
    for uri, label in wrong:
        relative = uri.removeprefix("s3://demo-birds/")
        assert relative.startswith("train/")
        assert (tmp_path / relative).is_file()
        assert relative.split("/")[1] != label
