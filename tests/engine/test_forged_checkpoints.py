"""A sound checkpoint whose rows somebody edited: it widens nothing that the job covers, and no image is lost by it."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from asyncfilter.errors import UsageError
from asyncfilter.events import ImageFailed
from asyncfilter.job import Job
from asyncfilter.model import ActionKind, S3Location
from asyncfilter.policy.removal_places import RemovalPlaces
from asyncfilter.records.images import DoneEffect
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import Removal, Step, Versioning
from tests.kit.buckets import Bucket
from tests.kit.jobs import make_bare_job

LABELS = {"birds/a.jpg": "Robin", "birds/b.jpg": "Person", "birds/c.jpg": "Person", "birds/d.jpg": "Robin"}
PRECIOUS = b"precious one"


def a_job(**actions: Any) -> Job:
    """A job that moves people to quarantine and copies robins."""
    default = {"keep": {"copy": "s3://clean/robin/{key}"}, "reject": {"move": "s3://bin/{key}"}}
    chosen = {name: action for name, action in (default | actions).items() if action != "none"}
    return make_bare_job(source="s3://raw/birds/", actions=chosen)


class Forged(Bucket):
    """A bucket after a run, whose checkpoint is edited."""

    def __init__(self, job: Job, labels: dict[str, str] = LABELS, **store: Any) -> None:
        super().__init__(labels, max_share=1.0, **store)
        self.run(job)

    def put(self, uri: str, body: bytes) -> str:
        """Store an object; returns its ETag."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.store.put(key, body, bucket)
        return self.etag(uri)

    def etag(self, uri: str) -> str:
        """The ETag of an object that is there."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        found = anyio.run(self.store.head, S3Location(bucket, key))
        assert found is not None
        return found.etag

    def row_id(self, key: str) -> int:
        """The id of the row of a key."""
        return next(row.id for row in self.checkpoint.images if row.key == key)

    def edit(self, of: str, /, **fields: Any) -> None:
        """Change fields of a row."""
        rows, id_ = self.checkpoint._held().rows, self.row_id(of)
        rows.by_id[id_] = edited = msgspec.structs.replace(rows.by_id[id_], **fields)
        rows.ids_by_key.setdefault(edited.key, set()).add(id_)

    def commit(self, **changes: Any) -> None:
        """Write to the checkpoint."""
        anyio.run(self.checkpoint.commit, Batch(**changes))
        self.checkpoint = self.checkpoint.reopen()

    def enter(self, of: str, /, **fields: Any) -> None:
        """Write an entry of the journal about the row of a key."""
        row = next(row for row in self.checkpoint.images if row.key == of)
        entry = Removal(
            image=row.id, key=of, etag=row.etag, size_bytes=row.size_bytes, kind=ActionKind.MOVE, step=Step.VERIFIED
        )
        self.commit(removals=[msgspec.structs.replace(entry, **fields)])


# -- Entries of an apply that was begun ------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["delete", {"move": "s3://bin/{key}"}])
@pytest.mark.parametrize("versioning", [Versioning.ON, Versioning.OFF])
@pytest.mark.parametrize("other", ["elsewhere/precious.jpg", "birds-evil/p.jpg", "birds/a.jpg"])
def test_an_entry_about_another_object_than_its_row(action: Any, versioning: Versioning, other: str) -> None:
    """The plan shows the row's key: the key of the entry is neither deleted nor moved."""
    job = a_job(reject=action)
    bucket = Forged(job, versioning=versioning)
    etag = bucket.put(f"s3://raw/{other}", PRECIOUS)
    bucket.edit("birds/b.jpg", etag=etag, size_bytes=len(PRECIOUS))
    kind, target = (ActionKind.DELETE, "") if action == "delete" else (ActionKind.MOVE, "s3://bin/birds/b.jpg")
    if target:
        bucket.put(target, PRECIOUS)
    step = Step.VERIFIED if target else Step.STARTED
    bucket.enter("birds/b.jpg", key=other, kind=kind, target=target, step=step, copied=etag if target else "")
    bucket.apply(job)
    assert bucket.store.body(other) == PRECIOUS
    assert bucket.store.body("birds/c.jpg") is None


