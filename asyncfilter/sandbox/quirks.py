"""Quirks: how S3-compatible stores differ from S3, each as an option of the sandbox."""

from __future__ import annotations

from enum import StrEnum


class Quirk(StrEnum):
    """One difference from S3; any number of them can be combined."""

    IGNORE_START_AFTER = "ignore-start-after"
    """``start-after`` is ignored."""
    INCLUSIVE_START_AFTER = "inclusive-start-after"
    """A page begins with the key in ``start-after``, if there is one."""
    IGNORE_PREFIX = "ignore-prefix"
    """A listing has all keys of the bucket."""
    UNORDERED = "unordered"
    """The objects on a page are in descending order."""
    NO_TOKEN = "no-token"  # noqa: S105 - a name  # nosec B105
    """A page that is not the last has no token for the next."""
    EMPTY_PAGES = "empty-pages"
    """All pages are empty, and each is followed by another one with a token of its own."""
    SAME_EMPTY_PAGE = "same-empty-page"
    """All pages are empty, and each has the same token for the next."""
    NO_ETAG = "no-etag"
    """Listings have no ETags."""
    NO_ENCODING = "no-encoding"
    """``encoding-type`` is ignored."""
    NO_TAGGING = "no-tagging"
    """The parameter ``tagging`` is ignored: a GET sends the object, a PUT replaces it."""
    NO_VERSIONING = "no-versioning"
    """GetBucketVersioning is not implemented (501)."""
    IGNORE_CONDITIONS = "ignore-conditions"
    """Conditions on reads, writes, copies and deletes are ignored."""
    ONLY_MD5 = "only-md5"
    """DeleteObjects requires Content-MD5; other digests do not count."""
    REQUESTER_PAYS = "requester-pays"
    """Requests to S3 that do not agree to pay are denied."""
    TERSE_DENIALS = "terse-denials"
    """Denials do not say which action is not allowed."""


class ConditionalWrites(StrEnum):
    """What an S3 does about ``If-Match`` and ``If-None-Match`` of PutObject, and of CopyObject on its destination."""

    YES = "yes"
    """They are obeyed, as at AWS."""
    IGNORED = "ignored"
    """They are ignored: the object is written."""
    REFUSED = "refused"
    """501 NotImplemented: nothing is written."""
