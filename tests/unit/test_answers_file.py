"""The answers file: made whole or not at all, refused where it cannot be used, and read while others write."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from asyncfilter.answers import AnswersFile, file, merge_files, open_answers, open_reader
from asyncfilter.answers.schema import APPLICATION_ID, table_names
from asyncfilter.errors import AnswersError, AnswersLockedError, UsageError
from asyncfilter.policy.answers.fold import fold
from asyncfilter.records.answers import AskedAs, CurrentVerdict, How, Saw
from tests.kit.answers import box, new_answer, subject

NAME = "robins.answers.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to be, in a folder that is not there yet."""
    return tmp_path / ".asyncfilter" / NAME


@pytest.fixture
def answers(path: Path) -> Iterator[AnswersFile]:
    """A new file."""
    with open_answers(path) as found:
        yield found


def all_rows(path: Path) -> list[tuple[int, str]]:
    """The rows as an outside tool reads them."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT serial, uid FROM answer ORDER BY serial").fetchall()


def names(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(one.name for one in folder.iterdir())


def test_an_outside_tool_finds_the_promised_tables(answers: AnswersFile, path: Path) -> None:
    """Marks, journal mode, tables and columns are the promised ones, and every part of a row is there."""
    saw = Saw(verdict="review", rule=2, score=71.3, model_version="3.0")
    answers.add([
        new_answer(
            "reject", subject("a", content="c" * 64), uid="uid-of-the-row", labels=(), boxes=(box(),), note="blurred",
            shown_ms=812, how=How.SHEET, asked_as=AskedAs.AUDIT, blind=True, saw=saw, at_unix_s=1.5,
        )
    ])  # fmt: skip
    with closing(sqlite3.connect(path)) as db:
        pragmas = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        assert pragmas == [APPLICATION_ID, 1] == [0x4146414E, 1]
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        db.row_factory = sqlite3.Row
        (about,) = db.execute("SELECT id, bucket, key, etag, size_bytes, content FROM subject").fetchall()
        assert tuple(about)[1:] == ("raw", "a", "e1-1", 10, "c" * 64)
        (row,) = db.execute("SELECT * FROM answer").fetchall()
        (person,) = db.execute("SELECT id, name FROM reviewer").fetchall()
        assert dict(row) == {
            "serial": 1, "uid": "uid-of-the-row", "subject": about["id"], "reviewer": person["id"], "at_unix_s": 1.5,
            "verdict": "reject", "labels": "[]", "note": "blurred", "shown_ms": 812, "how": "sheet",
            "boxes": '[{"label":"Robin","left":0.1,"top":0.2,"width":0.3,"height":0.4}]', "asked_as": "audit",
            "blind": 1, "saw": '{"verdict":"review","rule":2,"score":71.3,"model_version":"3.0"}', "undoes": None,
        }  # fmt: skip
        (file_id,) = db.execute("SELECT value FROM setting WHERE key = 'id'").fetchone()
        assert len(file_id) == 32
        assert int(file_id, 16)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rows_are_never_changed(answers: AnswersFile, path: Path) -> None:
    """The file itself refuses to update or delete a row; a serial is never used again."""
    answers.add([new_answer("keep")])
    with closing(sqlite3.connect(path)) as db:
        for statement in ("UPDATE answer SET verdict = 'reject'", "DELETE FROM answer"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                db.execute(statement)
    assert all_rows(path)[0][0] == 1


def test_a_transaction_that_fails_leaves_nothing(answers: AnswersFile, path: Path) -> None:
    """All rows of a batch, or none."""

    def fail() -> None:
        with answers.transaction() as writing:
            writing.add([new_answer("keep")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all_rows(path) == []


def test_a_reader_needs_a_file_and_makes_none(path: Path) -> None:
    """Without a file there is nothing to read, and no folder is made."""
    assert open_reader(path) is None
    assert not path.parent.exists()


def test_a_reader_leaves_no_file_behind(answers: AnswersFile, path: Path) -> None:
    """Reading a file that nobody writes to leaves its folder as it was, also where it may not be written."""
    answers.add([new_answer("keep")])
    answers.close()
    before = path.read_bytes()
    for mode in (0o600, 0o400):
        path.chmod(mode)
        with open_reader(path) as reader:  # type: ignore[union-attr]  # it exists
            assert reader.last_serial() == 1
        assert names(path.parent) == [NAME]
    assert path.read_bytes() == before


def test_links_to_the_file_are_followed(answers: AnswersFile, path: Path, tmp_path: Path) -> None:
    """A link is another name of the same file, whose log is beside the file itself."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with open_answers(link) as other:
        other.add([new_answer("keep")])
        assert other.path == path.resolve()
    answers.add([new_answer("keep")])
    assert [serial for serial, _ in all_rows(path)] == [1, 2]


