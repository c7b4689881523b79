"""``apply`` and ``undo`` where every object has an ETag of its own, as with SSE-KMS, and few have checksums."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest

from asyncfilter.errors import ImageError
from asyncfilter.model import ActionKind, Effect, IfExists, S3Location
from asyncfilter.ports.remover import CopyResult
from asyncfilter.records.removal import Versioning
from asyncfilter.testing import MemoryStore
from asyncfilter.testing.crash import crashed
from asyncfilter.testing.store import StoredVersion
from tests.kit.buckets import Bucket
from tests.kit.jobs import make_bare_job

LABELS = {"a.jpg": "Robin", "b.jpg": "Person", "c.jpg": "Person"}
GOING = ["b.jpg", "c.jpg"]
JOB = make_bare_job(actions={"reject": {"move": "s3://bin/{key}"}})


class EncryptedStore(MemoryStore):
    """A store whose ETags show nothing, and which has no checksums: a copy looks like another object."""

    numbers = count(1)

    def put(self, key: str, body: bytes, bucket: str | None = None) -> str:
        """See ``MemoryStore``."""
        super().put(key, body, bucket)
        return self._etag(S3Location(bucket or self.bucket, key))

    async def copy(self, effect: Effect) -> CopyResult:
        """See ``Remover``."""
        copied = await super().copy(effect)
        assert effect.target is not None
        return CopyResult(etag=self._etag(effect.target), is_new=copied.is_new)

    def _existing_copy(self, effect: Effect, source: StoredVersion) -> CopyResult | None:
        existing = self._current(effect.target) if effect.target is not None else None
        if existing is not None and effect.if_exists is IfExists.FAIL and existing.etag != source.etag:
            raise ImageError("another object exists there", code="target_exists")
        return super()._existing_copy(effect, source)

    def _etag(self, place: S3Location) -> str:
        current = self._current(place)
        assert current is not None
        return current.etag

    def _write(self, place: S3Location, body: bytes, etag: str) -> None:
        super()._write(place, body, f"{next(self.numbers):032x}")


class EncryptedBucket(Bucket):
    """A bucket of an ``EncryptedStore``, after a run."""

    store_type: type[EncryptedStore] = EncryptedStore

    def __init__(self, versioning: Versioning) -> None:
        super().__init__(LABELS, max_share=1.0)
        self.store = self.store_type("raw", versioning=versioning)
        for key in LABELS:
            self.store.put(key, key.encode())
        self.run(JOB)
        self.compared: Counter[str] = Counter()
        self.store.fault = self._count

    def _count(self, what: str, _attempt: int) -> Exception | None:
        operation = what.partition(" ")[0]
        self.compared[operation] += operation == "same_content"
        return None


@pytest.mark.parametrize("versioning", [Versioning.ON, Versioning.SUSPENDED, Versioning.OFF])
def test_killed_at_any_moment(versioning: Versioning) -> None:
    """The copy that a killed ``apply`` or ``undo`` made is recognised by its bytes, and nothing fails."""
    for at in count(1):
        bucket = EncryptedBucket(versioning)
        was_killed = crashed(bucket.apply, JOB, at=at)
        if was_killed:
            assert bucket.apply(JOB).failed == {}
        assert (bucket.store.keys(), bucket.store.keys("bin")) == (["a.jpg"], GOING)
        if crashed(bucket.undo, JOB, at=at):
            assert bucket.undo(JOB).failed == {}
        assert bucket.bodies() == {key: key.encode() for key in LABELS}
        assert bucket.store.keys("bin") == []
        assert bucket.effects.get(ActionKind.MOVE.value, 0) == 0
        if not was_killed:
            assert at > 20
            break


@pytest.mark.parametrize(("versioning", "compared"), [(Versioning.ON, len(GOING)), (Versioning.OFF, 0)])
def test_bytes_are_read_only_where_nothing_else_shows_it(versioning: Versioning, compared: int) -> None:
    """``apply`` reads none; ``undo`` only for copies in quarantine of images that it did not copy back itself."""
    bucket = EncryptedBucket(versioning)
    assert bucket.apply(JOB).moved == len(GOING)
    assert bucket.compared.total() == 0
    assert bucket.undo(JOB).restored == len(GOING)
    assert bucket.compared.total() == compared


@pytest.mark.parametrize("versioning", [Versioning.ON, Versioning.OFF])
def test_another_object_at_the_target_stays(versioning: Versioning) -> None:
    """Of the same size, while the killed ``apply`` may have written there."""
    for at in count(1):
        bucket = EncryptedBucket(versioning)
        if not crashed(bucket.apply, JOB, at=at):
            break
        if bucket.store.keys("bin") or not bucket.store.body("b.jpg"):
            continue
        bucket.store.put("b.jpg", b"other", "bin")
        assert bucket.apply(JOB).failed == {"target_exists": 1}
        assert (bucket.store.body("b.jpg"), bucket.store.body("b.jpg", "bin")) == (b"b.jpg", b"other")


class ForgedStore(EncryptedStore):
    """A store whose objects of one size have one checksum, as somebody can make CRCs agree."""

    def _existing_copy(self, effect: Effect, source: StoredVersion) -> CopyResult | None:
        existing = self._current(effect.target) if effect.target is not None else None
        if existing is None or len(existing.body or b"") != len(source.body or b""):
            return super()._existing_copy(effect, source)
        return CopyResult(etag=existing.etag, is_new=False)


class ForgedBucket(EncryptedBucket):
    """A bucket of a ``ForgedStore``, after a run."""

    store_type = ForgedStore


def test_an_image_does_not_go_behind_another_with_its_checksum() -> None:
    """The object that was at the target is no copy of it."""
    bucket = ForgedBucket(Versioning.OFF)
    bucket.store.put("b.jpg", b"other", "bin")
    assert bucket.apply(JOB).failed == {"target_exists": 1}
    assert (bucket.store.body("b.jpg"), bucket.store.body("b.jpg", "bin")) == (b"b.jpg", b"other")


def test_an_image_in_quarantine_stays_behind_another_with_its_checksum() -> None:
    """Somebody has uploaded another picture under the key of an image that was moved."""
    bucket = ForgedBucket(Versioning.OFF)
    bucket.apply(JOB)
    bucket.store.put("b.jpg", b"other")
    for _ in range(2):
        assert bucket.undo(JOB).failed == {"content_differs": 1}
        assert (bucket.store.body("b.jpg"), bucket.store.body("b.jpg", "bin")) == (b"other", b"b.jpg")
