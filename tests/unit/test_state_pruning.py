"""What ``state prune`` may delete: only what no head will ever name, whoever comes in between."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.errors import CheckpointError
from asyncfilter.model import S3Location
from asyncfilter.state.head import encode_head
from asyncfilter.state.names import new_id
from asyncfilter.state.unnamed import REPLACED_S, STRAY_S, find_unnamed, plan_prune, prune
from asyncfilter.testing.state_store import MemoryStateStore
from tests.kit.states import SOMEBODY, HandMade

pytestmark = pytest.mark.anyio


@pytest.fixture
def state(tmp_path: Path) -> HandMade:
    """A state at commit 3 that nobody owns."""
    made = HandMade(MemoryStateStore(), tmp_path)
    made.commit_snapshot()
    made.commit_segment()
    made.commit_segment()
    return made


async def planned(state: HandMade) -> set[S3Location]:
    """What may be deleted."""
    plan = await plan_prune(state.store, state.place)
    assert plan is not None
    return {info.place for info in plan.objects}


def put(state: HandMade, place: S3Location, *, age_s: float) -> S3Location:
    """An object of some age."""
    state.store.now_s -= age_s
    state.store.write(place, b"unnamed")
    state.store.now_s += age_s
    return place


async def test_what_is_named_is_never_deleted(state: HandMade) -> None:
    """However old."""
    state.store.now_s += 100 * STRAY_S
    assert await planned(state) == set()


async def test_without_an_owner_everything_unnamed_of_the_state_may_go(state: HandMade) -> None:
    """Whoever takes the state rewrites the head before anything else."""
    segment = put(state, state.place.new_segment(state.head.state_id, 2), age_s=0)
    snapshot = put(state, state.place.new_snapshot(state.head.state_id, 99), age_s=0)
    assert await planned(state) == {segment, snapshot}


@pytest.mark.parametrize(
    ("commit", "age_s", "is_deleted"),
    [
        (3, REPLACED_S - 1, False),
        (3, REPLACED_S, True),
        (4, REPLACED_S, False),
        (4, STRAY_S - 1, False),
        (4, STRAY_S, True),
    ],
)
async def test_while_somebody_owns_it_by_age_alone(
    state: HandMade, commit: int, age_s: float, is_deleted: bool
) -> None:
    """An owner may be about to name a new object, and others may still read a replaced one."""
    state.write_head(owner=SOMEBODY, commit=3)
    place = put(state, state.place.new_segment(state.head.state_id, commit), age_s=age_s)
    assert await planned(state) == ({place} if is_deleted else set())


@pytest.mark.parametrize(("age_s", "is_deleted"), [(STRAY_S - 1, False), (STRAY_S, True)])
async def test_an_unknown_state_may_be_one_that_is_being_made(state: HandMade, age_s: float, is_deleted: bool) -> None:
    """A push puts the snapshot before the head."""
    place = put(state, state.place.new_snapshot(new_id(), 1), age_s=age_s)
    assert await planned(state) == ({place} if is_deleted else set())


@pytest.mark.parametrize(("age_s", "is_deleted"), [(REPLACED_S - 1, False), (REPLACED_S, True)])
async def test_a_probe_may_be_at_work(state: HandMade, age_s: float, is_deleted: bool) -> None:
    """Deleted in the middle, a good store would be taken for a bad one."""
    place = put(state, state.place.new_probe(), age_s=age_s)
    assert await planned(state) == ({place} if is_deleted else set())


async def test_an_object_without_an_age_counts_as_new(state: HandMade, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may send no date."""
    put(state, state.place.new_probe(), age_s=10 * STRAY_S)
    head = state.store.head

    async def dateless(place: S3Location) -> object:
        info = await head(place)
        return None if info is None else info._replace(age_s=None)

    monkeypatch.setattr(state.store, "head", dateless)
    assert await planned(state) == set()


async def test_the_objects_of_kept_heads_stay(state: HandMade, tmp_path: Path) -> None:
    """And where a kept head cannot be read, everything of its state."""
    old = HandMade(MemoryStateStore(), tmp_path / "old")
    old.commit_snapshot()
    for place, stored in old.store.objects.items():
        if place != old.place.head:
            state.store.write(place, stored.body)
    state.store.write(state.place.kept_head(old.head.state_id), encode_head(old.head))
    rest = put(state, state.place.new_segment(old.head.state_id, 1), age_s=0)
    assert await planned(state) == {rest}
    state.store.write(state.place.kept_head(old.head.state_id), b"no JSON")
    state.store.now_s += 10 * STRAY_S
    assert await planned(state) == set()
    found = await find_unnamed(state.store, state.place)
    assert old.head.state_id in found.problems[0]


