"""``own:NAME``, the address of a store that the calling program provides: its meaning in a job, and refused forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncfilter import Job, JobError
from asyncfilter.job.addresses import MAX_KEY_BYTES
from asyncfilter.job.fingerprint import identity
from asyncfilter.model import ActionKind, S3Location, Verdict, uri_of
from asyncfilter.policy.targets import compile_target
from tests.kit.jobs import make_bare_job


def make_job(**changes: Any) -> Job:
    """A job over a caller's store."""
    return make_bare_job(base_dir="/home/me", **{"name": "mine", "source": "own:photos"} | changes)


def problem(**changes: Any) -> str:
    """The message for a wrong job."""
    with pytest.raises(JobError) as caught:
        make_job(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "bucket", "prefix"),
    [
        ("own:photos", "own:photos", ""),
        ("own:photos/", "own:photos", ""),
        ("own:Photos_2.a-b/2024/", "own:Photos_2.a-b", "2024/"),
        ("own:photos//a%20b/../", "own:photos", "/a%20b/../"),
        ("own:photos/" + "x" * 2000, "own:photos", "x" * 2000),
    ],
)
def test_store_and_prefix_are_taken_letter_by_letter(written: str, bucket: str, prefix: str) -> None:
    """Nothing is decoded or normalised, and no rule of S3 applies; the address can be read back from its parts."""
    source = make_job(source=written).source
    assert (source.bucket, source.prefix, source.folder) == (bucket, prefix, None)
    assert uri_of(bucket, prefix).rstrip("/") == written.rstrip("/")


@pytest.mark.parametrize("written", ["own:", "own:/photos", "own://photos", "own:-a", "own:a b", "own:" + "x" * 64])
def test_a_store_needs_a_name(written: str) -> None:
    """The message has the wrong value and the expected form."""
    for changes in ({"source": written}, {"actions": {"keep": {"copy": written}}}):
        message = problem(**changes)
        assert "expected own:NAME or own:NAME/PREFIX" in message
        assert repr(written) in message


def test_a_checkpoint_is_bound_to_the_store() -> None:
    """Another store, or another prefix in it, is another source; the key's bytes are not changed."""
    sources = [
        make_job(source=text) for text in ("own:photos", "own:photos/", "own:photos/a", "own:other", "s3://photos")
    ]
    assert [identity(job)["source.uri"] for job in sources] == [
        "own:photos/",
        "own:photos/",
        "own:photos/a",
        "own:other/",
        "s3://photos/",
    ]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("own:photos", "own:bright/{key}"),
        ("own:photos/in/", "own:photos/out/{relative}"),
        ("own:photos", "s3://clean/{key}"),
        ("own:photos", "./clean/{key}"),
        ("s3://photos", "own:clean/{label}/{basename}"),
        ("./photos", "own:clean/{key}"),
    ],
)
def test_images_go_from_and_to_any_store_of_the_caller(source: str, target: str) -> None:
    """The job file allows every combination; the caller's sink decides which it supports."""
    for form in ("copy", "move"):
        action = make_job(source=source, actions={"keep": {form: target}}).actions[Verdict.KEEP]
        assert action.kind == ActionKind(form)
        assert action.target is not None
        assert action.target.endswith(target.removeprefix("."))


def test_a_bare_store_gets_the_key() -> None:
    """As for a bucket: a target that is a store, or ends in ``/``, has ``{key}`` added."""
    for written, text in (("own:clean", "own:clean/{key}"), ("own:clean/a/", "own:clean/a/{key}")):
        assert make_job(actions={"keep": {"copy": written}}).actions[Verdict.KEEP].target == text


def test_targets_in_own_stores_have_no_limit_of_s3() -> None:
    """The limit of 1,024 bytes applies to S3 only; a caller's sink refuses keys that it cannot store."""
    key = "k" * (MAX_KEY_BYTES + 1)
    target = compile_target("own:clean/{key}").locate(key=key, prefix="", label=None, name="mine")
    assert target == S3Location("own:clean", key)
    assert target.uri == f"own:clean/{key}"


def test_a_target_cannot_feed_the_source() -> None:
    """A target inside the source is refused in any kind of store."""
    for target in ("own:photos/{key}", "own:photos", "own:photos/in/{key}"):
        assert "outside the source own:photos/" in problem(actions={"keep": {"copy": target}})
    beside = make_job(source="own:photos/in/", actions={"keep": {"copy": "own:photos/in-2/{key}"}})
    assert beside.actions[Verdict.KEEP].target == "own:photos/in-2/{key}"


def test_a_link_needs_a_folder() -> None:
    """Only files can be linked."""
    assert "only files can be linked" in problem(actions={"keep": {"link": "own:clean/{key}"}})


def test_tags_are_for_the_sink_to_write() -> None:
    """Files have no tags; a caller's store may have them."""
    assert make_job(actions={"keep": {"tag": {"a": "b"}}}).actions[Verdict.KEEP].kind is ActionKind.TAG


def test_the_checkpoint_is_beside_the_job() -> None:
    """The path of the checkpoint file does not depend on the source."""
    assert make_job().checkpoint == Path("/home/me/.asyncfilter/mine.db")
