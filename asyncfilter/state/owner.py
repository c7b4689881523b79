"""Owning a state: how a process takes it, keeps it, and detects that another one has it.

The head is the only object that is ever rewritten, on condition of the ETag last seen. Every answer to such a rewrite
can be lost; then the head is read again, and an own ``epoch`` and ``nonce`` show that it was carried out. After the
first sign that another process owns the state, nothing more is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.errors import (
    AsyncFilterError,
    CheckpointError,
    EndpointError,
    StateLostError,
    ThrottledError,
    TransientError,
)
from asyncfilter.model import S3Location
from asyncfilter.ports.state_store import Put, Refusal, StateStore
from asyncfilter.state.fetching import SeenHead, read_head
from asyncfilter.state.head import Head, OwnerProcess, decode_head, encode_head
from asyncfilter.state.names import StateKind, StatePlace, new_id
from asyncfilter.state.tenure import Tenure

PAUSE_S = 0.5
_ATTEMPT_S = 5.0
"""A rewrite without an answer for this long is tried again: the owner pays only for a while after its last one."""

_UNREACHABLE = (TransientError, ThrottledError, EndpointError)
"""Errors after which neither the result of a write nor the end of the outage is known."""


class StateOwner:
    """One process as the owner of a state; made by ``taking.take``.

    Args:
        store: Where the state is.
        place: The state.
        seen: The head that this process wrote last.
        tenure: How long it may pay.
        now_s: The clock that goes on while the machine sleeps.
        clock: Sleeps.
    """

    def __init__(
        self,
        store: StateStore,
        place: StatePlace,
        seen: SeenHead,
        tenure: Tenure,
        *,
        now_s: Callable[[], float],
        clock: Clock,
    ) -> None:
        self.store, self.place, self.tenure = store, place, tenure
        self.head, self._etag = seen.head, seen.etag
        self.now_s, self._clock = now_s, clock
        self.bytes_sent = 0

    async def rewrite(self, **changes: object) -> Head:
        """Rewrite the head with its next commit; tries until it succeeds.

        Raises:
            StateLostError: Another process owns the state.
            AccessError: The account may not write it any more.
        """
        self.check_owned()
        changes = {"commit": self.head.commit + 1, "nonce": new_id(), "written": utc_now()} | changes
        head = msgspec.structs.replace(self.head, **changes)
        body = encode_head(head)
        # Only what can be read again is written.
        decode_head(body, self.place)
        unanswered_s: float | None = None
        while True:
            sent_s = self.now_s()
            put = await self._attempt(body)
            if put is not None and put.refusal is None:
                return self._own(head, put.etag, sent_s)
            if put is None:
                # Which of several attempts was carried out is not known: the first one counts.
                unanswered_s = sent_s if unanswered_s is None else unanswered_s
            elif put.refusal is Refusal.UNSUPPORTED:
                raise ignored_condition(self.place, "If-Match")
            elif put.refusal is Refusal.CONFLICT:
                await self._clock.sleep(PAUSE_S)
                continue
            found = await self._seen()
            if found is not None and found.etag == self._etag:
                await self._clock.sleep(PAUSE_S)
            elif found is not None and (found.head.epoch, found.head.nonce) == (head.epoch, head.nonce):
                return self._own(head, found.etag, sent_s if unanswered_s is None else unanswered_s)
            else:
                self._lose(found)

    async def put_new(self, place: S3Location, body: bytes) -> str:
        """Write an object that no other process writes, tried until it is there; the SHA-256 of its bytes.

        Raises:
            StateLostError: Another process owns the state.
        """
        digest = hashlib.sha256(body).digest()
        await self._tried(lambda: self.store.put(place, body, only_new=True, sha256=digest))
        self.bytes_sent += len(body)
        return digest.hex()

    async def put_file(self, place: S3Location, path: Path, sha256: bytes, size_bytes: int) -> None:
        """Write the bytes of a file likewise."""
        await self._tried(lambda: self.store.put_file(place, path, sha256=sha256))
        self.bytes_sent += size_bytes

    async def delete(self, key: str) -> None:
        """Delete an object that no head names; one that cannot be deleted now is left for ``state prune``."""
        place = S3Location(self.place.bucket, key)
        try:
            info = await self.store.head(place)
            if info is not None and not self.tenure.is_lost:
                await self.store.delete(place, info.etag)
        except AsyncFilterError:
            return

    def check_owned(self) -> None:
        """Check that this process owns the state, as of the last rewrite.

        Raises:
            StateLostError: It does not.
        """
        if self.tenure.is_lost:
            raise lost(self.place, self.head.owner)

    async def _tried(self, write: Callable[[], Awaitable[Put]]) -> None:
        while True:
            self.check_owned()
            try:
                put = await write()
            except _UNREACHABLE:
                await self._clock.sleep(PAUSE_S)
                continue
            # Its name is random: what is there already was written by an attempt without an answer, or by a request
            # that was repeated on its way.
            if put.refusal is None or put.refusal is Refusal.CHANGED:
                return
            if put.refusal is Refusal.UNSUPPORTED:
                raise ignored_condition(self.place, "If-None-Match")
            await self._clock.sleep(PAUSE_S)

    async def _attempt(self, body: bytes) -> Put | None:
        """One attempt at the head; None without an answer."""
        with anyio.move_on_after(_ATTEMPT_S):
            try:
                put = await self.store.put(self.place.head, body, if_match=self._etag)
            except _UNREACHABLE:
                return None
            self.bytes_sent += len(body)
            return put
        return None

    async def _seen(self) -> SeenHead | None:
        """The head as it is now; None when there is none."""
        while True:
            self.check_owned()
            try:
                with anyio.fail_after(_ATTEMPT_S):
                    return await read_head(self.store, self.place)
            except (TimeoutError, *_UNREACHABLE):
                await self._clock.sleep(PAUSE_S)
            except CheckpointError:
                # Another program wrote something else there: this process does not own it any more.
                return None

    def _own(self, head: Head, etag: str, sent_s: float) -> Head:
        self.head, self._etag = head, etag
        self.tenure.rewritten(sent_s)
        return head

    def _lose(self, found: SeenHead | None) -> None:
        self.tenure.lose()
        holder = None if found is None else found.head.owner
        self.head = msgspec.structs.replace(self.head, owner=holder)
        raise lost(self.place, holder)


def lost(place: StatePlace, holder: OwnerProcess | None) -> StateLostError:
    """The error of a process that owned a state."""
    who = "it was deleted or replaced" if holder is None else f"{holder} owns it now"
    return StateLostError(
        f"{place.uri}: this process does not own the state any more: {who}",
        hint="Nothing was written after that, and the file of this machine is kept; run again once that run has ended.",
    )


def ignored_condition(place: StatePlace, condition: str) -> CheckpointError:
    """The error for a store that does not obey a condition."""
    key = "checkpoint" if place.kind is StateKind.CHECKPOINT else "answers"
    return CheckpointError(
        f"{place.uri}: the store ignores the condition {condition} of a write, so that two machines could both pay",
        hint=f"Keep the {key} in a store with conditional writes, as S3 has them, or in a file.",
    )


def utc_now() -> str:
    """The time for people, as heads have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
