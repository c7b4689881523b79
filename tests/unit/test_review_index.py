"""The parts of the review server that are pure, or need a file alone: index, thresholds, images alike, cache, links."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.model import Detection, Label, Verdict
from asyncfilter.records.answers import (
    Answer,
    AskedAs,
    CurrentVerdict,
    ImageRows,
    PersonVerdict,
    Subject,
)
from asyncfilter.review.book import Book, ImageState, newest_of_others
from asyncfilter.review.capability import Capabilities
from asyncfilter.review.index import CardIndex
from asyncfilter.review.links import Link, LinkFile
from asyncfilter.review.near import LabelVectors, nearest_looks
from asyncfilter.review.picture_cache import PictureCache
from asyncfilter.review.pictures import PictureFacts
from asyncfilter.review.rows import FAR, VERDICT_CODES, Chunk
from asyncfilter.review.thresholds import Thresholds, rule_text
from tests.kit.jobs import make_bare_job


def subject(number: int) -> Subject:
    """The version of an object."""
    return Subject(bucket="raw", key=f"{number}.jpg", etag=f"{number:032x}", size_bytes=100 + number)


def row(number: int, serial: int, **parts: object) -> Answer:
    """A row about it."""
    fields = {"uid": f"row-{serial:04}", "subject": subject(number), "reviewer": "anna", "at_unix_s": float(serial)}
    return Answer(serial=serial, **fields | {"verdict": PersonVerdict.KEEP} | parts)  # type: ignore[arg-type]


def state(*rows: Answer) -> ImageState:
    """What rows about one image come to."""
    return Book().put(ImageRows(subjects=(rows[0].subject,), rows=rows))


def band(ids: Sequence[int], distances: Sequence[float]) -> Chunk:
    """Images to review."""
    return Chunk(ids=ids, verdicts=bytes([VERDICT_CODES[Verdict.REVIEW]]) * len(ids), distances=distances)


# -- Index -------------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 100), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_pages_of_the_waiting_queue_are_the_queue(images: list[tuple[float, bool]], limit: int) -> None:
    """Every undecided image once, by distance; each page says how many are behind it."""
    index = CardIndex()
    ids = list(range(1, len(images) + 1))
    index.add(band(ids, [distance for distance, _ in images]))
    for id_, (_, is_decided) in zip(ids, images, strict=True):
        if is_decided:
            index.set_state(id_, state(row(id_, id_)))
    waiting = [id_ for id_ in sorted(ids, key=lambda id_: images[id_ - 1][0]) if not images[id_ - 1][1]]
    assert list(index.waiting()) == waiting
    assert index.waiting_count == len(waiting)
    found: list[int] = []
    while found != waiting:
        after = found[-1] if found else None
        page = [id_ for id_, _ in zip(index.waiting(after), range(limit), strict=False)]
        found += page
        assert index.waiting_behind(page[-1]) == len(waiting) - len(found)
    assert list(index.all_ids()) == ids


def test_duplicates_share_an_answer() -> None:
    """Also one that comes later; counts are of images."""
    index = CardIndex()
    index.add(band([1, 2], [5.0, 1.0]))
    index.add(Chunk(ids=[3], verdicts=bytes([VERDICT_CODES[Verdict.REVIEW]]), distances=[2.0], duplicates=[(3, 1)]))
    assert sorted(index.set_state(3, state(row(3, 1)))) == [1, 3]
    assert list(index.waiting()) == [2]
    assert index.by_verdict[CurrentVerdict.KEEP] == 2
    index.add(Chunk(ids=[4], verdicts=bytes([VERDICT_CODES[Verdict.KEEP]]), duplicates=[(4, 1)]))
    assert index.state(4) is not None
    assert index.rule_verdict(4) is Verdict.KEEP


def test_labels_decide_in_a_folder_alone() -> None:
    """In a job an image without a verdict goes on waiting."""
    labelled = state(row(1, 1, verdict=None, labels=("robin",)))
    noted = state(row(1, 1, verdict=None, note="look again"))
    for of_folder in (False, True):
        index = CardIndex(of_folder=of_folder)
        index.add(band([1], [FAR]))
        index.set_state(1, noted)
        assert index.waits(1)
        index.set_state(1, labelled)
        assert index.waits(1) is not of_folder


def test_what_counts_for_a_conflict() -> None:
    """The newest row of another person that was not taken back."""
    undone = ImageRows(
        subjects=(subject(1),),
        rows=(row(1, 1), row(1, 2, reviewer="ben"), row(1, 3, verdict=None, undoes="row-0001")),
    )
    assert newest_of_others(undone, "ben") == 0
    assert newest_of_others(undone, "anna") == 2
    assert newest_of_others(None, "anna") == 0
    second = state(row(1, 1), row(1, 2, reviewer="ben", asked_as=AskedAs.SECOND, boxes=()))
    assert (second.second_looks, second.voters) == (1, frozenset({"anna", "ben"}))


# -- Why, and what is alike --------------------------------------------------------------------------------------------


def test_why_an_image_is_uncertain() -> None:
    """The nearest threshold, the score of the keep rule, and one line."""
    job = make_bare_job(
        rules=[
            {"reject": {"any": ["Person"], "confidence": 85}},
            {"keep": {"any": ["Robin", "Wren"], "confidence": 85}},
            {"review": {"any": ["Robin", "Wren"], "confidence": 60}},
        ]
    )
    thresholds = Thresholds(job)
    seen = Detection((Label("Robin", 71.3), Label("Person", 80.0), Label("Sky", 99.0)))
    assert thresholds.distance(seen) == pytest.approx(5.0)
    assert thresholds.score(seen) == 71.3
    assert thresholds.why(seen, Verdict.REVIEW) == "Robin 71.3, keep from 85"
    assert thresholds.of_label(seen.labels[0]) == 85
    assert thresholds.of_label(seen.labels[2]) is None
    nothing = Detection(())
    assert thresholds.distance(nothing) == FAR
    assert thresholds.why(nothing, Verdict.REJECT) == "Robin or Wren not seen, keep from 85"
    assert rule_text(job.rules[1]) == "Robin or Wren"


def test_images_alike_by_labels_counts_what_is_rare() -> None:
    """A label that all images have makes none of them alike."""
    images = {
        1: {"Animal": 99.0, "Robin": 90.0},
        2: {"Animal": 99.0, "Robin": 80.0},
        3: {"Animal": 99.0, "Wren": 90.0},
    }
    vectors = LabelVectors(images | {id_: {"Animal": 99.0} for id_ in range(4, 40)})
    assert vectors.nearest(1, images[1], 5) == [2]
    assert vectors.nearest(9, {"Unheard of": 50.0}, 5) == []


def test_images_alike_by_look_is_that_of_few_bits() -> None:
    """The nearest first, and none beyond the limit."""
    assert nearest_looks(0, {1: 0b111, 2: 0b1, 3: (1 << 64) - 1}, 5) == [2, 1]


# -- Files -------------------------------------------------------------------------------------------------------------


def test_the_cache_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    """What was used lately stays; facts stay; a damaged file is made anew."""
    path = tmp_path / "x.pictures.db"
    cache = PictureCache(path, max_bytes=100_000)
    for number in range(30):
        cache.put(subject(number), "320", bytes([number]) * 5_000)
        cache.note(subject(number), PictureFacts(4, 3, -1, "c" * 64))
    held = [number for number in range(30) if cache.rendition(subject(number), "320") is not None]
    assert 10 <= len(held) <= 20
    assert held[-1] == 29
    assert cache.rendition(subject(29), "1280") is None
    assert cache.facts([subject(0), subject(99)]) == [PictureFacts(4, 3, -1, "c" * 64), None]
    cache.put(subject(40), "full", bytes(50_000))
    assert cache.rendition(subject(40), "full") is None
    cache.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"this is no database" * 999)
    fresh = PictureCache(path)
    fresh.put(subject(1), "320", b"x")
    assert fresh.rendition(subject(1), "320") == b"x"
    fresh.close()


def test_capabilities_are_of_one_version() -> None:
    """Another id, another version or another secret is another address."""
    one, other = Capabilities(b"secret"), Capabilities(b"another")
    mac = one.mac(1, subject(1))
    assert one.holds(mac, 1, subject(1))
    assert not one.holds(mac, 2, subject(1))
    assert not one.holds(mac, 1, subject(2))
    assert not other.holds(mac, 1, subject(1))


def test_links_that_cannot_be_read_are_made_anew(tmp_path: Path) -> None:
    """Tokens stay; a damaged file gives new ones; checkpoints are numbered once."""
    answers = tmp_path / "robins.answers.db"
    first = LinkFile(answers)
    tokens = first.tokens(["anna"], makes_new=False)
    assert (first.epoch_of(""), first.epoch_of("run-1"), first.epoch_of("run-2")) == (0, 0, 1)
    first.save()
    again = LinkFile(answers)
    assert again.tokens(["anna", "ben"], makes_new=False)["anna"] == tokens["anna"]
    assert again.epoch_of("run-2") == 1
    (tmp_path / "robins.review.json").write_text("{")
    assert LinkFile(answers).tokens(["anna"], makes_new=False) != tokens


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_has_no_links(put: Callable[[Path], object], tmp_path: Path) -> None:
    """A pipe that somebody put there would be waited for, and no signal would end that; a device has no end."""
    put(tmp_path / "robins.review.json")
    assert LinkFile(tmp_path / "robins.answers.db").link == Link()


def test_a_long_file_has_no_links(tmp_path: Path) -> None:
    """It is not read into memory."""
    answers = tmp_path / "robins.answers.db"
    LinkFile(answers).save()
    os.truncate(tmp_path / "robins.review.json", 1 << 40)
    assert LinkFile(answers).link == Link()
