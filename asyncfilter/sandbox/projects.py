"""The one Custom Labels model of the sandbox and its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from asyncfilter.sandbox.message import ServiceError


class CustomModel(NamedTuple):
    """A trained model.

    Attributes:
        arn: ``arn:aws:rekognition:REGION:ACCOUNT:project/PROJECT/version/VERSION/MILLISECONDS``.
        status: Only a ``RUNNING`` model accepts calls, not one that is, for example, ``STOPPED`` or ``STARTING``.
        inference_units: The inference units with which it was started.
    """

    arn: str
    status: str = "RUNNING"
    inference_units: int = 1

    @property
    def project_arn(self) -> str:
        """The project's ARN without its timestamp, which is not part of the version's ARN."""
        return self.arn.partition("/version/")[0]

    @property
    def project_name(self) -> str:
        """The name of the project."""
        return self.project_arn.rpartition("/")[2]

    @property
    def version_name(self) -> str:
        """The name of the version."""
        return self.arn.partition("/version/")[2].partition("/")[0]

    def check_running(self, arn: str) -> None:
        """Return for a call to this model while it runs; raise for all others.

        Raises:
            ServiceError: ``ResourceNotFoundException`` or ``ResourceNotReadyException``.
        """
        if arn != self.arn:
            raise ServiceError("ResourceNotFoundException", "The specified resource was not found")
        if self.status != "RUNNING":
            raise ServiceError("ResourceNotReadyException", f"ProjectVersion {self.arn} is not in a ready state")


def describe_projects(model: CustomModel, names: Sequence[str] | None) -> dict[str, Any]:
    """The response of DescribeProjects; a project's ARN ends in its time of creation, here that of its version."""
    if names is not None and model.project_name not in names:
        return {"ProjectDescriptions": []}
    made_ms = model.arn.rpartition("/")[2]
    return {"ProjectDescriptions": [{"ProjectArn": f"{model.project_arn}/{made_ms}", "Status": "CREATED"}]}


def describe_versions(model: CustomModel, project_arn: str, names: Sequence[str] | None) -> dict[str, Any]:
    """The response of DescribeProjectVersions.

    Raises:
        ServiceError: ``ResourceNotFoundException`` for another project.
    """
    if not f"{project_arn}/".startswith(f"{model.project_arn}/"):
        raise ServiceError("ResourceNotFoundException", "The specified resource was not found")
    if names is not None and model.version_name not in names:
        return {"ProjectVersionDescriptions": []}
    description: dict[str, Any] = {"ProjectVersionArn": model.arn, "Status": model.status}
    if model.status == "RUNNING":
        description["MinInferenceUnits"] = model.inference_units
    return {"ProjectVersionDescriptions": [description]}
