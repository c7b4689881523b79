"""Tags of objects."""

from __future__ import annotations

from asyncfilter.sandbox.message import Reply, header_lines
from asyncfilter.sandbox.s3.call import S3Call, xml_reply
from asyncfilter.sandbox.s3.objects import check_tags, version_header
from asyncfilter.sandbox.s3_xml import element, parse
from asyncfilter.sandbox.store import Bucket, Stored


def get_object_tagging(call: S3Call) -> Reply:
    """The tag set."""
    stored = _target(call)[1]
    tags = (f"<Tag>{element('Key', k)}{element('Value', v)}</Tag>" for k, v in (stored.tags or {}).items())
    return xml_reply("Tagging", f"<TagSet>{''.join(tags)}</TagSet>", version_header(stored))


def put_object_tagging(call: S3Call) -> Reply:
    """Replace the whole tag set.

    Raises:
        ServiceError: ``MalformedXML``, or an error of ``check_tags``.
    """
    bucket, stored = _target(call)
    rows = parse(call.request.body).findall("TagSet/Tag")
    tags = [(row.findtext("Key") or "", row.findtext("Value") or "") for row in rows]
    check_tags(tags)
    bucket.set_tags(stored, dict(tags))
    return Reply(200, header_lines(version_header(stored)))


def delete_object_tagging(call: S3Call) -> Reply:
    """Remove the whole tag set."""
    bucket, stored = _target(call)
    bucket.set_tags(stored, None)
    return Reply(204, header_lines(version_header(stored)))


def _target(call: S3Call) -> tuple[Bucket, Stored]:
    bucket = call.found_bucket()
    return bucket, call.found_object(bucket, call.key, call.query.get("versionId"))
