"""Signals and kills at random moments, as many as wanted: ``python -m tests.kit.sweep signals --moments 200``.

``tests/cli/test_sweeps.py`` makes a few of each in every run of the tests; ``make sweep`` makes 200 of each and prints
the counts.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import BucketSpec, Latency, SandboxOptions, SandboxProcess, SyntheticSpec
from tests.kit.jobs import COPIES
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace, ended

IMAGES = 8
CONCURRENCY = 4
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
    """

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep it for the report of a sweep that fails in its middle."""
        BEGUN.append(self)

    def check(self, holds: object, what: str) -> None:
        """Record ``what`` as wrong unless it holds."""
        if not holds:
            self.wrong.append(what)

    def report(self) -> str:
        """The counts and everything that is wrong, a line each."""
        return "\n".join([*(f"{number:5} {name}" for name, number in sorted(self.counts.items())), *self.wrong])


# -- Signals -----------------------------------------------------------------------------------------------------------


@contextmanager
def signal_sandbox() -> Iterator[SandboxProcess]:
    """A service in which a run lasts about as long as the start of the program."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", IMAGES),), buckets=(BucketSpec("clean"),), latency=Latency(0.05, 0.15)
    )
    with SandboxProcess(options) as sandbox:
        yield sandbox


class SignalSweep:
    """Sends signals to runs at random moments between the start of the process and its end.

    Args:
        sandbox: From ``signal_sandbox``.
        folder: For the jobs, one folder each.
        seed: Seed of the moments.
    """

    def __init__(self, sandbox: SandboxProcess, folder: Path, seed: int) -> None:
        self.sweep = Sweep()
        self._sandbox = sandbox
        self._folder = folder
        self._rng = random.Random(seed)
        began_s = time.monotonic()
        workspace = self._workspace("undisturbed")
        assert ended(workspace.start("run", "job.yaml", "--json"))[0] == 0
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

    def _check_end(self, what: str, code: int, out: str, err: str, *, numbers: int, paid: int) -> None:
        self.sweep.counts[f"exit {code}"] += 1
        codes = {0, 75} if numbers == 1 else {0, 75, 130}
        self.sweep.check(code in codes, f"{what}{err}")
        self.sweep.check(not any(word in err for word in FOREIGN), f"{what}{err}")
        if code == 0:
            is_done = json.loads(out)["examined"] == IMAGES and paid + CONCURRENCY >= IMAGES
            self.sweep.check(is_done, f"{what}the signal was lost; {paid} were paid for when it came\n{err}")

    def _check_resumed(self, what: str, workspace: Workspace, *, in_flight: int) -> None:
        code, _, err = workspace.here("run", "job.yaml", "--json")
        self.sweep.check(code == 0, f"{what}resuming gave {code}: {err}")
        self.sweep.check(stored_verdicts(workspace) == self._verdicts, what + "other verdicts after resuming")
        twice = workspace.billed() - IMAGES
        self.sweep.counts["paid twice"] += twice
        self.sweep.check(0 <= twice <= in_flight, f"{what}{twice} were paid twice")

    def _workspace(self, name: str) -> Workspace:
        folder = self._folder / name
        folder.mkdir()
        return Workspace(folder, self._sandbox, **JOB)


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


def sweep_signals(folder: Path, *, moments: int, seed: int) -> Sweep:
    """``moments`` each of Ctrl-C and SIGTERM, half as many of SIGHUP, and of two signals in a row."""
    # A shell lets a background command ignore SIGINT, which the interpreters started here would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with signal_sandbox() as sandbox:
        signals = SignalSweep(sandbox, folder, seed)
        few = (moments + 1) // 2
        for index in range(moments):
            signals.moment(f"int{index}", signal.SIGINT)
            signals.moment(f"term{index}", signal.SIGTERM)
            if index < few:
                signals.moment(f"hup{index}", signal.SIGHUP)
                signals.moment(f"twice{index}", signal.SIGINT, signal.SIGTERM)
    return signals.sweep


# -- Kills -------------------------------------------------------------------------------------------------------------

KILL_IMAGES = 150
KILL_CONCURRENCY = 8
FLUSHED = 6
"""Answers of one flush: read, and not yet durable."""

TROUBLE = (
    "throttle=2%", "internal=2%", "reset=1%", "cut=1%", "timeout=0.3%", "unavailable=1%", "expired=0.2%",
    "internal:ListObjectsV2=5%", "slowdown:CopyObject=3%", "late-error=2%", "reset:CopyObject=2%",
)  # fmt: skip
LOST = ("internal", "reset", "cut", "timeout", "unavailable")
"""Faults after which a call may have been billed, and is made again."""

CREDENTIALS = """\
#!/bin/sh
# Credentials that end soon, so that they are asked for again and again; one time in seven there are none.
case $(($(od -An -N1 -tu1 /dev/urandom) % 28)) in
  0) echo "no token" >&2; exit 1;;
  1) echo "<html>sign in</html>"; exit 0;;
  2) echo '{"Version": 1}'; exit 0;;
  3) exec sleep 0.3;;
esac
end=$(date -u -d '+5 min' +%FT%TZ)
echo '{"Version": 1, "AccessKeyId": "ACCESS", "SecretAccessKey": "SECRET", "Expiration": "'$end'"}'
"""


