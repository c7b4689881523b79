"""Runs whose truth is a state in S3, or whose file is followed by one, on the sandbox: loss, restoring, refusals."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.checkpoint import read_images
from asyncfilter.checkpoint.changes import LOG_TABLES, keyed_tables
from asyncfilter.checkpoint.open_file import connect
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess, SyntheticSpec
from asyncfilter.sandbox.quirks import ConditionalWrites
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace, ended, wait_until

IMAGES = 30
STATE = {"checkpoint": "s3://states/jobs/"}
COPY = {"checkpoint_copy": "s3://states/copies/"}
KEYS = {"checkpoint": "jobs/robins.state", "copy": "copies/robins.state"}
COPIES = {"keep": {"copy": "s3://clean/{key}"}}


def options(**changes: Any) -> SandboxOptions:
    """Some images, a bucket for copies and one for states."""
    return SandboxOptions(
        synthetic=(SyntheticSpec("raw", IMAGES),),
        buckets=(BucketSpec("clean"), BucketSpec("states")),
        count_keys=True,
        **changes,
    )


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    """A service of its own: states are left in it."""
    with SandboxProcess(options()) as process:
        yield process


@pytest.fixture
def client(sandbox: SandboxProcess) -> Iterator[Any]:
    """boto3 at the sandbox."""
    with boto_client(sandbox, "s3") as made:
        yield made


@pytest.fixture
def machine(sandbox: SandboxProcess, tmp_path: Path) -> Callable[..., Workspace]:
    """Makes a machine: a folder with the job, and nothing else."""
    made = iter(range(100))

    def make(**sections: Any) -> Workspace:
        folder = tmp_path / f"machine-{next(made)}"
        folder.mkdir()
        return Workspace(folder, sandbox, **{"actions": COPIES} | sections)

    return make


def head(client: Any, name: str = "checkpoint") -> dict[str, Any]:
    """The head of a state."""
    body = client.get_object(Bucket="states", Key=f"{KEYS[name]}/head.json")["Body"].read()
    found: dict[str, Any] = json.loads(body)
    return found


def events_of(space: Workspace) -> list[dict[str, Any]]:
    """The events of all runs."""
    return [json.loads(line) for line in (space.folder / "events.jsonl").read_text().splitlines()]


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of a checkpoint, without what only its own machine needs."""
    with closing(connect(path, "ro")) as db:
        tables = [table for table in keyed_tables(db) if table.name not in LOG_TABLES]
        found = {
            table.name: sorted(db.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}"), key=repr)
            for table in tables
        }
    found["state"] = [row for row in found["state"] if row[0] != "indexed"]
    return found


@pytest.mark.parametrize(("mode", "keys"), [("checkpoint", STATE), ("copy", COPY)])
def test_what_is_committed_is_the_file_and_the_same_command_goes_on_elsewhere(
    machine: Callable[..., Workspace], client: Any, mode: str, keys: dict[str, str]
) -> None:
    """Nothing is paid or copied again on the next machine; a clean end gives back what was granted."""
    first = machine(**keys)
    done = first.summary("run", "job.yaml", "--events", "events.jsonl")
    assert (done["examined"], done["state"]["mode"], done["state"]["behind_rows"]) == (IMAGES, mode, 0)
    assert done["state"]["epoch"] == done["epoch"] == 1
    assert done["state"]["restored"] is None
    found = head(client, mode)
    assert (found["owner"], found["rows"]) == (None, IMAGES)
    assert found["granted_micros"] == found["spent_micros"] == round(done["spent_usd"] * 1_000_000)
    code, _, err = first.here("state", "pull", f"s3://states/{KEYS[mode]}", "-o", "pulled.db")
    assert code == 0, err
    assert contents(first.folder / "pulled.db") == contents(first.folder / ".asyncfilter" / "robins.db")
    names = [event["event"] for event in events_of(first)]
    assert names[:2] == ["run_started", "state_owned"]
    assert names[-1] == "run_ended"
    assert "state_committed" in names

    second = machine(**keys)
    again = second.summary("run", "job.yaml", "--events", "events.jsonl")
    assert (again["this_run"]["calls"], again["this_run"]["copied"], again["examined"]) == (0, 0, IMAGES)
    assert again["spent_usd"] == done["spent_usd"]
    assert again["state"]["restored"]["rows"] == IMAGES
    assert again["state"]["taken_over_from"] is None
    assert again["epoch"] == 2
    restored = [event for event in events_of(second) if event["event"] == "state_restored"]
    assert [event["rows"] for event in restored] == [IMAGES]


