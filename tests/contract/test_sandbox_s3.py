"""The behaviour of S3, tested on the sandbox and on moto alike, which checks the sandbox itself.

Where moto deviates from S3 (facts on moto 5.2.1) the sandbox alone is tested.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from anyio.from_thread import start_blocking_portal
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from asyncfilter.sandbox import BucketSpec, ConditionalWrites, Sandbox, SandboxOptions, SyntheticSpec, parse_fault

ODD_KEYS = (
    "a b",
    "a+b",
    "100%",
    "%20",
    "é/é",
    "😀.jpg",
    "../up",
    "./here",
    "a//b",
    "/leading",
    "//two",
    "q?versionId=1",
    "semi;colon&amp=1",
    "<tag>\"quote'",
    "~tilde!*()",
    "x" * 1024,
)
BOTH = pytest.mark.parametrize("server", ["sandbox", "moto"], indirect=True)
SANDBOX = pytest.mark.parametrize("server", ["sandbox"], indirect=True)


@dataclass
class Server:
    """An S3 client of a server; ``bucket`` is new."""

    s3: Any
    bucket: str

    def put(self, key: str, body: bytes = b"x", **more: Any) -> str:
        return str(self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)["ETag"])

    def keys(self, **more: Any) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **more)
        return [row["Key"] for page in pages for row in page.get("Contents", [])]

    def copy(self, source: str, target: str, **more: Any) -> Any:
        return self.s3.copy_object(
            Bucket=self.bucket, Key=target, CopySource={"Bucket": self.bucket, "Key": source}, **more
        )


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], Any]]:
    """One server of each kind for the module, started at its first use."""
    with ExitStack() as stack:
        clients: dict[str, Any] = {}

        def start(kind: str) -> Any:
            if kind not in clients:
                url = _sandbox_url(stack) if kind == "sandbox" else _moto_url(stack)
                clients[kind] = stack.enter_context(_closing(_client(url)))
            return clients[kind]

        yield start


def _sandbox_url(stack: ExitStack) -> str:
    options = SandboxOptions(
        buckets=(BucketSpec("far", "eu-central-1"),),
        synthetic=(SyntheticSpec("many", 2500, "raw/{class}/{n}.jpg"),),
        archived=("*/archived.jpg",),
        kms_denied=("*/kms.jpg",),
        denied=("*/denied.jpg",),
    )
    portal = stack.enter_context(start_blocking_portal())
    return str(stack.enter_context(portal.wrap_async_context_manager(Sandbox(options))).endpoint_url)


def _moto_url(stack: ExitStack) -> str:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    stack.callback(server.stop)
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def _client(url: str, **settings: Any) -> Any:
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    settings = {
        "region_name": "us-east-1",
        "aws_access_key_id": "AKIATEST",
        "aws_secret_access_key": "secret",
    } | settings
    return boto3.session.Session().client("s3", endpoint_url=url, config=config, **settings)


class _closing(ExitStack):  # noqa: N801 - a context manager, named like those of contextlib
    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self.callback(client.close)

    def __enter__(self) -> Any:
        super().__enter__()
        return self.client


@pytest.fixture
def server(request: pytest.FixtureRequest, servers: Callable[[str], Any]) -> Server:
    """A server with a new bucket named after the test."""
    s3 = servers(request.param)
    bucket = f"b-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]}"
    s3.create_bucket(Bucket=bucket)
    return Server(s3, bucket)


def refused(code: str, status: int, act: Callable[[], object]) -> Any:
    """The error response of ``act``; checks code and status."""
    with pytest.raises(ClientError) as caught:
        act()
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    return response


# Objects


@BOTH
def test_what_was_put_is_given_back(server: Server) -> None:
    """An object keeps bytes, metadata, content type and the MD5 as its ETag."""
    etag = server.put("k", b"hello", Metadata={"a": "b"}, ContentType="image/jpeg")
    got = server.s3.get_object(Bucket=server.bucket, Key="k")
    assert got["Body"].read() == b"hello"
    assert etag == got["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert (got["Metadata"], got["ContentType"], got["ContentLength"]) == ({"a": "b"}, "image/jpeg", 5)
    head = server.s3.head_object(Bucket=server.bucket, Key="k")
    assert (head["ETag"], head["Metadata"], head["ContentLength"]) == (etag, {"a": "b"}, 5)


@BOTH
@pytest.mark.parametrize(
    ("wanted", "given"), [("bytes=0-3", b"0123"), ("bytes=4-", b"456789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")]
)
def test_a_range_gives_its_bytes(server: Server, wanted: str, given: bytes) -> None:
    """A ranged GET gives exactly that range, with its position in the header."""
    server.put("k", b"0123456789")
    got = server.s3.get_object(Bucket=server.bucket, Key="k", Range=wanted)
    assert got["Body"].read() == given
    assert got["ContentRange"].endswith("/10")


@BOTH
def test_a_range_beyond_the_end_is_refused(server: Server) -> None:
    """416 InvalidRange."""
    server.put("k", b"0123456789")
    refused("InvalidRange", 416, lambda: server.s3.get_object(Bucket=server.bucket, Key="k", Range="bytes=10-"))


@BOTH
def test_missing_objects_and_buckets(server: Server) -> None:
    """GET names the missing key or bucket; HEAD has no body and answers 404 only."""
    s3 = server.s3
    refused("NoSuchKey", 404, lambda: s3.get_object(Bucket=server.bucket, Key="nope"))
    refused("404", 404, lambda: s3.head_object(Bucket=server.bucket, Key="nope"))
    refused("NoSuchBucket", 404, lambda: s3.list_objects_v2(Bucket="no-such-bucket-at-all"))
    refused("404", 404, lambda: s3.head_bucket(Bucket="no-such-bucket-at-all"))


@BOTH
def test_a_conditional_put_never_overwrites(server: Server) -> None:
    """``If-None-Match: *`` allows one put."""
    server.put("k", b"1", IfNoneMatch="*")
    refused("PreconditionFailed", 412, lambda: server.put("k", b"2", IfNoneMatch="*"))
    assert server.s3.get_object(Bucket=server.bucket, Key="k")["Body"].read() == b"1"


def test_a_put_on_condition_of_an_etag(open_sandbox: Callable[..., Any], client: Callable[..., Any]) -> None:
    """``If-Match``: 412 for another ETag, 404 without an object; S3 has no other ``If-None-Match`` than ``*``."""
    sandbox = open_sandbox(buckets=(BucketSpec("state"),), faults=(parse_fault("conflict@*/raced=1x"),))
    s3 = client("s3", sandbox)
    put = partial(s3.put_object, Bucket="state", Key="k", Body=b"2")
    refused("NoSuchKey", 404, lambda: put(IfMatch='"other"'))
    etag = s3.put_object(Bucket="state", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", 412, lambda: put(IfMatch='"other"'))
    refused("NotImplemented", 501, lambda: put(IfNoneMatch=etag))
    assert sandbox.bucket("state").get("k").body == b"1"
    put(IfMatch=etag)
    refused("PreconditionFailed", 412, lambda: put(IfMatch=etag))
    s3.delete_object(Bucket="state", Key="k")
    refused("NoSuchKey", 404, lambda: put(IfMatch=etag))
    raced = partial(s3.put_object, Bucket="state", Key="raced", Body=b"1", IfNoneMatch="*")
    refused("ConditionalRequestConflict", 409, raced)
    raced()
    assert sandbox.keys("state") == ["raced"]


@pytest.mark.parametrize("condition", [{"IfMatch": '"other"'}, {"IfNoneMatch": "*"}])
def test_a_store_without_conditional_writes(
    open_sandbox: Callable[..., Any], client: Callable[..., Any], condition: dict[str, str]
) -> None:
    """It ignores the conditions of puts and copies, or refuses them with 501; those of reads it obeys."""
    for how in (ConditionalWrites.IGNORED, ConditionalWrites.REFUSED):
        s3 = client("s3", open_sandbox(buckets=(BucketSpec("state"),), conditional_writes=how))
        s3.put_object(Bucket="state", Key="k", Body=b"1")
        s3.put_object(Bucket="state", Key="l", Body=b"2")
        put = partial(s3.put_object, Bucket="state", Key="k", Body=b"2", **condition)
        copy = partial(s3.copy_object, Bucket="state", Key="k", CopySource="state/l", **condition)
        for write in (put, copy):
            if how is ConditionalWrites.IGNORED:
                write()
            else:
                refused("NotImplemented", 501, write)
        assert s3.get_object(Bucket="state", Key="k")["Body"].read() == (b"2" if how == "ignored" else b"1")
        refused("PreconditionFailed", 412, partial(s3.get_object, Bucket="state", Key="k", IfMatch='"other"'))


@BOTH
def test_a_conditional_delete_spares_what_changed(server: Server) -> None:
    """``If-Match`` on a delete: 412 for another ETag, 404 for no object, 204 otherwise."""
    etag = server.put("k", b"1")
    s3, bucket = server.s3, server.bucket
    refused("PreconditionFailed", 412, lambda: s3.delete_object(Bucket=bucket, Key="k", IfMatch='"other"'))
    assert server.keys() == ["k"]
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert server.keys() == []
    assert s3.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204


@BOTH
@pytest.mark.parametrize("key", ODD_KEYS)
def test_any_key_is_taken_literally(server: Server, key: str) -> None:
    """A key is listed, read, copied and deleted as it was written: no normalisation, no double decoding."""
    server.put(key, key.encode())
    assert server.keys() == [key]
    assert server.s3.get_object(Bucket=server.bucket, Key=key)["Body"].read() == key.encode()
    server.copy(key, "copy")
    assert server.s3.get_object(Bucket=server.bucket, Key="copy")["Body"].read() == key.encode()
    server.s3.delete_objects(Bucket=server.bucket, Delete={"Objects": [{"Key": key}]})
    assert server.keys() == ["copy"]


@SANDBOX
@pytest.mark.parametrize("key", ["line\nbreak", "tab\there", "return\rhere", "bell\x07"])
def test_control_characters_in_keys(server: Server, key: str) -> None:
    """Keys with control characters survive a listing under ``encoding-type=url`` and a single delete."""
    server.put(key, b"x")
    server.copy(key, f"copy of {key}")
    assert server.keys() == sorted([key, f"copy of {key}"])
    server.s3.delete_object(Bucket=server.bucket, Key=key)
    assert server.keys() == [f"copy of {key}"]


@SANDBOX
def test_a_key_of_1025_bytes_is_too_long(server: Server) -> None:
    """1,024 bytes of UTF-8 are the limit."""
    server.put("é" * 512)
    refused("KeyTooLongError", 400, lambda: server.put("é" * 512 + "x"))


# Listing


@BOTH
def test_a_listing_is_in_utf8_order(server: Server) -> None:
    """Keys are sorted by their UTF-8 bytes, not by UTF-16 or a locale."""
    keys = ["a", "B", "é", "e\u0301", "\uffee", "😀", "a/b", "a-b", "a.b", "Z", "~"]
    for key in keys:
        server.put(key)
    assert server.keys() == sorted(keys, key=lambda key: key.encode())


@BOTH
def test_pages_join_without_gap_or_repetition(server: Server) -> None:
    """With any page size, prefix and start, the pages together are the listing."""
    keys = sorted(f"{folder}/{number:02}" for folder in "abc" for number in range(7))
    for key in keys:
        server.put(key)
    for size in (1, 3, 7, 8, 100):
        assert server.keys(PaginationConfig={"PageSize": size}) == keys
    assert server.keys(Prefix="b/", PaginationConfig={"PageSize": 2}) == keys[7:14]
    assert server.keys(StartAfter="b/03", PaginationConfig={"PageSize": 2}) == keys[11:]
    assert server.keys(Prefix="b/", StartAfter="c") == []


@BOTH
def test_a_delimiter_folds_folders(server: Server) -> None:
    """Each common prefix is listed once, counts as a key, and is not repeated on the next page."""
    for key in ("a", "b/1", "b/2", "b/3", "c/1", "d"):
        server.put(key)
    first = server.s3.list_objects_v2(Bucket=server.bucket, Delimiter="/", MaxKeys=2)
    assert [row["Key"] for row in first["Contents"]] == ["a"]
    assert [row["Prefix"] for row in first["CommonPrefixes"]] == ["b/"]
    assert (first["KeyCount"], first["IsTruncated"]) == (2, True)
    rest = server.s3.list_objects_v2(
        Bucket=server.bucket, Delimiter="/", ContinuationToken=first["NextContinuationToken"]
    )
    assert [row["Key"] for row in rest["Contents"]] == ["d"]
    assert [row["Prefix"] for row in rest["CommonPrefixes"]] == ["c/"]
    assert not rest["IsTruncated"]


@SANDBOX
def test_a_page_holds_at_most_1000_keys(server: Server) -> None:
    """A request for more than 1,000 keys returns 1,000."""
    page = server.s3.list_objects_v2(Bucket="many", MaxKeys=5000)
    assert (page["KeyCount"], page["MaxKeys"], page["IsTruncated"]) == (1000, 1000, True)
    keys = [
        row["Key"]
        for page in server.s3.get_paginator("list_objects_v2").paginate(Bucket="many")
        for row in page["Contents"]
    ]
    assert len(keys) == 2500
    assert keys == sorted(set(keys))


@SANDBOX
def test_a_made_up_continuation_token_is_refused(server: Server) -> None:
    """400 InvalidArgument."""
    for token in ("nonsense", "MTIz", "é"):
        act = partial(server.s3.list_objects_v2, Bucket=server.bucket, ContinuationToken=token)
        refused("InvalidArgument", 400, act)


@BOTH
def test_the_first_version_of_listing(server: Server) -> None:
    """ListObjects pages by marker."""
    for key in ("a", "b", "c"):
        server.put(key)
    pages = server.s3.get_paginator("list_objects").paginate(Bucket=server.bucket, PaginationConfig={"PageSize": 2})
    assert [row["Key"] for page in pages for row in page["Contents"]] == ["a", "b", "c"]


# Copying


@BOTH
def test_a_copy_takes_metadata_along(server: Server) -> None:
    """Metadata and content type are copied by default and replaced on demand; the storage class is not copied."""
    server.put("a", b"1", Metadata={"m": "1"}, ContentType="image/png", StorageClass="STANDARD_IA")
    server.copy("a", "b")
    server.copy("a", "c", MetadataDirective="REPLACE", Metadata={"n": "2"}, ContentType="text/plain")
    b = server.s3.head_object(Bucket=server.bucket, Key="b")
    c = server.s3.head_object(Bucket=server.bucket, Key="c")
    assert (b["Metadata"], b["ContentType"], b.get("StorageClass")) == ({"m": "1"}, "image/png", None)
    assert (c["Metadata"], c["ContentType"]) == ({"n": "2"}, "text/plain")


@BOTH
def test_a_copy_takes_tags_along(server: Server) -> None:
    """Tags are copied by default and replaced on demand."""
    server.put("a", b"1", Tagging="k=v&x=y%20z")
    server.copy("a", "b")
    server.copy("a", "c", TaggingDirective="REPLACE", Tagging="n=1")

    def tags(key: str) -> dict[str, str]:
        rows = server.s3.get_object_tagging(Bucket=server.bucket, Key=key)["TagSet"]
        return {row["Key"]: row["Value"] for row in rows}

    assert tags("b") == {"k": "v", "x": "y z"}
    assert tags("c") == {"n": "1"}


@BOTH
def test_a_copy_of_nothing(server: Server) -> None:
    """The error names the missing source."""
    refused("NoSuchKey", 404, lambda: server.copy("nope", "b"))


@BOTH
def test_a_copy_unless_it_is_the_same(server: Server) -> None:
    """``copy-source-if-none-match`` with the source's ETag: 412."""
    etag = server.put("a", b"1")
    refused("PreconditionFailed", 412, lambda: server.copy("a", "b", CopySourceIfNoneMatch=etag))


