"""The sandbox checks Signature Version 4 as the services do: botocore's requests pass, altered ones do not."""

from __future__ import annotations

import http.client
import io
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from asyncfilter.sandbox import Sandbox
from asyncfilter.sandbox.message import Request
from asyncfilter.sandbox.options import ACCESS_KEY, SECRET_KEY
from asyncfilter.sandbox.signature import SkewError, signature_holds

Open = Callable[..., Sandbox]
Client = Callable[..., Any]

ODD_KEYS = (
    "a b",
    "a+b",
    "100%",
    "%2F",
    "é",
    "😀.jpg",
    "line\nbreak",
    "../up",
    "a/../b",
    "/leading",
    "//two",
    "a//b",
    "~*'()!",
    "q?a=1&b",
)


@pytest.fixture
def sandbox(open_sandbox: Open) -> Sandbox:
    """A sandbox that verifies signatures."""
    sandbox = open_sandbox(verify_signatures=True)
    sandbox.bucket("raw")
    return sandbox


@pytest.mark.parametrize("key", ODD_KEYS)
def test_botocore_s_signatures_hold_for_any_key(sandbox: Sandbox, client: Client, key: str) -> None:
    """Path, query and copy-source header of any key are signed as the sandbox computes them."""
    s3 = client("s3", sandbox)
    s3.put_object(Bucket="raw", Key=key, Body=b"x", Metadata={"two": "a  b"})
    assert s3.get_object(Bucket="raw", Key=key)["Body"].read() == b"x"
    assert s3.list_objects_v2(Bucket="raw", Prefix=key, StartAfter="")["KeyCount"] == 1
    s3.copy_object(Bucket="raw", Key=key + "2", CopySource={"Bucket": "raw", "Key": key})
    s3.delete_objects(Bucket="raw", Delete={"Objects": [{"Key": "a b"}]})


def test_a_virtual_host_is_signed_without_the_bucket_in_its_path(sandbox: Sandbox) -> None:
    """``bucket.localhost`` names the bucket; the whole path is the key, unchanged."""
    port = urlsplit(sandbox.endpoint_url).port
    request = signed("PUT", f"http://raw.localhost:{port}/a//../b%20c", b"hello")
    connection = http.client.HTTPConnection(urlsplit(sandbox.endpoint_url).netloc, timeout=5)
    headers = {**dict(request.headers), "Host": f"raw.localhost:{port}"}
    connection.request("PUT", "/a//../b%20c", b"hello", headers)
    assert connection.getresponse().status == 200
    connection.close()
    assert sandbox.keys("raw") == ["a//../b c"]


def test_other_services_sign_differently(sandbox: Sandbox, client: Client) -> None:
    """JSON and query services are verified too."""
    rekognition, sts = client("rekognition", sandbox), client("sts", sandbox)
    with pytest.raises(ClientError, match="InvalidS3ObjectException"):
        rekognition.detect_labels(Image={"S3Object": {"Bucket": "raw", "Name": "é"}})
    assert sts.get_caller_identity()["Account"]


