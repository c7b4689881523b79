"""What a worker of a fleet is told of the job, and the ports that it examines with.

A worker gets the job as it was read, without rules, actions and checkpoint: what it needs to call the service and to
prepare images. Credentials never travel; a worker uses its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from asyncfilter import __version__
from asyncfilter.errors import UsageError
from asyncfilter.fleet.examiner import ExaminerPorts
from asyncfilter.folders import FolderContents
from asyncfilter.job.spec import Job, Limits, Pricing, Review, Stop
from asyncfilter.model import S3, StoreKind, Verdict
from asyncfilter.ports.examine import Contents, Preparation
from asyncfilter.wiring.account import Account
from asyncfilter.wiring.inputs import Sending, needs_preparation, preparation_of, sending_of

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
        version: Of asyncfilter.
        fingerprint: Of the job.
        region: In which the detector is called.
        bucket_region: Region in which images can be read by reference; None where they must be sent.
        environment: Settings of region and endpoints.
        files: Files of a model that only the head has, by their names there.
        cpus: Cores that it may use.
        gpus: GPUs.
    """

    job: bytes
    version: str
    fingerprint: str
    region: str
    bucket_region: str | None
    environment: dict[str, str]
    files: dict[str, bytes] = {}
    cpus: float = 1.0
    gpus: float = 0.0


def worker_spec(
    job: Job, *, region: str, bucket_region: str | None, sends_files: bool, cpus: float = 1.0, gpus: float = 0.0
) -> bytes:
    """What the workers of a job are told, in msgpack.

    Args:
        job: The job.
        region: In which the detector is called.
        bucket_region: Region in which images can be read by reference; None where they must be sent.
        sends_files: Whether the workers are on other machines, so that the files of a model must travel.
        cpus: Cores of a worker.
        gpus: GPUs of it.
    """
    spec = WorkerSpec(
        job=encode_job(job),
        version=__version__,
        fingerprint=fingerprint(job),
        region=region,
        bucket_region=bucket_region,
        environment={name: os.environ[name] for name in _ENDPOINTS if name in os.environ},
        files=_model_files(job) if sends_files else {},
        cpus=cpus,
        gpus=gpus,
    )
    return msgspec.msgpack.encode(spec)


class _Version(msgspec.Struct):
    """What every version of asyncfilter can read of a ``WorkerSpec``."""

    version: str


def read_spec(body: bytes) -> WorkerSpec:
    """What a worker is told.

    Raises:
        UsageError: By another version of asyncfilter, whose jobs may have what this one does not know.
    """
    version = msgspec.msgpack.decode(body, type=_Version).version
    if version != __version__:
        raise UsageError(
            f"the workers have asyncfilter {__version__}, this is {version}",
            hint="Install one version of asyncfilter on all machines.",
        )
    return msgspec.msgpack.decode(body, type=WorkerSpec)


def _model_files(job: Job) -> dict[str, bytes]:
    """The files of the job's own model that are on this machine; one in S3 is fetched by each worker itself."""
    own = job.detector.own
    if own is None:
        return {}
    from asyncfilter.onnx.files import read_model  # noqa: PLC0415  for jobs with a model of their own

    paths = [own.labels, *([own.preprocess] if isinstance(own.preprocess, str) else [])]
    files = {path: Path(path).read_bytes() for path in paths}
    model = job.detector.model or ""
    if not model.startswith(S3):
        content = read_model(model)
        files[model] = content.body
        files |= {str(Path(model).parent / name): path.read_bytes() for name, path in content.external.items()}
    return files


