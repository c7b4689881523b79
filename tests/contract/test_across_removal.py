"""``run``, ``apply`` and ``undo`` between a folder and S3: killed around every call and every request, then resumed."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from rich.console import Console

from asyncfilter.aws import AwsClients
from asyncfilter.errors import TransientError
from asyncfilter.folders.end import FolderEnd
from asyncfilter.job import Job
from asyncfilter.model import Counts, StoreKind
from asyncfilter.policy.removal_plan import Consent, RemovalSummary
from asyncfilter.report.terminal.apply import draw_plan
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.testing import MemoryCheckpoint, ScriptedDetector
from asyncfilter.testing.crash import CrashPlan, crashing, unless_crashed
from asyncfilter.transfers.routing import RoutedSink
from asyncfilter.wiring import Overrides, plan_apply, plan_undo, refilter, undo
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.apply import apply
from asyncfilter.wiring.run import run
from asyncfilter.wiring.stores import open_remover, open_store
from tests.kit.clocks import FastClock
from tests.kit.jobs import make_bare_job
from tests.kit.pictures import plain
from tests.kit.services import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

LABELS = {"a robin.jpg": "Robin", "deep/b.jpg": "Person", "deep/c&d.jpg": "Person", "ü.jpg": "Person"}
EVIL = {"../evil.jpg": "Person"}
GOING = sorted(key for key, label in LABELS.items() if label == "Person")
STAYING = {"a robin.jpg": b"a robin.jpg"}
ALL = {key: key.encode() for key in LABELS}
BUCKETS = 400
"""Each process has one of its own; the last test fails when there are too few."""

DIRECTIONS = ["up", "down", "down, versions"]


class Service:
    """The sandbox, and the clients of this process; requests have crash points where a plan is given."""

    numbers = count(1)

    def __init__(self, sandbox: Sandbox, clients: AwsClients) -> None:
        self.sandbox = sandbox
        self._clients = clients

    def account(self, plan: CrashPlan | None = None) -> Any:
        """An ``Account``."""
        s3 = self._clients.s3 if plan is None else crashing(self._clients.s3, plan)
        clients = SimpleNamespace(session=self._clients.session, s3=s3)

        async def give() -> Any:
            return clients

        return SimpleNamespace(clients=give)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[Service]:
    """The sandbox, and clients over it."""
    async with AsyncExitStack() as stack:
        options = SandboxOptions(buckets=tuple(BucketSpec(f"images-{number}") for number in range(BUCKETS)))
        sandbox = await stack.enter_async_context(serving(options))
        account = Account(make_bare_job(), stack, connections=20)
        yield Service(sandbox, await account.clients())


class Examined:
    """Images that were examined, in one kind of store, whose job has targets in the other."""

    def __init__(self, service: Service, root: Path, direction: str, action: str = "move") -> None:
        number = next(service.numbers)
        self.service, self.is_up = service, direction == "up"
        self.bucket, self.folder = f"images-{number}", root / f"folder {number}"
        service.sandbox.bucket(self.bucket).versioning = "Enabled" if "versions" in direction else None
        self.folder.mkdir()
        for key in LABELS:
            self.put(key, key.encode())
        self.checkpoint = MemoryCheckpoint()
        self.job = self.a_job({action: self.target})

    @property
    def target(self) -> str:
        """The template of the targets."""
        return f"s3://{self.bucket}/{{key}}" if self.is_up else f"{self.folder}/{{key}}"

    def a_job(self, action: Any) -> Job:
        """A job that keeps robins and does something with people."""
        source = str(self.folder) if self.is_up else f"s3://{self.bucket}/"
        return make_bare_job(base_dir=self.folder.parent, source=source, actions={"reject": action})

    def put(self, key: str, body: bytes, *, at_target: bool = False) -> None:
        """Store an image in the source, or an object at its target, like another program."""
        if self.is_up is at_target:
            self.service.sandbox.put(self.bucket, key, body)
        else:
            path = self.folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def objects(self) -> dict[str, bytes]:
        """Bodies in S3."""
        bucket = self.service.sandbox.bucket(self.bucket)
        found = {key: bucket.get(key) for key in LABELS}
        return {key: stored.body for key, stored in found.items() if stored is not None}

    def files(self) -> dict[str, bytes]:
        """Contents of the folder; parts that a killed process left do not count."""
        paths = [path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".part"]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def here(self) -> dict[str, bytes]:
        """The source."""
        return self.files() if self.is_up else self.objects()

    def there(self) -> dict[str, bytes]:
        """The targets."""
        return self.objects() if self.is_up else self.files()

    async def run(self, at: int = 0) -> Any:
        """``asyncfilter run``, killed at a request; None when it was."""
        plan = CrashPlan()
        store = await open_store(self.job, Overrides(), self.service.account(plan))
        begin(plan, at)
        overrides = Overrides(
            source=store.source,
            detector=ScriptedDetector({key: [(label, 90.0)] for key, label in (LABELS | EVIL).items()}),
            sink=store.sink,
            checkpoint=self.checkpoint,
            clock=FastClock(),
        )
        try:
            return await unless_crashed(run(self.job, overrides=overrides))
        finally:
            self.checkpoint = self.checkpoint.reopen()

    async def apply(self, at: int = 0, **more: Any) -> RemovalSummary | None:
        """``asyncfilter apply``; None when it was killed."""
        return await self._remove(plan_apply, apply, at, **more)

    async def undo(self, at: int = 0) -> RemovalSummary | None:
        """``asyncfilter undo``; None when it was killed."""
        return await self._remove(plan_undo, undo, at)

    async def _remove(self, planned: Any, verb: Any, at: int, **more: Any) -> RemovalSummary | None:
        images = (await planned(self.job, overrides=await self._overrides(), **more)).images
        overrides, consent = await self._overrides(at), Consent(images=images, max_share=1.0)
        try:
            return await unless_crashed(verb(self.job, consent, overrides=overrides, **more))
        finally:
            self.checkpoint = self.checkpoint.reopen()

    async def _overrides(self, at: int = 0) -> Overrides:
        self.checkpoint = self.checkpoint.reopen()
        plan = CrashPlan()
        remover = await open_remover(self.job, Overrides(), self.service.account(plan))
        begin(plan, at)
        return Overrides(remover=crashing(remover, plan), checkpoint=self.checkpoint)


def begin(plan: CrashPlan, at: int) -> None:
    """Count from here: what is asked while ports are opened changes nothing."""
    plan.at = at
    plan.moments.clear()


@pytest.mark.slow
@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_a_kill_around_every_call(service: Service, tmp_path: Path, direction: str) -> None:
    """No image is lost, left over or moved twice; ``undo`` brings every one back, and no call is paid for again."""
    for at in count(1):
        images = Examined(service, tmp_path, direction)
        await images.run()
        was_killed = await images.apply(at) is None
        assert images.here() | images.there() == ALL
        if was_killed:
            await images.apply()
        assert (images.here(), sorted(images.there())) == (STAYING, GOING)
        if await images.undo(at) is None:
            assert images.here() | images.there() == ALL
            await images.undo()
        assert (images.here(), images.there()) == (ALL, {})
        assert (await images.run()).this_run.calls == 0
        if not was_killed:
            assert at > 20
            break


@pytest.mark.parametrize("direction", DIRECTIONS[:2])
async def test_a_run_that_is_killed_around_every_request_copies_every_image(
    service: Service, tmp_path: Path, direction: str
) -> None:
    """Once; no copy is half, and the source is as it was."""
    for at in count(1):
        images = Examined(service, tmp_path, direction, "copy")
        was_killed = await images.run(at) is None
        assert images.there().items() <= ALL.items()
        if was_killed:
            await images.run()
        assert (images.here(), sorted(images.there())) == (ALL, GOING)
        assert list(images.folder.rglob("*.part")) == []
        if not was_killed:
            assert at > 4
            break


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_what_changed_or_vanished_stays_as_it_is(service: Service, tmp_path: Path, direction: str) -> None:
    """And is reported; nothing that another program put there is overwritten, neither there nor back."""
    images = Examined(service, tmp_path, direction)
    await images.run()
    images.put(GOING[0], b"newer")
    images.put(GOING[1], b"older", at_target=True)
    summary = await images.apply()
    assert summary is not None
    assert (summary.moved, summary.failed) == (1, {"changed": 1, "target_exists": 1})
    assert images.here() == STAYING | {GOING[0]: b"newer", GOING[1]: GOING[1].encode()}
    assert images.there() == {GOING[1]: b"older", GOING[2]: GOING[2].encode()}
    images.put(GOING[2], b"in its place")
    back = await images.undo()
    assert back is not None
    assert (back.restored, back.failed) == (0, {"source_exists": 1})
    assert images.here()[GOING[2]] == b"in its place"
    assert images.there()[GOING[2]] == GOING[2].encode()


@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_an_equal_object_at_the_target_is_no_copy_of_ours(
    service: Service, tmp_path: Path, direction: str
) -> None:
    """The move counts it as the copy; undo leaves it there."""
    images = Examined(service, tmp_path, direction)
    await images.run()
    images.put(GOING[0], GOING[0].encode(), at_target=True)
    await images.apply()
    assert (images.here(), sorted(images.there())) == (STAYING, GOING)
    await images.undo()
    assert (images.here(), sorted(images.there())) == (ALL, GOING[:1])


@pytest.mark.parametrize("direction", DIRECTIONS[:2])
async def test_no_image_goes_while_its_copy_is_not_verified(
    service: Service, tmp_path: Path, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that is taken away or replaced between two steps keeps the image in the source."""
    images = Examined(service, tmp_path, direction)
    await images.run()
    account = service.account()
    remover: Any = await open_remover(images.job, Overrides(), account)
    real = remover.copy

    async def spoilt(effect: Any) -> Any:
        copied = await real(effect)
        images.put(effect.source.key, b"replaced", at_target=True)
        return copied

    monkeypatch.setattr(remover, "copy", spoilt)
    overrides = Overrides(remover=remover, checkpoint=images.checkpoint)
    summary = await apply(images.job, Consent(images=3, max_share=1.0), overrides=overrides)
    assert (summary.moved, summary.failed) == (0, {"not_verified": 3})
    assert images.here() == ALL