# -- What is refused ---------------------------------------------------------------------------------------------------


def foreign_text(path: Path) -> None:
    """Some other file."""
    path.write_text("no database" * 100)


def foreign_database(path: Path) -> None:
    """A database of somebody else."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE answer (x)")
        db.commit()


def empty(path: Path) -> None:
    """Nothing."""
    path.touch()


def newer(path: Path) -> None:
    """Of a later version."""
    open_answers(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")


def cut_short(path: Path) -> None:
    """Only the first pages."""
    open_answers(path).close()
    os.truncate(path, 8192)


def without_a_table(path: Path) -> None:
    """A table is gone."""
    open_answers(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE reviewer")
        db.commit()


def scribbled(path: Path) -> None:
    """Pages of something else in the middle."""
    with open_answers(path) as found:
        found.add([new_answer("keep", subject(f"{number}")) for number in range(300)])
    with path.open("r+b") as binary:
        binary.seek(8192)
        binary.write(b"x" * 12288)


def hard_link(path: Path) -> None:
    """A second name."""
    open_answers(path).close()
    os.link(path, path.with_name("other.db"))


def folder(path: Path) -> None:
    """A folder."""
    path.mkdir()


def pipe(path: Path) -> None:
    """A pipe, which must not be waited for."""
    os.mkfifo(path)


def planted_link(path: Path) -> None:
    """A link under the name of the log, which SQLite would follow."""
    open_answers(path).close()
    path.with_name(f"{NAME}-wal").symlink_to(path.with_name("victim"))


def log_without_file(path: Path) -> None:
    """The file is gone, and its log is there."""
    path.with_name(f"{NAME}-wal").write_bytes(b"something")


REFUSED = [
    foreign_text, foreign_database, empty, newer, cut_short, without_a_table, scribbled, hard_link, folder, pipe,
    planted_link,
]  # fmt: skip


def content(path: Path) -> dict[str, bytes | None]:
    """All files of a folder."""
    return {one.name: one.read_bytes() if one.is_file() and not one.is_symlink() else None for one in path.iterdir()}


@pytest.mark.parametrize("spoil", [*REFUSED, log_without_file], ids=lambda one: one.__name__)
def test_what_is_no_answers_file_is_refused_and_left_alone(spoil: Callable[[Path], None], path: Path) -> None:
    """Neither a writer nor a reader changes it, and no file is made beside it."""
    path.parent.mkdir()
    spoil(path)
    before = content(path.parent)
    with pytest.raises(AnswersError) as raised:
        open_answers(path)
    assert str(path) in raised.value.message
    assert raised.value.exit_code == 3
    if spoil is not log_without_file:
        with pytest.raises(AnswersError):
            open_reader(path)
    assert content(path.parent) == before


def test_damage_that_is_found_later_is_told(answers: AnswersFile, path: Path) -> None:
    """A row that asyncfilter cannot have written is an error of the file, not a crash."""
    answers.add([new_answer("keep", uid="damaged-row")])
    reader = open_reader(path)
    assert reader is not None
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER answer_kept")
        db.execute("UPDATE answer SET labels = '{'")
        db.commit()
    with reader, pytest.raises(AnswersError, match="damaged"):
        reader.images_of([subject()], up_to=1)


def test_a_file_that_stays_locked_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer waits for another one for some seconds, then gives up; nothing is written. A reader does not wait."""
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.05)
    with open_answers(path) as one, open_answers(path) as other, one.transaction() as writing:
        writing.add([new_answer("keep")])
        with pytest.raises(AnswersLockedError, match="locked"):
            other.add([new_answer("keep")])
        with open_reader(path) as reader:  # type: ignore[union-attr]  # it exists
            assert reader.last_serial() == 0
    assert len(all_rows(path)) == 1


# -- Several processes -------------------------------------------------------------------------------------------------

CREATE = """
import sys
from pathlib import Path
from asyncfilter.answers import open_answers
from tests.kit.answers import new_answer, subject
sys.stdin.read()
for number in range(10):
    with open_answers(Path(sys.argv[1])) as file:
        file.add([new_answer("keep", subject(f"{sys.argv[2]}-{number}"), uid=f"from-{sys.argv[2]}-{number}")])
"""


