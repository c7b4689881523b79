"""The keys of a role that is assumed with the credentials of another session; renewed as those of any provider."""

from __future__ import annotations

from typing import Final, NamedTuple

from asyncfilter.aws.clients.signing import Keys
from asyncfilter.aws.credential_chain import FoundKeys
from asyncfilter.aws.credential_errors import ROLE, credentials_error
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.session import ANY_REGION, AwsSession
from asyncfilter.errors import CredentialsError

SESSION_NAME: Final = "asyncfilter"
"""Name of the role's session, which CloudTrail shows."""


class Role(NamedTuple):
    """A role to assume, and the external id that it asks for."""

    arn: str
    external_id: str | None = None


class RoleKeys:
    """``KeySource`` of a role.

    Args:
        role: The role.
        base: The session whose credentials assume it; it stays open as long as these keys are used.
    """

    def __init__(self, role: Role, base: AwsSession) -> None:
        self._role = role
        self._base = base

    async def find(self) -> FoundKeys:
        """Assume the role.

        Raises:
            CredentialsError: It cannot be assumed.
        """
        arn, external_id = self._role
        parameters = {"RoleArn": arn, "RoleSessionName": SESSION_NAME}
        if external_id is not None:
            parameters["ExternalId"] = external_id
        try:
            client = await self._base.client("sts", self._base.region or ANY_REGION)
            with fail_after(self._base.timeout_s):
                given = (await client.assume_role(**parameters))["Credentials"]
            keys = Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
            return FoundKeys(keys, given["Expiration"].timestamp(), f"the role {arn}")
        except CredentialsError:
            raise
        except Exception as exc:
            raise credentials_error(exc, provider=ROLE, profile=arn) from exc
