"""Errors found before the first paid call, and the meaning of AWS's own settings on the fast path."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from asyncfilter.aws import open_aws, open_clients, open_detector, open_store
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.clients.signing import ServiceClock
from asyncfilter.aws.model_state import ModelState, describe_model
from asyncfilter.aws.session import AwsSession
from asyncfilter.errors import (
    AccessError,
    BucketNotFoundError,
    CredentialsError,
    EndpointError,
    PermissionDeniedError,
    RegionMismatchError,
    TransientError,
    UsageError,
)
from asyncfilter.job.spec import Action, Aws, ClientKind, DetectorKind, DetectorSpec, Job, SourceSpec
from asyncfilter.model import ActionKind, ObjectRef, Verdict
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.sandbox.access import DenyRule
from asyncfilter.sandbox.faults import Fault, FaultKind
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.kit.jobs import make_bare_job
from tests.kit.services import aws_settings

EUROPE = "eu-west-1"
OPTIONS = SandboxOptions(
    buckets=(BucketSpec("raw"), BucketSpec("clean"), BucketSpec("far", EUROPE), BucketSpec("locked")),
    deny=(DenyRule("*", "locked/*"),),
    verify_signatures=True,
)


def job(
    *,
    bucket: str = "raw",
    target: str = "clean",
    detector: DetectorSpec | None = None,
    aws: Aws | None = None,
) -> Job:
    """A job over these buckets."""
    return replace(
        make_bare_job(),
        source=SourceSpec(bucket=bucket),
        detector=detector or DetectorSpec(),
        actions={Verdict.KEEP: Action(kind=ActionKind.COPY, target=f"s3://{target}/{{key}}")},
        aws=aws or Aws(),
    )


@pytest.fixture(autouse=True)
def bare_environment() -> Iterator[None]:
    """No AWS setting of this machine reaches a test."""
    with aws_settings(AWS_EC2_METADATA_DISABLED="true"):
        yield


def set_keys(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Credentials from environment variables, and further settings."""
    both = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": EUROPE, **settings}
    for name, value in both.items():
        monkeypatch.setenv(name, value)


async def opened(one: Job) -> tuple[str, str]:
    """Open the job's ports and list the source; the regions of detector and bucket."""
    async with open_aws(one.aws, timeout_s=2, connections=5) as session, open_clients(one.aws, session) as clients:
        store = await open_store(one, clients)
        _, region = await open_detector(one, clients, bucket_region=store.region)
        await store.source.page(None)
        return region, store.region


# -- Preflight ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", list(ClientKind))
async def test_a_job_that_can_work_opens(monkeypatch: pytest.MonkeyPatch, client: ClientKind) -> None:
    """The detector's region is the bucket's under any settings; a target may be in another region."""
    async with Sandbox(OPTIONS) as sandbox:
        set_keys(monkeypatch, **sandbox.environment())
        assert await opened(job(aws=Aws(client=client))) == ("us-east-1", "us-east-1")
        assert await opened(job(bucket="far", aws=Aws(client=client))) == (EUROPE, EUROPE)


MODEL = DetectorSpec(kind=DetectorKind.CUSTOM_LABELS, model=DEFAULT_MODEL_ARN)


