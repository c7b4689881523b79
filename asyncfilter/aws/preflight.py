"""The checks before the first paid call: regions, permissions and endpoints; each failure has a remedy."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import anyio

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.clients.protocols import S3Api, uri
from asyncfilter.aws.clients.signed_http import SignedClient
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.s3.diagnosis import region_mismatch
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.aws.session import ANY_REGION, AwsSession
from asyncfilter.aws.transport_errors import UnreachableError, vendor_translated
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    CallError,
    EndpointError,
    PermissionDeniedError,
    RegionMismatchError,
    ThrottledError,
    TransientError,
)
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.spec import DetectorSpec, Job
from asyncfilter.model import StoreKind, location, store_of
from asyncfilter.policy.detectors import PROFILES

REKOGNITION = "rekognition"
"""The service's name in endpoints and signatures."""

_OWN_ENDPOINT = "AWS_ENDPOINT_URL_REKOGNITION"
_ATTEMPTS = 4
_PAUSE_S = 0.25

T = TypeVar("T")


async def check_source(job: Job, session: AwsSession, calls: S3Api) -> str:
    """The region of the source's bucket, after a test listing of the source.

    Nothing is written, and the only cost is one listing of one key.

    Raises:
        BucketNotFoundError: The source bucket does not exist.
        PermissionDeniedError: The source may not be listed.
        CredentialsError: AWS does not accept the credentials.
        EndpointError: S3 cannot be reached.
        StoreError: The store does not list as S3 does.
    """
    source = job.source
    home = await with_retries(lambda: session.bucket_region(source.bucket))
    await _check_listing(session, calls, source.bucket, source.prefix)
    return home


async def _check_listing(session: AwsSession, calls: S3Api, bucket: str, prefix: str) -> None:
    try:
        await with_retries(lambda: list_page(calls, bucket, prefix, limit=1))
    except PermissionDeniedError as error:
        if await _is_requester_pays(session, bucket, prefix):
            raise PermissionDeniedError(
                f"s3://{bucket} is a Requester Pays bucket: it refuses requests that do not agree to pay, as those of "
                "Rekognition cannot",
                hint=f"Copy the images to a bucket of your own: aws s3 sync s3://{bucket} s3://YOUR-BUCKET "
                "--request-payer requester.",
            ) from error
        raise


async def _is_requester_pays(session: AwsSession, bucket: str, prefix: str) -> bool:
    """Whether a bucket may be listed by who agrees to pay for it; this one request costs at most 0.0005 cents."""
    client = await session.s3(bucket)
    try:
        with vendor_translated(Operation.LIST_OBJECTS, uri(bucket, prefix)), fail_after(session.timeout_s):
            await client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1, RequestPayer="requester")
    except (AsyncFilterError, ErrorResponseError):
        return False
    return True


async def check_detector(job: Job, session: AwsSession, signed_client: SignedClient, bucket_region: str | None) -> str:
    """The region in which images are examined, after the endpoint there has responded.

    Args:
        job: Gives detector and region.
        session: The account.
        signed_client: Reaches the endpoint.
        bucket_region: Of the source's bucket; None when images are not objects in S3 and any region will do.

    Raises:
        RegionMismatchError: The detector's region, or the model's, is not the bucket's, and the job does not convert.
        AccessError: No region is set, or Rekognition cannot be reached in it.
    """
    region = region_asked_for(job.detector) or bucket_region or session.region
    if region is None:
        raise AccessError(
            "no region is set: images of a folder can be examined in any",
            hint="Set detector.region in the job file, or AWS_REGION.",
        )
    if bucket_region not in {None, region} and not job.convert:
        raise _mismatch(job, bucket_region or "", region)
    await check_region(session, region)
    endpoint = await session.endpoint(REKOGNITION, region)
    await with_retries(lambda: signed_client.reach(endpoint))
    return region


