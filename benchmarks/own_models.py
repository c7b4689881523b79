"""Processor time of an image that a model of one's own examines: in this process, and in those that decode.

Photographs are examined twice, and the second time is measured, so that processes, caches and memory are warm.

    python benchmarks/own_models.py --data DIR [--batch N] [--images N]

DIR holds ``photos/clothing/<class>/`` and ``models/``. Needs the extra onnx. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import anyio

from asyncfilter.model import ObjectRef
from asyncfilter.onnx.model import ModelSettings, open_classifier
from asyncfilter.onnx.runner import Runner
from asyncfilter.onnx.scores import Scores
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.pictures.own_model import OwnModelDetector

MODEL = "mobilenet_v2_1.0_224_quant.onnx"
LABELS = "imagenet_labels.txt"
AT_ONCE = 64


class Cost(NamedTuple):
    """Milliseconds an image.

    Attributes:
        wall: From the first image to the last one.
        own: Processor time of this process: the model, and all that surrounds it.
        children: Processor time of the processes that decode.
    """

    wall: float
    own: float
    children: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    paths = sorted(options.data.glob("photos/clothing/*/*.jpg"))[: options.images]
    images = [path.read_bytes() for path in paths]
    model, labels = (str(options.data / "models" / name) for name in (MODEL, LABELS))
    cost = anyio.run(measured, ModelSettings(model=model, labels=labels, batch=options.batch), images)
    print(f"{len(images)} photographs of {sum(map(len, images)) / len(images) / 1000:.0f} kB on average")
    print(f"wall time       {cost.wall:6.1f} ms an image")
    print(f"this process    {cost.own:6.1f} ms of processor time an image")
    print(f"that decode     {cost.children:6.1f} ms")


async def measured(settings: ModelSettings, images: Sequence[bytes]) -> Cost:
    """The cost of images whose bytes are in memory."""
    runner = Runner(open_classifier(settings), Scores.AUTO)
    with DecoderPool() as decoders:
        detector = OwnModelDetector(runner, decoders)
        await _examine(detector, images)
        began_s, own_s, pids = time.perf_counter(), _own_s(), decoders.pids
        before_s = sum(map(_of_process_s, pids))
        await _examine(detector, images)
        wall_s, used_s = time.perf_counter() - began_s, _own_s() - own_s
        decoding_s = sum(map(_of_process_s, decoders.pids)) - before_s
    runner.close()
    return Cost(*(1000 * value / len(images) for value in (wall_s, used_s, decoding_s)))


async def _examine(detector: OwnModelDetector, images: Sequence[bytes]) -> None:
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def one(body: bytes, number: int) -> None:
        async with limiter:
            await detector.examine(
                ObjectRef(bucket="b", key=str(number), size_bytes=len(body), etag="e", seq=number), body
            )

    async with anyio.create_task_group() as tasks:
        for number, body in enumerate(images):
            tasks.start_soon(one, body, number)


def _own_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _of_process_s(pid: int) -> float:
    """Processor time of a process, of Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