@pytest.mark.parametrize("client", list(ClientKind))
@pytest.mark.parametrize(
    ("parts", "kind", "words", "hint"),
    [
        ({"bucket": "no-such"}, BucketNotFoundError, "no-such", "name"),
        ({"target": "no-such"}, BucketNotFoundError, "no-such", "name"),
        ({"bucket": "locked"}, PermissionDeniedError, "locked", "s3:ListBucket"),
        ({"detector": DetectorSpec(region=EUROPE)}, RegionMismatchError, "us-east-1", "detector.region"),
        ({"bucket": "far", "detector": MODEL}, RegionMismatchError, "us-east-1", "CopyProjectVersion"),
        (
            {"detector": DetectorSpec(kind=DetectorKind.CUSTOM_LABELS, model="birds")},
            AccessError,
            "birds",
            "detector.model",
        ),
        ({"bucket": "Not A Bucket!"}, AccessError, "Not A Bucket!", "Correct the value"),
        ({"bucket": "raw--use1-az4--x-s3"}, UsageError, "directory bucket", "general purpose"),
    ],
)
async def test_a_job_that_cannot_work_is_refused_with_the_cause(
    monkeypatch: pytest.MonkeyPatch,
    client: ClientKind,
    parts: dict[str, Any],
    kind: type[AccessError],
    words: str,
    hint: str,
) -> None:
    """The error gives the cause, the value seen and the key or permission to change, before anything is paid."""
    options = OPTIONS
    if "--x-s3" in parts.get("bucket", ""):
        options = SandboxOptions(buckets=(*OPTIONS.buckets, BucketSpec(parts["bucket"])))
    async with Sandbox(options) as sandbox:
        set_keys(monkeypatch, **sandbox.environment())
        with pytest.raises(kind, match=words) as caught:
            await opened(job(aws=Aws(client=client), **parts))
        assert hint in (caught.value.hint or "")
        assert "DetectLabels" not in sandbox.stats().operations


