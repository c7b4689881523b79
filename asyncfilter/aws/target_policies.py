"""Whether the caller may write to the targets of a job, as far as that shows without a write.

At AWS, a copy whose condition cannot hold is asked for: S3 denies it, or finds the condition unmet. Other stores may
ignore the condition, so it is not sent to them; and files, which are uploaded, have no such request. What is open then,
IAM is asked: it knows the caller's own policies and those of the organisation, not those of buckets and keys. So its
"no" is a caution, and not an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import anyio

from asyncfilter.aws.access.identity import identify
from asyncfilter.aws.access.simulation import EvalDecision, Question, simulate
from asyncfilter.aws.clients.error_response import ErrorResponse, ErrorResponseError
from asyncfilter.aws.clients.protocols import S3Api
from asyncfilter.aws.errors import classify, denied_action
from asyncfilter.aws.s3.listing import list_page
from asyncfilter.aws.session import AwsSession
from asyncfilter.aws.transport_errors import UNREADABLE
from asyncfilter.errors import AsyncFilterError, PermissionDeniedError
from asyncfilter.job.spec import Job
from asyncfilter.model import ObjectRef, S3Location, StoreKind
from asyncfilter.policy.permissions import BucketFacts, Command, Need, needs_of
from asyncfilter.policy.permissions.arns import sample

_PATIENCE_S = 5.0
"""Longest wait for STS and IAM, seconds: a private network often has no route to them."""

_WRITE = "s3:PutObject"
_IMPOSSIBLE_ETAG = "0" * 32
_WHY = {
    EvalDecision.EXPLICIT_DENY: "a policy denies it to the caller, at least under some condition",
    EvalDecision.IMPLICIT_DENY: "no policy of the caller allows it; that of the bucket may",
}


async def check_policies(job: Job, session: AwsSession, calls: S3Api, probes: Mapping[str, S3Location]) -> list[str]:
    """Check the permissions to write; the result are cautions, one sentence each.

    Args:
        job: The job.
        session: The account.
        calls: Either client.
        probes: By the key of an action, an object below its target that does not exist.

    Raises:
        PermissionDeniedError: A target may not be written.
    """
    image = await _some_image(job, calls) if job.source.store is StoreKind.S3 else None
    may_write = image is not None and all(
        [await _may_write(session, calls, image, key, target) for key, target in probes.items()]
    )
    ignored = {_WRITE} if may_write else set()
    if not _writes(job, BucketFacts(), ignored):
        return []
    return await _denied_by_iam(job, session, ignored)


async def _some_image(job: Job, calls: S3Api) -> ObjectRef | None:
    """An object of the source, with an ETag that it does not have."""
    bucket = job.source.bucket
    try:
        listing = await list_page(calls, bucket, job.source.prefix, limit=1)
    except (AsyncFilterError, ErrorResponseError):
        return None
    keys = [listed.key for listed in listing.objects]
    return ObjectRef(bucket=bucket, key=keys[0], size_bytes=1, etag=_IMPOSSIBLE_ETAG, seq=0) if keys else None


async def _may_write(session: AwsSession, calls: S3Api, image: ObjectRef, key: str, target: S3Location) -> bool:
    """Whether it is certain that the caller may write ``target``.

    Raises:
        PermissionDeniedError: It is certain that it may not.
    """
    try:
        if not (await session.place(target.bucket)).is_aws:
            return False
        await calls.copy_object(image, target, only_new=True)
    except ErrorResponseError as exc:
        if await _concerns_target(calls, image, exc.response):
            raise PermissionDeniedError(
                f"{key}: the target cannot be written: {classify(exc.response).message}",
                hint=f"Allow {_WRITE} on the target for the credentials in use.",
            ) from exc
        return exc.response.status == 412
    except AsyncFilterError:
        return False
    return True


async def _concerns_target(calls: S3Api, image: ObjectRef, response: ErrorResponse) -> bool:
    """Whether a denied copy was certainly denied for the target, and not for the image or its tags."""
    if not isinstance(classify(response), PermissionDeniedError):
        return False
    if action := denied_action(response):
        return action.lower() == _WRITE.lower()
    try:
        await calls.head_object(image.bucket, image.key)
        return await calls.get_tags(image.bucket, image.key, "") == {}
    except (AsyncFilterError, ErrorResponseError):
        return False


async def _denied_by_iam(job: Job, session: AwsSession, ignored: Collection[str]) -> list[str]:
    """What IAM denies, less some actions; nothing where it may not be asked, or does not answer."""
    try:
        with anyio.fail_after(_PATIENCE_S):
            caller = await identify(session)
            needs = _writes(job, BucketFacts(partition=caller.partition), ignored)
            questions = {Question(need.action, sample(need.resource)): need for need in needs}
            answers = await simulate(session, caller, questions)
    except (AsyncFilterError, TimeoutError, *UNREADABLE):
        return []
    return [
        f"{need.action} on {need.resource} is denied by IAM ({_WHY[answers[question]]}); it is needed to {need.why}"
        for question, need in questions.items()
        if answers.get(question) in _WHY
    ]


def _writes(job: Job, facts: BucketFacts, ignored: Collection[str]) -> list[Need]:
    """The permissions to write, tag and remove that ``run`` and ``apply`` cannot do without, less some actions."""
    return [
        need
        for need in needs_of(job, (Command.RUN, Command.APPLY), facts)
        if need.without is None and need.action.startswith(("s3:Put", "s3:Delete")) and need.action not in ignored
    ]
