"""Groups of images that look alike, as JSON Lines or CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence

import msgspec

from asyncfilter.datasets.export import TextSink
from asyncfilter.model import uri_of
from asyncfilter.policy.footnote import footnote_of
from asyncfilter.policy.likeness import distance as distance_of
from asyncfilter.policy.likeness import near_groups
from asyncfilter.ports import StoredImage


class Alike(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a group.

    Attributes:
        distance: Bits in which its hash differs from that of the group's first image.
        likeness: The hash, 16 hex digits.
    """

    seq: int | None
    key: str
    size_bytes: int
    verdict: str | None
    distance: int
    likeness: str


COLUMNS = ("group", "seq", "key", "uri", "size_bytes", "verdict", "distance", "likeness")


def near_duplicates(images: Iterable[StoredImage], distance: int) -> Sequence[Sequence[Alike]] | None:
    """Groups of at least two seated images, in order of examination; None when no image has a hash.

    Memory: about 300 bytes an image that has a hash.
    """
    alike: list[Alike] = []
    hashes: list[int] = []
    for image in images:
        likeness = footnote_of(image.detection).likeness
        if image.seq is not None and likeness is not None:
            hashes.append(int(likeness, 16))
            alike.append(_alike(image, likeness))
    if not hashes:
        return None
    return [
        [msgspec.structs.replace(alike[at], distance=distance_of(hashes[at], hashes[group[0]])) for at in group]
        for group in near_groups(hashes, distance)
    ]


def _alike(image: StoredImage, likeness: str) -> Alike:
    verdict = image.decision.verdict.value if image.decision is not None else None
    return Alike(
        seq=image.seq, key=image.key, size_bytes=image.size_bytes, verdict=verdict, distance=0, likeness=likeness
    )


def write_alike_jsonl(groups: Iterable[Sequence[Alike]], bucket: str, out: TextSink) -> int:
    """Write one group a line; returns the number of groups."""
    encode = msgspec.json.Encoder().encode
    number = 0
    for number, group in enumerate(groups, start=1):
        images = [{**msgspec.structs.asdict(image), "uri": uri_of(bucket, image.key)} for image in group]
        out.write(encode({"group": number, "images": images}).decode() + "\n")
    return number


def write_alike_csv(groups: Iterable[Sequence[Alike]], bucket: str, out: TextSink) -> int:
    """Write one image a line, under the number of its group from 1; returns the number of groups."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    number = 0
    for number, group in enumerate(groups, start=1):
        for image in group:
            fields = {**msgspec.structs.asdict(image), "group": number, "uri": uri_of(bucket, image.key)}
            writer.writerow([fields[column] for column in COLUMNS])
    return number
