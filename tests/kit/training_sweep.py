"""Kills of ``model import`` and ``model train`` at random moments, each with real processes, while answers are lost.

What must hold: the same command completes what was cut; of an import no batch is sent again but those whose answer was
lost or whose process was killed; a training is paid for once.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.manifests import encoded as line_of
from tests.kit.manifests import image_line
from tests.kit.pictures import encoded
from tests.kit.services import boto_client
from tests.kit.sweep import Sweep
from tests.kit.workspace import Workspace, ended

SPEED = 500.0
POLL = ("--poll", "0.05")
OUTPUT = ("--output", "s3://models/out/")
LINES = 210
BATCHES = 4
FAULTS = ("reset", "cut", "late", "twice", "throttle", "internal")


class TrainingSweep:
    """Kills commands at random moments, and completes them.

    Args:
        sandbox: A service with pictures.
        folder: For state folders and manifests, one folder each.
        seed: Seed of the moments.
    """

    def __init__(self, sandbox: SandboxProcess, folder: Path, seed: int) -> None:
        self.sweep = Sweep()
        self._sandbox = sandbox
        self._folder = folder
        self._rng = random.Random(seed)
        self._told: list[str] = []
        self._seed = seed

    def moment(self, number: int) -> None:
        """One project: an import and a training that are killed once or twice, and then completed."""
        name = f"sweep-{self._seed}-{number}"
        folder = self._folder / name
        folder.mkdir()
        workspace = Workspace(folder, self._sandbox)
        workspace.env["ASYNCFILTER_STATE"] = str(folder / "state")
        (folder / "train.manifest").write_bytes(_manifest(0, LINES, padding=80_000))
        (folder / "more.manifest").write_bytes(_manifest(0, 20))
        (folder / "test.manifest").write_bytes(_manifest(LINES, LINES + 10))
        workspace.json("model", "create", name, *POLL)
        self._import(name, workspace)
        self._train(name, workspace)

    def _import(self, name: str, workspace: Workspace) -> None:
        command = ("model", "import", name, "--train", "train.manifest", "--by", "entries", *POLL, "--json")
        before = self._attempts("UpdateDatasetEntries")
        kills, found = self._killed(f"{name} import", workspace, command, "UpdateDatasetEntries")
        train = found.get("datasets", {}).get("train") or {}
        self.sweep.check(found.get("ok") and train.get("entries") == LINES, f"{name}: {found}")
        sent = self._attempts("UpdateDatasetEntries") - before
        # The fault may cost one more attempt, and so may each kill; a refusal because an update goes on is none.
        told = "\n".join(self._told)
        self.sweep.check(BATCHES <= sent <= BATCHES + 1 + kills, f"{name}: {sent} updates for {kills} kills:\n{told}")
        self._sandbox.control("POST", "faults", {"faults": []})
        workspace.json("model", "import", name, "--train", "more.manifest", "--test", "test.manifest", *POLL)

    def _train(self, name: str, workspace: Workspace) -> None:
        command = ("model", "train", name, *OUTPUT, *POLL, "--yes", "--json")
        kills, found = self._killed(f"{name} train", workspace, command, "CreateProjectVersion")
        versions = self._versions(name)
        self.sweep.check(len(versions) == 1, f"{name}: {kills} kills, {versions} were paid for")
        self.sweep.check(found.get("status") == "TRAINING_COMPLETED", f"{name}: {found}")

    def _killed(
        self, what: str, workspace: Workspace, command: tuple[str, ...], operation: str
    ) -> tuple[int, dict[str, Any]]:
        """Kill a command once or twice, then run it to its end; returns the number of kills, and the result.

        A command that ends before it is killed is the end.
        """
        fault = self._rng.choice(FAULTS)
        self._sandbox.control("POST", "faults", {"faults": [f"{fault}:{operation}=1x"]})
        self._told = [fault]
        for kills in range(self._rng.choice((1, 2))):
            process = workspace.start(*command)
            at_s = self._rng.uniform(0.3, 4.0)
            with suppress(subprocess.TimeoutExpired):
                process.wait(at_s)
            process.kill()
            code, out, err = ended(process)
            self._told += [f"killed after {at_s:.3f} s: exit {code}", out, err]
            if out.endswith("}\n"):  # the result was shown, so that the next command would begin anew
                self.sweep.counts[f"{command[1]}, {fault}: ended before the kill: {code}"] += 1
                self.sweep.check(code in {0, 1, -signal.SIGKILL}, f"{what} at {at_s:.3f} s: exit {code}: {err}")
                return kills, json.loads(out)
            self.sweep.check(code == -signal.SIGKILL, f"{what} at {at_s:.3f} s: exit {code}: {err}")
            self.sweep.counts[f"{command[1]}, {fault}: killed"] += 1
        code, out, err = ended(workspace.start(*command))
        self._told += [f"exit {code}", err]
        self.sweep.check(code in {0, 1}, f"{what}: exit {code}: {err}")
        return kills + 1, json.loads(out) if out else {}

    def _attempts(self, operation: str) -> int:
        found = self._sandbox.stats().operations.get(operation)
        return 0 if found is None else found.accepted + sum(found.faulted.values())

    def _versions(self, name: str) -> list[str]:
        with boto_client(self._sandbox, "rekognition") as client:
            (project,) = client.describe_projects(ProjectNames=[name])["ProjectDescriptions"]
            found = client.describe_project_versions(ProjectArn=project["ProjectArn"])
            return [str(one["ProjectVersionArn"]) for one in found["ProjectVersionDescriptions"]]


def _manifest(first: int, last: int, *, padding: int = 0) -> bytes:
    """Lines of pictures that are there; with padding a few of them make several batches."""
    made = []
    for number in range(first, last):
        label = ("berry", "leaf")[number % 2]
        line = image_line(label, source_ref=f"s3://pictures/{label}/{number:03d}.png")
        line["label0-metadata"]["job-name"] = "j" * (padding or 1)
        made.append(line_of(line) + b"\n")
    return b"".join(made)


def sweep_trainings(folder: Path, *, moments: int, seed: int) -> Sweep:
    """Kill imports and trainings of so many projects."""
    options = SandboxOptions(buckets=(BucketSpec("pictures"), BucketSpec("models")), speed=SPEED)
    with SandboxProcess(options) as sandbox:
        with boto_client(sandbox, "s3") as s3:
            for number in range(LINES + 10):
                label, colour = (("berry", "firebrick"), ("leaf", "forestgreen"))[number % 2]
                body = encoded(Image.new("RGB", (64, 64), colour), "PNG")
                s3.put_object(Bucket="pictures", Key=f"{label}/{number:03d}.png", Body=body)
        sweep = TrainingSweep(sandbox, folder, seed)
        for number in range(moments):
            sweep.moment(number)
            sweep.sweep.over(f"moment {number}")
        return sweep.sweep