@pytest.mark.parametrize("client", list(ClientKind))
async def test_credentials_that_aws_does_not_know_are_named(
    monkeypatch: pytest.MonkeyPatch, client: ClientKind
) -> None:
    """A wrong secret is reported as a wrong signature."""
    async with Sandbox(OPTIONS) as sandbox:
        for wrong in ({"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}):
            set_keys(monkeypatch, **{**sandbox.environment(), **wrong})
            with pytest.raises(CredentialsError) as caught:
                await opened(job(aws=Aws(client=client)))
            assert caught.value.hint


@pytest.mark.parametrize("client", list(ClientKind))
async def test_a_session_that_expired_is_named(monkeypatch: pytest.MonkeyPatch, client: ClientKind) -> None:
    """S3 answers HTTP 400, without a body to HEAD; it must not be mistaken for another error."""
    expired = (Fault(FaultKind.EXPIRED, 1.0, operation="*"),)
    async with Sandbox(SandboxOptions(buckets=OPTIONS.buckets, faults=expired)) as sandbox:
        set_keys(monkeypatch, **sandbox.environment())
        with pytest.raises(CredentialsError) as caught:
            await opened(job(aws=Aws(client=client)))
        assert "aws sso login" in (caught.value.hint or "")


@pytest.mark.parametrize("client", list(ClientKind))
async def test_trouble_that_passes_does_not_stop_a_job(monkeypatch: pytest.MonkeyPatch, client: ClientKind) -> None:
    """A throttle or a transient fault is repeated a few times."""
    passing = (Fault(FaultKind.SLOW_DOWN, operation="*", times=1),)
    async with Sandbox(SandboxOptions(buckets=OPTIONS.buckets, faults=passing)) as sandbox:
        set_keys(monkeypatch, **sandbox.environment())
        monkeypatch.setattr("asyncfilter.aws.preflight._PAUSE_S", 0.0)
        one = job(aws=Aws(client=client))
        assert await opened(one) == ("us-east-1", "us-east-1")


@pytest.mark.parametrize("client", list(ClientKind))
async def test_an_endpoint_where_nothing_answers_is_named(monkeypatch: pytest.MonkeyPatch, client: ClientKind) -> None:
    """Refused connections and unknown hosts are configuration errors until a first request succeeded."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for url in (refused, "http://no-such-host.invalid"):
            set_keys(monkeypatch, AWS_ENDPOINT_URL=url)
            with pytest.raises(EndpointError) as caught:
                await opened(job(aws=Aws(client=client)))
            assert "AWS_ENDPOINT_URL" in (caught.value.hint or "")


@pytest.mark.parametrize("client", list(ClientKind))
async def test_rekognition_s_own_endpoint_is_tried_too(monkeypatch: pytest.MonkeyPatch, client: ClientKind) -> None:
    """An unreachable Rekognition is found although S3 answers."""
    async with Sandbox(OPTIONS) as sandbox:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            refused = f"http://127.0.0.1:{unused.getsockname()[1]}"
            set_keys(monkeypatch, **sandbox.environment(), AWS_ENDPOINT_URL_REKOGNITION=refused)
            with pytest.raises(EndpointError, match="rekognition"):
                await opened(job(aws=Aws(client=client)))


# -- Credentials -------------------------------------------------------------------------------------------------------

SSO_PROFILE = """
[profile sso]
sso_session = s
sso_account_id = 123456789012
sso_role_name = r
[sso-session s]
sso_region = us-east-1
sso_start_url = https://example.invalid/start
"""


@pytest.mark.parametrize(
    ("config", "profile", "hint"),
    [
        ("", None, "AWS_ACCESS_KEY_ID"),
        ("", "no-such-profile", "profile"),
        (SSO_PROFILE, "sso", "aws sso login"),
        ("[profile half]\naws_access_key_id = AKIA\n", "half", "AWS_SECRET_ACCESS_KEY"),
        ("[profile role]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = gone\n", "role", "profile"),
        ("[profile process]\ncredential_process = false\n", "process", "profile"),
    ],
)
async def test_credentials_that_are_missing_come_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str, profile: str | None, hint: str
) -> None:
    """No credentials, an unknown profile, an expired SSO login, half a key: each one sentence, no traceback."""
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(CredentialsError) as caught:
        async with open_aws(Aws(profile=profile, region="us-east-1"), timeout_s=1, connections=1):
            pytest.fail("the session opened")
    assert hint in (caught.value.hint or "")


async def test_keys_that_expire_are_renewed_in_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keys of a credential process are renewed before they expire, while requests continue."""
    now = dt.datetime.now(dt.UTC)
    expires = (now + dt.timedelta(minutes=5)).isoformat()
    soon = (now + dt.timedelta(minutes=4)).timestamp()
    script = tmp_path / "keys.sh"
    script.write_text(
        f"#!/bin/sh\necho x >> {tmp_path}/calls\nN=$(wc -l < {tmp_path}/calls)\n"
        'echo "{\\"Version\\": 1, \\"AccessKeyId\\": \\"AKIA$((N))\\", \\"SecretAccessKey\\": \\"s\\",'
        f' \\"SessionToken\\": \\"t\\", \\"Expiration\\": \\"{expires}\\"}}"\n'
    )
    script.chmod(0o755)
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with open_aws(Aws(region="us-east-1"), timeout_s=1, connections=1) as session:
        first = await session.keys()
        later = SimpleNamespace(time=lambda: soon, monotonic=lambda: math.inf)
        monkeypatch.setattr("asyncfilter.aws.credentials.time", later)
        second = await session.keys()
    assert first.token == "t"
    assert second.access_key != first.access_key


# -- Endpoints ---------------------------------------------------------------------------------------------------------


async def placed(session: AwsSession, bucket: str = "raw-images") -> tuple[str, str, str]:
    """Origin, base path and region of a bucket whose region is known."""
    session._regions[bucket] = EUROPE
    place = await session.place(bucket)
    return place.origin, place.base_path, place.region


PATH_STYLE = "[default]\ns3 =\n  addressing_style = path\n"
DUAL = "[default]\nuse_dualstack_endpoint = true\n"
IN_FILE = "[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = http://127.0.0.1:7000\n"


@pytest.mark.parametrize(
    ("config", "settings", "bucket", "expected"),
    [
        ("", {}, "raw-images", ("https://raw-images.s3.eu-west-1.amazonaws.com", "")),
        ("", {}, "raw.images", ("https://s3.eu-west-1.amazonaws.com", "/raw.images")),
        (PATH_STYLE, {}, "raw-images", ("https://s3.eu-west-1.amazonaws.com", "/raw-images")),
        (DUAL, {}, "raw-images", ("https://raw-images.s3.dualstack.eu-west-1.amazonaws.com", "")),
        ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, "raw-images", ("http://127.0.0.1:9000", "/raw-images")),
        ("", {"AWS_ENDPOINT_URL_S3": "https://s3.test:443/x"}, "raw-images", ("https://s3.test", "/x/raw-images")),
        (IN_FILE, {}, "raw-images", ("http://127.0.0.1:7000", "/raw-images")),
        (
            "",
            {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "raw-images",
            ("https://raw-images.s3.eu-west-1.amazonaws.com", ""),
        ),
    ],
)
async def test_buckets_are_reached_where_botocore_would(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: str,
    settings: Mapping[str, str],
    bucket: str,
    expected: tuple[str, str],
) -> None:
    """Virtual hosts, path style for dots and own endpoints, dual stack, overrides in environment and file."""
    (tmp_path / "config").write_text(config)
    set_keys(monkeypatch, AWS_CONFIG_FILE=str(tmp_path / "config"), **settings)
    async with open_aws(Aws(), timeout_s=1, connections=1) as session:
        assert await placed(session, bucket) == (*expected, EUROPE)


async def test_services_are_reached_where_botocore_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """FIPS endpoints, and the override for one service alone."""
    set_keys(monkeypatch, AWS_USE_FIPS_ENDPOINT="true")
    async with open_aws(Aws(), timeout_s=1, connections=1) as session:
        endpoint = await session.endpoint("rekognition", "us-east-1")
    assert (endpoint.origin, endpoint.region) == ("https://rekognition-fips.us-east-1.amazonaws.com", "us-east-1")
    monkeypatch.delenv("AWS_USE_FIPS_ENDPOINT")
    monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", "http://[::1]:8000")
    async with open_aws(Aws(), timeout_s=1, connections=1) as session:
        endpoint = await session.endpoint("rekognition", "us-east-1")
        s3 = await placed(session)
    assert (endpoint.origin, endpoint.host) == ("http://[::1]:8000", "[::1]:8000")
    assert s3[0] == "https://raw-images.s3.eu-west-1.amazonaws.com"


async def test_proxies_are_used_unless_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY applies to AWS; NO_PROXY exempts the hosts it names."""
    set_keys(monkeypatch, HTTPS_PROXY="http://proxy.test:3128", NO_PROXY="127.0.0.1", HTTP_PROXY="http://plain.test:1")
    async with open_aws(Aws(), timeout_s=1, connections=1) as session:
        assert (await session.endpoint("rekognition", EUROPE)).proxy == "http://proxy.test:3128"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    async with open_aws(Aws(), timeout_s=1, connections=1) as session:
        assert (await session.endpoint("rekognition", EUROPE)).proxy is None


@pytest.mark.parametrize("client", list(ClientKind))
async def test_a_proxy_that_is_set_carries_the_requests(monkeypatch: pytest.MonkeyPatch, client: ClientKind) -> None:
    """A sandbox that serves as the proxy receives requests for a host that does not exist."""
    seen: list[bytes] = []

    async def proxy(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            seen.append((await stream.receive()).partition(b"\r\n")[0])
            await stream.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, proxy)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        set_keys(monkeypatch, AWS_ENDPOINT_URL="http://aws.invalid", HTTP_PROXY=f"http://127.0.0.1:{port}")
        with pytest.raises(EndpointError, match="407"):
            await opened(job(aws=Aws(client=client)))
        tasks.cancel_scope.cancel()
    assert b"http://aws.invalid/" in seen[0]


async def test_a_ca_bundle_that_is_set_is_the_one_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """AWS_CA_BUNDLE replaces the built-in authorities; an invalid bundle is an error and is not ignored."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate")
    set_keys(monkeypatch, AWS_CA_BUNDLE=str(bundle))
    with pytest.raises(EndpointError, match=r"ca\.pem"):
        async with open_aws(Aws(), timeout_s=1, connections=1):
            pytest.fail("the account opened")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 of an untrusted authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


async def test_tls_is_checked_against_the_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A private certificate works with AWS_CA_BUNDLE and is refused without it, with the remedy."""
    trusted, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", ssl=context) as server:
        set_keys(monkeypatch, AWS_ENDPOINT_URL=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for bundle in (None, trusted):
            if bundle:
                monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
            async with (
                open_aws(Aws(), timeout_s=2, connections=1) as session,
                open_signed_client(session) as signed_client,
            ):
                endpoint = await session.endpoint("rekognition", EUROPE)
                if bundle:
                    await signed_client.reach(endpoint)
                    continue
                with pytest.raises(EndpointError) as caught:
                    await signed_client.reach(endpoint)
                assert "AWS_CA_BUNDLE" in (caught.value.hint or "")


# -- The clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["list", "head", "detect"])
async def test_a_wrong_clock_is_set_by_aws_s_own(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """With a wrong clock one attempt fails as transient and unbilled, every later one is signed with AWS's time."""
    from asyncfilter.aws.clients.fast import FastDetect, FastS3

    async with Sandbox(OPTIONS) as sandbox:
        set_keys(monkeypatch, **sandbox.environment())
        image = ObjectRef(bucket="raw", key="robin/1.jpg", size_bytes=1, etag="e", seq=1)
        late = ServiceClock(lambda: dt.datetime.now(dt.UTC).timestamp() - 7200)
        async with (
            open_aws(Aws(), timeout_s=2, connections=1) as session,
            open_signed_client(session, late) as signed_client,
        ):
            s3 = FastS3(session, signed_client)
            detect = FastDetect(signed_client, await session.endpoint("rekognition", "us-east-1"), DetectorSpec())
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "list": lambda: s3.list_objects("raw", "", after=None),
                "head": lambda: s3.head_object("raw", image.key),
                "detect": lambda: detect(image.bucket, image.key),
            }
            with pytest.raises(TransientError, match="clock") as caught:
                await calls[operation]()
            assert not caught.value.may_be_billed
            await calls["list"]()


