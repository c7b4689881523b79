"""``asyncfilter state``, and the commands that read a checkpoint in S3, against a state on the sandbox."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asyncfilter.answers import open_answers
from asyncfilter.checkpoint import read_images
from asyncfilter.model import S3Location
from asyncfilter.records.progress import Batch
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from asyncfilter.sandbox.answers.folder import Noise
from asyncfilter.sandbox.options import SyntheticSpec
from asyncfilter.state.names import StatePlace
from asyncfilter.testing.state_store import MemoryStateStore
from tests.kit.answers import new_answer, subject
from tests.kit.services import boto_client
from tests.kit.states import SOMEBODY, HandMade, contents_of, put_answers
from tests.kit.workspace import Workspace

PLACE = StatePlace("states", "jobs/", "robins")
IMAGES = 12


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A few images, and a bucket for states."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", IMAGES),),
        buckets=(BucketSpec("states"),),
        check_images=False,
        noise=Noise(0, 0, 0, 0),
    )
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture(scope="module")
def client(sandbox: SandboxProcess) -> Iterator[Any]:
    """boto3 at the sandbox."""
    with boto_client(sandbox, "s3") as made:
        yield made


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> Path:
    """The checkpoint of a run in a file."""
    space = Workspace(tmp_path_factory.mktemp("paid"), sandbox)
    assert space.json("run", "job.yaml")["examined"] == IMAGES
    return space.folder / ".asyncfilter" / "robins.db"


class OnSandbox(HandMade):
    """A state on the sandbox."""

    client: Any

    def put(self, place: S3Location, body: bytes) -> None:
        """See ``HandMade``."""
        self.client.put_object(Bucket=place.bucket, Key=place.key, Body=body)


@pytest.fixture
def state(tmp_path: Path, paid: Path, client: Any) -> OnSandbox:
    """The state of a job whose run is over."""
    for one in client.list_objects_v2(Bucket=PLACE.bucket).get("Contents", ()):
        client.delete_object(Bucket=PLACE.bucket, Key=one["Key"])
    made = OnSandbox(MemoryStateStore(), tmp_path / "origin", PLACE, origin=paid)
    made.client = client
    made.commit_snapshot()
    spare = [msgspec.structs.replace(made.next_image(), seq=None) for _ in range(3)]
    made.commit_segment(lambda _, tables: tables.commit(Batch(new=spare)))
    made.write_head(spent_micros=12_000, granted_micros=20_000)
    return made


@pytest.fixture
def space(tmp_path: Path, sandbox: SandboxProcess, state: OnSandbox) -> Workspace:
    """A machine that has nothing but the job file."""
    return Workspace(tmp_path, sandbox, checkpoint="s3://states/jobs/")


def keys(client: Any) -> set[str]:
    """All keys of the bucket for states."""
    return {one["Key"] for one in client.list_objects_v2(Bucket=PLACE.bucket).get("Contents", ())}


# -- show --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["job.yaml", "s3://states/jobs/robins.state", "s3://states/jobs/robins.state/"])
def test_show_has_every_field(space: Workspace, state: OnSandbox, where: str) -> None:
    """The fields of the contract, by job file and by address."""
    found = space.json("state", "show", where)
    snapshot = state.head.snapshot
    assert snapshot is not None
    age_s = found.pop("age_s")
    assert 0 <= age_s < 60
    assert found == {
        "uri": "s3://states/jobs/robins.state",
        "format": 1,
        "state_id": state.head.state_id,
        "name": "robins",
        "identity": state.head.identity,
        "file_format": 1,
        "epoch": 1,
        "commit": 3,
        "owner": None,
        "held": False,
        "written": state.head.written,
        "snapshot": {
            "key": snapshot.key,
            "bytes": snapshot.bytes,
            "sha256": snapshot.sha256,
            "commit": 1,
            "inflated_bytes": snapshot.inflated_bytes,
        },
        "segments": 1,
        "segment_bytes": state.head.segments[0].bytes,
        "rows": IMAGES + 3,
        "spent_usd": 0.012,
        "granted_usd": 0.02,
        "unnamed_objects": 0,
        "foreign_objects": 0,
        "ok": True,
        "problems": [],
    }
    code, out, _ = space.here("state", "show", where)
    assert code == 0
    assert "s3://states/jobs/robins.state: whole" in out


def test_an_owner_holds_the_state_while_the_head_changes(
    space: Workspace, state: OnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --wait the age tells; with it, whether the head is rewritten now."""
    state.write_head(owner=SOMEBODY)
    found = space.json("state", "show", "job.yaml")
    assert found["held"] is True
    assert found["owner"]["host"] == "elsewhere"
    monkeypatch.setattr("asyncfilter.state.looking.HELD_S", 0.1)
    monkeypatch.setattr("asyncfilter.state.looking._PAUSE_S", 0.02)
    assert space.json("state", "show", "job.yaml", "--wait")["held"] is False


