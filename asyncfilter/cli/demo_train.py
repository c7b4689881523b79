"""``asyncfilter demo --train``: from folders of pictures to a running model, better after corrections, in a sandbox."""

from __future__ import annotations

import csv
import importlib.util
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from asyncfilter.cli.demo_folder import prepare_folder, run_command, show_command, unwritable, use_sandbox
from asyncfilter.cli.stderr import print_err, print_lines
from asyncfilter.custom_labels.ledger import STATE_VARIABLE
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.policy.pricing import model_micros, training_micros
from asyncfilter.report.formatting import usd, usd_number
from asyncfilter.report.program import program
from asyncfilter.sandbox import BucketSpec, LoadSpec, SamplesSpec, SandboxOptions, SandboxProcess
from asyncfilter.sandbox.custom_labels.limits import UNIT_TPS
from asyncfilter.sandbox.custom_labels.times import START_S, STOP_S, TRAINING_S
from asyncfilter.sandbox.pictures import FOLDERS as BIRDS
from asyncfilter.sandbox.pictures import draw_picture

FOLDER = Path(".asyncfilter-demo-train")
PICTURES = FOLDER / "birds"
STATE = FOLDER / "state"
"""The ledger of the demo, so that it is not among the models of the user."""

_SPEED = 600.0
_POLL = ["--poll", "0.2"]
_TRAINED_OF_EACH = 24
_TESTED_OF_EACH = 6
_CONFUSED = {"jay": "robin", "robin": "jay"}
"""Folders some of whose pictures show another bird."""
_WRONG_OF_EACH = 5
_RAW = 200
_OUTPUT = ["--output", "s3://demo-models/training/"]

JOB = """\
# What `asyncfilter demo --train` ran: the trained model looks for robins in a bucket with dirt.
version: 1
name: demo-train

source: s3://demo-raw/raw/

detector:
  kind: rekognition-custom-labels
  model: {model}

rules:
  - keep: {{any: [robin], confidence: 50}}
otherwise: reject

actions:
  keep: {{copy: "s3://demo-clean/robin/{{relative}}"}}
"""


class Wrong(NamedTuple):
    """A picture that was put into the wrong folder: its address, and what it shows."""

    uri: str
    label: str


def demo_train() -> dict[str, Any]:
    """Show the way from folders to a model; the result for ``--json``.

    Raises:
        UsageError: numpy is not installed, or the folder cannot be used.
        typer.Exit: A command has failed.
    """
    if importlib.util.find_spec("numpy") is None:
        raise UsageError(
            "the sandbox trains with numpy, which is not installed",
            hint="Install it: pip install 'asyncfilter[sandbox-training]'.",
        )
    prepare_folder(FOLDER, "demo --train")
    try:
        wrong = draw_pictures(PICTURES)
    except OSError as error:
        raise unwritable(FOLDER, error) from error
    print_err(
        f"Drew pictures of {len(BIRDS)} birds in {PICTURES}/; {len(wrong)} of those to train with are in wrong "
        f"folders. A sandbox with S3 and Custom Labels starts on a local port; its clock runs {_SPEED:g} times as fast."
    )
    with SandboxProcess(_sandbox_options()) as sandbox:
        use_sandbox(sandbox, {STATE_VARIABLE: str(STATE.absolute())})
        demo = _Demo()
        demo.prepare()
        demo.train()
        demo.detect()
        demo.improve(wrong)
        return demo.finish()


def draw_pictures(folder: Path) -> list[Wrong]:
    """Draw pictures into class folders below ``train`` and ``test``; those in wrong folders are returned."""
    wrong: list[Wrong] = []
    for bird in BIRDS:
        for number in range(_TRAINED_OF_EACH):
            key = f"train/{bird}/{number:04d}.jpg"
            shown = _CONFUSED.get(bird, bird) if number < _WRONG_OF_EACH else bird
            if shown != bird:
                wrong.append(Wrong(f"s3://demo-birds/{key}", shown))
            _draw(folder / key, shown, key)
        for number in range(_TESTED_OF_EACH):
            key = f"test/{bird}/{number:04d}.jpg"
            _draw(folder / key, bird, key)
    return wrong


