"""The kinds of jobs that the sweeps of signals and kills take: what differs from the plain job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncfilter.sandbox import BucketSpec, Latency, SandboxOptions, SyntheticSpec
from asyncfilter.sandbox.answers.source import Label
from asyncfilter.sandbox.options import DrawnSpec
from tests.kit.onnx_models import colour_model, write_model

LANE_KEYS = ("AKIASWEEPOFLANES0000", "secret-of-the-second-account")
"""Access key and secret of the profile ``b``, whose account is another one than that of the job."""

STATE_TROUBLE = (
    "internal:PutObject=3%", "reset:PutObject=2%", "cut:PutObject=1%", "conflict=2%", "slowdown:GetObject=3%",
    "cut:GetObject=1%", "internal:HeadObject=2%",
)  # fmt: skip
"""Faults of the store of a state."""

Sections = dict[str, Any]


@dataclass(frozen=True)
class JobKind:
    """What differs from the plain job.

    Attributes:
        sections: The sections of the job file, from the name of the workspace and a folder for files of the sweep.
        is_drawn: Each image is a picture of its own, whose labels are the same however it is sent.
        is_sparse: Most objects of the bucket are skipped by their names, so that the listing has many pages.
        is_paid: False where no detection is called.
        trouble: Faults beside those of every kind.
    """

    sections: Callable[[str, Path], Sections] = lambda _name, _folder: {}
    is_drawn: bool = False
    is_sparse: bool = False
    is_paid: bool = True
    trouble: tuple[str, ...] = ()

    def options(self, images: int, *, spread: int, **options: Any) -> SandboxOptions:
        """A sandbox with ``images`` images in ``raw``, and with ``spread`` objects for each of a sparse kind."""
        drawn = tuple(map(_drawn, range(images))) if self.is_drawn else ()
        objects = images * spread if self.is_sparse else images
        return SandboxOptions(
            drawn=drawn,
            synthetic=() if drawn else (SyntheticSpec("raw", objects),),
            buckets=(BucketSpec("clean"), BucketSpec("state")),
            list_latency=Latency(0.1, 0.3) if self.is_sparse else None,
            announced_tps=100.0,
            **options,
        )

    def document(self, job: Mapping[str, Any], name: str, folder: Path, *, spread: int) -> Sections:
        """The sections of a job of this kind.

        Args:
            job: Those of the plain job.
            name: The name of the workspace.
            folder: For files that all jobs of the sweep share.
            spread: That of ``options``, a power of ten.
        """
        document = {**job, **self.sections(name, folder)}
        if self.is_sparse:
            document["source"] = {**document["source"], "include": f"*{str(spread)[1:]}.jpg"}
        if "lanes" in document.get("detector", {}):
            document["limits"] = {key: value for key, value in document["limits"].items() if key != "tps"}
        return document


def _drawn(number: int) -> DrawnSpec:
    subject = ("robin", "jay", "blackbird", "robin", "sparrow", "flower", "car", "cat")[number % 8]
    return DrawnSpec("raw", f"{number:04}.jpg", subject, (Label(subject.title(), 90.0),))


def _own_model(_name: str, folder: Path) -> Sections:
    """An image is ``Ruby`` if it has more red than blue."""
    body = colour_model([[0.1, 0.0], [0.0, 0.0], [-0.1, 0.0]])
    rules = [{"keep": {"any": "Ruby", "confidence": 50}}, {"review": {"any": "Ruby", "confidence": 20}}]
    return {"detector": dict(write_model(folder / "model", body, "ruby\nfog\n")), "rules": rules}


def _lanes(_name: str, _folder: Path) -> Sections:
    lanes = [{"region": "us-east-1"}, {"region": "us-east-1", "profile": "b"}, {"region": "us-west-2"}]
    return {"detector": {"lanes": lanes}, "convert": True}


KINDS = {
    "plain": JobKind(),
    "lanes": JobKind(_lanes, is_drawn=True),
    "ranges": JobKind(lambda _name, _folder: {"source": {"uri": "s3://raw/", "ranges": 4}}, is_sparse=True),
    "onnx": JobKind(_own_model, is_drawn=True, is_paid=False, trouble=("slowdown:GetObject=3%", "cut:GetObject=2%")),
    "copy": JobKind(lambda name, _folder: {"checkpoint_copy": f"s3://state/{name}/"}, trouble=STATE_TROUBLE),
    "state": JobKind(lambda name, _folder: {"checkpoint": f"s3://state/{name}/"}, trouble=STATE_TROUBLE),
}
"""The kinds by name."""