@SANDBOX
def test_a_copy_of_what_changed_is_refused(server: Server) -> None:
    """``copy-source-if-match`` with another ETag: 412, and nothing is copied; moto copies."""
    etag = server.put("a", b"1")
    server.put("a", b"2")
    refused("PreconditionFailed", 412, lambda: server.copy("a", "b", CopySourceIfMatch=etag))
    assert server.keys() == ["a"]


@SANDBOX
def test_a_copy_never_overwrites_under_condition(server: Server) -> None:
    """``If-None-Match: *`` on the destination: 412 when an object exists; moto overwrites."""
    server.put("a", b"1")
    server.copy("a", "b", IfNoneMatch="*")
    refused("PreconditionFailed", 412, lambda: server.copy("a", "b", IfNoneMatch="*"))


@SANDBOX
def test_a_copy_onto_itself(server: Server) -> None:
    """A copy onto itself is refused unless it changes an attribute."""
    server.put("a", b"1")
    refused("InvalidRequest", 400, lambda: server.copy("a", "a"))
    server.copy("a", "a", MetadataDirective="REPLACE", Metadata={"n": "2"})
    assert server.s3.head_object(Bucket=server.bucket, Key="a")["Metadata"] == {"n": "2"}


@SANDBOX
def test_objects_that_cannot_be_read(server: Server) -> None:
    """Archived, under a denied KMS key, denied: each is refused as by S3, and HEAD distinguishes them."""
    for key in ("archived.jpg", "kms.jpg", "denied.jpg"):
        server.put(key)
    s3, bucket = server.s3, server.bucket
    refused("InvalidObjectState", 403, lambda: s3.get_object(Bucket=bucket, Key="archived.jpg"))
    refused("ObjectNotInActiveTierError", 403, lambda: server.copy("archived.jpg", "b"))
    assert s3.head_object(Bucket=bucket, Key="archived.jpg")["StorageClass"] == "GLACIER"
    assert {row["Key"]: row["StorageClass"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]} == {
        "archived.jpg": "GLACIER",
        "denied.jpg": "STANDARD",
        "kms.jpg": "STANDARD",
    }
    message = refused("AccessDenied", 403, lambda: s3.get_object(Bucket=bucket, Key="kms.jpg"))["Error"]["Message"]
    assert "kms:Decrypt" in message
    assert s3.head_object(Bucket=bucket, Key="kms.jpg")["ServerSideEncryption"] == "aws:kms"
    refused("AccessDenied", 403, lambda: server.copy("denied.jpg", "b"))
    refused("403", 403, lambda: s3.head_object(Bucket=bucket, Key="denied.jpg"))


