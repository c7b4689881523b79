"""The ledger as a file: where it is, what it refuses, what several processes do to it, and what a kill leaves."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from asyncfilter.custom_labels import ledger as ledger_module
from asyncfilter.custom_labels.ledger import FILE_NAME, existing_ledger, open_ledger, state_folder
from asyncfilter.custom_labels.ledger_schema import APPLICATION_ID, STEPS
from asyncfilter.errors import ExitCode, LedgerError

INSERT = (
    "INSERT INTO leases (id, arn, endpoint, units, state, kind, started_at, expires_at, host, boot_id, pid_namespace, "
    "pid, pid_started) VALUES (?, 'arn', '', 1, 'intent', 'time', 0, 1, 'h', 'b', 'n', 1, '1')"
)


def add(folder: Path, identifier: str) -> None:
    """Add a row in a transaction."""
    with open_ledger(folder) as ledger, ledger.transaction() as db:
        db.execute(INSERT, (identifier,))


def identifiers(folder: Path) -> list[str]:
    """The ids of all rows, sorted."""
    with open_ledger(folder) as ledger, ledger.reading() as db:
        return [name for (name,) in db.execute("SELECT id FROM leases ORDER BY id")]


def names(folder: Path) -> list[str]:
    """The names of all files of a folder."""
    return [file.name for file in folder.iterdir()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder that does not exist yet, and whose name needs quoting in a URI."""
    return tmp_path / "a ?folder#" / "state%20"


# -- The place ---------------------------------------------------------------------------------------------------------


def test_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ASYNCFILTER_STATE, else XDG_STATE_HOME, else the home folder; relative values of XDG are ignored."""
    monkeypatch.setenv("HOME", "/home/ann")
    assert state_folder({}) == Path("/home/ann/.local/state/asyncfilter")
    assert state_folder({"XDG_STATE_HOME": "state"}) == Path("/home/ann/.local/state/asyncfilter")
    assert state_folder({"XDG_STATE_HOME": "/var/x"}) == Path("/var/x/asyncfilter")
    assert state_folder({"XDG_STATE_HOME": "/var/x", "ASYNCFILTER_STATE": "/own"}) == Path("/own")
    monkeypatch.chdir(tmp_path)
    assert state_folder({"ASYNCFILTER_STATE": "own"}) == tmp_path / "own"


def test_new_ledger_is_private_and_whole(folder: Path) -> None:
    """Only the user can read it; its marks tell what it is; nothing is left beside it."""
    with open_ledger(folder) as ledger:
        assert ledger.path == folder / FILE_NAME
        assert stat.S_IMODE(ledger.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with closing(sqlite3.connect(folder / FILE_NAME)) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert names(folder) == [FILE_NAME]


def test_existing_ledger_creates_nothing(folder: Path) -> None:
    """A command that only looks leaves no trace."""
    assert existing_ledger(folder) is None
    assert not folder.exists()
    add(folder, "a")
    found = existing_ledger(folder)
    assert found is not None
    with found, found.reading() as db:
        assert db.execute("SELECT count(*) FROM leases").fetchone() == (1,)


# -- Transactions ------------------------------------------------------------------------------------------------------


def test_a_failed_transaction_has_no_effect(folder: Path) -> None:
    """Any exception in the block takes back all of it."""
    add(folder, "a")
    with open_ledger(folder) as ledger:

        def insert(*rows: str, fail: bool = False) -> None:
            with ledger.transaction() as db:
                for row in rows:
                    db.execute(INSERT, (row,))
                if fail:
                    raise KeyError

        with pytest.raises(KeyError):
            insert("b", fail=True)
        with pytest.raises(sqlite3.IntegrityError):
            insert("c", "a")
        assert identifiers(folder) == ["a"]


def test_every_commit_is_synced(folder: Path) -> None:
    """The connection syncs the file and, after the journal is gone, its folder."""
    with open_ledger(folder) as ledger, ledger.reading() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (3,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)


PROGRAM = """
import sys
from pathlib import Path
from asyncfilter.custom_labels.ledger import open_ledger
for number in range(20):
    with open_ledger(Path(sys.argv[1])) as ledger, ledger.transaction() as db:
        (count,) = db.execute("SELECT count(*) FROM leases").fetchone()
        db.execute(sys.argv[2], (f"{count:03}",))
