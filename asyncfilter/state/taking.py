"""Taking a state: whether it may be taken, whether its store can be trusted, and the rewrite that takes it.

Nothing is written before it is known that the state may be taken, and nothing but a probe before the store has shown
that it obeys conditions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.custom_labels.processes import Host
from asyncfilter.errors import (
    AsyncFilterError,
    CheckpointMismatchError,
    PermissionDeniedError,
    StateExistsError,
    StateHeldError,
    StoreError,
    ThrottledError,
    TransientError,
)
from asyncfilter.model import S3Location
from asyncfilter.ports.state_store import Put, Refusal, StateStore
from asyncfilter.state.away import translated_outage
from asyncfilter.state.fetching import SeenHead, read_head
from asyncfilter.state.head import Head, OwnerProcess, check_file_format, decode_head, differing_identity, encode_head
from asyncfilter.state.holders import is_gone
from asyncfilter.state.names import StatePlace, new_id
from asyncfilter.state.owner import PAUSE_S, StateOwner, ignored_condition, utc_now
from asyncfilter.state.tenure import DRAINS_AFTER_S, HeadWatch, TakeDecision, Tenure

_LOOK_EVERY_S = 1.0

Report = Callable[[str], None]
"""Called with a sentence for the user."""


class Claim(NamedTuple):
    """What a process takes a state with.

    Attributes:
        place: The state.
        identity: Settings that it is bound to.
        newest_format: Of the file that is read.
        file_format: Of the file on this machine; of a state that begins.
        above_epoch: The epoch of the file on this machine.
        run_id: Of this run.
    """

    place: StatePlace
    identity: Mapping[str, str]
    newest_format: int
    file_format: int
    above_epoch: int
    run_id: str


class Taken(NamedTuple):
    """A state that was taken.

    Attributes:
        head: As it was before; None for a state that began now.
        former: The owner that did not let it go; None without one.
    """

    head: Head | None
    former: OwnerProcess | None


async def take(
    store: StateStore,
    claim: Claim,
    *,
    host: Host,
    clock: Clock,
    now_s: Callable[[], float],
    report: Report,
    begins: Callable[[], None],
    is_fresh: bool = False,
    only_new: bool = False,
) -> tuple[StateOwner, Taken]:
    """Take a state, or begin one.

    Args:
        store: Where it is.
        claim: What it is taken with.
        host: This process.
        clock: Sleeps.
        now_s: The clock of ``StateOwner``.
        report: Called with a sentence when another process may still hold it.
        begins: Called before a state is begun; raises when none may begin.
        is_fresh: Begin a new state in place of the one that is there, whose head is kept under another name.
        only_new: Begin a state, and never take one that is there.

    Raises:
        StateHeldError: Another process owns it.
        CheckpointMismatchError: It is of another source or detector; nothing was written.
        CheckpointError: It cannot be used, or the store ignores conditions; nothing was written but a probe.
        AccessError: The account may not.
        StateAwayError: The store refuses or answers nothing at the moment.
    """
    taking = _Taking(store, claim, host=host, clock=clock, now_s=now_s, report=report)
    with translated_outage(claim.place.uri):
        return await taking.take(begins, is_fresh=is_fresh, only_new=only_new)


async def _permitted(request: Awaitable[None]) -> None:
    """Wait for a request that taking a state can do without, but not without the permission for it."""
    try:
        await request
    except PermissionDeniedError:
        raise
    except AsyncFilterError:
        return  # what is left is for `state prune`


class _Taking:
    """One attempt of a process to own a state."""

    def __init__(
        self, store: StateStore, claim: Claim, *, host: Host, clock: Clock, now_s: Callable[[], float], report: Report
    ) -> None:
        self._store, self._claim, self._place = store, claim, claim.place
        self._host, self._clock, self._now_s, self._report = host, clock, now_s, report
        self._watch = HeadWatch()
        self._is_probed = self._is_reported = False

    async def take(self, begins: Callable[[], None], *, is_fresh: bool, only_new: bool) -> tuple[StateOwner, Taken]:
        while True:
            seen = await read_head(self._store, self._place)
            if seen is not None and only_new:
                raise StateExistsError(
                    f"{self._place.uri}: there is a state already, of {seen.head.rows:,} images",
                    hint="Name another address, or go on with that state: nothing ever replaces one.",
                )
            if seen is None:
                begins()
            elif not is_fresh:
                self._check(seen.head)
            if seen is not None and not await self._may_take(seen):
                continue
            await self._probe()
            if seen is not None and is_fresh:
                await self._keep(seen)
            head = self._first() if seen is None or is_fresh else self._next(seen.head)
            if is_fresh and seen is not None:
                head = msgspec.structs.replace(head, epoch=max(head.epoch, seen.head.epoch + 1))
            owner = await self._write(head, None if seen is None else seen.etag)
            if owner is not None:
                kept = None if is_fresh or seen is None else seen.head
                return owner, Taken(kept, None if kept is None else kept.owner)

    def _check(self, head: Head) -> None:
        differing = differing_identity(head, self._claim.identity)
        if differing and head.rows:
            message = f"{self._place.uri}: belongs to another source or detector: " + "; ".join(differing)
            hint = (
                "Set another `checkpoint:` to keep both, or use --fresh, which keeps this state's head and starts anew."
            )
            raise CheckpointMismatchError(message, hint=hint)
        check_file_format(head, self._place, self._claim.newest_format)

    async def _may_take(self, seen: SeenHead) -> bool:
        """Whether the state may be taken now; waits a moment when that is not known yet."""
        owner = seen.head.owner
        if owner is None or is_gone(owner, self._host):
            return True
        verdict = self._watch.look(seen.etag, self._now_s())
        if verdict is TakeDecision.TAKE:
            return True
        if verdict is TakeDecision.HELD:
            raise StateHeldError(f"{self._place.uri}: held by {owner}", hint="Wait until that run ends.")
        if not self._is_reported:
            self._is_reported = True
            self._report(f"{self._place.uri} is held by {owner}; it is taken over if nothing is heard of it for 15 s")
        await self._clock.sleep(_LOOK_EVERY_S)
        return False

    async def _probe(self) -> None:
        """Check, once, that the store obeys the conditions on which everything depends, and permits what a state needs.

        Raises:
            CheckpointError: It ignores one.
            PermissionDeniedError: The account may not read, write, list or delete there.
        """
        if self._is_probed:
            return
        place = self._place.new_probe()
        first = await self._certain(lambda: self._store.put(place, b"probe", only_new=True))
        if first.refusal is Refusal.UNSUPPORTED:
            raise ignored_condition(self._place, "If-None-Match")
        try:
            await self._check_conditions(place)
            await _permitted(self._find(place))
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(AsyncFilterError):
                await self._delete(place)
            raise
        await _permitted(self._delete(place))
        self._is_probed = True

    async def _check_conditions(self, place: S3Location) -> None:
        again = await self._certain(lambda: self._store.put(place, b"again", only_new=True))
        if again.refusal is not Refusal.CHANGED:
            raise ignored_condition(self._place, "If-None-Match")
        other = await self._certain(lambda: self._store.put(place, b"other", if_match="0" * 32))
        if other.refusal is not Refusal.CHANGED:
            raise ignored_condition(self._place, "If-Match")

    async def _find(self, place: S3Location) -> None:
        async for _ in self._store.listed(*place):
            return

    async def _delete(self, place: S3Location) -> None:
        info = await self._store.head(place)
        if info is not None:
            await self._store.delete(place, info.etag)

    async def _certain(self, write: Callable[[], Awaitable[Put]]) -> Put:
        """The answer to a write, tried a few times."""
        for left in range(4, -1, -1):
            try:
                put = await write()
            except (TransientError, ThrottledError):
                if not left:
                    raise
            else:
                if put.refusal is not Refusal.CONFLICT:
                    return put
            await self._clock.sleep(PAUSE_S)
        raise StoreError(f"{self._place.uri}: every write meets another one that is under way")

    async def _keep(self, seen: SeenHead) -> None:
        """Keep the head of the state that is replaced."""
        place = self._place.kept_head(seen.head.state_id)
        body = encode_head(msgspec.structs.replace(seen.head, owner=None))
        put = await self._certain(lambda: self._store.put(place, body, only_new=True))
        if put.refusal is not Refusal.CHANGED:
            return
        # Kept by a `--fresh` that did not get as far as the new state: the state may have gone on since, and what an
        # older head does not name would be deleted as named by none.
        info = await self._store.head(place)
        if info is not None:
            put = await self._certain(lambda: self._store.put(place, body, if_match=info.etag))
        if info is None or put.refusal is not None:
            raise StoreError(f"{place.uri}: another process writes the head of the replaced state at this moment")

    def _first(self) -> Head:
        return Head(
            state_id=new_id(),
            name=self._place.name,
            identity=dict(self._claim.identity),
            file_format=self._claim.file_format,
            epoch=self._claim.above_epoch + 1,
            commit=0,
            owner=self._me(),
            snapshot=None,
            segments=[],
            rows=0,
            spent_micros=0,
            granted_micros=0,
            written=utc_now(),
            nonce=new_id(),
        )

    def _next(self, head: Head) -> Head:
        return msgspec.structs.replace(
            head,
            epoch=max(head.epoch, self._claim.above_epoch) + 1,
            commit=head.commit + 1,
            owner=self._me(),
            # With images, the file keeps its own, of which the job may name less (lanes).
            identity=head.identity if head.rows else dict(self._claim.identity),
            written=utc_now(),
            nonce=new_id(),
        )

    async def _write(self, head: Head, etag: str | None) -> StateOwner | None:
        """Write the head that takes the state; None when another process was faster."""
        unanswered_s: float | None = None
        body = encode_head(head)
        # Only what can be read again is written.
        decode_head(body, self._place)
        began_s = self._now_s()
        while True:
            sent_s = self._now_s()
            try:
                put = await self._store.put(self._place.head, body, only_new=etag is None, if_match=etag)
            except (TransientError, ThrottledError):
                if sent_s - began_s > DRAINS_AFTER_S:
                    raise
                unanswered_s = sent_s if unanswered_s is None else unanswered_s
                await self._clock.sleep(PAUSE_S)
                continue
            if put.refusal is None:
                return self._owner(head, put.etag, sent_s)
            if put.refusal is Refusal.CONFLICT:
                await self._clock.sleep(PAUSE_S)
                continue
            if put.refusal is Refusal.UNSUPPORTED:
                raise ignored_condition(self._place, "If-Match" if etag else "If-None-Match")
            found = await read_head(self._store, self._place)
            if found is not None and found.head.nonce == head.nonce:
                return self._owner(head, found.etag, sent_s if unanswered_s is None else unanswered_s)
            return None

    def _owner(self, head: Head, etag: str, sent_s: float) -> StateOwner:
        return StateOwner(
            self._store, self._place, SeenHead(head, etag), Tenure(sent_s), now_s=self._now_s, clock=self._clock
        )

    def _me(self) -> OwnerProcess:
        me = self._host.me
        return OwnerProcess(
            host=me.host[:256],
            boot_id=me.boot_id,
            pid_namespace=me.pid_namespace,
            pid=me.pid,
            started=me.started,
            run_id=self._claim.run_id,
            since=utc_now(),
        )
