"""The clients of one account, and from them a job's source, detector and sink."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncfilter.aws.boto import BotoDetect, BotoS3
from asyncfilter.aws.calls import DetectCall, S3Calls
from asyncfilter.aws.contents import S3Contents
from asyncfilter.aws.custom_labels import CustomLabelsDetector
from asyncfilter.aws.diagnosis import Diagnosis
from asyncfilter.aws.fast import FastDetect, FastS3
from asyncfilter.aws.preflight import check_buckets, check_detector, check_source, patiently
from asyncfilter.aws.rekognition import RekognitionDetector
from asyncfilter.aws.remover import S3Remover
from asyncfilter.aws.s3 import S3Sink, S3Source
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.versions import S3Versions
from asyncfilter.aws.wire import Wire, open_wire
from asyncfilter.job.spec import Aws, ClientKind, DetectorKind, DetectorSpec, Job, for_every_kind


class AwsClients:
    """What speaks to one account, through the client that the job asks for; made by ``open_clients``.

    Args:
        session: The account.
        wire: The signed client; both kinds of client need it to find out whether an endpoint answers.
        kind: Which client makes the calls.
    """

    def __init__(self, session: AwsSession, wire: Wire, kind: ClientKind) -> None:
        self.session = session
        self.wire = wire
        self._is_fast = kind is ClientKind.FAST
        self.s3: S3Calls = FastS3(session, wire) if self._is_fast else BotoS3(session)

    async def detector(self, spec: DetectorSpec, region: str, *, reads_s3: bool = True) -> RekognitionDetector:
        """The detector that ``spec`` describes, in ``region``.

        Args:
            spec: What to ask.
            region: Where.
            reads_s3: False when images are no objects of S3: no object is looked into that could not be read.
        """
        diagnosis = Diagnosis(self.session, self.s3, region) if reads_s3 else None
        return DETECTORS[spec.kind](await self._detect_call(spec, region), diagnosis, spec)

    async def _detect_call(self, spec: DetectorSpec, region: str) -> DetectCall:
        if self._is_fast:
            return FastDetect(self.wire, await self.session.endpoint("rekognition", region), spec)
        return BotoDetect(self.session, await self.session.client("rekognition", region), spec)


def _labels(call: DetectCall, diagnosis: Diagnosis | None, _spec: DetectorSpec) -> RekognitionDetector:
    return RekognitionDetector(call, diagnosis)


def _custom_labels(call: DetectCall, diagnosis: Diagnosis | None, spec: DetectorSpec) -> RekognitionDetector:
    return CustomLabelsDetector(call, diagnosis, model=spec.model or "")


DETECTORS: Mapping[DetectorKind, Callable[[DetectCall, Diagnosis | None, DetectorSpec], RekognitionDetector]] = (
    for_every_kind(
        "aws.opening.DETECTORS", {DetectorKind.REKOGNITION: _labels, DetectorKind.CUSTOM_LABELS: _custom_labels}
    )
)
"""What reads the answers of each kind of detector."""


@asynccontextmanager
async def open_clients(aws: Aws, session: AwsSession) -> AsyncIterator[AwsClients]:
    """Open the clients of an account.

    Args:
        aws: Says which client makes the calls.
        session: From ``open_aws``.
    """
    async with open_wire(session) as wire:
        yield AwsClients(session, wire, aws.client)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Store:
    """A job's bucket, ready for the first call.

    Attributes:
        contents: The bytes of the source's objects.
        region: Of the bucket.
    """

    source: S3Source
    contents: S3Contents
    sink: S3Sink
    region: str


async def open_store(job: Job, clients: AwsClients) -> S3Store:
    """Check that the source can be listed and that targets exist, then give the ports over them.

    Args:
        job: Says bucket and targets.
        clients: From ``open_clients``.

    Raises:
        AccessError: The job cannot work; the message says why, the hint what to do.
    """
    region = await check_source(job, clients.session, clients.s3)
    return S3Store(
        source=S3Source(clients.s3, job.source.bucket, job.source.prefix),
        contents=S3Contents(clients.s3),
        sink=S3Sink(clients.s3),
        region=region,
    )


async def open_detector(job: Job, clients: AwsClients, *, bucket_region: str | None) -> tuple[RekognitionDetector, str]:
    """Check that the job's detector can be reached, then give it and its region.

    Args:
        job: Says detector and region.
        clients: From ``open_clients``.
        bucket_region: Of the source; None when its images are no objects of S3.

    Raises:
        AccessError: The job cannot work; the message says why, the hint what to do.
    """
    region = await check_detector(job, clients.session, clients.wire, bucket_region)
    return await clients.detector(job.detector, region, reads_s3=bucket_region is not None), region


async def open_remover(job: Job, clients: AwsClients) -> S3Remover:
    """Check that the job's buckets are there, then give what takes objects out of the source.

    Args:
        job: Says bucket and targets.
        clients: From ``open_clients``.

    Raises:
        AccessError: A bucket is not there or cannot be reached.
    """
    await check_buckets(job, clients.session)
    kept = S3Versions(clients.session)
    return S3Remover(clients.s3, kept, await patiently(lambda: kept.state(job.source.bucket)))
