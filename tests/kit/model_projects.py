"""A project in virtual time, with a ledger, whose commands can be killed at every moment."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import BinaryIO, TypeVar

from anyio import sleep

from asyncfilter.custom_labels.call_log import CallLog
from asyncfilter.custom_labels.corrections import check_corrections
from asyncfilter.custom_labels.counting import Counter, ImportedDataset
from asyncfilter.custom_labels.finding import the_project
from asyncfilter.custom_labels.import_log import ImportLog
from asyncfilter.custom_labels.importing import ImportBy, Importer, ImportWish, ManifestSource
from asyncfilter.custom_labels.improvement_log import ImprovementLog
from asyncfilter.custom_labels.improving import (
    Improved,
    ImprovementPlan,
    ImprovementWish,
    Improver,
    Judge,
    Logs,
    VersionComparison,
    note_shown,
)
from asyncfilter.custom_labels.ledger import Ledger, open_ledger
from asyncfilter.custom_labels.manifest_lines import LineFates, digest_of
from asyncfilter.custom_labels.paced import PacedService
from asyncfilter.custom_labels.projects import MadeProject, make_project
from asyncfilter.custom_labels.recorded import RecordedFiles, RecordedService
from asyncfilter.custom_labels.training import Trained, Trainer, TrainingWish
from asyncfilter.custom_labels.training_log import TrainingLog, TrainingState
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.datasets.manifests.validation import validate
from asyncfilter.errors import ThrottleCause, ThrottledError, TransientError
from asyncfilter.job.model_names import ProjectName
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import DatasetType, ModelVersion
from asyncfilter.testing import LoopClock
from asyncfilter.testing.crash import Crash
from asyncfilter.testing.models import DATASET_S, MemoryFiles, MemoryModelService
from tests.kit import manifests

T = TypeVar("T")
PROJECT = ProjectName("birds")
OUTPUT = S3Location("results", "training/")


class Killer:
    """Numbers the moments at which a process can be killed, and kills it at one of them; 0 for none."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.moments: list[str] = []

    def moment(self, name: str) -> None:
        """Come to a moment; a process that is dead does nothing more, so that every later one is the last, too."""
        self.moments.append(name)
        if self.at and len(self.moments) >= self.at:
            raise Crash(name)


class KillingPort:
    """A port whose process can be killed before and after each call, and whose answers can be lost.

    Args:
        port: The port.
        killer: Knows the moment.
        faults: A fault for each change, in order: ``throttled``, ``lost before``, ``lost after``; empty for none.
    """

    def __init__(self, port: object, killer: Killer, faults: Iterator[str]) -> None:
        self._port, self._killer, self._faults = port, killer, faults

    def __getattr__(self, name: str) -> object:
        member = getattr(self._port, name)
        if not callable(member):
            return member

        async def call(*args: object, **kwargs: object) -> object:
            changes = name.partition("_")[0] in {"create", "update", "delete", "distribute", "write"}
            fault = next(self._faults, "") if changes else ""
            self._killer.moment(f"before {name}")
            if fault == "throttled":
                raise ThrottledError("slower", cause=ThrottleCause.RATE)
            if fault == "lost before":
                raise TransientError("no answer", may_be_billed=True)
            result = await member(*args, **kwargs)
            self._killer.moment(f"after {name}")
            if fault == "lost after":
                raise TransientError("no answer", may_be_billed=True)
            return result

        return call


class KillingLedger(Ledger):
    """A ledger whose process can be killed before and after each transaction."""

    killer = Killer()

    @contextmanager
    def transaction(self):  # type: ignore[no-untyped-def]  # as the base has it
        """See ``Ledger``."""
        self.killer.moment("before the ledger")
        with super().transaction() as db:
            yield db
        self.killer.moment("after the ledger")


