"""Signals and kills at random moments, as many as wanted: ``python -m tests.kit.sweep signals --moments 200``.

``tests/cli/test_sweeps.py`` makes a few of each in every run of the tests; ``make sweep`` makes 200 of each and prints
the counts. Both take a kind of job (``--job lanes``, see ``sweep_jobs``), the plain one by default.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from asyncfilter.checkpoint import read_images
from asyncfilter.sandbox import Latency, SandboxProcess
from tests.kit.ignored_signals import unignore_for_children
from tests.kit.jobs import COPIES
from tests.kit.services import boto_client
from tests.kit.sweep_jobs import KINDS, LANE_KEYS, JobKind
from tests.kit.workspace import Workspace, ended

IMAGES = 8
CONCURRENCY = 4
SIGNAL_SPREAD = 1000
"""Objects for each image, where most are skipped."""
FOREIGN = ("Traceback", "Exception ignored", "never retrieved", "was never awaited", "Unclosed")
"""Words of a traceback or of a complaint that is not the program's own."""

JOB: dict[str, Any] = {
    "source": "s3://raw/",
    "rules": [{"keep": {"any": "Robin", "confidence": 60}}, {"review": {"any": "Robin", "confidence": 40}}],
    "actions": COPIES,
    "limits": {"tps": 200, "concurrency": CONCURRENCY, "budget_usd": 1},
}


BEGUN: list[Sweep] = []
"""The sweeps of this process."""


