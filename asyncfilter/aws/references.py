"""Reference images over AWS: objects by reference, each in the region of its bucket, and files by their bytes."""

from __future__ import annotations

import errno
import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path

from anyio import to_thread

from asyncfilter.aws.detectors.base import RekognitionDetector
from asyncfilter.aws.factory import AwsClients
from asyncfilter.aws.preflight import check_region, region_asked_for
from asyncfilter.aws.s3.heads import head
from asyncfilter.aws.session import AwsSession
from asyncfilter.errors import ImageError, UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import DetectorSpec
from asyncfilter.model import S3, Detection, ListedObject, ObjectRef, location
from asyncfilter.policy.detectors import PROFILES


class AwsReferences:
    """``References``; made by ``open_references``."""

    def __init__(self, clients: AwsClients, spec: DetectorSpec, region: str) -> None:
        self.region = region
        """Where files are examined."""
        self.session = clients.session
        """Of the credentials with which they are examined."""
        self._clients = clients
        self._spec = spec
        self._detectors: dict[str, RekognitionDetector] = {}

    async def head(self, uri: str) -> ListedObject:
        """See ``References``; a file's ETag is the SHA-256 of its bytes."""
        if not uri.startswith(S3):
            body = await self._read(uri)
            return ListedObject(uri, len(body), hashlib.sha256(body).hexdigest())
        return await listed_object(self._clients, uri)

    async def detect(self, image: ObjectRef) -> Detection:
        """See ``References``."""
        uri = image.key
        if not uri.startswith(S3):
            detector = await self._detector(self.region)
            return await detector.detect_content(image, await self._read(uri))
        place = location(uri)
        is_bound = PROFILES[self._spec.kind].needs_model
        home = self.region if is_bound else await self.session.bucket_region(place.bucket)
        detector = await self._detector(home)
        return await detector.detect(
            ObjectRef(bucket=place.bucket, key=place.key, size_bytes=image.size_bytes, etag=image.etag, seq=image.seq)
        )

    async def _detector(self, region: str) -> RekognitionDetector:
        if region not in self._detectors:
            await check_region(self.session, region)
            self._detectors[region] = await self._clients.detector(self._spec, region)
        return self._detectors[region]

    async def _read(self, path: str) -> bytes:
        return await read_image(path, PROFILES[self._spec.kind].image_limits.max_inline_bytes)


async def listed_object(clients: AwsClients, uri: str) -> ListedObject:
    """The object at ``uri``, with its address as key; one attempt.

    Raises:
        ImageError: There is none, or it has no ETag.
        AsyncFilterError: Another error response, translated.
    """
    found = await head(clients.s3, location(uri))
    if found is None:
        raise ImageError(f"{uri}: there is no such object", code="vanished")
    if not found.etag:
        raise ImageError(f"{uri}: the store gives no ETag, which shows whether it was replaced", code="no_etag")
    return ListedObject(uri, found.size_bytes, found.etag)


async def read_image(path: str, most_bytes: int) -> bytes:
    """The bytes of an image in a file.

    Raises:
        ImageError: ``vanished``, or ``image_too_large``.
    """
    try:
        body = await to_thread.run_sync(_read_file, path, most_bytes + 1)
    except OSError as exc:
        raise ImageError(f"{path}: {exc.strerror or exc}", code="vanished") from exc
    if len(body) > most_bytes:
        raise ImageError(f"{path}: over {most_bytes:,} bytes, the most that may be sent", code="image_too_large")
    return body


def _read_file(path: str, most_bytes: int) -> bytes:
    """The first bytes of a regular file: a pipe could wait for ever, in a thread that no signal reaches."""
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    with Path(path).open("rb") as file:
        return file.read(most_bytes)


async def open_references(uris: Sequence[str], *, clients: AwsClients, spec: DetectorSpec) -> AwsReferences:
    """Return the ``References`` for some addresses.

    Args:
        uris: Addresses of the references; they determine the region where none is set.
        clients: From ``open_clients``.
        spec: Kind and parameters of the detector.

    Raises:
        UsageError: An address is not valid; or all references are files, and no region is set.
        AccessError: A bucket does not exist, or AWS cannot be reached.
    """
    for uri in uris:
        _check_address(uri)
    region = await _region(uris, clients.session, spec)
    await check_region(clients.session, region)
    return AwsReferences(clients, spec, region)


def _check_address(uri: str) -> None:
    if uri.startswith((S3, "arn:")):
        try:
            parse_s3_uri(uri)
        except ValueError as exc:
            raise UsageError(f"{uri}: {exc}", hint="Name images as s3://bucket/key, or as files.") from exc


async def _region(uris: Sequence[str], session: AwsSession, spec: DetectorSpec) -> str:
    first = next((location(uri).bucket for uri in uris if uri.startswith(S3)), None)
    region = region_asked_for(spec) or (await session.bucket_region(first) if first is not None else session.region)
    if region is None:
        raise UsageError("no region is set", hint="Add --region, or set AWS_REGION.")
    return region
