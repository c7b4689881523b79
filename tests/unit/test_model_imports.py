"""Imports that do not go smoothly, in virtual time: what is dropped, wrong, failed or there already."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import anyio
import pytest

from asyncfilter.custom_labels.importing import ImportBy
from asyncfilter.custom_labels.ledger import open_ledger
from asyncfilter.custom_labels.manifest_lines import MAX_BATCH_BYTES, LineFates, batches, digest_of
from asyncfilter.custom_labels.messages import code_of
from asyncfilter.custom_labels.training import Trainer, TrainingPlan, TrainingWish
from asyncfilter.custom_labels.training_log import TrainingLog
from asyncfilter.datasets.manifests.validation import validate
from asyncfilter.errors import RefusedError, ResourceMissingError
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import DatasetStatus, DatasetType, VersionStatus
from asyncfilter.testing import ManualClock, run_virtually
from asyncfilter.testing.crash import unless_crashed
from tests.kit.manifests import encoded, image_line, ref
from tests.kit.model_projects import Desk, Killer, lines, source, wish

T = TypeVar("T")
LIVE = Killer()


def at_desk(folder: Path, main: Callable[[Desk], Awaitable[T]]) -> T:
    """Run ``main`` with a project that is there."""

    async def opened() -> T:
        desk = Desk(folder)
        await desk.create(LIVE)
        return await main(desk)

    return run_virtually(opened)


def test_batches_are_whole_lines_within_the_limit() -> None:
    """All lines that are not dropped, in order, each once; a batch is as large as it may be."""
    labels = [f"label {number:03d} " + "x" * 200 for number in range(45)]
    content = b"".join(encoded(image_line(*labels, source_ref=ref(number))) + b"\r\n" for number in range(700))
    content = b" \n" + content + content[: content.index(b"\n") + 1] + b"{}\n"
    stream, fates = io.BytesIO(content), LineFates()
    validate(stream, file="a", on_line=fates.add)
    made = list(batches(stream, fates, 0))
    assert len(made) > 2
    assert all(len(batch.content) <= MAX_BATCH_BYTES for batch in made)
    assert all(len(one.content) + len(two.content.split(b"\n")[0]) >= MAX_BATCH_BYTES for one, two in pairwise(made))
    sent = b"".join(batch.content for batch in made).splitlines()
    assert sent == content.replace(b"\r", b"").splitlines()[1:-2]
    assert list(batches(stream, fates, made[0].end)) == made[1:]


def test_what_the_service_drops_is_named(tmp_path: Path) -> None:
    """A line that no rule explains is missing with its number, by reference and by entries."""

    async def main(desk: Desk) -> None:
        desk.service.refuses = {ref(3), ref(5)}
        desk.service.faulty = {ref(2): "ERROR_INVALID_IMAGE"}
        for by in (ImportBy.REFERENCE, ImportBy.ENTRIES):
            (found,) = await desk.imports(LIVE, wish(source(lines(8)), by=by))
            assert [(one.line, one.code) for one in found.missing] == [(4, "NOT_IN_DATASET"), (6, "NOT_IN_DATASET")]
            assert [(one.line, one.source_ref, one.code) for one in found.errors] == [
                (3, ref(2), "ERROR_INVALID_IMAGE")
            ]
            assert not found.ok

    at_desk(tmp_path, main)


def test_a_dataset_that_is_there(tmp_path: Path) -> None:
    """By default lines are added; by reference it is refused, and nothing is sent."""

    async def main(desk: Desk) -> None:
        await desk.imports(LIVE, wish(source(lines(4))))
        with pytest.raises(RefusedError, match="cannot be made again"):
            await desk.imports(LIVE, wish(source(lines(6)), by=ImportBy.REFERENCE))
        assert not desk.service.updates
        (found,) = await desk.imports(LIVE, wish(source(lines(6, first=2))))
        assert found.ok
        assert len(desk.service.refs(DatasetType.TRAIN)) == 8

    at_desk(tmp_path, main)


def test_a_split_needs_an_empty_test_dataset(tmp_path: Path) -> None:
    """Another file than the one that was split is refused, before anything is sent."""

    async def main(desk: Desk) -> None:
        await desk.imports(LIVE, wish(source(lines(10)), is_split=True))
        with pytest.raises(RefusedError, match="2 entries"):
            await desk.imports(LIVE, wish(source(lines(12)), is_split=True))
        assert not desk.service.updates

    at_desk(tmp_path, main)


def test_a_dataset_that_failed_is_made_again(tmp_path: Path) -> None:
    """It holds nothing: it is deleted, and made of the new manifest."""

    async def main(desk: Desk) -> None:
        await desk.imports(LIVE, wish(source(lines(4))))
        desk.service.fail(DatasetType.TRAIN, DatasetStatus.CREATE_FAILED, "The manifest file has too many labels.")
        (found,) = await desk.imports(LIVE, wish(source(lines(5))))
        assert (found.ok, found.dataset and found.dataset.status) == (True, "CREATE_COMPLETE")

    at_desk(tmp_path, main)


@pytest.mark.parametrize("by", [ImportBy.REFERENCE, ImportBy.ENTRIES])
def test_a_dataset_that_was_deleted_after_a_cut_import_is_made_again(by: ImportBy, tmp_path: Path) -> None:
    """What the ledger has of it says nothing about a dataset that is not there any more."""

    async def main(desk: Desk) -> None:
        wished = wish(source(lines(4)), by=by)
        counted = Killer()
        await desk.imports(counted, wished)
        for at in range(1, len(counted.moments) + 1):
            await desk.delete_dataset()
            await unless_crashed(desk.imports(Killer(at), wished))
            await desk.delete_dataset()
            (found,) = await desk.imports(LIVE, wished)
            assert found.ok
            assert len(desk.service.refs(DatasetType.TRAIN)) == 4

    at_desk(tmp_path, main)


@pytest.mark.parametrize("by", [ImportBy.REFERENCE, ImportBy.ENTRIES])
def test_a_dataset_that_was_made_anew_after_a_cut_import(by: ImportBy, tmp_path: Path) -> None:
    """Somebody else deletes it and makes another one: what was sent to the first is sent again."""

    async def main(desk: Desk) -> None:
        wished, auto = wish(source(lines(4)), by=by), wish(source(lines(4)))
        counted = Killer()
        await desk.imports(counted, wished)
        for at in range(1, len(counted.moments) + 1):
            await desk.delete_dataset()
            await unless_crashed(desk.imports(Killer(at), wished))
            await desk.remake_dataset(lines(1, first=50))
            (found,) = await desk.imports(LIVE, auto)
            assert found.ok, counted.moments[at - 1]
            assert len(desk.service.refs(DatasetType.TRAIN)) == 5, counted.moments[at - 1]

    at_desk(tmp_path, main)


def test_another_dataset_with_as_many_entries_is_not_taken_for_ours(tmp_path: Path) -> None:
    """The entries are compared, and those that are missing are named: the import was cut before its call was noted."""

    async def main(desk: Desk) -> None:
        wished = wish(source(lines(4)))
        counted = Killer()
        await desk.imports(counted, wished)
        await desk.delete_dataset()
        await unless_crashed(desk.imports(Killer(counted.moments.index("before create_dataset") + 1), wished))
        await desk.remake_dataset(lines(4, first=50))
        (found,) = await desk.imports(LIVE, wished)
        assert [(one.line, one.code) for one in found.missing] == [(line, "NOT_IN_DATASET") for line in range(1, 5)]

    at_desk(tmp_path, main)


def test_a_missing_project(tmp_path: Path) -> None:
    """It is refused with the service's own code."""

    async def main() -> None:
        with pytest.raises(ResourceMissingError) as caught:
            await Desk(tmp_path).imports(LIVE, wish(source(lines(4))))
        assert caught.value.code == "ResourceNotFoundException"

    run_virtually(main)