@pytest.mark.parametrize(
    ("change", "options", "code"),
    [
        (lambda client, key: client.delete_object(Bucket="states", Key=key), (), 1),
        (lambda client, key: client.put_object(Bucket="states", Key=key, Body=b"short"), (), 1),
        ("same size", (), 0),
        ("same size", ("--deep",), 1),
    ],
)
def test_show_finds_what_is_missing_or_other(
    space: Workspace, state: OnSandbox, change: Callable[[Any, str], object] | str, options: tuple[str, ...], code: int
) -> None:
    """By HEAD of every named object; other bytes of the same size only with --deep."""
    segment = state.head.segments[0]
    if callable(change):
        change(state.client, segment.key)
    else:
        state.client.put_object(Bucket="states", Key=segment.key, Body=bytes(segment.bytes))
    found, out, err = space.here("state", "show", "job.yaml", "--json", *options)
    assert found == code, err
    shown = json.loads(out)
    assert shown["ok"] is (code == 0)
    assert [segment.key in problem for problem in shown["problems"]] == [True] * code


SHOW, PULL, PRUNE = ("show", "WHERE"), ("pull", "WHERE", "-o", "new.db"), ("prune", "WHERE", "--yes")


@pytest.mark.parametrize(
    ("body", "command"),
    [
        *((body, SHOW) for body in (b"", b"no JSON", b"[]", b'{"format": 1}', b"[" * 100_000, b"0" * 2_000_000)),
        *((b'{"format": 2}', command) for command in (SHOW, PULL, PRUNE)),
    ],
)
def test_what_is_no_state_is_exit_3(space: Workspace, state: OnSandbox, body: bytes, command: tuple[str, ...]) -> None:
    """No JSON, not ours, newer: nothing is written or deleted."""
    state.put(PLACE.head, body)
    before = keys(state.client)
    arguments = [PLACE.uri if argument == "WHERE" else argument for argument in command]
    code, out, err = space.here("state", *arguments)
    assert (code, out) == (3, "")
    assert "jobs/robins.state" in err
    assert keys(state.client) == before
    assert not (space.folder / "new.db").exists()


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("s3://states/jobs/wrens.state", 3),
        ("s3://states/jobs/", 2),
        ("s3://states/robins.db", 2),
        ("s3:///robins.state", 2),
        ("nothing.yaml", 2),
        ("s3://no-such-bucket/robins.state", 4),
    ],
)
def test_a_wrong_address(space: Workspace, where: str, code: int) -> None:
    """No address of a state is exit 2, an address without a state 3."""
    found, out, err = space.here("state", "show", where)
    assert (found, out) == (code, ""), err


def test_a_job_without_state(space: Workspace) -> None:
    """Exit 2, with the keys to set."""
    space.job.write_text(space.job.read_text().replace("checkpoint: s3://states/jobs/", ""))
    code, _, err = space.here("state", "show", "job.yaml")
    assert code == 2
    assert "checkpoint_copy" in err


# -- pull --------------------------------------------------------------------------------------------------------------


def test_pull_makes_a_checkpoint_that_works(space: Workspace, state: OnSandbox) -> None:
    """A file as committed, which a job can use; a file is never replaced."""
    found = space.json("state", "pull", "job.yaml", "-o", "new.db")
    assert (found["commit"], found["rows"], found["file"]) == (3, IMAGES + 3, "new.db")
    path = space.folder / "new.db"
    assert contents_of(path) == contents_of(state.path)
    code, _, err = space.here("state", "pull", "job.yaml", "-o", "new.db")
    assert code == 2
    assert "never replaced" in err
    found = space.json("status", "job.yaml", "--set", "checkpoint=new.db")
    assert (found["examined"], found["overshoot"], found["state"]) == (IMAGES, 3, None)


def test_pull_into_no_folder_is_a_usage_error(space: Workspace, state: OnSandbox) -> None:
    """Like every other ``-o``; the message has the name that was given, not that of a draft."""
    code, _, err = space.here("state", "pull", "job.yaml", "-o", "nowhere/new.db")
    assert code == 2
    assert "--output nowhere/new.db" in err


