"""Shipping a file: snapshots, joined segments and deletions beside the commits, and what a restored state is then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from asyncfilter.checkpoint import SqliteCheckpoint, open_checkpoint
from asyncfilter.checkpoint.open_file import connect
from asyncfilter.clock import SystemClock
from asyncfilter.errors import AccessError, StateLostError, TransientError
from asyncfilter.events import Event, StateCommitted
from asyncfilter.model import ListedObject, S3Location
from asyncfilter.ports.keeping import Grant
from asyncfilter.records.progress import Batch, Totals
from asyncfilter.state import beside, commits, making, shipping
from asyncfilter.state.fetching import read_head
from asyncfilter.state.head import Head, encode_head
from asyncfilter.state.restore import restore, restore_newest
from asyncfilter.state.shipping import StateShipping, running
from asyncfilter.state.taking import Claim, take
from asyncfilter.testing.state_store import MemoryStateStore, no_fault
from tests.kit.checkpoints import IDENTITY, stored_image
from tests.kit.states import PLACE
from tests.property.test_segments import rows as rows_of
from tests.unit.test_state_owner import Machine

pytestmark = pytest.mark.anyio


class Ship:
    """A checkpoint file, and what ships it.

    Attributes:
        events: Of the state.
    """

    def __init__(self, path: Path, store: MemoryStateStore, checkpoint: SqliteCheckpoint, state: StateShipping) -> None:
        self.path, self.store, self.checkpoint, self.state = path, store, checkpoint, state
        self.events: list[Event] = []
        self._images = 0
        state.emit_to(self.events.append)

    async def write(self, images: int = 3) -> None:
        """Some more images, durable in the file."""
        new = [stored_image(self._images + number) for number in range(1, images + 1)]
        self._images += images
        totals = Totals(calls=self._images, billed_calls=self._images, spent_micros=1000 * self._images)
        await self.checkpoint.commit(Batch(new=new, totals=totals))

    async def commit(self, images: int = 3) -> None:
        """Some more images, and the commit that has them."""
        await self.write(images)
        mark = self.state.mark()
        self.state.hurry()
        await self.state.wait_committed(mark)

    async def head(self) -> Head:
        """As it is in S3."""
        seen = await read_head(self.store, PLACE)
        assert seen is not None
        return seen.head

    async def check(self, folder: Path) -> Head:
        """What S3 has is the file."""
        assert await self.state.flush() is None
        found = await restore_newest(self.store, PLACE, folder / "restored.db")
        assert found is not None
        head = found.head
        mine, theirs = connect(self.path, "ro"), connect(folder / "restored.db", "ro")
        try:
            assert rows_of(theirs) == rows_of(mine)
        finally:
            mine.close()
            theirs.close()
        assert head.rows == self._images
        return head


@pytest.fixture
def ship(tmp_path: Path) -> Callable[..., object]:
    """Opens a file that ships."""

    @asynccontextmanager
    async def opened(store: MemoryStateStore | None = None, *, is_authoritative: bool = True) -> AsyncIterator[Ship]:
        store = store or MemoryStateStore()
        path, clock = tmp_path / "robins.db", SystemClock()
        claim = Claim(place=PLACE, identity=IDENTITY, newest_format=2, file_format=1, above_epoch=0, run_id="r")
        owner, taken = await take(
            store,
            claim,
            host=Machine("here"),
            clock=clock,
            now_s=clock.monotonic,
            report=lambda _: None,
            begins=lambda: None,
        )
        async with await open_checkpoint(
            path, identity=IDENTITY, name="robins", above_epoch=owner.head.epoch - 1, ships=True
        ) as checkpoint:
            assert checkpoint.shipping is not None
            await checkpoint.shipping.bind(owner.head.state_id, checkpoint.opened.epoch, owner.head.commit)
            state = StateShipping(
                owner, checkpoint, path, taken=taken, restored=None, is_authoritative=is_authoritative, clock=clock
            )
            async with running(state):
                yield Ship(path, store, checkpoint, state)

    return opened


async def test_segments_are_joined_and_the_former_ones_are_named_no_more(
    ship: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the newest, under the commit of the last one; they are deleted an hour later."""
    monkeypatch.setattr(commits, "JOIN_AT", 8)
    monkeypatch.setattr(commits, "KEEP_NEWEST", 3)
    async with ship() as one:  # type: ignore[attr-defined]
        for _ in range(14):
            await one.commit()
        head = await one.check(tmp_path)
        assert len(head.segments) < 12
        assert len(one.store.objects) > len(head.segments) + 2


