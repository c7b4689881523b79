"""A checkpoint from somebody else: nothing is deleted or written in places that the job does not name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from asyncfilter.errors import UsageError
from asyncfilter.folders import FolderRemover
from asyncfilter.folders.places import canonical_places
from asyncfilter.job import Job
from asyncfilter.model import FOLDER, ActionKind, S3Location
from asyncfilter.policy.removal_places import OTHER_PLACES, SHOWN_PLACES, PlaceCount, RemovalPlaces, allowed_place
from asyncfilter.policy.removal_plan import Consent, RemovalPlan
from asyncfilter.records.images import DoneEffect
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import Removal, Step, Versioning
from asyncfilter.report.terminal.apply import draw_plan
from asyncfilter.testing import MemoryCheckpoint
from asyncfilter.wiring import Overrides, plan_undo, undo
from tests.kit.buckets import Bucket
from tests.kit.jobs import make_bare_job

LABELS = {"birds/a.jpg": "Robin", "birds/b.jpg": "Person", "birds/c.jpg": "Person"}
BODY = b"precious"


def a_job(source: str = "s3://raw/birds/", **actions: Any) -> Job:
    """A job that moves people to quarantine and copies robins."""
    default = {"keep": {"copy": "s3://clean/robin/{key}"}, "reject": {"move": "s3://bin/{name}/{key}"}}
    return make_bare_job(source=source, actions=default | actions)


class HostileBucket(Bucket):
    """A bucket whose checkpoint somebody else changed."""

    def __init__(self, **store: Any) -> None:
        super().__init__(LABELS, max_share=1.0, **store)
        self.run(a_job())
        for bucket, key in (("victim", "precious.jpg"), ("raw", "other/precious.jpg"), ("bin", "precious.jpg")):
            self.store.put(key, BODY, bucket)

    def commit(self, **changes: Any) -> None:
        """Write to the checkpoint."""
        anyio.run(self.checkpoint.commit, Batch(**changes))
        self.checkpoint = self.checkpoint.reopen()

    def etag(self, bucket: str, key: str) -> str:
        """The ETag of an object."""
        found = anyio.run(self.store.head, S3Location(bucket, key))
        assert found is not None
        return found.etag

    def forge(self, target: str, key: str = "birds/x.jpg", **fields: Any) -> None:
        """An entry of a move that was never made."""
        removal = Removal(
            image=9, key=key, etag="e", size_bytes=len(BODY), kind=ActionKind.MOVE, target=target, step=Step.DELETED
        )
        self.commit(removals=[msgspec.structs.replace(removal, **fields)])

    def everything(self) -> dict[str, dict[str, bytes | None]]:
        """All objects."""
        return {bucket: self.bodies(bucket) for bucket in ("raw", "clean", "bin", "victim")}


def shown(plan: RemovalPlan) -> str:
    """The plan as a user sees it."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(draw_plan(plan, None))
    return captured.get()


@pytest.mark.parametrize(
    ("bucket", "key", "place"),
    [
        ("victim", "precious.jpg", "s3://victim/"),
        ("raw", "other/precious.jpg", "s3://raw/other/"),
        # The quarantine of another job in the same bucket.
        ("bin", "precious.jpg", "s3://bin/"),
    ],
)
def test_undo_deletes_no_copy_elsewhere(bucket: str, key: str, place: str) -> None:
    """An entry that names an object of another bucket or prefix stops the command, which names the place."""
    hostile = HostileBucket()
    hostile.forge(f"s3://{bucket}/{key}", copied=hostile.etag(bucket, key))
    before = hostile.everything()
    plan = hostile.plan_undo(a_job())
    assert [(use.place, use.is_covered) for use in plan.places] == [(place, False), ("s3://raw/birds/", True)]
    assert f"{place}  1: refused" in shown(plan)
    with pytest.raises(UsageError, match="does not name") as caught:
        hostile.undo(a_job())
    assert f"--allow-place {place}" in (caught.value.hint or "")
    assert hostile.everything() == before
    for near in ("s3://victi/", "s3://victim/preciou", f"{place}deeper/", "s3://bin/robins/"):
        with pytest.raises(UsageError, match="does not name"):
            hostile.undo(a_job(), allow_places=(near,))
    assert hostile.everything() == before


