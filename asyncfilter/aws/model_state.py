"""The state of a Custom Labels model version, as the service describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import AccessError
from asyncfilter.job.model_arn import ModelArn


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model as DescribeProjectVersions shows it.

    Attributes:
        status: ``RUNNING``, ``STOPPED``, ``TRAINING_COMPLETED`` and so on.
        inference_units: Least units it runs with, each billed by the hour; 0 when it does not run.
        max_inference_units: Units it may scale up to; the same as ``inference_units`` without auto-scaling.
    """

    arn: str
    status: str
    inference_units: int
    max_inference_units: int


async def describe_model(session: AwsSession, arn: str) -> ModelState:
    """Fetch the state of a model.

    Raises:
        PermissionDeniedError: ``rekognition:DescribeProjects`` or ``DescribeProjectVersions`` is not allowed.
        AccessError: There is no such model.
        TransientError: No response.
    """
    parts = ModelArn.parse(arn)
    client = await session.client("rekognition", parts.region)
    try:
        with vendor_translated(Operation.DESCRIBE_PROJECT_VERSIONS, arn), fail_after(session.timeout_s):
            projects = await client.describe_projects(ProjectNames=[parts.project])
            # A project's ARN ends in the project's time stamp, which the version's ARN does not contain.
            versions = [
                version
                for project in projects["ProjectDescriptions"]
                for version in (
                    await client.describe_project_versions(
                        ProjectArn=project["ProjectArn"], VersionNames=[parts.version]
                    )
                )["ProjectVersionDescriptions"]
            ]
            states = {version["ProjectVersionArn"]: _state(arn, version) for version in versions}
    except ErrorResponseError as exc:
        raise classify(exc.response) from exc
    if state := states.get(arn):
        return state
    raise AccessError(f"There is no model {arn}", hint="Set detector.model to the ARN of a trained version.")


def _state(arn: str, version: Mapping[str, Any]) -> ModelState:
    units = int(version.get("MinInferenceUnits") or 0)
    return ModelState(arn, str(version["Status"]), units, int(version.get("MaxInferenceUnits") or units))
