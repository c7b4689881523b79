"""The lanes of a job: each with a session of its own credentials, a look at its access, its quota and its prices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeVar

import anyio
from msgspec import structs

from asyncfilter import aws
from asyncfilter.aws import AwsClients, identify, open_aws, open_clients, with_retries
from asyncfilter.aws.role_keys import Role, RoleKeys
from asyncfilter.engine.core.backends import DetectorBackend
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    CredentialsError,
    RegionMismatchError,
    UsageError,
)
from asyncfilter.job.spec import Job, LaneSpec
from asyncfilter.model import Detection, ObjectRef
from asyncfilter.wiring.account import Account, most_connections
from asyncfilter.wiring.detectors import aws_backend

T = TypeVar("T")

BY_REFERENCE, BY_BYTES = "reference", "bytes"
"""How a lane gets its images."""

_PROFILE_KEYS = ("aws.profile or AWS_PROFILE", "AWS_PROFILE, aws.profile")
"""How hints name the profile of the job's own credentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLane:
    """A lane, ready for the first call.

    Attributes:
        backend: Examines images by reference, with its rate and its prices.
        send: Examines the given bytes in place of an image; raises as ``Detector.detect`` does.
    """

    backend: DetectorBackend
    send: Callable[[ObjectRef, bytes], Awaitable[Detection]]

    @property
    def by_reference(self) -> bool:
        """Whether the lane reads images from the bucket."""
        return self.backend.by == BY_REFERENCE


class OpenLanes(NamedTuple):
    """All lanes of a job, and what could not be found out about them, one sentence each."""

    lanes: tuple[OpenLane, ...]
    cautions: tuple[str, ...]


async def open_lanes(job: Job, account: Account, bucket_region: str | None, stack: AsyncExitStack) -> OpenLanes:
    """Open all lanes of a job.

    Args:
        job: Has the lanes.
        account: Of the job's own credentials, which assume the roles of lanes.
        bucket_region: Region in which images can be read by reference; None where they must be sent.
        stack: Closes the sessions.

    Raises:
        AccessError: A lane cannot be reached, its credentials are not accepted, or it is outside the bucket's region
            and the job does not convert; the message has its name.
        UsageError: Two lanes are of one account and one region.
    """
    lanes = job.detector.lanes
    for lane in lanes:
        _check_region(job, lane, bucket_region)
    clients = [await _at(lane, _clients(job, lane, account, stack)) for lane in lanes]
    found = await _all(
        [partial(_look, job, lane, one, bucket_region) for lane, one in zip(lanes, clients, strict=True)], lanes
    )
    opened = tuple(one.lane for one in found)
    _check_accounts(opened)
    return OpenLanes(opened, tuple(one.caution for one in found if one.caution))


def _check_region(job: Job, lane: LaneSpec, bucket_region: str | None) -> None:
    if bucket_region in {None, lane.region} or job.convert:
        return
    raise RegionMismatchError(
        f"lane {lane.name}: bucket {job.source.bucket!r} is in {bucket_region}, the lane in {lane.region}: Rekognition "
        "reads only buckets of its own region",
        hint="Set convert: true to send the images' bytes to lanes in other regions, or leave this lane out.",
    )


async def _clients(job: Job, lane: LaneSpec, account: Account, stack: AsyncExitStack) -> AwsClients:
    """The clients with the credentials of a lane; those of the job where it has none of its own."""
    own = await account.clients()
    if lane.is_own:
        return own
    keys = None if lane.role is None else RoleKeys(Role(lane.role, lane.external_id), own.session)
    settings = replace(job.aws, profile=lane.profile or job.aws.profile, region=lane.region)
    session = await stack.enter_async_context(
        open_aws(settings, timeout_s=job.limits.timeout_s, connections=most_connections(), keys=keys)
    )
    return await stack.enter_async_context(open_clients(settings, session))


class _Look(NamedTuple):
    """What one look at a lane found."""

    lane: OpenLane
    caution: str


async def _look(job: Job, lane: LaneSpec, clients: AwsClients, bucket_region: str | None) -> _Look:
    """Look at a lane's credentials, region and quota; nothing is billed."""
    alone = _alone(job, lane)
    account, caution = await _account(lane, clients)
    detector, region = await aws.open_detector(alone, clients, bucket_region=bucket_region)
    backend = await aws_backend(alone, clients.session, detector, region)
    backend = structs.replace(
        backend,
        name=lane.name,
        account=account,
        by=BY_REFERENCE if bucket_region == region else BY_BYTES,
        used_this_month=lane.used_this_month,
        tps_origin=backend.tps_origin if lane.tps is None else "tps of the lane",
    )
    return _Look(OpenLane(backend=backend, send=detector.detect_content), caution)


def _alone(job: Job, lane: LaneSpec) -> Job:
    """The job as if it had this one lane only."""
    return replace(
        job,
        detector=replace(job.detector, region=lane.region, lanes=()),
        limits=replace(job.limits, tps=lane.tps, share=lane.share),
        pricing=replace(job.pricing, tiers=lane.tiers, used_this_month=lane.used_this_month),
    )


async def _account(lane: LaneSpec, clients: AwsClients) -> tuple[str | None, str]:
    """The account of a lane, or a caution where STS may not be asked.

    Raises:
        CredentialsError: AWS does not accept the credentials in the region.
    """
    try:
        caller = await with_retries(lambda: identify(clients.session, lane.region))
    except CredentialsError:
        raise
    except AsyncFilterError as error:
        what = "whether it shares its quota with another lane is not checked"
        return None, f"lane {lane.name}: STS does not say which account it is of ({error.message}): {what}"
    return caller.account, ""


def _check_accounts(lanes: Sequence[OpenLane]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for lane in lanes:
        backend = lane.backend
        if backend.account is None:
            continue
        first = seen.setdefault((backend.account, backend.region), backend.name)
        if first != backend.name:
            raise UsageError(
                f"the lanes {first} and {backend.name} are both of account {backend.account} in {backend.region}, and "
                "so share one quota",
                hint=f"Leave one of them out, or give {backend.name} the credentials of another account.",
            )


async def _at(lane: LaneSpec, opening: Awaitable[T]) -> T:
    """What is opened; an error of access has the name of the lane, and a hint that names the keys of the lane."""
    try:
        return await opening
    except AccessError as error:
        named = error.at_lane(lane.name)
        named.hint = _hint_at(lane, error.hint)
        raise named from error


def _hint_at(lane: LaneSpec, hint: str | None) -> str | None:
    """A hint that was written for a job without lanes: what it says of the job's keys is true of those of the lane."""
    if hint is None:
        return None
    if lane.profile is not None:
        for keys in _PROFILE_KEYS:
            hint = hint.replace(keys, "the lane's profile")
    return hint.replace("detector.region", "the lane's region")


async def _all(looks: Sequence[Callable[[], Awaitable[_Look]]], lanes: Sequence[LaneSpec]) -> list[_Look]:
    """The results of all looks, which are made at the same time; raises the error of the first lane that has one."""
    found: dict[int, _Look] = {}
    errors: dict[int, AsyncFilterError] = {}

    async def look(index: int) -> None:
        try:
            found[index] = await _at(lanes[index], looks[index]())
        except AsyncFilterError as error:
            errors[index] = error

    async with anyio.create_task_group() as tasks:
        for index in range(len(looks)):
            tasks.start_soon(look, index)
    if errors:
        raise errors[min(errors)]
    return [found[index] for index in range(len(looks))]
