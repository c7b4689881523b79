"""``answers set``, ``list`` and ``merge``: results, exit codes and files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.answers import file, open_answers
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.answers import box, new_answer, subject
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

KEYS = ["a.jpg", "b.jpg", "-odd.jpg", "s p/c%20.jpg"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A few small images."""
    with SandboxProcess(SandboxOptions(buckets=(BucketSpec("raw"), BucketSpec("clean")))) as running:
        with boto_client(running, "s3") as s3:
            for key in KEYS:
                s3.put_object(Bucket="raw", Key=key, Body=key.encode() * 100)
        yield running


@pytest.fixture(scope="module")
def examined(sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run over them."""
    workspace = Workspace(tmp_path_factory.mktemp("run"), sandbox)
    workspace.summary("run", str(workspace.job))
    return workspace.folder / ".asyncfilter" / "robins.db"


@pytest.fixture
def workspace(sandbox: SandboxProcess, examined: Path, tmp_path: Path) -> Workspace:
    """A job that was run, about which nobody has said anything."""
    found = Workspace(tmp_path, sandbox)
    (tmp_path / ".asyncfilter").mkdir()
    (tmp_path / ".asyncfilter" / "robins.db").write_bytes(examined.read_bytes())
    return found


def answers_file(workspace: Workspace) -> Path:
    """Where the answers of the job are."""
    return workspace.folder / ".asyncfilter" / "robins.answers.db"


# -- set ---------------------------------------------------------------------------------------------------------------


def say(workspace: Workspace, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The JSON of ``answers set``."""
    found, out, err = workspace.here("answers", "set", str(workspace.job), *arguments, "--json")
    assert found == code, err
    result: dict[str, Any] = json.loads(out)
    return result


def test_a_word_and_its_undo(workspace: Workspace) -> None:
    """Each word shows what folded to what; ``none`` takes back one's own last word, down to nothing (exit 1)."""
    first = say(workspace, "a.jpg", "keep", "--as", "anna", "--label", " Robin ", "--note", "sharp")
    assert list(first) == ["key", "verdict", "previous", "current", "reviewer", "uid", "serial"]
    assert {**first, "uid": ""} == {
        "key": "a.jpg", "verdict": "keep", "previous": None, "current": "keep", "reviewer": "anna", "uid": "",
        "serial": 1,
    }  # fmt: skip
    steps = [
        (("a.jpg", "reject", "--as", "ben"), "keep", "unresolved"),
        (("a.jpg", "unsure", "--as", "ben"), "unresolved", "keep"),
        (("a.jpg", "none", "--as", "ben"), "keep", "unresolved"),
        (("a.jpg", "none", "--as", "ben"), "unresolved", "keep"),
    ]
    for number, (arguments, previous, current) in enumerate(steps, 2):
        found = say(workspace, *arguments)
        assert (found["previous"], found["current"], found["serial"]) == (previous, current, number)
    nothing = say(workspace, "a.jpg", "none", "--as", "ben", code=1)
    assert (nothing["previous"], nothing["current"], nothing["uid"], nothing["serial"]) == ("keep", "keep", None, None)


def test_every_key_can_be_named(workspace: Workspace) -> None:
    """Verbatim, or by the address of the object, which is not decoded."""
    for named, key in [
        ("s3://raw/-odd.jpg", "-odd.jpg"),
        ("s p/c%20.jpg", "s p/c%20.jpg"),
        ("s3://raw/s p/c%20.jpg", "s p/c%20.jpg"),
    ]:
        assert say(workspace, named, "keep")["key"] == key


@pytest.mark.parametrize("verdict", ["keep", "none"])
def test_an_unknown_key_makes_no_file(verdict: str, workspace: Workspace) -> None:
    """Exit 1, also for an address in another bucket; nothing is written."""
    for key in ("nowhere.jpg", "s3://other/a.jpg", "s3://raw/"):
        code, out, err = workspace.here("answers", "set", str(workspace.job), key, verdict, "--json")
        found = json.loads(out)
        assert (code, found["key"], found["serial"]) == (1, key, None)
        assert found["error"]["code"] == "nothing_to_work_on"
        assert "no image with this key" in found["error"]["message"]
        assert "no image with this key" in err
        code, out, _ = workspace.here("answers", "list", str(workspace.job), "--key", key, "--json")
        assert (code, json.loads(out)["error"]["code"]) == (1, "nothing_to_work_on")
    assert workspace.here("answers", "set", str(workspace.job), "a.jpg", "none")[0] == 1
    assert not answers_file(workspace).exists()


@pytest.mark.parametrize(
    "command", [["set", "job.yaml", "\udcff.jpg", "keep"], ["list", "job.yaml", "--key", "\udcff.jpg"]]
)
def test_a_key_that_is_no_text_is_unknown(command: list[str], workspace: Workspace) -> None:
    """A terminal may give any bytes; no object has such a key."""
    code, out, err = workspace.here("answers", *command)
    assert (code, out) == (1, ""), err
    assert "no image with this key is known" in err


@pytest.mark.parametrize("command", [["set", "job.yaml", "a.jpg", "keep"], ["import", "job.yaml", "a.csv"]])
def test_a_name_that_no_file_can_have_is_exit_3(command: list[str], workspace: Workspace) -> None:
    """It is looked at before it is opened, for a caution."""
    (workspace.folder / "a.csv").write_text("key,verdict\na.jpg,keep\n")
    code, _, err = workspace.here("answers", *command, "--answers", "x" * 300)
    assert (code, "longer than the file system allows" in err) == (3, True), err


def test_without_a_checkpoint_there_is_nothing_to_work_on(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """Exit 1, and no folder is made."""
    fresh = Workspace(tmp_path, sandbox)
    for arguments in (
        ["answers", "set", str(fresh.job), "a.jpg", "keep"],
        ["answers", "list", str(fresh.job)],
        ["answers", "import", str(fresh.job), str(fresh.job)],
        ["answers", "export", str(fresh.job), "-o", "out"],
        ["audit", str(fresh.job)],
        ["calibrate", str(fresh.job)],
    ):
        code, out, err = fresh.here(*arguments, "--json")
        assert (code, json.loads(out)["error"]["code"]) == (1, "nothing_to_work_on"), arguments
        assert "no checkpoint yet" in err
    assert not (tmp_path / ".asyncfilter").exists()


WRONG = {
    "a verdict": ["a.jpg", "maybe"],
    "no key": ["keep"],
    "a label that is too long": ["a.jpg", "keep", "--label", "x" * 256],
    "too many labels": ["a.jpg", "keep", *(part for number in range(51) for part in ("--label", f"{number}"))],
    "a name with a tab": ["a.jpg", "keep", "--as", "a\tb"],
    "an empty name": ["a.jpg", "keep", "--as", "  "],
    "a label of nothing": ["a.jpg", "none", "--label", "Robin"],
    "a note that is too long": ["a.jpg", "keep", "--note", "x" * 10_001],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_what_cannot_be_said_is_usage(arguments: list[str], workspace: Workspace) -> None:
    """Exit 2, and nothing is written."""
    assert workspace.here("answers", "set", str(workspace.job), *arguments)[0] == 2
    assert not answers_file(workspace).exists()


def test_the_default_person_is_the_login_name(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--as``, else the login name, else ``me``."""
    workspace.env["LOGNAME"] = "Kim Larsen"
    assert say(workspace, "a.jpg", "keep")["reviewer"] == "Kim Larsen"
    monkeypatch.setattr("getpass.getuser", lambda: "x" * 65)
    assert say(workspace, "a.jpg", "keep")["reviewer"] == "me"


def test_the_plain_text_says_what_changed(workspace: Workspace) -> None:
    """One line on stdout; with nothing to take back one on stderr."""
    arguments = ["answers", "set", str(workspace.job), "a.jpg"]
    assert workspace.here(*arguments, "keep", "--as", "anna")[:2] == (0, "a.jpg: - -> keep\n")
    assert workspace.here(*arguments, "none", "--as", "anna")[:2] == (0, "a.jpg: keep -> -\n")
    code, out, err = workspace.here(*arguments, "none", "--as", "anna")
    assert (code, out) == (1, "")
    assert "anna has said nothing" in err


# -- Files that cannot be used -----------------------------------------------------------------------------------------


def test_a_locked_file_is_exit_3(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that cannot be written is told; reading goes on."""
    say(workspace, "a.jpg", "keep")
    monkeypatch.setattr(file, "BUSY_TIMEOUT_S", 0.05)
    with open_answers(answers_file(workspace)) as other, other.transaction():
        code, _, err = workspace.here("answers", "set", str(workspace.job), "a.jpg", "reject")
        assert code == 3
        assert "locked by another program" in err
        assert workspace.json("answers", "list", str(workspace.job))["rows"] == 1


def test_a_foreign_file_is_exit_3_and_left_alone(workspace: Workspace) -> None:
    """Nothing is overwritten."""
    answers_file(workspace).write_text("dear diary")
    for arguments in (["set", str(workspace.job), "a.jpg", "keep"], ["list", str(workspace.job)]):
        assert workspace.here("answers", *arguments)[0] == 3
    assert answers_file(workspace).read_text() == "dear diary"


def test_nothing_is_written_to_the_checkpoint(workspace: Workspace) -> None:
    """The commands take no lock of a run and change no byte of its file."""
    checkpoint = workspace.folder / ".asyncfilter" / "robins.db"
    before = checkpoint.read_bytes()
    say(workspace, "a.jpg", "keep")
    workspace.json("answers", "list", str(workspace.job))
    assert checkpoint.read_bytes() == before
    assert sorted(one.name for one in checkpoint.parent.iterdir()) == ["robins.answers.db", "robins.db"]


# -- list --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def answered(workspace: Workspace) -> Workspace:
    """Four images with answers of three people."""
    for key, verdict, name in [
        ("a.jpg", "keep", "anna"),
        ("a.jpg", "reject", "ben"),
        ("b.jpg", "reject", "ben"),
        ("s3://raw/-odd.jpg", "unsure", "cleo"),
        ("s p/c%20.jpg", "keep", "anna"),
        ("s p/c%20.jpg", "keep", "cleo"),
        ("s p/c%20.jpg", "none", "cleo"),
    ]:
        say(workspace, key, verdict, "--as", name)
    return workspace


FIELDS = ["file", "id", "format", "serial", "rows", "undone", "subjects", "current", "reviewers", "pending", "images"]


def test_list_shows_figures_and_images(answered: Workspace) -> None:
    """All that docs/review.md names, images by bucket and key."""
    found = answered.json("answers", "list", str(answered.job))
    assert list(found)[: len(FIELDS)] == FIELDS
    assert found["file"] == str(answers_file(answered))
    assert len(found["id"]) == 32
    figures = {name: found[name] for name in ("format", "serial", "rows", "undone", "subjects", "pending")}
    assert figures == {"format": 1, "serial": 7, "rows": 7, "undone": 1, "subjects": 4, "pending": 7}
    assert found["current"] == {"keep": 1, "reject": 1, "unsure": 1, "unresolved": 1}
    assert [(one["name"], one["answers"]) for one in found["reviewers"]] == [("anna", 2), ("ben", 2), ("cleo", 1)]
    assert [(one["key"], one["verdict"], one["reviewed_by"], one["is_current"]) for one in found["images"]] == [
        ("-odd.jpg", "unsure", "cleo", True),
        ("a.jpg", "unresolved", "ben", True),
        ("b.jpg", "reject", "ben", True),
        ("s p/c%20.jpg", "keep", "anna", True),
    ]
    image = found["images"][1]
    assert image["bucket"] == "raw"
    assert image["size_bytes"] == 500
    assert image["labels"] is image["boxes"] is None
    assert len(image["etag"]) == 32
    assert image["reviewed_at"].endswith("Z")
    assert (found["truncated"], "history" in found) == (False, False)


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["--verdict", "unresolved"], ["a.jpg"]),
        (["--verdict", "keep"], ["s p/c%20.jpg"]),
        (["--reviewer", "anna"], ["a.jpg", "s p/c%20.jpg"]),
        (["--reviewer", "ben", "--verdict", "reject"], ["b.jpg"]),
        (["--reviewer", "nobody"], []),
        (["--key", "s3://raw/-odd.jpg"], ["-odd.jpg"]),
        (["--key", "a.jpg", "--verdict", "keep"], []),
    ],
)
def test_list_selects(arguments: list[str], keys: list[str], answered: Workspace) -> None:
    """By key, by person, by current verdict; the figures stay those of the whole file."""
    found = answered.json("answers", "list", str(answered.job), *arguments)
    assert [one["key"] for one in found["images"]] == keys
    assert found["rows"] == 7


def test_the_history_of_a_key(answered: Workspace) -> None:
    """Every row about the image, with its serial and whether it was taken back."""
    found = answered.json("answers", "list", str(answered.job), "--key", "s p/c%20.jpg")
    assert [(row["serial"], row["reviewer"], row["verdict"], row["undone"]) for row in found["history"]] == [
        (5, "anna", "keep", False),
        (6, "cleo", "keep", True),
        (7, "cleo", None, False),
    ]
    undo = found["history"][2]
    assert undo["undoes"] == found["history"][1]["uid"]
    assert list(undo)[-3:] == ["undoes", "serial", "undone"]
    assert (undo["how"], undo["asked_as"], undo["blind"], undo["saw"]) == ("set", "free", False, None)


def test_list_without_answers(workspace: Workspace) -> None:
    """Nobody has said anything: zeros, exit 0, no file is made. An unknown key is exit 1."""
    found = workspace.json("answers", "list", str(workspace.job))
    assert (found["id"], found["rows"], found["images"], found["pending"]) == (None, 0, [], 0)
    assert workspace.json("answers", "list", str(workspace.job), "--key", "a.jpg")["history"] == []
    assert workspace.here("answers", "list", str(workspace.job), "--key", "nowhere.jpg")[0] == 1
    assert not answers_file(workspace).exists()


def test_an_answer_about_an_object_that_changed_is_not_current(answered: Workspace) -> None:
    """The old answer stays in the file; another bucket's is about nothing that is known."""
    with open_answers(answers_file(answered)) as answers:
        answers.add([
            new_answer("keep", subject("a.jpg", etag="of-the-past", size_bytes=1), labels=("Robin",), boxes=(box(),)),
            new_answer("keep", subject("a.jpg", bucket="elsewhere")),
        ])  # fmt: skip
    found = answered.json("answers", "list", str(answered.job), "--key", "a.jpg")["images"]
    assert [(one["bucket"], one["etag"], one["is_current"]) for one in found] == [
        ("elsewhere", "e1-1", None),
        ("raw", found[1]["etag"], True),
        ("raw", "of-the-past", False),
    ]
    assert found[2]["labels"] == ["Robin"]
    assert found[2]["boxes"] == [{"label": "Robin", "left": 0.1, "top": 0.2, "width": 0.3, "height": 0.4}]


def test_at_most_a_thousand_images_are_listed(workspace: Workspace) -> None:
    """All are counted."""
    with open_answers(answers_file(workspace)) as answers:
        answers.add([new_answer("keep", subject(f"{number:05}")) for number in range(1001)])
    found = workspace.json("answers", "list", str(workspace.job))
    assert (len(found["images"]), found["truncated"], found["current"]["keep"]) == (1000, True, 1001)
    code, out, _ = workspace.here("answers", "list", str(workspace.job))
    assert code == 0
    assert "and 951 more" in out


def test_list_as_text(answered: Workspace) -> None:
    """Figures, then a line an image; with a key its history."""
    code, out, _ = answered.here("answers", "list", str(answered.job), "--key", "s p/c%20.jpg")
    assert code == 0
    for text in ("7 for the next run", "1 taken back", "s3://raw/s p/c%20.jpg", "history", "(taken back)", "cleo: 1"):
        assert text in out.replace("rows ", "")


# -- merge -------------------------------------------------------------------------------------------------------------


def test_merge_takes_all_rows_of_other_files(answered: Workspace, tmp_path: Path) -> None:
    """What is there already is counted; a second merge adds nothing; the merged file stays as it is."""
    other = tmp_path / "other.db"
    with open_answers(other) as laptop:
        laptop.add([new_answer("keep", subject("b.jpg"), uid="from-the-laptop")])
    before = other.read_bytes()
    found = answered.json("answers", "merge", str(answered.job), str(other), str(answers_file(answered)))
    (entry, own) = found["files"]
    assert (entry["file"], len(entry["id"])) == (str(other), 32)
    assert [(one["rows"], one["added"], one["repeated"]) for one in (entry, own)] == [(1, 1, 0), (7, 0, 7)]
    assert found["serial"] == 8
    assert other.read_bytes() == before
    code, out, _ = answered.here("answers", "merge", str(answered.job), str(other))
    assert (code, out) == (0, f"{other}: 1 rows, 0 added, 1 there already\n")
    with closing(sqlite3.connect(answers_file(answered))) as db:
        assert json.loads(db.execute("SELECT value FROM setting WHERE key = 'merged'").fetchone()[0]) == [entry["id"]]


def test_merge_makes_the_file_where_there_is_none(workspace: Workspace, tmp_path: Path) -> None:
    """A missing FILE is usage, and no file is made."""
    assert workspace.here("answers", "merge", str(workspace.job), str(tmp_path / "nowhere.db"))[0] == 2
    assert not answers_file(workspace).exists()
    with open_answers(tmp_path / "other.db") as laptop:
        laptop.add([new_answer("keep", subject("b.jpg"))])
    assert workspace.json("answers", "merge", str(workspace.job), str(tmp_path / "other.db"))["serial"] == 1
    assert workspace.here("answers", "merge", str(workspace.job), str(workspace.job))[0] == 3


def test_a_file_takes_the_place_of_one_that_was_merged_into_it(workspace: Workspace, tmp_path: Path) -> None:
    """A checkpoint that follows a file refuses another one (exit 3), until the former one is merged into that."""
    job = str(workspace.job)
    say(workspace, "a.jpg", "keep")
    workspace.summary("refilter", job)
    former = answers_file(workspace).rename(tmp_path / "former.db")
    say(workspace, "b.jpg", "reject")
    code, _, err = workspace.here("refilter", job)
    assert code == 3
    assert "asyncfilter answers merge" in err
    assert workspace.json("answers", "merge", job, str(former))["serial"] == 2
    workspace.summary("refilter", job)
    assert workspace.json("answers", "list", job)["pending"] == 0


# -- A folder ----------------------------------------------------------------------------------------------------------


def test_a_folder_of_pictures_needs_no_job(workspace: Workspace, tmp_path: Path) -> None:
    """The answers stand in the folder; folders that begin with a dot are not looked into."""
    photos = tmp_path / "photos"
    for name in ("2024/a.jpg", ".git/b.jpg", "notes.txt", "2024/.c.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(b"picture")
    found = workspace.json("answers", "set", str(photos), "2024/a.jpg", "keep")
    assert (found["key"], found["current"]) == ("2024/a.jpg", "keep")
    assert workspace.json("answers", "set", str(photos), f"file://{photos}/2024/a.jpg", "reject")["previous"] == "keep"
    for key in (".git/b.jpg", "notes.txt", "../job.yaml", "2024/../2024/a.jpg", "2024", str(photos / "2024/a.jpg")):
        assert workspace.here("answers", "set", str(photos), key, "keep")[0] == 1, key
    listed = workspace.json("answers", "list", str(photos))
    assert listed["file"] == str(photos / ".asyncfilter" / "review.answers.db")
    (image,) = listed["images"]
    assert (image["bucket"], image["key"], image["is_current"]) == (f"file://{photos}", "2024/a.jpg", True)
    assert listed["pending"] is None
    (photos / "2024/a.jpg").write_bytes(b"another picture")
    assert workspace.json("answers", "list", str(photos))["images"][0]["is_current"] is False


def test_another_answers_file_can_be_named(workspace: Workspace, tmp_path: Path) -> None:
    """On the command line or in the job, relative to the job file; several jobs may share one."""
    say(workspace, "a.jpg", "keep", "--answers", str(tmp_path / "shared.db"))
    found = workspace.json("answers", "list", str(workspace.job), "--set", "answers=shared.db")
    assert (found["file"], found["rows"]) == (str(tmp_path / "shared.db"), 1)
    assert not answers_file(workspace).exists()