# Deleting many


@BOTH
def test_deleting_many_keys(server: Server) -> None:
    """Every key is reported, including missing ones."""
    for key in ("a", "b & <c>", "d"):
        server.put(key)
    wanted = [{"Key": key} for key in ("a", "b & <c>", "missing")]
    answer = server.s3.delete_objects(Bucket=server.bucket, Delete={"Objects": wanted})
    assert sorted(row["Key"] for row in answer["Deleted"]) == ["a", "b & <c>", "missing"]
    assert "Errors" not in answer
    assert server.keys() == ["d"]


@SANDBOX
def test_deleting_many_keys_under_conditions(server: Server) -> None:
    """A key whose ETag differs is an error of its own and stays; moto deletes it."""
    etag = server.put("a", b"1")
    server.put("b", b"2")
    wanted = [{"Key": "a", "ETag": etag}, {"Key": "b", "ETag": etag}, {"Key": "missing", "ETag": etag}]
    answer = server.s3.delete_objects(Bucket=server.bucket, Delete={"Objects": wanted})
    assert [row["Key"] for row in answer["Deleted"]] == ["a"]
    assert {row["Key"]: row["Code"] for row in answer["Errors"]} == {"b": "PreconditionFailed", "missing": "NoSuchKey"}
    assert server.keys() == ["b"]


