"""Folders in a job file: their meaning, the base of relative paths, and refused values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncfilter import Job, JobError
from asyncfilter.errors import ImageError
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Precheck
from asyncfilter.model import ActionKind, S3Location, Verdict, uri_of
from asyncfilter.policy.targets import compile_target, may_collide
from tests.kit.jobs import make_bare_job


def make_job(base_dir: str = "/home/me/job", **changes: Any) -> Job:
    """A job over a folder."""
    return make_bare_job(base_dir=base_dir, **{"source": "./photos"} | changes)


def problem(**changes: Any) -> str:
    """The message for a wrong job."""
    with pytest.raises(JobError) as caught:
        make_job(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("./photos", "/home/me/job/photos"),
        ("./photos/", "/home/me/job/photos"),
        ("./photos/../birds", "/home/me/job/birds"),
        ("../photos", "/home/me/photos"),
        (".", "/home/me/job"),
        ("/data/photos", "/data/photos"),
        ("/", "/"),
        ("file:photos", "/home/me/job/photos"),
        ("file:./photos", "/home/me/job/photos"),
        ("file:///data/photos", "/data/photos"),
        ("file://localhost/data/my photos", "/data/my photos"),
    ],
)
def test_folders_start_from_the_job_file(written: str, folder: str) -> None:
    """Relative folders start from the job file's folder, in any working directory."""
    source = make_job(source=written).source
    assert source.folder == Path(folder)
    assert source.bucket == f"file://{folder.rstrip('/')}"