class KillSweep:
    """Kills runs at random moments while credentials, store and disk fail at random.

    Args:
        sandbox: A service with ``KILL_IMAGES`` images that counts the examinations of each.
        folder: For the jobs, one folder each.
        seed: Seed of the moments.
    """

    def __init__(self, sandbox: SandboxProcess, folder: Path, seed: int) -> None:
        self.sweep = Sweep()
        self.kills = 0
        self._sandbox = sandbox
        self._folder = folder
        self._rng = random.Random(seed)
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

    def round(self, kills: int) -> None:
        """One job, killed up to ``kills`` times in all rounds, until it ends; then its results are checked."""
        workspace = self._workspace()
        self._ask_for_credentials(workspace)
        self._sandbox.control("POST", "reset-stats")
        self._sandbox.control("POST", "faults", {"faults": list(TROUBLE)})
        ends = 0
        while self.kills < kills:
            ends += 1
            if self._session(workspace) in (0, 1):
                break
        self._sandbox.control("POST", "faults", {"faults": []})
        self._check(workspace, ends)

    def _session(self, workspace: Workspace) -> int:
        """One start of the program, and its end; returns the exit code."""
        process = workspace.start("run", "job.yaml", "--json")
        fails_s = self._rng.uniform(0.3, self._start_s + 2) if self._rng.random() < 0.3 else None
        end_s = self._rng.uniform(0.2, self._start_s + 4)
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

    def _check(self, workspace: Workspace, ends: int) -> None:
        workspace.env |= self._sandbox.environment()
        workspace.env.pop("AWS_CONFIG_FILE")
        code, out, err = workspace.here("run", "job.yaml", "--retry-failed", "--json")
        what = f"round {self._rounds} after {ends} sessions: "
        self.sweep.check(code == 0, f"{what}exit {code}, {err}")
        self.sweep.check(stored_verdicts(workspace) == self._verdicts, what + "other verdicts")
        with boto_client(self._sandbox, "s3") as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket="clean", Prefix=f"{self._rounds}/")
            copied = {item["Key"].partition("/")[2] for page in pages for item in page.get("Contents", [])}
        kept = {key for key, verdict in self._verdicts.items() if verdict == "keep"}
        self.sweep.check(copied == kept, f"{what}{len(copied)} copies of {len(kept)}")
        stats = self._sandbox.stats()
        detect = stats.operations["DetectLabels"]
        again = sum(count - 1 for count in stats.keys_examined_again.values())
        lost = sum(detect.faulted.get(kind, 0) for kind in LOST)
        self.sweep.counts["rounds"] += 1
        self.sweep.counts["paid twice, not by a lost answer"] += max(0, again - lost)
        allowed = lost + ends * (KILL_CONCURRENCY + FLUSHED)
        self.sweep.check(again <= allowed, f"{what}{again} were paid twice, {lost} of them by lost answers")
        spent = round(json.loads(out)["spent_usd"] * 1000) if code == 0 else 0
        self.sweep.check(detect.billed <= spent, f"{what}{detect.billed} were billed, {spent} are counted")

    def _workspace(self) -> Workspace:
        self._rounds += 1
        folder = self._folder / str(self._rounds)
        folder.mkdir()
        limits = {"tps": 400, "concurrency": KILL_CONCURRENCY, "budget_usd": 10, "timeout_s": 2}
        actions = {"keep": {"copy": f"s3://clean/{self._rounds}/{{key}}"}}
        return Workspace(folder, self._sandbox, **JOB | {"limits": limits, "actions": actions})

    def _ask_for_credentials(self, workspace: Workspace) -> None:
        """Replace the keys in the environment by a program that fails at random."""
        env = workspace.env
        text = CREDENTIALS.replace("ACCESS", env.pop("AWS_ACCESS_KEY_ID"))
        script = workspace.folder / "credentials.sh"
        script.write_text(text.replace("SECRET", env.pop("AWS_SECRET_ACCESS_KEY")))
        config = workspace.folder / "config"
        config.write_text(f"[default]\ncredential_process = /bin/sh {script}\n")
        env["AWS_CONFIG_FILE"] = str(config)


def fill_disk(pid: int, folder: Path) -> None:
    """From now on no file of the process in ``folder`` can grow, as on a full disk; no effect when it has ended."""
    sizes = [path.stat().st_size for path in folder.glob("*.db*") if path.exists()]
    with suppress(ProcessLookupError, FileNotFoundError):
        limit = max(sizes, default=0)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))


def sweep_kills(folder: Path, *, moments: int, seed: int) -> Sweep:
    """``moments`` kills, in as many jobs as they take."""
    options = SandboxOptions(
        synthetic=(SyntheticSpec("raw", KILL_IMAGES),),
        buckets=(BucketSpec("clean"),),
        latency=Latency(0.05, 0.2),
        seed=seed,
        count_keys=True,
    )
    with SandboxProcess(options) as sandbox:
        kills = KillSweep(sandbox, folder, seed)
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


SWEEPS = {
    "signals": sweep_signals,
    "kills": sweep_kills,
    "leases": _sweep_leases,
    "trainings": _sweep_trainings,
    "states": _sweep_states,
    "states-elsewhere": _sweep_states_elsewhere,
}


def main() -> int:
    """Run one sweep, and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=SWEEPS)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            SWEEPS[given.kind](Path(folder), moments=given.moments, seed=given.seed)
    finally:  # a sweep takes hours: what it has found is not lost when it fails
        print(f"{given.kind}, seed {given.seed}\n{BEGUN[-1].report()}")  # noqa: T201  its result
    return 1 if BEGUN[-1].wrong else 0


if __name__ == "__main__":
    sys.exit(import_module("tests.kit.sweep").main())  # the module that the other sweeps import, too
