"""The bucket of a job whose source is a list: it is named in the job, or it is that of the list's addresses.

A run asks the list. Commands that read the checkpoint alone take the bucket from there, since they open no network.
"""

from __future__ import annotations

import dataclasses
from contextlib import AsyncExitStack, closing, suppress

from asyncfilter.checkpoint import checkpoint_exists, read_identity
from asyncfilter.datasets.lists import list_entries
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import check_bucket, parse_s3_uri, parse_template
from asyncfilter.job.spec import Job, ListKind, ListSpec
from asyncfilter.model import FOLDER, S3, S3Location
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.list_files import opened_file
from asyncfilter.wiring.lists import open_list

_HINT = "Name it in the job: source.uri: s3://BUCKET/ (or a folder), beside list or inventory."


async def with_bucket(job: Job, *, has_own_detector: bool = False) -> Job:
    """The job with the bucket of its images, which its list is asked for where the job does not name one.

    And with what its own model is, if it has one; not where a detector of the caller's own examines in its place.

    Raises:
        UsageError: The list cannot be read, or has keys without a bucket; or a target is in the source. Or a file of
            the model cannot be read.
        AccessError: The list, or the model, may not be read.
    """
    if job.detector.own is not None and not has_own_detector:
        from asyncfilter.wiring.own_models import with_own_model  # noqa: PLC0415  not needed by most jobs

        job = await with_own_model(job)
    return job if job.source.bucket else await with_checked_list(job)


async def with_checked_list(job: Job) -> Job:
    """As ``with_bucket``; the list is looked at also where the job names the bucket."""
    listed = job.source.listed
    if listed is None:
        return job
    async with AsyncExitStack() as stack:
        opened = await open_list(listed, Account(job, stack, connections=LEAST_IN_FLIGHT))
        return job if job.source.bucket else _located(job, await opened.bucket())


def with_known_bucket(job: Job) -> Job:
    """The job with the bucket of its images, as far as that is known on this machine.

    Raises:
        UsageError: It is not known yet.
    """
    if job.detector.own is not None:
        from asyncfilter.wiring.own_models import with_known_own_model  # noqa: PLC0415  not needed by most jobs

        job = with_known_own_model(job)
    listed = job.source.listed
    if listed is None or job.source.bucket:
        return job
    return _located(job, _stored_bucket(job) or _bucket_of(listed))


def _stored_bucket(job: Job) -> str | None:
    """The bucket of the images in the checkpoint; None without one."""
    if not checkpoint_exists(job.checkpoint):
        return None
    uri = read_identity(job.checkpoint).get("source.uri", "")
    return parse_s3_uri(uri).bucket if uri.startswith(S3) else None


def _bucket_of(listed: ListSpec) -> str | None:
    """The bucket that the address of an inventory has, or the first row of a local list."""
    if listed.kind is ListKind.INVENTORY:
        # destination-prefix/source-bucket/config-id/date/manifest.json (S3 user guide, *Locating your inventory list*)
        parts = listed.address.removeprefix(S3).split("/")
        with suppress(ValueError, IndexError):
            return check_bucket(parts[-4]) if len(parts) > 4 else None
        return None
    if listed.address.startswith(S3):
        return None
    with opened_file(listed.address) as stream, closing(list_entries(listed.address, stream, listed.column)) as entries:
        first = next(entries, None)
        return None if first is None else first.bucket


def _located(job: Job, bucket: str | None) -> Job:
    listed = job.source.listed
    where = "" if listed is None else listed.address
    if bucket is None or bucket == FOLDER:
        raise UsageError(f"{where}: the list has no addresses s3://bucket/key, so the bucket is not known", hint=_HINT)
    try:
        check_bucket(bucket)
    except ValueError as error:
        raise UsageError(f"{where}: {error}", hint=_HINT) from error
    _check_targets(job, S3Location(bucket, job.source.prefix))
    return dataclasses.replace(job, source=dataclasses.replace(job.source, bucket=bucket))


def _check_targets(job: Job, source: S3Location) -> None:
    """Check what the job file is checked for where it names the bucket itself."""
    for key, action in job.actions_by_key.items():
        template = None if action.target is None else parse_template(action.target)
        if template is not None and template.could_land_below(source, job.name):
            raise UsageError(
                f"{key}: expected a destination outside the source {source.uri}, found {template}, which could land "
                "inside it and be examined as well",
                hint="Use another bucket, or name the prefix of the images in source.uri.",
            )