async def test_foreign_objects_and_neighbours_stay(state: HandMade) -> None:
    """Only names that asyncfilter makes, and only in this state's folder."""
    state_id = state.head.state_id
    for place in (
        state.place.at("readme.txt"),
        state.place.at(f"{state_id}/segment-2.zz"),
        state.place.at(f"{state_id}/segment-2-{new_id()}.zz.bak"),
        state.place.at(f"{state_id}/more/segment-2-{new_id()}.zz"),
        state.place._replace(name="robins-2").new_segment(state_id, 2),
        state.place.answers.new_segment(state_id, 2),
        S3Location(state.place.bucket, state.place.folder),
    ):
        put(state, place, age_s=10 * STRAY_S)
    assert await planned(state) == set()


async def test_without_a_head_nothing_is_deleted(state: HandMade) -> None:
    """A head that somebody deleted by mistake must not take all objects with it."""
    del state.store.objects[state.place.head]
    state.store.now_s += 10 * STRAY_S
    assert await plan_prune(state.store, state.place) is None


async def test_with_a_foreign_head_nothing_is_deleted(state: HandMade) -> None:
    """It may be a newer one."""
    state.store.write(state.place.head, b'{"format": 2}')
    with pytest.raises(CheckpointError):
        await plan_prune(state.store, state.place)


async def test_who_takes_the_state_between_listing_and_plan_loses_nothing(state: HandMade) -> None:
    """The head is read again after the listing."""
    put(state, state.place.new_segment(state.head.state_id, 4), age_s=0)

    def fault(operation: str, place: S3Location) -> object:
        del place
        if operation == "list" and state.head.owner is None:
            state.write_head(owner=SOMEBODY, epoch=2)
        return None

    state.store.fault = fault
    assert await planned(state) == set()


async def test_who_takes_the_state_between_plan_and_deletion_loses_nothing(state: HandMade) -> None:
    """A person thinks about the question for minutes."""
    new = put(state, state.place.new_segment(state.head.state_id, 4), age_s=0)
    old = put(state, state.place.new_segment(state.head.state_id, 1), age_s=REPLACED_S)
    plan = await plan_prune(state.store, state.place)
    assert plan is not None
    assert {info.place for info in plan.objects} == {new, old}
    state.write_head(owner=SOMEBODY, epoch=2)
    done = await prune(state.store, plan)
    assert (done.objects, done.left) == (1, 1)
    assert new in state.store.objects
    assert old not in state.store.objects


async def test_an_object_that_was_replaced_since_the_plan_stays(state: HandMade) -> None:
    """Each is deleted on condition of the ETag that was listed."""
    place = put(state, state.place.new_segment(state.head.state_id, 1), age_s=REPLACED_S)
    plan = await plan_prune(state.store, state.place)
    assert plan is not None
    state.store.write(place, b"another")
    done = await prune(state.store, plan)
    assert (done.objects, done.left) == (0, 1)
    assert place in state.store.objects


async def test_a_head_that_names_it_by_now_keeps_it(state: HandMade) -> None:
    """The plan is made anew when the head changed."""
    segment = state.head.segments[-1]
    shorter = msgspec.structs.replace(state.head, segments=state.head.segments[:-1])
    state.store.write(state.place.head, encode_head(shorter))
    plan = await plan_prune(state.store, state.place)
    assert plan is not None
    assert {info.place.key for info in plan.objects} == {segment.key}
    state.store.write(state.place.head, encode_head(state.head))
    assert (await prune(state.store, plan)).objects == 0


async def test_an_owner_of_this_host_that_is_no_more_owns_nothing(state: HandMade) -> None:
    """What a killed process left may go at once."""
    me = ThisHost().me
    here = msgspec.structs.replace(
        SOMEBODY, host=me.host, boot_id=me.boot_id, pid_namespace=me.pid_namespace, pid=me.pid, started="another time"
    )
    state.write_head(owner=here, commit=3)
    place = put(state, state.place.new_segment(state.head.state_id, 4), age_s=0)
    assert await planned(state) == {place}
    state.write_head(owner=msgspec.structs.replace(here, started=me.started), commit=3)
    assert await planned(state) == set()
