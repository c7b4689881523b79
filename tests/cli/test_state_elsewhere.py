"""A state in another S3 server than the sandbox: the machine is lost, and the same command goes on."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from asyncfilter.checkpoint import read_images
from asyncfilter.sandbox import Latency, SandboxOptions, SandboxProcess
from tests.kit.pictures import write_distinct
from tests.kit.services import client_with, moto_server
from tests.kit.workspace import Workspace, ended, wait_until

IMAGES = 24


@pytest.mark.slow
def test_a_lost_machine_is_restored_from_another_s3_server(tmp_path: Path) -> None:
    """Moto keeps the state, the sandbox examines; what was committed is not paid for again."""
    with (
        SandboxProcess(SandboxOptions(latency=Latency(0.1, 0.2), count_keys=True)) as sandbox,
        moto_server() as settings,
        client_with(settings, "s3") as client,
    ):
        client.create_bucket(Bucket="states")
        machines = []
        for name in ("lost", "next"):
            (tmp_path / name).mkdir()
            write_distinct(tmp_path / name / "photos", IMAGES)
            space = Workspace(
                tmp_path / name,
                sandbox,
                source="./photos",
                actions={},
                checkpoint="s3://states/jobs/",
                limits={"tps": 4, "budget_usd": 1},
            )
            space.env["AWS_ENDPOINT_URL_S3"] = settings["AWS_ENDPOINT_URL"]
            machines.append(space)
        lost, following = machines
        process = lost.start("run", "job.yaml")
        wait_until(lambda: lost.billed() >= IMAGES // 2)
        process.send_signal(signal.SIGKILL)
        ended(process)
        before = lost.billed()
        shutil.rmtree(lost.folder)
        code, out, err = following.here("state", "pull", "job.yaml", "-o", "pulled.db")
        assert code == 0, (out, err)
        committed = sum(image.detection is not None for image in read_images(following.folder / "pulled.db"))
        done = following.summary("run", "job.yaml")
        again = following.billed() - before
    assert done["examined"] == IMAGES
    assert done["state"]["restored"]["commit"] > 0
    assert again == IMAGES - committed
