"""``apply`` and ``undo`` over S3: killed around every call, resumed, compared.

On the sandbox with both clients, and on moto where it does as S3 does: moto heeds no ETag in a batch of deletes, so
that what changed is left there only because it is looked at first.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from moto.server import ThreadedMotoServer

from asyncfilter.aws import open_aws
from asyncfilter.aws.boto import BotoS3
from asyncfilter.aws.calls import S3Calls
from asyncfilter.aws.fast import FastS3
from asyncfilter.aws.remover import S3Remover
from asyncfilter.aws.s3 import S3Sink, S3Source
from asyncfilter.aws.versions import S3Versions
from asyncfilter.aws.wire import open_wire
from asyncfilter.clock import SystemClock
from asyncfilter.job import Job, parse_job
from asyncfilter.job.spec import Aws, ClientKind
from asyncfilter.policy.removal import Consent, RemovalSummary
from asyncfilter.ports import Remover
from asyncfilter.sandbox import Sandbox, SandboxOptions
from asyncfilter.testing import MemoryCheckpoint, ScriptedDetector
from asyncfilter.wiring import Overrides, apply, plan_apply, plan_undo, run, undo

KEYS = {"a keep.jpg": "Robin", "b.jpg": "Person", "c&d.jpg": "Person", "ü.jpg": "Person"}
GOING = sorted(key for key, label in KEYS.items() if label == "Person")


class Died(BaseException):
    """The process was killed."""


class Hurried(SystemClock):
    """A hundred seconds pass in one, so that the ramp of the rate is over at once."""

    def monotonic(self) -> float:
        """See ``Clock``."""
        return 100 * super().monotonic()

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await super().sleep(delay_s / 100)


class Mortal:
    """A remover whose process is killed before or after its n-th call."""

    def __init__(self, remover: Remover, at: int) -> None:
        self._remover = remover
        self._left = at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._remover, name)

        async def call(*args: Any) -> Any:
            self._pass()
            answer = await method(*args)
            self._pass()
            return answer

        return call

    def _pass(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Died


class Shop:
    """A server that speaks S3, a session with each client over it, and boto3 to look at what is there."""

    numbers = count(1)

    def __init__(
        self, name: str, portal: BlockingPortal, clients: dict[ClientKind, tuple[S3Calls, S3Versions]]
    ) -> None:
        self.name = name
        self.portal = portal
        self.clients = clients
        self.s3: Any = boto3.client("s3")

    def bucket(self, folder: Path, kind: str, client: ClientKind = ClientKind.FAST, *, versioned: bool) -> Bucket:
        """A bucket of its own, examined."""
        return Bucket(self, next(self.numbers), folder, kind, client, versioned=versioned)


@pytest.fixture(scope="module", params=["sandbox", "moto"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    """Either server, and this process's settings for it."""
    names = [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]
    before = {name: os.environ.pop(name) for name in names}
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())
        if request.param == "moto":
            ours = moto_environment(stack)
        else:
            sandbox = stack.enter_context(portal.wrap_async_context_manager(Sandbox(SandboxOptions())))
            ours = dict(sandbox.environment())
        ours |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        os.environ.update(ours)
        clients = stack.enter_context(portal.wrap_async_context_manager(open_clients()))
        shop = Shop(request.param, portal, clients)
        stack.callback(shop.s3.close)
        yield shop
        for name in ours:
            os.environ.pop(name, None)
    os.environ.update(before)