def test_trainings_one_after_the_other(tmp_path: Path) -> None:
    """A second one begins when the end of the first was shown; a failed one is closed, too."""

    async def main(desk: Desk) -> None:
        desk.service.failing = ["The manifest file has too few labels."]
        first = await desk.train(LIVE, "v1")
        second = await desk.train(LIVE, "v2")
        assert (first.version.status, second.version.status) == (
            VersionStatus.TRAINING_FAILED,
            VersionStatus.TRAINING_COMPLETED,
        )
        again = await desk.train(LIVE, "v2")
        assert (again.is_attached, again.row) == (True, None)
        assert desk.service.trainings == ["v1", "v2"]

    at_desk(tmp_path, main)


def test_two_commands_that_begin_at_once_begin_one_training(tmp_path: Path) -> None:
    """The one that comes second gets the row of the first, and pays for nothing."""
    with open_ledger(tmp_path) as ledger:
        log = TrainingLog(ledger, ManualClock(), endpoint="")
        first, is_first = log.begin("project", "v1", output=S3Location("results", ""), kms_key=None)
        second, is_second = log.begin("project", "v2", output=S3Location("results", ""), kms_key=None)
    assert (is_first, is_second) == (True, False)
    assert second == first


def test_two_commands_that_meet_in_one_second_tell_who_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have one name for the version, and have seen none: the one that has begun the training pays."""
    plan = Trainer.plan

    async def main(desk: Desk) -> None:
        found: list[bool] = []
        looked: list[TrainingPlan] = []
        both = anyio.Event()

        async def together(self: Trainer, wish: TrainingWish, *, default_name: str) -> TrainingPlan:
            looked.append(await plan(self, wish, default_name=default_name))
            if len(looked) == 2:
                both.set()
                await anyio.sleep(0.3)  # by then the row is in the ledger, and the service was not asked
            await both.wait()
            return looked[0]

        monkeypatch.setattr(Trainer, "plan", together)

        async def train() -> None:
            found.append((await desk.train(LIVE, "v1")).is_attached)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(train)
            tasks.start_soon(train)
        assert len(desk.service.trainings) == 1
        assert sorted(found) == [False, True]

    at_desk(tmp_path, main)


def test_an_open_training_keeps_others_from_beginning(tmp_path: Path) -> None:
    """Another name is refused while it goes on; without a name it is attached to."""

    async def main(desk: Desk) -> None:
        await desk.train(LIVE, "v1", waits=False)
        with pytest.raises(RefusedError, match="v1 goes on"):
            await desk.train(LIVE, "v2")
        trained = await desk.train(LIVE)
        assert (trained.version.name, trained.is_attached) == ("v1", True)
        assert desk.service.trainings == ["v1"]

    at_desk(tmp_path, main)


def test_a_corrected_wish_holds(tmp_path: Path) -> None:
    """Killed before the service was asked: the next command's output is used, under the same name."""

    async def main(desk: Desk) -> None:
        killer = Killer()
        await desk.train(killer, "v0")
        at = killer.moments.index("before create_version") + 1
        assert await unless_crashed(desk.train(Killer(at), "v1", output=S3Location("wrong", ""))) is None
        trained = await desk.train(LIVE, output=S3Location("right", ""))
        assert (trained.version.name, trained.version.output) == ("v1", S3Location("right", ""))
        assert desk.service.trainings == ["v0", "v1"]

    at_desk(tmp_path, main)


