"""Manifests in the sandbox's S3, read with the caller's permissions."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.entries import DatasetError
from asyncfilter.sandbox.custom_labels.messages import NO_EXTENSION, NO_PERMISSION
from asyncfilter.sandbox.custom_labels.requests import S3Object
from asyncfilter.sandbox.message import ServiceError
from asyncfilter.sandbox.store import Stored

UNREADABLE: Final = "Unable to get object metadata from S3. Check object key, region and/or access permissions."


def check_manifest(account: Account, place: S3Object) -> None:
    """Return if there is such an object in the account's region.

    Raises:
        ServiceError: ``InvalidS3ObjectException``.
    """
    if _stored(account, place) is None:
        raise ServiceError("InvalidS3ObjectException", UNREADABLE)


def read_manifest(account: Account, place: S3Object) -> bytes:
    """The bytes of a manifest; runs in a thread.

    Raises:
        DatasetError: If it has no extension, is not there, or may not be read.
    """
    stored = _stored(account, place)
    if stored is None or not PurePosixPath(place.name).suffix:
        raise DatasetError(NO_EXTENSION)
    if not may_read(account, place.bucket, stored):
        raise DatasetError(NO_PERMISSION)
    return stored.body


def may_read(account: Account, bucket: str, stored: Stored) -> bool:
    """Whether the caller may read an object."""
    attributes = stored.attributes
    if attributes.denied or attributes.kms_denied or attributes.archived:
        return False
    return account.access.allowed("GetObject", f"{bucket}/{stored.key}")


def _stored(account: Account, place: S3Object) -> Stored | None:
    bucket = account.store.buckets.get(place.bucket)
    if bucket is None or bucket.region != account.region:
        return None
    stored = bucket.get(place.name) if place.version is None else bucket.version(place.name, place.version)
    return None if stored is None or stored.delete_marker else stored
