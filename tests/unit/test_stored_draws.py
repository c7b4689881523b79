"""Draws in the answers file: kept as they were made, whoever else makes one at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from asyncfilter.answers import open_answers
from asyncfilter.answers.draws import freeze, stored_draw, stored_draws, stored_seeds
from asyncfilter.errors import AnswersError
from asyncfilter.records.draws import Draw, DrawnImage, DrawnPart, MeasuredRule, NewDraw, Targets
from tests.kit.keys import HOSTILE_KEYS


def new_draw(rule: int = 0, *, job: str = "robins", seed: int = 1) -> NewDraw:
    """A draw of a rule."""
    images = [
        DrawnImage(
            bucket="raw", key=key, etag=f"e{number}", size_bytes=number, score=None if number % 2 else 0.1 * number
        )
        for number, key in enumerate(HOSTILE_KEYS)
    ]
    return NewDraw(
        job=job,
        measured=MeasuredRule(rule=rule, population="digest", present=85.5, floor=60.0, has_score=True, asks=2),
        targets=Targets(precision=0.95, recall=None, confidence=0.9, milestones=(1, 3)),
        seed=seed,
        created_at_unix_s=1_790_000_000.125,
        images=99,
        last_seq=7,
        counts=((60.0, 50), (85.5, 20)),
        taken=DrawnPart(images=50, positions=tuple(images)),
        rest=DrawnPart(images=0),
    )


def path_in(folder: Path) -> Path:
    """An answers file that need not exist."""
    return folder / "a.answers.db"


def test_a_draw_is_read_as_it_was_stored(tmp_path: Path) -> None:
    """With all of its positions, in their order, and under the next number of the file."""
    path = path_in(tmp_path)
    new = [new_draw(0), new_draw(2)]
    (first, second) = freeze(path, "robins", lambda before, number: new)
    assert [first.number, second.number] == [1, 2]
    for stored, made in ((first, new[0]), (second, new[1])):
        assert {**msgspec.structs.asdict(stored), "number": 0} == {**msgspec.structs.asdict(made), "number": 0}
    assert stored_draw(path, 2) == second
    assert stored_draw(path, 3) is None


def test_the_newest_draw_of_each_rule_of_a_job(tmp_path: Path) -> None:
    """Numbers go on over all jobs of the file; older draws stay."""
    path = path_in(tmp_path)
    freeze(path, "robins", lambda before, number: [new_draw(0), new_draw(1)])
    freeze(path, "owls", lambda before, number: [new_draw(0, job="owls")])
    freeze(path, "robins", lambda before, number: [new_draw(1, seed=number)])
    assert [(draw.measured.rule, draw.number, draw.seed) for draw in stored_draws(path, "robins")] == [
        (0, 1, 1),
        (1, 4, 4),
    ]
    assert [draw.number for draw in stored_draws(path, "owls")] == [3]
    assert stored_draw(path, 2) is not None


def test_two_jobs_of_one_name_have_their_own_draws(tmp_path: Path) -> None:
    """Their sources tell them apart; a draw of a former version, which has none, is that of the name."""
    path = path_in(tmp_path)
    freeze(path, "robins", lambda before, number: [new_draw(0)])
    for source in ("s3://raw/a/", "s3://raw/b/"):
        new = msgspec.structs.replace(new_draw(1), source=source)
        freeze(path, "robins", lambda before, number, new=new: [new], source=source)  # type: ignore[misc]
    for source, numbers in (("s3://raw/a/", [1, 2]), ("s3://raw/b/", [1, 3]), ("s3://raw/", [1])):
        assert [draw.number for draw in stored_draws(path, "robins", source=source)] == numbers
        assert [number for number, _, _ in stored_seeds(path, "robins", source=source)] == numbers


def test_of_two_who_draw_at_once_one_does(tmp_path: Path) -> None:
    """Who comes second is asked again, with the draw of the other."""
    path, asked = path_in(tmp_path), []

    def first(before: Sequence[Draw], number: int) -> Sequence[NewDraw]:
        asked.append((len(before), number))
        if len(asked) == 1:
            freeze(path, "robins", lambda before, number: [new_draw(seed=77)])
        return [] if before else [new_draw(seed=1)]

    (draw,) = freeze(path, "robins", first)
    assert (draw.number, draw.seed, asked) == (1, 77, [(0, 1), (1, 2)])


def test_nothing_to_freeze_makes_no_file(tmp_path: Path) -> None:
    """Nor does an error before there is a draw."""
    path = path_in(tmp_path)
    assert freeze(path, "robins", lambda before, number: []) == []
    assert stored_draws(path, "robins") == []
    assert not path.exists()


def test_a_file_that_is_locked_or_damaged_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on beside a writer that stands still; a new draw does not."""
    monkeypatch.setattr("asyncfilter.answers.file.BUSY_TIMEOUT_S", 0.1)
    path = path_in(tmp_path)
    freeze(path, "robins", lambda before, number: [new_draw()])
    with open_answers(path) as file, file.transaction():
        assert len(stored_draws(path, "robins")) == 1
        with pytest.raises(AnswersError, match="locked"):
            freeze(path, "robins", lambda before, number: [new_draw()])
    path.write_bytes(b"no answers file")
    with pytest.raises(AnswersError):
        stored_draws(path, "robins")