@dataclass
class Sweep:
    """The results so far.

    Attributes:
        counts: How often each outcome came, by its name.
        wrong: What should not have been, one text each.
        rows: A file that gets a line for each moment as soon as it is over; None for none.
    """

    rows: ClassVar[Path | None] = None

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep it for the report of a sweep that fails in its middle."""
        BEGUN.append(self)

    def check(self, holds: object, what: str) -> None:
        """Record ``what`` as wrong unless it holds."""
        if not holds:
            self.wrong.append(what)

    def over(self, what: str) -> None:
        """Write the line of the moment ``what``: what has been wrong so far, and the counts."""
        gc.collect()  # commands in this process leave some 18 MB each: after hundreds, the memory of the machine
        if self.rows is not None:
            with self.rows.open("a", encoding="utf-8") as file:
                print(time.strftime("%T"), what, dict(sorted(self.counts.items())), *self.wrong, sep=" | ", file=file)

    def report(self) -> str:
        """The counts and everything that is wrong, a line each."""
        return "\n".join([*(f"{number:5} {name}" for name, number in sorted(self.counts.items())), *self.wrong])


# -- Signals -----------------------------------------------------------------------------------------------------------


@contextmanager
def signal_sandbox(kind: JobKind = KINDS["plain"]) -> Iterator[SandboxProcess]:
    """A service in which a run lasts about as long as the start of the program."""
    with SandboxProcess(kind.options(IMAGES, spread=SIGNAL_SPREAD, latency=Latency(0.05, 0.15))) as sandbox:
        yield sandbox


class SignalSweep:
    """Sends signals to runs at random moments between the start of the process and its end.

    Args:
        sandbox: From ``signal_sandbox``.
        folder: For the jobs, one folder each.
        seed: Seed of the moments.
        kind: Of the jobs, that of the sandbox.
    """

    def __init__(self, sandbox: SandboxProcess, folder: Path, seed: int, kind: JobKind = KINDS["plain"]) -> None:
        self.sweep = Sweep()
        self._sandbox = sandbox
        self._folder = folder
        self._rng = random.Random(seed)
        self._kind = kind
        began_s = time.monotonic()
        workspace = self._workspace("undisturbed")
        code, _, err = ended(workspace.start("run", "job.yaml", "--json"))
        assert code == 0, err
        self._length_s = time.monotonic() - began_s
        self._verdicts = stored_verdicts(workspace)
        assert len(self._verdicts) == IMAGES

    def moment(self, name: str, *numbers: signal.Signals) -> None:
        """One run that gets the signals ``numbers``, and its resumption."""
        workspace = self._workspace(name)
        self._sandbox.control("POST", "reset-stats")
        process = workspace.start("run", "job.yaml", "--json")
        at_s = self._rng.uniform(0, self._length_s)
        time.sleep(at_s)
        is_ours, paid = True, 0
        for index, number in enumerate(numbers):
            time.sleep(self._rng.uniform(0, 0.1) if index else 0)
            is_ours = is_ours and takes_signals(process.pid)
            process.send_signal(number)
            paid = paid if index else workspace.billed()
        code, out, err = ended(process)
        what = f"{name}, {'+'.join(number.name for number in numbers)} at {at_s:.3f} s, exit {code}: "
        if is_ours:
            self._check_end(what, code, out, err, numbers=len(numbers), paid=paid)
        else:
            self.sweep.counts[f"before the program's first line: {code}"] += 1
            self.sweep.check(workspace.billed() == 0, what + "something was paid for")
        self._check_resumed(what, workspace, in_flight=CONCURRENCY * (len(numbers) > 1))
        self.sweep.over(what)

    def _check_end(self, what: str, code: int, out: str, err: str, *, numbers: int, paid: int) -> None:
        self.sweep.counts[f"exit {code}"] += 1
        codes = {0, 75} if numbers == 1 else {0, 75, 130}
        self.sweep.check(code in codes, f"{what}{err}")
        self.sweep.check(not any(word in err for word in FOREIGN), f"{what}{err}")
        if code == 0:
            is_at_its_end = paid + CONCURRENCY >= IMAGES or not self._kind.is_paid
            is_done = json.loads(out)["examined"] == IMAGES and is_at_its_end
            self.sweep.check(is_done, f"{what}the signal was lost; {paid} were paid for when it came\n{err}")

    def _check_resumed(self, what: str, workspace: Workspace, *, in_flight: int) -> None:
        code, _, err = workspace.here("run", "job.yaml", "--json")
        self.sweep.check(code == 0, f"{what}resuming gave {code}: {err}")
        self.sweep.check(stored_verdicts(workspace) == self._verdicts, what + "other verdicts after resuming")
        twice = workspace.billed() - (IMAGES if self._kind.is_paid else 0)
        self.sweep.counts["paid twice"] += twice
        self.sweep.check(0 <= twice <= in_flight, f"{what}{twice} were paid twice")

    def _workspace(self, name: str) -> Workspace:
        folder = self._folder / name
        folder.mkdir()
        sections = self._kind.document(JOB, name, self._folder, spread=SIGNAL_SPREAD)
        workspace = Workspace(folder, self._sandbox, **sections)
        key, secret = LANE_KEYS
        config = folder / "config"
        config.write_text(f"[profile b]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        workspace.env["AWS_CONFIG_FILE"] = str(config)
        return workspace


def takes_signals(pid: int) -> bool:
    """Whether the program has its handlers, or ignores signals at its end (Linux); True for a process that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    masks = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Sig"))
    if not masks:
        return True
    return (
        bool((int(masks["SigCgt"], 16) | int(masks["SigIgn"], 16)) >> (signal.SIGTERM - 1) & 1) or "Z" in status[:200]
    )


def stored_verdicts(workspace: Workspace) -> dict[str, str]:
    """Verdicts in the checkpoint, read with ``export``."""
    code, out, err = workspace.here("export", "job.yaml")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    return {row["key"]: row["verdict"] for row in rows if row["seq"] is not None}


def sweep_signals(folder: Path, *, moments: int, seed: int, kind: JobKind = KINDS["plain"]) -> Sweep:
    """``moments`` each of Ctrl-C and SIGTERM, half as many of SIGHUP, and of two signals in a row."""
    # A shell lets a background command ignore SIGINT, which the interpreters started here would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    unignore_for_children()
    with signal_sandbox(kind) as sandbox:
        signals = SignalSweep(sandbox, folder, seed, kind)
        few = (moments + 1) // 2
        for index in range(moments):
            signals.moment(f"int{index}", signal.SIGINT)
            signals.moment(f"term{index}", signal.SIGTERM)
            if index < few:
                signals.moment(f"hup{index}", signal.SIGHUP)
                signals.moment(f"twice{index}", signal.SIGINT, signal.SIGTERM)
    return signals.sweep


# -- Kills -------------------------------------------------------------------------------------------------------------

KILL_IMAGES = 152
KILL_CONCURRENCY = 8
KILL_SPREAD = 100
FLUSHED = 6
"""Answers of one flush: read, and not yet durable."""

