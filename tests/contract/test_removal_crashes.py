"""``apply`` and ``undo`` over S3: killed around every call, resumed, compared.

On the sandbox with both clients, and on moto where it behaves as S3 does: moto ignores ETags in a batch of deletes, so
that changed objects stay there only because of the HeadObject before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from asyncfilter.aws import open_aws
from asyncfilter.aws.clients.boto import BotoS3
from asyncfilter.aws.clients.fast import FastS3
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.s3.remover import S3Remover
from asyncfilter.aws.s3.source_sink import S3Sink, S3Source
from asyncfilter.aws.s3.versions import S3Versions
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.policy.removal_plan import Consent, RemovalSummary
from asyncfilter.ports.remover import Remover
from asyncfilter.sandbox import Sandbox, SandboxOptions
from asyncfilter.testing import MemoryCheckpoint, ScriptedDetector
from asyncfilter.testing.crash import CrashPlan, crashing, unless_crashed
from asyncfilter.wiring import Overrides, plan_apply, plan_undo, undo
from asyncfilter.wiring.apply import apply
from asyncfilter.wiring.run import run
from tests.kit.clocks import FastClock
from tests.kit.jobs import make_bare_job
from tests.kit.services import aws_settings, moto_server

KEYS = {"a keep.jpg": "Robin", "b.jpg": "Person", "c&d.jpg": "Person", "ü.jpg": "Person"}
GOING = sorted(key for key, label in KEYS.items() if label == "Person")


class S3Server:
    """An S3 server, each client connected to it, and boto3 to inspect the objects."""

    numbers = count(1)

    def __init__(self, name: str, portal: BlockingPortal, clients: dict[ClientKind, tuple[S3Api, S3Versions]]) -> None:
        self.name = name
        self.portal = portal
        self.clients = clients
        self.s3: Any = boto3.client("s3")

    def bucket(self, folder: Path, kind: str, client: ClientKind = ClientKind.FAST, *, versioned: bool) -> S3Bucket:
        """A new bucket whose images were examined."""
        return S3Bucket(self, next(self.numbers), folder, kind, client, versioned=versioned)


@pytest.fixture(scope="module", params=["sandbox", "moto"])
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    """The sandbox or moto, with the settings of this process for it."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        if request.param == "moto":
            settings = stack.enter_context(moto_server())
        else:
            sandbox = stack.enter_context(portal.wrap_async_context_manager(Sandbox(SandboxOptions())))
            settings = sandbox.environment()
        stack.enter_context(aws_settings(**settings))
        clients = stack.enter_context(portal.wrap_async_context_manager(open_clients()))
        server = S3Server(request.param, portal, clients)
        stack.callback(server.s3.close)
        yield server


@asynccontextmanager
async def open_clients() -> AsyncIterator[dict[ClientKind, tuple[S3Api, S3Versions]]]:
    """S3 over both clients."""
    async with open_aws(Aws(), timeout_s=10, connections=20) as session, open_signed_client(session) as signed_client:
        kept = S3Versions(session)
        yield {ClientKind.FAST: (FastS3(session, signed_client), kept), ClientKind.AIOBOTO3: (BotoS3(session), kept)}


