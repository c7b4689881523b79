"""An improvement from its beginning to its end: corrections are imported, a version is trained with them, and compared.

The steps, each of which may be the last one of a process:

1. The row is in the ledger: corrections, version, and how many entries the training dataset had.
2. The corrections are imported by entries; what was sent is not sent again but the last batch.
3. The row says that they are in.
4. The version is trained, and paid for once.
5. It is evaluated and compared with the one that was the newest before.
6. The proposal is shown, and then the ledger notes that it was.

A command that begins at any of them goes on from what ledger and service say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from asyncfilter.custom_labels.corrections import Corrections, Selected, check_fit, select
from asyncfilter.custom_labels.counting import Counter, ImportedDataset
from asyncfilter.custom_labels.finding import all_versions, find_version
from asyncfilter.custom_labels.import_log import ImportLog, ImportState
from asyncfilter.custom_labels.importing import FAILED, ImportBy, Importer, ImportWish, ManifestSource, once_ready
from asyncfilter.custom_labels.improvement_log import Improvement, ImprovementLog, ImprovementState
from asyncfilter.custom_labels.manifest_lines import source_ref_of
from asyncfilter.custom_labels.pages import items_of
from asyncfilter.custom_labels.training import TRAINING_OPEN, Trained, Trainer, TrainingPlan, TrainingWish
from asyncfilter.custom_labels.training_log import TrainingLog, TrainingState
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.errors import RefusedError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import (
    Dataset,
    DatasetType,
    ListPage,
    ModelService,
    ModelVersion,
    ObjectFiles,
    Project,
    VersionStatus,
)

NO_DATASET = "DATASET_MISSING"
VERSION_EXISTS = "VERSION_EXISTS"

NOT_TRAINED = frozenset(
    {
        VersionStatus.TRAINING_IN_PROGRESS,
        VersionStatus.TRAINING_FAILED,
        VersionStatus.DELETING,
        VersionStatus.COPYING_IN_PROGRESS,
        VersionStatus.COPYING_FAILED,
    }
)
"""The states of a version that has no evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementWish:
    """What the user asks for.

    Attributes:
        version: Name of the new version; None for one of the moment.
        output: Bucket and prefix of what the training writes.
        switches: Whether the model that runs is to be replaced by a better one.
    """

    version: str | None
    output: S3Location
    switches: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImprovementPlan:
    """What ``improve`` will do.

    Attributes:
        endpoint: Of the service; empty for AWS's own.
        project: The project.
        dataset_arn: Its training dataset.
        corrections: As the user gave them.
        selected: The lines that are to be imported.
        row: The improvement that is taken up; None for a new one.
        before: The version that trained with these corrections last, and was shown; None when there is none.
        training: The new version, and whether it will be paid for.
        old_version: The version to compare with; None when none is trained.
        entries_before: Entries of the training dataset, before anything is imported.
    """

    endpoint: str
    project: Project
    dataset_arn: str
    corrections: Corrections
    selected: Selected
    row: Improvement | None
    before: str | None
    training: TrainingPlan
    old_version: str | None
    entries_before: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to import, nor to go on with."""
        return self.row is None and not len(self.selected.refs)

    @property
    def imports(self) -> bool:
        """Whether corrections are to be imported."""
        return self.row is None or self.row.state is ImprovementState.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionComparison:
    """Two versions compared.

    Attributes:
        f1_old: The service's F1 of the old version; None without one. ``f1_new`` alike.
        test_sets_equal: Whether both were tested with the same images and labels; None without an old version.
        differences: How the test images are different, in words.
    """

    f1_old: float | None
    f1_new: float | None
    test_sets_equal: bool | None
    differences: tuple[str, ...] = ()

    @property
    def better(self) -> bool:
        """Whether the new version is known to be better: on the same test images, or because there is no other."""
        if self.f1_new is None or self.test_sets_equal is False:
            return False
        return self.f1_old is None or self.f1_new > self.f1_old


Judge = Callable[[ModelVersion | None, ModelVersion], Awaitable[VersionComparison]]
"""Compares an old version, which may be missing, with a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Improved:
    """What became of an improvement.

    Attributes:
        row: In the ledger.
        imported: The training dataset; None where the import was over before.
        trained: The new version; None where the import failed.
        verdict: The comparison; None where the training failed.
    """

    row: Improvement
    imported: ImportedDataset | None
    trained: Trained | None = None
    verdict: VersionComparison | None = None

    @property
    def is_better(self) -> bool:
        """Whether the new version is to take the place of the old one."""
        return self.verdict is not None and self.verdict.better

    @property
    def ok(self) -> bool:
        """Whether it came to a comparison."""
        return self.verdict is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """The records of the ledger that an improvement uses."""

    improvements: ImprovementLog
    imports: ImportLog
    trainings: TrainingLog


