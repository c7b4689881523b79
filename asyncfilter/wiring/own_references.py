"""Reference images for a model of one's own: files and objects in S3, read and examined on this machine."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack

import msgspec

from asyncfilter.aws import AwsClients, S3Contents, listed_object, read_image
from asyncfilter.errors import ImageError
from asyncfilter.job.spec import Job
from asyncfilter.model import S3, Detection, ListedObject, ObjectRef, location
from asyncfilter.pictures.own_model import OwnModelDetector
from asyncfilter.policy.image_limits import MAX_CONVERTED_BYTES
from asyncfilter.ports.examine import Detector
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account


class OwnReferences:
    """``References`` for a model on this machine; S3 is opened for references in S3 alone.

    Args:
        job: Has the AWS settings.
        stack: Closes what is opened.
        detector: Examines them; None where none will be examined.
    """

    def __init__(self, job: Job, stack: AsyncExitStack, detector: OwnModelDetector | None) -> None:
        self._account = Account(job, stack, connections=LEAST_IN_FLIGHT)
        self._detector = detector

    async def head(self, uri: str) -> ListedObject:
        """See ``References``; a file's ETag is the SHA-256 of its bytes."""
        if uri.startswith(S3):
            return await listed_object(await self._clients(), uri)
        body = await read_image(uri, MAX_CONVERTED_BYTES)
        return ListedObject(uri, len(body), hashlib.sha256(body).hexdigest())

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``References``."""
        if self._detector is None:
            raise ImageError(f"{image.key}: no model was opened", code="content_unknown")
        return await self._detector.examine(image, await self._read(image))

    async def _read(self, image: ObjectRef) -> bytes:
        if not image.key.startswith(S3):
            return await read_image(image.key, MAX_CONVERTED_BYTES)
        if image.size_bytes > MAX_CONVERTED_BYTES:
            raise ImageError(f"{image.key}: over {MAX_CONVERTED_BYTES:,} bytes", code="image_too_large")
        place = location(image.key)
        there = msgspec.structs.replace(image, bucket=place.bucket, key=place.key)
        return await S3Contents((await self._clients()).s3).read(there)

    async def _clients(self) -> AwsClients:
        return await self._account.clients()


def open_own_references(job: Job, stack: AsyncExitStack, detector: Detector | None) -> OwnReferences:
    """The references of a job with a model of one's own.

    Args:
        job: The job.
        stack: Closes what is opened.
        detector: Of the job's run; references are examined by the same model. None where none will be examined.
    """
    return OwnReferences(job, stack, detector if isinstance(detector, OwnModelDetector) else None)