TROUBLE = (
    "throttle=2%", "internal=2%", "reset=1%", "cut=1%", "timeout=0.3%", "unavailable=1%", "expired=0.2%",
    "internal:ListObjectsV2=5%", "slowdown:CopyObject=3%", "late-error=2%", "reset:CopyObject=2%",
)  # fmt: skip
LOST = ("internal", "reset", "cut", "timeout", "unavailable")
"""Faults after which a call may have been billed, and is made again."""
REFUSED = ("throttle", "expired")
"""Faults after which a call was not billed, and is made again."""

CREDENTIALS_FAIL = """\
case $(($(od -An -N1 -tu1 /dev/urandom) % 28)) in
  0) echo "no token" >&2; exit 1;;
  1) echo "<html>sign in</html>"; exit 0;;
  2) echo '{"Version": 1}'; exit 0;;
  3) exec sleep 0.3;;
esac
"""
"""One time in seven there are no credentials."""
CREDENTIALS = """\
end=$(date -u -d '+5 min' +%FT%TZ)
echo '{"Version": 1, "AccessKeyId": "'$1'", "SecretAccessKey": "'$2'", "Expiration": "'$end'"}'
"""
"""Credentials that end soon, so that they are asked for again and again."""


class KillSweep:
    """Kills runs at random moments while credentials, store and disk fail at random.

    Args:
        sandbox: A service with ``KILL_IMAGES`` images that counts the examinations of each.
        folder: For the jobs, one folder each.
        seed: Seed of the moments.
        kind: Of the jobs, that of the sandbox.
    """

    def __init__(self, sandbox: SandboxProcess, folder: Path, seed: int, kind: JobKind = KINDS["plain"]) -> None:
        self.sweep = Sweep()
        self.kills = 0
        self._sandbox = sandbox
        self._folder = folder
        self._rng = random.Random(seed)
        self._kind = kind
        self._rounds = 0
        quiet = self._workspace()
        began_s = time.monotonic()
        code, _, err = ended(quiet.start("run", "job.yaml", "--set", "limits.max_images=1"))
        self._start_s = time.monotonic() - began_s  # longer on a busy machine
        assert code == 0, err
        code, _, err = quiet.here("run", "job.yaml")
        assert code == 0, err
        self._verdicts = stored_verdicts(quiet)
        assert len(self._verdicts) == KILL_IMAGES
        assert 0 < list(self._verdicts.values()).count("keep") < KILL_IMAGES

    def round(self, kills: int) -> None:
        """One job, killed up to ``kills`` times in all rounds, until it ends; then its results are checked."""
        workspace = self._workspace()
        give_credentials(workspace, CREDENTIALS_FAIL)
        self._sandbox.control("POST", "reset-stats")
        self._sandbox.control("POST", "faults", {"faults": [*TROUBLE, *self._kind.trouble]})
        ends = 0
        while self.kills < kills:
            ends += 1
            if self._session(workspace) in (0, 1):
                break
        self._sandbox.control("POST", "faults", {"faults": []})
        give_credentials(workspace)
        self._check(workspace, ends)
        self.sweep.over(f"round {self._rounds}, {ends} sessions, {self.kills} kills")

    def _session(self, workspace: Workspace) -> int:
        """One start of the program, and its end; returns the exit code."""
        process = workspace.start("run", "job.yaml", "--json")
        least_s, most_s = 0.2, self._start_s + 4
        if self._rng.random() < 0.5:  # on a busy machine, most moments would be before the first call
            self._wait_for_calls(process)
            least_s, most_s = 0, 4
        fails_s = self._rng.uniform(least_s, most_s) if self._rng.random() < 0.3 else None
        end_s = self._rng.uniform(least_s, most_s)
        if fails_s is not None and fails_s < end_s:
            time.sleep(fails_s)
            fill_disk(process.pid, workspace.folder / ".asyncfilter")
            end_s -= fails_s
            self.sweep.counts["disk full"] += 1
        try:
            process.wait(end_s)
        except subprocess.TimeoutExpired:
            process.kill()
            self.kills += 1
        code, _, err = ended(process)
        self.sweep.counts[f"exit {code}"] += 1
        what = f"round {self._rounds}, session with exit {code}: {err}"
        self.sweep.check(code in {-signal.SIGKILL, 0, 1, 3, 4}, what)
        self.sweep.check(not any(word in err for word in FOREIGN), what)
        return code

    def _wait_for_calls(self, process: subprocess.Popen[str]) -> None:
        """Return once the process has examined an image, or has ended."""
        before = self._calls()
        while process.poll() is None and self._calls() == before:
            time.sleep(0.05)

    def _calls(self) -> int:
        operation = "DetectLabels" if self._kind.is_paid else "GetObject"
        operations = self._sandbox.stats().operations
        return operations[operation].attempts if operation in operations else 0

    def _check(self, workspace: Workspace, ends: int) -> None:
        code, out, err = workspace.here("run", "job.yaml", "--retry-failed", "--json")
        what = f"round {self._rounds} after {ends} sessions: "
        self.sweep.check(code == 0, f"{what}exit {code}, {err}")
        self.sweep.check(stored_verdicts(workspace) == self._verdicts, what + "other verdicts")
        with boto_client(self._sandbox, "s3") as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket="clean", Prefix=f"{self._rounds}/")
            copied = {item["Key"].partition("/")[2] for page in pages for item in page.get("Contents", [])}
        kept = {key for key, verdict in self._verdicts.items() if verdict == "keep"}
        self.sweep.check(copied == kept, f"{what}{len(copied)} copies of {len(kept)}")
        self.sweep.counts["rounds"] += 1
        summary: dict[str, Any] = json.loads(out) if code == 0 else {"spent_usd": 0, "state": None}
        self._check_bill(what, ends, spent=round(summary["spent_usd"] * 1000))
        if summary["state"]:
            self._check_state(what, workspace, summary["state"])

    def _check_bill(self, what: str, ends: int, *, spent: int) -> None:
        """No call is made again but those whose answer was lost, or not yet durable."""
        stats = self._sandbox.stats()
        if not self._kind.is_paid:
            self.sweep.check("DetectLabels" not in stats.operations, f"{what}a detection was called")
            return
        detect = stats.operations["DetectLabels"]
        calls = stats.keys_examined + sum(count - 1 for count in stats.keys_examined_again.values())
        again = calls - KILL_IMAGES - sum(detect.faulted.get(kind, 0) for kind in REFUSED)
        lost = sum(detect.faulted.get(kind, 0) for kind in LOST)
        self.sweep.counts["paid twice, not by a lost answer"] += max(0, again - lost)
        allowed = lost + ends * (KILL_CONCURRENCY + FLUSHED)
        self.sweep.check(again <= allowed, f"{what}{again} were paid twice, {lost} of them by lost answers")
        self.sweep.check(detect.billed <= spent, f"{what}{detect.billed} were billed, {spent} are counted")

    def _check_state(self, what: str, workspace: Workspace, state: dict[str, Any]) -> None:
        """What S3 has is whole, and what the file has."""
        self.sweep.counts["states checked"] += 1
        self.sweep.check(state["behind_rows"] == 0, f"{what}{state['behind_rows']} rows are not in S3")
        code, out, err = workspace.here("state", "show", "job.yaml", "--deep", "--json")
        self.sweep.check(code == 0, f"{what}state show gave {code}: {out}{err}")
        code, _, err = workspace.here("state", "pull", "job.yaml", "-o", "pulled.db")
        self.sweep.check(code == 0, f"{what}state pull gave {code}: {err}")
        found = {image.key: image.decision for image in read_images(workspace.folder / "pulled.db")} if not code else {}
        verdicts = {key: decision.verdict.value for key, decision in found.items() if decision is not None}
        self.sweep.check(verdicts == self._verdicts, f"{what}other verdicts in S3")

    def _workspace(self) -> Workspace:
        self._rounds += 1
        folder = self._folder / str(self._rounds)
        folder.mkdir()
        limits = {"tps": 400, "concurrency": KILL_CONCURRENCY, "budget_usd": 10, "timeout_s": 2}
        actions = {"keep": {"copy": f"s3://clean/{self._rounds}/{{key}}"}}
        job = JOB | {"limits": limits, "actions": actions}
        sections = self._kind.document(job, str(self._rounds), self._folder, spread=KILL_SPREAD)
        workspace = Workspace(folder, self._sandbox, **sections)
        give_credentials(workspace)
        return workspace


