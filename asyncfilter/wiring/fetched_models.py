"""Models of one's own in S3: fetched to a folder of this process, with the files of weights that they name."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from anyio import to_thread

from asyncfilter.aws import S3Objects
from asyncfilter.errors import AccessError, ImageError, ObjectMissingError, PermissionDeniedError, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import ObjectRef, S3Location, location
from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.files import MAX_EXTERNAL_BYTES, MAX_MODEL_BYTES, locations_in
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account

_FETCHED: dict[tuple[str, str], str] = {}
"""Paths of the models that this process has fetched, by address and ETag."""


async def fetched_model(job: Job, address: str) -> str:
    """The path of the model at ``address`` on this machine; one that was fetched before is not fetched again.

    Raises:
        ObjectMissingError: It is not there.
        UsageError: It is too large, or no model.
        AccessError: It may not be read, or there is no room for it.
    """
    async with AsyncExitStack() as stack:
        clients = await Account(job, stack, connections=LEAST_IN_FLIGHT).clients()
        objects = S3Objects(clients.s3)
        place = location(address)
        found = await _found(objects, place, MAX_MODEL_BYTES)
        known = _FETCHED.get((address, found.etag))
        if known is None:
            known = _FETCHED[address, found.etag] = await _fetched(objects, place, found)
        return known


async def _fetched(objects: S3Objects, place: S3Location, found: ObjectRef) -> str:
    try:
        folder = Path(tempfile.mkdtemp(prefix="asyncfilter-model-"))
    except OSError as exc:
        raise _no_room(exc) from exc
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / (os.path.basename(place.key) or "model.onnx")  # noqa: PTH119  of a key, which is no path
    await _download(objects, found, path)
    left_bytes = MAX_EXTERNAL_BYTES
    try:
        names = locations_in(await to_thread.run_sync(path.read_bytes), place.uri)
    except OwnModelError as error:
        raise UsageError(f"detector.model: {error.message}", hint=error.hint) from error
    for name in names:
        # Below the folder: ``locations_in`` refuses every other name.
        beside = S3Location(place.bucket, place.key[: place.key.rfind("/") + 1] + name)
        one = await _found(objects, beside, left_bytes)
        left_bytes -= one.size_bytes
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        await _download(objects, one, folder / name)
    return str(path)


async def _found(objects: S3Objects, place: S3Location, most_bytes: int) -> ObjectRef:
    head = await objects.head(place) if place.key else None
    if head is None:
        message = f"detector.model: {place.uri}: there is no such object"
        raise ObjectMissingError(message, hint="Correct detector.model in the job file.")
    if head.size_bytes > most_bytes:
        raise UsageError(f"detector.model: {place.uri}: {head.size_bytes:,} bytes, expected at most {most_bytes:,}")
    return ObjectRef(bucket=place.bucket, key=place.key, size_bytes=head.size_bytes, etag=head.etag, seq=0)


async def _download(objects: S3Objects, found: ObjectRef, path: Path) -> None:
    try:
        with path.open("xb") as out:
            await objects.download(found, out)
    except ImageError as error:
        if error.access:
            raise PermissionDeniedError(error.message, hint=f"Allow s3:GetObject on {found.uri}.") from error
        raise UsageError(f"detector.model: {error.message}", hint="Run again when the model is written.") from error
    except OSError as exc:
        raise _no_room(exc) from exc


def _no_room(exc: OSError) -> AccessError:
    hint = "Free space there, or set TMPDIR to a folder that has room for the model."
    return AccessError(f"{tempfile.gettempdir()}: {exc.strerror or exc}", hint=hint)
