"""A fleet gives the answer of one process, pays nothing twice in vain, and holds the rate, whatever happens to workers.

In virtual time, with whole workers in memory; ``tests/cluster`` shows the same on Ray.
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncfilter import Job
from asyncfilter.errors import CheckpointError, CredentialsError, ImageError, TransientError, UsageError, WaitEndedError
from asyncfilter.events import AnswersAdopted, TurnsReturned, WorkerJoined, WorkerLeft, WorkerLost
from asyncfilter.fleet import messages
from asyncfilter.fleet.examiner import Examiner, ExaminerPorts
from asyncfilter.fleet.messages import FRAME_BYTES, Hello
from asyncfilter.fleet.wires import WorkerFaultError
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.ports import Detector, Prepared
from asyncfilter.testing import BROKEN, Stage, run_virtually
from asyncfilter.testing.fleet import MemoryHub, MemoryWire
from asyncfilter.testing.virtual import LoopClock
from tests.kit import jobs
from tests.kit.fleets import FleetStage

NAMES = ("Robin", "Cat", "Cat", "Wing", "Cat", BROKEN)


def labels_of(number: int) -> dict[str, str]:
    """Labels of so many images."""
    return {f"{index:05d}.jpg": NAMES[index % len(NAMES)] for index in range(number)}


def cats(numbers: range) -> dict[str, str]:
    """Images of cats."""
    return {f"{number:04d}.jpg": "Cat" for number in numbers}


def make_job(*, tps: float = 200, stop: dict[str, Any] | None = None, **limits: Any) -> Job:
    """A job that keeps robins."""
    return jobs.make_job(
        rules=[{"keep": {"any": "Robin"}}, {"review": {"any": "Wing"}}],
        limits={"tps": tps, "concurrency": 400, **limits},
        stop=stop or {},
    )


def answer(stage: Stage) -> tuple[dict[str, str], list[str]]:
    """What a run is about: verdicts and copies."""
    return stage.verdicts(), stage.copied()


STOPS: dict[str, dict[str, Any]] = {
    "none": {},
    "matches": {"stop": {"matches": 20}},
    "misses": {"stop": {"misses_in_a_row": 3}},
    "max_images": {"max_images": 150},
    "errors": {"stop": {"errors": {"rate": 0.1, "window": 30}}},
}


@pytest.mark.parametrize("kind", STOPS)
@pytest.mark.parametrize("workers", [1, 4])
def test_same_answer_as_one_process(kind: str, workers: int) -> None:
    """Verdicts, copies and stop are those of one process, with faults, whatever the number of workers."""
    job = make_job(**STOPS[kind])
    alone = Stage(labels_of(400), seed=3, fault_rate=0.1)
    expected = alone.run(job)
    fleet = FleetStage(Stage(labels_of(400), seed=3, fault_rate=0.1), job, workers=workers)
    summary = fleet.run()
    assert answer(fleet.stage) == answer(alone)
    assert summary.stop_reason is expected.stop_reason
    assert summary.workers is not None
    assert summary.workers.joined == workers


@pytest.mark.parametrize("seed", range(8))
def test_worker_killed_at_a_random_moment(seed: int) -> None:
    """A killed worker costs at most what was under way on it; the answer stays, and nothing is told too cheap."""
    job = make_job()
    alone = Stage(labels_of(400), seed=seed)
    alone.run(job)
    at_s = random.Random(seed).uniform(0.1, 2.0)

    async def kill(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(at_s)
        fleet.workers[0].kill()
        await anyio.sleep(1.0)
        hub.restart(fleet.workers[0])

    fleet = FleetStage(Stage(labels_of(400), seed=seed), job)
    summary = fleet.run(kill)
    assert answer(fleet.stage) == answer(alone)
    (lost,) = fleet.said(WorkerLost)
    assert lost.reason == "process"
    made = sum(fleet.stage.detector.attempts.values())
    assert made - 400 <= lost.asks
    broken = sum(label == BROKEN for label in labels_of(400).values())
    assert summary.counts.billed_calls >= made - broken
    assert summary.counts.billed_calls <= 400 - broken + lost.asks
    assert len(fleet.said(WorkerJoined)) == 3


def test_budget_holds_with_killed_workers() -> None:
    """The ceiling is never exceeded, and what is told is never below what was made."""
    job = make_job(budget_usd=0.2)
    made: Counter[str] = Counter()

    async def kill(fleet: FleetStage, hub: MemoryHub) -> None:
        for _ in range(5):
            await anyio.sleep(0.2)
            fleet.workers[0].kill()
            await anyio.sleep(0.1)
            hub.restart(fleet.workers[0])

    fleet = FleetStage(Stage(cats(range(500)), seed=1), job)
    summary = fleet.run(kill)
    made = fleet.stage.detector.attempts
    assert summary.stop_reason == "budget"
    assert summary.counts.spent_micros <= 200_000
    assert 1_000 * sum(made.values()) <= summary.counts.spent_micros


def test_frozen_worker_returns_its_turns() -> None:
    """A worker that stands still for a second does not make the rate of any second exceed 105 % and one."""
    job = make_job(tps=400)
    times: list[float] = []

    async def freeze(fleet: FleetStage, hub: MemoryHub) -> None:
        detect = fleet.stage.detector.detect

        async def timed(image: ObjectRef) -> Detection:
            times.append(anyio.current_time())
            return await detect(image)

        fleet.stage.detector.detect = timed  # type: ignore[method-assign]
        for _ in range(3):
            await anyio.sleep(1.5)
            fleet.workers[0].freeze(1.0)

    fleet = FleetStage(Stage(cats(range(2400)), seed=1), job)
    summary = fleet.run(freeze)
    assert summary.counts.examined == 2400
    assert summary.workers is not None
    assert summary.workers.returned_turns > 0
    assert sum(event.turns for event in fleet.said(TurnsReturned)) == summary.workers.returned_turns
    assert summary.counts.attempts == sum(fleet.stage.detector.attempts.values()) == 2400
    assert summary.counts.retried == 0
    fullest = max(sum(start <= at < start + 1.0 for at in times) for start in times)
    assert fullest <= 1.05 * 400 + 1


def test_frozen_for_long_is_lost_and_welcome_again() -> None:
    """A silent worker is lost after five seconds, the run goes on meanwhile, and its late answers are kept as spare."""
    job = make_job(tps=50)

    async def freeze(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(1.0)
        fleet.workers[0].freeze(8.0)

    fleet = FleetStage(Stage(cats(range(1000)), seed=1), job)
    summary = fleet.run(freeze)
    assert summary.counts.examined == 1000
    (lost,) = fleet.said(WorkerLost)
    assert lost.reason == "silence"
    assert lost.at_unix_s - fleet.stage.events[0].at_unix_s < 7.0
    assert summary.workers is not None
    assert summary.workers.joined == 3
    assert summary.workers.late_answers > 0
    assert sum(fleet.stage.detector.attempts.values()) - 1000 <= lost.asks


def test_overload_does_not_collapse() -> None:
    """Above what workers can do, the throughput is at least nine tenths of the best."""
    took = {}
    for tps in (190, 1000):
        fleet = FleetStage(Stage(cats(range(2000)), seed=1), make_job(tps=tps), workers=2, ask_s=0.01)
        took[tps] = fleet.run().wall_s
    assert took[1000] <= took[190] / 0.9


def test_head_killed_with_workers_alive_repeats_nothing() -> None:
    """A new head takes over what the workers kept: no call is made twice."""
    job = make_job(tps=300)

    async def main(stage: Stage, at_s: float) -> FleetStage:
        fleet = FleetStage(stage, job)
        async with anyio.create_task_group() as tasks:
            hub = MemoryHub(tasks)
            for _ in range(2):
                hub.start(fleet.worker())
            with anyio.CancelScope() as head:
                tasks.start_soon(_after, at_s, head.cancel)
                # A killed head sends nothing more, not even that it ends.
                hub.close = _never  # type: ignore[method-assign]
                await _die_silently(fleet, hub)
            fleet.stage.checkpoint = fleet.stage.checkpoint.reopen()
            await anyio.sleep(0.5)
            summary = await fleet.head(hub.again())
            assert summary.counts.examined == 400
            assert summary.counts.adopted == summary.this_run.adopted
            tasks.cancel_scope.cancel()
        return fleet

    for seed in range(6):
        stage = Stage(cats(range(400)), seed=seed)
        fleet = run_virtually(partial(main, stage, 0.3 + seed / 5))
        assert max(fleet.stage.detector.attempts.values()) == 1
        (adopted,) = fleet.said(AnswersAdopted)
        assert adopted.offered >= adopted.adopted > 0


def test_every_former_worker_is_waited_for() -> None:
    """A new head that needs one worker takes over the answers of those that are slower to come, before it pays."""
    job = make_job(tps=300)

    async def main(stage: Stage) -> FleetStage:
        fleet = FleetStage(stage, job)
        async with anyio.create_task_group() as tasks:
            hub = MemoryHub(tasks)
            for _ in range(2):
                hub.start(fleet.worker())
            with anyio.CancelScope() as head:
                tasks.start_soon(_after, 0.7, head.cancel)
                hub.close = _never  # type: ignore[method-assign]
                await _die_silently(fleet, hub)
            fleet.stage.checkpoint = fleet.stage.checkpoint.reopen()
            await fleet.head(_slow_after_the_first(hub.again()))
            tasks.cancel_scope.cancel()
        return fleet

    fleet = run_virtually(partial(main, Stage(cats(range(400)), seed=1)))
    assert max(fleet.stage.detector.attempts.values()) == 1
    (adopted,) = fleet.said(AnswersAdopted)
    assert adopted.adopted > 0


def _slow_after_the_first(hub: MemoryHub) -> MemoryHub:
    """The hub, which offers all but its first worker some seconds later."""
    following = hub.next

    async def after_a_while() -> MemoryWire:
        if hub.wires:
            await anyio.sleep(3.0)
        return await following()

    hub.next = after_a_while  # type: ignore[method-assign]
    return hub


async def _after(delay_s: float, act: Any) -> None:
    await anyio.sleep(delay_s)
    act()


async def _never() -> None:
    return


async def _die_silently(fleet: FleetStage, hub: MemoryHub) -> None:
    await fleet.head(hub)


def test_two_heads_the_older_obeys() -> None:
    """Workers obey the later head; the other ends with exit 3 and pays nothing once it was told."""
    job = make_job(tps=50)

    async def main() -> None:
        first = FleetStage(Stage(cats(range(400)), seed=1), job)
        second = FleetStage(Stage(cats(range(400)), seed=1), job)
        second.stage.detector = first.stage.detector
        for _ in range(3):
            second.stage.checkpoint = second.stage.checkpoint.reopen()  # a later epoch
        async with anyio.create_task_group() as tasks:
            hub = MemoryHub(tasks)
            for _ in range(2):
                hub.start(first.worker())
            summaries: list[Any] = []

            async def older() -> None:
                summaries.append(await first.head(hub))
                summaries.append(anyio.current_time())

            hub.close = _never  # type: ignore[method-assign]
            tasks.start_soon(older)
            await anyio.sleep(2.0)
            later = await second.head(hub.again())
            assert later.stop_reason == "completed"
            summary, ended_s = summaries
            assert summary.exit_code == 3
            assert ended_s < 12.0
            assert "another run" in summary.error
            tasks.cancel_scope.cancel()

    run_virtually(main)


def test_two_heads_of_one_epoch_do_not_take_turns() -> None:
    """Runs over copies of one checkpoint have equal epochs: the first keeps its workers, the other ends with exit 3."""
    job = make_job(tps=50)

    async def main() -> None:
        first = FleetStage(Stage(cats(range(1000)), seed=1), job)
        second = FleetStage(Stage(cats(range(1000)), seed=1), job)
        async with anyio.create_task_group() as tasks:
            hub = MemoryHub(tasks)
            for _ in range(2):
                hub.start(first.worker())

            async def later() -> None:
                await anyio.sleep(2.0)
                with pytest.raises(CheckpointError, match="copy of this checkpoint"):
                    await second.head(hub.again())
                assert anyio.current_time() < 15.0

            tasks.start_soon(later)
            summary = await first.head(hub)
            assert summary.stop_reason == "completed"
            assert max(first.stage.detector.attempts.values()) == 1
            assert not first.said(WorkerLost)
            tasks.cancel_scope.cancel()

    run_virtually(main)


@pytest.mark.parametrize("cut_s", [1.0, 7.0])
def test_head_that_was_cut_off_obeys_and_nothing_is_repeated(cut_s: float) -> None:
    """Frames of the older head are dropped while a later one takes over; then it ends with exit 3 and pays nothing."""
    job = make_job(tps=25)

    async def main() -> None:
        first = FleetStage(Stage(cats(range(500)), seed=1), job)
        second = FleetStage(first.stage, job)
        made = first.stage.detector.attempts
        async with anyio.create_task_group() as tasks:
            hub = MemoryHub(tasks)
            for _ in range(2):
                hub.start(first.worker())
            ended: list[Any] = []

            async def older() -> None:
                ended.extend([await first.head(hub), anyio.current_time()])

            hub.close = _never  # type: ignore[method-assign]
            tasks.start_soon(older)
            await anyio.sleep(2.0)
            for wire in hub.wires:
                wire.is_cut = True
            await anyio.sleep(cut_s)
            paid = sum(made.values())
            await anyio.sleep(1.0)
            assert sum(made.values()) == paid
            second.stage = copy.copy(first.stage)
            second.stage.checkpoint = copy.deepcopy(first.stage.checkpoint).reopen()
            tasks.start_soon(_heal, hub)
            summary = await second.head(hub.again())
            assert summary.counts.examined == 500
            assert max(made.values()) == 1
            assert summary.counts.spent_micros >= 1_000 * sum(made.values())
            assert ended[0].exit_code == 3
            assert ended[1] < 4.0 + cut_s + 10.0
            tasks.cancel_scope.cancel()

    run_virtually(main)


async def _heal(hub: MemoryHub) -> None:
    await anyio.sleep(1.0)
    for wire in hub.wires:
        wire.is_cut = False


def test_announced_leave_repeats_nothing() -> None:
    """A spot notice: what is under way ends, then the worker goes."""
    job = make_job(tps=100)

    async def leave(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(1.0)
        assert fleet.workers[0].examiner is not None
        fleet.workers[0].examiner.leave("spot")

    fleet = FleetStage(Stage(cats(range(400)), seed=1), job)
    summary = fleet.run(leave)
    assert summary.counts.examined == 400
    assert max(fleet.stage.detector.attempts.values()) == 1
    left = [event for event in fleet.said(WorkerLeft) if event.reason == "spot"]
    assert [event.worker for event in left] == ["w1"]
    assert not fleet.said(WorkerLost)


@pytest.mark.parametrize("how", ["garbage", "foreign", "large"])
def test_lying_worker_is_lost_and_ends_nothing(how: str) -> None:
    """What a worker sends is checked: what does not fit is a lost worker, never a crash of the head."""
    job = make_job(tps=100)
    rng = random.Random(1)

    def garbled(frame: bytes) -> bytes:
        if how == "large":
            return frame + bytes(FRAME_BYTES)
        if how == "foreign":
            return frame.replace(b"Cat", b"C\xfft")
        return bytes(rng.randrange(256) if rng.random() < 0.1 else byte for byte in frame)

    async def lie(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(0.5)
        fleet.workers[0].garbles = garbled

    fleet = FleetStage(Stage(cats(range(300)), seed=1), job)
    summary = fleet.run(lie)
    assert summary.counts.examined == 300
    assert summary.exit_code == 0
    assert fleet.said(WorkerLost)[0].reason == "process"


def test_image_that_kills_its_worker_fails_alone() -> None:
    """After three lost workers it is asked alone, then it fails; no neighbour of that attempt is repeated."""
    job = make_job(tps=50)

    async def main(fleet: FleetStage, hub: MemoryHub) -> None:
        detect = fleet.stage.detector.detect

        async def deadly(image: ObjectRef) -> Detection:
            if image.key == "0050.jpg":
                fleet.stage.detector.attempts[image.key] += 1
                dead = next(worker for worker in fleet.workers if worker.name == _where.get())
                dead.kill()
                hub.restart(dead)
                await anyio.sleep_forever()
            return await detect(image)

        fleet.stage.detector.detect = deadly  # type: ignore[method-assign]
        await anyio.lowlevel.checkpoint()

    # The worker is known by the task that runs its examiner.
    fleet = FleetStage(Stage(cats(range(300)), seed=1), job, workers=3)
    _where = _Where(fleet)
    summary = fleet.run(main)
    assert summary.counts.failed == {"worker_lost": 1}
    assert summary.counts.examined == 300
    assert fleet.stage.detector.attempts["0050.jpg"] == 4
    losses = fleet.said(WorkerLost)
    assert len(losses) == 4
    assert losses[-1].asks == 1


class _Where:
    """Which worker has an image under way."""

    def __init__(self, fleet: FleetStage) -> None:
        self._fleet = fleet

    def get(self) -> str:
        for hub in self._fleet.hubs:
            for wire in hub.wires:
                examiner = wire.worker.examiner
                if examiner is not None and any(image.key == "0050.jpg" for image in examiner.under_way()):
                    return wire.name
        raise LookupError


class HoldingPreparation:
    """Prepares images in a tenth of a second; some kill their decoder."""

    def __init__(self, stage: Stage, poison: str = "") -> None:
        self.prepared: Counter[str] = Counter()
        self._stage = stage
        self._poison = poison

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        self.prepared[image.key] += 1
        await anyio.sleep(0.1)
        if image.key == self._poison:
            raise ImageError("the process that decoded it died", code="decoder_died")
        return Prepared(detector=self._stage.detector, held_bytes=1_000_000)


def test_prepared_images_stay_at_their_worker() -> None:
    """Bytes are held by the worker, attempts go there, and a lost worker's images are prepared again elsewhere."""
    job = make_job(tps=100)
    stage = Stage(cats(range(400)), seed=1)
    stage.preparation = preparation = HoldingPreparation(stage, poison="0100.jpg")

    async def kill(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(2.0)
        fleet.workers[0].kill()
        await anyio.sleep(0.5)
        hub.restart(fleet.workers[0])

    fleet = FleetStage(stage, job, preparation=preparation, cpus=8)
    summary = fleet.run(kill)
    assert summary.counts.failed == {"worker_lost": 1}
    assert preparation.prepared["0100.jpg"] == 3
    assert stage.detector.attempts["0100.jpg"] == 0
    (lost,) = fleet.said(WorkerLost)
    assert sum(stage.detector.attempts.values()) - 399 <= lost.asks
    assert summary.counts.examined == 400


def test_no_workers_ends_before_anything_is_paid() -> None:
    """Without enough workers in time nothing is paid: exit 75."""
    fleet = FleetStage(Stage(labels_of(10)), make_job(), workers=0)
    with pytest.raises(WaitEndedError) as found:
        fleet.run()
    assert found.value.exit_code == 75
    assert not fleet.stage.detector.attempts


def test_all_workers_gone_ends_after_ten_minutes() -> None:
    """Nothing is paid while there is nobody; then the run can be continued: exit 75."""
    job = make_job(tps=100)

    async def kill(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(1.0)
        for worker in fleet.workers:
            worker.kill()

    fleet = FleetStage(Stage(cats(range(400)), seed=1), job)
    summary = fleet.run(kill)
    assert summary.exit_code == 75
    assert 600 < summary.wall_s < 620


@pytest.mark.parametrize("change", [{"version": "0.0.1"}, {"fingerprint": "0" * 64}])
def test_worker_that_does_not_fit_is_refused(change: dict[str, str]) -> None:
    """Another version or another job: exit 2 if none fits, and nothing is paid."""

    async def start(fleet: FleetStage, hub: MemoryHub) -> None:
        hub.start(fleet.worker(**change))

    fleet = FleetStage(Stage(labels_of(10)), make_job(), workers=0)
    with pytest.raises(UsageError):
        fleet.run(start)
    assert not fleet.stage.detector.attempts


@pytest.mark.parametrize("others", [0, 1])
def test_a_worker_that_cannot_work_ends_no_run_that_has_others(others: int) -> None:
    """One machine without credentials is told by exit 4 only where no other worker comes within some seconds."""

    async def start(fleet: FleetStage, hub: MemoryHub) -> None:
        following, faults = hub.next, [CredentialsError("no credentials on that machine")]

        async def after_a_fault() -> MemoryWire:
            if faults:
                raise WorkerFaultError(faults.pop())
            return await following()

        hub.next = after_a_fault  # type: ignore[method-assign]
        await anyio.sleep(5.0)
        for _ in range(others):
            hub.start(fleet.worker())

    fleet = FleetStage(Stage(cats(range(10)), seed=1), make_job(), workers=0)
    if others:
        assert fleet.run(start).counts.examined == 10
    else:
        with pytest.raises(CredentialsError, match="no credentials on that machine"):
            fleet.run(start)


def test_later_head_is_named_at_the_start() -> None:
    """A head whose checkpoint is older than what the workers have seen ends at once: exit 3."""

    async def greet(fleet: FleetStage, hub: MemoryHub) -> None:
        worker = fleet.worker()
        worker.latency_s = 0.2  # before it is greeted
        hub.start(worker)
        await anyio.sleep(0.1)
        assert worker.examiner is not None
        worker.examiner._epoch = 9

    fleet = FleetStage(Stage(labels_of(10)), make_job(), workers=0)
    with pytest.raises(CheckpointError):
        fleet.run(greet)


def test_partition_is_ridden_out_or_lost() -> None:
    """A short cut delays, a long one loses the worker; neither changes the answer."""
    job = make_job(tps=100)
    for cut_s, losses in ((2.0, 0), (9.0, 1)):
        alone = Stage(labels_of(600), seed=2)
        alone.run(job)

        async def cut(fleet: FleetStage, hub: MemoryHub, cut_s: float = cut_s) -> None:
            await anyio.sleep(1.0)
            fleet.workers[0].is_cut = True
            await anyio.sleep(cut_s)
            fleet.workers[0].is_cut = False

        fleet = FleetStage(Stage(labels_of(600), seed=2), job)
        fleet.run(cut)
        assert answer(fleet.stage) == answer(alone)
        assert len(fleet.said(WorkerLost)) == losses


def test_mute_worker_is_lost_by_the_deadline_of_its_asks() -> None:
    """A worker that lives and answers nothing is lost once an ask is overdue."""
    job = make_job(tps=100)

    async def mute(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(1.0)
        fleet.workers[0].is_mute = True

    fleet = FleetStage(Stage(cats(range(300)), seed=1), job)
    summary = fleet.run(mute)
    assert summary.counts.examined == 300
    assert fleet.said(WorkerLost)


class Prepares:
    """Prepares every image at once."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """See ``Preparation``."""
        return Prepared(detector=self._detector, held_bytes=1_000)


def test_a_worker_drops_an_image_with_its_answer() -> None:
    """No frame says so: of a head with many workers each image would take one more. A failed image stays held."""
    clock, image = LoopClock(), ObjectRef(bucket="b", key="1.jpg", size_bytes=1_000, etag="e", seq=1)
    busy = TransientError("busy", may_be_billed=False)
    stage = Stage({"1.jpg": "Cat"}, fault=lambda _key, attempt: busy if attempt == 1 else None)
    ports = ExaminerPorts(detector=stage.detector, preparation=Prepares(stage.detector))

    async def ask(examiner: Examiner, kind: type, *asked: messages.HeadMessage) -> messages.WorkerMessage:
        examiner.take(messages.head_frame("s", 1, clock.monotonic(), [messages.encode(one) for one in asked]))
        for _ in range(10):
            for told in messages.read_worker_frame(await examiner.give("s")).messages:
                if isinstance(told, kind):
                    return told
        raise AssertionError(f"no {kind.__name__}")

    async def live() -> None:
        hello = Hello("v", "f", "p", "memory", 1, "n", 1.0, 0.0)
        examiner = Examiner(ports, hello, clock=clock, now=clock.monotonic)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(examiner.run)
            await anyio.sleep(0.01)
            prepare = messages.Prepare(1, messages.WireImage.of(image))
            await ask(examiner, messages.Ready, messages.Greet("v", "f", "h"), prepare)
            await ask(examiner, messages.Failed, messages.Send(2, 1, clock.monotonic(), ""))
            await ask(examiner, messages.Answered, messages.Send(3, 1, clock.monotonic(), ""))
            returned = await ask(examiner, messages.Returned, messages.Send(4, 1, clock.monotonic(), ""))
            assert returned == messages.Returned(4, 0.0, "gone")
            tasks.cancel_scope.cancel()

    run_virtually(live)
