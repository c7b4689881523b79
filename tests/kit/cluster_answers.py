"""Proofs on Ray of what is answered and paid, whatever is killed: see ``cluster_proofs``."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from asyncfilter.sandbox import Latency, SandboxProcess
from tests.kit.cluster_rows import Proofs
from tests.kit.cluster_trials import (
    IMAGES,
    TPS,
    EndedError,
    Trial,
    again,
    forget,
    send,
    service,
    stories,
    upload_equal_pictures,
)

STOPS: dict[str, dict[str, Any]] = {
    "matches": {"stop": {"matches": 20}},
    "misses_in_a_row": {"stop": {"misses_in_a_row": 190}},
    "hit_rate": {"stop": {"hit_rate": {"below": 0.2}}, "source": {"uri": "s3://raw/", "order": "random"}},
    "budget": {"limits": {"tps": TPS, "budget_usd": 0.15}},
    "max_images": {"limits": {"tps": TPS, "max_images": 150}},
    "faults": {},
    "duplicates": {"source": "s3://same/"},
}
FAULTS = ("throttle=2%", "reset=1%", "internal=1%")
_KILLS = 3
"""Workers that are killed in one run, at the most: an image that loses more of them fails."""

_BUDGET_USD = 0.25
_LATENCY = Latency(0.1, 0.5)


class _Expected(NamedTuple):
    """What one process does."""

    answer: set[tuple[int, str, str]]
    copies: set[str]
    stop: str


def answers(proofs: Proofs) -> None:
    """Answer, copies and stop are those of one process, with 2 and 4 workers, undisturbed."""
    for number in range(proofs.repeat):
        with service(latency=_LATENCY, seed=proofs.seed) as sandbox:
            upload_equal_pictures(sandbox)
            for name in STOPS:
                expected = _alone(proofs, sandbox, name)
                _check_equal(proofs, sandbox, name, expected, workers=(2, 4)[number % 2])


def kills(proofs: Proofs) -> None:
    """So they are with ``repeat`` workers killed at random moments, up to three in one run, of 2 workers or 4."""
    killed, number = 0, 0
    expected: dict[str, _Expected] = {}
    with service(latency=_LATENCY, seed=proofs.seed) as sandbox:
        upload_equal_pictures(sandbox)
        while killed < proofs.repeat:
            name, workers = list(STOPS)[number % len(STOPS)], (2, 2, 4)[number % 3]
            if name not in expected:
                expected[name] = _alone(proofs, sandbox, name)
            killed += _check_equal(proofs, sandbox, name, expected[name], workers=workers, kills=_KILLS)
            number += 1


def _alone(proofs: Proofs, sandbox: SandboxProcess, name: str) -> _Expected:
    """One process."""
    _set_faults(sandbox, name)
    alone = Trial(proofs.place, sandbox, workers=None, **STOPS[name])
    return _Expected(stop=alone.run()["stop_reason"], answer=alone.answer(), copies=alone.copies())


def _set_faults(sandbox: SandboxProcess, name: str) -> None:
    sandbox.control("POST", "faults", {"faults": list(FAULTS) if name == "faults" else []})


def _check_equal(
    proofs: Proofs, sandbox: SandboxProcess, name: str, expected: _Expected, *, workers: int, kills: int = 0
) -> int:
    """One run with a fleet; returns how many workers were killed."""
    killed = 0
    with proofs.trial(name) as seen:
        seen["workers"] = workers
        forget(sandbox)
        _set_faults(sandbox, name)
        fleet = Trial(proofs.place, sandbox, workers=workers, **STOPS[name])
        fleet.start()
        if kills:
            moments = sorted(proofs.rng.sample(range(1, len(expected.answer)), kills))
            seen["kills"] = killed = _kill_workers(fleet, moments, proofs.rng)
        summary = fleet.end(0, 1)
        proofs.check(summary["stop_reason"] == expected.stop, f"stopped by {summary['stop_reason']}")
        is_shorter = killed and name == "budget"  # what was counted twice is paid from the same budget
        mine, copied = fleet.answer(), fleet.copies()
        same = mine <= expected.answer if is_shorter else mine == expected.answer
        proofs.check(same, f"{len(mine ^ expected.answer)} other answers")
        proofs.check(copied <= expected.copies if is_shorter else copied == expected.copies, "other copies")
        told, billed = summary["billed_calls"], fleet.workspace.billed()
        proofs.check(billed <= told, f"{billed} billed, {told} told")
        seen |= {"images": len(mine), "calls repeated": again(sandbox), "asks lost": fleet.asks()}
        if name != "faults":
            proofs.check(seen["calls repeated"] <= seen["asks lost"], "more calls repeated than were lost")
    return killed


def _kill_workers(fleet: Trial, moments: list[int], rng: random.Random) -> int:
    """Kill a worker whenever so many images are examined; returns how many were killed."""
    killed = 0
    with suppress(EndedError):  # perhaps while no worker was there
        fleet.wait(lambda: len(fleet.workers()) >= 2)
        for moment in moments:
            fleet.examined(moment)
            fleet.wait(fleet.workers)
            pids = fleet.workers()
            killed += bool(pids) and not fleet.has_ended and send(rng.choice(pids), signal.SIGKILL)
    return killed


# -- What is paid ------------------------------------------------------------------------------------------------------


def ceiling(proofs: Proofs) -> None:
    """The summary is never below what was billed, nor above the limit: worker, node and head killed in one run."""
    for _ in range(-(-proofs.repeat // len(_VICTIMS))):
        with proofs.trial("worker, node and head killed") as seen, service(seed=proofs.seed) as sandbox:
            fleet = Trial(proofs.place, sandbox, limits={"tps": TPS / 2, "budget_usd": _BUDGET_USD})
            fleet.start()
            seen["kills"] = _kill_all_kinds(proofs, fleet)
            summary, billed = fleet.end(0, 1), fleet.workspace.billed() / 1000
            spent = summary["spent_usd"]
            proofs.check(billed <= spent + 1e-9 <= _BUDGET_USD + 2e-9, f"{billed} billed, {spent} told")
            seen |= {"usd billed": billed, "usd told": spent, "limit": _BUDGET_USD}
        proofs.cluster.complete()


def _kill_all_kinds(proofs: Proofs, fleet: Trial) -> int:
    """Kill a worker, a node and the head, in random order at random moments; returns how many there was time for."""
    victims = proofs.rng.sample(list(_VICTIMS), len(_VICTIMS))
    killed = 0
    with suppress(EndedError):
        for victim, moment in zip(victims, sorted(proofs.rng.sample(range(10, 170), len(victims))), strict=True):
            fleet.examined(moment)
            fleet.wait(fleet.workers)
            killed += _VICTIMS[victim](proofs, fleet)
    return killed


def _kill_worker(proofs: Proofs, fleet: Trial) -> bool:
    pids = fleet.workers()
    return bool(pids) and send(proofs.rng.choice(pids), signal.SIGKILL)


def _kill_node(proofs: Proofs, fleet: Trial) -> bool:
    for pid in fleet.workers():
        for node in proofs.cluster.nodes:
            if pid in node.pids():
                node.kill()
                return True
    return False


def _kill_head(_: Proofs, fleet: Trial) -> bool:
    if fleet.has_ended:
        return False
    fleet.kill_head()
    fleet.start()
    return True


_VICTIMS: dict[str, Callable[[Proofs, Trial], bool]] = {
    "worker": _kill_worker,
    "node": _kill_node,
    "head": _kill_head,
}


def once(proofs: Proofs) -> None:
    """No call is made twice but ``asks`` of a killed worker: none after SIGTERM to one."""
    for _ in range(proofs.repeat):
        for how, number in (("worker killed", signal.SIGKILL), ("worker told to leave", signal.SIGTERM)):
            with proofs.trial(how) as seen, service(seed=proofs.seed) as sandbox:
                fleet = Trial(proofs.place, sandbox)
                fleet.start()
                fleet.examined(proofs.rng.randrange(40, 200))
                send(proofs.rng.choice(fleet.workers()), number)
                _check_once(proofs, fleet, seen, most=fleet.asks if number is signal.SIGKILL else None)


def dead_heads(proofs: Proofs) -> None:
    """A head is killed with its workers alive: the next one takes over what they keep, and no call is made twice."""
    killed, number = 0, 0
    while killed < proofs.repeat:
        case, wanted = (("2 workers", 2), ("1 to 4 workers", {"min": 1, "max": 4}))[number % 2]
        with proofs.trial(f"head killed, {case}") as seen, service(seed=proofs.seed) as sandbox:
            fleet = Trial(proofs.place, sandbox, cluster=proofs.place.cluster_keys(wanted))
            fleet.start()
            for moment in sorted(proofs.rng.sample(range(20, 330), 2)):
                fleet.examined(moment)
                seen["kills"] = seen.get("kills", 0) + _kill_head(proofs, fleet)
            _check_once(proofs, fleet, seen, most=None)
        killed, number = killed + seen.get("kills", 1), number + 1


def dead_disks(proofs: Proofs) -> None:
    """The head is killed and its folder removed: with a state in S3 and living workers no call is made twice."""
    for number in range(proofs.repeat):
        mode = ("checkpoint", "checkpoint_copy")[number % 2]
        sections: dict[str, Any] = {mode: "s3://clean/states/"}
        with proofs.trial(mode) as seen, service(seed=proofs.seed) as sandbox:
            lost, following = (Trial(proofs.place, sandbox, **sections) for _ in range(2))
            lost.start()
            lost.examined(proofs.rng.randrange(40, 200))
            lost.kill_head()
            shutil.rmtree(lost.workspace.folder)
            following.start()
            _check_once(proofs, following, seen, most=None)
            billed, told = following.workspace.billed(), following.end()["billed_calls"]
            seen |= {"billed": billed, "told": told}
            proofs.check(mode != "checkpoint" or told >= billed, f"{billed} billed, {told} told")


def _check_once(proofs: Proofs, fleet: Trial, seen: dict[str, Any], *, most: Callable[[], int] | None) -> None:
    """Check the end of a run of ``IMAGES``, and that at most so many calls were made twice."""
    summary, repeated = fleet.end(), again(fleet.workspace.sandbox)
    allowed = 0 if most is None else most()
    seen |= {"calls repeated": repeated, "asks lost": fleet.asks(), "adopted": summary["adopted"]}
    proofs.check(summary["examined"] == IMAGES, f"{summary['examined']} examined")
    told = f"{repeated} repeated, {allowed} allowed"
    proofs.check(repeated <= allowed, f"{told} {stories(fleet.workspace.sandbox, fleet)}")
