"""The control path, ``/_sandbox/``: reads the counters and changes conditions at run time.

GET  /_sandbox/health
GET  /_sandbox/stats
GET  /_sandbox/access      what the option access_log noted
POST /_sandbox/policy    {"policy": {"Version": "2012-10-17", "Statement": []}}, or null
POST /_sandbox/reset-stats
POST /_sandbox/faults    {"faults": ["throttle=1%", ...]}
POST /_sandbox/quota     {"tps": 50, "rates": {"us-west-2": 20, "KEY@us-east-1": 5}, "mode": "window", "ramp": null,
                          "control_tps": 5}
POST /_sandbox/latency   {"detect": "p50=120ms,p99=1s", "s3": "20ms", "list": "60ms", "control": "1s"}
POST /_sandbox/clock     {"advance_s": 1800}      lets time pass for Custom Labels
"""

from __future__ import annotations

from typing import Final

import msgspec

from asyncfilter.sandbox.access import Access
from asyncfilter.sandbox.custom_labels.states import Clock
from asyncfilter.sandbox.dispatch import Conditions
from asyncfilter.sandbox.faults import Faults
from asyncfilter.sandbox.iam.access_log import AccessLog
from asyncfilter.sandbox.iam.documents import IdentityPolicy
from asyncfilter.sandbox.message import Reply, Request, header_lines
from asyncfilter.sandbox.rates import Quotas, Rates, RateSpec, new_quotas
from asyncfilter.sandbox.stats import Counters
from asyncfilter.sandbox.syntax import parse_fault, parse_latency, place_of
from asyncfilter.sandbox.throttle import ThrottleMode

_HEAD: Final = header_lines({"Content-Type": "application/json"})


class _FaultsWanted(msgspec.Struct, forbid_unknown_fields=True):
    faults: list[str]


class _QuotaWanted(msgspec.Struct, forbid_unknown_fields=True):
    tps: float | None
    mode: ThrottleMode = ThrottleMode.WINDOW
    ramp: float | None = None
    control_tps: float | None = None
    rates: dict[str, float] = {}


class _LatencyWanted(msgspec.Struct, forbid_unknown_fields=True):
    detect: str | None = None
    s3: str | None = None
    list: str | None = None
    control: str | None = None


class _ClockWanted(msgspec.Struct, forbid_unknown_fields=True):
    advance_s: float


class _PolicyWanted(msgspec.Struct, forbid_unknown_fields=True):
    policy: msgspec.Raw


class ControlPath:
    """Handles requests to the control path; a ``Control``."""

    def __init__(
        self,
        conditions: Conditions,
        counters: Counters,
        access: Access,
        log: AccessLog | None,
        clock: Clock,
        *,
        seed: int,
    ) -> None:
        self._conditions = conditions
        self._counters = counters
        self._access = access
        self._log = log
        self._clock = clock
        self._seed = seed
        self._paths = {
            ("GET", "health"): lambda _: {"ok": True},
            ("GET", "stats"): lambda _: counters.snapshot(),
            ("GET", "access"): lambda _: {"rows": log.rows() if log is not None else []},
            ("POST", "reset-stats"): self._reset,
            ("POST", "faults"): self._set_faults,
            ("POST", "quota"): self._set_quota,
            ("POST", "latency"): self._set_latency,
            ("POST", "clock"): self._advance_clock,
            ("POST", "policy"): self._set_policy,
        }

    def answer(self, request: Request) -> Reply:
        """Respond with JSON: 400 with the error in the body of the request, 404 for an unknown path."""
        act = self._paths.get((request.method, request.path.decode("ascii", "replace").removeprefix("/_sandbox/")))
        if act is None:
            return _json(404, {"error": f"no {request.method} here; there are {sorted(self._paths)}"})
        try:
            return _json(200, act(request.body))
        except (ValueError, msgspec.MsgspecError) as exc:
            return _json(400, {"error": str(exc)})

    def _reset(self, _body: bytes) -> object:
        self._counters.reset()
        if self._log is not None:
            self._log.clear()
        return {"ok": True}

    def _set_faults(self, body: bytes) -> object:
        wanted = msgspec.json.decode(body, type=_FaultsWanted)
        self._conditions.faults = Faults([parse_fault(text) for text in wanted.faults], self._seed)
        return {"ok": True}

    def _set_quota(self, body: bytes) -> object:
        wanted = msgspec.json.decode(body, type=_QuotaWanted)
        specs = [RateSpec(tps, *place_of(name)) for name, tps in wanted.rates.items()]
        self._conditions.quotas = Quotas(
            rates=Rates(wanted.tps, specs),
            mode=wanted.mode,
            growth=wanted.ramp,
            control=new_quotas(None, wanted.mode, control_tps=wanted.control_tps),
        )
        return {"ok": True}

    def _set_policy(self, body: bytes) -> object:
        wanted = bytes(msgspec.json.decode(body, type=_PolicyWanted).policy)
        self._access.set_policy(None if wanted == b"null" else IdentityPolicy(wanted))
        return {"ok": True}

    def _set_latency(self, body: bytes) -> object:
        wanted = msgspec.json.decode(body, type=_LatencyWanted)
        if wanted.detect is not None:
            self._conditions.latency = parse_latency(wanted.detect)
        if wanted.s3 is not None:
            self._conditions.s3_latency = parse_latency(wanted.s3)
        if wanted.list is not None:
            self._conditions.list_latency = parse_latency(wanted.list)
        if wanted.control is not None:
            self._conditions.control_latency = parse_latency(wanted.control)
        return {"ok": True}

    def _advance_clock(self, body: bytes) -> object:
        self._clock.advance(msgspec.json.decode(body, type=_ClockWanted).advance_s)
        return {"ok": True}


def _json(status: int, body: object) -> Reply:
    return Reply(status, _HEAD, msgspec.json.encode(body))
