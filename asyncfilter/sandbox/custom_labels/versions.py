"""A version of a model: its training, and its running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Protocol

import msgspec

from asyncfilter.sandbox.answers.source import Picture
from asyncfilter.sandbox.custom_labels.arns import project_name
from asyncfilter.sandbox.custom_labels.limits import UNIT_TPS
from asyncfilter.sandbox.custom_labels.requests import OutputConfig
from asyncfilter.sandbox.custom_labels.states import Clock, State
from asyncfilter.sandbox.custom_labels.times import COPY_S, DELETION_S, START_S, STOP_S, TRAINING_S
from asyncfilter.sandbox.message import ServiceError
from asyncfilter.sandbox.throttle import Quota, TokenBucket

GONE: Final = ""
STARTABLE: Final = frozenset({"TRAINING_COMPLETED", "STOPPED", "FAILED", "COPYING_COMPLETED"})
PAID: Final = frozenset({"STARTING", "RUNNING", "STOPPING"})
"""The states in which a model counts as running, and is paid for."""

SERVICE_ISSUE: Final = "Amazon Rekognition experienced a service issue."
_MESSAGES: Final = {
    "TRAINING_IN_PROGRESS": "The model is being trained.",
    "TRAINING_COMPLETED": "The model is ready to run.",
    "STARTING": "The model is starting.",
    "RUNNING": "The model is running.",
    "STOPPING": "The model is stopping.",
    "STOPPED": "The model is stopped.",
    "DELETING": "The model is deleting.",
    "COPYING_IN_PROGRESS": "The model is being copied.",
    "COPYING_COMPLETED": "The model is ready to run.",
}


class Model(Protocol):
    """A trained model."""

    def detect(self, picture: Picture) -> list[dict[str, Any]]:
        """The custom labels of a picture by falling confidence, down to a confidence of 0; runs in a thread.

        Raises:
            ServiceError: If the picture cannot be decoded.
        """
        ...

    def assumed_pct(self, label: str) -> float:
        """The assumed threshold of a label, in percent."""
        ...


class TrainingOutcome(msgspec.Struct, kw_only=True):
    """What a training has come to.

    Attributes:
        model: None after a failure, and for a model whose labels come from the sandbox's source of labels.
        problem: The service's message of a failure; empty after a success.
        files: Bodies of the objects to write, by their key.
        described: The members that DescribeProjectVersions adds.
    """

    model: Model | None = None
    problem: str = ""
    files: dict[str, bytes] = {}
    described: dict[str, Any] = {}


class Version:
    """One version of a model.

    Args:
        arn: Its ARN.
        clock: The sandbox's.
        status: Its first state.
        unit_tps: How many detections a second one inference unit takes; None for any number.
    """

    def __init__(
        self, arn: str, clock: Clock, *, status: str = GONE, unit_tps: float | None = UNIT_TPS, units: int = 1
    ) -> None:
        self.arn = arn
        self.created_s = clock.now_s()
        self.state = State(clock, status)
        self.model: Model | None = None
        self.output: OutputConfig | None = None
        self.described: dict[str, Any] = {}
        self._clock = clock
        self._unit_tps = unit_tps
        self._min_units, self._max_units = units, units
        self._quota = self._new_quota()

    @property
    def name(self) -> str:
        """Its name."""
        return self.arn.partition("/version/")[2].partition("/")[0]

    @property
    def project_name(self) -> str:
        """The name of its project."""
        return project_name(self.arn)

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted."""
        return self.state.status == GONE

    # Changes

    def train(self, work: Future[TrainingOutcome], write: Callable[[str, Mapping[str, bytes]], None]) -> None:
        """Begin the training; ``write`` puts its files into a bucket at the end."""

        def then(ended_s: float) -> None:
            outcome = (
                work.result()
                if (error := work.exception()) is None
                else TrainingOutcome(problem=f"{SERVICE_ISSUE} ({error!r})")
            )
            if self.output is not None:
                write(self.output.s3_bucket, outcome.files)
            for member, value in outcome.described.items():
                held = self.described.get(member)
                self.described[member] = {**held, **value} if isinstance(held, dict) else value
            if outcome.problem:
                self.state.settle("TRAINING_FAILED", outcome.problem)
                return
            self.model = outcome.model
            self.described["TrainingEndTimestamp"] = ended_s
            self.described["BillableTrainingTimeInSeconds"] = int(TRAINING_S)
            self.state.settle("TRAINING_COMPLETED")

        self.state.begin("TRAINING_IN_PROGRESS", lasts_s=TRAINING_S, then=then, work=work)

    def copy(self, source: Version) -> None:
        """Begin to become a copy of another version, which is trained."""
        self.model, self._unit_tps = source.model, source._unit_tps
        self.described = {**source.described, "SourceProjectVersionArn": source.arn}
        self.state.begin("COPYING_IN_PROGRESS", lasts_s=COPY_S, then=lambda _: self.state.settle("COPYING_COMPLETED"))

    def start(self, min_units: int, max_units: int | None) -> None:
        """Begin to start."""
        self._min_units, self._max_units = min_units, max_units or min_units
        self._quota = self._new_quota()
        self.described.pop("MaxInferenceUnits", None)
        if max_units is not None:
            self.described["MaxInferenceUnits"] = max_units
        self.state.begin("STARTING", lasts_s=START_S, then=lambda _: self.state.settle("RUNNING"))

    def stop(self) -> None:
        """Begin to stop."""
        self.state.begin("STOPPING", lasts_s=STOP_S, then=lambda _: self.state.settle("STOPPED"))

    def delete(self) -> None:
        """Begin the deletion."""
        self.state.begin("DELETING", lasts_s=DELETION_S, then=lambda _: self.state.settle(GONE))

    # Detections

    def check_running(self) -> None:
        """Return while it runs.

        Raises:
            ServiceError: ``ResourceNotReadyException``.
        """
        if self.state.status != "RUNNING":
            raise ServiceError("ResourceNotReadyException", f"ProjectVersion {self.arn} is not in a ready state")

    def admit(self, at_s: float) -> bool:
        """Count a detection; False if it is over the rate of the inference units. A model that does not run has none.

        A model with auto-scaling has all of its units at once: how fast the service scales is not published.
        """
        return self._quota is None or self.state.status != "RUNNING" or self._quota.admit(at_s)

    def _new_quota(self) -> Quota | None:
        return None if self._unit_tps is None else TokenBucket(self._unit_tps * self._max_units)

    # What it says

    def description(self) -> dict[str, Any]:
        """What DescribeProjectVersions says."""
        status = self.state.status
        described: dict[str, Any] = {
            "ProjectVersionArn": self.arn,
            "CreationTimestamp": self.created_s,
            "Status": status,
            "StatusMessage": self.state.message or _MESSAGES.get(status, ""),
            "Feature": "CUSTOM_LABELS",
            **self.described,
        }
        if self.output is not None:
            described["OutputConfig"] = {"S3Bucket": self.output.s3_bucket, "S3KeyPrefix": self.output.s3_key_prefix}
        if status in PAID:
            described["MinInferenceUnits"] = self._min_units
        else:
            described.pop("MaxInferenceUnits", None)
        return described
