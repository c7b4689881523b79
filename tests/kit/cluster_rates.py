"""Proofs on Ray of how fast a fleet is, also where workers stand still: see ``cluster_proofs``."""

from __future__ import annotations

import math
import signal
import time
from functools import partial
from typing import Any

from asyncfilter.policy.rate import START_TPS
from asyncfilter.sandbox.rates import RateSpec
from tests.kit.cluster_rows import Proofs
from tests.kit.cluster_trials import TPS, Trial, again, send, service

RATES = (50.0, 500.0, 2000.0)
_LEAST = 0.97
_FITS = 0.7
"""A rate up to this share of what the workers can do at the most is one that they can hold."""

_BEGIN_S, _END_S = 8, 5
"""Seconds at the begin and at the end of a run in which there is less work than the rate allows."""

_STEADY_S = 20
"""Seconds for which a rate is held, after its ramp."""

_MANY = 60_000
"""Images for some twenty seconds of all that two workers can do."""

_OVER_TPS = 20_000.0
"""More than workers on one machine can do."""

_QUOTAS = {"us-east-1": 50.0, "us-west-2": 20.0, "eu-west-1": 5.0}
_FREEZES = 5


def rate(proofs: Proofs) -> None:
    """Undisturbed at least .97 of each rate that two workers can hold on this machine."""
    most = 0.0
    with proofs.trial("all that two workers can do") as seen:
        most = seen["a second"] = _held(proofs, _OVER_TPS, _MANY)[0]
    for given in (*RATES, float(int(_FITS * most))):
        with proofs.trial(f"{given:g} a second" if given in RATES else "the most that fits") as seen:
            _hold(proofs, seen, given, fits=given <= _FITS * most)


def _hold(proofs: Proofs, seen: dict[str, Any], rate: float, *, fits: bool) -> None:
    seen["fits this machine"] = "yes" if fits else "no"
    if not fits:
        return
    mean, fullest = _held(proofs, rate, int(rate * (_STEADY_S + _ramp_s(rate))))
    seen |= {"rate": rate, "a second": mean, "share": round(mean / rate, 3), "fullest": fullest}
    proofs.check(mean >= _LEAST * rate, f"{mean:.1f} a second")
    proofs.check(fullest <= 1.05 * rate + 1, f"{fullest} in a second")


def _held(proofs: Proofs, rate: float, images: int) -> tuple[float, int]:
    """Calls a second of two workers between the ramp and the end, and the most in any second."""
    with service(images) as sandbox:
        limits = {"tps": rate, "max_images": images}
        Trial(proofs.place, sandbox, writes_events=False, limits=limits).run()
        detect = sandbox.stats().operations["DetectLabels"]
    seconds = [second[1] for second in detect.per_second if second[0]]
    steady = seconds[_ramp_s(min(rate, max(seconds))) : -_END_S]
    return round(sum(steady) / max(1, len(steady)), 1), detect.attempts_per_1s_max


def _ramp_s(rate: float) -> int:
    """Seconds until a rate is reached that doubles every second, its last step, and the latency of its calls."""
    return math.ceil(math.log2(max(rate / START_TPS, 1))) + 4


