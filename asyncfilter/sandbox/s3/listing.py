"""ListObjectsV2, ListObjects and ListObjectVersions: pages in UTF-8 key order.

Python compares strings by code point, which is the order of their UTF-8 bytes.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from asyncfilter.sandbox.message import Reply, ServiceError
from asyncfilter.sandbox.quirks import Quirk
from asyncfilter.sandbox.s3.call import S3Call, xml_reply
from asyncfilter.sandbox.s3.objects import RESTORED_S
from asyncfilter.sandbox.s3_xml import element, key_writer
from asyncfilter.sandbox.store import Stored, iso_time

MAX_KEYS: Final = 1000
_LAST: Final = "\U0010ffff"
_TOKEN_HEAD: Final = b"1/"
_EMPTY: Final = frozenset({Quirk.EMPTY_PAGES, Quirk.SAME_EMPTY_PAGE})


class Shown(NamedTuple):
    """What the rows of a listing show beside the fields that they always have."""

    etag: bool
    restore_status: bool


class Page(msgspec.Struct):
    """One page of a listing; the next page begins after ``last``, which is None on the last page."""

    objects: list[Stored]
    prefixes: list[str]
    last: str | None = None


def list_objects_v2(call: S3Call) -> Reply:
    """One page; a continuation token is opaque and continues after the last entry of the previous page."""
    query, bucket = call.query, call.found_bucket()
    token = query.get("continuation-token")
    after = _read_token(token) if token is not None else query.get("start-after", "")
    max_keys = _max_keys(query)
    page = _page(call, after, max_keys)
    if call.quirks & _EMPTY:
        page = Page([], [], "" if Quirk.SAME_EMPTY_PAGE in call.quirks else after + "+")
    if Quirk.UNORDERED in call.quirks:
        page.objects.reverse()
    write = key_writer(query.get("encoding-type", ""))
    head = [element("Name", bucket.name), f"<Prefix>{write(query.get('prefix', ''))}</Prefix>"]
    if "start-after" in query:
        head.append(f"<StartAfter>{write(query['start-after'])}</StartAfter>")
    if token is not None:
        head.append(element("ContinuationToken", token))
    if page.last is not None and Quirk.NO_TOKEN not in call.quirks:
        head.append(element("NextContinuationToken", _token(page.last)))
    head.append(f"<KeyCount>{len(page.objects) + len(page.prefixes)}</KeyCount><MaxKeys>{max_keys}</MaxKeys>")
    return xml_reply("ListBucketResult", _finish(call, head, page))


def list_objects(call: S3Call) -> Reply:
    """The first version of the operation: a marker instead of a token."""
    query, bucket = call.query, call.found_bucket()
    after = query.get("marker", "")
    max_keys = _max_keys(query)
    page = _page(call, after, max_keys)
    write = key_writer(query.get("encoding-type", ""))
    head = [element("Name", bucket.name), f"<Prefix>{write(query.get('prefix', ''))}</Prefix>"]
    head.append(f"<Marker>{write(after)}</Marker><MaxKeys>{max_keys}</MaxKeys>")
    if page.last is not None and "delimiter" in query:
        head.append(f"<NextMarker>{write(page.last.removesuffix(_LAST))}</NextMarker>")
    return xml_reply("ListBucketResult", _finish(call, head, page))


def list_object_versions(call: S3Call) -> Reply:
    """All versions and delete markers, newest first within a key; pages end between keys."""
    query, bucket = call.query, call.found_bucket()
    marker, prefix = query.get("key-marker", ""), query.get("prefix", "")
    max_keys, write = _max_keys(query), key_writer(query.get("encoding-type", ""))
    rows: list[str] = []
    last: str | None = None
    for key in bucket.versioned_keys():
        if key <= marker or not key.startswith(prefix):
            continue
        versions = bucket.versions(key)
        if rows and len(rows) + len(versions) > max_keys:
            break
        rows.extend(_version_row(held, write(key), latest=held is versions[0]) for held in versions)
        last = key
    else:
        last = None
    truncated = "" if last is None else f"<NextKeyMarker>{write(last)}</NextKeyMarker>"
    head = f"{element('Name', bucket.name)}<Prefix>{write(prefix)}</Prefix><KeyMarker>{write(marker)}</KeyMarker>"
    flags = f"<MaxKeys>{max_keys}</MaxKeys><IsTruncated>{'true' if truncated else 'false'}</IsTruncated>"
    encoding = _encoding(call)
    return xml_reply("ListVersionsResult", f"{head}{flags}{encoding}{truncated}{''.join(rows)}")


def _version_row(held: Stored, key: str, *, latest: bool) -> str:
    common = f"<Key>{key}</Key>{element('VersionId', held.version_id)}<IsLatest>{str(latest).lower()}</IsLatest>"
    common += f"<LastModified>{iso_time(held.modified_s)}</LastModified>"
    if held.delete_marker:
        return f"<DeleteMarker>{common}</DeleteMarker>"
    size = f"<ETag>&quot;{held.etag}&quot;</ETag><Size>{held.size_bytes}</Size>"
    return f"<Version>{common}{size}{element('StorageClass', held.attributes.storage_class)}</Version>"


def _page(call: S3Call, after: str, max_keys: int) -> Page:
    page = Page([], [])
    entries = _entries(call, after)
    last = ""
    for entry, stored in itertools.islice(entries, max_keys):
        last = entry
        if stored is None:
            page.prefixes.append(entry)
            last += _LAST
        else:
            page.objects.append(stored)
    if last and next(entries, None) is not None:
        page.last = last
    return page


def _entries(call: S3Call, after: str) -> Iterator[tuple[str, Stored | None]]:
    """Keys with their objects, and common prefixes with None; the keys of a common prefix are skipped in one step."""
    bucket, prefix, delimiter = call.found_bucket(), call.query.get("prefix", ""), call.query.get("delimiter", "")
    is_exclusive = after and not (Quirk.INCLUSIVE_START_AFTER in call.quirks and "start-after" in call.query)
    start: str | None = max(after + "\0" if is_exclusive else after, prefix)
    while start is not None:
        scan, start = bucket.scan(start), None
        for stored in scan:
            if not stored.key.startswith(prefix):
                return
            cut = stored.key.find(delimiter, len(prefix)) if delimiter else -1
            if cut >= 0:
                common = stored.key[: cut + len(delimiter)]
                yield common, None
                start = common + _LAST + "\0"
                break
            yield stored.key, stored


def _finish(call: S3Call, head: list[str], page: Page) -> str:
    write = key_writer(call.query.get("encoding-type", ""))
    shown = Shown(
        etag=Quirk.NO_ETAG not in call.quirks,
        restore_status="RestoreStatus" in call.header(b"x-amz-optional-object-attributes"),
    )
    if "delimiter" in call.query:
        head.append(f"<Delimiter>{write(call.query['delimiter'])}</Delimiter>")
    head.append(_encoding(call))
    head.append(f"<IsTruncated>{'true' if page.last is not None else 'false'}</IsTruncated>")
    head.extend(_row(stored, write(stored.key), shown) for stored in page.objects)
    head.extend(f"<CommonPrefixes><Prefix>{write(prefix)}</Prefix></CommonPrefixes>" for prefix in page.prefixes)
    return "".join(head)


def _row(stored: Stored, key: str, shown: Shown) -> str:
    etag = f"<ETag>&quot;{stored.etag}&quot;</ETag>" if shown.etag else ""
    status = ""
    if shown.restore_status and stored.attributes.restored:
        expiry = iso_time(stored.modified_s + RESTORED_S)
        status = f"<IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>{expiry}</RestoreExpiryDate>"
        status = f"<RestoreStatus>{status}</RestoreStatus>"
    return (
        f"<Contents><Key>{key}</Key><LastModified>{iso_time(stored.modified_s)}</LastModified>"
        f"{etag}<Size>{len(stored.body)}</Size>"
        f"<StorageClass>{stored.attributes.storage_class}</StorageClass>{status}</Contents>"
    )


def _encoding(call: S3Call) -> str:
    return "<EncodingType>url</EncodingType>" if call.query.get("encoding-type") == "url" else ""


def _max_keys(query: dict[str, str]) -> int:
    text = query.get("max-keys", str(MAX_KEYS))
    if not text.isascii() or not text.isdigit():
        fields = {"ArgumentName": "max-keys", "ArgumentValue": text}
        raise ServiceError("InvalidArgument", "Provided max-keys not an integer or within integer range", fields=fields)
    return min(int(text), MAX_KEYS)


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(_TOKEN_HEAD + last.encode()).decode()


def _read_token(token: str) -> str:
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True)
        if text.startswith(_TOKEN_HEAD):
            return text[len(_TOKEN_HEAD) :].decode()
    except ValueError:  # not ASCII, not Base64, not UTF-8
        pass
    fields = {"ArgumentName": "continuation-token"}
    raise ServiceError("InvalidArgument", "The continuation token provided is incorrect", fields=fields)
