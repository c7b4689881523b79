"""Reference images over AWS: objects by reference, each in its bucket's own region, and files by their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread

from asyncfilter.aws.answers import AnsweredError
from asyncfilter.aws.boto import BotoDetect, BotoS3
from asyncfilter.aws.calls import DetectCall, S3Calls
from asyncfilter.aws.custom_labels import CustomLabelsDetector, ModelArn
from asyncfilter.aws.diagnosis import Diagnosis
from asyncfilter.aws.errors import classify
from asyncfilter.aws.fast import FastDetect, FastS3
from asyncfilter.aws.rekognition import RekognitionDetector
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.wire import Wire, open_wire
from asyncfilter.errors import ImageError, UsageError
from asyncfilter.job.spec import Aws, ClientKind, DetectorKind, DetectorSpec
from asyncfilter.model import Detection, ListedObject, ObjectRef, location

S3 = "s3://"

MOST_BYTES = {DetectorKind.REKOGNITION: 5 * 1024 * 1024, DetectorKind.CUSTOM_LABELS: 4 * 1024 * 1024}
"""Largest image that may be sent as bytes (Rekognition guide and Custom Labels guide, *Guidelines and quotas*)."""


class AwsReferences:
    """``References``; made by ``open_references``."""

    def __init__(self, session: AwsSession, wire: Wire, aws: Aws, spec: DetectorSpec, region: str) -> None:
        self.region = region
        """Where files are examined."""
        self._session = session
        self._wire = wire
        self._is_fast = aws.client is ClientKind.FAST
        self._spec = spec
        self._calls: S3Calls = FastS3(session, wire) if self._is_fast else BotoS3(session)
        self._detectors: dict[str, RekognitionDetector] = {}

    async def look(self, uri: str) -> ListedObject:
        """See ``References``; a file's ETag is the SHA-256 of its bytes."""
        if not uri.startswith(S3):
            body = await self._read(uri)
            return ListedObject(uri, len(body), hashlib.sha256(body).hexdigest())
        place = location(uri)
        try:
            head = await self._calls.head_object(place.bucket, place.key)
        except AnsweredError as exc:
            if exc.answer.status == 404 and exc.answer.code != "NoSuchBucket":
                raise ImageError(f"{uri}: there is no such object", code="vanished") from exc
            raise classify(exc.answer) from exc
        return ListedObject(uri, head.size_bytes, head.etag)

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``References``."""
        uri = image.key
        if not uri.startswith(S3):
            detector = await self._detector(self.region)
            return await detector.detect_content(image, await self._read(uri))
        place = location(uri)
        home = self.region if self._spec.model else await self._session.bucket_region(place.bucket)
        detector = await self._detector(home)
        return await detector.detect(
            ObjectRef(bucket=place.bucket, key=place.key, size_bytes=image.size_bytes, etag=image.etag, seq=image.seq)
        )

    async def _detector(self, region: str) -> RekognitionDetector:
        if region not in self._detectors:
            diagnosis = Diagnosis(self._session, self._calls, region)
            call, model = await self._call(region), self._spec.model
            self._detectors[region] = (
                RekognitionDetector(call, diagnosis)
                if model is None
                else CustomLabelsDetector(call, diagnosis, model=model)
            )
        return self._detectors[region]

    async def _call(self, region: str) -> DetectCall:
        if self._is_fast:
            return FastDetect(self._wire, await self._session.endpoint("rekognition", region), self._spec)
        return BotoDetect(self._session, await self._session.client("rekognition", region), self._spec)

    async def _read(self, path: str) -> bytes:
        most_bytes = MOST_BYTES[self._spec.kind]
        try:
            body = await to_thread.run_sync(_read_file, path, most_bytes + 1)
        except OSError as exc:
            raise ImageError(f"{path}: {exc.strerror or exc}", code="vanished") from exc
        if len(body) > most_bytes:
            raise ImageError(f"{path}: over {most_bytes:,} bytes, the most that may be sent", code="image_too_large")
        return body


def _read_file(path: str, most_bytes: int) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(most_bytes)


@asynccontextmanager
async def open_references(
    uris: Sequence[str], *, session: AwsSession, aws: Aws, spec: DetectorSpec
) -> AsyncIterator[AwsReferences]:
    """Open what examines references.

    Args:
        uris: Their addresses; a region is found from them where none is set.
        session: From ``open_aws``.
        aws: Says the client.
        spec: What to ask.

    Raises:
        UsageError: Only files are named, and no region is set.
        AccessError: A bucket does not exist, or AWS cannot be reached.
    """
    async with open_wire(session) as wire:
        yield AwsReferences(session, wire, aws, spec, await _region(uris, session, spec))


async def _region(uris: Sequence[str], session: AwsSession, spec: DetectorSpec) -> str:
    if spec.model is not None:
        return ModelArn.parse(spec.model).region
    first = next((location(uri).bucket for uri in uris if uri.startswith(S3)), None)
    region = spec.region or (await session.bucket_region(first) if first is not None else session.region)
    if region is None:
        raise UsageError("no region is set", hint="Add --region, or set AWS_REGION.")
    return region
