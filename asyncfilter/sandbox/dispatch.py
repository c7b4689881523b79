"""Processes one request, in this order: service, access, quota, fault, answer, delay."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from asyncfilter.sandbox.access import Access, Caller, read_caller
from asyncfilter.sandbox.accounts import Accounts, Pair
from asyncfilter.sandbox.calls import Call, Style, refuse
from asyncfilter.sandbox.custom_labels.names import CONTROL_OPERATIONS
from asyncfilter.sandbox.faults import EXECUTED, LATE_S, LOST, Fault, FaultKind, Faults, service_error_of
from asyncfilter.sandbox.iam.service import VERSION as IAM_VERSION
from asyncfilter.sandbox.latency import Latency
from asyncfilter.sandbox.message import Delivery, Reply, Request, ServiceError
from asyncfilter.sandbox.rates import Quotas
from asyncfilter.sandbox.server import Respond
from asyncfilter.sandbox.stats import Counters, Operation, PairCounter

THROTTLED_LATENCY: Final = 0.1
"""A throttled detection takes this share of a detection's latency, because no image is examined."""
_CONTROL: Final = frozenset(CONTROL_OPERATIONS)
_LISTS: Final = frozenset({"ListObjectsV2", "ListObjects", "ListObjectVersions"})


class Service(Protocol):
    """One AWS service."""

    @property
    def style(self) -> Style:
        """The protocol of the service."""
        ...

    def read(self, request: Request, caller: Caller) -> Call:
        """Parse a request; raises ``ServiceError``."""
        ...


class Control(Protocol):
    """Handles requests to the control path."""

    def answer(self, request: Request) -> Reply:
        """Respond without delay."""
        ...


@dataclass(slots=True, kw_only=True)
class Conditions:
    """The settings that can be changed while the sandbox runs."""

    quotas: Quotas
    faults: Faults
    latency: Latency
    s3_latency: Latency
    list_latency: Latency | None = None
    control_latency: Latency = field(default_factory=Latency)

    def latency_of(self, call: Call) -> Latency:
        """The latency of a call."""
        if call.detects:
            return self.latency
        if self.list_latency is not None and call.operation in _LISTS:
            return self.list_latency
        return self.control_latency if call.operation in _CONTROL else self.s3_latency


class Dispatcher:
    """Answers requests; an ``Application``."""

    def __init__(
        self,
        *,
        rekognition: Service,
        quotas: Service,
        sts: Service,
        iam: Service,
        organizations: Service,
        s3: Service,
        access: Access,
        accounts: Accounts,
        conditions: Conditions,
        counters: Counters,
        seed: int,
    ) -> None:
        self._rekognition, self._quotas, self._sts, self._s3 = rekognition, quotas, sts, s3
        self._iam, self._organizations = iam, organizations
        self._access = access
        self._accounts = accounts
        self._conditions = conditions
        self._counters = counters
        self._chance = random.Random(seed)
        self.control: Control | None = None

    def accept(self, request: Request, answer: Respond) -> None:
        """See ``Application``."""
        if self.control is not None and request.target.startswith(b"/_sandbox/"):
            answer(self.control.answer(request))
            return
        service = self._service(request)
        caller = read_caller(request)
        try:
            call = service.read(request, caller)
        except ServiceError as service_error:
            answer(refuse(service.style, request, service_error))
            return
        at_s = time.monotonic()
        pair = self._accounts.pair(caller)
        operation, of_pair = self._counters.operation(call.operation), None
        operation.begin(at_s)
        if call.detects:
            of_pair = self._counters.pair(pair)
            of_pair.begin(at_s)
        self._carry_out(Exchange(request, call, operation, of_pair, at_s, answer), caller, pair)

    def _service(self, request: Request) -> Service:
        target = request.headers.get(b"x-amz-target", b"")
        if target.startswith(b"ServiceQuotas"):
            return self._quotas
        if target.startswith(b"AWSOrganizations"):
            return self._organizations
        if target:
            return self._rekognition
        form = request.headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded")
        if not ((form and request.path == b"/") or request.query.startswith(b"Action=")):
            return self._s3
        return self._iam if IAM_VERSION in (request.body or request.query) else self._sts

    def _carry_out(self, exchange: Exchange, caller: Caller, pair: Pair) -> None:
        call, conditions, operation = exchange.call, self._conditions, exchange.operation
        latency = conditions.latency_of(call)
        exchange.delay_s = latency.sample(self._chance) if latency.p50_s else 0.0
        try:
            self._access.check(exchange.request, caller, call)
            if service_error := self._over_quota(call, pair, exchange.at_s):
                operation.throttled(exchange.at_s)
                if exchange.of_pair is not None:
                    exchange.of_pair.counts.throttled += 1
                exchange.delay_s *= THROTTLED_LATENCY
                exchange.end(service_error)
                return
            if call.detects:
                self._counters.examined(call.uri)
            fault = exchange.fault = conditions.faults.draw(call)
            if fault is not None and fault.kind not in EXECUTED:
                raise service_error_of(fault.kind, call, fault.code)
            outcome = call.run() if fault is None else exchange.run_with(fault.kind)
        except ServiceError as service_error:
            exchange.end(service_error)
            return
        if isinstance(outcome, Future):
            _await_thread(outcome, exchange)
        else:
            exchange.end(outcome)

    def _over_quota(self, call: Call, pair: Pair, at_s: float) -> ServiceError | None:
        quotas = self._conditions.quotas
        if call.detects and not quotas.admits_growth(pair, at_s):
            return service_error_of(FaultKind.RAMP, call)
        if not quotas.admits(call.operation, pair, at_s):
            return service_error_of(FaultKind.THROTTLE, call)
        return service_error_of(FaultKind.THROTTLE, call) if call.admits and not call.admits(at_s) else None


