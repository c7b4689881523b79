"""What the ports need of AWS, as either client gives it: one method, one attempt.

``fast`` and ``boto`` implement these. Their methods raise ``AnsweredError`` for every error answer, whose meaning the
ports decide with what they know, and the package's own errors where no answer came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from asyncfilter.aws.answers import Answer, Operation
from asyncfilter.job.spec import DetectorKind, DetectorSpec, for_every_kind
from asyncfilter.model import ListedObject, ObjectRef, S3Location
from asyncfilter.policy.detectors import PROFILES

PAGE_SIZE = 1000
"""Most keys S3 gives in one page."""

_ALL = 1000
"""``detector.max_labels`` of a job that does not limit them; the cap of DetectLabels."""

ARCHIVE_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Storage classes whose objects must be restored before they can be read (S3 guide, *Archiving*)."""


class Listing(NamedTuple):
    """One page: objects in key order, and the token of the next page, None after the last."""

    objects: Sequence[ListedObject]
    token: str | None


class ObjectHead(NamedTuple):
    """What HeadObject tells.

    ``etag`` is without its quotes, checksums are by lower-case header name, ``version`` is empty where none is kept.
    """

    etag: str
    size_bytes: int
    archived: bool
    checksums: Mapping[str, str]
    version: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> ObjectHead:
        """Read the headers of an answer, whatever the case of their names."""
        lower = {name.lower(): value for name, value in headers.items()}
        restored = 'ongoing-request="false"' in lower.get("x-amz-restore", "")
        stored = lower.get("x-amz-archive-status", "") or lower.get("x-amz-storage-class", "") in ARCHIVE_CLASSES
        return cls(
            etag=lower.get("etag", "").strip('"'),
            size_bytes=int(lower.get("content-length", 0)),
            archived=bool(stored) and not restored,
            checksums={
                name: value
                for name, value in lower.items()
                if name.startswith("x-amz-checksum-") and name != "x-amz-checksum-type"
            },
            version=lower.get("x-amz-version-id", ""),
        )


class Deleted(NamedTuple):
    """An object is gone; ``marker`` is the version id of the delete marker in its place, empty where none was made."""

    marker: str


class ObjectVersion(NamedTuple):
    """One version of an object; a delete marker has neither ETag nor size."""

    id: str
    etag: str
    size_bytes: int
    is_marker: bool


class S3Calls(Protocol):
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
        """GetObject of one byte: what HEAD cannot explain, the body of this answer does."""
        ...

    async def read_object(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """GetObject on condition of the image's ETag: all of it, or as many bytes from its start as there are."""
        ...

    async def copy_object(self, source: ObjectRef, target: S3Location, *, only_new: bool) -> str:
        """CopyObject on condition of the source's ETag and, with ``only_new``, that nothing stands at the target.

        Returns:
            The copy's ETag, without its quotes.
        """
        ...

    async def delete_object(self, bucket: str, key: str, etag: str) -> Deleted:
        """DeleteObject on condition of the ETag."""
        ...

    async def delete_objects(self, bucket: str, condemned: Sequence[tuple[str, str]]) -> Mapping[str, Deleted | Answer]:
        """DeleteObjects: up to 1,000 keys that XML can express, each on condition of its ETag; the outcome by key."""
        ...

    async def list_versions(self, bucket: str, key: str) -> Sequence[ObjectVersion]:
        """ListObjectVersions of one key, newest first; up to the thousand entries of one page."""
        ...

    async def get_tags(self, bucket: str, key: str, version: str) -> dict[str, str]:
        """GetObjectTagging, of one version where it is given."""
        ...

    async def put_tags(self, bucket: str, key: str, tags: Mapping[str, str], version: str) -> None:
        """PutObjectTagging, of one version where it is given."""
        ...


class DetectCall(Protocol):
    """DetectLabels or DetectCustomLabels of one image."""

    async def __call__(self, bucket: str, key: str) -> bytes:
        """Make one attempt at an object in S3; the body of the answer."""
        ...

    async def content(self, where: str, body: bytes) -> bytes:
        """Make one attempt at a picture that is sent; ``where`` it came from is for messages. The answer's body."""
        ...


def uri(bucket: str, key: str) -> str:
    """``s3://bucket/key``, the key as it is."""
    return f"s3://{bucket}/{key}"


def operation_of(spec: DetectorSpec) -> Operation:
    """The operation that a detector calls."""
    return Operation(PROFILES[spec.kind].operation)


def parameters_of(spec: DetectorSpec) -> dict[str, object]:
    """The request of a detector without its image, as both clients send it."""
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
    """The service falls back to each label's assumed threshold unless MinConfidence is given.

    It gives all results unless MaxResults is (Custom Labels guide, *Analyzing an image*).
    """
    asked: dict[str, object] = {"ProjectVersionArn": spec.model, "MinConfidence": spec.min_confidence_pct}
    return asked if spec.max_labels >= _ALL else {**asked, "MaxResults": spec.max_labels}


REQUESTS: Mapping[DetectorKind, Callable[[DetectorSpec], dict[str, object]]] = for_every_kind(
    "aws.calls.REQUESTS",
    {DetectorKind.REKOGNITION: _labels_request, DetectorKind.CUSTOM_LABELS: _custom_labels_request},
)
"""What makes the request of each kind of detector."""
