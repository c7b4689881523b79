"""Any job file loads or is refused with a message."""

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
TEXTS = [
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
    st.sampled_from(TEXTS),
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


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every path in a structure but the root's."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [deeper for key, item in items for deeper in ((*path, key), *paths(item, (*path, key)))]


def replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    """A copy of ``value`` with the value at ``path`` replaced."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def check_message(error: JobError) -> None:
    """Check that every problem has a position and a message of asyncfilter's own."""
    assert error.problems
    for problem in error.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message
        assert not re.search(r"Input should|Extra inputs|Field required|Value error|\ufffc", problem.message)


def test_the_valid_structure_is_valid() -> None:
    """The job that the next tests change is valid."""
    assert isinstance(parse_job(VALID, base_dir="."), Job)


@given(structures)
def test_any_structure_loads_or_is_a_job_error(structure: Any) -> None:
    """``parse_job`` raises nothing but ``JobError`` for any structure."""
    try:
        parse_job(structure, base_dir=".")
    except JobError as error:
        check_message(error)


@given(st.sampled_from(paths(VALID)), structures, st.data())
@settings(max_examples=100)
def test_any_change_to_a_valid_job_loads_or_is_a_job_error(
    path: tuple[str | int, ...], new: object, data: st.DataObject
) -> None:
    """Two changes inside a valid job reach checks that random structures do not."""
    job = replaced(VALID, path, new)
    job = replaced(job, data.draw(st.sampled_from(paths(job))), data.draw(structures))
    try:
        parse_job(job, base_dir=".")
    except JobError as error:
        check_message(error)


@given(st.sampled_from(paths(VALID)), structures)
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
            check_message(error)


@given(st.one_of(st.binary(max_size=40), st.text(alphabet=" \t\n:-[]{}&*!<>|'\"#%@`~a1.,?\\$\ufeff\x85", max_size=40)))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_with_a_message(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    """No random file is a job, and each raises ``JobError``."""
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(JobError) as caught:
        load_job(file, environ={})
    check_message(caught.value)


@given(st.text(TEXT, max_size=30))
@settings(max_examples=25, deadline=None)
def test_any_setting_is_understood_or_refused(tmp_path_factory: pytest.TempPathFactory, setting: str) -> None:
    """``--set`` accepts or refuses any text of a command line."""
    file = tmp_path_factory.getbasetemp() / "valid.yaml"
    file.write_text(yaml.safe_dump(VALID), "utf-8")
    for overrides in ([setting], [f"limits.tps={setting}"], [f"{setting}=5"], [f"rules[0].{setting}=x"]):
        try:
            load_job(file, overrides=overrides, environ={})
        except JobError as error:
            check_message(error)


@given(st.text(TEXT))
def test_a_text_whose_dollars_are_doubled_stays_as_it_is(text: str) -> None:
    """``$$`` escapes everything that would be expanded."""
    assert expand(text.replace("$", "$$"), {}) == text
