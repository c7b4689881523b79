"""Conditions on requests, such as ``If-Match``: on an object, a copy's source, and a copy's destination."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from asyncfilter.sandbox.message import ServiceError
from asyncfilter.sandbox.quirks import ConditionalWrites
from asyncfilter.sandbox.s3.call import S3Call, not_implemented
from asyncfilter.sandbox.store import Stored


def etag_matches(condition: str, stored: Stored) -> bool:
    """True if the list holds ``*`` or the object's ETag, quoted or not."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in condition.split(",")}
    return "*" in tags or stored.etag in tags


def precondition_failed(condition: str) -> ServiceError:
    """412 with the name of the header whose condition is not met."""
    message = "At least one of the pre-conditions you specified did not hold"
    return ServiceError("PreconditionFailed", message, 412, fields={"Condition": condition})


def check_write(if_match: str, if_none_match: str, present: Stored | None, key: str) -> None:
    """Check the conditions of a write or delete against ``present``, the current object of the key.

    Raises:
        ServiceError: 412 if an ETag differs, or if an object exists where none may; 404 if ``If-Match`` is given and
            there is no object (S3 guide, *Conditional writes* and *Conditional deletes*).
    """
    if if_none_match and present is not None and etag_matches(if_none_match, present):
        raise precondition_failed("If-None-Match")
    if not if_match:
        return
    if present is None:
        raise ServiceError("NoSuchKey", "The specified key does not exist.", 404, fields={"Key": key})
    if not etag_matches(if_match, present):
        raise precondition_failed("If-Match")


def check_put(call: S3Call, present: Stored | None) -> None:
    """Check the conditions of PutObject, or of CopyObject on its destination, as far as this S3 has them.

    S3 takes an ETag in ``If-Match`` and only ``*`` in ``If-None-Match`` (S3 API reference, *PutObject*). 409
    ConditionalRequestConflict, its answer to a race, is a fault here (``conflict``): a write is done at once.

    Raises:
        ServiceError: See ``check_write``; 501 for another ``If-None-Match``, or for any condition if they are refused.
    """
    if_match, if_none_match = call.header(b"if-match"), call.header(b"if-none-match")
    if not (if_match or if_none_match) or call.conditional_writes is ConditionalWrites.IGNORED:
        return
    if call.conditional_writes is ConditionalWrites.REFUSED:
        raise not_implemented("If-Match" if if_match else "If-None-Match")
    if if_none_match not in {"", "*"}:
        raise not_implemented("If-None-Match")
    check_write(if_match, if_none_match, present, call.key)


def unmodified_since(date: str, stored: Stored) -> bool:
    """True if the object is not newer than an HTTP date; an invalid date is ignored, as S3 does."""
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return True
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(stored.modified_s) <= moment.timestamp()
