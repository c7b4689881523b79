"""Imports and trainings that are killed at every moment, and whose answers are lost: nothing is done or paid twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.custom_labels import manifest_lines
from asyncfilter.custom_labels.counting import ImportedDataset
from asyncfilter.custom_labels.importing import ImportBy, ImportWish
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.errors import TransientError
from asyncfilter.ports.model_service import DatasetType, VersionStatus
from asyncfilter.testing import run_virtually
from asyncfilter.testing.crash import unless_crashed
from tests.kit.model_projects import Desk, Killer, lines, source, wish

T = TypeVar("T")
LIVE = Killer()
FAULTS = st.lists(st.sampled_from(["", "", "throttled", "lost before", "lost after"]), max_size=8)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_lines, "MAX_BATCH_BYTES", 700)
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # this machine is not switched off here


def _folders(tmp_path: Path) -> Iterator[Path]:
    """State folders, each with a new ledger; it is made once."""
    with open_ledger(tmp_path / "new") as made:
        made.close()
    for number in count():
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "new", folder)
        yield folder


async def _persistently(command: Callable[[], Awaitable[T]]) -> T:
    """Repeat a command that ends because one answer after the other is lost."""
    for _ in range(5):
        try:
            return await command()
        except TransientError:
            pass
    return await command()


def _check(result: list[ImportedDataset], number: int) -> None:
    assert all(one.ok for one in result), result
    assert sum(one.dataset.entries for one in result if one.dataset) == number


@pytest.mark.parametrize(("by", "is_split"), [(ImportBy.AUTO, False), (ImportBy.ENTRIES, True)])
def test_killed_imports_go_on(tmp_path: Path, by: ImportBy, is_split: bool) -> None:
    """Killed at each moment in turn: the same command completes the import and sends nothing again but the last."""
    content = lines(6)

    async def one(at: int, folder: Path) -> bool:
        desk, asked = Desk(folder), wish(source(content), by=by, is_split=is_split)
        await desk.create(LIVE)
        is_killed = await unless_crashed(desk.imports(Killer(at), asked)) is None
        sent, is_shown = list(desk.service.updates), bool(desk.shown)
        result = await desk.imports(LIVE, asked)
        _check(result, 6)
        again = desk.service.updates[len(sent) :]
        assert is_shown or set(sent) & set(again) <= set(sent[-1:])
        assert len(desk.files.written) <= 2
        return is_killed

    folders = _folders(tmp_path)
    for at in count(1):
        if not run_virtually(lambda at=at: one(at, next(folders))):  # type: ignore[misc]
            assert at > 20
            return


def test_killed_imports_of_two_files_go_on(tmp_path: Path) -> None:
    """Killed twice while a training and a test manifest are imported: both are there in the end."""

    async def one(at: int, folder: Path) -> bool:
        desk = Desk(folder)
        asked = wish(source(lines(4)), source(lines(2, first=100), DatasetType.TEST))
        await desk.create(LIVE)
        is_killed = await unless_crashed(desk.imports(Killer(at), asked)) is None
        await unless_crashed(desk.imports(Killer(1 + at % 7), asked))
        _check(await desk.imports(LIVE, asked), 6)
        return is_killed

    folders = _folders(tmp_path)
    for at in count(1):
        if not run_virtually(lambda at=at: one(at, next(folders))):  # type: ignore[misc]
            return


def test_killed_trainings_are_paid_once(tmp_path: Path) -> None:
    """Killed at each moment in turn, then again: the same command waits for the training that was begun."""

    async def one(at: int, folder: Path) -> bool:
        desk = Desk(folder)
        await desk.create(LIVE)
        is_killed = await unless_crashed(desk.train(Killer(at))) is None
        await unless_crashed(desk.train(Killer(1 + at % 9)))
        shown = desk.shown
        trained = await desk.train(LIVE)
        assert trained.version.status == VersionStatus.TRAINING_COMPLETED
        assert len(desk.service.trainings) <= 1 + shown
        return is_killed

    folders = _folders(tmp_path)
    for at in count(1):
        if not run_virtually(lambda at=at: one(at, next(folders))):  # type: ignore[misc]
            return


@settings(max_examples=25, deadline=None)
@given(faults=FAULTS)
def test_lost_answers_pay_once(tmp_path_factory: pytest.TempPathFactory, faults: list[str]) -> None:
    """Whatever answers are lost or throttled, one command pays for one training."""

    async def main() -> None:
        desk = Desk(tmp_path_factory.mktemp("state"), ["", *faults])
        await desk.create(LIVE)
        trained = await _persistently(lambda: desk.train(LIVE))
        assert desk.service.trainings == [trained.version.name]

    run_virtually(main)


@settings(max_examples=25, deadline=None)
@given(faults=FAULTS)
def test_lost_answers_lose_no_line(tmp_path_factory: pytest.TempPathFactory, faults: list[str]) -> None:
    """Whatever answers are lost or throttled, an import by entries is complete."""

    async def main() -> None:
        desk = Desk(tmp_path_factory.mktemp("state"), ["", *faults])
        await desk.create(LIVE)
        asked: ImportWish = wish(source(lines(6)), by=ImportBy.ENTRIES, is_split=True)
        result = await _persistently(lambda: desk.imports(LIVE, asked))
        _check(result, 6)

    run_virtually(main)
