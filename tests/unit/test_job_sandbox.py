"""What ``asyncfilter sandbox --for`` makes for a job: keys that its source includes, labels its rules tell apart."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.cli.job_sandbox.contents import contents_for
from asyncfilter.cli.job_sandbox.keys import SampleKeys
from asyncfilter.cli.job_sandbox.labels import SampleLabels, detection_of
from asyncfilter.errors import UsageError
from asyncfilter.job import Job, SourceSpec, load_job
from asyncfilter.model import Verdict
from asyncfilter.policy.assumed import with_thresholds
from asyncfilter.policy.globs import KeyFilter
from asyncfilter.policy.rules import compile_rules
from asyncfilter.sandbox import BucketSpec
from asyncfilter.sandbox.loading import drawn_body
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit.documents import ROOT
from tests.kit.jobs import make_bare_job

CONFIG = sorted(path for path in (ROOT / "config").glob("*.yaml") if path.name != "like.yaml")
PREFIXES = ("", "birds/", "2026/cam", "a b/ü+%/")
GLOBS = {
    "any image": ["*.jpg", "*.png"],
    "one kind": ["*.PNG"],
    "a folder at any depth": ["*/full/*.jpg"],
    "any name": ["*"],
    "a word in the name": ["*robin*"],
    "characters": ["*img_????.jpg"],
    "characters and a set": ["*[a]_????.jpg"],
    "a set": ["*[!x][ab]/*.jpeg"],
}


def decided(job: Job, images: int = 400) -> Counter[tuple[Verdict, int | None]]:
    """How often each rule decides; a job with ``confidence: assumed`` has the thresholds of the sandbox's model."""
    job = with_thresholds(job, dict(contents_for([job], pictures=1, seed=0).model_thresholds))
    labels, ruleset, chance = SampleLabels(job, 0), compile_rules(job), random.Random(0)
    found: Counter[tuple[Verdict, int | None]] = Counter()
    for _ in range(images):
        decision = ruleset.decide(detection_of(labels.draw(chance)))
        found[decision.verdict, decision.rule] += 1
    return found


@pytest.mark.parametrize("path", CONFIG, ids=lambda path: path.stem)
def test_every_rule_decides_for_some_pictures(path: Path) -> None:
    """Each rule of a job, and ``otherwise``, has pictures; fewer than half are rejected, so that apply removes them."""
    job = load_job(path)
    found = decided(job)
    assert found.keys() == {*((rule.verdict, i) for i, rule in enumerate(job.rules)), (job.otherwise, None)}
    rejected = sum(images for (verdict, _), images in found.items() if verdict is Verdict.REJECT)
    assert rejected < sum(found.values()) / 2


HARD_RULES: dict[str, list[Any]] = {
    "an exact count": [{"keep": {"count": {"label": "Dog", "min": 3, "max": 3}, "confidence": 90}}],
    "no box at all": [{"keep": {"count": {"label": "Person", "max": 0}}}],
    "a range of areas": [{"keep": {"area": {"label": "Car", "min": 0.2, "max": 0.25}}}],
    "certain": [{"keep": {"any": "Robin", "confidence": 100}}],
    "several conditions": [{"keep": [{"all": ["Robin", "Tree"]}, {"none": ["Person"]}, {"not": {"any": "Cat"}}]}],
    "an unknown category": [{"keep": {"category": "Weapons and Military"}}],
    "ranges of confidence": [{"keep": {"any": "Robin", "confidence": 99}}, {"review": {"any": "Robin"}}],
}


@pytest.mark.parametrize("rules", HARD_RULES.values(), ids=HARD_RULES.keys())
def test_hard_rules_have_pictures(rules: list[Any]) -> None:
    """Counts, areas, exclusions and categories are met as well."""
    found = decided(make_bare_job(rules=rules), images=100)
    assert {index for _, index in found} == {None, *range(len(rules))}


def test_a_rule_that_never_decides_has_no_pictures() -> None:
    """A rule behind one that takes all is left out; the others have their pictures."""
    found = decided(make_bare_job(rules=[{"keep": {"any": "Robin"}}, {"review": {"any": "Robin", "confidence": 90}}]))
    assert {index for _, index in found} == {0, None}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("include", GLOBS.values(), ids=GLOBS.keys())
