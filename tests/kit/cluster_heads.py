"""Proofs on Ray that of two heads over one checkpoint the older obeys, also after it was cut off: ``cluster_proofs``.

What cuts a head off is a proxy around its wires that drops every frame, in both directions, while a file exists.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import SandboxProcess
from tests.kit.cluster_rows import Proofs
from tests.kit.cluster_trials import Trial, again, copy_checkpoint, hide, send, service, stories

_IMAGES = 1_500
_OBEYS_S = 10.0

_DROPS = """\
import pathlib
from asyncfilter.fleet import rays

cut, send, receive = pathlib.Path({cut!r}), rays.RayWire.send, rays.RayWire.receive

async def sending(self, frame):
    if not cut.exists():
        await send(self, frame)

async def receiving(self, session):
    while True:
        frame = await receive(self, session)
        if not cut.exists():
            return frame

rays.RayWire.send, rays.RayWire.receive = sending, receiving
"""


def heads(proofs: Proofs) -> None:
    """The older ends with exit 3 within 10 s of when it can be told, and no call is made twice."""
    for _ in range(proofs.repeat):
        for case, disturb in _CASES.items():
            with proofs.trial(case) as seen, service(_IMAGES) as sandbox:
                _two(proofs, sandbox, seen, disturb)


def _two(proofs: Proofs, sandbox: SandboxProcess, seen: dict[str, Any], disturb: Disturb) -> None:
    older, later = Trial(proofs.place, sandbox), Trial(proofs.place, sandbox)
    cut = older.workspace.folder / "cut"
    hide(older, _DROPS.format(cut=str(cut)))
    older.start()
    older.examined(proofs.rng.randrange(100, 300))
    heal = disturb(older, cut)
    copy_checkpoint(older, later)
    later.start()
    later.wait(partial(later.events, "worker_joined"))
    heal()
    began_s = time.monotonic()
    older.end(3)
    took_s = time.monotonic() - began_s
    summary, repeated = later.end(), again(sandbox)
    seen |= {"older ended after s": round(took_s, 1), "calls repeated": repeated, "adopted": summary["adopted"]}
    seen["asks lost by the later"] = later.asks()
    proofs.check(took_s <= _OBEYS_S, f"the older ended after {took_s:.1f} s")
    proofs.check(summary["examined"] == _IMAGES, f"{summary['examined']} examined")
    if disturb is not _none:  # else what the older has paid for since the copy is unknown to the later
        proofs.check(repeated <= later.asks(), f"{repeated} calls repeated {stories(sandbox, older, later)}")
        proofs.check(later.workspace.billed() <= summary["billed_calls"], "more billed than told")


Disturb = Callable[[Trial, Path], Callable[[], object]]
"""Disturbs the older head; what is returned ends it."""


def _none(_older: Trial, _cut: Path) -> Callable[[], object]:
    return int


def _cut_off(older: Trial, cut: Path) -> Callable[[], object]:
    """Cut it off until it has lost its workers."""
    cut.touch()
    older.wait(lambda: len(older.events("worker_lost")) >= 2)
    return cut.unlink


def _cut_shortly(_older: Trial, cut: Path) -> Callable[[], object]:
    """Cut it off, and go on before it has noticed."""
    cut.touch()
    time.sleep(1.0)  # what has arrived is durable by then
    return cut.unlink


def _stand_still(older: Trial, _cut: Path) -> Callable[[], object]:
    """Freeze it."""
    send(older.pid, signal.SIGSTOP)
    return partial(send, older.pid, signal.SIGCONT)


_CASES: dict[str, Disturb] = {
    "both live": _none,
    "the older was cut off": _cut_off,
    "the older was cut off shortly": _cut_shortly,
    "the older stood still": _stand_still,
}
