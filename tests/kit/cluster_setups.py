"""Proofs on Ray of what a run needs, refuses and survives: see ``cluster_proofs``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import Latency, SandboxProcess
from tests.kit.cluster_rows import Proofs
from tests.kit.cluster_trials import (
    PICTURES,
    Place,
    Trial,
    again,
    forget,
    hide,
    kill_decoders,
    send,
    service,
    shim,
    upload_pictures,
)
from tests.kit.onnx_models import COLOURS, colour_model, write_model
from tests.kit.pictures import plain
from tests.kit.ray_cluster import RayCluster
from tests.kit.services import boto_client

_SOON = Latency(0.01, 0.02)
_NEWCOMER_S = 180.0
_OWN_PICTURES = 120

_OTHER_VERSION = "import asyncfilter; asyncfilter.__version__ = '0.0.1'\n"
_OTHER_JOB = """\
import msgspec
from asyncfilter.wiring import fleet_actor
hello = fleet_actor._hello
fleet_actor._hello = lambda spec: msgspec.structs.replace(hello(spec), fingerprint="0" * 64)
"""
_NO_RAY = "import sys; sys.modules['ray'] = None\n"


def poison(proofs: Proofs) -> None:
    """An image that kills its decoder each time fails as ``worker_lost``; no neighbour's call is repeated."""
    for _ in range(proofs.repeat):
        with proofs.trial("a decoder killed, each time") as seen, service(latency=Latency(0.05, 0.2)) as sandbox:
            size = upload_pictures(sandbox, proofs.rng.randrange(10, 30))
            fleet = Trial(
                proofs.place, sandbox, source={"uri": "s3://pictures/", "include": ["**"]}, convert=True
            )  # fmt: skip
            fleet.start()
            killed: set[int] = set()
            while not fleet.has_ended:
                killed.update(*(kill_decoders(pid, size) for pid in fleet.workers()))
                time.sleep(0.005)
            seen["decoders killed"] = len(killed)  # fewer than three: the machine was too busy to see one decode
            summary = fleet.end(1)
            repeated = fleet.workspace.billed() - (PICTURES - 1)  # bytes have no key to count by
            seen |= {"calls repeated": repeated, "failed": summary["failed"]}
            proofs.check(summary["failed"] == {"worker_lost": 1}, f"failed {summary['failed']}")
            proofs.check(repeated == 0, f"{repeated} calls repeated")


def own_models(proofs: Proofs) -> None:
    """Answers of a model of one's own are those of one process, also with a worker killed; nothing is paid."""
    with service(latency=_SOON) as sandbox:
        _upload_colours(sandbox)
        keys = write_model(proofs.place.new_folder(), colour_model([[one / 10 for one in row] for row in COLOURS]))
        given: dict[str, Any] = {
            "source": {"uri": "s3://pictures/", "include": ["**"]},
            "detector": dict(keys),
            "rules": [{"keep": {"any": "Ruby", "confidence": 80}}],
            "limits": {"tps": 20},
        }
        alone = Trial(proofs.place, sandbox, workers=None, **given)
        alone.run()
        expected, copied = alone.answer(), alone.copies()
        for number in range(proofs.repeat):
            with proofs.trial("undisturbed" if number % 2 else "worker killed") as seen:
                fleet = Trial(proofs.place, sandbox, **given)
                fleet.start()
                if number % 2 == 0:
                    fleet.examined(proofs.rng.randrange(5, _OWN_PICTURES - 40))
                    seen["kills"] = int(send(proofs.rng.choice(fleet.workers()), signal.SIGKILL))
                summary = fleet.end()
                seen |= {"images": summary["examined"], "usd told": summary["spent_usd"]}
                proofs.check(fleet.answer() == expected and len(expected) == _OWN_PICTURES, "other answers")
                proofs.check(fleet.copies() == copied and copied, "other copies")


def _upload_colours(sandbox: SandboxProcess) -> None:
    with boto_client(sandbox, "s3") as s3:
        for number in range(_OWN_PICTURES):
            colour = f"#{('c00000', '00c000', '0000d0')[number % 3]}"
            body = plain(width=100 + number, colour=colour)
            s3.put_object(Bucket="pictures", Key=f"raw/{number:03}.jpg", Body=body)


# -- Refusals ----------------------------------------------------------------------------------------------------------


def refusals(proofs: Proofs) -> None:
    """Another version or job, a wrong token or none, no Ray: nothing is paid. ``send: auto`` keeps a job at home."""
    wrong = proofs.place.new_folder() / "token"
    wrong.write_text("0" * 64)
    with service(50, latency=_SOON) as sandbox:
        with proofs.trial("send: auto, by reference"):
            home = Trial(proofs.place, sandbox)
            home.workspace.job.write_text(home.workspace.job.read_text().replace("send: all", "send: auto"))
            summary = home.run()
            proofs.check(summary["workers"] is None and home.events("kept_at_home"), "not kept at home")
        no_token = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": ""}
        _refused(proofs, sandbox, "no token", 4, environment=no_token, says=proofs.cluster.address)
        _refused(proofs, sandbox, "wrong token", 4, environment={"RAY_AUTH_TOKEN_PATH": str(wrong)})
        _refused(proofs, sandbox, "no Ray there", 4, address="127.0.0.1:9", says="127.0.0.1:9")
        _refused(proofs, sandbox, "extra not installed", 2, begins=_NO_RAY, says="pip install 'asyncfilter[ray]'")
        _refused(proofs, sandbox, "workers of another version", 2, nodes_begin=_OTHER_VERSION, says="0.0.1")
        _refused(proofs, sandbox, "workers of another job", 2, nodes_begin=_OTHER_JOB, says="fingerprint")
        _half_fits(proofs, sandbox)