def test_keys_are_included(include: list[str], prefix: str) -> None:
    """Keys lie below the prefix, match the globs and differ from each other."""
    source = SourceSpec(bucket="raw", prefix=prefix, include=tuple(include), exclude=("*/thumbnails/*",))
    keys = [SampleKeys(source).named(number, "Great Tit") for number in range(1, 9)]
    assert all(key.startswith(prefix) for key in keys)
    assert all(KeyFilter(source.include, source.exclude).skip(key) is None for key in keys)
    assert len(set(keys)) == 8


@settings(deadline=None)
@given(st.text(max_size=20), st.lists(st.text("*?[]!/.ab", min_size=1, max_size=9), min_size=1, max_size=3))
def test_any_globs_give_a_key(prefix: str, include: list[str]) -> None:
    """Whatever the globs, there is a key below the prefix: nothing matches where nothing can."""
    source = SourceSpec(bucket="raw", prefix=prefix, include=tuple(include))
    assert SampleKeys(source).named(1, "Robin").startswith(prefix)


def test_references_are_part_of_it() -> None:
    """References of ``like`` are stored under their own keys, and rules over them tell pictures apart."""
    job = load_job(ROOT / "config" / "like.yaml")
    found = contents_for([job], pictures=50, seed=0)
    keys = {spec.key: spec.subject for spec in found.drawn}
    assert {key: keys[key] for key in ("robin/0001.jpg", "robin/0007.jpg")} == dict.fromkeys(
        ("robin/0001.jpg", "robin/0007.jpg"), "Robin"
    )
    assert len([subject for subject in keys.values() if subject == "Robin"]) > 20


def test_the_same_seed_gives_the_same() -> None:
    """Pictures are a function of job and seed."""
    job = make_bare_job()
    one, same, other = (contents_for([job], pictures=30, seed=seed).drawn for seed in (1, 1, 2))
    assert one == same != other


def test_the_pictures_of_a_folder_do_not_depend_on_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command in two working directories draws the same files."""
    found = []
    for name in ("one", "another"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        job = make_bare_job(source={"uri": str(tmp_path / name / "photos")})
        local = contents_for([job], pictures=30, seed=1).local
        found.append([(drawn_body(spec, 1), spec.labels) for _, spec in local])
    assert found[0] == found[1] != []


def test_buckets_are_where_the_detector_is() -> None:
    """Sources, targets and references have buckets in the region of the detector; profiles are listed."""
    found = contents_for([load_job(ROOT / "config" / "low-quota.yaml", environ={})], pictures=1, seed=0)
    assert found.buckets == (BucketSpec("uploads-images", "eu-central-1"), BucketSpec("pets-images", "eu-central-1"))
    assert found.profiles == ("batch",)


def test_a_folder_with_files_is_left_as_it_is(tmp_path: Path) -> None:
    """Pictures are drawn for a missing or an empty folder only."""
    job = make_bare_job(source="./photos", detector={"region": "eu-west-1"}, base_dir=tmp_path)
    assert len(contents_for([job], pictures=5, seed=0).local) == 6
    (tmp_path / "photos").mkdir()
    assert len(contents_for([job], pictures=5, seed=0).local) == 6
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"mine")
    assert contents_for([job], pictures=5, seed=0).local == ()


def test_a_store_of_a_program_cannot_be_served() -> None:
    """It is an error with the reason."""
    with pytest.raises(UsageError, match="own:mine"):
        contents_for([make_bare_job(source="own:mine")], pictures=1, seed=0)


@pytest.mark.parametrize("start", [None, {"for": "2h"}])
def test_a_model_that_the_job_starts_does_not_run_yet(start: dict[str, str] | None) -> None:
    """The sandbox of a job has its model: running, unless the job starts it."""
    detector: dict[str, Any] = {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN}
    found = contents_for(
        [make_bare_job(detector=detector | ({} if start is None else {"start": start}))], pictures=1, seed=0
    )
    assert (found.model_arn, found.starts_model) == (DEFAULT_MODEL_ARN, start is not None)


def test_the_bucket_of_a_state_is_there() -> None:
    """A checkpoint in S3, or its copy, needs its bucket too."""
    for key in ("checkpoint", "checkpoint_copy"):
        found = contents_for([make_bare_job(**{key: "s3://my-state/jobs/"})], pictures=5, seed=1)
        assert "my-state" in {one.name for one in found.buckets}
