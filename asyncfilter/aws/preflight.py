"""What is found out before the first paid call: regions, permissions and endpoints, each with its remedy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import anyio

from asyncfilter.aws.answers import AnsweredError
from asyncfilter.aws.calls import S3Calls
from asyncfilter.aws.diagnosis import region_mismatch
from asyncfilter.aws.errors import classify
from asyncfilter.aws.failures import UnreachableError
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.wire import Wire
from asyncfilter.errors import AccessError, EndpointError, RegionMismatchError, ThrottledError, TransientError
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.spec import DetectorSpec, Job
from asyncfilter.model import StoreKind, store_of
from asyncfilter.policy.detectors import PROFILES

_ATTEMPTS = 4
_PAUSE_S = 0.25

T = TypeVar("T")


async def check_source(job: Job, session: AwsSession, calls: S3Calls) -> str:
    """The region of the source's bucket, once the source was listed and every target bucket was found.

    Nothing is written, and nothing is paid for but one listing of one key. Whether target buckets can be written is
    known only by writing; that they exist is.

    Raises:
        BucketNotFoundError: The source bucket or a target bucket does not exist.
        PermissionDeniedError: The source may not be listed.
        CredentialsError: AWS does not accept the credentials.
        EndpointError: S3 cannot be reached.
    """
    source = job.source
    home = await patiently(lambda: session.bucket_region(source.bucket))
    await patiently(lambda: calls.list_objects(source.bucket, source.prefix, after=None, limit=1))
    for bucket in _target_buckets(job):
        await patiently(lambda bucket=bucket: session.bucket_region(bucket))  # type: ignore[misc]
    return home


async def check_detector(job: Job, session: AwsSession, wire: Wire, bucket_region: str | None) -> str:
    """The region in which images are examined, once something answers there.

    Args:
        job: Says detector and region.
        session: The account.
        wire: Reaches the endpoint.
        bucket_region: Of the source's bucket; None when images are no objects of S3, and can be examined anywhere.

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
    endpoint = await session.endpoint("rekognition", region)
    await patiently(lambda: wire.reach(endpoint))
    return region


def region_asked_for(spec: DetectorSpec) -> str | None:
    """The region that a detector's settings say: its model's where it has one; None when they leave it open.

    Raises:
        AccessError: The model is not the ARN of one.
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
    """Make sure that source and targets exist.

    Raises:
        BucketNotFoundError: One does not.
        CredentialsError: AWS does not accept the credentials.
        EndpointError: S3 cannot be reached.
    """
    for bucket in (job.source.bucket, *_target_buckets(job)):
        await patiently(lambda bucket=bucket: session.bucket_region(bucket))  # type: ignore[misc]


def _target_buckets(job: Job) -> list[str]:
    """Buckets of S3 that actions write to, each once, in the order of the job."""
    targets = [
        urlsplit(action.target).netloc
        for action in job.actions.values()
        if action.target and store_of(action.target) is StoreKind.S3
    ]
    return [bucket for bucket in dict.fromkeys(targets) if bucket != job.source.bucket and "{" not in bucket]


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat what is worth it, a few times; what then still fails is the endpoint's fault."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await call()
        except AnsweredError as exc:
            error = classify(exc.answer)
            if attempt == _ATTEMPTS or not isinstance(error, ThrottledError | TransientError):
                raise error from exc
        except UnreachableError as exc:
            raise exc.as_endpoint_error() from exc
        except (TransientError, ThrottledError) as exc:
            if attempt == _ATTEMPTS:
                raise EndpointError(
                    exc.message, hint="Check the network and AWS's service health, then repeat."
                ) from exc
        await anyio.sleep(_PAUSE_S * 2**attempt)
    raise AssertionError("unreachable")