@pytest.mark.parametrize("operation", ["list", "detect"])
async def test_all_requests_that_were_signed_with_a_wrong_clock_are_repeated(
    monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """Twenty at once: none ends the run, although the first response has corrected the clock before the others."""
    from asyncfilter.aws.clients.fast import FastDetect, FastS3

    async with Sandbox(OPTIONS) as sandbox:
        set_keys(monkeypatch, **sandbox.environment())
        late = ServiceClock(lambda: dt.datetime.now(dt.UTC).timestamp() - 7200)
        async with (
            open_aws(Aws(), timeout_s=2, connections=1) as session,
            open_signed_client(session, late) as signed_client,
        ):
            s3 = FastS3(session, signed_client)
            detect = FastDetect(signed_client, await session.endpoint("rekognition", "us-east-1"), DetectorSpec())
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "list": lambda: s3.list_objects("raw", "", after=None),
                "detect": lambda: detect("raw", "robin/1.jpg"),
            }
            await session.place("raw")
            results = await asyncio.gather(*[calls[operation]() for _ in range(20)], return_exceptions=True)
            assert {type(result) for result in results} == {TransientError}
            await calls["list"]()


PROJECT_ARN = DEFAULT_MODEL_ARN.partition("/version/")[0] + "/1700000000000"
ABOUT_MODELS = {
    b"DescribeProjects": {"ProjectDescriptions": [{"ProjectArn": PROJECT_ARN}]},
    b"DescribeProjectVersions": {
        "ProjectVersionDescriptions": [
            {"ProjectVersionArn": DEFAULT_MODEL_ARN, "Status": "RUNNING", "MinInferenceUnits": 3}
        ]
    },
}


async def test_the_state_and_units_of_a_model_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hourly price is that of the model's units; the project's ARN is requested, as the version's lacks it."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        asked.append(await reader.readexactly(length))
        operation = max((name for name in ABOUT_MODELS if name.lower() in head), key=len)
        body = msgspec.json.encode(ABOUT_MODELS[operation])
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        set_keys(monkeypatch, AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with open_aws(Aws(), timeout_s=2, connections=1) as session:
            assert await describe_model(session, DEFAULT_MODEL_ARN) == ModelState(DEFAULT_MODEL_ARN, "RUNNING", 3, 3)
            with pytest.raises(AccessError, match="no model"):
                await describe_model(session, DEFAULT_MODEL_ARN.replace("1767225600000", "1"))
    assert PROJECT_ARN.encode() in asked[1]