@SANDBOX
def test_a_quiet_delete_reports_errors_only(server: Server) -> None:
    """Quiet mode omits deleted keys; moto lists them."""
    server.put("a")
    wanted = {"Objects": [{"Key": "a"}, {"Key": "b", "ETag": "x"}], "Quiet": True}
    answer = server.s3.delete_objects(Bucket=server.bucket, Delete=wanted)
    assert "Deleted" not in answer
    assert [row["Key"] for row in answer["Errors"]] == ["b"]


@SANDBOX
def test_at_most_1000_keys_are_deleted_at_once(server: Server) -> None:
    """1,001 keys are malformed, and none is deleted; moto takes them."""
    server.put("0")
    wanted = [{"Key": str(number)} for number in range(1001)]
    refused("MalformedXML", 400, lambda: server.s3.delete_objects(Bucket=server.bucket, Delete={"Objects": wanted}))
    assert server.keys() == ["0"]


@SANDBOX
def test_a_control_character_makes_a_delete_malformed(server: Server) -> None:
    """XML 1.0 cannot carry U+0001; moto fails with 500."""
    wanted = {"Objects": [{"Key": "a\x01"}]}
    refused("MalformedXML", 400, lambda: server.s3.delete_objects(Bucket=server.bucket, Delete=wanted))


