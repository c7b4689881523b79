"""The sandbox: built from options, filled with objects, served on a port, closed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import anyio
import msgspec

from asyncfilter.sandbox import quotas as service_quotas
from asyncfilter.sandbox.access import Access, Caller
from asyncfilter.sandbox.accounts import Accounts
from asyncfilter.sandbox.answers.build import build_source
from asyncfilter.sandbox.control import ControlPath
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.arns import Arns
from asyncfilter.sandbox.custom_labels.given import add_given_model
from asyncfilter.sandbox.custom_labels.limits import UNIT_TPS
from asyncfilter.sandbox.custom_labels.states import Clock
from asyncfilter.sandbox.dispatch import Conditions, Dispatcher
from asyncfilter.sandbox.faults import Faults
from asyncfilter.sandbox.iam.access_log import AccessLog
from asyncfilter.sandbox.iam.documents import IdentityPolicy
from asyncfilter.sandbox.iam.service import IamService
from asyncfilter.sandbox.loading import fill
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN, SECRET_KEY, ModelVersionSpec, SandboxOptions, SummaryShape
from asyncfilter.sandbox.organizations import OrganizationsService
from asyncfilter.sandbox.rates import Quotas, Rates, new_quotas
from asyncfilter.sandbox.rekognition import RekognitionService
from asyncfilter.sandbox.s3.service import S3Service
from asyncfilter.sandbox.server import HttpConnection
from asyncfilter.sandbox.sessions import Sessions
from asyncfilter.sandbox.stats import Counters, Stats
from asyncfilter.sandbox.store import Attributes, Bucket, Store, Stored, marking
from asyncfilter.sandbox.sts import StsService, user_arn

BACKLOG: Final = 4096


class Sandbox:
    """A local test double of S3, Rekognition, Service Quotas, STS, IAM and Organizations on one port.

    It is an async context manager that serves on the running asyncio loop. On exit all connections are closed, also
    those with a pending response.

    Raises:
        ValueError: On entry, if options contradict each other or name a folder that does not exist.
        OSError: On entry, if the port is in use or a file cannot be read.
    """

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = SandboxOptions() if options is None else options
        self.counters = Counters(count_keys=self.options.count_keys)
        states = self.options
        self._store = Store(marking(states.archived, states.restored, states.kms_denied, states.denied))
        self._connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None
        self._rekognition: RekognitionService | None = None
        self._log = AccessLog() if self.options.access_log else None
        self._access: Access | None = None
        self.clock = Clock(self.options.speed)

    async def __aenter__(self) -> Self:
        dispatcher = await anyio.to_thread.run_sync(self._build)
        loop = asyncio.get_running_loop()
        options = self.options
        self._server = await loop.create_server(
            lambda: HttpConnection(dispatcher, self._connections), options.host, options.port, backlog=BACKLOG
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rekognition is not None:
            self._rekognition.close()
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in list(self._connections):
            connection.close()
        await server.wait_closed()

    @property
    def port(self) -> int:
        """The port on which the sandbox serves."""
        if self._server is None:
            raise RuntimeError("the sandbox is not being served: use it as an async context manager")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def endpoint_url(self) -> str:
        """The value for ``AWS_ENDPOINT_URL``."""
        host = self.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def environment(self) -> dict[str, str]:
        """Environment variables with which any AWS client uses this sandbox and no AWS settings of this machine."""
        return client_environment(self.options, self.endpoint_url)

    def bucket(self, name: str) -> Bucket:
        """A bucket; created in the sandbox's region if it does not exist yet."""
        return self._store.create(name, self.options.region)

    def put(self, bucket: str, key: str, body: bytes, attributes: Attributes | None = None) -> Stored:
        """Store an object; the bucket is created if it does not exist yet."""
        self.bucket(bucket)
        return self._store.put(bucket, key, body, attributes)

    def keys(self, bucket: str) -> list[str]:
        """The keys of a bucket in order."""
        return [stored.key for stored in self.bucket(bucket).scan("")]

    def stats(self) -> Stats:
        """The counters at this moment."""
        return self.counters.snapshot()

    def needed(self) -> Sequence[Mapping[str, Any]]:
        """The permissions that requests needed, as ``GET /_sandbox/access`` returns them."""
        return self._log.rows() if self._log is not None else ()

    def set_policy(self, document: Mapping[str, Any] | None) -> None:
        """Replace the identity policy of every caller, and forget which permissions were needed."""
        policy = None if document is None else IdentityPolicy(msgspec.json.encode(document))
        if self._access is not None:
            self._access.set_policy(policy)
        if self._log is not None:
            self._log.clear()

    def _build(self) -> Dispatcher:
        """Fill the store and assemble the services; runs in a thread because it reads files."""
        options, store = self.options, self._store
        drawn = fill(store, options)
        sessions = Sessions(options.session_s)
        accounts = Accounts(options.account, options.credentials, sessions)
        rates = Rates(options.tps, options.rates)
        partition = _partition(options.region)
        log = self._log
        access = Access(
            credentials=options.credentials,
            any_credentials=options.any_credentials,
            verify_signatures=options.verify_signatures,
            deny=options.deny,
            sessions=sessions,
            policy=None if options.policy is None else IdentityPolicy(Path(options.policy).read_bytes()),
            log=log,
            partition=partition,
        )
        self._access = access
        account = _account(options, store, access, self.clock, partition)
        source = build_source(options, drawn)
        versions = _versions(options.model_versions)
        rekognition = RekognitionService(
            store, access, source, account, check_images=options.check_images, versions=versions
        )
        self._rekognition = rekognition
        conditions = Conditions(
            quotas=Quotas(
                rates=rates,
                mode=options.throttle_mode,
                growth=options.ramp,
                control=new_quotas(None, options.throttle_mode, control_tps=options.control_tps),
            ),
            faults=Faults(options.faults, options.seed),
            latency=options.latency,
            s3_latency=options.s3_latency,
            list_latency=options.list_latency,
            control_latency=options.control_latency,
        )
        dispatcher = Dispatcher(
            rekognition=rekognition,
            quotas=service_quotas.QuotasService(_announced(options, rates, accounts), accounts.of),
            sts=StsService(accounts, sessions, partition),
            iam=IamService(access, sessions, lambda access_key: user_arn(accounts.of(access_key), partition)),
            organizations=OrganizationsService(options.ai_opt_out, options.account),
            s3=S3Service(store, access, options.account, options.quirks, options.conditional_writes),
            access=access,
            accounts=accounts,
            conditions=conditions,
            counters=self.counters,
            seed=options.seed,
        )
        dispatcher.control = ControlPath(conditions, self.counters, access, log, self.clock, seed=options.seed)
        return dispatcher


