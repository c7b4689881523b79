"""What became of the lines of a manifest: the dataset is counted, and what the service dropped or refused is named."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from asyncfilter.custom_labels.finding import find_project
from asyncfilter.custom_labels.import_log import Import, ImportMode
from asyncfilter.custom_labels.importing import FAILED, ImportWish, ManifestSource, once_ready
from asyncfilter.custom_labels.manifest_lines import MissingLine, PresentLines, source_ref_of
from asyncfilter.custom_labels.messages import code_of
from asyncfilter.custom_labels.pages import items_of
from asyncfilter.custom_labels.training_errors import code_and_message, error_lists
from asyncfilter.custom_labels.waiting import Poller
from asyncfilter.job.model_names import ProjectName
from asyncfilter.ports.model_service import Dataset, DatasetType, ListPage, ModelService


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """An error of a dataset, or of an entry in it.

    Attributes:
        line: Of the manifest; None for the dataset as a whole, or an entry that the manifest does not have.
        source_ref: Address of the image; None for the dataset as a whole.
        code: The service's; None for a message that its guide does not list.
        message: The service's.
    """

    line: int | None
    source_ref: str | None
    code: str | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedDataset:
    """A dataset after an import.

    Attributes:
        kind: Training or test.
        dataset: At the service; None when there is none.
        lines: Of the manifest; None for a dataset that was split off.
        batches: Updates that were sent; 0 for other modes.
        missing: Lines that the dataset lacks.
        errors: What the service found wrong.
    """

    kind: DatasetType
    dataset: Dataset | None
    lines: int | None
    batches: int
    missing: Sequence[MissingLine]
    errors: Sequence[LineError]

    @property
    def ok(self) -> bool:
        """Whether everything is there without errors."""
        has_failed = self.dataset is None or self.dataset.status in FAILED
        return not (has_failed or self.missing or self.errors)


class Counter:
    """Counts the datasets of one project after an import.

    Args:
        service: The service.
        poller: Waits while a dataset cannot be listed.
        project: Name of the project.
    """

    def __init__(self, service: ModelService, poller: Poller, project: ProjectName) -> None:
        self._service = service
        self._poller = poller
        self._wanted = project

    async def count(self, wish: ImportWish, rows: Sequence[Import]) -> list[ImportedDataset]:
        """The datasets of an import that is over."""
        datasets = await self._datasets()
        results = []
        for row in rows:
            kind = row.plan.kind
            source, dataset = wish.source(kind), datasets.get(kind)
            missing: list[MissingLine] = []
            if source is not None and dataset is not None and dataset.status not in FAILED:
                missing = await self._missing(source, row, datasets, is_split=wish.is_split)
            refs = source or wish.source(DatasetType.TRAIN)
            results.append(
                ImportedDataset(
                    kind=kind,
                    dataset=dataset,
                    lines=None if source is None else source.fates.lines,
                    batches=row.batches if row.plan.mode is ImportMode.ENTRIES else 0,
                    missing=missing,
                    errors=await self._errors(dataset, refs),
                )
            )
        return results

    async def _datasets(self) -> dict[DatasetType, Dataset]:
        project = await find_project(self._service, self._wanted)
        found = {}
        for kind in DatasetType:
            named = None if project is None else project.dataset(kind)
            if named is not None:
                found[kind] = await self._service.describe_dataset(named.arn)
        return found

    async def _missing(
        self, source: ManifestSource, row: Import, datasets: dict[DatasetType, Dataset], *, is_split: bool
    ) -> list[MissingLine]:
        """The lines that are in none of the datasets to which they belong.

        Where the number of entries shows that all are there, they are not fetched.
        """
        kinds = [DatasetType.TRAIN, DatasetType.TEST] if is_split else [source.kind]
        held = [datasets[kind] for kind in kinds if kind in datasets]
        present = PresentLines(source.refs, source.fates.lines)
        if not row.plan.entries_before and sum(one.entries for one in held) == len(source.refs):
            present.add_all()
        else:
            for dataset in held:
                await self._note(dataset, present)
        return list(present.missing(source.stream, source.fates))

    async def _note(self, dataset: Dataset, present: PresentLines) -> None:
        self._poller.tell(f"looking which of {dataset.entries} entries are there")
        async for entry in self._entries(dataset):
            if (source_ref := source_ref_of(entry)) is not None:
                present.add(source_ref)

    async def _errors(self, dataset: Dataset | None, source: ManifestSource | None) -> list[LineError]:
        if dataset is None:
            return []
        if dataset.status in FAILED:
            message = dataset.message or dataset.status
            return [LineError(line=None, source_ref=None, code=code_of(message), message=message)]
        if not dataset.error_entries:
            return []
        return [error async for entry in self._entries(dataset, has_errors=True) for error in _of_entry(entry, source)]

    def _entries(self, dataset: Dataset, *, has_errors: bool | None = None) -> AsyncIterator[str]:
        async def page(token: str | None) -> ListPage[str]:
            return await once_ready(
                self._poller,
                "entries",
                lambda: self._service.list_entries(dataset.arn, token=token, has_errors=has_errors),
            )

        return items_of("entries", page)


def _of_entry(entry: str, source: ManifestSource | None) -> Iterator[LineError]:
    source_ref = source_ref_of(entry)
    line = source.refs.find(source_ref) if source is not None and source_ref is not None else 0
    try:
        lists = [listed for listed in error_lists(json.loads(entry)) if isinstance(listed, list)]
    except (ValueError, RecursionError):
        lists = []
    for error in [error for listed in lists for error in listed] or [{"message": "the service does not say what"}]:
        code, message = code_and_message(error)
        yield LineError(line=line or None, source_ref=source_ref, code=code, message=message)
