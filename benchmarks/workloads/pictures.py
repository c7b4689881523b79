"""Pictures that are read, sent, converted and compared: images a second and memory, on two cores.

``python -m benchmarks.workloads.pictures FOLDER`` prepares the files of a folder as a run does, without a service: its
speed is compared with that of loops in Pillow and pyvips. The whole runs have the sandbox beside them, on the same two
cores. Memory is that of the program and of its decoding processes.
"""

from __future__ import annotations

import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import anyio
from PIL import Image

from asyncfilter.folders import FolderContents
from asyncfilter.folders.files import etag_of
from asyncfilter.interpreter import shorten_switch_interval
from asyncfilter.job.spec import DetectorKind
from asyncfilter.model import FOLDER, Detection, ObjectRef
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.prepare import ImagePreparer
from asyncfilter.policy.detectors import PROFILES
from benchmarks.answers import RAW
from benchmarks.bench import Bench, environment
from benchmarks.peers import ours
from benchmarks.process import BenchmarkError, Process, Ran
from benchmarks.workloads.whole import UNBOUNDED_TPS

SIZE_PX = (1600, 1200)
_AT_ONCE = 64
_HERE = Path(__file__).parents[1] / "peers"

MODES: dict[str, tuple[str, dict[str, Any]]] = {
    "folder": ("JPEG", {}),
    "near duplicates": ("JPEG", {"near_duplicates": True}),
    "convert": ("WEBP", {}),
    "hostile": ("BOMB", {}),
}
"""The whole runs over a local folder: format of the pictures, and what the job sets."""

PRECHECK = "precheck"
"""The whole run over a bucket, whose images are checked by their headers."""


def measure(bench: Bench) -> dict[str, Any]:
    """Images a second and memory by mode, and images a second of the preparation alone beside loops of peers."""
    folders = {kind: bench.new_folder() for kind, _ in MODES.values()}
    for kind, folder in folders.items():
        fill(folder, kind, bench.sizes.pictures)
    with bench.sandbox(bench.sizes.pictures * 10) as sandbox:
        modes = {
            mode: _whole(bench, write_job(folders[kind], bench.new_folder(), **sections), sandbox.environment())
            for mode, (kind, sections) in MODES.items()
        }
        source = {"source": f"s3://{RAW}/", "precheck": "header"}
        modes[PRECHECK] = _whole(bench, write_job(Path(), bench.new_folder(), **source), sandbox.environment())
    return {
        "rounds": bench.sizes.rounds,
        "pictures": bench.sizes.pictures,
        "modes": modes,
        "conversions": bench.sizes.conversions,
        "conversion": _conversion(bench),
    }


def _conversion(bench: Bench) -> dict[str, float | None]:
    """Images a second by peer; None for one that is not installed here. Rounds are interleaved."""
    folder, pictures = bench.new_folder(), bench.sizes.conversions
    fill(folder, "WEBP", pictures)
    commands = {
        "pillow": [sys.executable, str(_HERE / "pillow_loop.py"), str(folder)],
        "pyvips": [sys.executable, str(_HERE / "vips_loop.py"), str(folder)],
        "ours": [sys.executable, "-m", "benchmarks.workloads.pictures", str(folder)],
    }
    if find_spec("pyvips") is None:
        del commands["pyvips"]
    rates: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(bench.sizes.rounds):
        for name, command in commands.items():
            # Not by ``_run``: it looks at the memory all the time, on the cores that are measured.
            done = subprocess.run(command, env=environment({}), stdout=subprocess.PIPE, check=True)
            took_s = json.loads(done.stdout)["took_s"]
            rates[name].append(pictures / took_s)
    return {"pyvips": None} | {name: round(statistics.median(some), 2) for name, some in rates.items()}


def _whole(bench: Bench, job: Path, aws: dict[str, str]) -> dict[str, float]:
    """One whole run; its start and its end count, too."""
    ran = _run(bench, ours.command("run", job), environment(aws), codes=(0, 1))
    summary = json.loads(ran.stdout)
    if summary["stop_reason"] != "completed":
        raise BenchmarkError(f"{job} ended with {summary['stop_reason']}")
    return {
        "images": summary["examined"],
        "failed": sum(summary["failed"].values()),
        "images_per_s": round(summary["examined"] / ran.wall_s, 1),
        "cpu_ms": round(ran.cpu_s * 1000 / summary["examined"], 2),
        "peak_mb": ran.peak_mb,
    }