# Tags and versions


@BOTH
def test_tags_are_replaced_and_removed(server: Server) -> None:
    """A put replaces all tags."""
    server.put("a")
    s3, where = server.s3, {"Bucket": server.bucket, "Key": "a"}
    s3.put_object_tagging(**where, Tagging={"TagSet": [{"Key": "k", "Value": "v w+1"}]})
    assert s3.get_object_tagging(**where)["TagSet"] == [{"Key": "k", "Value": "v w+1"}]
    s3.delete_object_tagging(**where)
    assert s3.get_object_tagging(**where)["TagSet"] == []


@BOTH
def test_a_delete_in_a_versioned_bucket_can_be_undone(server: Server) -> None:
    """A delete adds a marker; deleting the marker restores the object; deleting a version is permanent."""
    s3, bucket = server.s3, server.bucket
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="a", Body=b"2")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="a")
    assert marker["DeleteMarker"]
    assert server.keys() == []
    refused("NoSuchKey", 404, lambda: s3.get_object(Bucket=bucket, Key="a"))
    assert s3.get_object(Bucket=bucket, Key="a", VersionId=first)["Body"].read() == b"1"
    listed = s3.list_object_versions(Bucket=bucket)
    assert [(row["VersionId"], row["IsLatest"]) for row in listed["Versions"]] == [(second, False), (first, False)]
    assert [(row["VersionId"], row["IsLatest"]) for row in listed["DeleteMarkers"]] == [(marker["VersionId"], True)]
    s3.delete_object(Bucket=bucket, Key="a", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"2"
    s3.delete_object(Bucket=bucket, Key="a", VersionId=second)
    assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"1"


@BOTH
def test_a_copy_of_an_older_version(server: Server) -> None:
    """A copy can name the source's version."""
    s3, bucket = server.s3, server.bucket
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["VersionId"]
    s3.put_object(Bucket=bucket, Key="a", Body=b"2")
    source = {"Bucket": bucket, "Key": "a", "VersionId": first}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source)
    assert s3.get_object(Bucket=bucket, Key="b")["Body"].read() == b"1"


