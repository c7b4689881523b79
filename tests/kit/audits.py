"""A job with a checkpoint of many images, and people who answer what an audit asks about them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from asyncfilter.answers import open_answers
from asyncfilter.checkpoint import open_checkpoint
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.load import load_job
from asyncfilter.job.spec import Job
from asyncfilter.model import Detection, Label
from asyncfilter.policy.rules import compile_rules
from asyncfilter.records.answers import AskedAs, NewAnswer, PersonVerdict, Subject
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch, Watermark
from tests.kit.jobs import write_job

RULES: list[Any] = [
    {"reject": {"any": ["Person"], "confidence": 85}},
    {"keep": {"any": ["Robin"], "confidence": 85}},
    {"review": {"any": ["Robin"], "confidence": 60}},
]


def is_good(key: str) -> bool:
    """The truth about an image, by its key."""
    return key.startswith("g/")


def honest(key: str) -> str:
    """The word of a person who sees the truth."""
    return "keep" if is_good(key) else "reject"


def image(number: int) -> StoredImage:
    """An image whose labels depend on its number; the higher the confidence of Robin, the more of them are good."""
    random = Random(number)
    pct = round(random.uniform(30, 100), 1)
    good = random.random() < (0.99 if pct >= 75 else 0.9 if pct >= 60 else 0.02)
    labels = [Label("Robin", pct)] + ([Label("Person", 95.0)] if random.random() < 0.05 else [])
    return StoredImage(
        id=number,
        seq=number,
        key=f"{'g' if good else 'b'}/{number:06}.jpg",
        etag=f"{number:032x}",
        size_bytes=1000 + number,
        detection=Detection(tuple(labels), "3.0"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedJob:
    """A job file and its checkpoint."""

    path: Path

    @property
    def job(self) -> Job:
        """The job as its file has it now."""
        return load_job(self.path)

    def add(self, images: Iterable[StoredImage], *, unplaced: Iterable[int] = ()) -> None:
        """Store images, each decided by the job; ids in ``unplaced`` lose their place."""
        job = self.job
        rules = compile_rules(job)
        new = [one if one.detection is None else _decided(one, rules.decide(one.detection)) for one in images]

        async def write() -> None:
            checkpoint = await open_checkpoint(job.checkpoint, identity=identity(job), name=job.name)
            last = max([one.seq or 0 for one in new], default=0)
            before = checkpoint.opened.watermark.seq
            await checkpoint.commit(
                Batch(unpositioned=list(unplaced), new=new, watermark=Watermark(seq=max(last, before)))
            )
            await checkpoint.aclose()

        asyncio.run(write())

    def answer(self, asked: Iterable[Subject], word: Callable[[str], str] = honest, **parts: Any) -> None:
        """Answer about these objects, by their keys."""
        rows = [
            NewAnswer(
                **{
                    "uid": f"{parts.get('reviewer', 'anna')}-{parts.get('asked_as', 'free')}-{one.etag}",
                    "reviewer": "anna",
                    "at_unix_s": 1_790_000_000.0,
                    "subject": one,
                    "verdict": PersonVerdict(word(one.key)),
                    "asked_as": AskedAs.FREE,
                    **parts,
                }
            )
            for one in asked
        ]
        with open_answers(self.job.answers_path) as file:
            file.add(rows)


def _decided(one: StoredImage, decision: Any) -> StoredImage:
    return StoredImage(**{name: getattr(one, name) for name in StoredImage.__struct_fields__} | {"decision": decision})


def audited_job(folder: Path, images: int, **sections: Any) -> AuditedJob:
    """A job with that many images."""
    folder.mkdir(parents=True, exist_ok=True)
    found = AuditedJob(path=write_job(folder / "job.yaml", **{"rules": RULES, **sections}))
    found.add(map(image, range(1, images + 1)))
    return found


def subjects(tasks: Path) -> list[Subject]:
    """The objects of a file of tasks for Label Studio."""
    found = [task["data"]["asyncfilter"] for task in json.loads(tasks.read_bytes())]
    return [
        Subject(bucket=one["bucket"], key=one["key"], etag=one["etag"], size_bytes=one["size_bytes"]) for one in found
    ]
