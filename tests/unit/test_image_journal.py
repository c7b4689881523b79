"""The journal of a check of images is made whole or not at all."""

from __future__ import annotations

import sqlite3
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.datasets.manifests.image_journal import ImageJournal
from asyncfilter.testing.crash import Crash


class _Killed:
    """A connection of a process that is killed before one of its statements."""

    def __init__(self, db: sqlite3.Connection, at: int) -> None:
        self._db, self._left = db, at

    def execute(self, *statement: Any) -> sqlite3.Cursor:
        """Execute a statement, unless the process is dead."""
        self._left -= 1
        if self._left < 0:
            self._db.close()
            raise Crash
        return self._db.execute(*statement)

    def close(self) -> None:
        """Close the connection."""
        self._db.close()


def test_a_kill_while_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the moment, the next check opens it."""
    connect = sqlite3.connect
    for at in count():
        path = tmp_path / f"{at}.checked"
        monkeypatch.setattr(sqlite3, "connect", lambda *given, at=at, **named: _Killed(connect(*given, **named), at))
        try:
            with ImageJournal(path):
                break
        except Crash:
            pass
        monkeypatch.setattr(sqlite3, "connect", connect)
        with ImageJournal(path) as journal:
            assert not journal.is_settled("s3://pictures/a.jpg")
    assert at > 5


def test_one_without_a_state_is_completed(tmp_path: Path) -> None:
    """As former versions left it, when they were killed while they made it."""
    path = tmp_path / "a.checked"
    with ImageJournal(path):
        pass
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DELETE FROM state")
    db.close()
    with ImageJournal(path) as journal:
        assert journal.facts("s3://pictures/a.jpg") is None
