"""What a head takes over, waits for and leaves behind, whatever ends it; and what arrives late. In virtual time."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from asyncfilter import Job
from asyncfilter.errors import WaitEndedError
from asyncfilter.events import AnswersAdopted, WorkerLost, ignore
from asyncfilter.fleet.crew import Crew
from asyncfilter.fleet.kept import KeptAnswers
from asyncfilter.fleet.messages import WireImage, encode_answer
from asyncfilter.fleet.wait_queue import WaitQueue
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.ports import Prepared
from asyncfilter.records.images import StoredImage
from asyncfilter.testing import LoopClock, Stage, run_virtually
from asyncfilter.testing.fleet import MemoryHub, MemoryWire
from tests.kit import jobs
from tests.kit.fleets import FleetStage


def cats(number: int) -> dict[str, str]:
    """Images of cats."""
    return {f"{index:05d}.jpg": "Cat" for index in range(number)}


def make_job(tps: float) -> Job:
    """A job that keeps robins."""
    return jobs.make_job(rules=[{"keep": {"any": "Robin"}}], limits={"tps": tps, "concurrency": 400})


def slow_stage(number: int, latency_s: float) -> Stage:
    """Images of cats whose calls take long."""
    stage = Stage(cats(number), seed=1)
    stage.latency_s.update(dict.fromkeys(stage.latency_s, latency_s))
    return stage


async def never() -> None:
    """Do nothing: a killed head tells nobody."""


def spare_rows(fleet: FleetStage) -> list[StoredImage]:
    """Answers that are stored without a decision."""
    return [row for row in fleet.stage.checkpoint.images if row.detection is not None and row.decision is None]


def test_late_answers_are_stored_when_they_arrive() -> None:
    """Those of a worker that comes back are durable while the run goes on, and have ids of their own."""
    found: list[tuple[int, int]] = []

    async def freeze(fleet: FleetStage, hub: MemoryHub) -> None:
        await anyio.sleep(1.0)
        fleet.workers[0].freeze(5.5)
        while not (spare := spare_rows(fleet)):  # noqa: ASYNC110  the checkpoint tells nobody
            await anyio.sleep(0.1)
        found.append((len(spare), len(fleet.stage.checkpoint.images)))

    fleet = FleetStage(slow_stage(1000, 6.0), make_job(50))
    summary = fleet.run(freeze)
    assert summary.counts.examined == 1000
    ((stored, rows),) = found
    assert stored > 0
    assert rows < 1000
    assert summary.workers is not None
    assert summary.workers.late_answers >= stored
    assert sum(row.seq is not None for row in fleet.stage.checkpoint.images) == 1000


def test_cluster_that_has_ended_ends_the_run_while_workers_answer() -> None:
    """Ray's head is gone: its nodes follow, so the run drains before they do, and repeats nothing."""

    class EndedHub(MemoryHub):
        async def next(self) -> MemoryWire:
            if len(self.wires) < 2:
                return await super().next()
            await anyio.sleep(2.0)
            raise WaitEndedError("the Ray has ended")

    async def main() -> FleetStage:
        fleet = FleetStage(Stage(cats(600), seed=1), make_job(100))
        async with anyio.create_task_group() as tasks:
            hub = EndedHub(tasks)
            for _ in range(2):
                hub.start(fleet.worker())
            summary = await fleet.head(hub)
            assert summary.exit_code == 75
            assert summary.wall_s < 10
            assert 0 < summary.counts.examined < 600
            tasks.cancel_scope.cancel()
        return fleet

    fleet = run_virtually(main)
    assert max(fleet.stage.detector.attempts.values()) == 1
    assert not fleet.said(WorkerLost)


def test_older_head_leaves_the_workers_to_the_later_one() -> None:
    """The older one ends; the workers, which obey the later one, live on."""

    async def main() -> None:
        first = FleetStage(Stage(cats(400), seed=1), make_job(50))
        second = FleetStage(Stage(cats(400), seed=1), make_job(50))
        for _ in range(3):
            second.stage.checkpoint = second.stage.checkpoint.reopen()  # a later epoch
        async with anyio.create_task_group() as tasks:
            hub = MemoryHub(tasks)
            for _ in range(2):
                hub.start(first.worker())
            codes: list[int] = []

            async def older() -> None:
                codes.append((await first.head(hub)).exit_code)

            tasks.start_soon(older)
            await anyio.sleep(2.0)
            later = await second.head(hub.again())
            assert (later.stop_reason, codes) == ("completed", [3])
            assert not second.said(WorkerLost)
            tasks.cancel_scope.cancel()

    run_virtually(main)


async def _killed_head(fleet: FleetStage, tasks: TaskGroup, at_s: float) -> MemoryHub:
    """A head that is killed, and the hub that another one finds."""
    hub = MemoryHub(tasks)
    hub.close = never  # type: ignore[method-assign]
    for _ in range(2):
        hub.start(fleet.worker())
    with anyio.move_on_after(at_s):
        await fleet.head(hub)
    fleet.stage.checkpoint = fleet.stage.checkpoint.reopen()
    return hub.again()