async def test_large_segments_are_replaced_by_a_snapshot_made_beside_the_commits(
    ship: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments after it stay; what is replaced is deleted when its time has come."""
    monkeypatch.setattr(making, "SNAPSHOT_BYTES", 100)
    monkeypatch.setattr(beside, "_DELETE_AFTER_S", 0.0)
    async with ship() as one:  # type: ignore[attr-defined]
        for _ in range(12):
            await one.commit(10)
        head = await one.check(tmp_path)
        assert head.snapshot is not None
        assert head.snapshot.commit > 3
        await one.commit()
        await one.commit()
        assert len(one.store.objects) <= len((await one.head()).named_keys) + 4


@pytest.mark.parametrize("reason", ["rows", "list", "bytes"])
async def test_what_no_segment_holds_waits_for_a_snapshot(
    ship: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Too many rows, a whole list, too many bytes: nothing counts as committed before the snapshot is named."""
    async with ship() as one:  # type: ignore[attr-defined]
        await one.commit()
        if reason == "rows":
            monkeypatch.setattr(commits, "MOST_ROWS", 5)
        elif reason == "bytes":
            monkeypatch.setattr("asyncfilter.state.segments.MOST_SEGMENT_BYTES", 100)
        else:
            keys = [ListedObject(f"{number}.jpg", 1, "e", "STANDARD") for number in range(9)]
            await one.checkpoint.save_listing([(n, key) for n, key in enumerate(keys)], is_last=True, origin="v1")
        await one.commit(20)
        head = await one.head()
        assert (head.segments, head.rows) == ([], 23)
        monkeypatch.undo()
        await one.commit()
        await one.check(tmp_path)


async def test_grants_are_committed_before_use_and_given_back(ship: Callable[..., object], tmp_path: Path) -> None:
    """A machine that is lost has spent at most what the restored sums reserve."""

    class OneGrant:
        is_low = False

        def __init__(self) -> None:
            self.given: list[int] = []

        def propose(self) -> Grant:
            return Grant(50_000, 1000)

        def granted(self, grant: Grant) -> None:
            self.given.append(grant.micros)

    async with ship() as one:  # type: ignore[attr-defined]
        grants = OneGrant()
        one.state.use(grants)
        await one.commit()
        assert grants.given[-1] == 50_000
        head = await one.head()
        assert (head.spent_micros, head.granted_micros) == (3000, 50_000)
        await restore(one.store, PLACE, head, tmp_path / "lost.db")
        async with await open_checkpoint(tmp_path / "lost.db", identity=IDENTITY, name="robins") as elsewhere:
            assert elsewhere.opened.totals.spent_micros == 50_000
            assert elsewhere.opened.totals.billed_calls == 50
        await one.check(tmp_path)
        head = await one.head()
        assert (head.spent_micros, head.granted_micros) == (3000, 3000)


async def test_a_store_that_is_away_is_caught_up_with(ship: Callable[..., object], tmp_path: Path) -> None:
    """Every write fails for a while; then one commit has everything."""
    store = MemoryStateStore()
    async with ship(store, is_authoritative=False) as one:  # type: ignore[attr-defined]
        await one.commit()

        def fault(operation: str, place: S3Location) -> object:
            if operation == "put":
                raise TransientError(f"{place.key}: away", may_be_billed=True)
            return None

        store.fault = fault
        await one.write()
        one.state.hurry()
        await anyio.sleep(0.3)
        await one.write()
        assert (await one.state.summary()).behind_rows > 0
        store.fault = lambda *_: None
        await one.check(tmp_path)
        committed = [event for event in one.events if isinstance(event, StateCommitted)]
        assert committed
        assert (await one.state.summary()).behind_rows == 0


async def test_a_copy_that_may_not_be_written_any_more_says_so(
    ship: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store answers, so that "did not answer" would send people to the wrong place."""
    monkeypatch.setattr(shipping, "_FLUSH_S", 0.2)
    store = MemoryStateStore()
    async with ship(store, is_authoritative=False) as one:  # type: ignore[attr-defined]

        def denied(operation: str, _place: S3Location) -> object:
            if operation == "put":
                raise AccessError("Permission denied: PutObject")
            return None

        await one.commit()
        store.fault = denied
        await one.write()
        assert "Permission denied: PutObject" in (await one.state.flush() or "")
        store.fault = no_fault


async def test_a_lost_state_ends_every_wait(ship: Callable[..., object]) -> None:
    """Actions that wait for a commit do not begin, and nothing is paid for any more."""
    async with ship() as one:  # type: ignore[attr-defined]
        await one.commit()
        one.store.write(PLACE.head, b"{}")
        await one.write()
        mark = one.state.mark()
        one.state.hurry()
        with pytest.raises(StateLostError):
            await one.state.wait_committed(mark)
        assert isinstance(await one.state.wait_end(), StateLostError)
        assert not one.state.may_pay()
        assert await one.state.flush() is not None
        before = dict(one.store.objects)
    assert one.store.objects == before


async def test_a_process_that_stood_still_learns_who_owns_the_state(ship: Callable[..., object]) -> None:
    """It has tried nothing meanwhile: the next rewrite decides, not the time since the last one."""
    async with ship() as one:  # type: ignore[attr-defined]
        await one.commit()
        head = await one.head()
        taken = msgspec.structs.replace(head, epoch=head.epoch + 1, commit=head.commit + 1, nonce="0" * 16)
        one.store.write(PLACE.head, encode_head(taken))
        now_s = one.state._owner.now_s
        one.state._owner.now_s = lambda: now_s() + 100.0
        assert isinstance(await one.state.wait_end(), StateLostError)