def give_credentials(workspace: Workspace, failures: str = "") -> None:
    """Have the commands of a workspace ask a program for their keys; ``failures`` are its first lines."""
    script = workspace.folder / "credentials.sh"
    script.write_text(f"#!/bin/sh\n{failures}{CREDENTIALS}")
    own = workspace.sandbox.environment()
    keys = {"default": (own["AWS_ACCESS_KEY_ID"], own["AWS_SECRET_ACCESS_KEY"]), "profile b": LANE_KEYS}
    lines = [f"[{name}]\ncredential_process = /bin/sh {script} {' '.join(pair)}\n" for name, pair in keys.items()]
    config = workspace.folder / "config"
    config.write_text("".join(lines))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        workspace.env.pop(name, None)
    workspace.env["AWS_CONFIG_FILE"] = str(config)


def fill_disk(pid: int, folder: Path) -> None:
    """From now on no file of the process in ``folder`` can grow, as on a full disk; no effect when it has ended."""
    sizes = [path.stat().st_size for path in folder.glob("*.db*") if path.exists()]
    with suppress(ProcessLookupError, FileNotFoundError):
        limit = max(sizes, default=0)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))


def sweep_kills(folder: Path, *, moments: int, seed: int, kind: JobKind = KINDS["plain"]) -> Sweep:
    """``moments`` kills, in as many jobs as they take."""
    options = kind.options(KILL_IMAGES, spread=KILL_SPREAD, latency=Latency(0.05, 0.2), seed=seed)
    with SandboxProcess(options) as sandbox:
        kills = KillSweep(sandbox, folder, seed, kind)
        while kills.kills < moments:
            kills.round(moments)
    return kills.sweep