def freezes(proofs: Proofs) -> None:
    """A worker stands still for a second, again and again: no second has more than 105 % and one attempts.

    One process that stands still as often shows what the machine and the counting add.
    """
    for _ in range(-(-proofs.repeat // _FREEZES)):
        for workers in (2, None):
            case = "a worker is frozen for 1 s" if workers else "one process is frozen for 1 s"
            with proofs.trial(case) as seen, service(int(TPS * 5 * _FREEZES)) as sandbox:
                fleet = Trial(proofs.place, sandbox, workers=workers)
                fleet.start()
                for number in range(1, 1 + _FREEZES):
                    fleet.examined(int(TPS * 3 * number))
                    _freeze(proofs.rng.choice(fleet.workers()) if workers else fleet.pid)
                summary, detect = fleet.end(), sandbox.stats().operations["DetectLabels"]
                fullest, repeated = detect.attempts_per_1s_max, again(sandbox)
                seen |= {"freezes": _FREEZES, "fullest": fullest, "rate": TPS, "calls repeated": repeated}
                if workers:
                    seen["turns returned"] = summary["workers"]["returned_turns"]
                    proofs.check(fullest <= 1.05 * TPS + 1, f"{fullest} in a second at {TPS:g}")
                proofs.check(detect.billed <= summary["billed_calls"], f"{detect.billed} billed")


def _freeze(pid: int) -> None:
    send(pid, signal.SIGSTOP)
    time.sleep(1)
    send(pid, signal.SIGCONT)


def frozen_heads(proofs: Proofs) -> None:
    """The head stands still, as on a machine that is suspended: nothing is repeated, and no second is too full."""
    for number in range(proofs.repeat):
        still_s = (2, 8, 30)[number % 3]
        with proofs.trial(f"the head is frozen for {still_s} s") as seen, service(1_000) as sandbox:
            fleet = Trial(proofs.place, sandbox)
            fleet.start()
            fleet.examined(proofs.rng.randrange(100, 500))
            send(fleet.pid, signal.SIGSTOP)
            time.sleep(still_s)
            send(fleet.pid, signal.SIGCONT)
            summary, detect = fleet.end(), sandbox.stats().operations["DetectLabels"]
            seen |= {"fullest": detect.attempts_per_1s_max, "rate": TPS, "calls repeated": again(sandbox)}
            seen |= {"asks lost": fleet.asks(), "turns returned": summary["workers"]["returned_turns"]}
            proofs.check(detect.attempts_per_1s_max <= 1.05 * TPS + 1, f"{detect.attempts_per_1s_max} in a second")
            proofs.check(seen["calls repeated"] <= seen["asks lost"], "calls repeated")
            proofs.check(summary["examined"] == 1_000, "incomplete")


def overload(proofs: Proofs) -> None:
    """A rate above what the workers can do gives nine tenths of the best throughput."""
    for _ in range(proofs.repeat):
        with proofs.trial("20,000 a second") as seen:
            most, _ = _held(proofs, _OVER_TPS, _MANY)
            fitting, _ = _held(proofs, most, _MANY)
            seen |= {"a second": round(most), "at the fitting rate": round(fitting)}
            proofs.check(most >= 0.9 * fitting, f"{most} of {fitting}")


def frozen(proofs: Proofs) -> None:
    """A frozen host is lost by its silence, the run goes on within 10 s, and its return is harmless."""
    for _ in range(proofs.repeat):
        with proofs.trial("a host is frozen") as seen, service(2_000) as sandbox:
            fleet = Trial(proofs.place, sandbox)
            fleet.start()
            fleet.examined(200)
            node = proofs.cluster.node_of(fleet.workers()[0])
            node.signal(signal.SIGSTOP)
            began_s = time.monotonic()
            try:
                fleet.wait(partial(fleet.events, "worker_lost"))
                lost_s = time.monotonic() - began_s
                fleet.examined(len(fleet.events("image_examined")) + 50)
                took_s = time.monotonic() - began_s
            finally:
                node.signal(signal.SIGCONT)
            summary, repeated = fleet.end(), again(sandbox)
            (lost, *_) = fleet.events("worker_lost")
            seen |= {"lost after s": round(lost_s, 1), "50 more images after s": round(took_s, 1)}
            seen |= {"calls repeated": repeated, "asks lost": fleet.asks()}
            seen["late answers kept"] = summary["workers"]["late_answers"]
            proofs.check(lost["reason"] == "silence", f"lost by {lost['reason']}")
            proofs.check(took_s <= 10, f"went on after {took_s:.1f} s")
            proofs.check(repeated <= fleet.asks(), f"{repeated} repeated")
            proofs.check(summary["examined"] == 2_000, "incomplete")


def lanes(proofs: Proofs) -> None:
    """Each of three lanes reaches .95 of its quota with two workers, and a throttle of one leaves the others alone."""
    rates = tuple(RateSpec(tps, region) for region, tps in _QUOTAS.items())
    cases: tuple[tuple[str, int | None, dict[str, int]], ...] = (
        ("one process, quotas of 50, 20 and 5", None, {}),
        ("quotas of 50, 20 and 5", 2, {}),
        ("one lane throttled", 2, {"tps": 30}),
    )
    for case, workers, west in cases:
        with proofs.trial(case) as seen, service(3_500, rates=rates) as sandbox:
            own = [{"region": region, **(west if region == "us-west-2" else {})} for region in _QUOTAS]
            limits = {"budget_usd": 3.3, "max_images": 3_000}
            sections: dict[str, Any] = {"detector": {"lanes": own}, "convert": True, "limits": limits}
            fleet = Trial(proofs.place, sandbox, workers=workers, **sections)
            summary = fleet.run()
            for region, share in _shares(fleet).items():
                seen[region] = round(share, 3)
                is_throttled = bool(west) and region == "us-west-2"
                proofs.check(share >= 0.95 or is_throttled, f"{region} reached {share:.3f} of its quota")
            throttled = {name: lane["throttled"] for name, lane in summary["lanes"].items()}
            seen["throttled"] = sum(throttled.values())
            proofs.check(not west or throttled["us-west-2"] > 0, "nothing was throttled")
            spent, billed = summary["spent_usd"], fleet.workspace.billed() / 1000
            proofs.check(billed <= spent <= 3.3, f"{billed} billed, {spent} told")


def _shares(fleet: Trial) -> dict[str, float]:
    """What each lane examined of its quota, between the begin and the end."""
    examined = fleet.events("image_examined")
    from_s, to_s = examined[0]["at_unix_s"] + _BEGIN_S, examined[-1]["at_unix_s"] - _END_S
    counts = dict.fromkeys(_QUOTAS, 0)
    for event in examined:
        counts[event["lane"]] += from_s <= event["at_unix_s"] < to_s
    return {region: count / (to_s - from_s) / _QUOTAS[region] for region, count in counts.items()}