@pytest.mark.parametrize("step", [Step.COPIED, Step.VERIFIED])
def test_an_entry_that_calls_another_object_the_copy(step: Step) -> None:
    """A resumed move deletes the image only behind its own content: else nothing has that any more."""
    job = a_job()
    bucket = Forged(job)
    body = bucket.store.body("birds/b.jpg")
    assert body is not None
    copied = bucket.put("s3://bin/birds/b.jpg", b"x" * len(body))
    bucket.enter("birds/b.jpg", target="s3://bin/birds/b.jpg", step=step, copied=copied)
    summary = bucket.apply(job)
    assert summary.failed == {"target_exists": 1}
    assert bucket.store.body("birds/b.jpg") == body
    assert bucket.store.body("birds/b.jpg", "bin") == b"x" * len(body)


# -- Entries of removals to be undone ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["s3://bin/cats/precious.jpg", "s3://bin/birds-evil/p.jpg", "s3://bin/birds"])
def test_the_quarantine_of_another_job_in_the_same_bucket(target: str) -> None:
    """Every ``{key}`` begins with the source's prefix, so what does not was moved by another job."""
    job = a_job()
    bucket = Forged(job)
    bucket.enter("birds/b.jpg", target=target, step=Step.DELETED, copied=bucket.put(target, PRECIOUS))
    with pytest.raises(UsageError, match="does not name"):
        bucket.undo(job)
    assert bucket.store.body(target.removeprefix("s3://bin/"), "bin") == PRECIOUS


def test_a_kept_copy_is_not_taken_back() -> None:
    """What an action copied was not moved, whatever an entry says: undo would empty the clean dataset."""
    job = a_job()
    bucket = Forged(job)
    target = "s3://clean/robin/birds/a.jpg"
    bucket.enter("birds/b.jpg", key="birds/new.jpg", target=target, step=Step.DELETED, copied=bucket.etag(target))
    with pytest.raises(UsageError, match=r"does not name for it: s3://clean/robin/birds/"):
        bucket.undo(job)
    assert bucket.bodies("clean").keys() == {"robin/birds/a.jpg", "robin/birds/d.jpg"}


@pytest.mark.parametrize("step", [Step.RETURNED, Step.RETURNING, Step.DELETED])
def test_undo_deletes_no_other_image_in_quarantine(step: Step) -> None:
    """An entry says that an image, which never left, was moved to where the only copy of another one is."""
    job = a_job()
    bucket = Forged(job)
    target = "s3://bin/birds/x.jpg"
    copied = bucket.put(target, PRECIOUS)
    bucket.enter("birds/a.jpg", target=target, step=step, copied=copied, returned=bucket.etag("s3://raw/birds/a.jpg"))
    summary = bucket.undo(job)
    assert (summary.restored, summary.failed) == (0, {"content_differs": 1})
    assert bucket.store.body("birds/x.jpg", "bin") == PRECIOUS


def test_undo_by_a_marker_deletes_no_other_image_in_quarantine() -> None:
    """The image behind the marker comes back; the object in quarantine, which is another one, stays."""
    job = a_job()
    bucket = Forged(job, versioning=Versioning.ON)
    target = "s3://bin/birds/x.jpg"
    copied = bucket.put(target, PRECIOUS)
    bucket.store.remove("birds/a.jpg")
    marker = anyio.run(bucket.store.versions, S3Location("raw", "birds/a.jpg"))[0].id
    bucket.enter("birds/a.jpg", target=target, step=Step.DELETED, copied=copied, marker=marker)
    assert bucket.undo(job).failed == {"content_differs": 1}
    assert bucket.store.body("birds/a.jpg") == b"birds/a.jpg"
    assert bucket.store.body("birds/x.jpg", "bin") == PRECIOUS
    assert bucket.undo(job).failed == {"content_differs": 1}


@pytest.mark.parametrize("step", [Step.RETURNED, Step.DELETED])
def test_an_image_is_no_copy_of_itself(step: Step) -> None:
    """An entry whose target is the image itself, in a source that the user allowed."""
    job = a_job()
    bucket = Forged(job)
    uri = "s3://raw/birds/a.jpg"
    bucket.enter("birds/a.jpg", target=uri, step=step, copied=bucket.etag(uri), returned=bucket.etag(uri))
    assert bucket.undo(job, 1, allow_places=("s3://raw/",)).failed == {"in_source": 1}
    assert bucket.store.body("birds/a.jpg") == b"birds/a.jpg"


