"""People's answers beside a state: two machines add and ship at the same time, requests fail, and no answer is lost."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncfilter.answers import open_answers
from asyncfilter.clock import SystemClock
from asyncfilter.errors import AsyncFilterError, ThrottleCause, ThrottledError, TransientError
from asyncfilter.model import S3Location
from asyncfilter.ports.state_store import Refusal
from asyncfilter.state.answers_shipping import AnswersShipping
from asyncfilter.state.fetching import read_head
from asyncfilter.state.restore import restore_newest
from asyncfilter.testing.state_store import LostAnswerError, MemoryStateStore, no_fault
from tests.kit.answers import new_answer, subject
from tests.kit.states import PLACE
from tests.unit.test_state_owner import Machine

pytestmark = pytest.mark.anyio

ROUNDS = 4


class Quick(SystemClock):
    """Sleeps a moment only, whatever is asked for."""

    async def sleep(self, delay_s: float) -> None:
        """See ``Clock``."""
        await super().sleep(min(delay_s, 0.01))


class Trouble:
    """A fifth of all requests fails, or is carried out without an answer."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, operation: str, _place: S3Location) -> object:
        """See ``Fault``."""
        drawn = self._random.random()
        if operation == "put" and drawn < 0.1:
            raise LostAnswerError
        if operation == "put" and drawn < 0.15:
            return Refusal.CONFLICT
        if drawn < 0.2:
            raise ThrottledError("SlowDown", cause=ThrottleCause.RATE)
        if drawn < 0.22:
            raise TransientError("reset", may_be_billed=True)
        return None


def shipping(store: MemoryStateStore, path: Path, host: str) -> AnswersShipping:
    """One machine."""
    return AnswersShipping(
        store=store,
        place=PLACE.answers,
        path=path,
        host=Machine(host),
        clock=Quick(),
        now_s=time.monotonic,
        report=lambda _: None,
    )


def keys_in(path: Path) -> set[str]:
    """The images that were answered."""
    with closing(sqlite3.connect(path)) as db:
        return {key for (key,) in db.execute("SELECT key FROM answer JOIN subject ON subject.id = answer.subject")}


async def answered(machine: AnswersShipping, name: str) -> set[str]:
    """Answers given on one machine, each shipped as far as it can be."""
    keys = {f"{name}-{number}.jpg" for number in range(ROUNDS)}
    for key in sorted(keys):
        with open_answers(machine.path) as answers:
            answers.add([new_answer(about=subject(key))])
        try:
            await machine.ship()
        except AsyncFilterError:
            continue  # told, and shipped with the next one
    return keys


@pytest.mark.parametrize("seed", range(2))
async def test_no_answer_of_two_machines_is_lost_whatever_fails(tmp_path: Path, seed: int) -> None:
    """Both ship while requests fail; once they work again, the state and both files have every answer."""
    store = MemoryStateStore(fault=Trouble(seed))
    machines = {name: shipping(store, tmp_path / f"{name}.answers.db", name) for name in ("a", "b")}
    said: set[str] = set()

    async def live(name: str) -> None:
        said.update(await answered(machines[name], name))

    async with anyio.create_task_group() as tasks:
        for name in machines:
            tasks.start_soon(live, name)
    store.fault = no_fault
    for machine in (*machines.values(), *machines.values()):
        await machine.ship()
    assert [keys_in(machine.path) for machine in machines.values()] == [said, said]
    restored = tmp_path / "restored.db"
    assert await restore_newest(store, PLACE.answers, restored) is not None
    assert keys_in(restored) == said
    seen = await read_head(store, PLACE.answers)
    assert seen is not None
    assert (seen.head.owner, seen.head.rows) == (None, len(said))
