"""``model start`` and ``model stop`` as a user meets them: exit codes, results, questions, and what is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.custom_labels.lease_table import Leases, Wish
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.sandbox import SandboxOptions, SandboxProcess
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace, ended, wait_until

MODEL = ModelArn.parse(DEFAULT_MODEL_ARN)
NAMES = (MODEL.project, MODEL.version)
QUICK = ("--poll", "0.05")
START = ("model", "start", *NAMES, *QUICK, "--no-watcher", "--yes")


@pytest.fixture(scope="module")
def service() -> Iterator[SandboxProcess]:
    """A service with one model, which is stopped."""
    with SandboxProcess(SandboxOptions(model_status="STOPPED", speed=2000)) as sandbox:
        yield sandbox


@pytest.fixture
def workspace(service: SandboxProcess, tmp_path: Path) -> Iterator[Workspace]:
    """A folder with a ledger of its own; afterwards the model is stopped again."""
    workspace = Workspace(tmp_path, service)
    workspace.env["ASYNCFILTER_STATE"] = str(tmp_path / "state")
    yield workspace
    code, _, err = workspace.here("model", "stop", *NAMES, *QUICK, "--yes")
    assert code == 0, err


def status(workspace: Workspace) -> str:
    """The state of the model at the service."""
    with boto_client(workspace.sandbox, "rekognition") as client:
        project = client.describe_projects(ProjectNames=[MODEL.project])["ProjectDescriptions"][0]["ProjectArn"]
        (version,) = client.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"]
        return str(version["Status"])


def start_elsewhere(workspace: Workspace) -> None:
    """Somebody else starts the model."""
    with boto_client(workspace.sandbox, "rekognition") as client:
        client.start_project_version(ProjectVersionArn=DEFAULT_MODEL_ARN, MinInferenceUnits=1)
    while status(workspace) != "RUNNING":
        pass


def expire(workspace: Workspace) -> None:
    """A lease on the model that is over, of a command that has ended."""
    with open_ledger(Path(workspace.env["ASYNCFILTER_STATE"])) as ledger:
        wish = Wish(arn=DEFAULT_MODEL_ARN, endpoint=workspace.sandbox.endpoint_url, for_s=0.0)
        Leases(ledger, ThisHost()).take(wish, runs=True)


def result(workspace: Workspace, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The JSON of a command that ends with ``code``."""
    found, out, err = workspace.here(*arguments, "--json")
    assert found == code, err
    parsed: dict[str, Any] = json.loads(out)
    return parsed


def test_start_extend_and_stop(workspace: Workspace) -> None:
    """The public fields of each, the price, and the lease beside the version in ``status``."""
    code, out, err = workspace.here(*START, "--for", "2h", "--units", "2", "--json")
    assert code == 0, err
    assert "2 units, $8.00 an hour" in err
    assert "at most $16.00" in err
    started = json.loads(out)
    assert {name: started[name] for name in ("arn", "status", "units", "usd_per_hour", "max_usd")} == {
        "arn": DEFAULT_MODEL_ARN,
        "status": "RUNNING",
        "units": 2,
        "usd_per_hour": 8.0,
        "max_usd": 16.0,
    }
    assert (started["lease"]["kind"], started["lease"]["owner"]) == ("time", None)
    (version,) = result(workspace, "model", "status", *NAMES)["versions"]
    assert version["lease"]["id"] == started["lease"]["id"]

    longer = result(workspace, *START, "--for", "3h")
    assert longer["lease"]["id"] == started["lease"]["id"]
    assert longer["lease"]["expires_at"] > started["lease"]["expires_at"]
    shorter = result(workspace, *START, "--for", "1m")
    assert shorter["lease"]["expires_at"] == longer["lease"]["expires_at"]
    refused = result(workspace, *START, "--for", "1h", "--units", "3", code=1)
    assert refused["error"]["code"] == "OTHER_UNITS"

    kept = result(workspace, "model", "stop", "--expired")
    assert [one["arn"] for one in kept["kept"]] == [DEFAULT_MODEL_ARN]
    stopped = result(workspace, "model", "stop", *NAMES, *QUICK)
    assert [(one["arn"], one["reason"]) for one in stopped["stopped"]] == [(DEFAULT_MODEL_ARN, "asked")]
    assert stopped["stopped"][0]["ran_s"] > 0
    assert stopped["stopped"][0]["usd"] == pytest.approx(8 / 60, abs=0.01)
    assert status(workspace) == "STOPPED"
    again = result(workspace, "model", "stop", *NAMES)
    assert again == {"stopped": [], "kept": [], "failed": []}


