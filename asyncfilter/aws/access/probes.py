"""Requests that show whether the caller has a permission, and change nothing and cost nothing worth naming.

Reads are tried for real, on the first image of the source. A detection is tried with bytes that are no image: the
service denies it or refuses the image, and bills neither. A write is tried as a copy whose condition cannot hold: S3
denies it or finds the condition unmet. That is done at AWS alone, because other stores may ignore the condition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from asyncfilter.aws.access.requests import ask_raw
from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError, Operation
from asyncfilter.aws.errors import classify, denied_action
from asyncfilter.aws.factory import AwsClients
from asyncfilter.aws.model_state import describe_model
from asyncfilter.aws.preflight import check_source
from asyncfilter.aws.quotas import SERVICE_CODE
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.errors import (
    AsyncFilterError,
    BucketNotFoundError,
    CredentialsError,
    EndpointError,
    ImageError,
    PermissionDeniedError,
    ThrottledError,
    TransientError,
)
from asyncfilter.job.spec import Job
from asyncfilter.model import ListedObject, ObjectRef, S3Location, StoreKind, location
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.permissions import Access, Need
from asyncfilter.policy.permissions.arns import sample

_LISTED = 100
"""Objects of the source among which one to try reading with is looked for."""

_NO_IMAGE = b"asyncfilter policy --check"
_IMPOSSIBLE_ETAG = "0" * 32


class ProbeResult(NamedTuple):
    """What a request showed, and in words how."""

    access: Access
    detail: str


_NO_ANSWER = (PermissionDeniedError, CredentialsError, EndpointError, ThrottledError, TransientError)
"""Errors that do not show that the caller has the permission."""

NOT_TRIED = ProbeResult(Access.UNKNOWN, "no request shows it without a change")
_Probe = Callable[[Need], Awaitable[ProbeResult]]


class Probes:
    """The requests for a job.

    Args:
        job: The job.
        clients: From ``open_clients``.
        region: Region of the detector; None when it is not known.
        tries_writes: Copies are tried at other stores than AWS's, too.

    Attributes:
        needs_key: Set by ``look``: the first image is encrypted, and its key may not be used.
    """

    def __init__(self, job: Job, clients: AwsClients, *, region: str | None, tries_writes: bool) -> None:
        self._job = job
        self._clients = clients
        self._region = region
        self._tries_writes = tries_writes
        self._first: ListedObject | None = None
        self._is_readable = False
        self.needs_key = False
        self._probes: Mapping[str, _Probe] = {
            "ListSource": self._listing,
            "FindMissingInSource": self._bucket,
            "FindMissingInTargets": self._bucket,
            "ReadSource": self._reading,
            "DecryptSource": self._reading,
            "ReadReferences": self._reference,
            "ReadList": self._list,
            "ReadState": self._state,
            "ListState": self._state_listing,
            "Detect": self._detection,
            "FindModel": self._model,
            "DescribeModel": self._model,
            "ReadQuota": self._quota,
            "ReadVersioning": self._versioning,
            "ListVersions": self._versions,
            "ReadTagsToCopy": self._tags,
            "TagSource": self._tags,
            "WriteTargets": self._writing,
        }

    async def look(self) -> None:
        """Find an image to try reading with, and whether it can be read; errors are found again by the probes."""
        source = self._job.source
        if source.store is not StoreKind.S3:
            return
        try:
            listing = await list_page(self._clients.s3, source.bucket, source.prefix, limit=_LISTED)
            readable = (one for one in listing.objects if one.size_bytes and not one.key.endswith("/"))
            self._first = next(readable, None)
            if self._first is not None:
                await self._clients.s3.first_byte(source.bucket, self._first.key)
                self._is_readable = True
        except ErrorResponseError as exc:
            self.needs_key = _is_of_key(classify(exc.response))
        except AsyncFilterError:
            return

    async def run(self, need: Need) -> ProbeResult:
        """Try one permission.

        Raises:
            CredentialsError: AWS does not accept the credentials.
            EndpointError: The service cannot be reached.
        """
        probe = self._probes.get(need.statement)
        if probe is None:
            return NOT_TRIED
        try:
            return await probe(need)
        except ErrorResponseError as exc:
            return _outcome(exc.response, classify(exc.response), need)
        except (CredentialsError, EndpointError):
            raise
        except AsyncFilterError as error:
            return _of_error(error)

    # -- Reads ---------------------------------------------------------------------------------------------------------

    async def _listing(self, _need: Need) -> ProbeResult:
        source, calls = self._job.source, self._clients.s3
        try:
            await list_page(calls, source.bucket, source.prefix, limit=1)
        except PermissionDeniedError:
            await check_source(self._job, self._clients.session, calls)  # which tells a Requester Pays bucket
            raise
        return ProbeResult(Access.ALLOWED, "a listing of one key")

    async def _bucket(self, need: Need) -> ProbeResult:
        """HeadBucket needs the same permission."""
        bucket = need.resource.rpartition(":::")[2]
        session = self._clients.session
        region = await session.bucket_region(bucket)
        where = f"s3://{bucket}"
        await ask_raw(session, "s3", Operation.HEAD_BUCKET, where, region=region, Bucket=bucket)
        return ProbeResult(Access.ALLOWED, "HeadBucket")

    async def _reading(self, _need: Need) -> ProbeResult:
        if self._first is None:
            return ProbeResult(Access.UNKNOWN, "the source has no object to try it with")
        key = self._first.key
        await self._clients.s3.first_byte(self._job.source.bucket, key)
        return ProbeResult(Access.ALLOWED, f"one byte of {key}")

    async def _reference(self, need: Need) -> ProbeResult:
        bucket, _, key = sample(need.resource).rpartition(":::")[2].partition("/")
        await self._clients.s3.first_byte(bucket, key)
        return ProbeResult(Access.ALLOWED, "its first byte")

    async def _list(self, _need: Need) -> ProbeResult:
        listed = self._job.source.listed
        if listed is None:
            return NOT_TRIED
        await self._clients.s3.first_byte(*location(listed.address))
        return ProbeResult(Access.ALLOWED, "its first byte")

    async def _state(self, need: Need) -> ProbeResult:
        """Who may list the prefix of the state alone is told that a missing object is forbidden."""
        bucket, _, head = sample(need.resource, "head.json").rpartition(":::")[2].partition("/")
        try:
            await self._clients.s3.first_byte(bucket, head)
        except ErrorResponseError as exc:
            if exc.response.status == 403 and not (await list_page(self._clients.s3, bucket, head, limit=1)).objects:
                return ProbeResult(Access.UNKNOWN, "there is no state yet to try it with")
            if exc.response.status != 404 or exc.response.code == "NoSuchBucket":
                raise
        return ProbeResult(Access.ALLOWED, "its head")

    async def _state_listing(self, need: Need) -> ProbeResult:
        bucket = need.resource.rpartition(":::")[2]
        await list_page(self._clients.s3, bucket, sample(need.prefix or "", ""), limit=1)
        return ProbeResult(Access.ALLOWED, "a listing of one key")

    async def _versioning(self, _need: Need) -> ProbeResult:
        await self._ask_source(Operation.GET_BUCKET_VERSIONING)
        return ProbeResult(Access.ALLOWED, "GetBucketVersioning")

    async def _versions(self, _need: Need) -> ProbeResult:
        prefix = self._job.source.prefix
        await self._ask_source(Operation.LIST_OBJECT_VERSIONS, Prefix=prefix, MaxKeys=1)
        return ProbeResult(Access.ALLOWED, "a listing of one version")

    async def _tags(self, need: Need) -> ProbeResult:
        if need.action != "s3:GetObjectTagging":
            return NOT_TRIED
        if self._first is None:
            return ProbeResult(Access.UNKNOWN, "the source has no object to try it with")
        await self._clients.s3.get_tags(self._job.source.bucket, self._first.key, "")
        return ProbeResult(Access.ALLOWED, f"the tags of {self._first.key}")

    async def _ask_source(self, operation: Operation, **parameters: object) -> None:
        bucket, session = self._job.source.bucket, self._clients.session
        region = await session.bucket_region(bucket)
        await ask_raw(session, "s3", operation, f"s3://{bucket}", region=region, Bucket=bucket, **parameters)

    # -- Other services ------------------------------------------------------------------------------------------------

    async def _detection(self, _need: Need) -> ProbeResult:
        if self._region is None:
            return ProbeResult(Access.UNKNOWN, "no region is known")
        call = await self._clients.detect_call(self._job.detector, self._region)
        try:
            await call.content("a text in place of an image", _NO_IMAGE)
        except ErrorResponseError as exc:
            # The image is refused; or a model is not there or not running, which the service says to who may ask.
            if isinstance(classify(exc.response), _NO_ANSWER):
                raise
        return ProbeResult(Access.ALLOWED, "a call with a text in place of an image, which is refused and not billed")

    async def _model(self, _need: Need) -> ProbeResult:
        await describe_model(self._clients.session, self._job.detector.model or "")
        return ProbeResult(Access.ALLOWED, "the model was described")

    async def _quota(self, need: Need) -> ProbeResult:
        operation = Operation(need.action.partition(":")[2])
        code = PROFILES[self._job.detector.kind].quota_code
        parameters = {"ServiceCode": SERVICE_CODE, "QuotaCode": code}
        session = self._clients.session
        await session.quota_requests.acquire()
        try:
            await ask_raw(session, "service-quotas", operation, code, region=self._region, **parameters)
        except ErrorResponseError as exc:
            # Any other error is that of a quota which does not exist: it is told to who may ask.
            if isinstance(classify(exc.response), _NO_ANSWER):
                raise
        return ProbeResult(Access.ALLOWED, operation.value)

    # -- Writes --------------------------------------------------------------------------------------------------------

    async def _writing(self, need: Need) -> ProbeResult:
        if need.action != "s3:PutObject":
            return NOT_TRIED
        if self._job.source.store is not StoreKind.S3:
            return ProbeResult(Access.UNKNOWN, "not tried: files are uploaded, which no request shows without a write")
        bucket, _, key = sample(need.resource).rpartition(":::")[2].partition("/")
        if not (self._tries_writes or await self._is_aws(bucket)):
            return ProbeResult(Access.UNKNOWN, "not tried: the store is not AWS's, and may ignore conditions")
        if self._first is None or not self._is_readable:
            return ProbeResult(Access.UNKNOWN, "the source has no object that can be read to try it with")
        image = ObjectRef(
            bucket=self._job.source.bucket, key=self._first.key, size_bytes=1, etag=_IMPOSSIBLE_ETAG, seq=0
        )
        try:
            await self._clients.s3.copy_object(image, S3Location(bucket, key), only_new=True)
        except ErrorResponseError as exc:
            if exc.response.status == 412:
                return ProbeResult(Access.ALLOWED, "a copy with a condition that cannot hold: nothing was written")
            raise
        return ProbeResult(Access.ALLOWED, f"the store ignores conditions: it wrote s3://{bucket}/{key}")

    async def _is_aws(self, bucket: str) -> bool:
        place = await self._clients.session.place(bucket)
        return place.is_aws


def _outcome(response: ErrorResponse, error: AsyncFilterError, need: Need) -> ProbeResult:
    action = denied_action(response)
    if isinstance(error, PermissionDeniedError) and action is not None and action.lower() != need.action.lower():
        return ProbeResult(Access.UNKNOWN, f"denied for want of {action}")
    if _is_of_key(error) and not need.action.startswith("kms:"):
        return ProbeResult(Access.ALLOWED, "S3 allows it; the KMS key may not be used")
    return _of_error(error)


def _is_of_key(error: AsyncFilterError) -> bool:
    return isinstance(error, ImageError) and error.code == "kms_denied"


def _of_error(error: AsyncFilterError) -> ProbeResult:
    if isinstance(error, PermissionDeniedError | BucketNotFoundError) or (
        isinstance(error, ImageError) and error.access
    ):
        return ProbeResult(Access.MISSING, error.message)
    return ProbeResult(Access.UNKNOWN, error.message)
