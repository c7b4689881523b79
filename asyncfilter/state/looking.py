"""A look at a state: who owns it, what is committed, and whether every object that the head names is there."""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio

from asyncfilter.clock import Clock, SystemClock
from asyncfilter.errors import CheckpointError, CheckpointUnreadableError, ObjectChangedError
from asyncfilter.ports.state_store import StateStore
from asyncfilter.state.fetching import SeenHead, is_same, look_at, read_head
from asyncfilter.state.files import KINDS
from asyncfilter.state.head import Head, Segment, Snapshot, check_file_format, damaged
from asyncfilter.state.names import StatePlace
from asyncfilter.state.unnamed import find_unnamed

HELD_S = 15.0
"""A state whose head has not changed for this long has no running owner."""

_LOOKS_AT_ONCE = 16
_PAUSE_S = 1.0
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLook:
    """What a look at a state showed.

    Attributes:
        place: The state.
        head: Its head.
        held: Whether it has an owner who rewrote the head in the last 15 s; with ``waits``, who rewrites it now.
        age_s: Seconds since the head was written, by the store's clock; None where the store gives none.
        unnamed: Objects that no head names.
        foreign: Objects in the state's folder that asyncfilter did not make.
        problems: What is wrong, one sentence each, with the key of the object.
    """

    place: StatePlace
    head: Head
    held: bool
    age_s: float | None
    unnamed: int
    foreign: int
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the state can be restored, as far as the look went."""
        return not self.problems


async def look(
    store: StateStore, place: StatePlace, *, waits: bool = False, deep: bool = False, clock: Clock | None = None
) -> StateLook:
    """Look at a state; nothing is changed.

    Args:
        store: Where it is.
        place: The state.
        waits: Whether to look a second time, up to 15 s later, for a head that changes.
        deep: Whether the bytes of all objects are read and compared.
        clock: Measures the wait.

    Raises:
        CheckpointError: There is no state, or what is there is none.
    """
    seen, problems = await _checked(store, place, deep=deep)
    info = await store.head(place.head)
    age_s = None if info is None else info.age_s
    held = seen.head.owner is not None and (age_s is None or age_s < HELD_S)
    if waits:
        held = await _changes(store, place, seen, clock or SystemClock())
    found = await find_unnamed(store, place)
    return StateLook(
        place=place,
        head=seen.head,
        held=held,
        age_s=age_s,
        unnamed=len(found.unnamed),
        foreign=len(found.foreign),
        problems=[*problems, *found.problems],
    )


async def find_look(store: StateStore, place: StatePlace) -> StateLook | None:
    """A look at a state; None when there is none. Raises as ``look``."""
    # By a listing, because S3 calls what is missing forbidden to some callers.
    there = [one async for one in store.listed(place.bucket, place.head.key) if one.key == place.head.key]
    return await look(store, place) if there else None


def no_state(place: StatePlace) -> CheckpointError:
    """The error for an address at which there is no state."""
    return CheckpointError(
        f"{place.uri}: there is no state: no {place.head.key} in the bucket {place.bucket}",
        hint="Check bucket, prefix and name; a run of the job makes it, and `asyncfilter state push` from a file.",
    )


async def _checked(store: StateStore, place: StatePlace, *, deep: bool) -> tuple[SeenHead, list[str]]:
    """The head, and what is wrong about what it names; looked at again while the state goes on meanwhile."""
    problems: list[str] = []
    seen = await read_head(store, place)
    for _ in range(_TRIES):
        if seen is None:
            raise no_state(place)
        problems = await _problems(store, place, seen.head, deep=deep)
        newer = await read_head(store, place) if problems else seen
        if newer is not None and newer.etag == seen.etag:
            return seen, problems
        seen = newer
    if seen is None:
        raise no_state(place)
    return seen, problems


async def _problems(store: StateStore, place: StatePlace, head: Head, *, deep: bool) -> list[str]:
    check_file_format(head, place, KINDS[place.kind].newest_format)
    found: dict[int, str] = {}
    limiter = anyio.CapacityLimiter(1 if deep else _LOOKS_AT_ONCE)

    async def check(number: int, named: Snapshot | Segment) -> None:
        async with limiter:
            try:
                if deep and not await is_same(store, place, named):
                    found[number] = damaged(place, named.key, "its bytes are not those on record (SHA-256)").message
                elif not deep:
                    await look_at(store, place, named)
            except (CheckpointUnreadableError, ObjectChangedError) as error:
                found[number] = error.message

    async with anyio.create_task_group() as tasks:
        for number, named in enumerate(head.objects):
            tasks.start_soon(check, number, named)
    return [found[number] for number in sorted(found)]


async def _changes(store: StateStore, place: StatePlace, seen: SeenHead, clock: Clock) -> bool:
    """Whether an owner rewrites the head within the time in which every owner does."""
    end_s = clock.monotonic() + HELD_S
    while True:
        now = await read_head(store, place)
        if now is None or now.etag != seen.etag:
            return now is not None and now.head.owner is not None
        if clock.monotonic() >= end_s:
            return False
        await clock.sleep(_PAUSE_S)