class Exchange(msgspec.Struct, gc=False):
    """One request until its response is sent.

    Attributes:
        operation: The counters of its operation.
        of_pair: Those of its pair of access key and region; None for what is no detection.
        at_s: Its time of arrival, in monotonic seconds.
    """

    request: Request
    call: Call
    operation: Operation
    of_pair: PairCounter | None
    at_s: float
    answer: Respond
    fault: Fault | None = None
    delay_s: float = 0.0

    def run_with(self, kind: FaultKind) -> Reply | Future[Reply]:
        """Execute the call with a fault of a kind in ``EXECUTED``; raises ``ServiceError``."""
        if kind is FaultKind.TWICE:
            with suppress(ServiceError):
                self.call.run()
        if kind is FaultKind.LATE:
            self.delay_s += LATE_S
        return self.call.run()

    def end(self, outcome: Reply | ServiceError) -> None:
        """Send the response, at once or after the latency, with the delivery that the fault sets."""
        code = ""
        if isinstance(outcome, ServiceError):
            code, reply = outcome.code, refuse(self.call.style, self.request, outcome, self.call.headers)
        else:
            reply = outcome
        if self.fault is not None:
            self.operation.faulted(self.fault.code or self.fault.kind)
            reply.delivery = LOST.get(self.fault.kind, Delivery.WHOLE)
        if self.delay_s > 0:
            asyncio.get_running_loop().call_later(self.delay_s, self._send, reply, code)
        else:
            self._send(reply, code)

    def _send(self, reply: Reply, code: str) -> None:
        lost = reply.delivery is not Delivery.WHOLE
        self.operation.end(self.at_s, reply.status, code, lost=lost, detects=self.call.detects)
        if self.of_pair is not None:
            self.of_pair.end(reply.status, code)
        self.answer(reply)


def _await_thread(outcome: Future[Reply], exchange: Exchange) -> None:
    """End the exchange on the loop's thread when the future is done."""
    loop = asyncio.get_running_loop()

    def done(finished: Future[Reply]) -> None:
        if not finished.cancelled():
            loop.call_soon_threadsafe(exchange.end, _result(finished))

    outcome.add_done_callback(done)


def _result(finished: Future[Reply]) -> Reply | ServiceError:
    """The result of a thread; any exception other than ``ServiceError`` is the service's internal error."""
    exc = finished.exception()
    if exc is None:
        return finished.result()
    if isinstance(exc, ServiceError):
        return exc
    return ServiceError("InternalServerError", f"Internal server error ({exc!r})", 500)