"""


def test_several_processes_at_once(folder: Path) -> None:
    """Four processes create the ledger together and write to it: what one reads in a transaction stays true in it."""
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), INSERT]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    assert identifiers(folder) == [f"{number:03}" for number in range(80)]
    assert names(folder) == [FILE_NAME]


def test_a_kill_in_a_transaction_leaves_it_out(folder: Path) -> None:
    """What was not committed is taken back by the next process that opens the file."""
    add(folder, "a")
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from asyncfilter.custom_labels.ledger import open_ledger\n"
        "with open_ledger(Path(sys.argv[1])).transaction() as db:\n"
        "    db.execute('PRAGMA cache_spill = 1'); db.execute('PRAGMA cache_size = 1')\n"
        "    for number in range(500): db.execute(sys.argv[2], (f'{number:0200}',))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(folder), INSERT], timeout=60, check=False)
    assert killed.returncode == -9
    assert identifiers(folder) == ["a"]


# -- Refused, unchanged ------------------------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    """Another program's database."""
    path.unlink()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE leases (id)")


def newer(path: Path) -> None:
    """A ledger of a later format."""
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")


def without_table(path: Path) -> None:
    """A ledger whose table somebody has dropped."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE leases")


def a_folder(path: Path) -> None:
    """A folder in its place."""
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    """A pipe, which must not be opened: it would wait."""
    path.unlink()
    os.mkfifo(path)


UNSOUND: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "text": (lambda path: path.write_text("hello, I am no database" * 10), "damaged"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:5000]), "damaged"),
    "foreign": (foreign, "not a ledger"),
    "newer": (newer, "newer asyncfilter"),
    "without table": (without_table, "without leases"),
    "folder": (a_folder, "not a regular file"),
    "pipe": (a_pipe, "not a regular file"),
}


@pytest.mark.parametrize("damage", UNSOUND)
def test_an_unsound_file_is_refused_and_left(folder: Path, damage: str) -> None:
    """Exit code 3, the path and the reason in the message, and no byte changed."""
    add(folder, "a")
    path = folder / FILE_NAME
    spoil, reason = UNSOUND[damage]
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    for opens in (open_ledger, existing_ledger):
        with pytest.raises(LedgerError, match=reason) as caught:
            opens(folder)
        assert caught.value.exit_code == ExitCode.CHECKPOINT
        assert str(path) in caught.value.message
        assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else None) == before
    assert names(folder) == [FILE_NAME]


def test_damage_that_shows_later_is_told(folder: Path) -> None:
    """A file that is overwritten while it is open: no foreign exception."""
    add(folder, "a")
    with open_ledger(folder) as ledger:
        (folder / FILE_NAME).write_bytes(b"x" * 20_000)
        with pytest.raises(LedgerError, match="damaged"), ledger.reading() as db:
            db.execute("SELECT * FROM leases").fetchall()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder_is_told(folder: Path) -> None:
    """A folder that may not be written to can be looked at; a change ends with exit code 3."""
    add(folder, "a")
    folder.chmod(0o500)
    try:
        with open_ledger(folder) as ledger:
            with ledger.reading() as db:
                assert db.execute("SELECT count(*) FROM leases").fetchone() == (1,)
            with pytest.raises(LedgerError), ledger.transaction() as db:
                db.execute(INSERT, ("b",))
    finally:
        folder.chmod(0o700)


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(LedgerError, match="not a folder") as caught:
        open_ledger(tmp_path / "file" / "state")
    assert "ASYNCFILTER_STATE" in (caught.value.hint or "")


def test_a_ledger_that_stays_locked_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program that holds the file is named as the cause, after a wait."""
    add(folder, "a")
    monkeypatch.setattr(ledger_module, "BUSY_TIMEOUT_S", 0.05)
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with open_ledger(folder) as ledger, pytest.raises(LedgerError, match="locked"), ledger.transaction():
            pass


# -- Formats -----------------------------------------------------------------------------------------------------------


def test_an_older_format_is_upgraded_in_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later step adds to the file, whose rows stay; a format that is already there is left alone."""
    add(folder, "a")
    later = (*STEPS, ("CREATE TABLE more (id TEXT PRIMARY KEY)", "INSERT INTO more SELECT id FROM leases"))
    monkeypatch.setattr(ledger_module, "STEPS", later)
    for _ in range(2):
        with open_ledger(folder) as ledger, ledger.reading() as db:
            assert db.execute("SELECT id FROM more").fetchall() == [("a",)]
            assert db.execute("PRAGMA user_version").fetchone() == (len(later),)


def test_a_step_that_fails_leaves_the_older_format(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All statements of the missing steps have an effect, or none."""
    add(folder, "a")
    monkeypatch.setattr(ledger_module, "STEPS", (*STEPS, ("CREATE TABLE more (id)", "CREATE TABLE leases (id)")))
    with pytest.raises(LedgerError):
        open_ledger(folder)
    monkeypatch.undo()
    assert identifiers(folder) == ["a"]