class Improver:
    """Improves the model of one project.

    Args:
        service: The service.
        files: Its files.
        logs: The records of the ledger.
        poller: Waits for the service.
        project: The project.
    """

    def __init__(self, service: ModelService, files: ObjectFiles, logs: Logs, poller: Poller, project: Project) -> None:
        named = ProjectName(project.name, arn=project.arn)
        self._service = service
        self._importer = Importer(service, files, logs.imports, poller)
        self._counter = Counter(service, poller, named)
        self._trainer = Trainer(service, logs.trainings, poller, project)
        self._log = logs.improvements
        self._imports = logs.imports
        self._poller = poller
        self._project = project

    # -- Before

    async def plan(
        self, corrections: Corrections, wish: ImprovementWish, held: BinaryIO, *, default_name: str
    ) -> ImprovementPlan:
        """What ``run`` will do; changes nothing at the service.

        Args:
            corrections: They have no error.
            wish: What the user asks for.
            held: Where the lines go that are to be imported; it is open until ``run`` has ended.
            default_name: Name of the new version where the user gives none.

        Raises:
            RefusedError: A dataset or the name cannot be used, or another training of the project is open.
        """
        train, test = await self._dataset(DatasetType.TRAIN), await self._dataset(DatasetType.TEST)
        check_fit(corrections, (await self._page(train, None)).items)
        selected = select(corrections, await self._refs(test), held)
        same = self._log.last(self._project.arn)
        if same is not None and (same.dataset_arn, same.digest) != (train.arn, corrections.digest):
            same = None
        row = await self._row(same, wish)
        version = wish.version or (row.version if row is not None else default_name)
        training = await self._trainer.plan(
            TrainingWish(version=version, output=wish.output), default_name=default_name
        )
        if not training.is_paid and not _is_trained_by(row, version):
            raise _name_taken(self._project.name, version)
        return ImprovementPlan(
            endpoint=self._service.endpoint,
            project=self._project,
            dataset_arn=train.arn,
            corrections=corrections,
            selected=selected,
            row=row,
            before=same.version if same is not None and same.state is ImprovementState.SHOWN else None,
            training=training,
            old_version=await self._newest() if row is None else row.old_version,
            entries_before=train.entries if row is None else row.entries_before,
        )

    async def _row(self, same: Improvement | None, wish: ImprovementWish) -> Improvement | None:
        """The improvement that is taken up: an open one; for a switch also one that was shown and is still there."""
        if same is None or same.is_open:
            return same
        if not wish.switches or same.state is not ImprovementState.SHOWN or wish.version not in {None, same.version}:
            return None
        return same if await self._find(same.version) is not None else None

    async def _newest(self) -> str | None:
        versions = await all_versions(self._service, self._project)
        return next((one.name for one in versions if one.status not in NOT_TRAINED), None)

    async def _dataset(self, kind: DatasetType) -> Dataset:
        """A dataset of the project, with entries.

        Raises:
            RefusedError: There is none.
        """
        named = self._project.dataset(kind)
        found = None if named is None else await self._service.describe_dataset(named.arn)
        if found is None or not found.entries:
            raise RefusedError(
                f"project {self._project.name} has no {kind.value} dataset with entries: there is nothing to improve",
                code=NO_DATASET,
                hint=f"Import both first: asyncfilter model import {self._project.name} --train FILE --test FILE.",
            )
        return found

    async def _refs(self, dataset: Dataset) -> RefIndex:
        """The images of a dataset."""
        self._poller.tell(f"reading the {dataset.entries} entries of the test dataset")
        refs = RefIndex()
        number = 0
        async for entry in items_of("entries", lambda token: self._page(dataset, token)):
            number += 1
            if (source_ref := source_ref_of(entry)) is not None:
                refs.add(source_ref, number)
        return refs

    async def _page(self, dataset: Dataset, token: str | None) -> ListPage[str]:
        return await once_ready(self._poller, "entries", lambda: self._service.list_entries(dataset.arn, token=token))

    # -- The steps

    async def run(self, plan: ImprovementPlan, wish: ImprovementWish, judge: Judge) -> Improved:
        """Improve, or go on with the improvement that was cut.

        Args:
            plan: From ``plan``; the user has agreed to pay where it says so.
            wish: What the user asks for.
            judge: Compares the versions.

        Raises:
            RefusedError: The service refuses.
            WaitEndedError: The time of the waits is over.
        """
        row, imported = self._begun(plan, wish), None
        if row.state is ImprovementState.OPEN:
            imported = await self._import(plan.selected)
            if not is_complete(imported):
                return Improved(row=row, imported=imported)
            row = self._noted(row, plan, imported)
        trained = await self._train(row, plan, wish)
        verdict = None
        if trained.version.status not in NOT_TRAINED:
            old = None if row.old_version is None else await self._find(row.old_version)
            verdict = await judge(old, trained.version)
        return Improved(row=row, imported=imported, trained=trained, verdict=verdict)

    def _begun(self, plan: ImprovementPlan, wish: ImprovementWish) -> Improvement:
        """The row of the improvement, which another command may have begun since the plan.

        Raises:
            RefusedError: Another command has, with another name than the one that is wished for.
        """
        if plan.row is not None and not plan.row.is_open:
            return plan.row
        if plan.row is None:
            self._drop_imports(plan)
        row = self._log.begin(
            self._project.arn,
            plan.dataset_arn,
            plan.corrections.digest,
            version=plan.training.version,
            old_version=plan.old_version,
            entries_before=plan.entries_before,
            seen=plan.row,
        )
        if wish.version not in {None, row.version}:
            raise _begun_elsewhere(row.version)
        return row

    def _drop_imports(self, plan: ImprovementPlan) -> None:
        """Drop an import of the same lines that an improvement before this one began: what it sent may be gone."""
        for row in self._imports.find(self._project.arn):
            if row.plan.digest == plan.selected.digest:
                self._imports.end(row, ImportState.DROPPED)

    async def _import(self, selected: Selected) -> ImportedDataset:
        source = ManifestSource(
            kind=DatasetType.TRAIN,
            name="the corrections",
            stream=selected.stream,
            size_bytes=selected.size_bytes,
            digest=selected.digest,
            fates=selected.fates,
            refs=selected.refs,
            place=S3Location("", ""),  # by entries, nothing is put
            is_there=True,
        )
        wish = ImportWish(sources=[source], is_split=False, by=ImportBy.ENTRIES)
        rows = await self._importer.run(self._project, wish)
        (imported,) = await self._counter.count(wish, rows)
        return imported

    async def _train(self, row: Improvement, plan: ImprovementPlan, wish: ImprovementWish) -> Trained:
        asked = TrainingWish(version=row.version, output=wish.output)
        # The row has the name: where two commands improve at once, both train one version.
        trained = await self._trainer.train(asked, replace(plan.training, version=row.version))
        if trained.version.name != row.version:
            raise _begun_elsewhere(trained.version.name)
        return trained

    def _noted(self, row: Improvement, plan: ImprovementPlan, imported: ImportedDataset) -> Improvement:
        """The row once the corrections are in: what the dataset has more was added, the rest was replaced."""
        entries = imported.dataset.entries if imported.dataset is not None else 0
        added = min(max(0, entries - row.entries_before), len(plan.selected.refs))
        return self._log.imported(row, added=added, replaced=len(plan.selected.refs) - added)

    async def _find(self, version: str) -> ModelVersion | None:
        return await find_version(self._service, self._project, VersionName(version))