def test_usage(workspace: Workspace) -> None:
    """Without ``--for``, with no duration, or with nothing to stop: exit code 2, and nothing is done."""
    for wrong in (
        ("model", "start", *NAMES, "--yes"),
        ("model", "start", *NAMES, "--for", "soon", "--yes"),
        ("model", "start", *NAMES, "--for", "1h", "--units", "3", "--max-units", "2", "--yes"),
        ("model", "stop"),
        ("model", "stop", MODEL.project),
        ("model", "stop", "--expired", MODEL.project),
        ("model", "stop", "--forget", "1", "--expired"),
        ("model", "stop", "--forget", "1", MODEL.project),
    ):
        assert workspace.here(*wrong)[0] == 2, wrong
    assert status(workspace) == "STOPPED"


def test_a_question_without_a_terminal_is_a_no(workspace: Workspace) -> None:
    """Exit code 130, the price was said, and nothing was started."""
    code, _, err = workspace.here("model", "start", *NAMES, "--for", "2h")
    assert code == 130
    assert "$4.00 an hour" in err
    assert "--yes" in err
    assert status(workspace) == "STOPPED"
    assert result(workspace, "model", "stop", "--expired")["kept"] == []


def test_a_foreign_model(workspace: Workspace) -> None:
    """``start`` takes no lease, ``stop`` asks, ``--expired`` passes by; ``--adopt`` takes it over."""
    start_elsewhere(workspace)
    refused = result(workspace, *START, "--for", "1h", code=1)
    assert refused["error"]["code"] == "MODEL_RUNS_WITHOUT_LEASE"
    assert refused["lease"] is None
    assert workspace.here("model", "stop", *NAMES)[0] == 130
    assert result(workspace, "model", "stop", "--expired") == {"stopped": [], "kept": [], "failed": []}
    assert status(workspace) == "RUNNING"
    adopted = result(workspace, *START, "--for", "1h", "--adopt")
    assert adopted["lease"]["kind"] == "time"
    assert len(result(workspace, "model", "stop", "--expired")["kept"]) == 1


def test_a_foreign_model_is_stopped_by_name(workspace: Workspace) -> None:
    """After the question was answered."""
    start_elsewhere(workspace)
    stopped = result(workspace, "model", "stop", *NAMES, *QUICK, "--yes")
    assert [one["reason"] for one in stopped["stopped"]] == ["asked"]
    assert status(workspace) == "STOPPED"


def test_what_is_over_is_stopped_first(workspace: Workspace) -> None:
    """By every command but ``status``, which never changes anything; stderr says so."""
    start_elsewhere(workspace)
    expire(workspace)
    assert workspace.here("model", "status", *NAMES)[0] == 0
    assert status(workspace) == "RUNNING"
    code, out, err = workspace.here("model", "create", "another", *QUICK, "--json")
    assert code == 0, err
    assert "its lease has expired" in err
    assert json.loads(out)["project"] == "another"
    assert status(workspace) == "STOPPED"


@pytest.mark.parametrize(
    "command", [("permissions", "--bucket", "pictures"), ("evaluate", "--summary", "a", "--snapshot", "b")]
)
def test_commands_without_a_service_stop_what_is_over(workspace: Workspace, command: tuple[str, ...]) -> None:
    """Whatever becomes of the command itself."""
    start_elsewhere(workspace)
    expire(workspace)
    _, _, err = workspace.here("model", *command)
    assert "its lease has expired" in err
    assert status(workspace) == "STOPPED"


def test_a_wait_for_what_is_over_is_bounded(workspace: Workspace) -> None:
    """``--timeout`` holds for the stop that comes first, too: exit code 75; every command that looks takes it."""
    start_elsewhere(workspace)
    expire(workspace)
    workspace.sandbox.control("POST", "faults", {"faults": ["throttle:StopProjectVersion=100%"]})
    try:
        for command in (("list",), ("create", MODEL.project)):
            code, _, err = workspace.here("model", *command, *QUICK, "--timeout", "1s")
            assert (code, "not over after 1 s" in err) == (75, True), err
    finally:
        workspace.sandbox.control("POST", "faults", {"faults": []})
    code, _, err = workspace.here("model", "status", *NAMES, *QUICK)
    assert code == 0, err


def test_a_bound_holds_within_one_call(workspace: Workspace) -> None:
    """A call that is throttled for minutes ends with ``--timeout``, too."""
    workspace.sandbox.control("POST", "faults", {"faults": ["throttle:DescribeProjects=100%"]})
    try:
        code, out, err = workspace.here("model", "status", *NAMES, *QUICK, "--timeout", "1s", "--json")
    finally:
        workspace.sandbox.control("POST", "faults", {"faults": []})
    assert (code, out, "not over after 1 s" in err) == (75, "", True), err