class Desk:
    """The state folder of a user, and the service.

    Args:
        folder: The state folder.
        faults: See ``KillingPort``.

    Attributes:
        shown: How many results were shown to the user.
        paid: For each improvement, whether the user was asked to pay.
        judged: The versions that were compared, old and new.
    """

    def __init__(self, folder: Path, faults: Sequence[str] = ()) -> None:
        self.files = MemoryFiles()
        self.service = MemoryModelService(self.files)
        self.service.training_s = 60
        self._folder = folder
        self._faults = iter(faults)
        self.told: list[str] = []
        self.shown = 0
        self.paid: list[bool] = []
        self.judged: list[tuple[str | None, str]] = []

    def fail_with(self, faults: Sequence[str]) -> None:
        """Let the next changes fail; see ``KillingPort``."""
        self._faults = iter(faults)

    async def remake_dataset(self, content: bytes) -> None:
        """Somebody deletes the training dataset and makes it again."""
        project_arn = await self.delete_dataset()
        made = await self.service.create_dataset(project_arn, DatasetType.TRAIN)
        await sleep(DATASET_S)
        await self.service.update_entries(made, content)
        self.service.updates.clear()

    async def delete_dataset(self) -> str:
        """Somebody deletes the training dataset, if there is one; the ARN of its project."""
        (project,) = (await self.service.describe_projects()).items
        await sleep(DATASET_S)
        for dataset in project.datasets:
            if dataset.type == DatasetType.TRAIN:
                await self.service.delete_dataset(dataset.arn)
        return project.arn

    async def create(self, killer: Killer) -> MadeProject:
        """One process of ``create``."""
        with self._opened(killer) as process:
            return await make_project(process.service, process.calls, PROJECT, process.poller)

    async def imports(self, killer: Killer, wish: ImportWish) -> list[ImportedDataset]:
        """One process of ``import``."""
        with self._opened(killer) as process:
            log = ImportLog(process.ledger, LoopClock(), endpoint="memory:")
            project = await the_project(process.service, PROJECT)
            rows = await Importer(process.service, process.files, log, process.poller).run(project, wish)
            datasets = await Counter(process.service, process.poller, PROJECT).count(wish, rows)
            self.shown += 1
            log.report(rows[0].job)
            return datasets

    async def train(
        self, killer: Killer, version: str | None = None, *, waits: bool = True, output: S3Location = OUTPUT
    ) -> Trained:
        """One process of ``train``, whose user agrees to pay."""
        wish = TrainingWish(version=version, output=output)
        with self._opened(killer) as process:
            log = TrainingLog(process.ledger, LoopClock(), endpoint="memory:")
            project = await the_project(process.service, PROJECT)
            trainer = Trainer(process.service, log, process.poller, project)
            plan = await trainer.plan(wish, default_name=f"birds.{len(killer.moments)}.{LoopClock().unix():.0f}")
            trained = await trainer.train(wish, plan, waits=waits)
            if trained.row is not None and trained.is_over:
                self.shown += 1
                log.end(trained.row, TrainingState.REPORTED)
            return trained

    async def improve(
        self, killer: Killer, content: bytes, *, version: str | None = None, switches: bool = False
    ) -> tuple[ImprovementPlan, Improved]:
        """One process of ``improve``, whose user agrees to pay."""
        stream = io.BytesIO(content)
        corrections = check_corrections(stream, name="c.manifest", size_bytes=len(content))
        asked = ImprovementWish(version=version, output=OUTPUT, switches=switches)
        with self._opened(killer) as process:
            project = await the_project(process.service, PROJECT)
            at = {"endpoint": "memory:"}
            logs = Logs(
                improvements=ImprovementLog(process.ledger, LoopClock(), **at),
                imports=ImportLog(process.ledger, LoopClock(), **at),
                trainings=TrainingLog(process.ledger, LoopClock(), **at),
            )
            improver = Improver(process.service, process.files, logs, process.poller, project)
            name = f"birds.{len(killer.moments)}.{LoopClock().unix():.0f}"
            plan = await improver.plan(corrections, asked, io.BytesIO(), default_name=name)
            self.paid.append(plan.training.is_paid)
            improved = await improver.run(plan, asked, self._judge(killer))
            killer.moment("before it is shown")
            self.shown += 1
            note_shown(plan, improved, logs)
            return plan, improved

    def _judge(self, killer: Killer) -> Judge:
        async def judge(old: ModelVersion | None, new: ModelVersion) -> VersionComparison:
            killer.moment("before the evaluation")
            self.judged.append((None if old is None else old.name, new.name))
            return VersionComparison(
                f1_old=None if old is None else 0.5, f1_new=0.9, test_sets_equal=old is not None or None
            )

        return judge

    @contextmanager
    def _opened(self, killer: Killer) -> Iterator[_Process]:
        with open_ledger(self._folder) as opened:
            KillingLedger.killer = killer
            opened.__class__ = KillingLedger
            opened._db.execute("PRAGMA synchronous = OFF")  # this machine is not switched off here
            yield _Process(self, opened, killer, self._faults)


class _Process:
    """What one process has open."""

    def __init__(self, desk: Desk, ledger: Ledger, killer: Killer, faults: Iterator[str]) -> None:
        self.ledger = ledger
        self.calls = CallLog(ledger, LoopClock())
        port = KillingPort(desk.service, killer, faults)
        paced = PacedService(port, clock=LoopClock(), rng=Random(0))  # type: ignore[arg-type]  # by its names
        self.service = RecordedService(paced, self.calls)
        files = KillingPort(desk.files, killer, iter(()))
        self.files = RecordedFiles(files, self.calls, endpoint="memory:", region="us-east-1")  # type: ignore[arg-type]
        self.poller = Poller(LoopClock(), tell=desk.told.append)


def source(content: bytes, kind: DatasetType = DatasetType.TRAIN) -> ManifestSource:
    """A checked manifest."""
    stream: BinaryIO = io.BytesIO(content)
    fates = LineFates()
    found = validate(stream, file="a.manifest", on_line=fates.add)
    digest = digest_of(stream)
    return ManifestSource(
        kind=kind,
        name="a.manifest",
        stream=stream,
        size_bytes=len(content),
        digest=digest,
        fates=fates,
        refs=found.refs,
        place=S3Location("pictures", f"asyncfilter/manifests/birds/{digest}.manifest"),
        is_there=False,
    )


def wish(*sources: ManifestSource, by: ImportBy = ImportBy.AUTO, is_split: bool = False) -> ImportWish:
    """A wish to import."""
    return ImportWish(sources=sources, by=by, is_split=is_split)


def lines(count: int, *, first: int = 0, names: Sequence[str] = ("Robin", "Wren")) -> bytes:
    """So many good lines, with these labels in turn."""
    made = [
        manifests.encoded(manifests.image_line(names[number % len(names)], source_ref=manifests.ref(number)))
        for number in range(first, first + count)
    ]
    return b"".join(line + b"\n" for line in made)
