"""The signature of any request equals botocore's."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.aws.clients.error_response import Operation
from asyncfilter.aws.clients.signed_http import PresignedPosts
from asyncfilter.aws.clients.signing import Keys, ServiceClock, Signer, encode_path, encode_query
from asyncfilter.aws.session import Endpoint

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KEYS = st.builds(
    Keys,
    st.text("ABCDEFGHIJKLMNOP0123456789", min_size=4, max_size=20),
    st.text("abcdefXYZ0123456789+/", min_size=1, max_size=40),
    st.none() | st.text("abcDEF012+/=", min_size=1, max_size=60),
)
SECONDS = st.integers(0, 4_000_000_000)
VALUES = st.text('abc XYZ019%"/-_=;', max_size=30)
HEADERS = st.dictionaries(
    st.sampled_from(["x-amz-copy-source", "x-amz-target", "content-type", "range", "if-none-match", "x-amz-meta-a"]),
    VALUES,
)


def signed_by_botocore(
    auth: SigV4Auth, unix_s: int, method: str, url: str, headers: dict[str, str], body: bytes
) -> dict[str, str]:
    """The headers as botocore signs them at ``unix_s``, by lower-case name."""
    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    moment = datetime.fromtimestamp(unix_s, UTC)
    with patch("botocore.auth.get_current_datetime", return_value=moment):
        auth.add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(KEYS, SECONDS, st.sampled_from(["GET", "HEAD", "PUT"]), TEXT, st.dictionaries(TEXT, TEXT), HEADERS, st.binary())
def test_s3_requests_are_signed_as_botocore_signs_them(
    keys: Keys, unix_s: int, method: str, key: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    """Any key, unnormalised, any query, any header: date, token and signature are the same."""
    path = "/bucket/" + encode_path(key)
    requested = encode_query(query.items())
    digest = hashlib.sha256(body).hexdigest()
    own_headers = Signer("s3", "eu-west-1", ServiceClock(lambda: float(unix_s))).sign(
        keys,
        method=method,
        path=path,
        query=requested,
        headers={"host": "s3.test:9000", **headers, "x-amz-content-sha256": digest},
        payload_sha256=digest,
    )
    auth = S3SigV4Auth(ReadOnlyCredentials(*keys), "s3", "eu-west-1")
    url = f"http://s3.test:9000{path}?{requested}" if requested else f"http://s3.test:9000{path}"
    botocore_headers = signed_by_botocore(auth, unix_s, method, url, headers, body)
    for name in ("authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"):
        assert own_headers.get(name) == botocore_headers.get(name)


@given(KEYS, SECONDS, st.binary())
def test_rekognition_requests_are_signed_as_botocore_signs_them(keys: Keys, unix_s: int, body: bytes) -> None:
    """The JSON services sign the hash of the body without sending it."""
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "RekognitionService.DetectLabels"}
    own_headers = Signer("rekognition", "us-east-1", ServiceClock(lambda: float(unix_s))).sign(
        keys,
        method="POST",
        path="/",
        query="",
        headers={"host": "rekognition.us-east-1.amazonaws.com", **headers},
        payload_sha256=hashlib.sha256(body).hexdigest(),
    )
    auth = SigV4Auth(ReadOnlyCredentials(*keys), "rekognition", "us-east-1")
    url = "https://rekognition.us-east-1.amazonaws.com/"
    assert own_headers["authorization"] == signed_by_botocore(auth, unix_s, "POST", url, headers, body)["authorization"]


@given(st.lists(st.tuples(KEYS, SECONDS), min_size=2, max_size=6))
def test_a_cached_signing_key_is_bound_to_its_day_and_secret(moments: list[tuple[Keys, int]]) -> None:
    """A signer that is used over changing days and keys signs as a new one."""
    now = [0.0]
    old = Signer("s3", "eu-west-1", ServiceClock(lambda: now[0]))
    for keys, unix_s in moments:
        now[0] = float(unix_s)
        new = Signer("s3", "eu-west-1", ServiceClock(lambda: now[0]))
        signatures = [
            signer.sign(keys, method="GET", path="/", query="", headers={"host": "h"}, payload_sha256="")
            for signer in (old, new)
        ]
        assert signatures[0] == signatures[1]


@given(st.lists(st.tuples(KEYS, SECONDS, st.binary(max_size=50)), min_size=2, max_size=6), st.booleans())
def test_prepared_posts_are_sent_as_they_would_be_one_by_one(
    moments: list[tuple[Keys, int, bytes]], same_second: bool
) -> None:
    """Values cached between bodies are never used after their second or with other keys."""
    now = [0.0]
    clock = ServiceClock(lambda: now[0])
    signer = Signer("rekognition", "eu-west-1", clock)
    endpoint = Endpoint(origin="http://h", host="h", base_path="/b", service="rekognition", region="eu-west-1")
    headers = {"content-type": "application/x-amz-json-1.1"}
    posts = PresignedPosts(Operation.DETECT_LABELS, endpoint, headers, signer, clock)
    for keys, unix_s, body in moments:
        now[0] = float(moments[0][1] if same_second else unix_s)
        head, _, sent = posts.encode(keys, body).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        expected = Signer("rekognition", "eu-west-1", ServiceClock(lambda: now[0])).sign(
            keys,
            method="POST",
            path="/b/",
            query="",
            headers={"host": "h", **headers},
            payload_sha256=hashlib.sha256(body).hexdigest(),
        )
        assert (first, sent) == ("POST /b/ HTTP/1.1", body)
        found = dict(line.split(": ", 1) for line in lines)
        assert found.pop("content-length") == str(len(body))
        assert {name: found[name] for name in expected} == expected
        assert found.keys() - expected.keys() == {"user-agent", "accept-encoding"}


NEW_YEAR_UNIX_S = 1_767_225_600.0


@pytest.mark.parametrize(
    ("date", "corrected"),
    [
        ("Thu, 01 Jan 2026 01:00:00 GMT", True),
        ("Wed, 31 Dec 2025 23:00:00 GMT", True),
        ("Thu, 01 Jan 2026 00:03:00 GMT", False),
        ("yesterday", False),
        (None, False),
    ],
)
def test_the_clock_is_set_by_a_date_header_that_is_far_off(date: str | None, corrected: bool) -> None:
    """A difference of minutes is corrected; a smaller one, or no date, is ignored."""
    clock = ServiceClock(lambda: NEW_YEAR_UNIX_S)
    assert clock.correct(date, signed=clock.stamps()[0]) is corrected
    assert (clock.stamps()[0] == "20260101T000000Z") is not corrected


def test_a_clock_once_corrected_is_not_corrected_again_by_the_same_date() -> None:
    """The correction is made once, so that a signature wrong for another reason ends as a credentials error."""
    clock = ServiceClock(lambda: NEW_YEAR_UNIX_S)
    assert clock.correct("Thu, 01 Jan 2026 01:00:00 GMT", signed=clock.stamps()[0])
    assert not clock.correct("Thu, 01 Jan 2026 01:00:00 GMT", signed=clock.stamps()[0])


@pytest.mark.parametrize("ours", [0.0, 1_000_000.0, 4_000_000_000.0])
def test_every_request_that_was_signed_with_the_wrong_time_may_be_repeated(ours: float) -> None:
    """The first response corrects the clock; the requests signed before that were wrong all the same."""
    clock = ServiceClock(lambda: ours)
    signed = clock.stamps()[0]
    for seconds in range(5):
        assert clock.correct(f"Sat, 28 Nov 2026 06:00:0{seconds} GMT", signed=signed)
    assert clock.stamps()[0] == "20261128T060000Z"


@pytest.mark.parametrize("date", ["", "Mon, 01 Jan 0001 00:00:00 -0000", "Mon, 99 Jan 2026 00:00:00 GMT", "9" * 5000])
def test_an_impossible_date_corrects_nothing(date: str) -> None:
    """Whatever a server sends as its time."""
    clock = ServiceClock(lambda: 0.0)
    clock.correct(date, signed=clock.stamps()[0])
    assert clock.stamps()[0]
