"""Taking, keeping and losing a state, in virtual time, on a store whose answers are lost, late or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
import pytest

from asyncfilter.custom_labels.processes import Process
from asyncfilter.errors import (
    AsyncFilterError,
    CheckpointError,
    CheckpointMismatchError,
    EndpointError,
    PermissionDeniedError,
    StateAwayError,
    StateExistsError,
    StateHeldError,
    StateLostError,
    ThrottleCause,
    ThrottledError,
    TransientError,
)
from asyncfilter.model import S3Location
from asyncfilter.ports.state_store import Refusal
from asyncfilter.state.answers_shipping import AnswersShipping, answers_shipped
from asyncfilter.state.fetching import read_head
from asyncfilter.state.head import decode_head, encode_head
from asyncfilter.state.names import new_id
from asyncfilter.state.owner import StateOwner
from asyncfilter.state.taking import Claim, Taken, take
from asyncfilter.testing import LoopClock, run_virtually
from asyncfilter.testing.state_store import LostAnswerError, MemoryStateStore
from tests.kit.checkpoints import IDENTITY
from tests.kit.states import PLACE, SOMEBODY, new_head

T = TypeVar("T")
HEAD = PLACE.head


class Machine:
    """A host with one process."""

    def __init__(self, name: str) -> None:
        self.me = Process(host=name, boot_id=name, pid_namespace="p", pid=1, started="1")
        self.alive = True

    def started(self, pid: int) -> str | None:
        """See ``Host``."""
        return "1" if pid == 1 and self.alive else None

    def unix_s(self) -> float:
        """See ``Host``."""
        return 0.0

    def boot_s(self) -> float:
        """See ``Host``."""
        return 0.0


async def taken_by(
    store: MemoryStateStore, machine: str = "here", *, told: list[str] | None = None, **options: bool
) -> tuple[StateOwner, Taken]:
    """The state, taken by a machine."""
    clock = LoopClock()
    claim = Claim(
        place=PLACE, identity=IDENTITY, newest_format=2, file_format=1, above_epoch=0, run_id=f"run-on-{machine}"
    )
    return await take(
        store,
        claim,
        host=Machine(machine),
        clock=clock,
        now_s=clock.monotonic,
        report=(told if told is not None else []).append,
        begins=lambda: None,
        **options,
    )


def virtually(main: Callable[[], Awaitable[T]]) -> T:
    """Run in virtual time."""
    return run_virtually(main)


def test_a_state_begins_with_its_first_owner_and_goes_on_with_the_next() -> None:
    """The epoch rises with every taking; who let go is nobody's predecessor; the probe is gone."""

    async def main() -> None:
        store = MemoryStateStore()
        owner, taken = await taken_by(store)
        assert (owner.head.epoch, taken) == (1, Taken(None, None))
        await owner.rewrite(owner=None)
        second, again = await taken_by(store, "elsewhere")
        assert (second.head.epoch, second.head.state_id, again.former) == (2, owner.head.state_id, None)
        assert {place.key for place in store.objects} == {HEAD.key}

    virtually(main)


def test_a_holder_that_is_heard_of_no_more_is_waited_for_fifteen_seconds() -> None:
    """And told; then the state is taken over, and the former owner finds out with its next rewrite."""

    async def main() -> None:
        store, told, clock = MemoryStateStore(), list[str](), LoopClock()
        first, _ = await taken_by(store)
        began_s = clock.monotonic()
        second, taken = await taken_by(store, "elsewhere", told=told)
        assert 15 <= clock.monotonic() - began_s <= 17
        assert taken.former is not None
        assert taken.former.host == "here"
        assert len(told) == 1
        assert "process 1 on here" in told[0]
        with pytest.raises(StateLostError, match="process 1 on elsewhere"):
            await first.rewrite()
        before = len(store.requests)
        with pytest.raises(StateLostError):
            await first.rewrite()
        with pytest.raises(StateLostError):
            await first.put_new(PLACE.new_segment("0" * 16, 1), b"rows")
        assert len(store.requests) == before
        assert second.tenure.may_pay(clock.monotonic())
        assert not first.tenure.may_pay(clock.monotonic())

    virtually(main)


def test_a_holder_that_goes_on_keeps_its_state() -> None:
    """Exit 3 with the holder after thirty seconds; nothing was written by the second."""

    async def main() -> None:
        store, clock = MemoryStateStore(), LoopClock()
        first, _ = await taken_by(store)

        async def beat() -> None:
            while True:
                await clock.sleep(5)
                await first.rewrite()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            with pytest.raises(StateHeldError, match="process 1 on here"):
                await taken_by(store, "elsewhere")
            tasks.cancel_scope.cancel()
        assert 30 <= clock.monotonic() <= 33
        await first.rewrite()

    virtually(main)


