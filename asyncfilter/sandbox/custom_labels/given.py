"""The model that a sandbox has from its start: its labels come from the sandbox's source of labels."""

from __future__ import annotations

from collections.abc import Mapping

from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.projects import Project
from asyncfilter.sandbox.custom_labels.validation_files import pretty
from asyncfilter.sandbox.custom_labels.versions import Version

EVALUATIONS = "asyncfilter-sandbox-evaluations"
"""The bucket of the summary."""


def add_given_model(
    account: Account,
    arn: str,
    *,
    status: str,
    units: int,
    unit_tps: float | None,
    is_listed: bool,
    thresholds: Mapping[str, float],
) -> None:
    """Add the model of ``arn`` and its project.

    Args:
        account: Where.
        arn: Of the version; the number of the project's ARN is that of the version's.
        status: Its state, for example ``RUNNING`` or ``STOPPED``.
        units: The inference units with which it runs.
        unit_tps: How many detections a second one unit takes; None for any number.
        is_listed: Whether requests that name no project return it, and it counts against the account's limits.
        thresholds: Its labels with their assumed thresholds; with any, its evaluation has a summary.
    """
    head, _, number = arn.rpartition("/")
    project = Project(f"{head.partition('/version/')[0]}/{number}", account.clock, is_listed=is_listed)
    version = Version(arn, account.clock, status=status, unit_tps=unit_tps, units=units)
    account.add(project)
    account.add_version(project, version)
    if thresholds:
        key = f"{version.project_name}/EvaluationSummary-{version.project_name}-{version.name}.json"
        account.store.create(EVALUATIONS, account.region)
        account.write(EVALUATIONS, {key: _summary(arn, thresholds)})
        place = {"S3Object": {"Bucket": EVALUATIONS, "Name": key}}
        version.described["EvaluationResult"] = {"F1Score": _F1, "Summary": place}


_F1 = 0.9
"""A figure that was never measured."""


def _summary(arn: str, thresholds: Mapping[str, float]) -> bytes:
    metrics = {"Precision": _F1, "Recall": _F1, "F1Score": _F1}
    return pretty(
        {
            "Version": 1,
            "EvaluationDetails": {"ProjectVersionArn": arn, "Labels": sorted(thresholds)},
            "AggregatedEvaluationResults": metrics,
            "LabelEvaluationResults": [
                {"Label": label, "Metrics": {**metrics, "Threshold": threshold}}
                for label, threshold in sorted(thresholds.items())
            ],
        }
    )