@pytest.mark.parametrize("mode", ["checkpoint", "copy"])
def test_a_killed_run_goes_on_on_its_machine_with_its_file(
    machine: Callable[..., Workspace], sandbox: SandboxProcess, client: Any, mode: str
) -> None:
    """Its process is dead, so nobody waits; what the file has beyond S3 is not paid for again."""
    space = machine(**(STATE if mode == "checkpoint" else COPY))
    process = space.start("run", "job.yaml", "--set", "limits.tps=20", "--set", "limits.concurrency=2")
    wait_until(lambda: space.billed() >= IMAGES // 3)
    process.send_signal(signal.SIGKILL)
    ended(process)
    paid = {image.key for image in read_images(space.folder / ".asyncfilter" / "robins.db") if image.detection}
    assert len(paid) >= IMAGES // 3 - 3
    done = space.summary("run", "job.yaml")
    assert done["examined"] == IMAGES
    assert not paid & sandbox.stats().keys_examined_again.keys()
    assert (done["state"]["restored"], done["state"]["behind_rows"]) == (None, 0)
    assert done["state"]["taken_over_from"]["pid"] == process.pid
    assert head(client, mode)["rows"] == IMAGES


def test_a_state_that_another_process_takes_is_not_paid_for_nor_written_any_more(
    machine: Callable[..., Workspace], client: Any
) -> None:
    """Exit 3 with the new owner; the file stays, and no object is written after that."""
    space = machine(**STATE)
    process = space.start("run", "job.yaml", "--set", "limits.tps=4", "--events", "events.jsonl")
    wait_until(lambda: space.billed() >= 3)
    found = head(client)
    other = found["owner"] | {"host": "elsewhere", "pid": 7, "boot_id": "other"}
    taken = found | {"epoch": found["epoch"] + 1, "commit": found["commit"] + 1, "owner": other, "nonce": "0" * 16}
    client.put_object(Bucket="states", Key=f"{KEYS['checkpoint']}/head.json", Body=json.dumps(taken).encode())
    code, _, err = ended(process)
    assert code == 3, err
    assert "process 7 on elsewhere" in err
    assert head(client) == taken
    events = events_of(space)
    (lost,) = [event for event in events if event["event"] == "state_lost"]
    assert "process 7 on elsewhere" in lost["holder"]
    assert len(list(read_images(space.folder / ".asyncfilter" / "robins.db"))) >= 3
    after = [event for event in events[events.index(lost) :] if event["event"] == "action_done"]
    assert after == []


def test_fresh_begins_a_new_state_and_keeps_the_old_one(machine: Callable[..., Workspace], client: Any) -> None:
    """The old head stays under another name, with its objects; the file is moved aside."""
    space = machine(**STATE)
    space.summary("run", "job.yaml")
    old = head(client)
    again = space.summary("run", "job.yaml", "--fresh", "--yes")
    assert again["this_run"]["calls"] == IMAGES
    new = head(client)
    assert new["state_id"] != old["state_id"]
    assert new["epoch"] > old["epoch"]
    kept = client.get_object(Bucket="states", Key=f"{KEYS['checkpoint']}/head-{old['state_id']}.json")["Body"].read()
    assert json.loads(kept)["snapshot"] == old["snapshot"]
    assert len(list((space.folder / ".asyncfilter").glob("robins.*Z*.db"))) == 1
    client.head_object(Bucket="states", Key=old["snapshot"]["key"])


def test_fresh_asks_about_what_only_the_file_of_this_machine_has(
    machine: Callable[..., Workspace], client: Any
) -> None:
    """A copy may be behind: S3 that knows of no spending does not mean that nothing was paid for."""
    space = machine(**COPY)
    space.summary("run", "job.yaml")
    body = json.dumps(head(client, "copy") | {"spent_micros": 0, "granted_micros": 0}).encode()
    client.put_object(Bucket="states", Key=f"{KEYS['copy']}/head.json", Body=body)
    code, _, err = space.here("run", "job.yaml", "--fresh")
    assert code == 2, err
    assert "Move it aside and pay again?" in err
    assert space.billed() == IMAGES


def test_a_state_of_another_source_or_detector_is_refused(machine: Callable[..., Workspace], client: Any) -> None:
    """Exit 3 with the key and the ways out; nothing was written."""
    machine(**STATE).summary("run", "job.yaml")
    before = head(client)
    code, _, err = machine(**STATE).here("run", "job.yaml", "--set", "detector.min_confidence=20")
    assert code == 3
    assert "detector.min_confidence" in err
    assert "--fresh" in err
    assert head(client) == before


def test_a_local_checkpoint_without_a_state_is_refused(machine: Callable[..., Workspace], client: Any) -> None:
    """`checkpoint: s3://` names `state push`, which begins the state; a copy simply begins."""
    space = machine()
    space.summary("run", "job.yaml")
    code, _, err = space.here("run", "job.yaml", "--set", "checkpoint=s3://states/jobs/")
    assert code == 3
    assert "asyncfilter state push" in err
    assert client.list_objects_v2(Bucket="states")["KeyCount"] == 0
    code, _, err = space.here("state", "push", ".asyncfilter/robins.db", f"s3://states/{KEYS['checkpoint']}")
    assert code == 0, err
    done = space.summary("run", "job.yaml", "--set", "checkpoint=s3://states/jobs/")
    assert (done["this_run"]["calls"], done["examined"]) == (0, IMAGES)
    code, _, err = space.here("state", "push", ".asyncfilter/robins.db", f"s3://states/{KEYS['checkpoint']}", "--yes")
    assert code == 3, err
    copied = machine()
    copied.summary("run", "job.yaml", "--set", "checkpoint=here.db")
    copied.summary("run", "job.yaml", "--set", "checkpoint=here.db", "--set", "checkpoint_copy=s3://states/copies/")
    assert head(client, "copy")["rows"] == IMAGES


@pytest.mark.parametrize("way", [ConditionalWrites.IGNORED, ConditionalWrites.REFUSED])
@pytest.mark.parametrize("keys", [STATE, COPY])
def test_a_store_without_conditional_writes_is_refused_before_the_first_call(
    tmp_path: Path, way: ConditionalWrites, keys: dict[str, str]
) -> None:
    """Exit 3 with the condition that it ignored; the probe is gone."""
    with SandboxProcess(options(conditional_writes=way)) as sandbox, boto_client(sandbox, "s3") as client:
        space = Workspace(tmp_path, sandbox, **keys)
        code, _, err = space.here("run", "job.yaml")
        assert code == 3, err
        assert "If-None-Match" in err
        assert space.billed() == 0
        assert client.list_objects_v2(Bucket="states")["KeyCount"] == 0


@pytest.mark.slow
def test_a_run_that_stood_still_sends_nothing_until_it_knows_that_it_still_owns_the_state(
    machine: Callable[..., Workspace], client: Any
) -> None:
    """SIGSTOP for longer than an owner may pay: with a new owner, exit 3, and no call after the standstill."""
    space = machine(**STATE)
    process = space.start("run", "job.yaml", "--set", "limits.tps=10")
    wait_until(lambda: space.billed() >= 5)
    process.send_signal(signal.SIGSTOP)
    found = head(client)
    taken = found | {"epoch": found["epoch"] + 1, "commit": found["commit"] + 1, "nonce": "0" * 16}
    taken["owner"] = found["owner"] | {"host": "elsewhere", "boot_id": "other"}
    client.put_object(Bucket="states", Key=f"{KEYS['checkpoint']}/head.json", Body=json.dumps(taken).encode())

    time.sleep(11)
    before = space.billed()
    process.send_signal(signal.SIGCONT)
    code, _, err = ended(process)
    assert code == 3, err
    assert space.billed() <= before + 1  # at most one was on its way when the process stopped


def test_the_budget_holds_with_grants(sandbox: SandboxProcess, machine: Callable[..., Workspace], client: Any) -> None:
    """A budget is reached exactly, with money that is granted commit by commit."""
    space = machine(**STATE, limits={"tps": 2000, "budget_usd": 0.02})
    done = space.summary("run", "job.yaml")
    assert done["stop_reason"] == "budget"
    assert (done["spent_usd"], space.billed()) == (0.02, 20)
    assert head(client)["spent_micros"] == 20_000


def test_peoples_answers_go_along(machine: Callable[..., Workspace], client: Any) -> None:
    """Imported on one machine, obeyed on the next; answers of both are merged, none is lost."""
    first = machine(**STATE)
    first.summary("run", "job.yaml")
    keys = sorted(image.key for image in read_images(first.folder / ".asyncfilter" / "robins.db") if image.detection)
    (first.folder / "said.csv").write_text(f"key,verdict\n{keys[0]},keep\n{keys[1]},reject\n")
    code, _, err = first.here("answers", "import", "job.yaml", "said.csv")
    assert code == 0, err
    found = json.loads(client.get_object(Bucket="states", Key="jobs/robins.answers/head.json")["Body"].read())
    assert (found["rows"], found["owner"]) == (2, None)
    second = machine(**STATE)
    done = second.summary("run", "job.yaml")
    assert done["reviewed"]["keep"] + done["reviewed"]["reject"] == 2
    (first.folder / "more.csv").write_text(f"key,verdict\n{keys[2]},reject\n")
    (second.folder / "more.csv").write_text(f"key,verdict\n{keys[3]},reject\n")
    for space in (first, second):
        code, _, err = space.here("answers", "import", "job.yaml", "more.csv")
        assert code == 0, err
    again = first.summary("run", "job.yaml")
    assert again["reviewed"]["keep"] + again["reviewed"]["reject"] == 4


def test_removals_go_along(machine: Callable[..., Workspace], client: Any) -> None:
    """What one machine has moved, the next one knows, and brings back."""
    actions = {"reject": {"move": "s3://clean/bin/{key}"}}
    first, second = (machine(**STATE, actions=actions) for _ in range(2))
    pending = first.summary("run", "job.yaml")["pending_removals"]
    assert pending
    agreed = ("--yes", "--max-share", "1", "--expect")
    assert first.json("apply", "job.yaml", *agreed, str(pending))["moved"] == pending
    assert second.json("apply", "job.yaml", *agreed, "0")["planned"] == 0
    assert second.json("undo", "job.yaml", "--yes", "--expect", str(pending))["restored"] == pending
    assert client.list_objects_v2(Bucket="raw")["KeyCount"] == IMAGES


def test_what_calibrate_rests_on_is_committed(machine: Callable[..., Workspace], client: Any) -> None:
    """It owns the state of people's answers for a moment; that of the checkpoint stays as it is."""
    rules = [{"keep": {"any": "Robin", "confidence": 60}}]
    first = machine(**STATE, rules=rules)
    first.summary("run", "job.yaml")
    before = head(client)
    code, _, err = first.here("audit", "job.yaml", "-o", "tasks.json")
    assert code == 0, err
    for _ in range(2):
        code, _, err = first.here("calibrate", "job.yaml", "--json")
        assert code == 0, err
        answers = json.loads(client.get_object(Bucket="states", Key="jobs/robins.answers/head.json")["Body"].read())
        assert (answers["owner"], answers["epoch"]) == (None, 1)
    assert head(client) == before
    second = machine(**STATE, rules=rules)
    assert second.json("calibrate", "job.yaml")["rules"][0]["draw"] == 1
