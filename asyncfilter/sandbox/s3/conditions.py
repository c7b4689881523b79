"""Conditions on requests: ``If-Match`` and its kin, on an object, a copy's source, a copy's destination."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from asyncfilter.sandbox.message import ServiceError
from asyncfilter.sandbox.store import Stored


def etag_matches(condition: str, stored: Stored) -> bool:
    """True when ``*`` or the object's ETag, quoted or not, stands in the list."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in condition.split(",")}
    return "*" in tags or stored.etag in tags


def precondition_failed(condition: str) -> ServiceError:
    """412, naming the header that did not hold."""
    message = "At least one of the pre-conditions you specified did not hold"
    return ServiceError("PreconditionFailed", message, 412, fields={"Condition": condition})


def check_write(if_match: str, if_none_match: str, present: Stored | None, key: str) -> None:
    """Hold a write or delete to its conditions on what stands under the key now.

    Raises:
        ServiceError: 412 when an ETag differs or an object stands where none may; 404 when ``If-Match`` finds nothing
            (S3 guide, *Conditional writes* and *Conditional deletes*).
    """
    if if_none_match and present is not None and etag_matches(if_none_match, present):
        raise precondition_failed("If-None-Match")
    if not if_match:
        return
    if present is None:
        raise ServiceError("NoSuchKey", "The specified key does not exist.", 404, fields={"Key": key})
    if not etag_matches(if_match, present):
        raise precondition_failed("If-Match")


def unmodified_since(date: str, stored: Stored) -> bool:
    """True when the object is not younger than an HTTP date; a date that cannot be read is ignored, as S3 does."""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return True
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(stored.modified_s) <= moment.timestamp()
