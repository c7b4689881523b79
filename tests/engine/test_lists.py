"""Lists as sources, on ports in memory: their order, what is looked at, kills, and lists that change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter import Job, Summary
from asyncfilter.datasets.lists import ListSource
from asyncfilter.engine.examine.assembly import assemble
from asyncfilter.engine.examine.inputs import Options
from asyncfilter.engine.examine.present_source import PresentSource
from asyncfilter.engine.examine.stored_listing import StoredListing, by_key
from asyncfilter.errors import PermissionDeniedError, TransientError
from asyncfilter.model import MISSING, UNREADABLE, ListedObject
from asyncfilter.policy.sampling import Ranking
from asyncfilter.ports.examine import Page
from asyncfilter.testing import MemoryCheckpoint, Stage
from asyncfilter.wiring.detectors import own_backend
from asyncfilter.wiring.inputs import inputs_of
from asyncfilter.wiring.lists import in_order
from asyncfilter.wiring.session import new_context
from tests.kit.jobs import make_job
from tests.kit.labels import birds

LIST = {"uri": "s3://raw/", "list": "./keys.csv"}
INVENTORY = {"uri": "s3://raw/", "inventory": "s3://lists/manifest.json"}


class OneFile:
    """``ListFile`` with given objects."""

    def __init__(self, objects: Sequence[ListedObject]) -> None:
        self._objects = objects

    async def objects(self) -> Any:
        """See ``ListFile``."""
        return iter(self._objects)


class StageHeads:
    """``Heads`` of a stage's source; counts what is looked at."""

    def __init__(self, stage: Stage, error: Exception | None = None) -> None:
        self.looked: Counter[str] = Counter()
        self._stage = stage
        self._error = error

    async def head(self, key: str) -> ListedObject | None:
        """See ``Heads``."""
        self.looked[key] += 1
        await anyio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error
        return self._stage.source.head(key)


