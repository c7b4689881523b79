"""One model at its service: what state it is in, as far as that can be believed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from asyncfilter.custom_labels.lease import MISSING
from asyncfilter.errors import AccessError, ResourceMissingError
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.ports.model_service import ModelService, ModelVersion

CallerAccount = Callable[[], Awaitable[str]]
"""Asks for the number of the account whose credentials are in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachedModel:
    """A model version, and the service in its region.

    Attributes:
        arn: The version.
        service: Its calls are paced.
        account: Asks whose credentials are in use.
    """

    arn: str
    service: ModelService
    account: CallerAccount

    async def version(self) -> ModelVersion | None:
        """The version as the service describes it; None when there certainly is none.

        Raises:
            AccessError: The credentials are those of another account, which does not see the model.
            CallError: The service does not answer.
        """
        named = ModelArn.parse(self.arn)
        try:
            projects = await self.service.describe_projects(names=[named.project])
            for project in projects.items:
                versions = await self.service.describe_versions(project.arn, names=[named.version])
                for version in versions.items:
                    if version.arn == self.arn:
                        return version
        except ResourceMissingError:
            pass
        await self._check_account()
        return None

    async def status(self) -> str:
        """The state of the version, ``MISSING`` when there certainly is none; raises as ``version`` does."""
        version = await self.version()
        return MISSING if version is None else version.status

    async def _check_account(self) -> None:
        """A model that another account does not see may run all the same."""
        owner, caller = self.arn.split(":")[4], await self.account()
        if caller != owner:
            raise AccessError(
                f"these credentials are of account {caller}, and the model is of account {owner}: {self.arn}",
                hint="Use credentials of that account (AWS_PROFILE or --profile).",
            )