def _run(bench: Bench, command: Sequence[str], env: dict[str, str], codes: Sequence[int] = (0,)) -> Ran:
    """Run a command on all cores; its child processes count."""
    with Process(command, env, bench.new_folder(), counts_children=True) as process:
        ran = process.wait()
        if ran.exit_code not in codes:
            raise BenchmarkError(f"{list(command)} ended with {ran.exit_code}: {process.complaint()}")
        return ran


def write_job(pictures: Path, folder: Path, **sections: Any) -> Path:
    """A job over a folder, or over ``sections["source"]``."""
    document = {
        "version": 1,
        "name": "pictures",
        "source": {"uri": str(pictures), "include": "*"},
        "detector": {"region": "us-east-1"},
        "rules": [{"keep": {"any": ["Bird"]}}],
        "otherwise": "reject",
        "limits": {"tps": UNBOUNDED_TPS, "budget_usd": 1000},
        **sections,
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return path


# -- Pictures ----------------------------------------------------------------------------------------------------------


def fill(folder: Path, kind: str, number: int, size_px: tuple[int, int] = SIZE_PX) -> None:
    """Write pictures of one format; of ``BOMB``, some sound ones and many that ask for as much memory as they can."""
    for index in range(number):
        if kind == "BOMB" and index % 4:
            bomb(folder, index)
        else:
            drawn(index, size_px).save(folder / f"{index:04}.img", "WEBP" if kind == "BOMB" else kind, quality=90)


def drawn(index: int, size_px: tuple[int, int] = SIZE_PX) -> Image.Image:
    """A picture with soft shapes and some grain, which takes as many bytes as a photograph."""
    rng = Random(index)
    shapes = Image.frombytes("RGB", (16, 12), rng.randbytes(16 * 12 * 3)).resize(size_px, Image.Resampling.BICUBIC)
    grain = Image.frombytes("L", (400, 300), rng.randbytes(400 * 300)).resize(size_px).convert("RGB")
    return Image.blend(shapes, grain, 0.1)


def bomb(folder: Path, index: int) -> None:
    """Write a picture that is small and asks for much: just below the limits, beyond them, or without any content."""
    path = folder / f"{index:04}.img"
    if index % 8 == 1:
        Image.new("RGB", (6300, 6000 - index)).save(path, "TIFF", compression="tiff_lzw")
    elif index % 4 == 2:
        out = io.BytesIO()
        Image.new("L", (13_370, 13_370)).save(out, "PNG")
        path.write_bytes(out.getvalue() + bytes(index))
    else:
        with path.open("wb") as file:
            file.write(b"\xff\xd8\xff\xe0%d" % index)
            file.truncate(199 * 1024 * 1024)


# -- The preparation alone ---------------------------------------------------------------------------------------------


class _NoService:
    """The detector of a preparation whose images are not examined."""

    async def detect(self, image: ObjectRef) -> Detection:
        raise BenchmarkError(f"{image.uri} was examined")

    async def send(self, image: ObjectRef, _content: bytes) -> Detection:
        return await self.detect(image)


async def prepare(folder: Path) -> None:
    """Prepare all files of a folder, many at a time, as a run over it does."""
    service = _NoService()
    with DecoderPool() as decoders:
        preparer = ImagePreparer(
            contents=FolderContents(),
            detector=service,
            send=service.send,
            limits=PROFILES[DetectorKind.REKOGNITION].image_limits,
            by_reference=False,
            converts=True,
            compares=False,
            decoders=decoders,
        )
        await _all_of(preparer.prepare, _images(folder))


async def _all_of(act: Callable[[ObjectRef], Any], images: Sequence[ObjectRef]) -> None:
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def one(image: ObjectRef) -> None:
        async with limiter:
            await act(image)

    async with anyio.create_task_group() as tasks:
        for image in images:
            tasks.start_soon(one, image)


def _images(folder: Path) -> Sequence[ObjectRef]:
    root = folder.resolve()
    found = [(path, path.stat()) for path in sorted(root.iterdir())]
    return [
        ObjectRef(bucket=f"{FOLDER}{root}", key=path.name, size_bytes=status.st_size, etag=etag_of(status), seq=0)
        for path, status in found
    ]


def main() -> None:
    """Prepare the folder that the command line names, and print how long it took."""
    shorten_switch_interval()
    began_s = time.perf_counter()
    anyio.run(prepare, Path(sys.argv[1]))
    print(json.dumps({"took_s": time.perf_counter() - began_s}))


if __name__ == "__main__":
    main()
