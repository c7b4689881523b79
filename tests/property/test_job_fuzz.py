"""Whatever stands in a job file, it loads or is refused in words."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.errors import JobError
from asyncfilter.job import Job, load_job, parse_job
from asyncfilter.job.environment import expand
from asyncfilter.job.schema import json_schema

KEYS = sorted(
    {
        key
        for model in (json_schema(), *json_schema()["$defs"].values())
        for key in model.get("properties", {"<<": None})
    }
)
WORDS = [
    "s3://raw/birds/",
    "s3://out/{key}",
    "s3://raw/{label}/",
    "auto",
    "keep",
    "none",
    "delete",
    "random",
    "${A}",
    "<copy>",
]

TEXT = st.characters(exclude_characters="\ufffc")
"""Any character but the mark of ``SEEN``, which no message may show."""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(TEXT, max_size=8),
    st.sampled_from(WORDS),
)
structures: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(TEXT, max_size=4)), inner, max_size=4),
    ),
    max_leaves=12,
)

VALID: dict[str, Any] = {
    "version": 1,
    "name": "robins",
    "source": {"uri": "s3://raw/birds/", "include": ["*.jpg"], "order": "listing"},
    "detector": {"kind": "rekognition", "features": ["GENERAL_LABELS"]},
    "rules": [
        {"reject": {"any": ["Person"], "confidence": 85}},
        {"keep": [{"all": "Bird"}, {"not": {"count": {"label": "Cat", "min": 1}}}]},
        {"review": {"area": {"label": "Bird", "min": 0.1, "max": 0.5}, "category": "Animals"}},
    ],
    "otherwise": "reject",
    "actions": {"keep": {"copy": "s3://out/{label}/{key}", "if_exists": "skip"}, "reject": "none"},
    "limits": {"tps": "auto", "budget_usd": 25.5, "max_images": None},
    "stop": {"matches": 50},
    "pricing": {"tiers": [{"up_to": 10, "usd": 0.5}, {"up_to": None, "usd": 0.25}]},
}


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path in a structure but the root's."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [deeper for key, item in items for deeper in ((*path, key), *places(item, (*path, key)))]


def replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    """A copy of ``value`` with what stands at ``path`` replaced."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def assert_in_words(error: JobError) -> None:
    """Every problem has a place and a message that nobody else wrote."""
    assert error.problems
    for problem in error.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
        assert not re.search(r"Input should|Extra inputs|Field required|Value error|\ufffc", problem.message)


def test_the_valid_structure_is_valid() -> None:
    """The ground that the next tests dig in holds."""
    assert isinstance(parse_job(VALID, base_dir="."), Job)


@given(structures)
def test_any_structure_loads_or_is_a_job_error(structure: Any) -> None:
    """``parse_job`` raises nothing but ``JobError``, whatever it is given."""
    try:
        parse_job(structure, base_dir=".")
    except JobError as error:
        assert_in_words(error)


@given(st.sampled_from(places(VALID)), structures, st.data())
@settings(max_examples=100)
def test_any_change_to_a_valid_job_loads_or_is_a_job_error(
    path: tuple[str | int, ...], new: object, data: st.DataObject
) -> None:
    """Two changes deep inside a job that is valid otherwise reach the checks that random structures never see."""
    job = replaced(VALID, path, new)
    job = replaced(job, data.draw(st.sampled_from(places(job))), data.draw(structures))
    try:
        parse_job(job, base_dir=".")
    except JobError as error:
        assert_in_words(error)


@given(st.sampled_from(places(VALID)), structures)
@settings(max_examples=25, deadline=None)
def test_the_same_through_yaml(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[str | int, ...], new: object
) -> None:
    """A file with one change in it loads or is refused, and so does the change made by a setting."""
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_text(yaml.safe_dump(replaced(VALID, path, new), allow_unicode=True), "utf-8", errors="replace")
    key = ".".join(map(str, path))
    for overrides in ((), {key: new}):
        try:
            load_job(file, overrides=overrides, environ={"A": "1"})
        except JobError as error:
            assert_in_words(error)


@given(st.one_of(st.binary(max_size=40), st.text(alphabet=" \t\n:-[]{}&*!<>|'\"#%@`~a1.,?\\$\ufeff\x85", max_size=40)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_in_words(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    """No file is a job by accident, and none brings anything but ``JobError``."""
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(JobError) as caught:
        load_job(file, environ={})
    assert_in_words(caught.value)


@given(st.text(TEXT, max_size=30))
@settings(max_examples=25, deadline=None)
def test_any_setting_is_understood_or_refused(tmp_path_factory: pytest.TempPathFactory, setting: str) -> None:
    """``--set`` takes whatever a command line can hold."""
    file = tmp_path_factory.getbasetemp() / "valid.yaml"
    file.write_text(yaml.safe_dump(VALID), "utf-8")
    for overrides in ([setting], [f"limits.tps={setting}"], [f"{setting}=5"], [f"rules[0].{setting}=x"]):
        try:
            load_job(file, overrides=overrides, environ={})
        except JobError as error:
            assert_in_words(error)


@given(st.text(TEXT))
def test_a_text_whose_dollars_are_doubled_stays_as_it_is(text: str) -> None:
    """``$$`` escapes everything that expansion could touch."""
    assert expand(text.replace("$", "$$"), {}) == text