def test_a_place_that_the_user_allows_is_used() -> None:
    """The way out that the message names works."""
    hostile = HostileBucket()
    hostile.forge("s3://victim/precious.jpg", copied=hostile.etag("victim", "precious.jpg"))
    assert hostile.undo(a_job(), allow_places=("s3://victim",)).restored == 1
    assert hostile.bodies("victim") == {}


@pytest.mark.parametrize("place", ["victim", "s4://victim/", "", "s3://V/"])
def test_a_place_is_an_address(place: str) -> None:
    """Anything else is refused, and nothing done."""
    with pytest.raises(UsageError, match="--allow-place"):
        HostileBucket().undo(a_job(), images=0, allow_places=(place,))


def test_undo_removes_no_marker_outside_the_source() -> None:
    """A delete marker of another prefix stays: somebody deleted that object on purpose."""
    hostile = HostileBucket(versioning=Versioning.ON)
    hostile.store.remove("other/precious.jpg")
    marker = anyio.run(hostile.store.versions, S3Location("raw", "other/precious.jpg"))[0].id
    hostile.forge("", key="other/precious.jpg", kind=ActionKind.DELETE, marker=marker)
    with pytest.raises(UsageError, match=r"s3://raw/other/"):
        hostile.undo(a_job())
    assert hostile.store.body("other/precious.jpg") is None


def test_apply_deletes_no_image_outside_the_source() -> None:
    """A row of another prefix, with labels and a decision, is an image of another job."""
    hostile = HostileBucket()
    rows = {row.key: row for row in hostile.checkpoint.images}
    forged = msgspec.structs.replace(
        rows["birds/b.jpg"], key="other/precious.jpg", etag=hostile.etag("raw", "other/precious.jpg"), size_bytes=8
    )
    hostile.checkpoint._held().rows.by_id[forged.id] = forged
    before = hostile.everything()
    with pytest.raises(UsageError, match=r"s3://raw/other/"):
        hostile.apply(a_job(), 2)
    assert hostile.everything() == before


@pytest.mark.parametrize("target", ["s3://victim/precious.jpg", "s3://clean/precious.jpg", "s3://raw/birds/b.jpg"])
def test_stale_copies_elsewhere_stay(target: str) -> None:
    """A confirmed copy that was never made, of an object with the same content."""
    hostile = HostileBucket()
    bucket, _, key = target.removeprefix("s3://").partition("/")
    hostile.store.put(key, b"birds/a.jpg", bucket)
    row = next(row for row in hostile.checkpoint.images if row.key == "birds/a.jpg")
    hostile.commit(effects=[(row.id, DoneEffect(ActionKind.COPY, target))])
    before = hostile.everything()
    with pytest.raises(UsageError, match="does not name"):
        hostile.apply(a_job(), 1, stale=True)
    assert hostile.everything() == before


def test_what_the_job_did_is_covered() -> None:
    """A whole cycle needs no permission: its own targets with placeholders, duplicates, the whole bucket."""
    for job in (a_job(), a_job("s3://raw/"), a_job(reject={"move": "s3://bin/{stem}.{ext}"}, keep="none")):
        bucket = Bucket(LABELS, max_share=1.0)
        bucket.run(job)
        assert bucket.apply(job).moved == 2
        assert bucket.undo(job).restored == 2


