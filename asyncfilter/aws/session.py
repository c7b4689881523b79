"""The AWS session: credentials, regions, endpoints, and the aiobotocore clients of the rare calls.

Every standard AWS setting keeps its meaning because botocore itself reads them: profiles, SSO, assume-role, endpoint
overrides, dual-stack, FIPS, addressing style. The frequent operations take only endpoint and keys from it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import anyio
from aiobotocore.config import AioConfig
from aiolimiter import AsyncLimiter
from botocore import UNSIGNED
from botocore import exceptions as vendor
from botocore.utils import get_environ_proxies

from asyncfilter.aws.clients.error_response import ErrorResponseError, Operation
from asyncfilter.aws.core_session import CoreSession
from asyncfilter.aws.credential_chain import Chain
from asyncfilter.aws.credential_errors import credentials_translated
from asyncfilter.aws.credentials import KeySource, SharedCredentials
from asyncfilter.aws.deadline import fail_after
from asyncfilter.aws.errors import classify
from asyncfilter.aws.http_session import proxy_for
from asyncfilter.aws.transport_errors import vendor_translated
from asyncfilter.errors import EndpointError, UsageError
from asyncfilter.job.spec import Aws

AioClient: TypeAlias = Any
"""A client of aiobotocore, which has no types."""

QUOTA_REQUESTS_TPS = 5.0
"""Requests a second that Service Quotas accepts from an account, for each operation and region; not adjustable.

Source: Service Quotas User Guide, *Service quotas for Service Quotas*, GetServiceQuota and GetAWSDefaultServiceQuota.
"""

_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")

_SHOWN = 200
"""Characters in a message of a region, which a store may have named, and of what it led to."""

ANY_REGION = "us-east-1"
"""Region of the HeadBucket that looks up a bucket's region when none is set; every region returns it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The endpoint of one service and region, or of one bucket.

    Attributes:
        origin: Scheme, host and port, without a path.
        host: Value of the ``Host`` header.
        base_path: Percent-encoded path before every path, no slash at its end: empty, or the bucket in path style.
        service: Name in the signature's scope.
        region: Region in the signature's scope.
        proxy: URL of the proxy to go through.
    """

    origin: str
    host: str
    base_path: str
    service: str
    region: str
    proxy: str | None = None

    @property
    def is_aws(self) -> bool:
        """True when the host is AWS's own."""
        return (urlsplit(self.origin).hostname or "").endswith(_AWS_HOSTS)

    @property
    def is_loopback(self) -> bool:
        """True when the host is this machine; then it is not AWS."""
        name = urlsplit(self.origin).hostname or ""
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return name == "localhost" or name.endswith(".localhost")


