"""No request leaves for a server that cannot prove that it is AWS's, whichever client makes it, proxied or not."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from botocore.credentials import SSOProvider
from botocore.loaders import Loader
from botocore.tokens import SSOTokenProvider
from botocore.utils import ContainerMetadataFetcher
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from asyncfilter.aws import open_aws, quota_tps
from asyncfilter.aws.clients.boto import BotoDetect, BotoS3
from asyncfilter.aws.clients.error_response import ErrorResponseError
from asyncfilter.aws.clients.fast import FastDetect
from asyncfilter.aws.clients.signed_http import open_signed_client
from asyncfilter.aws.errors import classify
from asyncfilter.aws.session import AwsSession
from asyncfilter.errors import AccessError, EndpointError, RegionMismatchError, UsageError
from asyncfilter.job.spec import Aws, DetectorKind, DetectorSpec
from asyncfilter.policy.quota import QuotaOrigin
from tests.kit.aws_double import (
    LOOPBACK,
    REGION,
    Authority,
    AwsDouble,
    Tunnel,
    aws_double,
    redirect,
    response,
    tunnel,
)
from tests.kit.jobs import write_job
from tests.kit.services import aws_settings
from tests.kit.workspace import COMMAND, bare_environment

TIMEOUT_S = 5.0
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "SESSION-TOKEN"}
ROLE = "arn:aws:iam::123456789012:role/r"
START_URL = "https://x.awsapps.com/start"
CONFIG = f"""
[profile source]
aws_access_key_id = AKIA
aws_secret_access_key = secret
[profile role]
role_arn = {ROLE}
source_profile = source
[profile web]
role_arn = {ROLE}
web_identity_token_file = {{folder}}/token
[profile sso]
sso_start_url = {START_URL}
sso_region = {REGION}
sso_account_id = 123456789012
sso_role_name = r
[profile sso-session]
sso_session = work
sso_account_id = 123456789012
sso_role_name = r
[sso-session work]
sso_start_url = {START_URL}
sso_region = {REGION}
[profile ec2-role]
role_arn = {ROLE}
credential_source = Ec2InstanceMetadata
[profile ecs-role]
role_arn = {ROLE}
credential_source = EcsContainer
"""


# -- The clients -------------------------------------------------------------------------------------------------------


async def fast(session: AwsSession) -> None:
    """The signed client."""
    async with open_signed_client(session) as signed_client:
        endpoint = await session.endpoint("rekognition", REGION)
        await FastDetect(signed_client, endpoint, DetectorSpec())("raw", "a.jpg")


async def fast_reach(session: AwsSession) -> None:
    """The check that the endpoint responds."""
    async with open_signed_client(session) as signed_client:
        await signed_client.reach(await session.endpoint("rekognition", REGION))


async def boto_s3(session: AwsSession) -> None:
    """S3 through aioboto3."""
    await session.bucket_region("raw")


async def boto_listing(session: AwsSession) -> None:
    """S3 through aioboto3, after the look-up of the region."""
    session._regions["raw"] = REGION
    await BotoS3(session).list_objects("raw", "", after=None)


async def boto_detect(session: AwsSession) -> None:
    """Rekognition through aioboto3."""
    await BotoDetect(session, await session.client("rekognition", REGION), DetectorSpec())("raw", "a.jpg")


async def quotas(session: AwsSession) -> None:
    """Service Quotas, whose failures are reported, since a run can start without them."""
    answer = await quota_tps(session, DetectorKind.REKOGNITION, REGION)
    if answer.origin is QuotaOrigin.DOCUMENTED:
        raise EndpointError(answer.reason or "", hint="AWS_CA_BUNDLE, AWS_ENDPOINT_URL, clock")


async def nothing(session: AwsSession) -> None:
    """The look-up of credentials, which opening the account makes, is the call."""


CLIENTS: Mapping[str, tuple[Callable[[AwsSession], Awaitable[None]], str | None]] = {
    "fast": (fast, None),
    "fast reach": (fast_reach, None),
    "aioboto3 s3": (boto_s3, None),
    "aioboto3 listing": (boto_listing, None),
    "aioboto3 rekognition": (boto_detect, None),
    "quotas": (quotas, None),
    "sts": (nothing, "role"),
    "sts web identity": (nothing, "web"),
    "sso": (nothing, "sso"),
    "sso-oidc": (nothing, "sso-session"),
}
"""What each client calls, and the profile that makes it do so; None for keys in the environment."""

BOTH = ("fast", "aioboto3 rekognition")

LOADER = Loader()
"""Of botocore's service models; reading them for each session would take most of the time."""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No AWS setting of this machine reaches a test; the profiles above, with their cached logins, do."""
    (tmp_path / "config").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "token").write_text("WEB-IDENTITY-TOKEN")
    for cached, name in ((START_URL, "sso"), ("work", "sso-session")):
        expires = "2099-01-01T00:00:00Z" if name == "sso" else dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        login = {
            "startUrl": START_URL,
            "region": REGION,
            "accessToken": "BEARER",
            "expiresAt": expires,
            "refreshToken": "REFRESH",
            "clientId": "id",
            "clientSecret": "CLIENT-SECRET",
            "registrationExpiresAt": "2099-01-01T00:00:00Z",
        }
        (tmp_path / f"{hashlib.sha1(cached.encode()).hexdigest()}.json").write_text(json.dumps(login))
    for provider in (SSOProvider, SSOTokenProvider):
        monkeypatch.setattr(provider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("botocore.session.create_loader", lambda _: LOADER)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with aws_settings(AWS_CONFIG_FILE=str(tmp_path / "config"), AWS_REGION=REGION, AWS_DEFAULT_REGION=REGION):
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


async def call(client: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> None:
    """Make the call of a client."""
    use, profile = CLIENTS[client]
    for name, value in {**({} if profile else KEYS), **environment}.items():
        monkeypatch.setenv(name, value)
    async with open_aws(Aws(profile=profile), timeout_s=TIMEOUT_S, connections=2) as session:
        await use(session)


# -- Certificates ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def server_of(
    route: str, context: ssl.SSLContext, bundle: Path | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[AwsDouble, Tunnel]]:
    """A server in AWS's place, to which the settings lead directly or through a proxy."""
    async with aws_double(tls=context) as double, tunnel(double.port) as proxy:
        if bundle:
            monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        if route == "direct":
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{double.address}")
        else:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        yield double, proxy


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "other host": ({"names": ("other.example",)}, "another host", "AWS_ENDPOINT_URL"),
    "unknown authority": ({}, "not trusted", "AWS_CA_BUNDLE"),
    "expired": ({"days": (-9, -1)}, "not valid now", "clock"),
}
ODD_FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "not valid yet": ({"days": (1, 9)}, "not valid now", "clock"),
    "name in the subject alone": ({"names": (), "subject": LOOPBACK}, "another host", "AWS_ENDPOINT_URL"),
    "address as a name": ({"names": ("localhost", "127.0.0.1.example")}, "another host", "AWS_ENDPOINT_URL"),
    "signed by a server": ({"by_leaf": True}, "not trusted", "AWS_CA_BUNDLE"),
}


