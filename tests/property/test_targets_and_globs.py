"""Targets and globs over any key that S3 allows."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asyncfilter.errors import ImageError
from asyncfilter.job.address import Placeholder, Template, parse_template
from asyncfilter.model import S3Location, Skip
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.targets import Target, compile_target, may_collide

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
literals = st.text(st.sampled_from("ab/.{}+% \n"), min_size=1, max_size=4)
templates = st.lists(literals | st.sampled_from(Placeholder), min_size=1, max_size=5).map(
    lambda parts: Template("clean", tuple(parts))
)
globs = st.text(st.sampled_from("aaA**?[]!-^\n&|~\\"), min_size=1, max_size=8)


def located(target: Target, key: str, prefix: str = "") -> str | None:
    """The key of the target; None where there can be none."""
    try:
        return target.locate(key=key, prefix=prefix, label="Bird", name="robins").key
    except ImageError:
        return None


@given(templates)
def test_a_template_is_read_back_as_it_was_written(template: Template) -> None:
    """``str`` and ``parse_template`` are inverse, braces included, so that a job holds what the file said."""
    assume(not str(template).endswith("/"))
    assert str(parse_template(str(template))) == str(template)
    target, again = Target(template), compile_target(str(template))
    assert located(target, "a/b.jpg") == located(again, "a/b.jpg")


@given(templates, keys, keys, st.sampled_from(["", "a/"]))
def test_injective_targets_never_meet(template: Template, one: str, other: str, prefix: str) -> None:
    """Where ``is_injective`` says so, two keys have two targets."""
    assume(one != other and template.parts)
    target = Target(template)
    places = [located(target, prefix + key, prefix) for key in (one, other)]
    if target.is_injective and None not in places:
        assert places[0] != places[1]


@given(templates, templates, keys, keys)
def test_targets_that_may_not_collide_never_meet(first: Template, second: Template, one: str, other: str) -> None:
    """Where ``may_collide`` says no, two images of one run have two targets, whatever their verdicts."""
    assume(one != other)
    targets = [Target(first), Target(second)]
    places = [located(targets[0], one), located(targets[1], other)]
    if not may_collide(targets) and None not in places:
        assert places[0] != places[1]


@given(templates, keys, st.text(st.sampled_from("ab/."), max_size=3))
def test_a_refused_destination_is_the_only_one_that_lands_inside(template: Template, below: str, prefix: str) -> None:
    """docs/guarantees.md, *A target cannot feed the source*: a template that passes gives none below it."""
    place = located(Target(template), prefix + below, prefix)
    if place is not None and place.startswith(prefix):
        assert template.could_land_below(S3Location("clean", prefix), "robins")
    assert not template.could_land_below(S3Location("elsewhere", prefix), "robins")


@given(templates, keys)
def test_every_target_begins_with_its_literal_prefix(template: Template, key: str) -> None:
    """What checks and messages call the literal prefix is one."""
    target = Target(template)
    place = located(target, key)
    assert place is None or place.startswith(target.literal_prefix)


@given(st.integers(1, 1100))
def test_a_target_over_1024_bytes_is_the_images_failure(length: int) -> None:
    """The limit counts UTF-8 bytes, the text around the key included."""
    target = compile_target("s3://clean/é/{key}")
    if length + 3 > 1024:
        with pytest.raises(ImageError) as caught:
            target.locate(key="k" * length, prefix="", label=None, name="x")
        assert caught.value.code == "target_too_long"
    else:
        assert located(target, "k" * length) == "é/" + "k" * length


@given(
    st.lists(globs, min_size=1, max_size=3),
    st.lists(globs, max_size=2),
    st.text(st.sampled_from("aaAA\n-&"), max_size=4),
)
@settings(max_examples=400)
def test_globs_are_those_of_fnmatch_without_case(include: list[str], exclude: list[str], key: str) -> None:
    """One compiled filter says what ``fnmatch`` says of each glob alone, for keys with newlines too."""

    def matches(patterns: list[str]) -> bool:
        return any(fnmatchcase(key.lower(), pattern.lower()) for pattern in patterns)

    expected = Skip.NOT_INCLUDED if not matches(include) else Skip.EXCLUDED if matches(exclude) else None
    assert KeyFilter(include, exclude).skip(key) == expected
