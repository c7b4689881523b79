"""The AWS calls that the ports need, as both clients implement them: each method call is one attempt.

``fast`` and ``boto`` implement these protocols. Their methods raise ``ErrorResponseError`` for every error response,
which the ports classify in their context, and the package's errors where there was no response.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple, Protocol

from asyncfilter.aws.clients.error_response import ErrorResponse, Operation
from asyncfilter.job.spec import DetectorKind, DetectorSpec, for_every_service
from asyncfilter.model import ListedObject, ObjectRef, S3Location
from asyncfilter.policy.detectors import PROFILES

SLOWEST_UPLOAD_BYTES_S = 64 * 1024
"""Bytes a second at which a body is sent at least; an attempt has that much more time than one without a body."""

PAGE_SIZE = 1000
"""Most keys that S3 returns in one page."""

_ALL = 1000
"""``detector.max_labels`` of a job that does not limit them; the maximum of DetectLabels."""

ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects must be restored before they can be read (S3 guide, *Archiving*)."""

RESTORE_STATUS = "RestoreStatus"
"""Attribute of archived objects that S3 lists on request only (S3 API reference, *ListObjectsV2*)."""


def readable_class(storage_class: str, *, is_restored: bool) -> str:
    """The class that an object is read from: S3 keeps the copy of a restored object in STANDARD until it expires."""
    return "STANDARD" if is_restored and storage_class in ARCHIVE_CLASSES else storage_class


class Listing(NamedTuple):
    """One page: objects in the store's order, and the token of the next page.

    The token is None after the last page, and empty when the store says that more follows but gives no token.
    """

    objects: Sequence[ListedObject]
    token: str | None


class ObjectHead(NamedTuple):
    """The result of HeadObject.

    ``etag`` is without its quotes, checksums are by lower-case header name, ``version`` is empty where there is none.
    """

    etag: str
    size_bytes: int
    archived: bool
    checksums: Mapping[str, str]
    version: str = ""
    modified: str = ""
    """``Last-Modified`` as it came."""
    date: str = ""
    """``Date`` of the response as it came."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> ObjectHead:
        """Read the headers of a response; the case of their names is ignored.

        Raises:
            ValueError: The length is no number of bytes.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        restored = 'ongoing-request="false"' in lower.get("x-amz-restore", "")
        stored = lower.get("x-amz-archive-status", "") or lower.get("x-amz-storage-class", "") in ARCHIVE_CLASSES
        size_bytes = int(lower.get("content-length", 0))
        if size_bytes < 0:
            raise ValueError(f"{size_bytes} is no number of bytes")
        return cls(
            etag=lower.get("etag", "").strip('"'),
            size_bytes=size_bytes,
            archived=bool(stored) and not restored,
            checksums=checksums_of(lower),
            version=lower.get("x-amz-version-id", ""),
            modified=lower.get("last-modified", ""),
            date=lower.get("date", ""),
        )


class Written(NamedTuple):
    """The result of PutObject: the ETag without its quotes, and the store's checksums by lower-case header name."""

    etag: str
    checksums: Mapping[str, str]


class Deleted(NamedTuple):
    """A deleted object; ``marker`` is the version id of the delete marker in its place, empty where there is none."""

    marker: str


class ObjectVersion(NamedTuple):
    """One version of an object; a delete marker has neither ETag nor size."""

    id: str
    etag: str
    size_bytes: int
    is_marker: bool


def checksums_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The checksums in the headers of a response, by lower-case name."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {
        name: value
        for name, value in lower.items()
        if name.startswith("x-amz-checksum-") and name != "x-amz-checksum-type"
    }


def is_part(status: int, content_range: str, start: int) -> bool:
    """Whether a response has the part that begins at ``start``: a store may ignore the range and send the whole."""
    return status == HTTPStatus.PARTIAL_CONTENT and content_range.startswith(f"bytes {start}-")