def faulty(fault: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a fault, and the authority that is trusted."""
    options = (FAULTS | ODD_FAULTS)[fault][0]
    trusted = Authority(folder)
    signer = Authority(folder, "unknown") if fault == "unknown authority" else trusted
    return signer.server(**options), trusted.bundle


async def is_refused(
    client: str, route: str, fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[AwsDouble, Tunnel]:
    """Check that a client refuses a faulty certificate; returns server and proxy."""
    context, bundle = faulty(fault, folder)
    _, message, remedy = (FAULTS | ODD_FAULTS)[fault]
    async with server_of(route, context, bundle, monkeypatch) as (double, proxy):
        with pytest.raises(AccessError, match=message) as caught:
            await call(client, monkeypatch)
        assert caught.value.exit_code == 4
        assert "\n" not in caught.value.message
        assert remedy in (caught.value.hint or "")
    return double, proxy


@pytest.mark.parametrize("route", ["direct", "proxy"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_nothing_is_sent_to_a_server_that_is_not_trusted(
    client: str, fault: str, route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a byte of a request, no token and no key, reaches the server or the proxy; the error has the remedy."""
    double, proxy = await is_refused(client, route, fault, tmp_path, monkeypatch)
    assert (double.heads, double.received_bytes) == ([], 0)
    assert bool(proxy.heads) is (route == "proxy")
    for head in proxy.heads:
        assert head.startswith("CONNECT ")
        assert "authorization" not in head.lower()
        assert "token" not in head.lower()


@pytest.mark.parametrize("fault", ODD_FAULTS)
@pytest.mark.parametrize("client", BOTH)
async def test_certificates_are_checked_in_every_respect(
    client: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both clients reach the same verdict on odd certificates."""
    double, _ = await is_refused(client, "direct", fault, tmp_path, monkeypatch)
    assert double.heads == []


@pytest.mark.parametrize("route", ["direct", "proxy"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_right_certificate_is_accepted(
    client: str, route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each client works with a private authority, directly and through a proxy."""
    authority = Authority(tmp_path)
    async with server_of(route, authority.server(), authority.bundle, monkeypatch) as (double, proxy):
        await call(client, monkeypatch)
    assert double.heads
    assert bool(proxy.heads) is (route == "proxy")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("client", [*BOTH, "sts"])
async def test_a_proxy_over_tls_is_checked_too(
    client: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that cannot prove who it is learns no host, no password and no request; no message has the password."""
    context, bundle = faulty(fault, tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    async with aws_double(tls=context) as proxy:
        url = f"https://user:PASSWORD@{proxy.address}"
        with pytest.raises(AccessError, match=FAULTS[fault][1]) as caught:
            await call(client, monkeypatch, HTTP_PROXY=url, AWS_ENDPOINT_URL="http://aws.invalid")
        with pytest.raises(AccessError, match=FAULTS[fault][1]):
            await call(client, monkeypatch, HTTPS_PROXY=url, AWS_ENDPOINT_URL="https://aws.invalid")
    assert "PASSWORD" not in caught.value.message
    assert proxy.heads == []


@pytest.mark.parametrize("client", [*BOTH, "sts"])
async def test_a_proxy_over_tls_serves(client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests over plain HTTP are forwarded by it, those over TLS tunnelled: the host's certificate counts too."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with aws_double(tls=authority.server()) as proxy:
        await call(client, monkeypatch, HTTP_PROXY=f"https://{proxy.address}", AWS_ENDPOINT_URL="http://aws.invalid")
    assert "http://aws.invalid/" in proxy.heads[0]
    async with (
        aws_double(tls=authority.server()) as double,
        aws_double(tls=authority.server(names=("other.example",))) as wrong,
        tunnel(double.port, tls=authority.server()) as right_way,
        tunnel(wrong.port, tls=authority.server()) as wrong_way,
    ):
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        await call(client, monkeypatch, HTTPS_PROXY=right_way.url)
        with pytest.raises(AccessError, match="another host"):
            await call(client, monkeypatch, HTTPS_PROXY=wrong_way.url)
    assert double.heads
    assert wrong.heads == []


@pytest.mark.parametrize("client", [*BOTH, "sts"])
async def test_a_proxy_without_a_scheme_is_one_over_plain_http(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``host:port`` means the same to every client."""
    authority = Authority(tmp_path)
    async with server_of("proxy", authority.server(), authority.bundle, monkeypatch) as (double, proxy):
        await call(client, monkeypatch, HTTPS_PROXY=proxy.url.removeprefix("http://"))
    assert double.heads


async def test_a_name_with_the_dot_of_the_root_is_checked_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both clients accept the certificate of ``localhost`` for ``localhost.``."""
    authority = Authority(tmp_path)
    look_up = socket.getaddrinfo
    async with aws_double(tls=authority.server(names=("localhost",))) as double:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: look_up(LOOPBACK, double.port))
        for client in BOTH:
            url = f"https://localhost.:{double.port}"
            await call(client, monkeypatch, AWS_ENDPOINT_URL=url, AWS_CA_BUNDLE=str(authority.bundle))
    assert len(double.heads) == len(BOTH)


@pytest.mark.parametrize("kind", ["fast", "aioboto3"])
async def test_the_command_ends_with_one_line_and_exit_code_4(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole program: message and hint on stderr, no traceback, nothing sent."""
    job = write_job(tmp_path / "job.yaml", source="s3://raw/", aws={"client": kind})
    context, bundle = faulty("other host", tmp_path)
    async with aws_double(tls=context) as double:
        env = bare_environment(tmp_path) | KEYS | {"AWS_REGION": REGION, "AWS_CA_BUNDLE": str(bundle)}
        env["AWS_ENDPOINT_URL"] = f"https://{double.address}"
        done = await anyio.run_process([*COMMAND, "run", str(job)], env=env, cwd=tmp_path, check=False)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 4
    assert [line[:37] for line in lines if line.startswith("error: ")] == ["error: The certificate of https://127"]
    assert not [line for line in lines if "Traceback" in line]
    assert double.heads == []


# -- Trusted authorities -----------------------------------------------------------------------------------------------


def by_hash(bundle: Path) -> Path:
    """A folder of authorities, as ``openssl rehash`` makes it."""
    folder = bundle.parent / "authorities"
    folder.mkdir()
    certificate = x509.load_pem_x509_certificate(bundle.read_bytes())
    # OpenSSL's hash of the subject: SHA-1 of its canonical form, the content of the name in lower case.
    (name,) = certificate.subject
    value = str(name.value).lower().encode()
    oid = bytes.fromhex("0603550403")
    canonical = oid + bytes([0x0C, len(value)]) + value
    canonical = bytes([0x30, len(canonical)]) + canonical
    canonical = bytes([0x31, len(canonical)]) + canonical
    number = int.from_bytes(hashlib.sha1(canonical).digest()[:4], "little")
    (folder / f"{number:08x}.0").write_bytes(certificate.public_bytes(Encoding.PEM))
    return folder


def in_profile(bundle: Path) -> dict[str, str]:
    """Settings with the bundle in every profile of the config file."""
    config = bundle.parent / "with-bundle"
    profiles = "[default]\n" + (bundle.parent / "config").read_text()
    config.write_text(profiles.replace("]\n", f"]\nca_bundle = {bundle}\n"))
    return {"AWS_CONFIG_FILE": str(config)}


TRUST: Mapping[str, Callable[[Path], dict[str, str]]] = {
    "AWS_CA_BUNDLE": lambda bundle: {"AWS_CA_BUNDLE": str(bundle)},
    "REQUESTS_CA_BUNDLE": lambda bundle: {"REQUESTS_CA_BUNDLE": str(bundle)},
    "ca_bundle": in_profile,
    "empty AWS_CA_BUNDLE over ca_bundle": lambda bundle: {"AWS_CA_BUNDLE": "", **in_profile(bundle)},
    "AWS_CA_BUNDLE over REQUESTS_CA_BUNDLE": lambda bundle: {
        "AWS_CA_BUNDLE": str(bundle),
        "REQUESTS_CA_BUNDLE": "/nowhere.pem",
    },
    "folder": lambda bundle: {"AWS_CA_BUNDLE": str(by_hash(bundle))},
}


@pytest.mark.parametrize("setting", TRUST)
@pytest.mark.parametrize("client", [*BOTH, "sts", "sso"])
async def test_every_setting_of_authorities_holds_for_every_client(
    client: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_CA_BUNDLE, ``ca_bundle`` and REQUESTS_CA_BUNDLE, in this order, replace the public authorities."""
    authority = Authority(tmp_path)
    async with aws_double(tls=authority.server()) as double:
        url = f"https://{double.address}"
        await call(client, monkeypatch, AWS_ENDPOINT_URL=url, **TRUST[setting](authority.bundle))
    assert double.heads


@pytest.mark.parametrize("setting", ["", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("client", [*BOTH, "sts", "sso"])
async def test_an_empty_setting_switches_no_check_off(
    client: str, setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable is none: the public authorities are trusted, and no other."""
    async with aws_double(tls=Authority(tmp_path).server()) as double:
        url = f"https://{double.address}"
        with pytest.raises(AccessError, match="not trusted"):
            await call(client, monkeypatch, AWS_ENDPOINT_URL=url, **({setting: ""} if setting else {}))
    assert double.heads == []


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\0" * 99])
@pytest.mark.parametrize("setting", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
async def test_authorities_that_cannot_be_read_are_an_error_at_once(
    setting: str, content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any connection, with the name of the file; the public authorities are no substitute."""
    bundle = tmp_path / "mine.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(EndpointError, match=r"mine\.pem") as caught:
        await call("fast", monkeypatch, **TRUST[setting](bundle))
    assert setting in (caught.value.hint or "")


# -- Redirects ---------------------------------------------------------------------------------------------------------

METADATA: Mapping[str, Callable[[str], dict[str, str]]] = {
    "container": lambda address: {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{address}/credentials"},
    "container role": lambda address: {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{address}/credentials",
        "AWS_PROFILE": "ecs-role",
    },
    "instance": lambda address: {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{address}/",
        "AWS_EC2_METADATA_DISABLED": "false",
    },
    "instance role": lambda address: {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{address}/",
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_PROFILE": "ec2-role",
    },
    "instance region": lambda address: {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{address}/",
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_DEFAULTS_MODE": "auto",
        **KEYS,
    },
}
"""Settings that lead the fetchers of metadata to an address."""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("client", CLIENTS)
async def test_no_client_follows_a_redirect(client: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and tokens stay with the host that they were signed for; another host is not even connected to."""
    async with aws_double() as thief, aws_double(answer=redirect(status, f"http://{thief.address}/steal")) as double:
        reached = client == "fast reach"  # any response shows that the endpoint responds
        try:
            await call(client, monkeypatch, AWS_ENDPOINT_URL=f"http://{double.address}")
        except Exception:  # noqa: BLE001  what a redirect means to each client is tested elsewhere
            reached = not reached
    assert reached
    assert double.heads
    assert thief.connections == 0


@pytest.mark.parametrize("client", [*BOTH, "aioboto3 s3"])
async def test_a_redirect_is_an_access_error(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No AWS service redirects but S3, and that names the region: another server is at the address."""
    async with aws_double(answer=redirect(302, "https://login.example/")) as double:
        with pytest.raises((AccessError, ErrorResponseError)) as caught:
            await call(client, monkeypatch, AWS_ENDPOINT_URL=f"http://{double.address}")
    error = classify(caught.value.response) if isinstance(caught.value, ErrorResponseError) else caught.value
    assert isinstance(error, AccessError)
    assert "302" in error.message
    assert isinstance(error, RegionMismatchError) is (client == "aioboto3 s3")


@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("fetcher", METADATA)
async def test_no_fetcher_of_metadata_follows_a_redirect(
    fetcher: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host would hand out keys of its own, or learn the container's token."""
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "CONTAINER-TOKEN")
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    async with aws_double() as thief, aws_double(answer=redirect(status, f"http://{thief.address}/steal")) as double:
        for name, value in METADATA[fetcher](double.address).items():
            monkeypatch.setenv(name, value)
        try:
            async with open_aws(Aws(), timeout_s=TIMEOUT_S, connections=2) as session:
                await session.endpoint("rekognition", REGION)
        except AccessError:
            assert fetcher != "instance region"  # which is used without a region of its own
    assert double.heads
    assert thief.connections == 0


@pytest.mark.parametrize("fetcher", METADATA)
async def test_metadata_is_fetched(fetcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fetchers work with sessions of ours; the roles that have them as source ask STS."""
    async with aws_double() as double:
        for name, value in METADATA[fetcher](double.address).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{double.address}")
        async with open_aws(Aws(), timeout_s=TIMEOUT_S, connections=2) as session:
            keys = await session.keys()
            await session.endpoint("rekognition", REGION)
    expected = {"container": "ASIAMETA", "instance": "ASIAMETA", "instance region": KEYS["AWS_ACCESS_KEY_ID"]}
    assert keys.access_key == expected.get(fetcher, "ASIAROLE")
    assert double.heads


MOVED = b"<Error><Code>PermanentRedirect</Code><Message>m</Message><Region>eu-west-1</Region></Error>"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (301, MOVED),
        (307, MOVED.replace(b"PermanentRedirect", b"TemporaryRedirect")),
        (400, MOVED.replace(b"PermanentRedirect", b"AuthorizationHeaderMalformed")),
        (400, MOVED.replace(b"PermanentRedirect", b"IllegalLocationConstraintException")),
        (301, b""),
    ],
)
async def test_no_request_is_repeated_where_an_error_says(
    status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Botocore would sign it anew for the region in the response and send it to that region's host."""
    moved = response(status, body, ("x-amz-bucket-region: eu-west-1",))
    async with aws_double(answer=lambda *_: moved) as double:
        with pytest.raises(ErrorResponseError) as caught:
            await call("aioboto3 listing", monkeypatch, AWS_ENDPOINT_URL=f"http://{double.address}")
    assert caught.value.response.region == "eu-west-1"
    assert len(double.heads) == 1
    assert f"/{REGION}/s3/aws4_request" in double.heads[0]


async def test_the_region_of_a_bucket_is_read_from_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 redirects HeadBucket to another region; its name is in the response, and one request is enough."""
    moved = response(301, b"", ("x-amz-bucket-region: eu-west-1", "Location: http://127.0.0.1:9/"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with aws_double(answer=lambda *_: moved) as double:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{double.address}")
        async with open_aws(Aws(), timeout_s=TIMEOUT_S, connections=2) as session:
            assert await session.bucket_region("raw") == "eu-west-1"
            with pytest.raises(UsageError):
                await session.bucket_region("express--use1-az4--x-s3")
    assert len(double.heads) == 1
