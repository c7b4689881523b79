"""The targets of a job in S3 before anything is paid: their buckets, their regions, and whether they can be written.

``check_targets`` of the job file says how much may be done for it. Without ``write`` nothing is written.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.preflight import s3_targets, with_retries
from asyncfilter.aws.session import AioClient, AwsSession
from asyncfilter.aws.target_policies import check_policies
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import AccessError, AsyncFilterError, PermissionDeniedError
from asyncfilter.job.addresses import MAX_KEY_BYTES, parse_template
from asyncfilter.job.spec import Job, TargetCheck
from asyncfilter.model import ActionKind, S3Location, StoreKind, location
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.permissions.arns import CHECK_NAME, key_pattern, sample

_ENCRYPTED = "Allow kms:GenerateDataKey on the KMS key of the target's bucket."


async def check_targets(job: Job, session: AwsSession, calls: S3Api, home: str | None) -> tuple[str, ...]:
    """Check the targets in S3; the result are cautions, one sentence each.

    Args:
        job: Has the targets, and says how they are checked.
        session: The account.
        calls: Either client.
        home: Region of the source; None where it is not in S3.

    Raises:
        BucketNotFoundError: A bucket does not exist.
        PermissionDeniedError: A target may not be written.
        AccessError: A target cannot be written for another reason.
        EndpointError: S3 cannot be reached.
    """
    targets = s3_targets(job)
    cautions = []
    for key, target in targets.items():
        bucket = location(target).bucket
        region = await with_retries(lambda bucket=bucket: session.bucket_region(bucket))  # type: ignore[misc]
        if home not in {None, region}:
            cautions.append(
                f"{key}: {bucket} is in {region}, the source in {home}: S3 bills the transfer of every copy"
            )
    if job.check_targets is TargetCheck.WRITE:
        for key, place in _places(job, targets).items():
            cautions += await _Probe(session, key, place).run()
    elif job.check_targets is TargetCheck.POLICY and _writes(job) and PROFILES[job.detector.kind].is_service:
        # Not for a model of one's own: a run that ends at its first write has cost nothing, and no service is asked.
        cautions += await check_policies(job, session, calls, _places(job, targets))
    return tuple(cautions)


def _writes(job: Job) -> bool:
    """Whether some action changes what is in S3."""
    return bool(s3_targets(job)) or (
        job.source.store is StoreKind.S3
        and any(action.kind is not ActionKind.NONE for action in job.actions_by_key.values())
    )


def _places(job: Job, targets: Mapping[str, str]) -> dict[str, S3Location]:
    """An unused key at each target, by the key of its action; targets alike have one."""
    found: dict[tuple[str, str], str] = {}
    for key, target in targets.items():
        template = parse_template(target)
        pattern = key_pattern(template.parts, prefix=job.source.prefix, name=job.name)
        found.setdefault((template.bucket, pattern), key)
    places = {key: _unused(bucket, pattern) for (bucket, pattern), key in found.items()}
    return {key: place for key, place in places.items() if len(place.key.encode()) <= MAX_KEY_BYTES}


def _unused(bucket: str, pattern: str) -> S3Location:
    """A key that no object has, and that a policy allows which allows those of a target and no others."""
    return S3Location(bucket, sample(pattern, f"{CHECK_NAME}{secrets.token_hex(8)}"))


class _Probe:
    """One empty object, written to a target and taken away again.

    Args:
        session: The account.
        action: Key of the action in the job file.
        place: Where it is written.
    """

    def __init__(self, session: AwsSession, action: str, place: S3Location) -> None:
        self._session = session
        self._action = action
        self._place = {"Bucket": place.bucket, "Key": place.key}
        self._where = place.uri

    async def run(self) -> list[str]:
        """Write it and take it away; the result is a caution where it had to be left.

        Raises:
            AccessError: It cannot be written.
        """
        try:
            written = await with_retries(self._put)
        except AccessError as error:
            raise self._refused(error) from error
        try:
            await with_retries(lambda: self._take_away(written.get("VersionId")))
        except AsyncFilterError as error:
            left = f"the empty object {self._where}, which checked the target, could not be taken away again"
            return [f"{self._action}: {left} ({error})"]
        return []

    async def _put(self) -> dict[str, Any]:
        client = await self._session.s3(self._place["Bucket"])
        with vendor_translated(Operation.PUT_OBJECT, self._where), fail_after(self._session.timeout_s):
            written: dict[str, Any] = await client.put_object(**self._place, Body=b"")
        return written

    async def _take_away(self, version: str | None) -> None:
        """Delete the version that was written, or where that is not allowed, the object."""
        client = await self._session.s3(self._place["Bucket"])
        try:
            await self._delete(client, {"VersionId": version} if version else {})
        except ErrorResponseError as exc:
            if not version or not isinstance(classify(exc.response), PermissionDeniedError):
                raise
            await self._delete(client, {})

    async def _delete(self, client: AioClient, version: Mapping[str, str]) -> None:
        with vendor_translated(Operation.DELETE_OBJECT, self._where), fail_after(self._session.timeout_s):
            await client.delete_object(**self._place, **version)

    def _refused(self, error: AccessError) -> AccessError:
        message, hint = f"{self._action}: the target cannot be written: {error.message}", error.hint
        return type(error)(message, hint=_ENCRYPTED if "kms" in error.message.lower() else hint)