@pytest.mark.parametrize("key", ["birds/a.jpg", "birds/d.jpg"])
def test_an_image_is_no_stale_copy(key: str) -> None:
    """Neither of itself nor of another image with its content."""
    job = a_job()
    bucket = Forged(job)
    bucket.put(f"s3://raw/{key}", b"birds/a.jpg")
    effect = DoneEffect(ActionKind.COPY, f"s3://raw/{key}")
    bucket.commit(effects=[(bucket.row_id("birds/a.jpg"), effect)])
    assert bucket.apply(job, 1, stale=True, allow_places=("s3://raw/",)).failed == {"in_source": 1}
    assert bucket.store.body(key) == b"birds/a.jpg"


def test_a_copy_is_no_copy_of_itself() -> None:
    """A row with the key of its own copy: the only copy of an image that is gone would be its own proof."""
    job = a_job(keep={"copy": "s3://raw/clean/{key}"})
    bucket = Forged(job)
    copy = "clean/birds/a.jpg"
    effect = DoneEffect(ActionKind.COPY, f"s3://raw/{copy}")
    bucket.store.remove("birds/a.jpg")
    bucket.edit("birds/a.jpg", key=copy)
    assert effect in next(row.effects for row in bucket.checkpoint.images if row.key == copy)
    assert bucket.apply(job, 1, stale=True).failed == {"original_gone": 1}
    assert bucket.store.body(copy) == b"birds/a.jpg"


def test_an_allowed_image_is_no_copy_of_itself() -> None:
    """Nor in a place beside the source that the user allowed, as for images of a former prefix."""
    job = a_job()
    bucket = Forged(job)
    uri = "s3://raw/former/x.jpg"
    etag = bucket.put(uri, PRECIOUS)
    bucket.enter(
        "birds/a.jpg",
        key="former/x.jpg",
        etag=etag,
        size_bytes=len(PRECIOUS),
        target=uri,
        step=Step.DELETED,
        copied=etag,
    )
    assert bucket.undo(job, 1, allow_places=("s3://raw/former/",)).failed == {"in_source": 1}
    assert bucket.store.body("former/x.jpg") == PRECIOUS


def test_undo_twice_does_nothing_more() -> None:
    """What came back stays, and so does what somebody put into quarantine since."""
    job = a_job()
    bucket = Forged(job)
    bucket.apply(job)
    assert bucket.undo(job).restored == 2
    bucket.put("s3://bin/birds/b.jpg", PRECIOUS)
    assert bucket.undo(job).restored == 0
    assert bucket.store.body("birds/b.jpg", "bin") == PRECIOUS


# -- Duplicates --------------------------------------------------------------------------------------------------------

TWINS = {"birds/1.jpg": "Robin", "birds/2.jpg": "Robin", "birds/3.jpg": "Robin"}


def a_bucket_of_twins(job: Job) -> Forged:
    """Three images with one content, of which the later two are duplicates."""
    bucket = Bucket(TWINS)
    bucket = Forged.__new__(Forged)
    Bucket.__init__(bucket, TWINS, max_share=1.0)
    for key in TWINS:
        bucket.store.put(key, b"one picture")
    bucket.run(job)
    return bucket


@pytest.mark.parametrize("action", ["delete", {"move": "s3://twins/{key}"}])
@pytest.mark.parametrize("after", [{1: 1, 2: 2, 3: 3}, {1: 2, 2: 1}, {1: 2, 2: 3, 3: 1}, {1: 3, 2: 3, 3: 2}])
def test_an_image_is_no_duplicate_of_itself(action: Any, after: dict[int, int]) -> None:
    """Rows that are duplicates of themselves, or of each other in a circle: one image of the content stays."""
    job = a_job(duplicate=action)
    bucket = a_bucket_of_twins(job)
    for one, other in after.items():
        bucket.edit(f"birds/{one}.jpg", same_as=bucket.row_id(f"birds/{other}.jpg"))
    summary = bucket.apply(job)
    assert bucket.store.keys(), summary
    assert summary.failed["original_gone"] >= 1


