"""The way of one request: service, access, quota, fault, answer, delay."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from asyncfilter.sandbox.access import Access, Caller, read_caller
from asyncfilter.sandbox.calls import Call, Style, refuse
from asyncfilter.sandbox.faults import LOST, FaultKind, Faults, refusal_of
from asyncfilter.sandbox.latency import Latency
from asyncfilter.sandbox.server import Answer
from asyncfilter.sandbox.stats import Counters, Operation
from asyncfilter.sandbox.throttle import Quota, Ramp
from asyncfilter.sandbox.wire import Ending, Refusal, Reply, Request

THROTTLED_LATENCY: Final = 0.1
"""A refusal for the rate takes this share of a detection's latency: nothing is looked at."""


class Service(Protocol):
    """One AWS service."""

    @property
    def style(self) -> Style:
        """How it answers."""
        ...

    def read(self, request: Request, caller: Caller) -> Call:
        """Take a request apart; raises ``Refusal``."""
        ...


class Control(Protocol):
    """What answers on the control path."""

    def answer(self, request: Request) -> Reply:
        """Answer at once."""
        ...


@dataclass(slots=True, kw_only=True)
class Conditions:
    """What may be changed while the sandbox runs."""

    quotas: Mapping[str, Quota]
    ramp: Ramp | None
    faults: Faults
    latency: Latency
    s3_latency: Latency


class Dispatcher:
    """Answers requests; an ``Application``."""

    def __init__(
        self,
        *,
        rekognition: Service,
        quotas: Service,
        sts: Service,
        s3: Service,
        access: Access,
        conditions: Conditions,
        counters: Counters,
        seed: int,
    ) -> None:
        self._rekognition, self._quotas, self._sts, self._s3 = rekognition, quotas, sts, s3
        self._access = access
        self._conditions = conditions
        self._counters = counters
        self._chance = random.Random(seed)
        self.control: Control | None = None

    def accept(self, request: Request, answer: Answer) -> None:
        """See ``Application``."""
        if self.control is not None and request.target.startswith(b"/_sandbox/"):
            answer(self.control.answer(request))
            return
        service = self._service(request)
        caller = read_caller(request)
        try:
            call = service.read(request, caller)
        except Refusal as refusal:
            answer(refuse(service.style, request, refusal))
            return
        self._carry_out(request, caller, call, answer)

    def _service(self, request: Request) -> Service:
        target = request.headers.get(b"x-amz-target", b"")
        if target.startswith(b"ServiceQuotas"):
            return self._quotas
        if target:
            return self._rekognition
        form = request.headers.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded")
        return self._sts if (form and request.path == b"/") or request.query.startswith(b"Action=") else self._s3

    def _carry_out(self, request: Request, caller: Caller, call: Call, answer: Answer) -> None:
        at_s = time.monotonic()
        operation = self._counters.operation(call.operation)
        operation.begin(at_s)
        end = partial(self._end, request, call, operation, at_s, answer)
        conditions = self._conditions
        latency = conditions.latency if call.detects else conditions.s3_latency
        delay_s = latency.sample(self._chance) if latency.p50_s else 0.0
        fault: FaultKind | None = None
        try:
            self._access.check(request, caller, call)
            if call.detects and (refusal := self._over_quota(call, at_s)):
                operation.throttled(at_s)
                end(refusal, None, delay_s * THROTTLED_LATENCY)
                return
            if call.detects:
                self._counters.examined(call.uri)
            fault = conditions.faults.draw(call)
            if fault is not None and fault not in LOST:
                raise refusal_of(fault, call)
            outcome = call.run()
        except Refusal as refusal:
            end(refusal, fault, delay_s)
            return
        if isinstance(outcome, Future):
            self._wait(outcome, lambda done: end(done, fault, delay_s))
        else:
            end(outcome, fault, delay_s)

    def _over_quota(self, call: Call, at_s: float) -> Refusal | None:
        conditions = self._conditions
        if conditions.ramp is not None and not conditions.ramp.admit(at_s):
            return refusal_of(FaultKind.RAMP, call)
        quota = conditions.quotas.get(call.operation)
        return None if quota is None or quota.admit(at_s) else refusal_of(FaultKind.THROTTLE, call)

    def _wait(self, outcome: Future[Reply], end: _End) -> None:
        loop = asyncio.get_running_loop()

        def done(finished: Future[Reply]) -> None:
            if not finished.cancelled():
                loop.call_soon_threadsafe(end, _result(finished))

        outcome.add_done_callback(done)

    def _end(
        self,
        request: Request,
        call: Call,
        operation: Operation,
        at_s: float,
        answer: Answer,
        outcome: Reply | Refusal,
        fault: FaultKind | None,
        delay_s: float,
    ) -> None:
        code = ""
        if isinstance(outcome, Refusal):
            code = outcome.code
            reply = refuse(call.style, request, outcome, call.headers)
        else:
            reply = outcome
        if fault is not None:
            operation.faulted(fault)
            reply.ending = LOST.get(fault, Ending.WHOLE)
        lost = reply.ending is not Ending.WHOLE

        def send() -> None:
            operation.end(at_s, reply.status, code, lost=lost, detects=call.detects)
            answer(reply)

        if delay_s > 0:
            asyncio.get_running_loop().call_later(delay_s, send)
        else:
            send()


class _End(Protocol):
    def __call__(self, outcome: Reply | Refusal, /) -> None: ...


def _result(finished: Future[Reply]) -> Reply | Refusal:
    """What a thread came to; anything but a refusal is the service's internal error."""
    exc = finished.exception()
    if exc is None:
        return finished.result()
    if isinstance(exc, Refusal):
        return exc
    return Refusal("InternalServerError", f"Internal server error ({exc!r})", 500)
