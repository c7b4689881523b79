"""Checks Signature Version 4 as a service does.

For S3 the path is encoded once in the signed text, for other services twice; S3's path is never normalised. A received
path is decoded and encoded again by AWS's rule, so that a client that signs another encoding is refused.
(AWS General Reference, *Signature Version 4*; S3 API reference, *Authenticating requests*.)
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from asyncfilter.sandbox.chunked import SIGNED, is_chunked, read_chunks
from asyncfilter.sandbox.message import Request

MAX_SKEW_S: Final = 15 * 60
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()
_BLANKS: Final = re.compile(r" +")


class SkewError(Exception):
    """The request's time differs from this machine's by more than 15 minutes, or a presigned request has expired."""


class Signed(NamedTuple):
    """The signature of a request and the parameters with which it was made."""

    scope: str
    signed_headers: tuple[str, ...]
    signature: str
    date: str
    expires_s: int
    presigned: bool

    @property
    def service(self) -> str:
        """The service of the credential scope."""
        return self.scope.rsplit("/", 2)[1]


def signature_holds(request: Request, secret: str, *, now_s: float) -> bool:
    """Whether the request, including its chunks, was signed with ``secret``.

    Raises:
        SkewError: If the time of signing is more than 15 minutes before or after ``now_s``, or a presigned request has
            expired.
    """
    signed = _read(request)
    if signed is None:
        return False
    _check_time(signed, now_s)
    key = _signing_key(secret, signed.scope)
    payload = _payload_hash(request, signed)
    if payload is None:
        return False
    canonical = canonical_request(request, signed, payload)
    text = f"AWS4-HMAC-SHA256\n{signed.date}\n{signed.scope}\n{hashlib.sha256(canonical).hexdigest()}"
    return hmac.compare_digest(_sign(key, text), signed.signature) and _chunks_hold(request, signed, key)


def canonical_request(request: Request, signed: Signed, payload: str) -> bytes:
    """The text whose hash is signed."""
    path = unquote_to_bytes(request.path or b"/")
    uri = quote(path, safe="/~")
    uri = uri if signed.service == "s3" else quote(uri, safe="/~")
    headers = "".join(f"{name}:{_header(request, name)}\n" for name in signed.signed_headers)
    names = ";".join(signed.signed_headers)
    query = _canonical_query(request.query)
    return f"{request.method}\n{uri}\n{query}\n{headers}\n{names}\n{payload}".encode("utf-8", "surrogateescape")


def _read(request: Request) -> Signed | None:
    """The signature in the Authorization header or the query; None if it is incomplete."""
    header = request.header(b"authorization")
    if header:
        scheme, _, rest = header.partition(" ")
        parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        date, expires_s = request.header(b"x-amz-date"), 0
    else:
        query = dict(_pairs(request.query))
        names = ("Algorithm", "Credential", "SignedHeaders", "Signature", "Date", "Expires")
        parts = {name: query.get(f"X-Amz-{name}", "") for name in names}
        scheme, date = parts["Algorithm"], parts["Date"]
        expires_s = int(parts["Expires"]) if parts["Expires"].isdigit() else 0
    scope = parts.get("Credential", "").partition("/")[2]
    headers = tuple(parts.get("SignedHeaders", "").split(";"))
    complete = scheme == "AWS4-HMAC-SHA256" and scope.count("/") == 3 and "host" in headers and date[:8] == scope[:8]
    return Signed(scope, headers, parts.get("Signature", ""), date, expires_s, not header) if complete else None


def _check_time(signed: Signed, now_s: float) -> None:
    try:
        at_s = datetime.strptime(signed.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError as exc:
        raise SkewError(signed.date) from exc
    latest_s = at_s + (signed.expires_s if signed.presigned else MAX_SKEW_S)
    if not at_s - MAX_SKEW_S <= now_s <= latest_s:
        raise SkewError(signed.date)


def _payload_hash(request: Request, signed: Signed) -> str | None:
    """The payload's hash as it was signed; None if the body has another hash."""
    if signed.presigned:
        return UNSIGNED
    true = hashlib.sha256(request.body).hexdigest()
    claimed = request.header(b"x-amz-content-sha256")
    if not claimed or signed.service != "s3":
        return true
    return claimed if claimed in {true, UNSIGNED} or is_chunked(request) else None


def _chunks_hold(request: Request, signed: Signed, key: bytes) -> bool:
    """Check the chain of chunk signatures if the body has signed chunks."""
    if not request.header(b"x-amz-content-sha256").startswith(SIGNED):
        return True
    previous = signed.signature
    for piece, signature in read_chunks(request.body).pieces:
        digest = hashlib.sha256(piece).hexdigest()
        head = f"AWS4-HMAC-SHA256-PAYLOAD\n{signed.date}\n{signed.scope}\n{previous}"
        if not hmac.compare_digest(_sign(key, f"{head}\n{_EMPTY_SHA256}\n{digest}"), signature):
            return False
        previous = signature
    return True


def _canonical_query(query: bytes) -> str:
    pairs = ((name, value) for name, value in _pairs(query) if name != "X-Amz-Signature")
    encoded = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)


def _pairs(query: bytes) -> list[tuple[str, str]]:
    """Query parameters; a plus is not decoded as a blank, as in the text that is signed."""
    pairs = (part.partition(b"=")[::2] for part in query.split(b"&") if part)
    return [(_text(name), _text(value)) for name, value in pairs]


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode("utf-8", "surrogateescape")


def _header(request: Request, name: str) -> str:
    return _BLANKS.sub(" ", request.header(name.encode()).strip())


@functools.lru_cache(maxsize=64)
def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256").hex()