class MemoryList:
    """As ``ListSource``, without threads, for virtual time."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._next = 0

    async def page(self, after: str | None) -> Page:
        """See ``Source``: the page behind the one before it."""
        await anyio.lowlevel.checkpoint()
        start = self._next = 0 if after is None else self._next
        self._next += 7
        objects = [ListedObject(key, 1, "") for key in dict.fromkeys(self._keys[start : self._next])]
        while objects and objects[-1].key == after:
            objects.pop()
        return Page(objects, is_last=self._next >= len(self._keys))


def source_of(keys: Sequence[str], files: int = 1) -> ListSource:
    """A list of keys alone, in some files."""
    objects = [ListedObject(key, 1, "") for key in keys]
    return ListSource([OneFile(objects[start::files]) for start in range(files)])


async def live(stage: Stage, job: Job, keys: Sequence[str], origin: str, heads: StageHeads | None = None) -> Summary:
    """One run over a list."""
    inputs = inputs_of(job, MemoryList(keys), own_backend(job, stage.detector))
    inputs = msgspec.structs.replace(inputs, origin=origin, heads=heads or StageHeads(stage))
    pipeline = assemble(
        job,
        context=new_context(stage.overrides(), on_event=stage.events.append),
        checkpoint=stage.checkpoint,
        sink=stage.sink,
        inputs=in_order(job.source, inputs, stage.checkpoint),
        options=Options(),
    )
    return await pipeline.run()


def run_list(
    stage: Stage, job: Job, keys: Sequence[str], origin: str = "v1", heads: StageHeads | None = None
) -> Summary:
    """One run over a list, like a process of its own."""
    return stage._live(partial(live, stage, job, keys, origin, heads))


def rows(stage: Stage) -> list[tuple[int | None, str, Any]]:
    """What the checkpoint has, by position."""
    found = [(row.seq, row.key, row.decision) for row in stage.checkpoint.images if row.seq is not None]
    return sorted(found, key=lambda row: row[0] or 0)


# -- The same answer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["listing", "random"])
def test_an_inventory_has_the_order_of_the_listing(order: str) -> None:
    """Positions, verdicts and the stop are those over the listing, whatever the order of the rows is."""
    labels, stop = birds(300), {"matches": 20}
    listing, inventory = Stage(labels), Stage(labels, seed=5)
    first = listing.run(make_job(source={"uri": "s3://raw/", "order": order}, stop=stop))
    keys = random.Random(1).sample(list(labels), len(labels))
    second = run_list(inventory, make_job(source=INVENTORY | {"order": order}, stop=stop), keys)
    assert rows(inventory) == rows(listing)
    assert second.stop_reason is first.stop_reason
    assert (second.counts.examined, second.counts.keep) == (first.counts.examined, first.counts.keep)
    assert inventory.copied() == listing.copied()


def test_a_list_has_its_own_order() -> None:
    """Each key once, at its first place; ``max_images`` takes the first ones."""
    stage = Stage(birds(50))
    keys = list(stage.labels)[::-1]
    run_list(stage, make_job(source=LIST, limits={"tps": 2000, "max_images": 5}), [*keys[:3], keys[0], *keys])
    assert [row[1] for row in rows(stage)] == keys[:5]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0.05, 2.0), max_size=4))
def test_kills_change_nothing(seed: int, lives_s: list[float]) -> None:
    """A killed run over a list is continued where it was: the same rows, and little is paid twice."""
    rng = random.Random(seed)
    labels = birds(60)
    keys = [*rng.sample(list(labels), 50), *rng.sample(list(labels), 20)]
    job = make_job(source=LIST, limits={"tps": 60, "concurrency": 8})
    whole, killed = Stage(labels), Stage(labels)
    run_list(whole, job, keys)

    async def die(life_s: float) -> None:
        with anyio.move_on_after(life_s):
            await live(killed, job, keys, "v1")

    for life_s in lives_s:
        killed._live(partial(die, life_s))
    summary = run_list(killed, job, keys)
    assert rows(killed) == rows(whole)
    assert summary.counts.listed == len(set(keys))
    assert sum(killed.detector.attempts.values()) <= len(set(keys)) + 8 * len(lives_s)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_lists_that_change_lose_nothing(seed: int, cuts: list[int]) -> None:
    """Other lists, and the listing, in the middle of passes: each image is examined once, and none is left out."""
    rng = random.Random(seed)
    stage = Stage(birds(30))
    limit, keys = 0, list(stage.labels)
    for number, cut in enumerate(cuts):
        limit += cut
        limits = {"tps": 2000, "max_images": limit}
        if rng.random() < 0.3:
            stage.run(make_job(source="s3://raw/", limits=limits))
        else:
            run_list(stage, make_job(source=LIST, limits=limits), rng.sample(keys, 20), f"v{number}")
    last = rng.sample(keys, 25)
    summary = run_list(stage, make_job(source=LIST), last, "last")
    assert set(stage.detector.attempts.values()) == {1}
    assert set(last) <= {row[1] for row in rows(stage)}
    assert [row[0] for row in rows(stage)] == list(range(1, len(rows(stage)) + 1))
    assert (summary.counts.listed, summary.stop_reason) == (25, "completed")


# -- Looking -----------------------------------------------------------------------------------------------------------


def test_what_is_known_is_not_looked_at() -> None:
    """With ETags in the list, only what may be paid for; of a list without them, everything."""
    stage, job = Stage(birds(20)), make_job(source=INVENTORY)
    keys = list(stage.labels)
    first, second = StageHeads(stage), StageHeads(stage)
    run_list(stage, job, keys, heads=first)
    run_list(stage, job, keys, heads=second)
    assert first.looked == second.looked == Counter(keys)
    known = [stage.source.head(key) for key in keys]
    third = StageHeads(stage)
    present = PresentSource(
        ListSource([OneFile([one for one in known if one is not None])]),
        third,
        check=lambda _: None,
        known=stage.checkpoint.by_keys,
    )
    assert len(anyio.run(present.page, None).objects) == 20
    assert not third.looked


def test_an_attempt_looks_at_what_is_left() -> None:
    """A page that failed is not looked at again from its start."""
    stage = Stage(birds(10))
    heads = StageHeads(stage)
    keys = list(stage.labels)
    faults = iter([TransientError("no", may_be_billed=False)])

    class Failing(StageHeads):
        async def head(self, key: str) -> ListedObject | None:
            if key == keys[5] and (error := next(faults, None)) is not None:
                raise error
            return await heads.head(key)

    present = PresentSource(source_of(keys), Failing(stage), check=lambda _: None, known=stage.checkpoint.by_keys)

    async def attempts() -> int:
        with pytest.raises(TransientError):
            await present.page(None)
        return len((await present.page(None)).objects)

    assert anyio.run(attempts) == 10
    assert set(heads.looked.values()) == {1}


def test_what_is_gone_and_what_is_forbidden() -> None:
    """Gone: marked as missing. Forbidden: as the list has it, or unreadable; the examination finds the cause."""
    stage = Stage({"a.jpg": "Robin"})
    denied = StageHeads(stage, PermissionDeniedError("denied"))
    objects = [ListedObject("a.jpg", 5, "etag"), ListedObject("b.jpg", 1, "")]
    page = partial(PresentSource, check=lambda _: None, known=stage.checkpoint.by_keys)
    forbidden = anyio.run(page(ListSource([OneFile(objects)]), denied).page, None)
    assert list(forbidden.objects) == [objects[0], ListedObject("b.jpg", 1, UNREADABLE)]
    found = anyio.run(page(ListSource([OneFile(objects)]), StageHeads(stage)).page, None)
    assert [one.etag for one in found.objects] == ["etag-a.jpg", MISSING]


# -- Storing -----------------------------------------------------------------------------------------------------------


async def test_a_stored_list_is_not_read_again() -> None:
    """Its version is the same; with another one it is replaced."""
    store = MemoryCheckpoint()
    keys = ["b", "a", "b", "c"]
    first = StoredListing(source_of(keys, files=2), store, rank=None, origin="v1")
    assert [one.key for one in (await first.page(None)).objects] == ["b", "a", "c"]
    again = StoredListing(ListSource([]), store, rank=None, origin="v1")
    assert [one.key for one in (await again.page("b")).objects] == ["a", "c"]
    other = StoredListing(source_of(["d", "c"]), store, rank=by_key, origin="v2")
    assert [one.key for one in (await other.page(None)).objects] == ["c", "d"]
    shuffled = StoredListing(source_of(keys), store, rank=Ranking(3).rank, origin="v3")
    assert [one.key for one in (await shuffled.page(None)).objects] == sorted({*keys}, key=Ranking(3).rank)


async def test_pages_of_one_key_end() -> None:
    """A list of one key many times, over several pages and files, is one object."""
    store = MemoryCheckpoint()
    listing = StoredListing(source_of(["a"] * 50_000, files=2), store, rank=None, origin="v1")
    page = await listing.page(None)
    assert ([one.key for one in page.objects], page.is_last) == (["a"], True)
    empty = StoredListing(ListSource([OneFile([]), OneFile([])]), store, rank=None, origin="v2")
    assert list((await empty.page(None)).objects) == []