def test_an_owner_that_is_dead_on_this_host_is_not_waited_for() -> None:
    """Its process number is gone, or was given to another process."""

    async def main() -> None:
        store, clock = MemoryStateStore(), LoopClock()
        dead = msgspec.structs.replace(SOMEBODY, host="here", boot_id="here", pid_namespace="p", pid=99)
        store.write(HEAD, encode_head(new_head(owner=dead)))
        began_s = clock.monotonic()
        _, taken = await taken_by(store)
        assert clock.monotonic() - began_s < 1
        assert taken.former == dead

    virtually(main)


@pytest.mark.parametrize("refusal", [None, Refusal.CONFLICT])
@pytest.mark.parametrize("lost", range(1, 4))
def test_rewrites_whose_answers_are_lost_are_found_out_by_epoch_and_nonce(lost: int, refusal: Refusal | None) -> None:
    """The first ones are carried out without an answer, or refused for a moment; each rewrite counts once."""

    async def main() -> None:
        left = lost

        def fault(operation: str, place: S3Location) -> object:
            nonlocal left
            if operation == "put" and place == HEAD and left:
                left -= 1
                if refusal is not None:
                    return refusal
                raise LostAnswerError
            return None

        store = MemoryStateStore()
        owner, _ = await taken_by(store)
        store.fault = fault
        for commit in (1, 2, 3, 4):
            assert (await owner.rewrite()).commit == commit
        seen = await read_head(store, PLACE)
        assert seen is not None
        assert seen.head == owner.head

    virtually(main)


def test_a_write_that_was_repeated_on_its_way_is_done() -> None:
    """The response is that of the second time, 412: a name that nobody else knows was written by the first."""

    async def main() -> None:
        store = MemoryStateStore()
        owner, _ = await taken_by(store)
        place = PLACE.new_segment(owner.head.state_id, 1)
        store.fault = lambda operation, _: store.write(place, b"rows") if operation == "put" else None
        assert await owner.put_new(place, b"rows") == hashlib.sha256(b"rows").hexdigest()

    virtually(main)


@pytest.mark.parametrize(
    "error",
    [
        TransientError("503", may_be_billed=False),
        ThrottledError("SlowDown", cause=ThrottleCause.RATE),
        EndpointError("no connection"),
    ],
)
@pytest.mark.parametrize("failing", ["get", "put"])
def test_a_store_that_is_away_at_the_start_is_an_outage(error: AsyncFilterError, failing: str) -> None:
    """Exit code 75, at which a scheduler repeats the command; nothing was begun."""

    async def main() -> None:
        def fault(operation: str, _place: S3Location) -> object:
            if operation == failing:
                raise error
            return None

        store = MemoryStateStore(fault=fault)
        with pytest.raises(StateAwayError) as caught:
            await taken_by(store)
        assert caught.value.exit_code == 75
        assert not store.objects

    virtually(main)


@pytest.mark.parametrize("denied", ["get", "put", "list", "delete"])
def test_what_a_state_needs_is_permitted_or_it_is_not_taken(denied: str) -> None:
    """Each permission by itself: what is missed only days later would stop a run that was paid for."""

    async def main() -> None:
        def fault(operation: str, _place: S3Location) -> object:
            if operation == denied:
                raise PermissionDeniedError("AccessDenied")
            return None

        store = MemoryStateStore(fault=fault)
        with pytest.raises(PermissionDeniedError):
            await taken_by(store)
        assert PLACE.head not in store.objects

    virtually(main)


async def test_a_store_that_is_away_when_answers_are_fetched_is_an_outage(tmp_path: Path) -> None:
    """The state is taken by then: the same command goes on, so that this is exit code 75, too."""

    def fault(_operation: str, _place: S3Location) -> object:
        raise TransientError("503", may_be_billed=False)

    answers = AnswersShipping(
        store=MemoryStateStore(fault=fault),
        place=PLACE.answers,
        path=tmp_path / "birds.answers",
        host=Machine("here"),
        clock=LoopClock(),
        now_s=LoopClock().monotonic,
        report=lambda _: None,
    )
    with pytest.raises(StateAwayError) as caught:
        async with answers_shipped(answers, lambda _: None):
            pass
    assert caught.value.exit_code == 75


def test_an_owner_pays_by_the_first_sending_that_may_have_been_carried_out() -> None:
    """A rewrite that never arrived, then one whose answer was lost: nobody knows which one others saw."""

    async def main() -> None:
        calls = 0

        def fault(operation: str, place: S3Location) -> object:
            nonlocal calls
            if operation == "put" and place == HEAD:
                calls += 1
                if calls == 1:
                    raise TransientError("no answer", may_be_billed=True)
                if calls == 2:
                    raise LostAnswerError
            return None

        store, clock = MemoryStateStore(), LoopClock()
        owner, _ = await taken_by(store)
        store.fault = fault
        await clock.sleep(3)
        sent_s = clock.monotonic()
        await owner.rewrite()
        assert clock.monotonic() > sent_s
        assert owner.tenure.may_pay(sent_s + 9.9)
        assert not owner.tenure.may_pay(sent_s + 10.0)

    virtually(main)


