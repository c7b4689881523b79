"""Copies and moves between a folder and S3, by the program as a process: ``kill -9``, signals, and the command again.

A process is killed once a certain number of images has arrived, so that each kill hits work under way.
"""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter.sandbox import Latency, SandboxOptions, SandboxProcess
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace, ended, wait_until

IMAGES = 40
ENDS = ((signal.SIGKILL, 1), (signal.SIGINT, 11), (signal.SIGKILL, 25))
"""Signals, and the numbers of images that have arrived when they are sent."""


def picture(number: int) -> bytes:
    """A picture that the service accepts; no two are the same."""
    out, rng = io.BytesIO(), random.Random(number)
    Image.frombytes("L", (9, 9), rng.randbytes(81)).resize((90, 90), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


BODIES = {f"{n % 3}/{n:03} é+%.png": picture(n) for n in range(IMAGES)}
RULES: dict[str, Any] = {"rules": [{"reject": {"any": "No such thing"}}], "otherwise": "keep"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A service whose S3 takes a moment, so that processes can be killed in the middle."""
    with SandboxProcess(SandboxOptions(s3_latency=Latency(0.02, 0.05), check_images=False)) as process:
        yield process


@pytest.fixture(scope="module")
def s3(sandbox: SandboxProcess) -> Iterator[Any]:
    """A boto3 client of it."""
    with boto_client(sandbox, "s3") as client:
        yield client


class Across(Workspace):
    """Images in one kind of store, and a job that takes them to the other."""

    numbers = count(1)

    def __init__(self, sandbox: SandboxProcess, s3: Any, folder: Path, *, is_up: bool, kind: str) -> None:
        self.s3, self.is_up = s3, is_up
        self.bucket, self.files = f"across-{next(self.numbers)}", folder / "files"
        places = ["./files", f"s3://{self.bucket}/"]
        source, target = places if is_up else reversed(places)
        super().__init__(
            folder,
            sandbox,
            **RULES,
            source=source,
            detector={"region": "us-east-1"},
            convert=False,
            actions={"keep": {kind: f"{target.removesuffix('/')}/{{key}}", "if_exists": "fail"}},
            limits={"tps": 2000, "timeout_s": 5},
        )
        s3.create_bucket(Bucket=self.bucket)
        self.files.mkdir()
        for key, body in BODIES.items():
            if is_up:
                path = self.files / key
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(body)
            else:
                s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def objects(self) -> list[str]:
        """Keys in the bucket."""
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def paths(self) -> list[str]:
        """Files in the folder that have their name."""
        found = [path for path in self.files.rglob("*") if path.is_file() and path.suffix != ".part"]
        return sorted(str(path.relative_to(self.files)) for path in found)

    def at_source(self) -> list[str]:
        """Images in the source."""
        return self.paths() if self.is_up else self.objects()

    def at_target(self) -> list[str]:
        """Images at their targets."""
        return self.objects() if self.is_up else self.paths()

    def check(self) -> None:
        """Check that every image is somewhere, and whole wherever it is."""
        objects, paths = self.objects(), self.paths()
        assert {*objects, *paths} == {*BODIES}
        for key in objects:
            assert self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() == BODIES[key]
        for key in paths:
            assert (self.files / key).read_bytes() == BODIES[key]

    def command_of(self, verb: str) -> list[str]:
        """The arguments of ``apply`` or ``undo`` with the consent to all that is pending."""
        images = self.json(verb, "job.yaml", "--dry-run")["plan"]["images"]
        more = ["--max-share", "1"] if verb == "apply" else []
        return [verb, "job.yaml", "--yes", "--expect", str(images), *more]

    def interrupted(
        self, arguments: list[str], signal_: signal.Signals, arrived: int, keys: Callable[[], list[str]]
    ) -> None:
        """Start a command and end it once something has arrived; it may be faster than that."""
        process: subprocess.Popen[str] = self.start(*arguments)
        wait_until(lambda: process.poll() is not None or len(keys()) >= arrived)
        process.send_signal(signal_)
        ended(process)


@pytest.mark.slow
@pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
def test_copies_survive_every_signal(sandbox: SandboxProcess, s3: Any, tmp_path: Path, is_up: bool) -> None:
    """The run that ends at last has copied every image once; nothing at the target was ever half."""
    images = Across(sandbox, s3, tmp_path, is_up=is_up, kind="copy")
    for signal_, arrived in ENDS:
        images.interrupted(["run", "job.yaml"], signal_, arrived, images.at_target)
        images.check()
    code, out, err = ended(images.start("run", "job.yaml", "--json"))
    assert code == 0, err
    summary = json.loads(out)
    assert (summary["examined"], summary["copied"], summary["failed"]) == (IMAGES, IMAGES, {})
    assert (images.at_source(), images.at_target()) == (sorted(BODIES), sorted(BODIES))
    images.check()


@pytest.mark.slow
@pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
def test_moves_survive_every_signal_there_and_back(
    sandbox: SandboxProcess, s3: Any, tmp_path: Path, is_up: bool
) -> None:
    """No image is ever missing in both places; at last all are there, and after ``undo`` all are back."""
    images = Across(sandbox, s3, tmp_path, is_up=is_up, kind="move")
    assert images.json("run", "job.yaml")["pending_removals"] == IMAGES
    for verb, left, arriving in (
        ("apply", images.at_source, images.at_target),
        ("undo", images.at_target, images.at_source),
    ):
        images.interrupted(images.command_of(verb), signal.SIGKILL, 11, arriving)
        images.check()
        if left():
            code, _, err = ended(images.start(*images.command_of(verb)))
            assert code == 0, err
        assert (left(), arriving()) == ([], sorted(BODIES))
        images.check()
    assert images.json("status", "job.yaml")["moved"] == 0