class AwsSession:
    """The account of the job; made by ``open_aws``.

    Attributes:
        region: The region set in the job or in the standard AWS settings; None when there is none.
        timeout_s: Seconds one attempt may take, from connect to the last byte.
        tls: The trusted certificates, of every client.
        ca_setting: The setting that names the trusted authorities, and ``ca_bundle`` their file or folder.
        keys: Returns valid keys, renewed before they expire; see ``SharedCredentials.keys``.
        found_keys: Returns the same with their expiry and the name of their provider.
        quota_requests: Paces every request to Service Quotas, all regions and operations together; of capacity one, so
            that even a first burst stays within the rate.
    """

    def __init__(
        self,
        aws: Aws,
        *,
        timeout_s: float,
        connections: int,
        stack: AsyncExitStack,
        endpoint_url: str | None = None,
        keys: KeySource | None = None,
    ) -> None:
        with credentials_translated(aws.profile):
            core = CoreSession(profile=aws.profile)
            self.region = _region_set(aws, core)
            # For the clients of providers: botocore reads no AWS_REGION, and STS has no region of its own.
            core.set_config_variable("region", self.region or ANY_REGION)
            credentials = SharedCredentials(core, keys or Chain(core, timeout_s=timeout_s))
        self.keys = credentials.keys
        self.found_keys = credentials.found
        self.tls = core.tls
        self.ca_setting, self.ca_bundle = core.ca_setting, core.ca_bundle
        self.timeout_s = timeout_s
        self.profile = aws.profile
        self.quota_requests = AsyncLimiter(1, 1 / QUOTA_REQUESTS_TPS)
        self._core = core
        self._stack = stack
        self._endpoint_url = endpoint_url
        self._config = AioConfig(
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=timeout_s,
            # None: every call has a deadline of ours, and aiohttp's would expire before what has arrived is read.
            read_timeout=None,
            max_pool_connections=connections,
            user_agent_extra="asyncfilter",
        )
        self._clients: dict[tuple[str, str], AioClient] = {}
        self._making = anyio.Lock()  # one client per service and region, even if many tasks request it at once
        self._regions: dict[str, str] = {}
        self._places: dict[str, Endpoint] = {}

    async def client(self, service: str, region: str) -> AioClient:
        """The aiobotocore client of a service in a region, with valid keys; without retries of its own.

        Raises:
            CredentialsError: There are no valid keys.
            EndpointError: The service has no endpoint there.
        """
        await self.keys()  # here, where no deadline of an attempt counts a wait for new keys as a billed timeout
        if client := self._clients.get((service, region)):
            return client
        async with self._making:
            if (service, region) not in self._clients:
                try:
                    with credentials_translated(self.profile):
                        made = self._core.create_client(
                            service, region_name=region, endpoint_url=self._endpoint_url, config=self._config
                        )
                        self._clients[service, region] = await self._stack.enter_async_context(made)
                except (vendor.BotoCoreError, ValueError) as exc:
                    raise _no_endpoint(service, region, exc) from exc
            return self._clients[service, region]

    async def endpoint(self, service: str, region: str) -> Endpoint:
        """The endpoint of a service other than S3, with its configured overrides.

        Raises:
            EndpointError: The service has no endpoint there.
        """
        client = await self.client(service, region)
        return _endpoint(client.meta.endpoint_url, service, region)

    async def address(self, service: str, region: str) -> Endpoint:
        """The endpoint of any service, for requests that are not signed: no keys are needed.

        Raises:
            EndpointError: The service has no endpoint there.
        """
        config = self._config.merge(AioConfig(signature_version=UNSIGNED))
        try:
            async with self._core.create_client(service, region_name=region, config=config) as client:
                return _endpoint(client.meta.endpoint_url, service, region)
        except (vendor.BotoCoreError, ValueError) as exc:
            raise _no_endpoint(service, region, exc) from exc

    async def regions(self, service: str) -> list[str]:
        """The regions of all partitions in which botocore knows a service, in order."""
        known: list[str] = []
        for partition in self._core.get_available_partitions():
            known += await self._core.get_available_regions(service, partition)
        return sorted(known)

    async def bucket_region(self, bucket: str) -> str:
        """The region of a bucket; HeadBucket returns it even without permission to read the bucket.

        Raises:
            BucketNotFoundError: There is no such bucket.
            UsageError: It is a directory bucket, whose listing has no order and whose requests are signed otherwise.
            CredentialsError: There are no credentials, or AWS does not accept them.
            TransientError: No response.
        """
        if bucket.endswith("--x-s3"):
            raise UsageError(
                f"s3://{bucket} is a directory bucket: its listing has no order to resume from",
                hint="Use a general purpose bucket.",
            )
        if bucket not in self._regions:
            self._regions[bucket] = await self._fetch_region(bucket)
        return self._regions[bucket]

    async def _fetch_region(self, bucket: str) -> str:
        fallback = self.region or ANY_REGION
        client = await self.client("s3", fallback)
        try:
            with vendor_translated(Operation.HEAD_BUCKET, f"s3://{bucket}"), fail_after(self.timeout_s):
                found = await client.head_bucket(Bucket=bucket)
        except ErrorResponseError as exc:
            response = exc.response
            # 400 and 403 have no body here; the error of the listing, which has one, gives the cause.
            if response.region or response.status in {400, 403}:
                return response.region or fallback
            raise classify(response) from exc
        return found.get("BucketRegion") or fallback

    async def s3(self, bucket: str) -> AioClient:
        """The aiobotocore S3 client for a bucket's own region."""
        return await self.client("s3", await self.bucket_region(bucket))

    async def place(self, bucket: str) -> Endpoint:
        """The endpoint of a bucket, path style or virtual host as botocore decides.

        Raises:
            AccessError: As for ``bucket_region``.
        """
        if place := self._places.get(bucket):
            return place
        client = await self.s3(bucket)
        with vendor_translated(Operation.HEAD_BUCKET, f"s3://{bucket}"):
            url, region = await _resolved(client, bucket)
        self._places[bucket] = _endpoint(url, "s3", region)
        return self._places[bucket]


