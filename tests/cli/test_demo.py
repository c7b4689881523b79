"""The demo needs no settings, works twice, and leaves no process running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in ``folder``, with AWS settings that it must ignore."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_PROFILE": "precious",
        "AWS_SESSION_TOKEN": "secret",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "asyncfilter", "demo", "--pictures", "12", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_demo_shows_a_whole_run_twice(tmp_path: Path) -> None:
    """Exit 0 both times; a run, one without a call, other rules without a call, and a manifest."""
    for _ in range(2):
        done = demo(tmp_path)
        assert done.returncode == 0, done.stderr
        assert "finished: the listing was examined to its end" in done.stderr
        assert "The same command again: 0 calls" in done.stderr
        assert "ok train labels_min 2, limit 2" in done.stderr
        assert "asyncfilter status .asyncfilter-demo/job.yaml" in done.stderr
        assert "asyncfilter init s3://YOUR-BUCKET/PREFIX/" in done.stderr
        assert "refilter .asyncfilter-demo" not in done.stderr  # it needs the sandbox, which is gone
        assert "asyncfilter demo --review" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {".asyncfilter-demo"}


def test_the_demo_serves_the_review_of_its_run(tmp_path: Path) -> None:
    """One line with a link on stdout, pictures of the sandbox behind it, and exit 0 at Ctrl-C."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "asyncfilter", "demo", "--pictures", "12", "--review", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as shown:
        try:
            assert shown.stdout is not None
            found = json.loads(shown.stdout.readline())
            address, _, token = found["urls"][0]["url"].partition("#t=")
            call = urllib.request.Request(f"{address}api/job", headers={"X-Asyncfilter-Token": token})
            with urllib.request.urlopen(call, timeout=30) as answer:
                job = json.load(answer)
            assert (job["name"], found["images"]) == ("demo", job["counts"]["images"] or found["images"])
            shown.send_signal(signal.SIGINT)
            assert shown.wait(60) == 0
            assert shown.stdout.read() == ""
        finally:
            shown.kill()


def test_the_demo_leaves_files_of_others_alone(tmp_path: Path) -> None:
    """A file of that name is a mistake in one line, and stays."""
    foreign = tmp_path / ".asyncfilter-demo"
    foreign.write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 2, done.stderr
    assert foreign.read_text() == "mine"


def test_the_demo_leaves_folders_of_others_alone(tmp_path: Path) -> None:
    """A folder of that name that the demo did not make is not emptied."""
    foreign = tmp_path / ".asyncfilter-demo" / "precious"
    foreign.parent.mkdir()
    foreign.write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert foreign.read_text() == "mine"