def test_home_folders_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` is the user's home."""
    monkeypatch.setenv("HOME", "/home/you")
    assert make_job(source="~/photos").source.folder == Path("/home/you/photos")


def test_a_project_can_be_moved() -> None:
    """The checkpoint is bound to the folder as written, so that both can be moved with the job file."""
    assert identity(make_job("/one")) == identity(make_job("/other"))
    assert identity(make_job("/one")) == identity(make_job("/one", source="file:photos/"))
    assert identity(make_job("/one")) != identity(make_job("/one", source="./photos2"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("./clean/", "file:///home/me/job/clean/sub/a b.jpg"),
        ("./clean/{key}", "file:///home/me/job/clean/sub/a b.jpg"),
        ("../out/{name}-{stem}.{ext}", "file:///home/me/out/here-a b.jpg"),
        ("/out/{basename}", "file:///out/a b.jpg"),
        ("file:///out/{{x}}/{relative}", "file:///out/{x}/sub/a b.jpg"),
        ("./of {label}/{key}", "file:///home/me/job/of Robin/sub/a b.jpg"),
    ],
)
def test_targets_start_from_the_job_file_too(written: str, expected: str) -> None:
    """A path has folders and placeholders; literal braces are doubled."""
    job = make_job(actions={"keep": {"copy": written}})
    target = job.actions[Verdict.KEEP].target
    assert target is not None
    found = compile_target(target).locate(key="sub/a b.jpg", prefix="", label="Robin", name="here")
    assert found.uri == expected


def test_a_base_folder_with_braces_is_taken_letter_by_letter() -> None:
    """Braces in a path of this machine are no placeholders."""
    job = make_job("/odd/{key}/{", actions={"keep": {"copy": "./clean/{basename}"}})
    target = job.actions[Verdict.KEEP].target
    assert target is not None
    found = compile_target(target).locate(key="a.jpg", prefix="", label=None, name="here")
    assert found == S3Location("file:///odd/{key}/{/clean", "a.jpg")


def test_links_are_copies_of_another_make() -> None:
    """``link`` copies by hard link, with the same values of ``if_exists``."""
    action = make_job(actions={"keep": {"link": "./clean/", "if_exists": "skip"}}).actions[Verdict.KEEP]
    assert (action.kind, action.is_link, action.if_exists) == (ActionKind.COPY, True, "skip")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "s3://raw/", "actions": {"keep": {"link": "s3://clean/"}}}, "only files can be linked"),
        ({"actions": {"keep": {"link": "s3://clean/"}}}, "expected a folder, since only files can be linked"),
        ({"source": "s3://raw/", "actions": {"keep": {"link": "./clean/"}}}, "expected copy in place of link"),
        ({"actions": {"keep": {"copy": "./photos/clean/"}}}, "outside the source file:///home/me/job/photos/"),
        ({"actions": {"keep": {"copy": "/home/me/job/photos/{stem}"}}}, "outside the source"),
        ({"actions": {"keep": {"copy": "./{label}/{key}"}}, "otherwise": "reject"}, "could land inside it"),
        ({"source": ".", "actions": {"keep": {"copy": "./clean/"}}}, "outside the source"),
        ({"actions": {"keep": {"copy": "./clean"}}}, "expected a folder that ends in /, or a placeholder"),
        ({"actions": {"keep": {"copy": "./clean/{kye}"}}}, "nearest is {key}"),
        ({"actions": {"keep": {"tag": {"a": "b"}}}}, "files of a folder have no tags"),
        ({"source": "photos"}, "or a folder such as ./photos"),
        ({"source": "gs://bucket/x"}, "or a folder such as ./photos"),
        ({"source": "file://server/photos"}, "a folder of this machine, found one of 'server'"),
        ({"source": "file:"}, "expected a folder, found 'file:'"),
        ({"precheck": "all"}, "precheck: expected none or header"),
        ({"convert": "yes"}, "convert: expected"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], words: str) -> None:
    """Each mistake is named with the expected value."""
    assert words in problem(**changes)


@pytest.mark.parametrize("form", ["copy", "move"])
def test_images_go_from_any_store_to_any_other(form: str) -> None:
    """A folder as source may have targets in S3, and a bucket targets in a folder; one job may have both."""
    into_s3 = make_job(actions={"keep": {form: "s3://clean/{label}/{key}"}, "reject": {form: "./others/"}})
    assert into_s3.actions[Verdict.KEEP].target == "s3://clean/{label}/{key}"
    into_folder = make_job(source="s3://raw/birds/", actions={"keep": {form: "./clean/{relative}"}})
    target = into_folder.actions[Verdict.KEEP].target
    assert target is not None
    found = compile_target(target).locate(key="birds/a.jpg", prefix="birds/", label=None, name="here")
    assert found.uri == "file:///home/me/job/clean/a.jpg"


@pytest.mark.parametrize("key", ["../a.jpg", "x/../../a.jpg", "/a.jpg", "x//a.jpg", "./a.jpg", "nul\0.jpg"])
def test_a_key_that_is_no_path_has_no_target_in_a_folder(key: str) -> None:
    """It fails before anything is written; in S3 it is a key as any other."""
    into_folder = compile_target("file:///out/{key}")
    with pytest.raises(ImageError) as caught:
        into_folder.locate(key=key, prefix="", label=None, name="here")
    assert caught.value.code == "target_unsafe"
    assert compile_target("s3://out/{key}").locate(key=key, prefix="", label=None, name="here").key == key


def test_a_sibling_with_the_same_beginning_is_outside() -> None:
    """``./photos-clean`` is not below ``./photos``; nor is a bucket below one whose name is a prefix of its own."""
    make_job(actions={"keep": {"copy": "./photos-clean/{key}"}})
    make_job(source="s3://raw/", actions={"keep": {"copy": "s3://raw-clean/{key}"}})


def test_targets_of_nested_folders_may_meet() -> None:
    """Two templates whose literal folders differ in depth can still give the same file."""
    deep, wide = compile_target("file:///out/a/{key}"), compile_target("file:///out/{relative}")
    assert may_collide([deep, wide])
    assert not may_collide([deep, compile_target("file:///out/b/{key}")])


def test_folders_are_converted_by_default() -> None:
    """Files are sent as bytes, for which the JPEGs of most cameras are too large unconverted."""
    assert make_job().convert
    assert not make_job(convert=False).convert
    assert not make_job(source="s3://raw/").convert
    assert make_job(source="s3://raw/", precheck="header").precheck is Precheck.HEADER


@pytest.mark.parametrize(
    ("bucket", "uri"), [("raw", "s3://raw/a"), ("file:///x", "file:///x/a"), ("file://", "file:///a")]
)
def test_uris(bucket: str, uri: str) -> None:
    """Objects and files have different schemes."""
    assert uri_of(bucket, "a") == uri
