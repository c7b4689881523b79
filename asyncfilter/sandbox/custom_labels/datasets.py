"""A dataset: its entries, its state, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

from asyncfilter.sandbox.custom_labels.entries import DatasetError, Entry, labels_of
from asyncfilter.sandbox.custom_labels.requests import DatasetKind
from asyncfilter.sandbox.custom_labels.states import Clock, State
from asyncfilter.sandbox.custom_labels.times import DATASET_S, DELETION_S
from asyncfilter.sandbox.message import ServiceError

Entries = dict[str, Entry]
COMPLETE: Final = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
GONE: Final = ""
_MESSAGES: Final = {
    "CREATE_IN_PROGRESS": "The dataset is creating.",
    "CREATE_COMPLETE": "The dataset was successfully created.",
    "UPDATE_IN_PROGRESS": "The dataset is updating.",
    "UPDATE_COMPLETE": "The dataset was successfully updated.",
    "DELETE_IN_PROGRESS": "The dataset is deleting.",
}


class Counts(NamedTuple):
    """The numbers of a dataset's entries."""

    labeled: int
    total: int
    labels: int
    errors: int


class Dataset:
    """One dataset of a project.

    Args:
        arn: Its ARN.
        kind: What it is for.
        clock: The sandbox's.
    """

    def __init__(self, arn: str, kind: DatasetKind, clock: Clock) -> None:
        self.arn = arn
        self.kind = kind
        self.created_s = self.updated_s = clock.now_s()
        self.entries: Entries = {}
        self.state = State(clock, GONE)
        self._code = "SUCCESS"
        self._counts: Counts | None = None

    # Changes

    def create(self, work: Future[Entries] | None) -> None:
        """Begin the creation; ``work`` gives the entries, None makes an empty dataset."""
        self._begin("CREATE", work)

    def update(self, work: Future[Entries]) -> None:
        """Begin an update with the entries that ``work`` gives: new ones, and such that replace others."""
        self._begin("UPDATE", work)

    def replace(self, entries: Entries | DatasetError, lasts_s: float = DATASET_S) -> None:
        """Begin an update at whose end the dataset has these entries and no others, or has failed."""

        def then(ended_s: float) -> None:
            if isinstance(entries, DatasetError):
                self._fail("UPDATE", entries, ended_s)
                return
            self.entries = entries
            self._succeed("UPDATE", ended_s)

        self.state.begin("UPDATE_IN_PROGRESS", lasts_s=lasts_s, then=then)

    def delete(self) -> None:
        """Begin the deletion."""
        self.state.begin("DELETE_IN_PROGRESS", lasts_s=DELETION_S, then=lambda _: self.state.settle(GONE))

    def _begin(self, name: str, work: Future[Entries] | None) -> None:
        def then(ended_s: float) -> None:
            error = None if work is None else work.exception()
            if error is not None:
                self._fail(name, error, ended_s)
                return
            self.entries.update({} if work is None else work.result())
            self._succeed(name, ended_s)

        self.state.begin(f"{name}_IN_PROGRESS", lasts_s=DATASET_S, then=then, work=work)

    def _succeed(self, name: str, ended_s: float) -> None:
        self._counts, self._code, self.updated_s = None, "SUCCESS", ended_s
        self.state.settle(f"{name}_COMPLETE")

    def _fail(self, name: str, error: BaseException, ended_s: float) -> None:
        """End a change with an error: one of the manifest, or a defect of the sandbox."""
        is_known = isinstance(error, DatasetError)
        self._code, self.updated_s = "CLIENT_ERROR" if is_known else "SERVICE_ERROR", ended_s
        self.state.settle(f"{name}_FAILED", str(error) if is_known else repr(error))

    # What it says

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted."""
        return self.state.status == GONE

    def check_idle(self) -> None:
        """Return unless the dataset is changing.

        Raises:
            ServiceError: ``ResourceInUseException``.
        """
        if self.state.is_changing:
            raise ServiceError("ResourceInUseException", f"Dataset {self.arn} is {self.state.status}")

    def check_listed(self) -> None:
        """Return if the entries can be listed.

        Raises:
            ServiceError: ``ResourceInUseException`` during an update, ``ResourceNotReadyException`` before the first
                entry is there.
        """
        if self.state.status not in {"UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"}:
            if self.state.status in {"CREATE_IN_PROGRESS", "CREATE_FAILED"}:
                raise ServiceError("ResourceNotReadyException", f"Dataset {self.arn} is {self.state.status}")
            return
        self.check_idle()

    @property
    def counts(self) -> Counts:
        """The numbers of its entries."""
        if self._counts is None:
            entries = self.entries.values()
            self._counts = Counts(
                labeled=sum(entry.is_labeled for entry in entries),
                total=len(entries),
                labels=len(labels_of(entries)),
                errors=sum(entry.has_errors for entry in entries),
            )
        return self._counts

    def summary(self) -> dict[str, Any]:
        """What DescribeProjects and DescribeDataset both say."""
        status = self.state.status
        return {
            "CreationTimestamp": self.created_s,
            "Status": status,
            "StatusMessage": self.state.message or _MESSAGES.get(status, ""),
            "StatusMessageCode": self._code,
        }

    def metadata(self) -> dict[str, Any]:
        """What DescribeProjects says."""
        return {"DatasetType": self.kind, "DatasetArn": self.arn, **self.summary()}

    def description(self) -> dict[str, Any]:
        """What DescribeDataset says."""
        summary, counts = self.summary(), self.counts
        stats = {
            "LabeledEntries": counts.labeled,
            "TotalEntries": counts.total,
            "TotalLabels": counts.labels,
            "ErrorEntries": counts.errors,
        }
        return {**summary, "LastUpdatedTimestamp": self.updated_s, "DatasetStats": stats}

    def labels(self) -> Mapping[str, tuple[int, int]]:
        """For each label the numbers of images and of boxes that have it, in order of the labels."""
        images: dict[str, int] = {}
        boxes: dict[str, int] = {}
        for entry in self.entries.values():
            for label in entry.names:
                images[label] = images.get(label, 0) + 1
            for label, number in entry.boxes:
                boxes[label] = boxes.get(label, 0) + number
        return {label: (images[label], boxes.get(label, 0)) for label in sorted(images)}