@pytest.mark.parametrize(
    ("service", "operation", "settings", "code"),
    [
        ("s3", "list_buckets", {"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ("rekognition", "describe_project_versions", {"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
        ("sts", "get_caller_identity", {"aws_secret_access_key": "wrong"}, "SignatureDoesNotMatch"),
        ("s3", "list_buckets", {"aws_access_key_id": "AKIAOTHER"}, "InvalidAccessKeyId"),
    ],
)
def test_a_wrong_secret_is_refused(
    sandbox: Sandbox, client: Client, service: str, operation: str, settings: dict[str, str], code: str
) -> None:
    """The error of each service has its own code."""
    act = getattr(client(service, sandbox, **settings), operation)
    more = {"ProjectArn": "arn:aws:rekognition:us-east-1:1:project/p/1"} if service == "rekognition" else {}
    with pytest.raises(ClientError) as caught:
        act(**more)
    assert caught.value.response["Error"]["Code"] == code


def test_an_unsigned_request_is_refused(sandbox: Sandbox) -> None:
    """A request without Authorization is refused."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{sandbox.endpoint_url}/raw?list-type=2")
    with caught.value as answer:
        assert answer.status == 403
        assert b"<Code>AccessDenied</Code>" in answer.read()


def test_a_presigned_request_passes_until_it_is_changed(sandbox: Sandbox, client: Client) -> None:
    """The signature in the query covers the query."""
    sandbox.put("raw", "a b", b"hello")
    presigning = client("s3", sandbox, config=Config(signature_version="s3v4"))
    url = presigning.generate_presigned_url("get_object", Params={"Bucket": "raw", "Key": "a b"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"))
    caught.value.close()


def test_a_changed_body_is_refused(sandbox: Sandbox) -> None:
    """The payload hash covers the body."""
    request = signed("PUT", f"{sandbox.endpoint_url}/raw/k", b"right")
    connection = http.client.HTTPConnection(urlsplit(sandbox.endpoint_url).netloc, timeout=5)
    connection.request("PUT", "/raw/k", b"wrong", dict(request.headers))
    assert connection.getresponse().status == 403
    connection.close()


def test_streamed_uploads_pass(sandbox: Sandbox, client: Client) -> None:
    """A body without a known hash is accepted, in any framing of botocore."""
    client("s3", sandbox).upload_fileobj(io.BytesIO(b"x" * 100_000), "raw", "k")
    stored = sandbox.bucket("raw").get("k")
    assert stored is not None
    assert stored.body == b"x" * 100_000


@pytest.mark.parametrize(("off_s", "holds"), [(0, True), (880, True), (-880, True), (920, False), (-920, False)])
def test_the_clock_may_be_a_quarter_of_an_hour_off(off_s: float, holds: bool) -> None:
    """A request more than 15 minutes early or late is refused for its time."""
    request = signed("GET", "http://localhost/raw?list-type=2&prefix=a%20b", b"")
    now_s = time.time()
    if holds:
        assert signature_holds(request, SECRET_KEY, now_s=now_s + off_s)
    else:
        with pytest.raises(SkewError):
            signature_holds(request, SECRET_KEY, now_s=now_s + off_s)


def test_signed_chunks_are_a_chain() -> None:
    """The example of the S3 API reference: two chunks, each signed with the previous signature; a changed one fails.

    Source: S3 API reference, *Signature calculations for the Authorization header: transferring payload in multiple
    chunks*, with AWS's published example credentials.
    """
    signatures = (
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
    sizes = (65536, 1024, 0)
    frames = [
        f"{size:x};chunk-signature={s}\r\n".encode() + b"a" * size + b"\r\n"
        for size, s in zip(sizes, signatures, strict=True)
    ]
    headers = {
        b"host": b"s3.amazonaws.com",
        b"x-amz-date": b"20130524T000000Z",
        b"x-amz-storage-class": b"REDUCED_REDUNDANCY",
        b"x-amz-content-sha256": b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        b"content-encoding": b"aws-chunked",
        b"x-amz-decoded-content-length": b"66560",
        b"content-length": b"66824",
        b"authorization": (
            b"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            b"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
            b"x-amz-decoded-content-length;x-amz-storage-class,"
            b"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
        ),
    }
    at_s = 1369353600.0  # 2013-05-24T00:00:00Z
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    request = Request("PUT", b"/examplebucket/chunkObject.txt", headers, b"".join(frames))
    assert signature_holds(request, secret, now_s=at_s)
    forged = Request("PUT", request.target, headers, request.body.replace(b"aaaa\r\n", b"aaab\r\n", 1))
    assert not signature_holds(forged, secret, now_s=at_s)


def signed(method: str, url: str, body: bytes) -> Any:
    """A request signed by botocore; as a sandbox ``Request`` for GET, botocore's own otherwise."""
    request = AWSRequest(method=method, url=url, data=body)
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
    if method != "GET":
        return request
    split = urlsplit(url)
    headers = {name.lower().encode(): str(value).encode() for name, value in request.headers.items()}
    return Request(method, f"{split.path}?{split.query}".encode(), {**headers, b"host": split.netloc.encode()}, body)


def test_temporary_keys_of_a_role_are_accepted_until_they_expire(open_sandbox: Open, client: Client) -> None:
    """AssumeRole gives out keys that sign requests; after their time every service says that they have expired."""
    sandbox = open_sandbox(verify_signatures=True, any_credentials=False, session_s=60)
    role = {"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "s"}
    given = client("sts", sandbox).assume_role(**role)["Credentials"]
    keys = {
        "aws_access_key_id": given["AccessKeyId"],
        "aws_secret_access_key": given["SecretAccessKey"],
        "aws_session_token": given["SessionToken"],
    }
    assert 0 < given["Expiration"].timestamp() - time.time() <= 61
    s3, sts = client("s3", sandbox, **keys), client("sts", sandbox, **keys)
    s3.list_buckets()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client("s3", sandbox, **{**keys, "aws_secret_access_key": "other"}).list_buckets()
    real = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncfilter.sandbox.access.time.time", lambda: real() + 61)
        for call in (s3.list_buckets, sts.get_caller_identity):
            with pytest.raises(ClientError, match="ExpiredToken"):
                call()


@pytest.mark.parametrize("parameters", [{"RoleArn": ""}, {"DurationSeconds": "soon"}], ids=["role", "duration"])
def test_a_role_that_cannot_be_assumed_is_refused(
    open_sandbox: Open, client: Client, parameters: dict[str, Any]
) -> None:
    """AssumeRole checks what it is given."""
    role = {"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "s", **parameters}
    with pytest.raises(ClientError, match="ValidationError"):
        client("sts", open_sandbox()).assume_role(**role)
