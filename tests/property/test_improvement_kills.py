"""Improvements that are killed at every moment, and whose answers are lost: nothing is imported or paid twice."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.custom_labels import manifest_lines
from asyncfilter.custom_labels.corrections import check_corrections, select
from asyncfilter.custom_labels.improvement_log import ImprovementState
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.errors import RefusedError, TransientError
from asyncfilter.ports.model_service import DatasetType
from asyncfilter.report.terminal.improvements import improvement_lines, improvement_mapping
from asyncfilter.testing import run_virtually
from asyncfilter.testing.crash import unless_crashed
from tests.kit import manifests
from tests.kit.model_projects import Desk, Killer, lines, source, wish

LIVE = Killer()
TRAINED, TESTED = 6, 3
FAULTS = st.lists(st.sampled_from(["", "", "throttled", "lost before", "lost after"]), max_size=8)

# Two images that are trained with, three new ones, and one that is tested with.
CORRECTIONS = lines(2, names=("Wren", "Robin")) + lines(3, first=TRAINED) + lines(1, first=100)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_lines, "MAX_BATCH_BYTES", 700)
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # this machine is not switched off here


async def trained(folder: Path, faults: tuple[str, ...] = ()) -> Desk:
    """A desk with datasets and a version that was trained with them, and shown."""
    desk = Desk(folder)
    await desk.create(LIVE)
    train, test = source(lines(TRAINED)), source(lines(TESTED, first=100), DatasetType.TEST)
    await desk.imports(LIVE, wish(train, test))
    await desk.train(LIVE, "v1")
    desk.service.trainings.clear()
    desk.service.updates.clear()
    desk.shown = 0
    desk.fail_with(faults)
    return desk


def check(desk: Desk, version: str) -> None:
    """What must be there in the end, however often the command was killed."""
    assert desk.service.trainings.count(version) == 1
    assert desk.judged[-1] == ("v1", version)
    assert desk.service.refs(DatasetType.TRAIN) == [manifests.ref(number) for number in range(TRAINED + 3)]
    assert desk.service.refs(DatasetType.TEST) == [manifests.ref(number) for number in range(100, 100 + TESTED)]


def folders(tmp_path: Path) -> Iterator[Path]:
    """State folders, each with a new ledger; it is made once."""
    with open_ledger(tmp_path / "new") as made:
        made.close()
    for number in count():
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "new", folder)
        yield folder


def test_killed_improvements_go_on(tmp_path: Path) -> None:
    """Killed at each moment in turn, then again: no batch is sent again but the last, no training is paid twice."""

    async def one(at: int, folder: Path) -> bool:
        desk = await trained(folder)
        is_killed = await unless_crashed(desk.improve(Killer(at), CORRECTIONS)) is None
        sent, was_shown = list(desk.service.updates), desk.shown
        await unless_crashed(desk.improve(Killer(1 + at % 11), CORRECTIONS))
        shown = desk.shown
        _plan, improved = await desk.improve(LIVE, CORRECTIONS)
        check(desk, improved.row.version)
        again = desk.service.updates[len(sent) :]
        assert was_shown or set(sent) & set(again) <= set(sent[-1:])
        assert len(desk.service.trainings) <= 1 + shown
        assert was_shown or (improved.row.added, improved.row.replaced) == (3, 2)
        assert improved.is_better
        return is_killed

    made = folders(tmp_path)
    for at in count(1):
        if not run_virtually(lambda at=at: one(at, next(made))):  # type: ignore[misc]
            assert at > 30
            return


@settings(max_examples=20, deadline=None)
@given(faults=FAULTS)
def test_lost_answers(tmp_path_factory: pytest.TempPathFactory, faults: list[str]) -> None:
    """Whatever answers are lost or throttled, the improvement is complete and paid once."""

    async def main() -> None:
        desk = await trained(tmp_path_factory.mktemp("state"), tuple(faults))
        for _ in range(5):
            with suppress(TransientError):
                await desk.improve(LIVE, CORRECTIONS)
                break
        assert desk.shown == 1
        check(desk, desk.judged[-1][1])
        assert len(desk.service.trainings) == 1

    run_virtually(main)


def test_the_same_corrections_again(tmp_path: Path) -> None:
    """They train again, and the user is asked to pay; a switch takes up what was shown, and pays nothing."""

    async def main() -> None:
        desk = await trained(tmp_path)
        first, improved = await desk.improve(LIVE, CORRECTIONS)
        assert first.before is None
        switched, same = await desk.improve(LIVE, CORRECTIONS, switches=True)
        assert same.row == replace(improved.row, state=ImprovementState.SHOWN)
        assert desk.judged == [("v1", improved.row.version)] * 2
        again, other = await desk.improve(LIVE, CORRECTIONS)
        assert again.before == improved.row.version
        assert other.row.old_version == "v1"  # the first that the service names
        assert (other.row.added, other.row.replaced) == (0, 5)
        assert desk.paid == [True, False, True]
        assert switched.row is not None

    run_virtually(main)


@pytest.mark.parametrize("names", [(None, None), ("v2", None), ("v2", "v3")])
def test_two_commands_at_once(tmp_path: Path, names: tuple[str | None, ...]) -> None:
    """They train one version, which the ledger names; one that wishes for another name is refused."""

    async def main() -> None:
        desk = await trained(tmp_path)
        found: list[str] = []

        async def one(delay_s: float, name: str | None) -> None:
            await anyio.sleep(delay_s)
            try:
                found.append((await desk.improve(LIVE, CORRECTIONS, version=name))[1].row.version)
            except RefusedError as error:
                found.append(str(error.code))

        async with anyio.create_task_group() as tasks:
            for number, name in enumerate(names):
                tasks.start_soon(one, 0.1 * number, name)
        (version,) = desk.service.trainings
        assert sorted(found) == sorted([version, "TRAINING_OPEN" if names[1] else version])
        plan, _same = await desk.improve(LIVE, CORRECTIONS, switches=True)
        assert plan.training.version == version
        assert desk.service.trainings == [version]

    run_virtually(main)


def test_other_corrections_meanwhile(tmp_path: Path) -> None:
    """While nothing is being trained they take the place of the former ones; a training is seen to its end first."""

    async def main() -> None:
        desk = await trained(tmp_path)
        await unless_crashed(desk.improve(_killer_before("create_version"), CORRECTIONS))
        other = lines(1, first=50)
        await unless_crashed(desk.improve(_killer_after("create_version"), other))
        assert len(desk.service.trainings) == 1
        with pytest.raises(RefusedError, match="goes on, or its end was not shown") as refused:
            await desk.improve(LIVE, CORRECTIONS)
        assert refused.value.code == "TRAINING_OPEN"
        _plan, improved = await desk.improve(LIVE, other)
        assert desk.service.trainings == [improved.row.version]

    run_virtually(main)


def test_a_training_that_fails(tmp_path: Path) -> None:
    """It is shown, and the same corrections may be trained with again."""

    async def main() -> None:
        desk = await trained(tmp_path)
        desk.service.failing = ["something is wrong"]
        plan, improved = await desk.improve(LIVE, CORRECTIONS)
        assert (improved.ok, improved.is_better) == (False, False)
        found = improvement_mapping(plan, improved, ())
        assert (found["new"]["version"], found["new"]["f1"], found["proposal"]) == (improved.row.version, None, "keep")
        assert found["training"]["status"] == "TRAINING_FAILED"
        text = "\n".join(improvement_lines(plan, improved, ()))
        assert "something is wrong" in text
        assert "proposal: keep; the training has failed" in text
        plan, improved = await desk.improve(LIVE, CORRECTIONS)
        assert (improved.ok, plan.before) == (True, None)

    run_virtually(main)


def test_corrections_that_do_not_arrive(tmp_path: Path) -> None:
    """No training is paid for when the service drops a correction or finds an error in one."""

    async def main() -> None:
        desk = await trained(tmp_path)
        desk.service.faulty = {manifests.ref(3): "ERROR_INVALID_IMAGE"}  # not one of the corrections
        desk.service.refuses = {manifests.ref(TRAINED)}
        plan, improved = await desk.improve(LIVE, CORRECTIONS)
        found = improvement_mapping(plan, improved, ())
        assert [line["code"] for line in found["import"]["missing"]] == ["NOT_IN_DATASET"]
        assert (found["new"]["version"], found["training"], found["proposal"]) == (None, None, "keep")
        assert "nothing was trained" in "\n".join(improvement_lines(plan, improved, ()))
        assert improved.imported is not None
        assert [line.source_ref for line in improved.imported.missing] == [manifests.ref(TRAINED)]
        assert desk.service.trainings == []
        desk.service.refuses = set()
        _plan, improved = await desk.improve(LIVE, CORRECTIONS)
        assert improved.ok

    run_virtually(main)


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """A version that is there was trained without the corrections."""

    async def main() -> None:
        desk = await trained(tmp_path)
        with pytest.raises(RefusedError, match="v1 of birds is there already") as refused:
            await desk.improve(LIVE, CORRECTIONS, version="v1")
        assert refused.value.code == "VERSION_EXISTS"
        assert desk.service.updates == []

    run_virtually(main)


def test_a_dataset_that_was_made_anew(tmp_path: Path) -> None:
    """What was imported into a dataset that is gone is imported again."""

    async def main() -> None:
        desk = await trained(tmp_path)
        await unless_crashed(desk.improve(_killer_before("create_version"), CORRECTIONS))
        await desk.remake_dataset(lines(TRAINED))
        _plan, improved = await desk.improve(LIVE, CORRECTIONS)
        check(desk, improved.row.version)

    run_virtually(main)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (manifests.image_line("Wren", source_ref="s3://elsewhere/1.jpg"), "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS"),
        (manifests.box_line() | {"source-ref": manifests.ref(1)}, "OTHER_USE_CASE"),
    ],
)
def test_corrections_that_do_not_fit(tmp_path: Path, line: dict[str, object], code: str) -> None:
    """Images in another bucket, or boxes for labels of images: a training would fail or not use them."""

    async def main() -> None:
        desk = await trained(tmp_path)
        with pytest.raises(RefusedError) as refused:
            await desk.improve(LIVE, manifests.encoded(line) + b"\n")
        assert refused.value.code == code
        assert desk.service.updates == []

    run_virtually(main)


def test_the_last_word() -> None:
    """The last line for an image holds, wherever the first one stands; an image of the test dataset is left out."""
    content = lines(2) + lines(1, names=("Magpie",)) + lines(1, first=7)
    corrections = check_corrections(io.BytesIO(content), name="c.manifest", size_bytes=len(content))
    assert corrections.errors == ()
    test = RefIndex()
    test.add(manifests.ref(7), 1)
    out = io.BytesIO(b"former content")
    selected = select(corrections, test, out)
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    labels = {
        line["source-ref"]: next(line[name]["class-name"] for name in line if "-metadata" in name) for line in found
    }
    assert labels == {manifests.ref(1): "Wren", manifests.ref(0): "Magpie"}
    assert selected.skipped == {"in_test_set": 1, "repeated": 1}
    assert selected.examples == (manifests.ref(7),)


def _killer_before(name: str) -> _NamedKiller:
    return _NamedKiller(f"before {name}")


def _killer_after(name: str) -> _NamedKiller:
    return _NamedKiller(f"after {name}")


class _NamedKiller(Killer):
    """Kills at the first moment of a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def moment(self, name: str) -> None:
        """See ``Killer``."""
        if name == self._name and not self.at:
            self.at = len(self.moments) + 1
        super().moment(name)
