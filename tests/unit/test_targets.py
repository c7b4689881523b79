"""Targets of images, and globs of keys, in realistic cases."""

from __future__ import annotations

import pytest

from asyncfilter.errors import ImageError
from asyncfilter.model import S3Location, Skip
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.targets import compile_target, may_collide

KEY = "birds/2026/robin 1.old.JPG"


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("s3://clean", KEY),
        ("s3://clean/", KEY),
        ("s3://clean/robin/", f"robin/{KEY}"),
        ("s3://clean/{key}", KEY),
        ("s3://clean/{relative}", "2026/robin 1.old.JPG"),
        ("s3://clean/{basename}", "robin 1.old.JPG"),
        ("s3://clean/{stem}-x.{ext}", "robin 1.old-x.JPG"),
        ("s3://clean/{label}/{name}", "Bird/robins"),
        ("s3://clean/{{key}}/{{{name}}}", "{key}/{robins}"),
        ("s3://clean//a%20b/../{basename}", "/a%20b/../robin 1.old.JPG"),
    ],
)
def test_placeholders_have_their_documented_values(template: str, key: str) -> None:
    """Nothing is decoded, folded or normalised; a target that ends in ``/`` has the key added."""
    target = compile_target(template)
    assert target.locate(key=KEY, prefix="birds/", label="Bird", name="robins") == S3Location("clean", key)


@pytest.mark.parametrize(
    ("key", "stem", "ext"), [("a/b", "b", ""), (".jpg", ".jpg", ""), ("a.b/c.", "c", ""), ("é.x", "é", "x")]
)
def test_odd_names_have_stems_too(key: str, stem: str, ext: str) -> None:
    """A leading dot begins no extension, and a dot in a folder's name is not part of the image's."""
    target = compile_target("s3://clean/{stem}|{ext}")
    assert target.locate(key=key, prefix="", label=None, name="x").key == f"{stem}|{ext}"


def test_a_key_that_is_the_prefix_leaves_nothing_below_it() -> None:
    """An empty target is a failure of the image, without a request to S3."""
    with pytest.raises(ImageError) as caught:
        compile_target("s3://clean/{relative}").locate(key="a.jpg", prefix="a.jpg", label=None, name="x")
    assert caught.value.code == "target_empty"


@pytest.mark.parametrize(
    ("template", "injective"),
    [
        ("s3://clean/{key}", True),
        ("s3://clean/{name}/x/{relative}.jpg", True),
        ("s3://clean/{basename}", False),
        ("s3://clean/{label}/{key}", False),
        ("s3://clean/{name}", False),
    ],
)
def test_collisions_are_ruled_out_only_where_they_cannot_be(template: str, injective: bool) -> None:
    """``{label}`` differs between images, so two keys can have one target: b in a/ and a/b in none."""
    assert compile_target(template).is_injective is injective


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("s3://clean/{key}", "s3://review/{key}", False),
        ("s3://clean/keep/{key}", "s3://clean/review/{key}", False),
        ("s3://clean/{key}", "s3://clean/{key}", False),
        ("s3://clean/{key}", "s3://clean/review/{key}", True),
        ("s3://clean/{key}", "s3://review/{basename}", True),
    ],
)
def test_two_verdicts_can_meet_in_one_bucket(one: str, other: str, collide: bool) -> None:
    """Two injective targets can still collide if one prefix continues the other."""
    assert may_collide([compile_target(one), compile_target(other)]) is collide


def test_globs_match_whole_keys_in_any_case() -> None:
    """``*`` crosses slashes and newlines, and a filter with nothing to exclude excludes nothing."""
    keys = KeyFilter(["*.jpg", "*.PNG"], ["*/thumbnails/*"])
    assert keys.skip("a/b/c.JPG") is None
    assert keys.skip("new\nline.png") is None
    assert keys.skip("a.jpg.txt") is Skip.NOT_INCLUDED
    assert keys.skip("x/Thumbnails/a.jpg") is Skip.EXCLUDED
    assert keys.skip("x/thumbnails/a.gif") is Skip.NOT_INCLUDED
    assert KeyFilter(["a"]).skip("ab") is Skip.NOT_INCLUDED