def _draw(path: Path, subject: str, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(draw_picture(subject, key))


def _sandbox_options() -> SandboxOptions:
    return SandboxOptions(
        load=(LoadSpec("demo-birds", str(PICTURES)),),
        samples=(SamplesSpec("demo-raw", _RAW),),
        buckets=(BucketSpec("demo-models"), BucketSpec("demo-clean")),
        speed=_SPEED,
        unit_tps=_SPEED * UNIT_TPS,
    )


class _Demo:
    """The commands of the demo, in the order in which a user would give them."""

    def prepare(self) -> None:
        """From folders to datasets of the service."""
        self._title("1. Folders become a dataset")
        for part in ("train", "test"):
            self._run("manifest", "from-folders", f"s3://demo-birds/{part}/", "-o", self._path(f"{part}.manifest"))
        self._run("dataset", "check", self._path("train.manifest"), self._path("test.manifest"))
        self._run("model", "create", "birds", *_POLL)
        manifests = ["--train", self._path("train.manifest"), "--test", self._path("test.manifest")]
        self._run("model", "import", "birds", *manifests, *_POLL)

    def train(self) -> None:
        """Train the first version, and look how good it is."""
        self._title("2. The dataset becomes a model")
        self._run("model", "train", "birds", "--version", "v1", *_OUTPUT, *_POLL, "--yes")
        self._run("model", "evaluate", "birds", "v1", "--html", self._path("v1.html"))

    def detect(self) -> None:
        """Start it under a lease, and run a job with it."""
        self._title("3. The model runs for a bounded time, and examines a bucket")
        self._run("model", "start", "birds", "v1", "--for", "1h", *_POLL, "--yes")
        [version] = [one for one in self._versions() if one["version"] == "v1"]
        job = FOLDER / "job.yaml"
        job.write_text(JOB.format(model=version["arn"]))
        self._run("run", str(job), "--log-level", "warning", "--yes", allowed=(ExitCode.OK, ExitCode.SOME_FAILED))

    def improve(self, wrong: Sequence[Wrong]) -> None:
        """Correct the pictures in wrong folders, and replace the model by a better one."""
        self._title(f"4. A person corrects {len(wrong)} labels, and the next version learns from them")
        corrections = FOLDER / "corrections.csv"
        with corrections.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("image", "label"), *wrong])
        manifest = self._path("corrections.manifest")
        self._run("manifest", "from-csv", str(corrections), "-o", manifest)
        self._run(
            "model",
            "improve",
            "birds",
            "--corrections",
            manifest,
            *_OUTPUT,
            "--version",
            "v2",
            "--switch",
            *_POLL,
            "--yes",
        )
        compared = ["--compare", "v1", "--html", self._path("v2.html")]
        self._run("model", "evaluate", "birds", "v2", *compared)

    def finish(self) -> dict[str, Any]:
        """Stop what runs, and say what all of it would have cost."""
        self._title("5. Nothing is left running")
        self._run("model", "stop", "birds", "v2", *_POLL, "--yes")
        self._run("model", "list")
        versions = self._versions()
        trained, ran = _costs_micros(len(versions))
        print_lines(_closing(len(versions), trained, ran))
        return {
            "versions": [{name: one[name] for name in ("version", "arn", "status", "f1")} for one in versions],
            "usd": usd_number(trained + ran),
        }

    def _versions(self) -> list[dict[str, Any]]:
        shown = run_command(["model", "status", "birds", "--json"])
        versions: list[dict[str, Any]] = json.loads(shown.stdout)["versions"]
        return versions

    def _title(self, text: str) -> None:
        print_lines(f"\n{text}")

    def _path(self, name: str) -> str:
        return str(FOLDER / name)

    def _run(self, *command: str, allowed: Sequence[int] = (ExitCode.OK,)) -> None:
        """Show and run one command.

        Raises:
            typer.Exit: It has failed; the demo ends, and its sandbox with every model.
        """
        code = show_command(command)
        if code not in allowed:
            print_err(f"the demo ends here: {shlex.join([program(), *command])} ended with {code}")
            raise typer.Exit(code)


def _costs_micros(versions: int) -> tuple[int, int]:
    """What the trainings and the running models would have cost on AWS.

    Each version was started and stopped once; the first one examined the bucket in between.
    """
    examined_s = _RAW / UNIT_TPS
    ran = model_micros(1, START_S + examined_s + STOP_S) + (versions - 1) * model_micros(1, START_S + STOP_S)
    return versions * training_micros(TRAINING_S), round(ran, -4)  # whole cents


def _closing(versions: int, trained: int, ran: int) -> str:
    """What the commands would have cost, and where to look."""
    return f"""
On AWS this would have cost about {usd(trained + ran)} and taken about an hour and a half:
{usd(trained)} for {versions} trainings of half an hour, and {usd(ran)} for the minutes in which a model was
started, ran, and was stopped. A lease of 1 h costs {usd(model_micros(1, 3600))} at the most.

Where to look
  {FOLDER / "v1.html"}
      how good the first version is, with the pictures of its mistakes
  {FOLDER / "v2.html"}
      the second version, compared with the first
  {FOLDER / "job.yaml"}
      the job that used the model
  docs/custom-labels.md
      the same with pictures of yours, and what a lease guarantees"""