def _sweep_leases(folder: Path, *, moments: int, seed: int) -> Sweep:
    """See ``lease_sweep``, which uses this module."""
    from tests.kit.lease_sweep import sweep_leases

    return sweep_leases(folder, moments=moments, seed=seed)


def _sweep_trainings(folder: Path, *, moments: int, seed: int) -> Sweep:
    # It imports this module.
    from tests.kit.training_sweep import sweep_trainings

    return sweep_trainings(folder, moments=moments, seed=seed)


def _sweep_states(folder: Path, *, moments: int, seed: int) -> Sweep:
    # It imports this module.
    from tests.kit.state_sweep import sweep_states

    return sweep_states(folder, moments=moments, seed=seed)


def _sweep_states_elsewhere(folder: Path, *, moments: int, seed: int) -> Sweep:
    # It imports this module.
    from tests.kit.state_sweep import sweep_states_elsewhere

    return sweep_states_elsewhere(folder, moments=moments, seed=seed)


def _sweep_fleets(folder: Path, *, moments: int, seed: int) -> Sweep:
    # It imports this module.
    from tests.kit.fleet_sweep import sweep_fleets

    return sweep_fleets(folder, moments=moments, seed=seed)


SWEEPS: dict[str, Callable[..., Sweep]] = {
    "signals": sweep_signals,
    "kills": sweep_kills,
    "leases": _sweep_leases,
    "trainings": _sweep_trainings,
    "states": _sweep_states,
    "states-elsewhere": _sweep_states_elsewhere,
    "fleets": _sweep_fleets,
}


def main() -> int:
    """Run one sweep, and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=SWEEPS)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--job", choices=KINDS, help="of signals and kills")
    parser.add_argument("--rows", type=Path, help="a file that gets a line for each moment as soon as it is over")
    given = parser.parse_args()
    Sweep.rows = given.rows
    options = {"kind": KINDS[given.job]} if given.job else {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            SWEEPS[given.kind](Path(folder), moments=given.moments, seed=given.seed, **options)
    finally:  # a sweep takes hours: what it has found is not lost when it fails
        print(f"{given.kind} ({given.job}), seed {given.seed}\n{BEGUN[-1].report()}")  # noqa: T201  its result
    return 1 if BEGUN[-1].wrong else 0


if __name__ == "__main__":
    sys.exit(import_module("tests.kit.sweep").main())  # the module that the other sweeps import, too
