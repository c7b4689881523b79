"""What is found out before the first paid call: regions, permissions and endpoints, each with its remedy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import anyio

from asyncfilter.aws.answers import AnsweredError
from asyncfilter.aws.calls import S3Calls
from asyncfilter.aws.custom_labels import ModelArn
from asyncfilter.aws.diagnosis import region_mismatch
from asyncfilter.aws.errors import classify
from asyncfilter.aws.failures import UnreachableError
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.wire import Wire
from asyncfilter.errors import AccessError, EndpointError, RegionMismatchError, ThrottledError, TransientError
from asyncfilter.job.spec import DetectorKind, Job

_ATTEMPTS = 4
_PAUSE_S = 0.25

T = TypeVar("T")


class Found(NamedTuple):
    """What preflight found: the detector's region and the source bucket's, the same unless the job converts."""

    region: str
    bucket_region: str


async def preflight(job: Job, session: AwsSession, calls: S3Calls, wire: Wire) -> Found:
    """Make sure that the job can work at all; nothing is written and nothing is paid for but one listing of one key.

    Whether target buckets can be written is known only by writing; that they exist is.

    Raises:
        BucketNotFoundError: The source bucket or a target bucket does not exist.
        PermissionDeniedError: The source may not be listed.
        RegionMismatchError: The detector's region, or the model's, is not the bucket's, and the job does not convert.
        CredentialsError: AWS does not accept the credentials.
        EndpointError: S3 or Rekognition cannot be reached.
    """
    source = job.source
    home = await patiently(lambda: session.bucket_region(source.bucket))
    region = _region_of_detector(job, home)
    await patiently(lambda: calls.list_objects(source.bucket, source.prefix, after=None, limit=1))
    for bucket in _target_buckets(job):
        await patiently(lambda bucket=bucket: session.bucket_region(bucket))  # type: ignore[misc]
    await _reach(session, wire, region)
    return Found(region, home)


async def preflight_detector(job: Job, session: AwsSession, wire: Wire) -> str:
    """The region in which images of a folder are examined, once something answers there.

    Raises:
        AccessError: No region is set, or Rekognition cannot be reached in it.
    """
    region = _region_asked_for(job) or session.region
    if region is None:
        raise AccessError(
            "no region is set: images of a folder can be examined in any",
            hint="Set detector.region in the job file, or AWS_REGION.",
        )
    await _reach(session, wire, region)
    return region


async def _reach(session: AwsSession, wire: Wire, region: str) -> None:
    endpoint = await session.endpoint("rekognition", region)
    await patiently(lambda: wire.reach(endpoint))


def _region_asked_for(job: Job) -> str | None:
    if job.detector.kind is DetectorKind.CUSTOM_LABELS:
        return ModelArn.parse(job.detector.model or "").region
    return job.detector.region


async def check_buckets(job: Job, session: AwsSession) -> None:
    """Make sure that source and targets exist.

    Raises:
        BucketNotFoundError: One does not.
        CredentialsError: AWS does not accept the credentials.
        EndpointError: S3 cannot be reached.
    """
    for bucket in (job.source.bucket, *_target_buckets(job)):
        await patiently(lambda bucket=bucket: session.bucket_region(bucket))  # type: ignore[misc]


def _region_of_detector(job: Job, home: str) -> str:
    region = _region_asked_for(job) or home
    if region == home or job.convert:
        return region
    if job.detector.kind is DetectorKind.CUSTOM_LABELS:
        raise RegionMismatchError(
            f"The model {job.detector.model} is in {region}, bucket {job.source.bucket!r} in {home}",
            hint="Set convert: true to send the images' bytes, or copy the model to the bucket's region "
            "(CopyProjectVersion).",
        )
    raise region_mismatch(job.source.bucket, home, region)


def _target_buckets(job: Job) -> list[str]:
    """Buckets of S3 that actions write to, each once, in the order of the job."""
    targets = [
        urlsplit(action.target).netloc
        for action in job.actions.values()
        if action.target and action.target.startswith("s3://")
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
