"""An import from its beginning to its end: every step is in the ledger, and a command that was cut goes on.

For each dataset of a job, in this order, one of:

- ``reference``: the manifest is in S3, the service makes the dataset of it.
- ``entries``: the dataset is there, or made empty; lines are sent in batches, the next one only when the service has
  taken in the one before.
- ``split``: an empty test dataset is made, and the service moves a fifth of the training dataset to it.

What was begun with the same files is taken up; of what was sent, nothing is sent again but the last batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import BinaryIO, TypeVar

from asyncfilter.custom_labels.ensuring import ensure
from asyncfilter.custom_labels.finding import find_project
from asyncfilter.custom_labels.import_log import Import, ImportLog, ImportMode, ImportPlan, ImportState
from asyncfilter.custom_labels.manifest_lines import LineFates, batches
from asyncfilter.custom_labels.paced import is_certainly_undone
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.errors import (
    RefusedError,
    ResourceInUseError,
    ResourceMissingError,
    ResourceNotReadyError,
    ThrottledError,
    TransientError,
)
from asyncfilter.job.model_names import ProjectName
from asyncfilter.model import S3Location, location
from asyncfilter.ports.model_service import (
    Dataset,
    DatasetStatus,
    DatasetType,
    ModelService,
    ObjectFiles,
    Project,
)

T = TypeVar("T")

FAILED = frozenset({DatasetStatus.CREATE_FAILED, DatasetStatus.UPDATE_FAILED})
BUSY = frozenset({DatasetStatus.CREATE_IN_PROGRESS, DatasetStatus.UPDATE_IN_PROGRESS, DatasetStatus.DELETE_IN_PROGRESS})

_REPEATS = 5


class ImportBy(StrEnum):
    """How entries get to the service, as the user asks for it."""

    AUTO = "auto"
    """By reference to a dataset that is not there yet, by entries to one that is."""
    REFERENCE = "reference"
    ENTRIES = "entries"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSource:
    """A manifest that is imported.

    Attributes:
        kind: The dataset that it goes to.
        name: As the user named it.
        stream: Its bytes, which can be read again and again.
        size_bytes: Of it.
        digest: SHA-256 of it, as hexadecimal digits.
        fates: What the service will do with its lines.
        refs: The addresses of the lines that are not dropped, with their numbers.
        place: Where it is in S3, or is to be put.
        is_there: Whether it is in S3 already.
    """

    kind: DatasetType
    name: str
    stream: BinaryIO
    size_bytes: int
    digest: str
    fates: LineFates
    refs: RefIndex
    place: S3Location
    is_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportWish:
    """What the user asks for.

    Attributes:
        sources: The training manifest, and a test manifest or none.
        is_split: Whether the service makes the test dataset of the training dataset.
        by: How.
    """

    sources: Sequence[ManifestSource]
    is_split: bool
    by: ImportBy

    def source(self, kind: DatasetType) -> ManifestSource | None:
        """The manifest that goes to a dataset; None for none."""
        return next((one for one in self.sources if one.kind is kind), None)

    @property
    def digests(self) -> dict[DatasetType, str]:
        """The digest for each dataset of the job."""
        digests = {source.kind: source.digest for source in self.sources}
        if self.is_split:
            digests[DatasetType.TEST] = digests[DatasetType.TRAIN]
        return digests


class Importer:
    """Imports into one project.

    Args:
        service: The service.
        files: Writes manifests.
        log: The ledger's record of imports.
        poller: Waits for the service.
    """

    def __init__(self, service: ModelService, files: ObjectFiles, log: ImportLog, poller: Poller) -> None:
        self._service = service
        self._files = files
        self._log = log
        self._poller = poller

    async def run(self, project: Project, wish: ImportWish) -> list[Import]:
        """Import, or take up the import that was cut; returns its rows.

        Raises:
            RefusedError: The service refuses, or the wish does not fit what is there.
            WaitEndedError: The time of the waits is over.
        """
        rows = await self._taken_up(project, wish) or await self._split_before(project, wish)
        if not rows:
            rows = self._log.begin(project.arn, await self._plans(project, wish))
        has_failed = False
        for row in [row for row in rows if row.state is ImportState.OPEN]:
            if has_failed:
                self._log.end(row, ImportState.DROPPED)
            else:
                has_failed = await self._run(project, row, wish)
        return rows

    # -- The beginning

    async def _taken_up(self, project: Project, wish: ImportWish) -> list[Import]:
        """The rows of the job that was cut, if it is the wished one, and its datasets are still there."""
        rows = self._log.find(project.arn)
        if {row.plan.kind: row.plan.digest for row in rows} != wish.digests:
            return []
        has_split = any(row.plan.mode is ImportMode.SPLIT for row in rows)
        modes = {row.plan.mode.value for row in rows if row.plan.mode is not ImportMode.SPLIT}
        if has_split != wish.is_split or (wish.by is not ImportBy.AUTO and modes != {wish.by.value}):
            return []
        if any(row.state in {ImportState.FAILED, ImportState.DROPPED} for row in rows):
            return []
        for row in rows:
            if await self._is_lost(project, row, wish):
                return []
        self._poller.tell("taking up the import that was cut")
        return rows

    async def _is_lost(self, project: Project, row: Import, wish: ImportWish) -> bool:
        """Whether what was sent is gone: its dataset was deleted since, or replaced by another program."""
        found = await self._dataset(project, row.plan.kind)
        if row.is_sent or row.offset or row.state is not ImportState.OPEN:
            return found is None or (row.dataset_arn is not None and found.arn != row.dataset_arn)
        if found is None or row.plan.mode is not ImportMode.REFERENCE:
            return False
        # Made by our call, whose response was lost, or by another program: the entries tell, and are listed later.
        ready = await self._idle(found, row.plan.kind)
        row.plan = replace(row.plan, entries_before=ready.entries)
        is_whole = ready.entries == len(_given(wish.source(row.plan.kind)).refs)
        return wish.by is ImportBy.AUTO and not is_whole and ready.status not in FAILED

    async def _split_before(self, project: Project, wish: ImportWish) -> list[Import]:
        """The rows of the last job, if it was the wished one with a split, whose datasets are there.

        To send the file again would bring back the entries that were moved to the test dataset.
        """
        if not wish.is_split:
            return []
        rows = self._log.find_last(project.arn)
        is_same = {row.plan.kind: row.plan.digest for row in rows} == wish.digests
        if not is_same or {row.state for row in rows} != {ImportState.REPORTED}:
            return []
        if not any(row.plan.mode is ImportMode.SPLIT for row in rows):
            return []
        train = await self._dataset(project, DatasetType.TRAIN)
        test = await self._dataset(project, DatasetType.TEST)
        if not (train and train.entries and test and test.entries):
            return []
        self._poller.tell("the file was imported and split before; counting the datasets")
        return rows

    async def _plans(self, project: Project, wish: ImportWish) -> list[ImportPlan]:
        plans = [await self._plan(project, source, wish.by) for source in wish.sources]
        if wish.is_split:
            test = await self._dataset(project, DatasetType.TEST)
            if test is not None and test.entries:
                raise RefusedError(
                    f"the test dataset of {project.name} has {test.entries} entries: a split needs an empty one",
                    code="TEST_DATASET_NOT_EMPTY",
                    hint="Leave --auto-split out, or delete the datasets first: asyncfilter model delete "
                    f"{project.name} --datasets.",
                )
            plans.append(
                ImportPlan(kind=DatasetType.TEST, mode=ImportMode.SPLIT, digest=wish.digests[DatasetType.TRAIN])
            )
        return plans

    async def _plan(self, project: Project, source: ManifestSource, by: ImportBy) -> ImportPlan:
        found = await self._dataset(project, source.kind)
        if found is not None and found.status == DatasetStatus.CREATE_FAILED:
            await self._delete_failed(project, found, source.kind)
            found = None
        if found is not None and by is ImportBy.REFERENCE:
            raise RefusedError(
                f"project {project.name} has a {source.kind.value} dataset, which cannot be made again",
                code="ResourceAlreadyExistsException",
                hint="Use --by entries to add to it, or delete it first: asyncfilter model delete "
                f"{project.name} --datasets.",
            )
        if found is None and by is not ImportBy.ENTRIES:
            return ImportPlan(
                kind=source.kind, mode=ImportMode.REFERENCE, digest=source.digest, manifest=source.place.uri
            )
        before = 0 if found is None else found.entries
        return ImportPlan(kind=source.kind, mode=ImportMode.ENTRIES, digest=source.digest, entries_before=before)

    async def _delete_failed(self, project: Project, found: Dataset, kind: DatasetType) -> None:
        """Delete a dataset that could not be made: it holds nothing, and stands in the way of another one."""
        what = f"{kind.value} dataset"
        self._poller.tell(f"{what}: making it failed ({found.message}); deleting it to make it again")
        try:
            await self._service.delete_dataset(found.arn)
        except ResourceMissingError:
            return
        await self._poller.until(
            what, lambda: self._dataset(project, kind), lambda seen: seen is None, lambda _seen: "is being deleted"
        )

    # -- The steps

    async def _run(self, project: Project, row: Import, wish: ImportWish) -> bool:
        """Go on with one import to its end; returns whether it has failed."""
        steps = {
            ImportMode.REFERENCE: self._run_reference,
            ImportMode.ENTRIES: self._run_entries,
            ImportMode.SPLIT: self._run_split,
        }
        end = await steps[row.plan.mode](project, row, wish)
        has_failed = end.status in FAILED
        self._log.end(row, ImportState.FAILED if has_failed else ImportState.DONE)
        return has_failed

    async def _run_reference(self, project: Project, row: Import, wish: ImportWish) -> Dataset:
        kind = row.plan.kind
        source, place = _given(wish.source(kind)), location(row.plan.manifest or "")
        if not row.is_sent and await self._dataset(project, kind) is None:
            await self._put(source, place)
        found = await ensure(
            f"{kind.value} dataset",
            lambda: self._dataset(project, kind),
            lambda: self._service.create_dataset(project.arn, kind, manifest=place),
            self._poller,
        )
        if not row.is_sent:
            self._log.send(row, found.arn)
        return await self._idle(found, kind)

    async def _put(self, source: ManifestSource, place: S3Location) -> None:
        """Put a manifest where the service reads it, unless it is there: its name is its digest."""
        if source.is_there or await self._files.size_bytes(place) == source.size_bytes:
            return
        self._poller.tell(f"{source.name}: putting it to {place.uri}")
        await self._files.write(place, source.stream, source.size_bytes)

    async def _run_entries(self, project: Project, row: Import, wish: ImportWish) -> Dataset:
        kind = row.plan.kind
        source, what = _given(wish.source(kind)), f"{kind.value} dataset"
        found = await ensure(
            what,
            lambda: self._dataset(project, kind),
            lambda: self._service.create_dataset(project.arn, kind),
            self._poller,
        )
        now = await self._idle(found, kind)
        for batch in batches(source.stream, source.fates, row.offset):
            if not row.is_sent:
                await self._update(now, kind, batch.content)
                self._log.send(row, now.arn)
            now = await self._idle(now, kind)
            if now.status in FAILED:
                return now
            self._log.advance(row, batch.end)
            self._poller.tell(f"{what}: {batch.end / max(1, source.size_bytes):.0%} of {source.name} is in")
        return now

    async def _update(self, dataset: Dataset, kind: DatasetType, content: bytes) -> None:
        """Send one batch; what may have been sent is sent again, which changes nothing.

        Raises:
            RefusedError: The service does not accept it.
            CallError: The service does not answer.
        """
        trouble: Exception | None = None
        for attempt in range(_REPEATS):
            if attempt:
                await self._poller.pause(f"{kind.value} dataset")
                await self._idle(dataset, kind)
            try:
                await self._service.update_entries(dataset.arn, content)
            except (ResourceInUseError, ResourceNotReadyError) as error:
                trouble = error  # an update is under way: another program's, or this one, whose response was lost
            except (ThrottledError, TransientError) as error:
                if is_certainly_undone(error):
                    raise
                trouble = error
            else:
                return
        if trouble is not None:
            raise trouble

    async def _run_split(self, project: Project, row: Import, _wish: ImportWish) -> Dataset:
        test = await ensure(
            "TEST dataset",
            lambda: self._dataset(project, DatasetType.TEST),
            lambda: self._service.create_dataset(project.arn, DatasetType.TEST),
            self._poller,
        )
        test = await self._idle(test, DatasetType.TEST)
        train = await self._dataset(project, DatasetType.TRAIN)
        if train is None:
            raise ResourceMissingError(
                f"project {project.name} has no training dataset", code="ResourceNotFoundException"
            )
        train = await self._idle(train, DatasetType.TRAIN)
        if not row.is_sent and not test.entries and test.status not in FAILED:
            await self._distribute(train, test)
        if not row.is_sent:
            self._log.send(row, test.arn)
        test = await self._idle(test, DatasetType.TEST)
        train = await self._idle(train, DatasetType.TRAIN)
        return train if train.status in FAILED else test

    async def _distribute(self, train: Dataset, test: Dataset) -> None:
        """Ask for the split once; where the answer is lost, the test dataset shows whether it is going on."""
        for attempt in range(_REPEATS):
            try:
                await self._service.distribute_entries(train.arn, test.arn)
            except (ThrottledError, TransientError) as error:
                if is_certainly_undone(error) or attempt == _REPEATS - 1:
                    raise
            except (ResourceInUseError, ResourceNotReadyError):
                if attempt == _REPEATS - 1:
                    raise
            else:
                return
            await self._poller.pause("TEST dataset")
            test = await self._idle(test, DatasetType.TEST)
            if test.entries or test.status in FAILED:
                return

    # -- Looks

    async def _dataset(self, project: Project, kind: DatasetType) -> Dataset | None:
        """A dataset of the project; None when there is none."""
        now = await find_project(self._service, ProjectName(project.name, arn=project.arn))
        found = None if now is None else now.dataset(kind)
        if found is None:
            return None
        try:
            return await self._service.describe_dataset(found.arn)
        except ResourceMissingError:
            return None

    async def _idle(self, dataset: Dataset, kind: DatasetType) -> Dataset:
        """A dataset once nothing is going on in it."""
        return await self._poller.until(
            f"{kind.value} dataset",
            lambda: self._service.describe_dataset(dataset.arn),
            lambda seen: seen.status not in BUSY,
            lambda seen: seen.status,
        )


async def once_ready(poller: Poller, what: str, look: Callable[[], Awaitable[T]]) -> T:
    """A look that the service refuses while a dataset is being changed.

    Raises:
        RefusedError: It goes on refusing.
    """
    for attempt in range(_REPEATS):
        try:
            return await look()
        except (ResourceInUseError, ResourceNotReadyError):
            if attempt == _REPEATS - 1:
                raise
        await poller.pause(what)
    raise AssertionError("the last attempt returns or raises")


def _given(source: ManifestSource | None) -> ManifestSource:
    if source is None:
        raise AssertionError("a row of a file has that file: the digests are equal")
    return source
