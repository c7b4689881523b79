"""Images with the same content are paid for once, in any order of answers; each gets its own outcome."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.errors import ImageError
from asyncfilter.model import ListedObject
from asyncfilter.testing import BROKEN, Stage
from tests.kit.jobs import make_job


def stage_of(contents: list[int], labels_by_content: dict[int, str], **options: Any) -> Stage:
    """An image for each entry of ``contents``; equal entries have equal bytes."""
    labels = {f"{number:04d}.jpg": labels_by_content[content] for number, content in enumerate(contents)}
    stage = Stage(labels, **options)
    for number, content in enumerate(contents):
        etag = hashlib.md5(str(content).encode()).hexdigest()
        stage.source.put(ListedObject(f"{number:04d}.jpg", 1000 + content, etag))
    return stage


LABELS_BY_CONTENT = {0: "Robin", 1: "Cat", 2: "Robin", 3: BROKEN, 4: "Cat", 5: "Robin"}


@settings(max_examples=150, deadline=None)
@given(
    contents=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    concurrency=st.sampled_from([1, 4, 100]),
    seed=st.integers(0, 300),
    fault_rate=st.sampled_from([0.0, 0.2]),
    crash_times_s=st.lists(st.floats(0.01, 3.0), max_size=4),
)
def test_shared_labels_give_the_answer_of_paid_ones(
    contents: list[int], concurrency: int, seed: int, fault_rate: float, crash_times_s: list[float]
) -> None:
    """Verdicts, copies and failures are those of a run that pays for every image; each content is paid for once."""
    job = make_job(limits={"tps": 2000, "concurrency": concurrency})
    stage = stage_of(contents, LABELS_BY_CONTENT, seed=seed, fault_rate=fault_rate)
    crashes = sum(stage.run_and_die(job, at_s) for at_s in crash_times_s)
    summary = stage.run(job)
    shown = [LABELS_BY_CONTENT[content] for content in contents]
    assert stage.verdicts() == {
        f"{number:04d}.jpg": "keep" if label == "Robin" else "reject"
        for number, label in enumerate(shown)
        if label != BROKEN
    }
    assert sorted(set(stage.copied())) == [
        f"{number:04d}.jpg" for number, label in enumerate(shown) if label == "Robin"
    ]
    assert summary.counts.failed == ({"invalid_image_format": shown.count(BROKEN)} if BROKEN in shown else {})
    if not crashes:
        readable = {content for content in contents if LABELS_BY_CONTENT[content] != BROKEN}
        repeated = sum(1 for label in shown if label != BROKEN) - len(readable)
        assert summary.counts.duplicates == repeated
        assert summary.counts.saved_micros == 1000 * repeated
        assert len([key for key in stage.detector.attempts if stage.labels[key] != BROKEN]) == len(readable)


def test_duplicates_found_in_a_later_run_are_free() -> None:
    """A duplicate of a known image that is uploaded later costs nothing."""
    stage = stage_of([0, 1], LABELS_BY_CONTENT)
    stage.run(make_job())
    stage.source.put(ListedObject("later.jpg", 1000, hashlib.md5(b"0").hexdigest()))
    summary = stage.run(make_job())
    assert (summary.this_run.calls, summary.this_run.duplicates, summary.this_run.keep) == (0, 1, 1)
    assert "later.jpg" in stage.copied()


def test_a_renamed_object_is_no_duplicate_of_what_it_was() -> None:
    """An image with known content may be the only copy of it: labels are shared, but the image is still copied."""
    skip = make_job(source={"uri": "s3://raw/", "duplicates": "skip"})
    none = make_job(actions={"keep": {"copy": "s3://clean/{key}"}, "duplicate": "none"})
    for job in (skip, none):
        stage = stage_of([0, 1], LABELS_BY_CONTENT)
        stage.run(job)
        stage.source.remove("0000.jpg")
        stage.source.put(ListedObject("renamed.jpg", 1000, hashlib.md5(b"0").hexdigest()))
        summary = stage.run(job)
        assert summary.counts.skipped == {}
        assert (summary.this_run.calls, summary.this_run.keep) == (0, 1)
        assert stage.copied() == ["0000.jpg", "renamed.jpg"]


def test_a_leader_that_fails_for_itself_is_succeeded() -> None:
    """A denied object decides nothing about its duplicates: the next one is examined instead."""
    denied = ImageError("denied", code="access_denied", access=True)
    stage = stage_of(
        [0, 0, 0, 0], LABELS_BY_CONTENT, fault=lambda key, _attempt: denied if key in {"0000.jpg", "0001.jpg"} else None
    )
    summary = stage.run(make_job())
    assert stage.detector.attempts == Counter({"0000.jpg": 1, "0001.jpg": 1, "0002.jpg": 1})
    assert summary.counts.failed == {"access_denied": 2}
    assert (summary.counts.keep, summary.counts.duplicates) == (2, 1)


def test_etags_of_several_parts_are_not_content() -> None:
    """Objects uploaded in parts are never treated as duplicates."""
    stage = Stage({"a.jpg": "Robin", "b.jpg": "Cat"})
    for key in stage.labels:
        stage.source.put(ListedObject(key, 1000, "0123456789abcdef0123456789abcdef-2"))
    assert stage.run(make_job()).counts.calls == 2


def test_duplicates_can_be_skipped_or_left_alone() -> None:
    """``duplicates: skip`` counts them as skipped, in every later run too; ``duplicate: none`` leaves them uncopied."""
    contents = [0, 1, 0, 0, 1]
    stage = stage_of(contents, LABELS_BY_CONTENT)
    job = make_job(source={"uri": "s3://raw/", "duplicates": "skip"})
    for _ in range(2):
        summary = stage.run(job)
        assert (summary.counts.examined, summary.counts.skipped, summary.counts.listed) == (2, {"duplicate": 3}, 5)
        assert stage.copied() == ["0000.jpg"]
    changed = make_job(source={"uri": "s3://raw/", "duplicates": "skip"}, rules=[{"keep": {"any": "Cat"}}])
    assert stage.refilter(changed).counts.skipped == {"duplicate": 3}
    assert stage.copied() == ["0000.jpg", "0001.jpg"]

    stage = stage_of(contents, LABELS_BY_CONTENT)
    actions = {"keep": {"copy": "s3://clean/{key}"}, "duplicate": "none"}
    summary = stage.run(make_job(actions=actions))
    assert (summary.counts.keep, summary.counts.copied, stage.copied()) == (3, 1, ["0000.jpg"])
    assert stage.refilter(make_job()).counts.copied == 3


def test_budget_of_one_covers_all_duplicates() -> None:
    """Followers need no reservation of their own."""
    stage = stage_of([0] * 30, LABELS_BY_CONTENT)
    summary = stage.run(make_job(limits={"tps": 2000, "budget_usd": 0.001}))
    assert (summary.stop_reason, summary.counts.keep, summary.counts.spent_micros) == ("completed", 30, 1000)


def test_with_examine_every_image_is_paid_for_by_itself() -> None:
    """No ETag is trusted: each image has its own labels, none counts as a duplicate, and later ones are paid too."""
    job = make_job(source={"uri": "s3://raw/", "duplicates": "examine"}, actions={"duplicate": {"move": "s3://bin/"}})
    stage = stage_of([0, 0, 0, 1, 1], LABELS_BY_CONTENT)
    # Pictures with one MD5: what the second one shows is not what the first one shows.
    stage.detector.learn({"0001.jpg": [("Cat", 90.0)]})
    summary = stage.run(job)
    assert stage.detector.attempts == dict.fromkeys(stage.labels, 1)
    assert (summary.counts.calls, summary.counts.duplicates, summary.counts.saved_micros) == (5, 0, 0)
    assert [stage.verdicts()[f"000{number}.jpg"] for number in range(3)] == ["keep", "reject", "keep"]
    assert not any(row.same_as for row in stage.checkpoint.images)
    stage.source.put(ListedObject("later.jpg", 1000, hashlib.md5(b"0").hexdigest()))
    assert stage.run(job).this_run.calls == 1
    assert stage.run(job).this_run.calls == 0


@pytest.mark.parametrize("concurrency", [1, 50])
@pytest.mark.parametrize("others", [1, 2, 5])
@pytest.mark.parametrize("page_objects", [1, 3, 100])
def test_labels_of_an_object_that_is_gone_hide_no_duplicate(concurrency: int, others: int, page_objects: int) -> None:
    """Of several new images with the content of one that is gone, the first has a verdict; the others are duplicates.

    One of them ends like any image of this listing, and not by the labels that an earlier pass left.
    """
    etag = hashlib.md5(b"same").hexdigest()
    keys = [f"b{number}.jpg" for number in range(others + 1)]
    stage = Stage(dict.fromkeys(["a.jpg", *keys], "Robin"), page_objects=page_objects)
    for key in keys:
        stage.source.remove(key)
    stage.source.put(ListedObject("a.jpg", 1000, etag))
    job = make_job(source={"uri": "s3://raw/", "duplicates": "skip"}, limits={"tps": 2000, "concurrency": concurrency})
    stage.run(job)
    stage.source.remove("a.jpg")
    for key in keys:
        stage.source.put(ListedObject(key, 1000, etag))
    summary = stage.run(job)
    assert summary.counts.skipped == {"duplicate": others}
    assert stage.copied() == ["a.jpg", "b0.jpg"]
    assert sum(stage.detector.attempts.values()) == 1
