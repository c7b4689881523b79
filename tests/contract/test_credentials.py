"""Credentials in a run: renewed once for all, used until they expire, and the end of a run that has none any more."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from asyncfilter import run
from asyncfilter.aws import open_aws
from asyncfilter.job.spec import Aws
from asyncfilter.sandbox import BucketSpec, Latency, Sandbox, SandboxOptions, SyntheticSpec
from asyncfilter.sandbox.stats import OperationStats
from tests.kit import jobs
from tests.kit.services import aws_settings, set_faults

IMAGES = 80
OPTIONS = SandboxOptions(
    synthetic=(SyntheticSpec("raw", IMAGES),),
    buckets=(BucketSpec("clean"),),
    latency=Latency(0.02, 0.05),
    verify_signatures=True,
    credentials={"AKIASOURCE": "source-secret"},
    any_credentials=False,
    session_s=2.0,
)
ROLE = """
[profile p]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = q
[profile q]
aws_access_key_id = AKIASOURCE
aws_secret_access_key = source-secret
"""
make_job = partial(
    jobs.make_bare_job,
    rules=[{"keep": {"none": "Nothing"}}],
    actions={"keep": {"copy": "s3://clean/{key}"}},
)


@contextmanager
def assuming(sandbox: Sandbox, folder: Path) -> Iterator[None]:
    """Settings with which profile ``p`` gets temporary keys from the sandbox's STS; there is no default region."""
    config = folder / "config"
    config.write_text(ROLE)
    without = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE")
    settings = {name: value for name, value in sandbox.environment().items() if name not in without}
    with aws_settings(**settings, AWS_CONFIG_FILE=str(config)):
        yield


@pytest.mark.parametrize("client", ["fast", "aioboto3"])
async def test_keys_are_renewed_while_a_run_goes_on(client: str, tmp_path: Path) -> None:
    """No request is signed with expired keys; STS is asked once at a time; a renewal that fails is repeated."""
    job = make_job(base_dir=tmp_path, limits={"tps": 32}, aws={"client": client, "profile": "p"})
    async with Sandbox(OPTIONS) as sandbox, anyio.create_task_group() as tasks:
        with assuming(sandbox, tmp_path):
            tasks.start_soon(partial(_sts_fails, sandbox, after=1, times=1))
            summary = await run(job)
        stats = sandbox.stats().operations
    assert (summary.counts.examined, summary.counts.copied, summary.counts.failed) == (IMAGES, IMAGES, {}), summary
    assert summary.counts.billed_calls == IMAGES
    assert stats["DetectLabels"].errors == stats["CopyObject"].errors == {}
    assert stats["AssumeRole"].faulted == {"reset": 1}
    assert stats["AssumeRole"].accepted >= 2
    assert stats["AssumeRole"].in_flight_max == 1


@pytest.mark.parametrize(
    ("client", "fault"),
    [("fast", "reset:AssumeRole=100%"), ("aioboto3", "internal:AssumeRole=100%"), ("fast", "denied:AssumeRole=100%")],
)
async def test_credentials_that_end_in_a_run_end_it_with_everything_kept(
    monkeypatch: pytest.MonkeyPatch, client: str, fault: str, tmp_path: Path
) -> None:
    """Exit code 4; what the service examined is what is billed and kept, and the next run pays for the rest alone."""
    monkeypatch.setattr("asyncfilter.aws.credentials._PAUSE_S", 0.1)
    job = make_job(base_dir=tmp_path, limits={"tps": 32}, aws={"client": client, "profile": "p"})
    async with Sandbox(OPTIONS) as sandbox, anyio.create_task_group() as tasks:
        with assuming(sandbox, tmp_path):
            tasks.start_soon(partial(_sts_fails, sandbox, after=1, times=None, fault=fault))
            ended = await run(job)
            assert ended.exit_code == 4
            assert "role of profile 'p'" in (ended.error or ""), ended
            assert ended.hint
            examined = sandbox.stats().operations["DetectLabels"].billed
            assert 0 < ended.counts.billed_calls == examined < IMAGES
            await set_faults(sandbox)
            summary = await run(job)
        assert summary.counts.examined == IMAGES
        assert sandbox.stats().operations["DetectLabels"].billed == summary.counts.billed_calls == IMAGES
        assert sandbox.stats().calls_per_key_max == 1


async def _sts_fails(sandbox: Sandbox, *, after: int, times: int | None, fault: str = "reset:AssumeRole=100%") -> None:
    """Let AssumeRole fail from the ``after``-th detection on: ``times`` times, or always."""
    await _until(lambda: _stat(sandbox, "DetectLabels").attempts >= after)
    await set_faults(sandbox, fault)
    if times is not None:
        await _until(lambda: sum(_stat(sandbox, "AssumeRole").faulted.values()) >= times)
        await set_faults(sandbox)


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  the counters of the sandbox raise no event
        await anyio.sleep(0.01)


def _stat(sandbox: Sandbox, operation: str) -> OperationStats:
    return sandbox.stats().operations.get(operation, OperationStats())


# -- aws login ---------------------------------------------------------------------------------------------------------

LOGIN = "[profile p]\nlogin_session = arn:aws:iam::123456789012:user/u\nregion = us-east-1\n"
AS_SOURCE = (
    LOGIN.replace("[profile p]", "[profile s]") + "[profile p]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = s\n"
)


@pytest.mark.parametrize("config", [LOGIN, AS_SOURCE], ids=["login", "role"])
async def test_a_console_login_is_used_through_the_aws_cli(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str
) -> None:
    """The CLI gives the keys of the profile in use, and gives them again before they expire."""
    tool = tmp_path / "aws"
    tool.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        'echo "{\\"Version\\": 1, \\"AccessKeyId\\": \\"ASIALOGIN\\", \\"SecretAccessKey\\": \\"s\\",'
        ' \\"SessionToken\\": \\"t\\", \\"Expiration\\": \\"2099-01-01T00:00:00Z\\"}"\n'
    )
    tool.chmod(0o755)
    (tmp_path / "config").write_text(config)
    with aws_settings(AWS_CONFIG_FILE=str(tmp_path / "config")):
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        async with open_aws(Aws(profile="p"), timeout_s=1, connections=1) as session:
            assert await session.keys() == ("ASIALOGIN", "s", "t")
    assert set((tmp_path / "calls").read_text().splitlines()) == {
        "configure export-credentials --profile p --format process"
    }


@pytest.mark.parametrize("first", ["aws_access_key_id = AKIAFILE\naws_secret_access_key = s\n"])
async def test_keys_of_a_profile_come_before_its_login(tmp_path: Path, first: str) -> None:
    """As in the AWS CLI: ``login_session`` counts only where nothing else gives keys."""
    (tmp_path / "config").write_text(LOGIN + first)
    with aws_settings(AWS_CONFIG_FILE=str(tmp_path / "config")):
        async with open_aws(Aws(profile="p"), timeout_s=1, connections=1) as session:
            assert (await session.keys()).access_key == "AKIAFILE"