def client_environment(options: SandboxOptions, endpoint_url: str) -> dict[str, str]:
    """See ``Sandbox.environment``; ``AWS_PROFILE`` and ``AWS_SESSION_TOKEN`` of the caller must be unset as well."""
    access_key, secret = next(iter(options.credentials.items()), ("any", SECRET_KEY))
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": options.region,
        "AWS_DEFAULT_REGION": options.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": options.host,
        "no_proxy": options.host,
    }


def _partition(region: str) -> str:
    """The partition of a region, as far as the sandbox distinguishes them."""
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rsplit("-", 2)[0], "aws")


def _account(options: SandboxOptions, store: Store, access: Access, clock: Clock, partition: str) -> Account:
    """What the account has of Custom Labels when the sandbox begins."""
    account = Account(
        store=store,
        access=access,
        clock=clock,
        arns=Arns(partition, options.region, options.account),
        region=options.region,
        nests_summary=options.summary_shape is SummaryShape.NESTED,
        unit_tps=UNIT_TPS if options.unit_tps is None else options.unit_tps,
    )
    add_given_model(
        account,
        options.model_arn,
        status=options.model_status,
        units=options.inference_units,
        unit_tps=options.unit_tps,
        is_listed=options.model_arn != DEFAULT_MODEL_ARN,
        thresholds=dict(options.model_thresholds),
    )
    return account


async def serve(options: SandboxOptions, *, started: Callable[[str], None]) -> None:
    """Serve until cancelled.

    Args:
        options: Options of the sandbox.
        started: Called once with the endpoint's URL, as soon as requests are answered.
    """
    async with Sandbox(options) as sandbox:
        started(sandbox.endpoint_url)
        await anyio.sleep_forever()


def _versions(specs: Sequence[ModelVersionSpec]) -> Mapping[str, str]:
    """The model version of each region; that of all others has no region.

    Raises:
        ValueError: If one is given twice.
    """
    versions: dict[str, str] = {}
    for version, region in specs:
        if region in versions:
            raise ValueError(f"the model version of {region or 'all other regions'} is given twice")
        versions[region] = version
    return versions


def _announced(options: SandboxOptions, rates: Rates, accounts: Accounts) -> Callable[[Caller], float | None]:
    """The quota of detections that Service Quotas tells a caller; None for the default."""

    def announced(caller: Caller) -> float | None:
        pair = accounts.pair(caller)
        own = rates.own(pair)
        if own is None and options.announced_tps is not None:
            return options.announced_tps
        return rates.of(pair)

    return announced