def _refused(proofs: Proofs, sandbox: SandboxProcess, case: str, code: int, *, says: str = "", **how: Any) -> None:
    with proofs.trial(case) as seen:
        forget(sandbox)
        trial = Trial(proofs.place, sandbox)
        trial.workspace.env |= how.get("environment", {})
        if "address" in how:
            text = trial.workspace.job.read_text()
            trial.workspace.job.write_text(text.replace(proofs.cluster.address, how["address"]))
        if "begins" in how:
            hide(trial, how["begins"])
        if "nodes_begin" in how:
            _only_nodes_with(proofs, trial, how["nodes_begin"])
        trial.start()
        _, err = trial.outputs()
        assert trial.process is not None
        seen["exit"] = trial.process.returncode
        proofs.check(seen["exit"] == code and says in err, f"exit {seen['exit']}: {err[-600:]}")
        proofs.check(trial.workspace.billed() == 0, "paid")
    if "nodes_begin" in how:
        proofs.cluster.clear()
        proofs.cluster.complete()


def _only_nodes_with(proofs: Proofs, trial: Trial, text: str) -> None:
    path = shim(trial, text)
    proofs.cluster.clear()
    for _ in range(2):
        proofs.cluster.add(PYTHONPATH=path)


def _half_fits(proofs: Proofs, sandbox: SandboxProcess) -> None:
    """One of two machines has another version: the other one does the work."""
    with proofs.trial("one of two workers of another version") as seen:
        forget(sandbox)
        trial = Trial(proofs.place, sandbox)
        trial.workspace.job.write_text(
            trial.workspace.job.read_text().replace("workers: 2", "workers: {min: 1, max: 2}")
        )
        path = shim(trial, _OTHER_VERSION)
        proofs.cluster.clear()
        proofs.cluster.add()
        proofs.cluster.add(PYTHONPATH=path)
        summary = trial.run()
        seen |= {"images": summary["examined"], "joined": summary["workers"]["joined"]}
        proofs.check(summary["examined"] == 50 and again(sandbox) == 0, "incomplete, or paid twice")
    proofs.cluster.clear()
    proofs.cluster.complete()


# -- A Ray of its own --------------------------------------------------------------------------------------------------


def lost_ray(proofs: Proofs) -> None:
    """Ray's own head is killed: the run ends with 75, and nothing is told too low. On a cluster of its own."""
    for _ in range(proofs.repeat):
        place = proofs.place.new_folder()
        with (
            proofs.trial("Ray's own head killed") as seen,
            RayCluster(nodes=1, cpus=4) as cluster,
            service(20_000) as sandbox,
        ):
            fleet = Trial(Place(cluster, place), sandbox)
            fleet.start()
            fleet.examined(100)
            cluster.kill_gcs()
            began_s = time.monotonic()
            summary, took_s = fleet.end(75), time.monotonic() - began_s
            billed = fleet.workspace.billed()
            seen |= {"ended after s": round(took_s), "billed": billed, "told": summary["billed_calls"]}
            proofs.check(billed <= summary["billed_calls"], f"{billed} billed, {summary['billed_calls']} told")


def demo(proofs: Proofs) -> None:
    """``asyncfilter demo --on ray`` ends within three minutes, on a Ray of its own."""
    for _ in range(proofs.repeat):
        with proofs.trial("demo --on ray") as seen:
            folder = proofs.place.new_folder()
            command = [sys.executable, "-m", "asyncfilter", "demo", "--on", "ray", "--json"]
            seen["took s"] = took_s = _timed(command, folder)
            proofs.check(took_s < _NEWCOMER_S, f"it took {took_s} s")


def newcomer(proofs: Proofs) -> None:
    """From a wheel and an empty environment to the end of ``asyncfilter demo --on ray`` in three minutes."""
    for _ in range(proofs.repeat):
        with proofs.trial("pip install, then demo --on ray") as seen:
            folder = proofs.place.new_folder()
            hatchling = Path(sys.executable).with_name("hatchling")
            _timed([str(hatchling), "build", "--target", "wheel", "--directory", str(folder)], Path.cwd())
            (wheel,) = folder.glob("*.whl")
            seen["venv s"] = _timed([sys.executable, "-m", "venv", "venv"], folder)
            program = folder / "venv" / "bin"
            install = [str(program / "pip"), "install", "--quiet", "--disable-pip-version-check", f"{wheel}[ray]"]
            seen["pip install s"] = _timed(install, folder)
            seen["demo s"] = _timed([str(program / "asyncfilter"), "demo", "--on", "ray", "--json"], folder)
            took_s = seen["venv s"] + seen["pip install s"] + seen["demo s"]
            seen["all s"] = round(took_s)
            proofs.check(took_s < _NEWCOMER_S, f"it took {took_s:.0f} s")


def _timed(command: list[str], folder: Path) -> float:
    """Run a command without settings of Ray, of AWS and of Python; its duration, seconds."""
    hidden = ("RAY_", "AWS_", "PYTHONPATH") if "asyncfilter" not in command else ("RAY_", "AWS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    began_s = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-600:]}"
    return round(time.monotonic() - began_s, 1)
