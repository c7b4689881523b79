"""Two pictures that were made to share an MD5: whichever way the commands go, the other picture is not removed."""

from __future__ import annotations

from typing import Any

import pytest

from asyncfilter.job import Job
from tests.kit.buckets import Bucket
from tests.kit.collision import same_md5
from tests.kit.jobs import make_bare_job

ONE, OTHER = same_md5(b"a picture")
ACTIONS = ["delete", {"move": "s3://twins/{key}"}]


def a_job(action: Any, source: Any = "s3://raw/", **sections: Any) -> Job:
    """Robins stay where they are; their duplicates go."""
    return make_bare_job(source=source, actions={"keep": "none", "duplicate": action}, **sections)


def a_bucket() -> Bucket:
    """The first and the third have one content, the second has another with the same ETag and size."""
    bucket = Bucket({"1.jpg": "Robin", "2.jpg": "Robin", "3.jpg": "Robin"}, max_share=1.0)
    for key, body in (("1.jpg", ONE), ("2.jpg", OTHER), ("3.jpg", ONE)):
        bucket.store.put(key, body)
    return bucket


def bodies(bucket: Bucket) -> set[bytes | None]:
    """Everything that is left anywhere."""
    return {*bucket.bodies().values(), *bucket.bodies("twins").values()}


@pytest.mark.parametrize("action", ACTIONS)
def test_the_earlier_image_becomes_the_other_picture(action: Any) -> None:
    """Its ETag and size stay; what has its former content is no duplicate of it any more."""
    job, bucket = a_job(action), a_bucket()
    bucket.run(job)
    bucket.store.put("1.jpg", OTHER)
    assert bucket.apply(job).failed == {"content_differs": 1}
    assert bucket.store.body("3.jpg") == ONE


@pytest.mark.parametrize("action", ACTIONS)
def test_after_other_rules(action: Any) -> None:
    """A refilter decides anew, and compares nothing; apply does."""
    job, bucket = a_job("none"), a_bucket()
    bucket.run(job)
    changed = a_job(action, rules=[{"keep": {"any": "Robin", "confidence": 80}}])
    bucket.refilter(changed)
    assert bucket.apply(changed).failed == {"content_differs": 1}
    assert bodies(bucket) == {ONE, OTHER}
    assert bucket.plan(changed).images == 0