@pytest.mark.parametrize(
    ("store", "condition"),
    [
        (MemoryStateStore(obeys_new=False), "If-None-Match"),
        (MemoryStateStore(obeys_match=False), "If-Match"),
        (MemoryStateStore(fault=lambda *_: Refusal.UNSUPPORTED), "If-None-Match"),
    ],
)
def test_a_store_that_ignores_a_condition_is_refused_by_name(store: MemoryStateStore, condition: str) -> None:
    """Before the head is written; the probe is deleted."""

    async def main() -> None:
        with pytest.raises(CheckpointError, match=f"condition {condition} "):
            await taken_by(store)
        assert not [place for place in store.objects if place == HEAD]

    virtually(main)


def test_a_state_of_another_source_is_left_as_it_is() -> None:
    """Not even a probe is written; one without an image is bound to nothing."""

    async def main() -> None:
        other = new_head(identity=dict(IDENTITY) | {"source.uri": "s3://other/"}, rows=3)
        store = MemoryStateStore()
        store.write(HEAD, encode_head(other))
        with pytest.raises(CheckpointMismatchError, match=r"source\.uri"):
            await taken_by(store)
        assert {name for name, _ in store.requests} == {"get"}
        store.write(HEAD, encode_head(msgspec.structs.replace(other, rows=0)))
        owner, _ = await taken_by(store)
        assert owner.head.identity == IDENTITY

    virtually(main)


def test_lanes_may_come_and_go() -> None:
    """A job with lanes names no region; the state keeps the one that it is bound to."""

    async def main() -> None:
        bound = dict(IDENTITY) | {"detector.region": "us-east-1"}
        store = MemoryStateStore()
        store.write(HEAD, encode_head(new_head(identity=bound, rows=3)))
        owner, _ = await taken_by(store)
        assert owner.head.identity == bound

    virtually(main)


def test_fresh_keeps_the_old_head_and_only_new_takes_none() -> None:
    """A new state id above the old epoch; `state push` never takes a state."""

    async def main() -> None:
        old = new_head(epoch=7, nonce=new_id())
        store = MemoryStateStore()
        store.write(HEAD, encode_head(old))
        with pytest.raises(StateExistsError):
            await taken_by(store, only_new=True)
        owner, taken = await taken_by(store, is_fresh=True)
        assert (owner.head.epoch, taken.head) == (8, None)
        assert owner.head.state_id != old.state_id
        assert PLACE.kept_head(old.state_id) in store.objects

    virtually(main)


def test_fresh_keeps_the_last_head_although_an_earlier_fresh_died_after_it_had_kept_one() -> None:
    """What only the last head names would be deleted as named by none: verdicts that were paid for."""

    async def main() -> None:
        store = MemoryStateStore()
        first = new_head(epoch=7, nonce=new_id())
        last = msgspec.structs.replace(first, epoch=8, commit=first.commit + 5, nonce=new_id())
        kept = PLACE.kept_head(first.state_id)
        store.write(kept, encode_head(first))
        store.write(HEAD, encode_head(last))
        await taken_by(store, is_fresh=True)
        assert decode_head(store.objects[kept].body, PLACE).commit == last.commit

    virtually(main)


def test_a_head_beyond_the_bounds_is_left_as_it_is() -> None:
    """Its epoch cannot rise: the next head would be one that nobody can read."""

    async def main() -> None:
        store = MemoryStateStore()
        body = encode_head(new_head(epoch=(1 << 53) - 1))
        store.write(HEAD, body)
        with pytest.raises(CheckpointError, match="head"):
            await taken_by(store)
        assert store.objects[HEAD].body == body

    virtually(main)


def test_of_two_that_begin_at_once_one_owns() -> None:
    """The other sees a head that it did not write, and waits for it like for any other."""

    async def main() -> None:
        store, clock = MemoryStateStore(), LoopClock()
        owners: list[StateOwner] = []
        errors: list[AsyncFilterError] = []

        async def begin(name: str) -> None:
            try:
                owner, _ = await taken_by(store, name)
            except AsyncFilterError as error:
                errors.append(error)
                return
            owners.append(owner)
            for _ in range(10):
                await clock.sleep(4)
                await owner.rewrite()

        async with anyio.create_task_group() as tasks:
            for name in ("a", "b"):
                tasks.start_soon(partial(begin, name))
        assert len(owners) == 1
        assert [type(error) for error in errors] == [StateHeldError]

    virtually(main)
