"""The model that a sandbox has from its start: its labels come from the sandbox's source of labels."""

from __future__ import annotations

from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.projects import Project
from asyncfilter.sandbox.custom_labels.versions import Version


def add_given_model(
    account: Account, arn: str, *, status: str, units: int, unit_tps: float | None, is_listed: bool
) -> None:
    """Add the model of ``arn`` and its project.

    Args:
        account: Where.
        arn: Of the version; the number of the project's ARN is that of the version's.
        status: Its state, for example ``RUNNING`` or ``STOPPED``.
        units: The inference units with which it runs.
        unit_tps: How many detections a second one unit takes; None for any number.
        is_listed: Whether requests that name no project return it, and it counts against the account's limits.
    """
    head, _, number = arn.rpartition("/")
    project = Project(f"{head.partition('/version/')[0]}/{number}", account.clock, is_listed=is_listed)
    version = Version(arn, account.clock, status=status, unit_tps=unit_tps, units=units)
    account.add(project)
    account.add_version(project, version)