class S3Api(Protocol):
    """The S3 operations of a run."""

    async def list_objects(
        self, bucket: str, prefix: str, *, after: str | None, token: str | None = None, limit: int = PAGE_SIZE
    ) -> Listing:
        """ListObjectsV2: up to ``limit`` objects below ``prefix`` that follow ``after``, or the page of ``token``."""
        ...

    async def head_object(self, bucket: str, key: str) -> ObjectHead:
        """HeadObject, with checksums where S3 has them."""
        ...

    async def first_byte(self, bucket: str, key: str) -> None:
        """GetObject of one byte: its error response has a body, which that of HeadObject lacks."""
        ...

    async def read_object(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """GetObject on condition of the image's ETag: the whole object, or up to ``first_bytes`` from its start."""
        ...

    async def read_start(self, bucket: str, key: str, most_bytes: int) -> tuple[bytes, str]:
        """GetObject without a condition: at most the first ``most_bytes``, and the ETag without its quotes."""
        ...

    async def read_part(self, image: ObjectRef, start: int, size_bytes: int) -> bytes | None:
        """GetObject of some bytes on condition of the ETag; None when the store sent another part, or the whole."""
        ...

    async def copy_object(self, source: ObjectRef, target: S3Location, *, only_new: bool) -> str:
        """CopyObject on condition of the source's ETag and, with ``only_new``, that there is no object at the target.

        Returns:
            The copy's ETag, without its quotes.
        """
        ...

    async def put_object(
        self,
        target: S3Location,
        body: bytes,
        *,
        content_type: str,
        sha256: bytes,
        only_new: bool = False,
        if_match: str | None = None,
    ) -> Written:
        """PutObject with the SHA-256 of its body: only if there is no object, or only if it has the ETag ``if_match``.

        The attempt has more time than others, by the size of the body.
        """
        ...

    async def delete_object(self, bucket: str, key: str, etag: str) -> Deleted:
        """DeleteObject on condition of the ETag."""
        ...

    async def delete_objects(
        self, bucket: str, requests: Sequence[tuple[str, str]]
    ) -> Mapping[str, Deleted | ErrorResponse]:
        """DeleteObjects: up to 1,000 keys that XML can express, each on condition of its ETag; the outcome by key."""
        ...

    async def list_versions(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        """ListObjectVersions of one key, newest first; up to the 1,000 entries of one page."""
        ...

    async def get_tags(self, bucket: str, key: str, version: str) -> dict[str, str] | None:
        """GetObjectTagging, of one version where it is given; None when the answer is not a set of tags."""
        ...

    async def put_tags(self, bucket: str, key: str, tags: Mapping[str, str], version: str) -> None:
        """PutObjectTagging, of one version where it is given."""
        ...


class DetectCall(Protocol):
    """DetectLabels or DetectCustomLabels of one image."""

    async def __call__(self, bucket: str, key: str) -> bytes:
        """Make one attempt at an object in S3; returns the body of the response."""
        ...

    async def content(self, where: str, body: bytes) -> bytes:
        """Make one attempt with an image's bytes, ``where`` in messages; returns the body of the response."""
        ...


def uri(bucket: str, key: str) -> str:
    """``s3://bucket/key``, with the key unchanged."""
    return f"s3://{bucket}/{key}"


def operation_of(spec: DetectorSpec) -> Operation:
    """The operation that a detector calls."""
    return Operation(PROFILES[spec.kind].operation)


def parameters_of(spec: DetectorSpec) -> dict[str, object]:
    """The parameters of a detector's request without the image, as both clients send them."""
    return REQUESTS[spec.kind](spec)


def _labels_request(spec: DetectorSpec) -> dict[str, object]:
    if "GENERAL_LABELS" not in spec.features:
        return {"Features": list(spec.features)}
    return {
        "MaxLabels": spec.max_labels,
        "Features": list(spec.features),
        "MinConfidence": spec.min_confidence_pct,
    }


def _custom_labels_request(spec: DetectorSpec) -> dict[str, object]:
    """Without MinConfidence the service applies each label's assumed threshold.

    Without MaxResults it returns all results (Custom Labels guide, *Analyzing an image*).
    """
    parameters: dict[str, object] = {"ProjectVersionArn": spec.model, "MinConfidence": spec.min_confidence_pct}
    return parameters if spec.max_labels >= _ALL else {**parameters, "MaxResults": spec.max_labels}


REQUESTS: Mapping[DetectorKind, Callable[[DetectorSpec], dict[str, object]]] = for_every_service(
    "aws.clients.protocols.REQUESTS",
    {DetectorKind.REKOGNITION: _labels_request, DetectorKind.CUSTOM_LABELS: _custom_labels_request},
)
"""The function that makes the request parameters, for each kind of detector that calls a service."""