# Buckets and regions


@BOTH
def test_the_region_of_a_bucket_is_reported(server: Server) -> None:
    """HEAD and GetBucketLocation agree; us-east-1 has an empty location."""
    s3 = server.s3
    location = {"LocationConstraint": "eu-west-1"}
    with _closing(_client(s3.meta.endpoint_url, region_name="eu-west-1")) as there:
        there.create_bucket(Bucket=f"{server.bucket}-eu", CreateBucketConfiguration=location)
        assert there.get_bucket_location(Bucket=f"{server.bucket}-eu")["LocationConstraint"] == "eu-west-1"
        assert there.head_bucket(Bucket=f"{server.bucket}-eu")["BucketRegion"] == "eu-west-1"
    assert s3.get_bucket_location(Bucket=server.bucket)["LocationConstraint"] is None


@SANDBOX
def test_a_bucket_of_another_region(server: Server) -> None:
    """A request signed for the wrong region is refused with the right one named, and botocore uses that."""
    url = server.s3.meta.endpoint_url
    with (
        _closing(_client(url, region_name="us-east-1")) as classic,
        _closing(_client(url, region_name="us-west-2")) as other,
    ):
        for s3 in (classic, other):
            assert s3.head_bucket(Bucket="far")["BucketRegion"] == "eu-central-1"
            assert s3.get_bucket_location(Bucket="far")["LocationConstraint"] == "eu-central-1"


@SANDBOX
@pytest.mark.parametrize(
    ("region", "status", "code"),
    [("us-east-1", 400, b"AuthorizationHeaderMalformed"), ("us-west-2", 301, b"PermanentRedirect")],
)
def test_how_a_wrong_region_is_reported(server: Server, region: str, status: int, code: bytes) -> None:
    """The header names the right region on every method, the body on GET only: HEAD has none."""
    host = urlsplit(server.s3.meta.endpoint_url).netloc
    scope = f"AWS4-HMAC-SHA256 Credential=AK/20260101/{region}/s3/aws4_request, SignedHeaders=host, Signature=0"
    for method, path in (("GET", "/far?list-type=2"), ("HEAD", "/far"), ("HEAD", "/far/k"), ("PUT", "/far/k")):
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request(method, path, headers={"Authorization": scope})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert (answer.status, answer.headers["x-amz-bucket-region"]) == (status, "eu-central-1")
        assert (code in body) == (method != "HEAD")


@SANDBOX
def test_expected_owner(server: Server) -> None:
    """A bucket of another owner than expected is refused; moto does not check."""
    act = server.s3.list_objects_v2
    act(Bucket=server.bucket, ExpectedBucketOwner="123456789012")
    refused("AccessDenied", 403, lambda: act(Bucket=server.bucket, ExpectedBucketOwner="210987654321"))


@BOTH
def test_a_bucket_with_objects_is_not_deleted(server: Server) -> None:
    """Deleting a bucket is refused with BucketNotEmpty until it is empty."""
    server.put("a")
    refused("BucketNotEmpty", 409, lambda: server.s3.delete_bucket(Bucket=server.bucket))
    server.s3.delete_object(Bucket=server.bucket, Key="a")
    server.s3.delete_bucket(Bucket=server.bucket)
    assert server.bucket not in [row["Name"] for row in server.s3.list_buckets()["Buckets"]]
