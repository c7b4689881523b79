"""What a worker of a fleet is told of the job, and the ports that it examines with.

A worker gets the job as it was read, without rules, actions and checkpoint: what it needs to call the service and to
prepare images. Credentials never travel; a worker uses its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from asyncfilter.fleet.examiner import ExaminerPorts
from asyncfilter.folders import FolderContents
from asyncfilter.job.spec import Job, Limits, Pricing, Review, Stop
from asyncfilter.model import StoreKind, Verdict
from asyncfilter.wiring.account import Account

DECODING_S = 60.0
"""Time for one picture in a worker; after it, that try has failed."""

_ENDPOINTS = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_REKOGNITION",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)
"""Settings of region and endpoints that travel with the job."""


class WorkerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told at its start.

    Attributes:
        job: From ``encode_job``.
        fingerprint: Of the job.
        region: In which the detector is called.
        by_reference: Whether the service can read the images itself.
        environment: Settings of region and endpoints.
        cpus: Cores that it may use.
        gpus: GPUs.
    """

    job: bytes
    fingerprint: str
    region: str
    by_reference: bool
    environment: dict[str, str]
    cpus: float = 1.0
    gpus: float = 0.0


def worker_spec(job: Job, *, region: str, by_reference: bool, cpus: float = 1.0, gpus: float = 0.0) -> bytes:
    """What the workers of a job are told, in msgpack."""
    spec = WorkerSpec(
        job=encode_job(job),
        fingerprint=fingerprint(job),
        region=region,
        by_reference=by_reference,
        environment={name: os.environ[name] for name in _ENDPOINTS if name in os.environ},
        cpus=cpus,
        gpus=gpus,
    )
    return msgspec.msgpack.encode(spec)


async def open_ports(spec: WorkerSpec, stack: AsyncExitStack) -> ExaminerPorts:
    """The ports of a worker, open until ``stack`` is closed.

    Raises:
        AccessError: The machine has no credentials, or none that can be used.
    """
    # Not at the head, which has opened its own.
    from asyncfilter.wiring.inputs import Sending, needs_preparation, preparation_of  # noqa: PLC0415

    job = decode_job(spec.job)
    clients = await Account(job, stack).clients()
    is_s3 = job.source.store is StoreKind.S3
    detector = await clients.detector(job.detector, spec.region, reads_s3=is_s3)
    if not needs_preparation(job, by_reference=spec.by_reference):
        return ExaminerPorts(detector=detector)
    preparation = preparation_of(
        job,
        clients.contents if is_s3 else FolderContents(),
        Sending(detector, detector.detect_content, spec.by_reference),
        stack,
        processes=max(1, int(spec.cpus)),
        wall_s=DECODING_S,
    )
    return ExaminerPorts(detector=detector, preparation=preparation)


def worker_job(job: Job) -> Job:
    """The job as far as a worker uses it."""
    limits = Limits(timeout_s=job.limits.timeout_s, decoding_mb=job.limits.decoding_mb)
    return dataclasses.replace(
        job,
        path=None,
        rules=(),
        otherwise=Verdict.REJECT,
        actions={},
        duplicate=None,
        limits=limits,
        stop=Stop(),
        pricing=Pricing(),
        checkpoint=Path(),
        answers=None,
        review=Review(),
        cluster=None,
    )


def encode_job(job: Job) -> bytes:
    """``worker_job`` in msgpack."""
    return msgspec.msgpack.encode(worker_job(job), enc_hook=_plain)


def decode_job(body: bytes) -> Job:
    """The job that ``encode_job`` was given, as far as a worker uses it.

    Raises:
        msgspec.ValidationError: It is something else.
    """
    return msgspec.msgpack.decode(body, type=Job, dec_hook=_typed)


def fingerprint(job: Job) -> str:
    """Names the job as far as a worker uses it: workers of another fingerprint are refused."""
    return hashlib.sha256(encode_job(job)).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError


def _typed(kind: type, value: Any) -> object:  # noqa: ANN401  what msgspec passes
    if kind is Path:
        return Path(value)
    raise NotImplementedError
