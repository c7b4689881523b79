"""The address that was probably meant by a text that is none: by a web address of S3, or by a slip at its beginning."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

_VIRTUAL_HOST = re.compile(r"(?P<bucket>[a-z0-9.-]+)\.s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_PATH_STYLE = re.compile(r"s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_CONSOLE = re.compile(r"(?:[a-z0-9-]+\.)*console\.(?:aws\.amazon\.com|amazonaws\.cn|amazonaws-us-gov\.com)")
_IN_CONSOLE = re.compile(r"/s3/buckets/([^/]+)")
_SLIP = re.compile(r"s3(?::/|//|:)(?!/)", re.IGNORECASE)
_BEGINNING = re.compile(r"s3://", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9_.-]+(/\S*)?")


def meant(text: str) -> str | None:
    """What to write in place of ``text``; None when that is not clear."""
    stripped = text.strip()
    if stripped.startswith(("http://", "https://")):
        return _of_web_address(stripped)
    if found := _BEGINNING.match(stripped) or _SLIP.match(stripped):
        return f"s3://{stripped[found.end() :]}"
    return f"s3://{stripped} or ./{stripped}" if _NAME.fullmatch(stripped) else None


def _of_web_address(text: str) -> str | None:
    try:
        url = urlsplit(text)
    except ValueError:
        return None
    host, path = url.hostname or "", unquote(url.path).lstrip("/")
    if _CONSOLE.fullmatch(host) and (named := _IN_CONSOLE.match(url.path)):
        prefix = parse_qs(url.query).get("prefix", [""])[0]
        return f"s3://{unquote(named[1])}/{prefix}"
    if _PATH_STYLE.fullmatch(host) and path:
        return f"s3://{path}"
    if found := _VIRTUAL_HOST.fullmatch(host):
        return f"s3://{found['bucket']}/{path}"
    return None
