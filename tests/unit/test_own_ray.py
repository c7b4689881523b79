"""A Ray that a command starts for itself, with a program in Ray's place: why it did not start, and what is left."""

from __future__ import annotations

import socket
import sys
import time
from functools import partial
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
import pytest

from asyncfilter.errors import AccessError
from asyncfilter.fleet import own_ray
from asyncfilter.fleet.left_ray import is_left, write_note
from asyncfilter.fleet.own_ray import OwnRay

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the keeper ends the processes of a session by /proc")

SCRIPT = """
import os, pathlib, sys, time
starts = pathlib.Path(os.environ["STARTS"])
starts.write_text(starts.read_text() + os.environ.get("RAY_AUTH_TOKEN", "-"))
if len(starts.read_text()) <= int(os.environ["FAILURES"]):
    sys.exit("Exception: the node timed out")
place = pathlib.Path(next(one for one in sys.argv if one.startswith("--temp-dir=")).partition("=")[2])
place.mkdir()
(place / "ray_current_cluster").write_text("127.0.0.1:6379")
time.sleep(60)
"""


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that has a character for each start of what stands in Ray's place."""
    scripts = tmp_path / "ray" / "scripts"
    scripts.mkdir(parents=True)
    for folder in (scripts.parent, scripts):
        (folder / "__init__.py").touch()
    (scripts / "scripts.py").write_text(SCRIPT)
    made = tmp_path / "starts"
    made.touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STARTS", str(made))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    return made


def start(note: Path) -> OwnRay:
    """A Ray of our own, started as a run does it."""
    return anyio.run(anyio.to_thread.run_sync, partial(OwnRay.start, note, cpus=1))


def test_why_it_did_not_start_is_told(tmp_path: Path, starts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the last words of Ray; nothing is left behind."""
    monkeypatch.setenv("FAILURES", "9")
    folders: list[Path] = []
    hold = own_ray._hold

    def noting(folder: Path) -> BinaryIO | None:
        folders.append(folder)
        return hold(folder)

    monkeypatch.setattr(own_ray, "_hold", noting)
    with pytest.raises(AccessError, match="the node timed out"):
        start(tmp_path / "note")
    assert starts.read_text() == "--"
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)
    assert not (tmp_path / "note").exists()


def test_a_start_that_failed_is_repeated(tmp_path: Path, starts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray gives up on a machine that is busy; the token is its own, whatever the environment has."""
    monkeypatch.setenv("FAILURES", "1")
    started = start(tmp_path / "note")
    assert started.address == "127.0.0.1:6379"
    assert starts.read_text() == "--"
    folder = Path(started.environment()["RAY_AUTH_TOKEN_PATH"]).parent
    started.end()
    assert not folder.exists()
    assert not (tmp_path / "note").exists()


def test_one_that_could_not_be_left_is_stopped_after_this_process(tmp_path: Path, starts: Path) -> None:
    """What Ray's own program does in a process that loses it is end that process, with a code of its own."""
    starts.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAILURES", "0")
        started = start(tmp_path / "note")
    folder = Path(started.environment()["RAY_AUTH_TOKEN_PATH"]).parent
    started.end(is_joined=True)
    assert not (tmp_path / "note").exists()
    time.sleep(1.0)  # several looks of the keeper
    assert folder.exists()
    held = own_ray._HELD.pop()
    held._lock.close()  # as the end of the process does
    assert held._keeper is not None
    held._keeper.wait(60)
    assert not folder.exists()


@pytest.mark.parametrize("place", ["", "elsewhere"])
def test_one_whose_processes_were_killed_is_forgotten(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every command over the checkpoint would ask for it in vain. No folder is removed that we do not make."""
    monkeypatch.setattr(own_ray, "_PLACE", tmp_path)
    folder, note = tmp_path / place / "afray-1", tmp_path / "birds.db.ray"
    (folder / "r").mkdir(parents=True)
    (folder / "head").touch()
    write_note(note, folder)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (folder / "r" / "ray_current_cluster").write_text(address)
        assert is_left(tmp_path / "birds.db")
        found = OwnRay.found(note)
        assert found is not None
        assert (found.address, found.is_kept) == (address, True)
        found.end()
        assert folder.exists()
    assert not is_left(tmp_path / "birds.db")
    assert OwnRay.found(note) is None
    assert folder.exists() is bool(place)
    assert not note.exists()
