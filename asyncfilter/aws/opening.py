"""From a job to its source, detector and sink, on the client it asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from asyncfilter.aws.boto import BotoDetect, BotoS3
from asyncfilter.aws.calls import DetectCall, S3Calls
from asyncfilter.aws.contents import S3Contents
from asyncfilter.aws.custom_labels import CustomLabelsDetector
from asyncfilter.aws.diagnosis import Diagnosis
from asyncfilter.aws.fast import FastDetect, FastS3
from asyncfilter.aws.preflight import check_buckets, patiently, preflight, preflight_detector
from asyncfilter.aws.rekognition import RekognitionDetector
from asyncfilter.aws.remover import S3Remover
from asyncfilter.aws.s3 import S3Sink, S3Source
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.versions import S3Versions
from asyncfilter.aws.wire import Wire, open_wire
from asyncfilter.job.spec import ClientKind, DetectorKind, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of one job over AWS, ready for the first call.

    Attributes:
        contents: The bytes of the source's objects.
        region: The detector's region.
        bucket_region: The source bucket's.
    """

    source: S3Source
    contents: S3Contents
    detector: RekognitionDetector
    sink: S3Sink
    region: str
    bucket_region: str


@asynccontextmanager
async def open_ports(job: Job, session: AwsSession) -> AsyncIterator[Ports]:
    """Check that the job can work (see ``preflight``), then give its ports.

    Args:
        job: Says bucket, detector, targets and client.
        session: From ``open_aws``.

    Raises:
        AccessError: The job cannot work; the message says why, the hint what to do.
    """
    async with open_wire(session) as wire:
        calls: S3Calls = FastS3(session, wire) if job.aws.client is ClientKind.FAST else BotoS3(session)
        found = await preflight(job, session, calls, wire)
        call = await _detect_call(job, session, wire, found.region)
        yield Ports(
            source=S3Source(calls, job.source.bucket, job.source.prefix),
            contents=S3Contents(calls),
            detector=_detector(job, call, Diagnosis(session, calls, found.region)),
            sink=S3Sink(calls),
            region=found.region,
            bucket_region=found.bucket_region,
        )


@asynccontextmanager
async def open_detector(job: Job, session: AwsSession) -> AsyncIterator[tuple[RekognitionDetector, str]]:
    """A detector for images that are no objects of S3, and its region.

    Args:
        job: Says detector, region and client.
        session: From ``open_aws``.

    Raises:
        AccessError: The job cannot work; the message says why, the hint what to do.
    """
    async with open_wire(session) as wire:
        region = await preflight_detector(job, session, wire)
        yield _detector(job, await _detect_call(job, session, wire, region), None), region


@asynccontextmanager
async def open_remover(job: Job, session: AwsSession) -> AsyncIterator[S3Remover]:
    """Check that the job's buckets are there, then give what takes objects out of the source.

    Args:
        job: Says bucket, targets and client.
        session: From ``open_aws``.

    Raises:
        AccessError: A bucket is not there or cannot be reached.
    """
    async with open_wire(session) as wire:
        calls: S3Calls = FastS3(session, wire) if job.aws.client is ClientKind.FAST else BotoS3(session)
        await check_buckets(job, session)
        kept = S3Versions(session)
        yield S3Remover(calls, kept, await patiently(lambda: kept.state(job.source.bucket)))


async def _detect_call(job: Job, session: AwsSession, wire: Wire, region: str) -> DetectCall:
    if job.aws.client is ClientKind.FAST:
        return FastDetect(wire, await session.endpoint("rekognition", region), job.detector)
    return BotoDetect(session, await session.client("rekognition", region), job.detector)


def _detector(job: Job, call: DetectCall, diagnosis: Diagnosis | None) -> RekognitionDetector:
    if job.detector.kind is DetectorKind.CUSTOM_LABELS and job.detector.model is not None:
        return CustomLabelsDetector(call, diagnosis, model=job.detector.model)
    return RekognitionDetector(call, diagnosis)