# -- Folders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "victim/precious.jpg",
        "bin/../victim/precious.jpg",
        "bin/link/precious.jpg",
        "bin/./link/../victim/precious.jpg",
        "bin-else/precious.jpg",
    ],
)
def test_undo_deletes_no_file_elsewhere(path: str, tmp_path: Path) -> None:
    """Also not through ``..`` or through a symbolic link that somebody put into the quarantine."""
    for name in ("photos", "bin", "victim", "bin-else"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin" / "link").symlink_to(tmp_path / "victim")
    precious = tmp_path / path
    precious.write_bytes(BODY)
    job = make_bare_job(base_dir=tmp_path, source="./photos", actions={"reject": {"move": "./bin/"}})
    checkpoint, remover = MemoryCheckpoint(), FolderRemover(tmp_path / "photos")

    async def forge() -> None:
        found = await remover.head(S3Location(FOLDER, str(precious.resolve()).lstrip("/")))
        assert found is not None
        removal = Removal(
            image=1,
            key="x.jpg",
            etag="e",
            size_bytes=found.size_bytes,
            kind=ActionKind.MOVE,
            target=f"{FOLDER}{tmp_path}/{path}",
            step=Step.DELETED,
            copied=found.etag,
        )
        await checkpoint.commit(Batch(removals=[removal]))

    async def bring_back(*allowed: str) -> int:
        overrides = Overrides(remover=remover, checkpoint=checkpoint)
        images = (await plan_undo(job, overrides=overrides)).images
        return (await undo(job, Consent(images=images), overrides=overrides, allow_places=allowed)).restored

    anyio.run(forge)
    with pytest.raises(UsageError, match="does not name"):
        anyio.run(bring_back)
    assert precious.read_bytes() == BODY
    assert anyio.run(bring_back, str(precious.resolve().parent)) == 1


def test_a_folder_behind_a_link_is_the_jobs_own_place(tmp_path: Path) -> None:
    """A quarantine or a source that is a link itself is what the job names."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "bin").symlink_to(tmp_path / "disk")
    (tmp_path / "photos").symlink_to(tmp_path / "disk")
    job = make_bare_job(base_dir=tmp_path, source="./photos", actions={"reject": {"move": "./bin/q-{key}"}})
    places = RemovalPlaces(job, canonical=canonical_places())
    assert places.copy(f"{FOLDER}{tmp_path}/bin/q-a.jpg") == (f"{FOLDER}{tmp_path}/bin/q-", True)
    assert places.copy(f"{FOLDER}{tmp_path}/disk/q-a.jpg")[1]
    assert not places.copy(f"{FOLDER}{tmp_path}/bin/a.jpg")[1]
    assert places.image("deep/a.jpg")[1]
    for key in ("../a.jpg", "deep/../../a.jpg", "..", "a/../..", "x\0y/z.jpg"):
        assert not places.image(key)[1], key


# -- Arithmetic --------------------------------------------------------------------------------------------------------


@given(st.lists(st.text("ab/.", max_size=8), max_size=60))
def test_places_are_few_and_count_everything(keys: Sequence[str]) -> None:
    """However many places a checkpoint names, every image is counted, and no covered one as another."""
    count = PlaceCount(RemovalPlaces(a_job("s3://raw/a/")))
    for key in keys:
        count.add_image(key)
    uses = count.uses()
    assert sum(use.images for use in uses) == len(keys)
    assert sum(use.images for use in uses if use.is_covered) == sum(key.startswith("a/") for key in keys)
    assert len(uses) <= SHOWN_PLACES + 2
    assert all(use.place == OTHER_PLACES or use.place.endswith("/") for use in uses)


def test_thousands_of_places_are_not_listed() -> None:
    """The message stays short."""
    count = PlaceCount(RemovalPlaces(a_job()))
    for index in range(5000):
        count.add_copy(f"s3://bucket-{index}/x.jpg")
    assert len(count.uses()) == SHOWN_PLACES + 1
    assert sum(use.images for use in count.uses()) == 5000


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("s3://b", "s3://b/"), ("s3://b/", "s3://b/"), ("s3://b/p", "s3://b/p/"), ("s3://b/p/", "s3://b/p/")],
)
def test_an_allowed_prefix_has_no_neighbours(name: str, beginning: str) -> None:
    """``s3://b/p`` allows nothing in ``s3://b/pictures/``."""
    bucket, _, key = name.removeprefix("s3://").partition("/")
    assert allowed_place(S3Location(bucket, key)).uri == beginning
