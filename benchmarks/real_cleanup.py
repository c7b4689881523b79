"""Cleaning real folders: how well do five good images of a class separate its pictures from intruders?

Raccoons are mixed into each of ten folders of clothes, about a fifth of the folder, in a sandbox whose labels come from
a real image classifier. The job of a folder names five of its own pictures as references. Images that show one of the
common labels of the references are kept, those that show it with low confidence are for review, and all others would be
removed. The file names give the correct result.

The classifier was trained on other classes and spreads its confidence over a thousand of them. The thresholds here are
therefore far below those for Rekognition.

    python benchmarks/real_cleanup.py --data DIR

DIR holds ``photos/clothing/<class>/``, ``photos/raccoon/images/`` and ``models/``. Needs the extra onnx.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from asyncfilter import Job, parse_job, run
from asyncfilter.checkpoint import read_images
from asyncfilter.sandbox import LabelSource, LoadSpec, SandboxOptions, SandboxProcess

MODEL = "mobilenet_v2_1.0_224_quant.onnx"
LABELS = "imagenet_labels.txt"
REFERENCES = 5
INTRUDERS = 4
"""A folder: with its fifteen pictures, a share of 21 %."""

KEEP_PCT = 5.0
REVIEW_PCT = 1.0


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """The results of all folders.

    Attributes:
        verdicts: Verdicts by key.
        references: Keys of the references; they are not counted below.
        calls: Images paid for by each job, including references.
    """

    verdicts: dict[str, str] = field(default_factory=dict)
    references: set[str] = field(default_factory=set)
    calls: list[int] = field(default_factory=list)

    @property
    def intruders(self) -> set[str]:
        """Keys that should be removed."""
        return {key for key in self.verdicts if "/raccoon-" in key}

    @property
    def good(self) -> set[str]:
        """Keys that should stay, without references."""
        return set(self.verdicts) - self.intruders - self.references

    @property
    def removed(self) -> set[str]:
        """Keys that would be removed, without references."""
        return self._with("reject") - self.references

    @property
    def precision(self) -> float:
        """Share of the removed keys that should be removed."""
        return len(self.removed & self.intruders) / len(self.removed)

    @property
    def recall(self) -> float:
        """Share of the keys that should be removed that would be removed."""
        return len(self.removed & self.intruders) / len(self.intruders)

    def figures(self) -> dict[str, object]:
        """The figures to print."""
        review = self._with("review")
        return {
            "good": len(self.good),
            "intruders": len(self.intruders),
            "removed": len(self.removed),
            "precision": round(self.precision, 3),
            "recall": round(self.recall, 3),
            "left_to_people": {"good": len(review & self.good), "intruders": len(review & self.intruders)},
            "calls": sum(self.calls),
            "lost": sorted(self.removed & self.good),
            "missed": sorted(self.intruders - self.removed),
        }

    def _with(self, verdict: str) -> set[str]:
        return {key for key, found in self.verdicts.items() if found == verdict}


def gather(data: Path, bucket: Path) -> dict[str, list[str]]:
    """Put the pictures into ``bucket``; returns the references of each class: addresses, the last one of a file."""
    raccoons = iter(_distinct(data / "photos" / "raccoon" / "images"))
    references = {}
    for folder in sorted(path for path in (data / "photos" / "clothing").iterdir() if path.is_dir()):
        (bucket / folder.name).mkdir(parents=True)
        photos = sorted(folder.glob("*.jpg"))
        for photo in photos:
            shutil.copyfile(photo, bucket / folder.name / photo.name)
        for _ in range(INTRUDERS):
            raccoon = next(raccoons)
            shutil.copyfile(raccoon, bucket / folder.name / f"raccoon-{raccoon.name}")
        *stored, last = photos[:REFERENCES]
        references[folder.name] = [*(f"s3://shop/{folder.name}/{photo.name}" for photo in stored), str(last)]
    return references


def clean(data: Path) -> Cleaned:
    """Run one job per folder."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        references = gather(data, work / "bucket")
        sandbox = stack.enter_context(
            SandboxProcess(
                SandboxOptions(
                    load=(LoadSpec("shop", str(work / "bucket")),),
                    labels=LabelSource.ONNX,
                    onnx_model=str(data / "models" / MODEL),
                    onnx_labels=str(data / "models" / LABELS),
                )
            )
        )
        os.environ.update(sandbox.environment())
        return anyio.run(_clean_all, references, work)


async def _clean_all(references: Mapping[str, list[str]], work: Path) -> Cleaned:
    """Run the jobs of all folders concurrently, because each job waits for its own ramp."""
    cleaned = Cleaned(references={f"{name}/{Path(uri).name}" for name, uris in references.items() for uri in uris})

    async def one(name: str, uris: list[str]) -> None:
        job = _job(name, uris, work)
        summary = await run(job)
        rows = [image for image in read_images(job.checkpoint) if image.seq is not None]
        cleaned.verdicts.update({row.key: row.decision.verdict.value for row in rows if row.decision is not None})
        cleaned.calls.append(summary.counts.calls)

    async with anyio.create_task_group() as tasks:
        for name, uris in references.items():
            tasks.start_soon(one, name, uris)
    return cleaned


def _job(name: str, uris: list[str], work: Path) -> Job:
    return parse_job(
        {
            "version": 1,
            "name": name,
            "source": f"s3://shop/{name}/",
            "rules": [
                {"keep": {"like": uris, "confidence": KEEP_PCT}},
                {"review": {"like": uris, "confidence": REVIEW_PCT}},
            ],
            "otherwise": "reject",
            "limits": {"tps": 20},
        },
        base_dir=work,
    )


def _distinct(folder: Path) -> Iterator[Path]:
    """The pictures of a folder, without duplicates."""
    seen = set()
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        if content not in seen:
            seen.add(content)
            yield path


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    print(json.dumps(clean(parser.parse_args(arguments).data).figures(), indent=2))


if __name__ == "__main__":
    main()