@pytest.mark.parametrize("direction", DIRECTIONS[:2])
async def test_stale_copies_in_the_other_store_are_deleted(service: Service, tmp_path: Path, direction: str) -> None:
    """While their images exist, and where the bytes show that they are copies; the former target is named."""
    images = Examined(service, tmp_path, direction, "copy")
    await images.run()
    images.put(GOING[1], b"somebody's own", at_target=True)
    images.job = images.a_job("none")
    await images.run()
    place = f"s3://{images.bucket}/" if images.is_up else f"{images.folder}"
    summary = await images.apply(stale=True, allow_places=(place,))
    assert summary is not None
    assert (summary.cleared, summary.failed) == (2, {"target_exists": 1})
    assert (images.here(), images.there()) == (ALL, {GOING[1]: b"somebody's own"})


async def test_a_duplicate_goes_while_its_original_is_in_another_store(service: Service, tmp_path: Path) -> None:
    """A moved original has another ETag there; its bytes are compared."""
    images = Examined(service, tmp_path, "down")
    for key in GOING:
        images.put(key, b"all the same")
    images.job = make_bare_job(
        source=f"s3://{images.bucket}/", actions={"reject": {"move": images.target}, "duplicate": "delete"}
    )
    await images.run()
    summary = await images.apply()
    assert summary is not None
    assert (summary.moved, summary.deleted, summary.failed) == (1, 2, {})
    assert (images.here(), images.there()) == (STAYING, {GOING[0]: b"all the same"})