def test_pull_of_a_damaged_state_makes_no_file(space: Workspace, state: OnSandbox) -> None:
    """Exit 3 with the key."""
    state.client.delete_object(Bucket="states", Key=state.head.segments[0].key)
    code, _, err = space.here("state", "pull", "job.yaml", "-o", "new.db")
    assert code == 3
    assert state.head.segments[0].key in err
    assert sorted(one.name for one in space.folder.iterdir()) == ["job.yaml", "origin"]


# -- prune -------------------------------------------------------------------------------------------------------------


def test_prune_deletes_what_no_head_names_and_nothing_else(space: Workspace, state: OnSandbox) -> None:
    """Named objects, kept heads with theirs, foreign objects and other states stay."""
    old = OnSandbox(MemoryStateStore(), space.folder / "old", PLACE, origin=state.path)
    old.client = state.client
    head = old.client.get_object(Bucket="states", Key=PLACE.head.key)["Body"].read()
    old.commit_snapshot()
    old.put(
        PLACE.kept_head(old.head.state_id), old.client.get_object(Bucket="states", Key=PLACE.head.key)["Body"].read()
    )
    state.put(PLACE.head, head)
    state.put(PLACE._replace(name="wrens").new_segment(state.head.state_id, 1), b"another state's")
    state.put(PLACE.at("notes.txt"), b"somebody's")
    state.put(PLACE.at(f"{state.head.state_id}/notes.txt"), b"somebody's")
    stays = keys(state.client)
    for place in (
        PLACE.new_segment(state.head.state_id, 2),
        PLACE.new_segment(state.head.state_id, 9),
        PLACE.new_snapshot(state.head.state_id, 1),
    ):
        state.put(place, b"replaced")
    young = (PLACE.new_probe(), PLACE.new_snapshot("0" * 16, 1))
    for place in young:
        state.put(place, b"young")
    stays |= {place.key for place in young}
    assert space.json("state", "show", "job.yaml")["unnamed_objects"] == 5
    everything = keys(state.client)
    code, _, err = space.here("state", "prune", "job.yaml")
    assert code == 130
    assert "--yes" in err
    assert keys(state.client) == everything
    found = space.json("state", "prune", "job.yaml", "--yes")
    assert found == {
        "uri": PLACE.uri,
        "deleted_objects": 3,
        "deleted_bytes": 24,
        "kept_objects": 2,
        "foreign_objects": 2,
    }
    assert keys(state.client) == stays
    assert space.json("state", "prune", "job.yaml")["deleted_objects"] == 0
    assert space.json("state", "show", "job.yaml", "--deep")["ok"] is True


def test_prune_deletes_nothing_young_while_somebody_owns_the_state(space: Workspace, state: OnSandbox) -> None:
    """An owner may be about to name it, even one who does not rewrite the head at the moment."""
    state.write_head(owner=SOMEBODY)
    state.put(PLACE.new_segment(state.head.state_id, 99), b"soon to be named")
    before = keys(state.client)
    found = space.json("state", "prune", "job.yaml", "--yes")
    assert (found["deleted_objects"], found["kept_objects"]) == (0, 1)
    assert keys(state.client) == before


# -- Reading commands --------------------------------------------------------------------------------------------------


def test_reading_commands_read_what_is_committed_and_say_how_old_it_is(space: Workspace, state: OnSandbox) -> None:
    """status, export, plan and audit fetch a copy of their own; nothing of it stays, and nothing is written to S3."""
    before = keys(state.client)
    code, out, err = space.here("status", "job.yaml", "--json")
    assert code == 0, err
    shown = json.loads(out)
    assert (shown["examined"], shown["overshoot"]) == (IMAGES, 3)
    assert shown["checkpoint"] == ".asyncfilter/robins.db"
    assert 0 <= shown["state"].pop("age_s") < 60
    assert shown["state"] == {
        "uri": PLACE.uri,
        "mode": "checkpoint",
        "state_id": state.head.state_id,
        "epoch": 1,
        "commit": 3,
        "committed_rows": IMAGES + 3,
        "behind_rows": 0,
    }
    assert "s3://states/jobs/robins.state: as of commit 3, written" in err
    code, out, err = space.here("export", "job.yaml")
    assert code == 0, err
    assert len(out.splitlines()) == IMAGES + 3
    assert "as of commit 3" in err
    plan = space.json("plan", "job.yaml")
    assert plan["known"] == IMAGES
    assert keys(state.client) == before
    assert sorted(one.name for one in space.folder.iterdir()) == ["job.yaml", "origin"]
    assert list(read_images(state.path))