@pytest.mark.parametrize("wait_s", [0.0, 0.0002, 0.002, 0.02, 0.2, 1.5])
def test_interrupted_before_it_has_taken_over_what_workers_keep(wait_s: float) -> None:
    """What was paid for is stored by then, or still kept by workers that live: the next head pays for nothing twice."""

    async def main() -> None:
        fleet = FleetStage(slow_stage(300, 2.0), make_job(100))
        async with anyio.create_task_group() as tasks:
            found = await _killed_head(fleet, tasks, 1.5)
            with anyio.move_on_after(wait_s):
                await fleet.head(found)
            fleet.stage.checkpoint = fleet.stage.checkpoint.reopen()
            following = found.again()
            for worker in fleet.workers:
                if worker.is_dead:
                    tasks.start_soon(worker.run)
                    following.start(worker)
            summary = await fleet.head(following)
            assert summary.counts.examined == 300
            tasks.cancel_scope.cancel()
        assert max(fleet.stage.detector.attempts.values()) == 1

    run_virtually(main)


def test_more_kept_answers_than_fit_into_a_message_are_told_durable() -> None:
    """A worker keeps nothing in the end, however much it had."""
    kept = KeptAnswers()
    answer = encode_answer(Detection(labels=(), model_version="3.0"))
    for number in range(21_000):
        kept.keep(WireImage("bucket", f"{number:05d}", 1, "e", 1), answer)

    async def start(fleet: FleetStage, hub: MemoryHub) -> None:
        hub.start(fleet.worker(kept=kept))

    fleet = FleetStage(Stage(cats(50), seed=1), make_job(100), workers=0)
    fleet.run(start)
    (adopted,) = fleet.said(AnswersAdopted)
    assert (adopted.offered, len(kept)) == (21_000, 0)


def test_numbers_of_a_process_that_has_ended_are_not_told_to_the_next() -> None:
    """They may stand for other answers there, which are not durable."""
    told: list[list[int]] = []

    class OneLink:
        process = "first"

        def durable(self, numbers: list[int]) -> None:
            told.append(numbers)

    async def main() -> None:
        crew = Crew(cast("Any", None), cast("Any", None), engine="", emit=ignore, clock=LoopClock(), now=lambda: 0.0)
        link = cast("Any", OneLink())
        image = ObjectRef(bucket="raw", key="a", size_bytes=1, etag="e", seq=1)
        crew.numbered(link, 1, image)
        link.process = "second"
        crew.durable([("a", "e")])
        assert not told
        crew.numbered(link, 1, image)
        crew.durable([("a", "e")])
        assert told == [[1]]

    run_virtually(main)


def test_full_worker_is_left_alone() -> None:
    """One that can keep no more answers is the least loaded, and would get, and return, every turn."""

    async def start(fleet: FleetStage, hub: MemoryHub) -> None:
        hub.start(fleet.worker())
        hub.start(fleet.worker(kept=KeptAnswers(most_bytes=0)))

    fleet = FleetStage(Stage(cats(1000), seed=1), make_job(200), workers=0)
    summary = fleet.run(start)
    assert summary.counts.examined == 1000
    assert summary.workers is not None
    assert summary.workers.returned_turns < 200


def test_held_image_that_kills_its_worker_is_alone_for_its_last_try() -> None:
    """Also where its worker holds others: nothing else is under way there then."""
    stage = Stage(cats(300), seed=1)

    class Holding:
        async def prepare(self, _image: ObjectRef) -> Prepared | None:
            await anyio.sleep(0.05)
            return Prepared(detector=stage.detector, held_bytes=1000)

    async def main(fleet: FleetStage, hub: MemoryHub) -> None:
        detect = stage.detector.detect

        async def deadly(image: ObjectRef) -> Detection:
            if image.key == "00050.jpg":
                stage.detector.attempts[image.key] += 1
                dead = next(one for one in fleet.workers if one.examiner and image in one.examiner.under_way())
                dead.kill()
                hub.restart(dead)
                await anyio.sleep_forever()
            return await detect(image)

        stage.detector.detect = deadly  # type: ignore[method-assign]
        await anyio.lowlevel.checkpoint()

    stage.preparation = preparation = Holding()
    fleet = FleetStage(stage, make_job(50), workers=3, cpus=4, preparation=preparation)
    summary = fleet.run(main)
    assert summary.counts.failed == {"worker_lost": 1}
    losses = fleet.said(WorkerLost)
    assert len(losses) == 4
    assert losses[-1].asks == 1


def test_no_more_are_let_in_than_there_is_room_for() -> None:
    """Also when room is offered twice before those that got some go on; who is cancelled gives it back."""
    room = 2

    def take() -> bool | None:
        nonlocal room
        if not room:
            return None
        room -= 1
        return True

    def give_back(_place: bool) -> None:
        nonlocal room
        room += 1

    async def main() -> None:
        nonlocal room
        queue: WaitQueue[bool] = WaitQueue(take, give_back)
        let_in: list[bool | None] = []
        room = 0

        async def wait() -> None:
            let_in.append(await queue.wait())

        waiting = [asyncio.create_task(wait()) for _ in range(5)]
        await anyio.lowlevel.checkpoint()
        room = 2
        queue.serve()
        queue.serve()
        await anyio.lowlevel.checkpoint()
        assert (let_in, room) == ([True, True], 0)
        room = 1
        queue.serve()
        assert room == 0
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert (let_in, room) == ([True, True], 1)

    run_virtually(main)
