"""Targets and globs over any key that S3 allows."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asyncfilter.errors import ImageError
from asyncfilter.job.addresses import Placeholder, Template, parse_template
from asyncfilter.model import S3Location, Skip
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.targets import TargetTemplate, compile_target, may_collide

keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
literals = st.text(st.sampled_from("ab/.{}+% \n"), min_size=1, max_size=4)
templates = st.lists(literals | st.sampled_from(Placeholder), min_size=1, max_size=5).map(
    lambda parts: Template("clean", tuple(parts))
)
globs = st.text(st.sampled_from("aaA**?[]!-^\n&|~\\"), min_size=1, max_size=8)


def located(target: TargetTemplate, key: str, prefix: str = "") -> str | None:
    """The key of the target; None if there is no valid one."""
    try:
        return target.locate(key=key, prefix=prefix, label="Bird", name="robins").key
    except ImageError:
        return None


@given(templates)
def test_a_template_is_read_back_as_it_was_written(template: Template) -> None:
    """``str`` and ``parse_template`` are inverse, braces included, so that a job holds the text of the file."""
    assume(not str(template).endswith("/"))
    assert str(parse_template(str(template))) == str(template)
    target, again = TargetTemplate(template), compile_target(str(template))
    assert located(target, "a/b.jpg") == located(again, "a/b.jpg")


@given(templates, keys, keys, st.sampled_from(["", "a/"]))
def test_injective_targets_never_meet(template: Template, one: str, other: str, prefix: str) -> None:
    """If ``is_injective`` is true, two keys have two targets."""
    assume(one != other and template.parts)
    target = TargetTemplate(template)
    keys = [located(target, prefix + key, prefix) for key in (one, other)]
    if target.is_injective and None not in keys:
        assert keys[0] != keys[1]


@given(templates, templates, keys, keys)
def test_targets_that_may_not_collide_never_meet(first: Template, second: Template, one: str, other: str) -> None:
    """If ``may_collide`` is false, two images of one run have two targets, under any verdicts."""
    assume(one != other)
    targets = [TargetTemplate(first), TargetTemplate(second)]
    keys = [located(targets[0], one), located(targets[1], other)]
    if not may_collide(targets) and None not in keys:
        assert keys[0] != keys[1]


@given(templates, keys, st.text(st.sampled_from("ab/."), max_size=3))
def test_a_refused_destination_is_the_only_one_that_lands_inside(template: Template, below: str, prefix: str) -> None:
    """docs/guarantees.md, *A target cannot feed the source*: an accepted template gives no target below it."""
    located_key = located(TargetTemplate(template), prefix + below, prefix)
    if located_key is not None and located_key.startswith(prefix):
        assert template.could_land_below(S3Location("clean", prefix), "robins")
    assert not template.could_land_below(S3Location("elsewhere", prefix), "robins")


@given(templates, keys)
def test_every_target_begins_with_its_literal_prefix(template: Template, key: str) -> None:
    """Every target begins with the literal prefix of its template."""
    target = TargetTemplate(template)
    located_key = located(target, key)
    assert located_key is None or located_key.startswith(target.literal_prefix)


@given(st.integers(1, 1100))
def test_a_target_over_1024_bytes_is_the_images_failure(length: int) -> None:
    """The limit counts UTF-8 bytes of the whole target."""
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
    """The compiled filter agrees with ``fnmatch`` for each glob, also for keys with newlines."""

    def matches(patterns: list[str]) -> bool:
        return any(fnmatchcase(key.lower(), pattern.lower()) for pattern in patterns)

    expected = Skip.NOT_INCLUDED if not matches(include) else Skip.EXCLUDED if matches(exclude) else None
    assert KeyFilter(include, exclude).skip(key) == expected
