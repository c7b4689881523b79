"""The clients of one account, and a job's source, detector, sink and remover over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncfilter.aws.clients.boto import BotoDetect, BotoS3
from asyncfilter.aws.clients.fast import FastDetect, FastS3
from asyncfilter.aws.clients.protocols import DetectCall, S3Api
from asyncfilter.aws.clients.signed_http import SignedClient, open_signed_client
from asyncfilter.aws.detectors.base import RekognitionDetector
from asyncfilter.aws.detectors.custom_labels import CustomLabelsDetector
from asyncfilter.aws.preflight import check_buckets, check_detector, check_source, with_retries
from asyncfilter.aws.s3.contents import S3Contents
from asyncfilter.aws.s3.diagnosis import Diagnosis
from asyncfilter.aws.s3.places import S3Places
from asyncfilter.aws.s3.remover import S3Remover
from asyncfilter.aws.s3.siblings import sibling_cautions
from asyncfilter.aws.s3.source_sink import S3Sink, S3Source
from asyncfilter.aws.s3.versions import S3Versions
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.target_checks import check_targets
from asyncfilter.job.spec import Aws, ClientKind, DetectorKind, DetectorSpec, Job, for_every_service
from asyncfilter.model import StoreKind
from asyncfilter.records.removal import BucketState, Versioning


class AwsClients:
    """The clients of one account, of the kind that the job selects; made by ``open_clients``.

    Args:
        session: The account.
        signed_client: The signed client; the check that an endpoint responds uses it for both kinds of client.
        kind: Which client makes the calls.
    """

    def __init__(self, session: AwsSession, signed_client: SignedClient, kind: ClientKind) -> None:
        self.session = session
        self.signed_client = signed_client
        self._is_fast = kind is ClientKind.FAST
        self.s3: S3Api = FastS3(session, signed_client) if self._is_fast else BotoS3(session)

    @property
    def contents(self) -> S3Contents:
        """The bytes of objects in any bucket."""
        return S3Contents(self.s3)

    async def detector(self, spec: DetectorSpec, region: str, *, reads_s3: bool = True) -> RekognitionDetector:
        """The detector that ``spec`` describes, in ``region``.

        Args:
            spec: Kind and parameters of the detector.
            region: The region in which it is called.
            reads_s3: False when images are not objects in S3; then no diagnosis of unreadable objects is made.
        """
        diagnosis = Diagnosis(self.session, self.s3, region) if reads_s3 else None
        return DETECTORS[spec.kind](await self.detect_call(spec, region), diagnosis, spec)

    async def detect_call(self, spec: DetectorSpec, region: str) -> DetectCall:
        """The bare calls of the detector that ``spec`` describes, in ``region``."""
        if self._is_fast:
            return FastDetect(self.signed_client, await self.session.endpoint("rekognition", region), spec)
        return BotoDetect(self.session, await self.session.client("rekognition", region), spec)


def _labels(call: DetectCall, diagnosis: Diagnosis | None, _spec: DetectorSpec) -> RekognitionDetector:
    return RekognitionDetector(call, diagnosis)


def _custom_labels(call: DetectCall, diagnosis: Diagnosis | None, spec: DetectorSpec) -> RekognitionDetector:
    return CustomLabelsDetector(call, diagnosis, model=spec.model or "")


DETECTORS: Mapping[DetectorKind, Callable[[DetectCall, Diagnosis | None, DetectorSpec], RekognitionDetector]] = (
    for_every_service(
        "aws.factory.DETECTORS", {DetectorKind.REKOGNITION: _labels, DetectorKind.CUSTOM_LABELS: _custom_labels}
    )
)
"""The class that decodes the responses, for each kind of detector that calls a service."""


@asynccontextmanager
async def open_clients(aws: Aws, session: AwsSession) -> AsyncIterator[AwsClients]:
    """Open the clients of an account.

    Args:
        aws: Selects the client that makes the calls.
        session: From ``open_aws``.
    """
    async with open_signed_client(session) as signed_client:
        yield AwsClients(session, signed_client, aws.client)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Store:
    """A job's bucket, ready for the first call.

    Attributes:
        places: Other prefixes of the source's bucket.
        contents: The bytes of the source's objects.
        region: Of the bucket.
        cautions: What is probably a mistake about source and targets, one sentence each.
    """

    source: S3Source
    places: S3Places
    contents: S3Contents
    sink: S3Sink
    region: str
    cautions: tuple[str, ...] = ()


async def open_store(job: Job, clients: AwsClients) -> S3Store:
    """Check that the source can be listed and that targets can be written, then return the ports over them.

    Args:
        job: Gives bucket and targets.
        clients: From ``open_clients``.

    Raises:
        AccessError: The job cannot work; the message has the reason, the hint the remedy.
    """
    region = await check_source(job, clients.session, clients.s3)
    return S3Store(
        source=S3Source(clients.s3, job.source.bucket, job.source.prefix),
        places=S3Places(clients.s3, job.source.bucket, job.source.prefix),
        contents=S3Contents(clients.s3),
        sink=S3Sink(clients.s3),
        region=region,
        cautions=(
            *await _sibling_cautions(job, clients.s3),
            *await check_targets(job, clients.session, clients.s3, region),
        ),
    )


async def _sibling_cautions(job: Job, calls: S3Api) -> tuple[str, ...]:
    """Those of a source that is listed; a list of keys has no others."""
    source = job.source
    return () if source.listed is not None else await sibling_cautions(calls, source.bucket, source.prefix)


async def open_detector(job: Job, clients: AwsClients, *, bucket_region: str | None) -> tuple[RekognitionDetector, str]:
    """Check that the job's detector can be reached, then return it and its region.

    Args:
        job: Gives detector and region.
        clients: From ``open_clients``.
        bucket_region: Of the source; None when its images are not objects in S3.

    Raises:
        AccessError: The job cannot work; the message has the reason, the hint the remedy.
    """
    region = await check_detector(job, clients.session, clients.signed_client, bucket_region)
    return await clients.detector(job.detector, region, reads_s3=bucket_region is not None), region


async def check_s3_targets(job: Job, clients: AwsClients) -> tuple[str, ...]:
    """Check the targets in S3 of a job whose images are elsewhere; the result are cautions, one sentence each.

    Raises:
        AccessError: A target cannot be written.
    """
    return await check_targets(job, clients.session, clients.s3, None)


async def open_remover(job: Job, clients: AwsClients) -> S3Remover:
    """Check that the job's buckets exist, then return the remover of the source's objects, or of those at its targets.

    Args:
        job: Gives bucket and targets.
        clients: From ``open_clients``.

    Raises:
        AccessError: A bucket does not exist or cannot be reached.
    """
    await check_buckets(job, clients.session)
    versions = S3Versions(clients.session)
    state = BucketState(versioning=Versioning.UNKNOWN)
    if job.source.store is StoreKind.S3:
        state = await with_retries(lambda: versions.state(job.source.bucket))
    return S3Remover(clients.s3, versions, state)
