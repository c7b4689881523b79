"""Globs that can match no key, or not those that were meant, are told; other globs are not."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.job.spec import SourceSpec
from asyncfilter.model import Skip
from asyncfilter.policy.cautions.globs import alternatives, odd_globs
from asyncfilter.policy.globs import KeyFilter
from tests.kit.jobs import make_bare_job


def told(uri: str, include: list[str] | None = None, exclude: list[str] | None = None) -> list[str]:
    """What is said about a source."""
    source: dict[str, Any] = {"uri": uri}
    source |= {} if include is None else {"include": include}
    return list(odd_globs(make_bare_job(source=source | ({} if exclude is None else {"exclude": exclude}))))


RAW, BIRDS = "s3://raw/", "s3://raw/birds/"

MISTAKES: dict[str, tuple[tuple[Any, ...], str]] = {
    "braces": (
        (BIRDS, ["*.{jpg,png}"]),
        'have no meaning in a glob and match themselves alone; write ["*.jpg", "*.png"]',
    ),
    "braces to exclude": ((BIRDS, None, ["*/{old,tmp}/*"]), 'write ["*/old/*", "*/tmp/*"]'),
    "an extension alone": ((RAW, ["jpg"]), "matches only a key of exactly this name; write *.jpg"),
    "an extension with its dot": ((BIRDS, [".JPEG"]), "write *.JPEG"),
    "a path below the prefix": ((BIRDS, ["robin/*.jpg"]), "write birds/robin/*.jpg or */robin/*.jpg"),
    "a name alone": ((BIRDS, ["robin.jpg"]), "matches no key"),
    "an exclusion below the prefix": ((BIRDS, None, ["thumbs/*"]), "write birds/thumbs/* or */thumbs/*"),
    "an address": ((RAW, ["s3://raw/*.jpg"]), "without s3:// and the bucket"),
    "a path of this machine": (("./photos", ["./holiday/*.jpg"]), "the path below the source's folder"),
    "another Unicode form": (("s3://raw/caf\u00e9/", ["cafe\u0301/*.jpg"]), "in another Unicode form"),
    "folders": ((BIRDS, None, ["*/thumbs/"]), "matches only the marks of folders"),
    "a double star": ((RAW, ["**/*.jpg"]), "leaves out keys without a slash: there is no **"),
    "a regular expression": ((RAW, [r".*\.jpg$"]), "read as a glob, not as a regular expression"),
    "a negation": ((RAW, ["*.jpg"], ["!*.png"]), "begins with !"),
    "included and excluded": ((BIRDS, ["*.jpg"], ["*.JPG"]), "leaves nothing of source.include"),
    "the prefix excluded": ((BIRDS, None, ["birds/*"]), "leaves nothing of source.include"),
    "everything excluded": ((BIRDS, None, ["*"]), "leaves nothing of source.include"),
    "one format excluded": ((BIRDS, ["*.jpg", "*.png"], ["*.png"]), "'*.png' adds nothing"),
    "globs with commas between": ((BIRDS, ["*.jpg,*.png"]), 'for several write ["*.jpg", "*.png"]'),
    "globs with blanks between": ((BIRDS, None, ["*.gif  .txt"]), 'for several write ["*.gif", ".txt"]'),
    "globs with bars between": ((BIRDS, ["*.jpg | *.png"]), 'for several write ["*.jpg", "*.png"]'),
    "a blank at the end": ((BIRDS, ["*.jpg "]), "which is part of it; write *.jpg"),
    "a folder's name below the prefix": ((BIRDS, None, ["thumbs"]), "write birds/thumbs/*, for names"),
    "a folder's name at the top": (
        (RAW, None, ["old/thumbs"]),
        "write old/thumbs/*, for names that contain it *thumbs*",
    ),
    "a folder of this machine": (("./photos", None, ["small"]), "write small/*"),
    "exchanged letters": ((BIRDS, ["*.jepg"]), "write *.jpeg"),
    "a letter too few": ((BIRDS, ["birds/*.jpe", "birds/*.wep"]), "write birds/*.webp"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_once(name: str) -> None:
    """One sentence, with the glob and what to write."""
    arguments, sentence = MISTAKES[name]
    (said,) = told(*arguments)
    assert sentence in said
    assert said.startswith(("source.include: ", "source.exclude: "))


SOUND: list[tuple[Any, ...]] = [
    (RAW,),
    (BIRDS, ["*.jpg", "*.png"], ["*/thumbnails/*"]),
    (BIRDS, ["birds/robin/*.jpg", "BIRDS/owl/*"]),
    (BIRDS, ["*/robin/*.jpg"], ["*/robin/old/*"]),
    (RAW, ["*"], [".*", "*.txt", "tmp*"]),
    (RAW, ["birds/a.jpg", "img_[0-9]*.jpg", "photo-?.png"]),
    ("s3://raw/birds/2024", ["birds/*/x*.jpg"]),
    (BIRDS, ["**/*.jpg"]),
    (RAW, ["**/*.jpg", "*.jpg"]),
    ("./photos", ["*.jpg", "holiday/*"], ["*/small/*"]),
    ("s3://raw/caf\u00e9/", ["caf\u00e9/*.jpg"]),
    (RAW, ["*.jp2", "*.pgm", "*.tga", "*.jfif", "*.jp*g", "*.j?g", "*.JPG"], ["*.mpg", "*/a b, c.jpg", "* (1).jpg"]),
    (BIRDS, ["birds/a b.jpg", "*"], ["birds/.DS_Store", "*/_thumb*", "*_small.*"]),
]


@pytest.mark.parametrize("arguments", SOUND)
def test_a_sound_source_says_nothing(arguments: tuple[Any, ...]) -> None:
    """No false alarm."""
    assert told(*arguments) == []


def test_alternatives_are_those_of_a_shell() -> None:
    """The first braces with a comma; none otherwise."""
    assert alternatives("a/*.{jpg,png}") == ["a/*.jpg", "a/*.png"]
    assert alternatives("{x}/*.jpg") == []


PIECES = st.lists(st.sampled_from(["a", "B", "b", "/", "*", "?", ".jpg", "["]), max_size=5).map("".join)
KEYS = st.lists(st.sampled_from(["a", "b", "B", "/", ".jpg", "["]), max_size=5).map("".join)


@given(glob=PIECES.filter(bool), prefix=KEYS, rest=KEYS)
def test_what_is_said_to_match_no_key_matches_none(glob: str, prefix: str, rest: str) -> None:
    """Whatever key the source has."""
    source = SourceSpec(bucket="raw", prefix=prefix, include=(glob,))
    if any("matches no key" in sentence for sentence in odd_globs_of(source)):
        assert KeyFilter([glob]).skip(prefix + rest) is Skip.NOT_INCLUDED


@given(include=PIECES.filter(bool), exclude=PIECES.filter(bool), prefix=KEYS, rest=KEYS)
def test_what_is_said_to_be_excluded_is(include: str, exclude: str, prefix: str, rest: str) -> None:
    """No key of the source passes both."""
    source = SourceSpec(bucket="raw", prefix=prefix, include=(include,), exclude=(exclude,))
    if any("leaves nothing of" in sentence for sentence in odd_globs_of(source)):
        assert KeyFilter([include], [exclude]).skip(prefix + rest) is not None


def odd_globs_of(source: SourceSpec) -> list[str]:
    """What is said about a source made in a program."""
    return list(odd_globs(dataclasses.replace(make_bare_job(), source=source)))
