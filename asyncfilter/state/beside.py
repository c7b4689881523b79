"""Beside the commits of a state: what a background task has made for the next head, and what no head names any more."""

from __future__ import annotations

from asyncfilter.clock import Clock
from asyncfilter.errors import AsyncFilterError
from asyncfilter.ports.keeping import Grant
from asyncfilter.state.head import Head, Segment, Snapshot
from asyncfilter.state.making import CutRead
from asyncfilter.state.names import StatePlace
from asyncfilter.state.owner import StateOwner
from asyncfilter.state.unnamed import STRAY_S, plan_prune

_DELETE_AFTER_S = 3600.0
"""Objects that are named no more stay for so long: others may still read them."""

_TIDY_AFTER_S = 60.0
"""A run that is over before looks for nothing to delete."""

_AT_ONCE = 10
"""Most objects that are deleted after one commit."""


class Names:
    """What the next head names in place of what the last one names, once a background task has made it.

    Attributes:
        snapshot: A new snapshot; None without one.
        is_blocking: Nothing else can hold what it holds.
        grant: What was granted with its cut.
        read: What its cut holds.
        number: Of the commit that made its cut.
        joined: Segments in place of the first ones, whose keys are ``replaced``.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.is_blocking = False
        self.grant: Grant | None = None
        self.read: CutRead | None = None
        self.number = 0
        self.joined: list[Segment] = []
        self.replaced: list[str] = []

    def apply(self, head: Head, place: StatePlace) -> tuple[Snapshot | None, list[Segment]]:
        """Snapshot and segments of the next head, whatever the last one names by now."""
        if self.snapshot is not None:
            later = [one for one in head.segments if _commit_of(one, place) > self.snapshot.commit]
            return self.snapshot, later
        count = len(self.replaced)
        if [one.key for one in head.segments[:count]] != self.replaced:
            return head.snapshot, head.segments
        return head.snapshot, [*self.joined, *head.segments[count:]]


def _commit_of(segment: Segment, place: StatePlace) -> int:
    name = place.parse(segment.key)
    return -1 if name is None else name.commit


class Cleaning:
    """Deletes the objects of a state that no head names any more.

    Args:
        owner: Of the state.
        clock: Sleeps.
    """

    def __init__(self, owner: StateOwner, clock: Clock) -> None:
        self._owner, self._clock = owner, clock
        self._due: list[tuple[float, str]] = []

    def forget(self, keys: set[str]) -> None:
        """Note objects that the last head does not name any more."""
        due_s = self._owner.now_s() + _DELETE_AFTER_S
        self._due += [(due_s, key) for key in sorted(keys)]

    async def delete_due(self) -> None:
        """Delete a few objects that no head has named for an hour."""
        now_s = self._owner.now_s()
        for due_s, key in self._due[:_AT_ONCE]:
            if due_s > now_s:
                return
            await self._owner.delete(key)
            self._due.pop(0)

    async def tidy(self) -> None:
        """Delete, after a while, what no head has named for a day: left by processes that were killed."""
        await self._clock.sleep(_TIDY_AFTER_S)
        try:
            plan = await plan_prune(self._owner.store, self._owner.place)
        except AsyncFilterError:
            return  # for the next run, or `state prune`
        for one in [] if plan is None else plan.objects:
            if (one.age_s or 0.0) >= STRAY_S:
                await self._owner.delete(one.place.key)