def configured_region(aws: Aws) -> str | None:
    """The region of the job or of the standard AWS settings; needs no credentials. None when there is none.

    Raises:
        CredentialsError: There is no such profile.
    """
    with credentials_translated(aws.profile):
        return _region_set(aws, CoreSession(profile=aws.profile))


def _region_set(aws: Aws, core: CoreSession) -> str | None:
    return aws.region or os.environ.get("AWS_REGION") or core.get_config_variable("region")


async def _resolved(client: AioClient, bucket: str) -> tuple[str, str]:
    """Address and signing region that botocore would use for a bucket; nothing is sent.

    A ``before-call`` handler that returns a response ends the call (botocore's Stubber uses this too). A presigned URL
    is no substitute: botocore makes those for the global endpoint.
    """
    seen: list[tuple[str, str]] = []

    def keep(params: Mapping[str, Any], context: Mapping[str, Any], **_: object) -> tuple[object, dict[str, object]]:
        seen.append((params["url"], context.get("signing", {}).get("region") or client.meta.region_name))
        return SimpleNamespace(status_code=200), {}

    event = "before-call.s3.GetBucketAcl"  # an operation that is not used otherwise
    client.meta.events.register_first(event, keep)
    try:
        await client.get_bucket_acl(Bucket=bucket)
    finally:
        client.meta.events.unregister(event, keep)
    return seen[0]


def _endpoint(url: str, service: str, region: str) -> Endpoint:
    parts = urlsplit(url)
    default_port = {"https": 443, "http": 80}.get(parts.scheme)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    netloc = host if parts.port in {None, default_port} else f"{host}:{parts.port}"
    return Endpoint(
        origin=f"{parts.scheme}://{netloc}",
        host=netloc,
        base_path=parts.path.rstrip("/"),
        service=service,
        region=region,
        proxy=proxy_for(url, get_environ_proxies(url)),
    )


def _no_endpoint(service: str, region: str, exc: Exception) -> EndpointError:
    return EndpointError(
        f"{service} cannot be reached in region {region[:_SHOWN]!r}: {str(exc)[:_SHOWN]}",
        hint="Check aws.region, detector.region, AWS_REGION and AWS_ENDPOINT_URL.",
    )


@asynccontextmanager
async def open_aws(
    aws: Aws, *, timeout_s: float, connections: int, endpoint_url: str | None = None, keys: KeySource | None = None
) -> AsyncIterator[AwsSession]:
    """Open the account of the job.

    Args:
        aws: Profile and region; None means the standard AWS settings.
        timeout_s: Seconds one attempt may take.
        connections: Most connections of one aiobotocore client; the fast client has no limit of its own.
        endpoint_url: Used for every service in place of the AWS settings.
        keys: Gives the keys in place of the AWS settings.

    Raises:
        CredentialsError: The profile does not exist, or there are no credentials.
        EndpointError: The trusted certificates cannot be read.
    """
    async with open_without_keys(
        aws, timeout_s=timeout_s, connections=connections, endpoint_url=endpoint_url, keys=keys
    ) as session:
        await session.keys()
        yield session


@asynccontextmanager
async def open_without_keys(
    aws: Aws, *, timeout_s: float, connections: int, endpoint_url: str | None = None, keys: KeySource | None = None
) -> AsyncIterator[AwsSession]:
    """As ``open_aws``, but keys are only looked up once they are needed.

    Raises:
        CredentialsError: The profile does not exist, or the AWS settings cannot be read.
        EndpointError: The trusted certificates cannot be read.
    """
    async with AsyncExitStack() as stack:
        yield AwsSession(
            aws, timeout_s=timeout_s, connections=connections, stack=stack, endpoint_url=endpoint_url, keys=keys
        )