def is_complete(imported: ImportedDataset) -> bool:
    """Whether all corrections are in without an error; what was wrong in the dataset before does not count."""
    has_failed = imported.dataset is None or imported.dataset.status in FAILED
    return not (has_failed or imported.missing or any(error.line is not None for error in imported.errors))


def note_shown(plan: ImprovementPlan, improved: Improved, logs: Logs) -> None:
    """Write that the result was shown: the improvement last, so that until then the same command shows it again."""
    rows = logs.imports.find(plan.project.arn)
    if {row.plan.digest for row in rows} == {plan.selected.digest}:
        logs.imports.report(rows[0].job)
    if improved.trained is not None and improved.trained.row is not None:
        logs.trainings.end(improved.trained.row, TrainingState.REPORTED)
    if improved.row.is_open:
        logs.improvements.end(improved.row, ImprovementState.SHOWN if improved.ok else ImprovementState.FAILED)


def _is_trained_by(row: Improvement | None, version: str) -> bool:
    """Whether a version that is there was trained by an improvement."""
    return row is not None and row.state is not ImprovementState.OPEN and row.version == version


def _begun_elsewhere(version: str) -> RefusedError:
    return RefusedError(
        f"another command has begun to train {version} meanwhile",
        code=TRAINING_OPEN,
        hint="Repeat the same command once the end of that training was shown.",
    )


def _name_taken(project: str, version: str) -> RefusedError:
    return RefusedError(
        f"version {version} of {project} is there already: it was trained without these corrections",
        code=VERSION_EXISTS,
        hint="Name another --version, or leave it out.",
    )