def test_several_processes_make_one_file(path: Path) -> None:
    """All of them find the file that one of them makes, and no answer is in a file that another one replaced.

    Each opens the file for every row, while a reader opens it again and again: nobody takes it for damaged.
    """
    command = [sys.executable, "-c", CREATE, str(path)]
    started = [subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE) for number in range(4)]
    for one in started:
        assert one.stdin is not None
        one.stdin.close()
    while any(one.poll() is None for one in started):
        with open_reader(path) or nullcontext() as reader:
            assert reader is None or 0 <= reader.last_serial() <= 40
    assert [one.wait(60) for one in started] == [0, 0, 0, 0]
    rows = all_rows(path)
    assert sorted(uid for _, uid in rows) == sorted(f"from-{one}-{number}" for one in range(4) for number in range(10))
    assert [serial for serial, _ in rows] == list(range(1, 41))
    assert names(path.parent) == [NAME]


def test_a_draft_that_a_killed_process_left_is_no_hindrance(path: Path) -> None:
    """The next one makes the file anew."""
    path.parent.mkdir()
    path.with_name(f"{NAME}.new").write_bytes(b"half of a file")
    open_answers(path).close()
    assert names(path.parent) == [NAME]


# -- Merging -----------------------------------------------------------------------------------------------------------


def test_merging_adds_what_is_not_there_in_order_of_time(answers: AnswersFile, tmp_path: Path) -> None:
    """Rows of several files by time, undo rows too; a repeated one is counted; the ids are remembered."""
    answers.add([new_answer("keep", uid="own-first", at_unix_s=50.0)])
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    with open_answers(one) as other:
        other.add([
            new_answer("keep", uid="one-first", at_unix_s=10.0, reviewer="ben"),
            new_answer("reject", uid="one-second", at_unix_s=30.0, reviewer="ben"),
            # A clock that was put back: it is still after what it takes back.
            new_answer(None, uid="one-undo", at_unix_s=5.0, reviewer="ben", undoes="one-second"),
        ])  # fmt: skip
    with open_answers(two) as other:
        other.add([new_answer("reject", uid="two-first", at_unix_s=20.0, reviewer="cleo")])
        merge_files(other.path, [one])
    found, serial = merge_files(answers.path, [one, two])
    assert serial == 5
    assert [(entry.rows, entry.added, entry.repeated) for entry in found] == [(3, 3, 0), (4, 1, 3)]
    with open_reader(answers.path) as reader:  # type: ignore[union-attr]  # it exists
        rows = list(reader.all_rows(up_to=99))
        assert [row.uid for row in rows] == ["own-first", "one-first", "two-first", "one-second", "one-undo"]
        assert set(reader.merged) == {entry.id for entry in found}
        current = fold(rows)
    assert current is not None
    assert current.verdict is CurrentVerdict.KEEP
    again, _ = merge_files(answers.path, [two, one])
    assert [(entry.rows, entry.added, entry.repeated) for entry in again] == [(4, 0, 4), (3, 0, 3)]


def test_the_ids_behind_a_merged_file_are_remembered(answers: AnswersFile, tmp_path: Path) -> None:
    """A file that was merged into the second is also merged into the third."""
    with open_answers(tmp_path / "one.db") as one, open_answers(tmp_path / "two.db") as two:
        one.add([new_answer("keep")])
        (first,) = merge_files(two.path, [one.path]).files
        (second,) = merge_files(answers.path, [two.path]).files
    with open_reader(answers.path) as reader:  # type: ignore[union-attr]  # it exists
        assert set(reader.merged) == {first.id, second.id}
        assert reader.id not in reader.merged


@pytest.mark.parametrize("spoil", [foreign_text, newer, scribbled], ids=lambda one: one.__name__)
def test_merging_is_all_or_nothing(spoil: Callable[[Path], None], answers: AnswersFile, tmp_path: Path) -> None:
    """One file that cannot be used, and none of them is merged."""
    good, bad = tmp_path / "good.db", tmp_path / "bad" / NAME
    with open_answers(good) as other:
        other.add([new_answer("keep")])
    bad.parent.mkdir()
    spoil(bad)
    with pytest.raises(AnswersError):
        merge_files(answers.path, [good, bad])
    with pytest.raises(UsageError):
        merge_files(answers.path, [good, tmp_path / "missing.db"])
    assert all_rows(answers.path) == []


def test_a_table_of_another_module_is_part_of_the_file(answers: AnswersFile, path: Path) -> None:
    """Draws stand in the same file."""
    with closing(sqlite3.connect(path)) as db:
        assert {"subject", "answer", "reviewer", "setting"} < table_names(db)


def test_an_iteration_may_be_given_up_after_the_file_is_closed(answers: AnswersFile) -> None:
    """As when what reads it ends with an error: no second error hides the first."""
    answers.add([new_answer("keep"), new_answer("reject")])
    with open_reader(answers.path) as reader:  # type: ignore[union-attr]  # it exists
        rows = reader.all_rows(up_to=2)
        next(rows)
    rows.close()  # type: ignore[union-attr]  # a generator
