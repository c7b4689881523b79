"""The main job on real photographs: how well does it find one class among others, unrelated pictures and broken files?

Clothes of ten classes, wildlife frames and broken images are in one bucket of a sandbox whose labels come from a real
image classifier. The job keeps images that show jeans; the folder names give the correct result.

    python benchmarks/real_photos.py --data DIR

DIR holds ``photos/clothing/<class>/``, ``photos/cameratrap/``, ``badimages/`` and ``models/``. Needs the extra onnx.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from asyncfilter import Summary, parse_job, run
from asyncfilter.checkpoint import read_images
from asyncfilter.records.images import StoredImage
from asyncfilter.sandbox import BucketSpec, LabelSource, LoadSpec, SandboxOptions, SandboxProcess

WANTED = "pants"
MODEL = "mobilenet_v2_1.0_224_quant.onnx"
LABELS = "imagenet_labels.txt"


@dataclass(frozen=True, kw_only=True)
class Examined:
    """The results of the job.

    Attributes:
        outcomes: Verdict or failure code by key, for all examined keys.
        uploaded: All keys of the bucket.
    """

    summary: Summary
    outcomes: dict[str, str]
    uploaded: list[str]

    @property
    def kept(self) -> set[str]:
        """Keys with the verdict keep."""
        return {key for key, outcome in self.outcomes.items() if outcome == "keep"}

    @property
    def wanted(self) -> set[str]:
        """Keys that should be kept, according to their folder."""
        return {key for key in self.uploaded if key.startswith(f"{WANTED}/")}

    @property
    def precision(self) -> float:
        """Share of the kept keys that should be kept."""
        return len(self.kept & self.wanted) / len(self.kept)

    @property
    def recall(self) -> float:
        """Share of the keys that should be kept that are kept."""
        return len(self.kept & self.wanted) / len(self.wanted)

    def figures(self) -> dict[str, object]:
        """The figures to print."""
        return {
            "uploaded": len(self.uploaded),
            "examined": self.summary.counts.examined,
            "kept": len(self.kept),
            "wanted": len(self.wanted),
            "precision": round(self.precision, 3),
            "recall": round(self.recall, 3),
            "failed": self.summary.counts.failed,
            "skipped": self.summary.counts.skipped,
            "wrongly_kept": sorted(self.kept - self.wanted),
            "missed": sorted(self.wanted - self.kept),
        }


def gather(data: Path, bucket: Path) -> list[str]:
    """Put the pictures into ``bucket``: a folder per class, ``dirt/`` and ``broken/``; returns the keys."""
    for photo in (data / "photos" / "clothing").rglob("*.jpg"):
        _put(photo, bucket / photo.parent.name)
    for photo in (data / "photos" / "cameratrap").glob("*.jpg"):
        _put(photo, bucket / "dirt")
    for broken in sorted((data / "badimages").rglob("*")):
        if broken.is_file():
            _put(broken, bucket / "broken" / broken.parent.name)
    return sorted(path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())


def find(data: Path, confidence_pct: float) -> Examined:
    """Run the job on all pictures."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        uploaded = gather(data, work / "bucket")
        sandbox = stack.enter_context(
            SandboxProcess(
                SandboxOptions(
                    load=(LoadSpec("clothes", str(work / "bucket")),),
                    buckets=(BucketSpec("jeans"),),
                    labels=LabelSource.ONNX,
                    onnx_model=str(data / "models" / MODEL),
                    onnx_labels=str(data / "models" / LABELS),
                )
            )
        )
        os.environ.update(sandbox.environment())
        job = parse_job(
            {
                "version": 1,
                "name": "jeans",
                "source": {"uri": "s3://clothes/", "include": ["*"]},
                "rules": [{"keep": {"any": "Jean", "confidence": confidence_pct}}],
                "otherwise": "reject",
                "actions": {"keep": {"copy": "s3://jeans/{key}"}},
                "limits": {"tps": 50},
            },
            base_dir=work,
        )
        summary = anyio.run(run, job)
        outcomes = {image.key: _outcome(image) for image in read_images(job.checkpoint) if image.seq is not None}
        return Examined(summary=summary, outcomes=outcomes, uploaded=uploaded)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--confidence", type=float, default=30.0, help="percent that Jean must reach")
    chosen = parser.parse_args(arguments)
    print(json.dumps(find(chosen.data, chosen.confidence).figures(), indent=2))


def _outcome(image: StoredImage) -> str:
    if image.failure is not None:
        return image.failure.code
    return image.decision.verdict.value if image.decision is not None else ""


def _put(file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, folder / file.name)


if __name__ == "__main__":
    main()
