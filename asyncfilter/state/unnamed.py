"""Objects of a state that no head names, and their removal.

What is deleted cannot come back, so an object is deleted only when it is certain that no head will ever name it:

- It has a name that asyncfilter makes, in the folder of the state; everything else is left alone, and reported.
- No head names it: neither ``head.json`` nor one that ``--fresh`` kept. Where one of them cannot be read, nothing that
  it may name is deleted.
- No process can be about to name it. While the head has an owner, an object that was written in the last hour stays,
  and for a day one of a later commit than the head's, which an owner who slept may still name. One of a state id that
  no head has may be the first object of a state that is being made: it stays for a day. Without an owner, or with one
  of this host that has ended, a new owner rewrites the head first, so that the head is read again after the listing.

Each is deleted on condition of the ETag that was listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from asyncfilter.custom_labels.processes import Host, ThisHost
from asyncfilter.errors import CheckpointError
from asyncfilter.model import ListedObject, S3Location
from asyncfilter.ports.state_store import StateStore, StoredInfo
from asyncfilter.state.fetching import SeenHead, read_head
from asyncfilter.state.head import MOST_HEAD_BYTES, Head, decode_head
from asyncfilter.state.holders import is_gone
from asyncfilter.state.names import ObjectKind, ObjectName, StatePlace

REPLACED_S = 3600.0
"""How long an object stays that was replaced while others may still read it, or that an owner may be about to name."""

STRAY_S = 86400.0
"""How long an object stays that may be the first of a state, or the next of an owner who slept."""

_LOOKS_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class UnnamedObjects:
    """The objects in the folder of a state.

    Attributes:
        seen: The head; None without one.
        unnamed: Objects that no head names, with what their keys say.
        foreign: Keys of objects that asyncfilter did not make.
        known: State ids of the heads that could be read.
        problems: Kept heads that could not be read, one sentence each.
        unreadable: Their state ids: what they name is unknown.
    """

    seen: SeenHead | None
    unnamed: list[tuple[ListedObject, ObjectName]] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What may be deleted.

    Attributes:
        place: The state.
        objects: What may be deleted.
        kept: Number of objects that no head names and that stay for now.
        foreign: Number of objects that asyncfilter did not make, which stay.
        etag: Of the head that the plan is for.
    """

    place: StatePlace
    objects: list[StoredInfo]
    kept: int
    foreign: int
    etag: str

    @property
    def bytes(self) -> int:
        """Size of what may be deleted."""
        return sum(one.size_bytes for one in self.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was deleted: objects and bytes; ``left`` is what a plan named and what may not be deleted any more."""

    objects: int = 0
    bytes: int = 0
    left: int = 0


async def find_unnamed(store: StateStore, place: StatePlace) -> UnnamedObjects:
    """The objects in the folder of a state that no head names.

    Raises:
        CheckpointError: The head cannot be read.
    """
    found = UnnamedObjects(seen=await read_head(store, place))
    listed = [(one, place.parse(one.key)) async for one in store.listed(place.bucket, place.folder)]
    heads: list[Head] = [] if found.seen is None else [found.seen.head]
    for one, name in listed:
        if name is not None and name.kind is ObjectKind.KEPT_HEAD:
            heads += await _kept_head(store, place, one, name.state_id, found)
    found.known.update(head.state_id for head in heads)
    named = {key for head in heads for key in head.named_keys}
    for one, name in listed:
        if name is None:
            found.foreign.append(one.key)
        elif name.kind not in {ObjectKind.HEAD, ObjectKind.KEPT_HEAD} and one.key not in named:
            found.unnamed.append((one, name))
    return found


async def plan_prune(store: StateStore, place: StatePlace, host: Host | None = None) -> PrunePlan | None:
    """What may be deleted of a state now; None when there is no state.

    Args:
        store: Where it is.
        place: The state.
        host: Finds out whether an owner on this host is running; by default the real one.

    Raises:
        CheckpointError: The head cannot be read.
    """
    found = await find_unnamed(store, place)
    # A process that has taken the state since the listing began may be about to name what was listed.
    again = await read_head(store, place)
    if found.seen is None or again is None:
        return None
    owner = again.head.owner
    is_owned = owner is not None and not is_gone(owner, host or ThisHost())
    owned = is_owned or again.etag != found.seen.etag
    infos = await _infos(store, place, [listed for listed, _ in found.unnamed])
    chosen = [
        info
        for info, (_, name) in zip(infos, found.unnamed, strict=True)
        if info is not None and _is_over(name, info, found, again.head, owned=owned)
    ]
    return PrunePlan(
        place=place,
        objects=chosen,
        kept=len(found.unnamed) - len(chosen),
        foreign=len(found.foreign),
        etag=again.etag,
    )


async def prune(store: StateStore, plan: PrunePlan) -> Pruned:
    """Delete what a plan names; where the state was taken or went on since, only what may be deleted even so.

    Raises:
        CheckpointError: The head cannot be read any more; nothing was deleted.
    """
    seen = await read_head(store, plan.place)
    now = plan if seen is not None and seen.etag == plan.etag else await plan_prune(store, plan.place)
    still = set() if now is None else {(info.place, info.etag) for info in now.objects}
    deleted = [
        info for info in plan.objects if (info.place, info.etag) in still and await store.delete(info.place, info.etag)
    ]
    return Pruned(
        objects=len(deleted), bytes=sum(one.size_bytes for one in deleted), left=len(plan.objects) - len(deleted)
    )


async def _infos(store: StateStore, place: StatePlace, listed: Sequence[ListedObject]) -> list[StoredInfo | None]:
    """What is known of each object; None for one that is gone or another by now."""
    infos: list[StoredInfo | None] = [None] * len(listed)
    limiter = anyio.CapacityLimiter(_LOOKS_AT_ONCE)

    async def look(number: int, one: ListedObject) -> None:
        async with limiter:
            info = await store.head(S3Location(place.bucket, one.key))
        infos[number] = info if info is not None and info.etag == one.etag else None

    async with anyio.create_task_group() as tasks:
        for number, one in enumerate(listed):
            tasks.start_soon(look, number, one)
    return infos


async def _kept_head(
    store: StateStore, place: StatePlace, listed: ListedObject, state_id: str, found: UnnamedObjects
) -> list[Head]:
    stored = await store.get(S3Location(place.bucket, listed.key), most_bytes=MOST_HEAD_BYTES)
    try:
        if stored is not None:
            return [decode_head(stored.body, place)]
    except CheckpointError as error:
        found.problems.append(f"{listed.key}: {error.message}")
        found.unreadable.add(state_id)
    return []


def _is_over(name: ObjectName, info: StoredInfo, found: UnnamedObjects, head: Head, *, owned: bool) -> bool:
    """Whether no head will ever name an object; see the module."""
    age_s = -1.0 if info.age_s is None else info.age_s
    if name.state_id in found.unreadable:
        return False
    if name.kind is ObjectKind.PROBE:
        return age_s >= REPLACED_S
    if name.state_id not in found.known:
        return age_s >= STRAY_S
    if name.state_id != head.state_id or not owned:
        return True
    return age_s >= (REPLACED_S if name.commit <= head.commit else STRAY_S)