async def test_targets_in_both_kinds_of_stores(service: Service, tmp_path: Path) -> None:
    """One job may copy within its store and into another."""
    images = Examined(service, tmp_path, "up")
    images.job = make_bare_job(
        base_dir=tmp_path,
        source=str(images.folder),
        actions={"keep": {"link": "./kept/{key}"}, "reject": {"copy": images.target}},
    )
    await images.run()
    assert (tmp_path / "kept/a robin.jpg").samefile(images.folder / "a robin.jpg")
    assert sorted(images.there()) == GOING


async def test_a_transfer_in_passing_trouble_is_repeated(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the run, as every action."""
    images = Examined(service, tmp_path, "down", "copy")
    real, tried = FolderEnd.write, [0]

    async def flaky(*args: Any, **more: Any) -> Any:
        tried[0] += 1
        if tried[0] % 2:
            raise TransientError("a hiccup", may_be_billed=False)
        return await real(*args, **more)

    monkeypatch.setattr(FolderEnd, "write", flaky)
    await images.run()
    assert sorted(images.there()) == GOING
    assert images.job.source.store is StoreKind.S3


@pytest.mark.parametrize("when", ["while it runs", "before the refilter", "before apply"])
async def test_other_bytes_under_the_same_time_and_inode_stay(
    service: Service, tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run that examined a file recorded the hash of its bytes, which its copy must have."""
    bucket, path = f"images-{next(service.numbers)}", tmp_path / "photos" / "picture.png"
    path.parent.mkdir()
    path.write_bytes(plain("PNG"))

    def job(**actions: Any) -> Job:
        return make_bare_job(
            base_dir=tmp_path,
            source="./photos",
            rules=[{"keep": {"none": "Submarine"}}],
            detector={"region": "us-east-1"},
            actions=actions,
        )

    def spoil() -> None:
        before = path.stat()
        with path.open("r+b") as file:
            file.write(b"other")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    copying = job(keep={"copy": f"s3://{bucket}/{{key}}"})
    if when == "while it runs":
        real = RoutedSink.perform

        async def late(sink: RoutedSink, wanted: Any) -> None:
            spoil()
            await real(sink, wanted)

        monkeypatch.setattr(RoutedSink, "perform", late)
        counts = (await run(copying)).counts
    elif when == "before the refilter":
        await run(job())
        spoil()
        counts = (await refilter(copying)).counts
    else:
        moving = job(keep={"move": f"s3://{bucket}/{{key}}"})
        assert (await run(moving)).pending_removals == 1
        spoil()
        summary = await apply(moving, Consent(images=1, max_share=1.0))
        counts = Counts(failed=summary.failed, copied=summary.moved)
    assert (counts.failed, counts.copied) == ({"changed": 1}, 0)
    assert service.sandbox.keys(bucket) == []
    assert path.exists()


@pytest.mark.parametrize(("direction", "is_told"), [("up", False), ("down", True), ("down, versions", False)])
async def test_the_plan_tells_what_does_not_come_back(
    service: Service, tmp_path: Path, direction: str, *, is_told: bool
) -> None:
    """An object that was moved into a file comes back without its tags, unless the bucket keeps versions."""
    images = Examined(service, tmp_path, direction)
    await images.run()
    console = Console(width=200)
    with console.capture() as captured:
        console.print(draw_plan(await plan_apply(images.job, overrides=await images._overrides()), 1.0))
    assert ("files have no tags" in captured.get()) is is_told


async def test_a_hostile_key_fails_alone(service: Service, tmp_path: Path) -> None:
    """The images beside it are copied, moved and brought back."""
    for action in ("copy", "move"):
        images = Examined(service, tmp_path, "down", action)
        service.sandbox.put(images.bucket, "../evil.jpg", b"evil")
        summary = await images.run()
        if action == "copy":
            assert (summary.counts.copied, summary.counts.failed) == (3, {"target_unsafe": 1})
        else:
            moved = await images.apply()
            assert moved is not None
            assert (moved.moved, moved.failed) == (3, {"target_unsafe": 1})
            assert service.sandbox.bucket(images.bucket).get("../evil.jpg") is not None
        assert sorted(images.there()) == GOING
        assert not (tmp_path / "evil.jpg").exists()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("direction", DIRECTIONS)
async def test_kills_and_other_programs_in_any_order(
    service: Service, tmp_path: Path, direction: str, seed: int
) -> None:
    """What others wrote stays as it is; what they left alone is never lost, and is where it was after the last undo."""
    images, chance = Examined(service, tmp_path, direction), random.Random(seed)
    await images.run()
    others: dict[tuple[bool, str], bytes] = {}
    for number in range(5):
        verb = chance.choice([images.apply, images.undo])
        await verb(chance.randrange(1, 70))
        if chance.random() < 0.5:
            at_target, key, body = chance.random() < 0.5, chance.choice(GOING), b"of others %d" % number
            images.put(key, body, at_target=at_target)
            others[at_target, key] = body
        check_others(images, others)
    await images.apply()
    check_others(images, others)
    await images.undo()
    check_others(images, others)
    for key in set(LABELS) - {key for _, key in others}:
        assert images.here()[key] == key.encode()
        assert key not in images.there()


def check_others(images: Examined, others: dict[tuple[bool, str], bytes]) -> None:
    """Check that the objects of other programs are there, and every image that they left alone."""
    here, there = images.here(), images.there()
    for (at_target, key), body in others.items():
        assert (there if at_target else here)[key] == body
    for key in set(LABELS) - {key for _, key in others}:
        assert key.encode() in {here.get(key), there.get(key)}
        assert {here.get(key), there.get(key)} <= {key.encode(), None}
