"""The files of a fleet beside a checkpoint: in a folder where others can write, nothing planted is followed."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec
import pytest

from asyncfilter.fleet.beside import read_beside, write_beside
from asyncfilter.fleet.note import keep_noted, note_path, read_noted
from asyncfilter.fleet.own_ray import OwnRay
from asyncfilter.model import Workers

WORKERS = Workers(
    engine="ray", address="a:1", now=2, peak=3, joined=3, lost=1, left=0, returned_turns=0, late_answers=0
)


@pytest.mark.parametrize("link", [os.symlink, os.link])
async def test_no_planted_link_is_written_through(link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    """Under the names that the note has and that its drafts had: what it leads to stays as it is."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    note = note_path(tmp_path / "job.db")
    drafts = [note.with_name(f"{note.name}.new"), note.with_name(f"{note.name}.{os.getpid()}.new")]
    for planted in (note, *drafts):
        link(victim, planted)
    seen: list[Workers | None] = []

    async def look(_: float) -> None:
        seen.append(read_noted(tmp_path / "job.db", since_unix_s=0))
        await anyio.lowlevel.checkpoint()

    with anyio.move_on_after(0.1):
        await keep_noted(note, lambda: WORKERS, look)
    assert seen[0] == WORKERS
    assert victim.read_bytes() == b"precious"
    assert not note.exists()


def test_a_note_is_private_and_whole(tmp_path: Path) -> None:
    """Whatever was there before; nothing else is left."""
    path = tmp_path / "note"
    path.write_bytes(b"old")
    path.chmod(0o666)
    write_beside(path, b"new")
    assert read_beside(path) == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["note"]


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))


def _link(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(msgspec.json.encode(WORKERS))
    path.symlink_to(other)


def _large(path: Path) -> None:
    path.write_bytes(b" " * 100_000)


def _deep(path: Path) -> None:
    path.write_bytes(b'{"engine":' + b"[" * 30_000)


def _no_text(path: Path) -> None:
    path.write_bytes(b'{"engine":"\xff"}')


@pytest.mark.parametrize("plant", [_pipe, _socket, Path.mkdir, _link, _large, _deep, _no_text])
def test_what_is_no_note_is_none(plant: Callable[[Path], None], tmp_path: Path) -> None:
    """Neither waited for, nor an error."""
    note = note_path(tmp_path / "job.db")
    plant(note)
    assert read_noted(tmp_path / "job.db", since_unix_s=0) is None
    assert OwnRay.found(note) is None
