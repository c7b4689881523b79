"""A job file that is written loads to exactly the job that was meant, whatever its texts hold."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from asyncfilter.job import Job, load_job, parse_job
from asyncfilter.job.draft import JobDraft, LabelsFrom, job_name
from asyncfilter.job.environment import expand
from asyncfilter.job.shipped_schema import schema_line
from asyncfilter.job.yaml_text import comment, scalar, sequence
from tests.kit.jobs import make_bare_job
from tests.kit.keys import HOSTILE_KEYS

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PREFIXES = st.text(st.characters(exclude_categories=["Cs"]), max_size=300).filter(
    lambda text: len(text.encode()) <= 1024
)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    lambda text: text == text.strip() and text.isprintable()
)
FOLDER_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40
).filter(lambda name: name not in {".", ".."})
NASTY = [
    "${HOME}",
    "$$",
    "$",
    "a: b #c",
    "- x",
    "~",
    "*.jpg",
    "&a",
    "!tag",
    "a\u202eb",
    "\u2028",
    "\x85",
    "\ufeff",
    '"',
    "\\",
]


def loaded(draft: JobDraft, folder: str, *, facts: tuple[str, ...] = ()) -> Job:
    """The job in the file that is written for a draft."""
    path = Path(folder) / "job.yaml"
    path.write_text(draft.text(command="job.yaml", facts=facts), "utf-8")
    return load_job(path, environ={"HOME": "/not/this"})


@given(prefix=PREFIXES)
@example(prefix="")
@example(prefix="birds/")
def test_any_prefix_is_read_as_it_was_given(prefix: str) -> None:
    """Every prefix that S3 allows, also in the facts, which are comments."""
    draft = JobDraft(name="x", source=f"s3://raw/{prefix}", keep=("Bird",))
    with tempfile.TemporaryDirectory() as folder:
        job = loaded(draft, folder, facts=(f"images in s3://raw/{prefix}",))
        assert (job.source.bucket, job.source.prefix) == ("raw", prefix)
        assert dataclasses.replace(job, path=None) == parse_job(draft.mapping(), base_dir=folder)


@pytest.mark.parametrize("key", [*HOSTILE_KEYS, *NASTY])
def test_hostile_prefixes(key: str) -> None:
    """The keys that other tests use, and what YAML and the environment would read as something else."""
    test_any_prefix_is_read_as_it_was_given.hypothesis.inner_test(key)  # type: ignore[attr-defined]


@given(name=FOLDER_NAMES)
def test_any_folder_is_read_as_it_was_given(name: str) -> None:
    """Every name of a folder that is text."""
    draft = JobDraft(name="x", source=f"./{name}", is_folder=True, keep=("Bird",))
    with tempfile.TemporaryDirectory() as folder:
        found = loaded(draft, folder).source.folder
        assert found == Path(os.path.normpath(Path(folder) / name))


@given(
    keep=st.lists(NAMES, min_size=1, max_size=4, unique=True), profile=st.none() | NAMES, number=st.integers(0, 10**12)
)
def test_any_answer_is_read_as_it_was_given(keep: list[str], profile: str | None, number: int) -> None:
    """Labels, profile and budget."""
    draft = JobDraft(
        name="x",
        source="s3://raw/",
        keep=tuple(keep),
        profile=profile,
        budget_micros=number,
        copy_to="s3://clean/{relative}",
        include=("*.jpg", "*.webp"),
        has_precheck=True,
        converts=True,
        region="eu-west-1",
        labels_from=LabelsFrom.EXAMPLE,
    )
    with tempfile.TemporaryDirectory() as folder:
        job = loaded(draft, folder)
        assert job.rules[0].conditions[0].any == tuple(keep)
        assert (job.aws.profile, job.limits.budget_micros) == (profile, number)
        assert dataclasses.replace(job, path=None) == parse_job(draft.mapping(), base_dir=folder)


@given(texts=st.lists(TEXTS, max_size=5))
def test_scalars_are_yaml_for_every_reader(texts: list[str]) -> None:
    """A reader of YAML 1.1 finds the same texts, once the dollar signs are read as a job file's."""
    assert [expand(text, {}) for text in yaml.safe_load(sequence(texts))] == texts
    for text in texts:
        assert scalar(text).isprintable()
        assert "\n" not in comment(text)
        assert comment(text).isprintable()


@given(place=TEXTS)
def test_any_place_gives_a_name(place: str) -> None:
    """The name is one that a job may have."""
    assert make_bare_job(name=job_name(place)).name == job_name(place)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("s3://raw-images/birds/2026/", "2026"),
        ("s3://raw-images/", "raw-images"),
        ("file:///data/Summer Pictures", "summer-pictures"),
        ("s3://raw/日本/", "raw"),
        ("///", "images"),
        ("s3://raw/" + "x" * 100, "x" * 64),
    ],
)
def test_names_of_places(place: str, name: str) -> None:
    """The last part of the place that has letters or digits."""
    assert job_name(place) == name


def test_the_first_line_is_for_editors() -> None:
    """It names the schema that ships with the package, by an address without spaces."""
    first = JobDraft(name="x", source="s3://raw/", keep=("Bird",)).text(command="job.yaml").splitlines()[0]
    assert first == schema_line()
    assert first.startswith("# yaml-language-server: $schema=file:///")
    address = first.partition("$schema=")[2]
    assert " " not in address
    assert address.endswith("/job.schema.json")
