"""A connection to a file that cannot be used is closed at once: from Python 3.13 on, one that is not is warned of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.answers import file as answers_file
from asyncfilter.checkpoint.reader import connect_reading
from asyncfilter.custom_labels.ledger import FILE_NAME, open_ledger
from asyncfilter.datasets.answers.answered import AnsweredSubjects
from asyncfilter.datasets.manifests.image_journal import ImageJournal
from asyncfilter.errors import AsyncFilterError
from asyncfilter.review.picture_cache import PictureCache
from asyncfilter.state import restore


def _answered(_path: Path) -> AnsweredSubjects:
    return AnsweredSubjects(map(_damaged, range(1)))


def _damaged(_number: int) -> Any:
    raise sqlite3.DatabaseError("the file is damaged")


@pytest.mark.parametrize(
    "opener",
    [
        answers_file._connect_reading,
        connect_reading,
        lambda path: open_ledger(path.parent),
        ImageJournal,
        restore._opened,
        _answered,
    ],
    ids=["answers", "checkpoint", "ledger", "journal", "state", "answered"],
)
def test_a_file_that_is_no_database_is_closed(
    opener: Callable[[Path], object], tmp_path: Path, connections: list[sqlite3.Connection]
) -> None:
    """Whatever the first statement fails with."""
    path = tmp_path / FILE_NAME
    path.write_bytes(b"no database " * 500)
    with pytest.raises((AsyncFilterError, sqlite3.DatabaseError)):
        opener(path)
    assert connections
    assert all(map(_is_closed, connections))


def test_a_cache_of_pictures_that_is_no_database_is_closed(
    tmp_path: Path, connections: list[sqlite3.Connection]
) -> None:
    """It is replaced by a new one, which is closed with the cache."""
    (tmp_path / "cache.db").write_bytes(b"no database " * 500)
    PictureCache(tmp_path / "cache.db").close()
    assert len(connections) == 2
    assert all(map(_is_closed, connections))


def _is_closed(connection: sqlite3.Connection) -> bool:
    try:
        return connection.total_changes < 0
    except sqlite3.ProgrammingError:
        return True


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[sqlite3.Connection]]:
    """Every connection that is made."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def kept(*args: Any, **options: Any) -> sqlite3.Connection:
        made.append(connect(*args, **options))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", kept)
    yield made
    for connection in made:
        connection.close()