async def open_ports(spec: WorkerSpec, stack: AsyncExitStack) -> ExaminerPorts:
    """The ports of a worker, open until ``stack`` is closed.

    Raises:
        AccessError: The machine has no credentials, or none that can be used.
        UsageError: The model cannot be used.
    """
    job = with_files(decode_job(spec.job), spec.files, stack)
    account = Account(job, stack)
    if job.detector.own is not None:
        return await _own_model(job, spec, account, stack)
    is_s3 = job.source.store is StoreKind.S3
    contents: Contents = (await account.clients()).contents if is_s3 else FolderContents()
    if job.detector.lanes:
        return await _lanes(job, spec, account, contents, stack)
    detector = await (await account.clients()).detector(job.detector, spec.region, reads_s3=is_s3)
    sending = Sending(detector, detector.detect_content, spec.bucket_region == spec.region)
    return ExaminerPorts(detector=detector, preparation=_preparation(job, spec, contents, sending, stack))


async def _lanes(
    job: Job, spec: WorkerSpec, account: Account, contents: Contents, stack: AsyncExitStack
) -> ExaminerPorts:
    from asyncfilter.wiring.lanes import open_lanes  # noqa: PLC0415  not needed by most jobs

    lanes = (await open_lanes(job, account, spec.bucket_region, stack)).lanes
    return ExaminerPorts(
        detector=lanes[0].backend.detector,
        lanes={lane.backend.name: lane.backend.detector for lane in lanes},
        preparation=_preparation(job, spec, contents, sending_of(lanes), stack),
    )


async def _own_model(job: Job, spec: WorkerSpec, account: Account, stack: AsyncExitStack) -> ExaminerPorts:
    from asyncfilter.wiring.own_models import open_own_model  # noqa: PLC0415  not needed by most jobs

    opened = await open_own_model(job, None, cores=max(1, int(spec.cpus)), wall_s=DECODING_S)
    stack.callback(opened.close)
    is_s3 = job.source.store is StoreKind.S3
    contents: Contents = (await account.clients()).contents if is_s3 else FolderContents()
    return ExaminerPorts(detector=opened.detector, preparation=opened.detector.reading(contents))


def _preparation(
    job: Job, spec: WorkerSpec, contents: Contents, sending: Sending, stack: AsyncExitStack
) -> Preparation | None:
    if not needs_preparation(job, by_reference=sending.by_reference):
        return None
    processes = max(1, int(spec.cpus))
    return preparation_of(job, contents, sending, stack, processes=processes, wall_s=DECODING_S)


def with_files(job: Job, files: Mapping[str, bytes], stack: AsyncExitStack) -> Job:
    """The job with files that came with it, in a folder that is removed when ``stack`` is closed."""
    own = job.detector.own
    if not files or own is None:
        return job
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="asyncfilter-model-")))
    moved = {path: folder / str(number) / Path(path).name for number, path in enumerate(files)}
    model = job.detector.model or ""
    if model in moved:  # its weights must lie beside it, by the names that it has for them
        moved |= {
            path: folder / "model" / os.path.relpath(path, Path(model).parent)
            for path in files
            if path == model or path not in {own.labels, own.preprocess}
        }
    for path, place in moved.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(files[path])
    preprocess = own.preprocess
    found = dataclasses.replace(
        own,
        labels=str(moved.get(own.labels, own.labels)),
        preprocess=str(moved.get(preprocess, preprocess)) if isinstance(preprocess, str) else preprocess,
    )
    detector = dataclasses.replace(job.detector, own=found, model=str(moved.get(model, model)) or None)
    return dataclasses.replace(job, detector=detector)


def worker_job(job: Job) -> Job:
    """The job as far as a worker uses it."""
    limits = Limits(timeout_s=job.limits.timeout_s, decoding_mb=job.limits.decoding_mb)
    # Rates and prices are the head's business: a worker asks for no quota.
    lanes = tuple(dataclasses.replace(lane, tps=1.0, used_this_month=0, tiers=None) for lane in job.detector.lanes)
    # Where this process has fetched its model to is nothing to a worker, which fetches it itself.
    own = None if job.detector.own is None else dataclasses.replace(job.detector.own, local=None)
    return dataclasses.replace(
        job,
        path=None,
        detector=dataclasses.replace(job.detector, lanes=lanes, start=None, own=own),
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
        state=None,
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