def test_expired_in_json(workspace: Workspace) -> None:
    """Reason, time and money of what was stopped."""
    start_elsewhere(workspace)
    expire(workspace)
    reaped = result(workspace, "model", "stop", "--expired", *QUICK)
    assert [(one["arn"], one["reason"]) for one in reaped["stopped"]] == [(DEFAULT_MODEL_ARN, "expired")]
    assert reaped["kept"] == reaped["failed"] == []


def test_what_cannot_be_stopped_is_told_with_its_price(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4 where access is the cause, with ARN and dollars an hour; the lease stays, and others go on."""
    monkeypatch.setattr("asyncfilter.wiring.leases.STOP_PATIENCE_S", 0.5)
    start_elsewhere(workspace)
    with open_ledger(Path(workspace.env["ASYNCFILTER_STATE"])) as ledger:
        leases = Leases(ledger, ThisHost())
        leases.take(Wish(arn=DEFAULT_MODEL_ARN, endpoint="http://127.0.0.1:9", for_s=0.0, units=2), runs=True)
        leases.take(Wish(arn=DEFAULT_MODEL_ARN, endpoint=workspace.sandbox.endpoint_url, for_s=0.0), runs=True)
    code, out, err = workspace.here("model", "stop", "--expired", *QUICK, "--json")
    assert code == 4
    (failed,) = json.loads(out)["failed"]
    assert (failed["arn"], failed["usd_per_hour"]) == (DEFAULT_MODEL_ARN, 8.0)
    assert f"could not stop {DEFAULT_MODEL_ARN}" in err
    assert "$8.00 an hour" in err
    assert status(workspace) == "STOPPED"
    with open_ledger(Path(workspace.env["ASYNCFILTER_STATE"])) as ledger:
        assert [lease.units for lease in Leases(ledger, ThisHost()).open()] == [2]
    assert workspace.here("model", "stop", "--forget", failed["lease"])[0] == 130
    assert result(workspace, "model", "stop", "--forget", failed["lease"], "--yes")["forgotten"]["arn"] == failed["arn"]
    assert workspace.here("model", "stop", "--forget", failed["lease"], "--yes")[0] == 2


def test_a_damaged_ledger_starts_nothing(workspace: Workspace) -> None:
    """Exit code 3 before the service is asked; ``--expired`` too, since what it would stop is not known."""
    folder = Path(workspace.env["ASYNCFILTER_STATE"])
    folder.mkdir()
    (folder / "leases.db").write_text("not a ledger")
    try:
        for command in ((*START, "--for", "1h"), ("model", "stop", "--expired"), ("model", "status", *NAMES)):
            code, _, err = workspace.here(*command)
            assert code == 3, err
            assert str(folder / "leases.db") in err
    finally:
        (folder / "leases.db").unlink()
    assert status(workspace) == "STOPPED"


def test_a_watcher_outlives_its_terminal(workspace: Workspace) -> None:
    """The terminal is closed and the command killed: the watcher of another session stops the model in time."""
    process = workspace.start("model", "start", *NAMES, "--for", "8s", *QUICK, "--yes")
    code, _, err = ended(process)
    assert code == 0, err
    with open_ledger(Path(workspace.env["ASYNCFILTER_STATE"])) as ledger:
        leases = Leases(ledger, ThisHost())
        (lease,) = leases.open()
        assert lease.watcher is not None
        assert Path(f"/proc/{lease.watcher.pid}/stat").read_text().split()[5] == str(lease.watcher.pid)
        wait_until(lambda: not leases.open())
    assert status(workspace) == "STOPPED"
    log = Path(workspace.env["ASYNCFILTER_STATE"]) / f"watch-{lease.id}.log"
    assert "expired" in log.read_text()


def test_a_watcher_that_cannot_begin_starts_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 before the service is asked; no lease is left."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    arguments = [one for one in START if one != "--no-watcher"]
    refused = result(workspace, *arguments, "--for", "1h", code=1)
    assert refused["error"]["code"] == "WATCHER_FAILED"
    assert result(workspace, "model", "stop", "--expired")["kept"] == []
    monkeypatch.setattr("sys.executable", "/bin/false")
    refused = result(workspace, *arguments, "--for", "1h", code=1)
    assert "its log is" in refused["error"]["message"]
    assert status(workspace) == "STOPPED"