async def check_region(session: AwsSession, region: str) -> None:
    """Check that Rekognition exists in a region, as far as botocore knows.

    A region that is newer than botocore, or a service of one's own, is reached by ``AWS_ENDPOINT_URL_REKOGNITION``.

    Raises:
        RegionMismatchError: It does not.
    """
    if _OWN_ENDPOINT in os.environ or region in (known := await session.regions(REKOGNITION)):
        return
    raise RegionMismatchError(
        f"Rekognition is not available in the region {region!r}; it is in {', '.join(known)}",
        hint="Set convert: true and detector.region to one of these, which sends the images' bytes there, or copy the "
        f"images to a bucket in one of them. For a region that has it since, set {_OWN_ENDPOINT} to its endpoint.",
    )


async def nearest_region(session: AwsSession, home: str) -> str:
    """``home`` itself where Rekognition exists in it, as far as botocore knows, else a region of the same area."""
    try:
        await check_region(session, home)
    except RegionMismatchError:
        known = await session.regions(REKOGNITION)
        area = home.partition("-")[0] + "-"
        return next((region for region in known if region.startswith(area)), ANY_REGION)
    return home


def region_asked_for(spec: DetectorSpec) -> str | None:
    """The region that a detector's settings give: its model's where it has one; None when they give none.

    Raises:
        AccessError: ``detector.model`` is not the ARN of a model.
    """
    return ModelArn.parse(spec.model or "").region if PROFILES[spec.kind].needs_model else spec.region


def _mismatch(job: Job, home: str, region: str) -> RegionMismatchError:
    if not PROFILES[job.detector.kind].needs_model:
        return region_mismatch(job.source.bucket, home, region)
    return RegionMismatchError(
        f"The model {job.detector.model} is in {region}, bucket {job.source.bucket!r} in {home}",
        hint="Set convert: true to send the images' bytes, or copy the model to the bucket's region "
        "(CopyProjectVersion).",
    )


async def check_buckets(job: Job, session: AwsSession) -> None:
    """Check that source and targets in S3 exist.

    Raises:
        BucketNotFoundError: One does not exist.
        CredentialsError: AWS does not accept the credentials.
        EndpointError: S3 cannot be reached.
    """
    source = [job.source.bucket] if job.source.store is StoreKind.S3 else []
    for bucket in dict.fromkeys([*source, *(location(target).bucket for target in s3_targets(job).values())]):
        await with_retries(lambda bucket=bucket: session.bucket_region(bucket))  # type: ignore[misc]


def s3_targets(job: Job) -> dict[str, str]:
    """Targets in S3, as templates, by the key of their action in the job file."""
    targets = {key: action.target for key, action in job.actions_by_key.items()}
    return {key: target for key, target in targets.items() if target and store_of(target) is StoreKind.S3}


class Retry(Protocol):
    """Repeats an attempt that was throttled or failed transiently."""

    async def __call__(self, attempt: Callable[[], Awaitable[T]], /) -> T:
        """The result of the first attempt that succeeds; raises the error of the last one."""
        ...


async def with_retries(call: Callable[[], Awaitable[T]]) -> T:
    """Retry throttled and transient failures a few times.

    Raises:
        EndpointError: No response, or every attempt was throttled or failed transiently.
        AsyncFilterError: Any other failure.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await call()
        except ErrorResponseError as exc:
            error = classify(exc.response)
            if not isinstance(error, ThrottledError | TransientError):
                raise error from exc
            if attempt == _ATTEMPTS:
                raise _unavailable(error) from exc
        except UnreachableError as exc:
            raise exc.as_endpoint_error() from exc
        except (TransientError, ThrottledError) as error:
            if attempt == _ATTEMPTS:
                raise _unavailable(error) from error
        await anyio.sleep(_PAUSE_S * 2**attempt)
    raise AssertionError("unreachable")


def _unavailable(error: CallError) -> EndpointError:
    return EndpointError(error.message, hint="Check the network and the service's health, then run it again.")