def test_a_training_that_was_deleted(tmp_path: Path) -> None:
    """It is said to be gone, and not paid for again by the same command; the next one begins a new one."""

    async def main(desk: Desk) -> None:
        begun = await desk.train(LIVE, "v1", waits=False)
        desk.service.training_s = 0
        await desk.service.delete_version(begun.version.arn)
        with pytest.raises(ResourceMissingError, match="v1 was deleted"):
            await desk.train(LIVE)
        assert desk.service.trainings == ["v1"]
        assert (await desk.train(LIVE, "v2")).version.name == "v2"

    at_desk(tmp_path, main)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("The manifest file is empty.", "ERROR_EMPTY_MANIFEST"),
        ("Amazon Rekognition: the manifest  file has too few usable\nlabels", "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS"),
        ("Less than 50% usable label overlap between the training and testing manifest files.",
         "ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP"),
        ("Less than 50% label overlap between the training and testing manifest files.",
         "ERROR_INSUFFICIENT_LABEL_OVERLAP"),
        ("ERROR_FAILED_IMAGES_S3_COPY: who knows", "ERROR_FAILED_IMAGES_S3_COPY"),
        ("Amazon Rekognition experienced a service issue.", None),
    ],
)  # fmt: skip
def test_codes_of_messages(message: str, code: str | None) -> None:
    """The texts of the guide have its codes; others have none."""
    assert code_of(message) == code


def test_the_digest_is_of_all_bytes() -> None:
    """It does not depend on where the stream stands."""
    stream = io.BytesIO(b"abc")
    stream.seek(2)
    assert digest_of(stream).startswith("ba7816bf8f01cfea")
