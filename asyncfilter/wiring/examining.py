"""What a worker of a fleet is told of the job, and the ports that it examines with.

A worker gets the job as it was read, without rules, actions and checkpoint: what it needs to call the service and to
prepare images. Credentials never travel; a worker uses its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from asyncfilter.job.spec import Job, Limits, Pricing, Review, Stop
from asyncfilter.model import Verdict


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