def test_a_copy_is_read_where_there_is_no_file(space: Workspace, state: OnSandbox, paid: Path) -> None:
    """The file of this machine is the truth, where there is one: S3 is not asked."""
    space.job.write_text(space.job.read_text().replace("checkpoint:", "checkpoint_copy:"))
    found = space.json("status", "job.yaml")
    assert (found["examined"], found["state"]["mode"], found["state"]["commit"]) == (IMAGES, "copy", 3)
    local = space.folder / ".asyncfilter" / "robins.db"
    local.parent.mkdir()
    shutil.copy(paid, local)
    code, out, err = space.here("status", "job.yaml", "--json")
    assert (code, err) == (0, "")
    shown = json.loads(out)["state"]
    assert shown == {
        "uri": PLACE.uri,
        "mode": "copy",
        "state_id": "",
        "epoch": 0,
        "commit": 0,
        "committed_rows": 0,
        "behind_rows": IMAGES,
        "age_s": None,
    }
    assert "nothing is committed yet" in " ".join(space.here("status", "job.yaml")[1].split())


def test_status_shows_who_works_on_the_state(space: Workspace, state: OnSandbox) -> None:
    """While the head is rewritten; a run on this machine is not asked. The run without an end is theirs, or died."""
    state.commit_segment(lambda _, tables: tables.begin_run("20961129-000000-00000000", 4e9))
    state.write_head()
    found = space.json("status", "job.yaml")
    assert (found["running"], found["runs"][-1]["outcome"]) == (None, "died")
    state.write_head(owner=SOMEBODY)
    found = space.json("status", "job.yaml")
    assert found["running"] == {"pid": 7, "host": "elsewhere", "since_unix_s": 1795867200.0}
    assert found["runs"][-1]["outcome"] == "running"


def test_reading_commands_without_a_state(space: Workspace, state: OnSandbox) -> None:
    """What needs a checkpoint is exit 3 and names the state; a plan needs none."""
    state.client.delete_object(Bucket="states", Key=PLACE.head.key)
    code, out, err = space.here("status", "job.yaml")
    assert (code, out) == (3, "")
    assert PLACE.uri in err
    assert space.json("plan", "job.yaml")["known"] == 0


def answer(path: Path, key: str) -> None:
    """Somebody keeps an image."""
    with open_answers(path) as answers:
        answers.add([new_answer(about=subject(key))])


def said(space: Workspace, *arguments: str) -> int:
    """Rows of answers that a command sees."""
    rows: int = space.json("answers", "list", "job.yaml", *arguments)["rows"]
    return rows


def test_answers_are_those_that_are_committed_and_those_of_this_machine(
    space: Workspace, state: OnSandbox, tmp_path: Path
) -> None:
    """Who reads sees both, and changes no file; who adds answers has the committed ones in the file here."""
    other, here = tmp_path / "other.answers.db", space.folder / ".asyncfilter" / "robins.answers.db"
    answer(other, "a.jpg")
    memory = MemoryStateStore()
    put_answers(memory, other, PLACE.answers)
    for place, stored in memory.objects.items():
        state.put(place, stored.body)
    assert said(space) == 1
    assert not here.exists()
    here.parent.mkdir()
    answer(here, "b.jpg")
    before = here.read_bytes()
    assert said(space) == 2
    assert here.read_bytes() == before
    assert space.here("audit", "job.yaml")[0] == 0
    with closing(sqlite3.connect(here)) as db:
        assert db.execute("SELECT count(*) FROM answer").fetchone() == (2,)
    found = space.json("state", "show", PLACE.answers.uri)
    assert (found["uri"], found["ok"], found["rows"]) == (PLACE.answers.uri, True, 0)
    assert space.json("state", "pull", PLACE.answers.uri, "-o", "pulled.db")["commit"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_the_copy_of_a_page_is_removed_when_it_ends(space: Workspace, state: OnSandbox, number: signal.Signals) -> None:
    """``review`` serves until a signal; the answers file is that of this machine."""
    folder = space.folder / "tmp"
    folder.mkdir()
    space.env["TMPDIR"] = str(folder)
    process = space.start("review", "job.yaml", "--json", "--no-open", "--port", "0")
    try:
        assert process.stdout is not None
        served = json.loads(process.stdout.readline())
        assert served["images"] == IMAGES
        assert served["answers"].endswith(".asyncfilter/robins.answers.db")
        assert [path.name for path in folder.glob("asyncfilter-state-*/*")] == ["robins.db"]
        process.send_signal(number)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()
    assert list(folder.glob("asyncfilter-state-*")) == []