class S3Bucket:
    """A bucket of its own, on which processes run one after another."""

    def __init__(
        self, server: S3Server, number: int, folder: Path, kind: str, client: ClientKind, *, versioned: bool
    ) -> None:
        self.s3 = server.s3
        self.name, self.bin = f"raw-{number}", f"bin-{number}"
        action = {"move": f"s3://{self.bin}/{{key}}"} if kind == "move" else "delete"
        self.job = make_bare_job(
            base_dir=folder, name=self.name, source=f"s3://{self.name}/", actions={"reject": action}
        )
        self._portal = server.portal
        self._calls, self._kept = server.clients[client]
        for bucket in (self.name, self.bin):
            self.s3.create_bucket(Bucket=bucket)
        if versioned:
            self.s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        for key in KEYS:
            self.put(key, key.encode())
        self._checkpoint = MemoryCheckpoint()
        self._portal.call(self._run)

    def put(self, key: str, body: bytes) -> None:
        """Store an object."""
        self.s3.put_object(Bucket=self.name, Key=key, Body=body)

    def keys(self, bucket: str | None = None) -> list[str]:
        """Keys of the objects in a bucket."""
        page = self.s3.list_objects_v2(Bucket=bucket or self.name)
        return sorted(item["Key"] for item in page.get("Contents", []))

    def bodies(self) -> dict[str, bytes]:
        """Contents of the source by key."""
        return {key: self.s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in self.keys()}

    def markers(self) -> Counter[str]:
        """Delete markers by key."""
        page = self.s3.list_object_versions(Bucket=self.name)
        return Counter(marker["Key"] for marker in page.get("DeleteMarkers", []))

    def effects(self) -> list[str]:
        """Keys of the images with an effect in the checkpoint."""
        return sorted(image.key for image in self._checkpoint.images if image.effects)

    def apply(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter apply``, killed at a call; None when it was."""
        summary: RemovalSummary | None = self._portal.call(self._remove, plan_apply, apply, at)
        return summary

    def undo(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter undo``, killed at a call; None when it was."""
        summary: RemovalSummary | None = self._portal.call(self._remove, plan_undo, undo, at)
        return summary

    async def _run(self) -> None:
        overrides = Overrides(
            source=S3Source(self._calls, self.name, ""),
            detector=ScriptedDetector({key: [(label, 90.0)] for key, label in KEYS.items()}),
            sink=S3Sink(self._calls),
            checkpoint=self._checkpoint,
            clock=FastClock(),
        )
        await run(self.job, overrides=overrides)

    async def _remove(self, plan: Callable[..., Any], verb: Callable[..., Any], at: int) -> RemovalSummary | None:
        whole: Any = S3Remover(self._calls, self._kept, await self._kept.state(self.name))
        images = (await plan(self.job, overrides=self._overrides(whole))).images
        overrides = self._overrides(crashing(whole, CrashPlan(at)))
        return await unless_crashed(verb(self.job, Consent(images=images, max_share=1.0), overrides=overrides))

    def _overrides(self, remover: Remover) -> Overrides:
        self._checkpoint = self._checkpoint.reopen()
        return Overrides(remover=remover, checkpoint=self._checkpoint)


CRASH_POINT_STEP = {"sandbox": 1, "moto": 3}
"""The distance of the crash points tested: moto takes ten times as long, so every third is tested there."""


@pytest.mark.slow
@pytest.mark.parametrize("client", ClientKind)
@pytest.mark.parametrize(("kind", "versioned"), [("delete", False), ("delete", True), ("move", False), ("move", True)])
def test_killed_around_every_call(
    server: S3Server, tmp_path: Path, kind: str, versioned: bool, client: ClientKind
) -> None:
    """No object is lost or changed twice, and checkpoint and bucket agree, after ``apply`` and after ``undo``."""
    if server.name == "moto" and client is not ClientKind.FAST:
        pytest.skip("moto is a second opinion on S3, not on the client")
    for at in count(1, CRASH_POINT_STEP[server.name]):
        bucket = server.bucket(tmp_path, kind, client, versioned=versioned)
        was_killed = bucket.apply(at) is None
        check_all_there(bucket, kind)
        if was_killed:
            bucket.apply()
        assert bucket.keys() == sorted(set(KEYS) - set(GOING))
        assert bucket.keys(bucket.bin) == (GOING if kind == "move" else [])
        assert (bucket.effects(), bucket.markers()) == (GOING, Counter(GOING) if versioned else Counter())
        if kind == "move" or versioned:
            if bucket.undo(at) is None:
                check_all_there(bucket, kind)
                bucket.undo()
            assert bucket.bodies() == {key: key.encode() for key in KEYS}
            assert (bucket.keys(bucket.bin), bucket.effects(), bucket.markers()) == ([], [], Counter())
        if not was_killed:
            assert at > 10
            break


def check_all_there(bucket: S3Bucket, kind: str) -> None:
    """Check that each image to keep is in the source and each moved image in the source or in quarantine."""
    here = set(bucket.keys())
    assert set(KEYS) - set(GOING) <= here
    assert kind != "move" or set(GOING) <= here | set(bucket.keys(bucket.bin))


@pytest.mark.parametrize("kind", ["delete", "move"])
def test_what_changed_is_left_and_reported(server: S3Server, tmp_path: Path, kind: str) -> None:
    """A new object under the key of an examined one stays, also on a server that ignores conditions."""
    bucket = server.bucket(tmp_path, kind, versioned=False)
    bucket.put(GOING[0], b"newer")
    bucket.s3.delete_object(Bucket=bucket.name, Key=GOING[1])
    summary = bucket.apply()
    assert summary is not None
    assert summary.failed == {"changed": 1, "vanished": 1}
    assert bucket.bodies() == {"a keep.jpg": b"a keep.jpg", GOING[0]: b"newer"}
    assert bucket.effects() == GOING[2:]


def test_nothing_is_overwritten_there_or_back(server: S3Server, tmp_path: Path) -> None:
    """Other objects at the target and under the image's key stay, also in a store that ignores conditions on copies."""
    bucket = server.bucket(tmp_path, "move", versioned=False)
    bucket.s3.put_object(Bucket=bucket.bin, Key=GOING[0], Body=b"older")
    bucket.s3.put_object(Bucket=bucket.bin, Key=GOING[1], Body=GOING[1].encode())  # the same content, by chance
    there = bucket.apply()
    assert there is not None
    assert (there.moved, there.failed) == (2, {"target_exists": 1})
    assert bucket.s3.get_object(Bucket=bucket.bin, Key=GOING[0])["Body"].read() == b"older"
    assert bucket.keys() == sorted({*KEYS} - {*GOING[1:]})
    bucket.put(GOING[2], b"newer")
    back = bucket.undo()
    assert back is not None
    assert (back.restored, back.failed) == (1, {"source_exists": 1})
    assert bucket.bodies() == {key: key.encode() for key in KEYS} | {GOING[2]: b"newer"}
    assert bucket.keys(bucket.bin) == GOING  # undo leaves objects that apply did not put there
