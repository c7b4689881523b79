"""AWS Signature Version 4, with its reusable parts cached.

The signing key depends on secret, day, region and service only, so it is derived once a day instead of once a request;
date stamps are made once a second; requests that differ only in their body can be signed up to the body
(``PreparedRequest``). Paths are signed as they are sent, percent-encoded once and never normalised, which is S3's rule
and, for the path ``/``, that of every other service too.

Source: AWS General Reference, *Signature Version 4 signing process*; S3's exceptions: S3 API Reference, *Authenticating
requests*.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
"""Payload hash of a request without a body."""

MAX_SKEW_S = 240.0
"""Difference from AWS's clock that counts as a wrong clock, seconds; AWS rejects beyond 300 s (900 s for S3)."""


_EARLIEST_UNIX_S, _LATEST_UNIX_S = 0.0, 4.1e9
"""Times that a service may give, 1970 to 2099; any other cannot be signed with."""


class Keys(NamedTuple):
    """The credentials at one point in time."""

    access_key: str
    secret_key: str
    token: str | None = None


class ServiceClock:
    """AWS's time: this machine's, corrected by the ``Date`` header of AWS's responses."""

    def __init__(self, unix: Callable[[], float] = time.time) -> None:
        self._unix = unix
        self._offset_s = 0.0
        self._second = -1
        self._stamps = ("", "")

    def stamps(self) -> tuple[str, str]:
        """The time as ``20260131T235959Z`` and its day as ``20260131``, UTC."""
        second = int(self._unix() + self._offset_s)
        if second != self._second:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._stamps = (stamp, stamp[:8])
            self._second = second
        return self._stamps

    def correct(self, date: str | None, *, signed: str) -> bool:
        """Take the time of a response's ``Date`` header when the request was signed with a wrong one.

        Several requests may have been signed before the first response corrects the clock: for each of them a retry,
        which is signed with the corrected time, may succeed.

        Args:
            date: The ``Date`` header.
            signed: The time that the request was signed with, as ``stamps`` returned it.

        Returns:
            True when that time was off by more than ``MAX_SKEW_S``, and now no longer is, so that a retry may succeed.
        """
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except (ValueError, TypeError, OverflowError):  # no date, or one beyond what this machine can count
            return False
        if not _EARLIEST_UNIX_S <= theirs <= _LATEST_UNIX_S:
            return False
        if abs(theirs - _unix(signed)) <= MAX_SKEW_S:
            return False
        ours = self._unix()
        if abs(theirs - ours - self._offset_s) > MAX_SKEW_S:
            self._offset_s = theirs - ours
        return True


def _unix(stamp: str) -> int:
    return calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))


def encode_path(path: str) -> str:
    """``path`` percent-encoded once, slashes kept, nothing normalised."""
    return quote(path, safe="/~")


def encode_query(parameters: Iterable[tuple[str, str]]) -> str:
    """A query string in the form that is both sent and signed: encoded, then sorted."""
    encoded = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in parameters)
    return "&".join([f"{name}={value}" for name, value in encoded])


class PreparedRequest:
    """A request that is signed except for its body; valid while its date stamp and its keys are.

    Args:
        headers: Headers to send, except ``authorization``.
        authorization: That header up to its signature.
        request: The canonical request up to the hash of the body.
        to_sign: The string to sign up to the hash of the canonical request.
        key: The signing key.
    """

    __slots__ = ("_key", "_request", "_to_sign", "authorization", "headers")

    def __init__(self, *, headers: dict[str, str], authorization: str, request: str, to_sign: str, key: bytes) -> None:
        self.headers = headers
        self.authorization = authorization
        self._request = hashlib.sha256(request.encode())
        self._to_sign = to_sign.encode()
        self._key = key

    def signature(self, payload_sha256: str) -> str:
        """The signature for a body, which ends the ``authorization`` header."""
        # A copy of the hash state: everything before the body is hashed once a second and not for each request.
        request = self._request.copy()
        request.update(payload_sha256.encode())
        return hmac.digest(self._key, self._to_sign + request.hexdigest().encode(), "sha256").hex()


class Signer:
    """Signs requests to one service in one region.

    Args:
        service: Name in the credential scope: ``s3``, ``rekognition``.
        region: Region in the credential scope.
        clock: Provides the time.
    """

    def __init__(self, service: str, region: str, clock: ServiceClock) -> None:
        self._clock = clock
        self._scope_tail = f"/{region}/{service}/aws4_request"
        self._region = region.encode()
        self._service = service.encode()
        self._key_of: tuple[str, str] = ("", "")
        self._key = b""

    def sign(
        self, keys: Keys, *, method: str, path: str, query: str, headers: Mapping[str, str], payload_sha256: str
    ) -> dict[str, str]:
        """The headers to send: those given, the date, the session token and the signature.

        Args:
            keys: Credentials to sign with.
            method: HTTP method, upper case.
            path: Percent-encoded path, as it will be sent.
            query: Query string from ``encode_query``, as it will be sent.
            headers: Headers to sign, by lower-case name, ``host`` among them.
            payload_sha256: Hash of the body in hex, or ``UNSIGNED-PAYLOAD``.
        """
        prepared = self.prepare(keys, method=method, path=path, query=query, headers=headers)
        return {**prepared.headers, "authorization": prepared.authorization + prepared.signature(payload_sha256)}

    def prepare(self, keys: Keys, *, method: str, path: str, query: str, headers: Mapping[str, str]) -> PreparedRequest:
        """Sign everything except the body, at the present time; arguments are those of ``sign``."""
        stamp, day = self._clock.stamps()
        signed = {**headers, "x-amz-date": stamp}
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        names = sorted(signed)
        # White space as `http.message` sends it: runs of it become one space in both, or the signatures would differ.
        lines = "".join([f"{name}:{' '.join(signed[name].split())}\n" for name in names])
        listed = ";".join(names)
        scope = day + self._scope_tail
        return PreparedRequest(
            headers=signed,
            authorization=f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={listed}, Signature=",
            request=f"{method}\n{path}\n{query}\n{lines}\n{listed}\n",
            to_sign=f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n",
            key=self._signing_key(keys.secret_key, day),
        )

    def _signing_key(self, secret_key: str, day: str) -> bytes:
        if self._key_of != (secret_key, day):
            key = f"AWS4{secret_key}".encode()
            for part in (day.encode(), self._region, self._service, b"aws4_request"):
                key = hmac.digest(key, part, "sha256")
            self._key, self._key_of = key, (secret_key, day)
        return self._key