@pytest.mark.parametrize("key", ["birds/2.jpg", "birds/1.jpg"])
def test_an_image_was_not_moved_to_itself(key: str) -> None:
    """The earlier image is gone, and the checkpoint says that it was moved, or has the key of its duplicate."""
    job = a_job(duplicate="delete")
    bucket = a_bucket_of_twins(job)
    bucket.store.remove("birds/1.jpg")
    first = bucket.row_id("birds/1.jpg")
    bucket.commit(effects=[(first, DoneEffect(ActionKind.MOVE, "s3://raw/birds/2.jpg"))])
    bucket.edit("birds/1.jpg", key=key)
    bucket.apply(job)
    assert bucket.store.body("birds/2.jpg") == b"one picture"


def test_an_image_was_not_moved_to_somebody_else() -> None:
    """The earlier image is gone, and its quarantine, by the checkpoint, is a bucket that the job does not name."""
    job = a_job(duplicate="delete")
    bucket = a_bucket_of_twins(job)
    bucket.store.remove("birds/1.jpg")
    bucket.put("s3://theirs/1.jpg", b"one picture")
    first = bucket.row_id("birds/1.jpg")
    bucket.commit(effects=[(first, DoneEffect(ActionKind.MOVE, "s3://theirs/1.jpg"))])
    assert bucket.apply(job).failed == {"original_gone": 2}
    messages = [event.message for event in bucket.events if isinstance(event, ImageFailed)]
    assert all(message.endswith("the job does not name the place: s3://theirs/1.jpg") for message in messages)
    assert bucket.store.keys() == ["birds/2.jpg", "birds/3.jpg"]
    # A former quarantine is one that the user knows.
    assert bucket.apply(job, allow_places=("s3://theirs/",)).deleted == 0
    bucket.run(job, retry_failed=True)
    assert bucket.apply(job, allow_places=("s3://theirs/",)).deleted == 2


def test_an_earlier_image_is_in_the_source() -> None:
    """An object with its content elsewhere in the bucket, at a key that somebody wrote into its row, is no image."""
    job = a_job(duplicate="delete")
    bucket = a_bucket_of_twins(job)
    bucket.store.remove("birds/1.jpg")
    bucket.put("s3://raw/theirs/1.jpg", b"one picture")
    bucket.edit("birds/1.jpg", key="theirs/1.jpg")
    bucket.apply(job)
    assert bucket.store.keys() == ["birds/2.jpg", "birds/3.jpg", "theirs/1.jpg"]


def test_a_chain_of_duplicates_is_no_circle() -> None:
    """Later duplicates of one that is a duplicate itself are removed; the first image stays."""
    job = a_job(duplicate="delete")
    bucket = a_bucket_of_twins(job)
    bucket.edit("birds/3.jpg", same_as=bucket.row_id("birds/2.jpg"))
    assert bucket.apply(job).deleted == 2
    assert bucket.store.keys() == ["birds/1.jpg"]


# -- Names of places ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "s3://BIN/birds/a.jpg",
        "s3://bin-evil/birds/a.jpg",
        "s3://bin/Birds/a.jpg",
        "s3://bin//birds/a.jpg",
        "s3://bin/./birds/a.jpg",
        "s3://bin/../bin/birds/a.jpg",
        "s3://bin/%62irds/a.jpg",
        "s3://bin/{key}",
        "s3://bin/birds",
        "s3://bin?x=/birds/a.jpg",
        "s3://bin/bi\u200brds/a.jpg",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/bin/birds/a.jpg",
        "S3://bin/birds/a.jpg",
        "file:/bin/birds/a.jpg",
        "own:bin/birds/a.jpg",
        "",
    ],
)
def test_a_place_that_looks_like_one_of_the_job(uri: str) -> None:
    """An address is compared as it is written, as S3 compares keys."""
    assert not RemovalPlaces(a_job()).moved(uri)[1]
    assert not RemovalPlaces(a_job(keep={"copy": "s3://bin/{key}"}, reject="none")).copy(uri)[1]


def test_a_place_in_another_normal_form() -> None:
    """Two forms of one letter are two keys."""
    job = make_bare_job(source="s3://raw/", actions={"reject": {"move": "s3://bin/\u00e9/{key}"}})
    assert RemovalPlaces(job).moved("s3://bin/\u00e9/a.jpg")[1]
    assert not RemovalPlaces(job).moved("s3://bin/e\u0301/a.jpg")[1]
