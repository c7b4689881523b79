"""Runs that start their model under a lease: it runs before the first call, and is stopped whatever ends the run."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from asyncfilter import AccessError, Interrupt, bench, run
from asyncfilter.custom_labels.lease import EndReason, Lease, LeaseState
from asyncfilter.custom_labels.lease_table import Leases, Wish
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.errors import LeaseError
from asyncfilter.events import Event, ImageExamined, ModelNotice, RunEnded, RunStarted
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.sandbox import BucketSpec, DenyRule, Sandbox, SandboxOptions, SyntheticSpec
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit import jobs
from tests.kit.services import boto_client, serving
from tests.kit.workspace import PATIENCE_S

OPTIONS = SandboxOptions(
    synthetic=(SyntheticSpec("raw", 200),),
    buckets=(BucketSpec("clean"),),
    model_status="STOPPED",
    speed=500,
)

START = {"for": "2h", "units": 2, "poll_s": 0.05}
DETECTOR = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN, "start": START}

MODEL = ModelArn.parse(DEFAULT_MODEL_ARN)

make_job = partial(jobs.make_bare_job, detector=DETECTOR, actions={"keep": {"copy": "s3://clean/"}})


def leases(folder: Path) -> list[Lease]:
    """Every row that was ever written, in the order of their beginnings."""
    with open_ledger(folder) as ledger:
        table = Leases(ledger, ThisHost())
        with ledger.reading() as db:
            names = [name for (name,) in db.execute("SELECT id FROM leases ORDER BY started_at")]
        return [lease for name in names if (lease := table.get(name)) is not None]


async def status(sandbox: Sandbox) -> str:
    """The state of the model at the service."""

    def look() -> str:
        with boto_client(sandbox, "rekognition") as client:
            project = client.describe_projects(ProjectNames=[MODEL.project])["ProjectDescriptions"][0]["ProjectArn"]
            (version,) = client.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"]
            return str(version["Status"])

    return await anyio.to_thread.run_sync(look)


async def until(sandbox: Sandbox, wanted: str) -> None:
    """Wait for a state of the model."""
    with anyio.fail_after(PATIENCE_S):
        while await status(sandbox) != wanted:  # noqa: ASYNC110  the state is at the service
            await anyio.sleep(0.05)


async def test_a_run_starts_its_model_and_stops_it(tmp_path: Path, state_folder: Path) -> None:
    """The lease has an owner, the model runs with the units of the job, and every minute that was begun is paid for."""
    seen: list[Event] = []
    async with serving(OPTIONS) as sandbox:
        summary = await run(make_job(base_dir=tmp_path, limits={"tps": 5000}), on_event=seen.append)
        assert (summary.stop_reason, summary.counts.examined) == ("completed", 200)
        assert await status(sandbox) == "STOPPED"
    (lease,) = leases(state_folder)
    assert (lease.state, lease.kind, lease.units, lease.run_id) == (LeaseState.RELEASED, "run", 2, summary.run_id)
    assert summary.counts.spent_micros == 2 * 4_000_000 // 60
    told = [type(event) for event in seen]
    assert told.index(ModelNotice) < told.index(RunStarted) < told.index(ImageExamined)
    assert told[-2:] == [ModelNotice, RunEnded]


async def test_a_measurement_pays_for_the_start_of_its_model(tmp_path: Path, state_folder: Path) -> None:
    """What ``bench`` may spend covers the minutes in which the model starts, and the measurement after them."""
    async with serving(OPTIONS) as sandbox:
        found = await bench(make_job(base_dir=tmp_path), seconds_s=1, tps=20)
        assert await status(sandbox) == "STOPPED"
    assert found.summary.counts.calls > 0
    assert found.summary.stop_reason == "completed"
    assert found.bench_plan.allowance_micros > 2 * 4_000_000 * 30 // 60
    assert len(leases(state_folder)) == 1


async def test_an_interrupt_stops_a_model_that_is_starting(tmp_path: Path, state_folder: Path) -> None:
    """The verb ends only when the model is stopped, although the service refuses that before it runs."""
    async with serving(replace(OPTIONS, speed=200.0)) as sandbox, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:

            async def interrupt() -> None:
                await until(sandbox, "STARTING")
                scope.cancel()

            tasks.start_soon(interrupt)
            await run(make_job(base_dir=tmp_path))
        assert scope.cancelled_caught
        assert await status(sandbox) == "STOPPED"
    assert [(lease.state, lease.reason) for lease in leases(state_folder)] == [(LeaseState.RELEASED, EndReason.ASKED)]


async def test_a_drained_run_stops_its_model(tmp_path: Path, state_folder: Path) -> None:
    """Ctrl-C while images are examined: exit code 75, and nothing runs on."""
    interrupt = Interrupt()

    def listen(event: Event) -> None:
        if isinstance(event, ImageExamined):
            interrupt.request()

    async with serving(OPTIONS) as sandbox:
        summary = await run(make_job(base_dir=tmp_path, limits={"tps": 50}), interrupt=interrupt, on_event=listen)
        assert summary.exit_code == 75
        assert await status(sandbox) == "STOPPED"
        again = await run(make_job(base_dir=tmp_path, limits={"tps": 5000}))
        assert (again.exit_code, again.counts.examined) == (0, 200)
    assert [lease.state for lease in leases(state_folder)] == [LeaseState.RELEASED] * 2


async def test_a_run_that_fails_stops_its_model(tmp_path: Path, state_folder: Path) -> None:
    """Detection is denied: exit code 4, and the model is stopped."""
    denied = replace(OPTIONS, deny=(DenyRule("DetectCustomLabels"),))
    async with serving(denied) as sandbox:
        summary = await run(make_job(base_dir=tmp_path))
        assert summary.exit_code == 4
        assert await status(sandbox) == "STOPPED"
    assert [lease.state for lease in leases(state_folder)] == [LeaseState.RELEASED]


async def test_a_foreign_model_is_used_and_left_running(tmp_path: Path, state_folder: Path) -> None:
    """Nobody leases it, nobody stops it."""
    async with serving(replace(OPTIONS, model_status="RUNNING")) as sandbox:
        summary = await run(make_job(base_dir=tmp_path, limits={"tps": 5000}))
        assert summary.counts.examined == 200
        assert await status(sandbox) == "RUNNING"
    assert leases(state_folder) == []


async def test_a_budget_without_a_minute_starts_nothing(tmp_path: Path, state_folder: Path) -> None:
    """Before the model is asked for."""
    async with serving(OPTIONS) as sandbox:
        with pytest.raises(LeaseError) as caught:
            await run(make_job(base_dir=tmp_path, limits={"budget_usd": 0.1}))
        assert caught.value.code == "BUDGET_TOO_SMALL"
        assert await status(sandbox) == "STOPPED"
    assert leases(state_folder) == []


async def test_a_spent_budget_ends_the_run_and_the_model(tmp_path: Path, state_folder: Path) -> None:
    """A minute is reserved ahead: with money for one minute and a half, the run ends at once and within its budget."""
    async with serving(OPTIONS) as sandbox:
        summary = await run(make_job(base_dir=tmp_path, limits={"budget_usd": 0.2, "tps": 20}))
        assert summary.stop_reason == "budget"
        assert summary.counts.spent_micros <= 200_000
        assert await status(sandbox) == "STOPPED"


async def test_a_lease_that_ends_drains_the_run(tmp_path: Path, state_folder: Path) -> None:
    """The run stops in time by itself, with what it has; the same command goes on."""
    start = {**START, "for": "6s"}
    detector = {**DETECTOR, "start": start}
    async with serving(OPTIONS) as sandbox:
        summary = await run(make_job(base_dir=tmp_path, detector=detector, limits={"tps": 10, "timeout_s": 1}))
        assert (summary.exit_code, summary.complete) == (75, False)
        assert "lease" in (summary.error or "")
        assert await status(sandbox) == "STOPPED"
    assert [lease.state for lease in leases(state_folder)] == [LeaseState.RELEASED]


async def test_a_run_stops_first_what_is_over(tmp_path: Path, state_folder: Path) -> None:
    """A lease of an earlier, dead process: its model is stopped, and the run starts it anew."""
    seen: list[Event] = []
    async with serving(replace(OPTIONS, model_status="RUNNING")) as sandbox:
        with open_ledger(state_folder) as ledger:
            wish = Wish(arn=DEFAULT_MODEL_ARN, endpoint=sandbox.endpoint_url, for_s=0.0)
            Leases(ledger, ThisHost()).take(wish, runs=True)
        summary = await run(make_job(base_dir=tmp_path, limits={"tps": 5000}), on_event=seen.append)
        assert summary.counts.examined == 200
    assert [(lease.kind, lease.reason) for lease in leases(state_folder)] == [("time", "expired"), ("run", "asked")]
    assert any(isinstance(event, ModelNotice) and "expired" in event.message for event in seen)


async def test_without_start_a_stopped_model_is_told(tmp_path: Path, state_folder: Path) -> None:
    """Such a job needs a model that runs, and leaves it alone."""
    async with serving(OPTIONS):
        with pytest.raises(AccessError, match="STOPPED"):
            await run(make_job(base_dir=tmp_path, detector={**DETECTOR, "start": None}))
    assert not (state_folder / "leases.db").exists()


async def test_a_stop_rule_that_still_holds_starts_nothing(tmp_path: Path, state_folder: Path) -> None:
    """The same command again has nothing to examine, so that no model is needed."""
    stop = {"matches": 3}
    async with serving(OPTIONS):
        first = await run(make_job(base_dir=tmp_path, limits={"tps": 5000}, stop=stop))
        again = await run(make_job(base_dir=tmp_path, limits={"tps": 5000}, stop=stop))
    assert first.stop_reason == again.stop_reason == "matches"
    assert len(leases(state_folder)) == 1