def moto_environment(stack: ExitStack) -> dict[str, str]:
    """A moto server, and the settings for it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    stack.callback(server.stop)
    host, port = server.get_host_and_port()
    return {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@asynccontextmanager
async def open_clients() -> AsyncIterator[dict[ClientKind, tuple[S3Calls, S3Versions]]]:
    """Both clients."""
    async with open_aws(Aws(), timeout_s=10, connections=20) as session, open_wire(session) as wire:
        kept = S3Versions(session)
        yield {ClientKind.FAST: (FastS3(session, wire), kept), ClientKind.AIOBOTO3: (BotoS3(session), kept)}


class Bucket:
    """A bucket of its own for each life, and one process after another that works on it."""

    def __init__(
        self, shop: Shop, number: int, folder: Path, kind: str, client: ClientKind, *, versioned: bool
    ) -> None:
        self.s3 = shop.s3
        self.name, self.bin = f"raw-{number}", f"bin-{number}"
        self.job = a_job(self.name, self.bin, kind, folder)
        self._portal = shop.portal
        self._calls, self._kept = shop.clients[client]
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
        """What stands there."""
        page = self.s3.list_objects_v2(Bucket=bucket or self.name)
        return sorted(item["Key"] for item in page.get("Contents", []))

    def bodies(self) -> dict[str, bytes]:
        """What stands in the source."""
        return {key: self.s3.get_object(Bucket=self.name, Key=key)["Body"].read() for key in self.keys()}

    def markers(self) -> Counter[str]:
        """Delete markers by key."""
        page = self.s3.list_object_versions(Bucket=self.name)
        return Counter(marker["Key"] for marker in page.get("DeleteMarkers", []))

    def effects(self) -> list[str]:
        """What the checkpoint holds as done."""
        return sorted(image.key for image in self._checkpoint.images if image.effects)

    def apply(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter apply``, killed at a call; None when it was."""
        said: RemovalSummary | None = self._portal.call(self._life, plan_apply, apply, at)
        return said

    def undo(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter undo``, killed at a call; None when it was."""
        said: RemovalSummary | None = self._portal.call(self._life, plan_undo, undo, at)
        return said

    async def _run(self) -> None:
        overrides = Overrides(
            source=S3Source(self._calls, self.name, ""),
            detector=ScriptedDetector({key: [(label, 90.0)] for key, label in KEYS.items()}),
            sink=S3Sink(self._calls),
            checkpoint=self._checkpoint,
            clock=Hurried(),
        )
        await run(self.job, overrides=overrides)

    async def _life(self, plan: Callable[..., Any], verb: Callable[..., Any], at: int) -> RemovalSummary | None:
        whole: Any = S3Remover(self._calls, self._kept, await self._kept.state(self.name))
        mortal: Any = Mortal(whole, at)
        images = (await plan(self.job, overrides=self._overrides(whole))).images
        return await unless_killed(
            verb(self.job, Consent(images=images, max_share=1.0), overrides=self._overrides(mortal))
        )

    def _overrides(self, remover: Remover) -> Overrides:
        self._checkpoint = self._checkpoint.reopen()
        return Overrides(remover=remover, checkpoint=self._checkpoint)


async def unless_killed(life: Awaitable[RemovalSummary]) -> RemovalSummary | None:
    """What a process says; one that is killed says nothing."""
    summary = None
    try:
        summary = await life
    except* Died:
        pass
    return summary


def a_job(bucket: str, quarantine: str, kind: str, folder: Path) -> Job:
    """Robins stay, people go."""
    action = {"move": f"s3://{quarantine}/{{key}}"} if kind == "move" else "delete"
    return parse_job(
        {
            "version": 1,
            "name": bucket,
            "source": f"s3://{bucket}/",
            "rules": [{"keep": {"any": "Robin"}}],
            "otherwise": "reject",
            "actions": {"reject": action},
        },
        base_dir=folder,
    )


MOMENTS = {"sandbox": 1, "moto": 3}
"""moto takes ten times as long: every third moment is tried there."""


@pytest.mark.slow
@pytest.mark.parametrize("client", ClientKind)
@pytest.mark.parametrize(("kind", "versioned"), [("delete", False), ("delete", True), ("move", False), ("move", True)])
def test_killed_around_every_call(shop: Shop, tmp_path: Path, kind: str, versioned: bool, client: ClientKind) -> None:
    """No object is lost, none is touched twice, and books and bucket agree; there and back."""
    if shop.name == "moto" and client is not ClientKind.FAST:
        pytest.skip("moto is a second opinion on S3, not on the client")
    for at in count(1, MOMENTS[shop.name]):
        bucket = shop.bucket(tmp_path, kind, client, versioned=versioned)
        is_dead = bucket.apply(at) is None
        check_all_there(bucket, kind)
        if is_dead:
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
        if not is_dead:
            assert at > 10
            break


def check_all_there(bucket: Bucket, kind: str) -> None:
    """What moves is here or there; what should stay is here."""
    here = set(bucket.keys())
    assert set(KEYS) - set(GOING) <= here
    assert kind != "move" or set(GOING) <= here | set(bucket.keys(bucket.bin))


@pytest.mark.parametrize("kind", ["delete", "move"])
def test_what_changed_is_left_and_reported(shop: Shop, tmp_path: Path, kind: str) -> None:
    """Replaced or deleted since it was examined: the new object stays, whatever the server makes of conditions."""
    bucket = shop.bucket(tmp_path, kind, versioned=False)
    bucket.put(GOING[0], b"newer")
    bucket.s3.delete_object(Bucket=bucket.name, Key=GOING[1])
    summary = bucket.apply()
    assert summary is not None
    assert summary.failed == {"changed": 1, "vanished": 1}
    assert bucket.bodies() == {"a keep.jpg": b"a keep.jpg", GOING[0]: b"newer"}
    assert bucket.effects() == GOING[2:]


def test_nothing_is_overwritten_there_or_back(shop: Shop, tmp_path: Path) -> None:
    """What lies in quarantine, or in the image's place, stays: also in a store that heeds no condition on copies."""
    bucket = shop.bucket(tmp_path, "move", versioned=False)
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
    assert bucket.keys(bucket.bin) == GOING  # undo leaves what it did not put there
