"""Groups of images that look alike, as JSON Lines or CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from asyncfilter.datasets.exports.csv_lines import CsvLines, TextSink
from asyncfilter.model import uri_of
from asyncfilter.policy.near_duplicates import distance as distance_of
from asyncfilter.policy.near_duplicates import near_groups
from asyncfilter.policy.provenance import provenance_of
from asyncfilter.records.images import StoredImage


class NearDuplicate(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a group.

    Attributes:
        distance: Bits in which its hash differs from that of the group's first image.
        perceptual_hash: The hash, 16 hex digits.
    """

    seq: int | None
    key: str
    size_bytes: int
    verdict: str | None
    distance: int
    perceptual_hash: str = msgspec.field(name="likeness")


COLUMNS = ("group", "seq", "key", "uri", "size_bytes", "verdict", "distance", "likeness")


def near_duplicates(images: Iterable[StoredImage], distance: int) -> Sequence[Sequence[NearDuplicate]] | None:
    """Groups of at least two placed images, in order of examination; None when no image has a hash.

    Memory: about 300 bytes per image that has a hash.
    """
    similar: list[NearDuplicate] = []
    hashes: list[int] = []
    for image in images:
        perceptual_hash = provenance_of(image.detection).perceptual_hash
        if image.seq is not None and perceptual_hash is not None:
            hashes.append(int(perceptual_hash, 16))
            similar.append(_near_duplicate(image, perceptual_hash))
    if not hashes:
        return None
    return [
        [msgspec.structs.replace(similar[at], distance=distance_of(hashes[at], hashes[group[0]])) for at in group]
        for group in near_groups(hashes, distance)
    ]


def _near_duplicate(image: StoredImage, perceptual_hash: str) -> NearDuplicate:
    verdict = image.decision.verdict.value if image.decision is not None else None
    return NearDuplicate(
        seq=image.seq,
        key=image.key,
        size_bytes=image.size_bytes,
        verdict=verdict,
        distance=0,
        perceptual_hash=perceptual_hash,
    )


def write_near_duplicates_jsonl(groups: Iterable[Sequence[NearDuplicate]], bucket: str, out: TextSink) -> int:
    """Write one line per group; returns the number of groups."""
    encode = msgspec.json.Encoder().encode
    number = 0
    for number, group in enumerate(groups, start=1):
        images = [{**msgspec.to_builtins(image), "uri": uri_of(bucket, image.key)} for image in group]
        out.write(encode({"group": number, "images": images}).decode() + "\n")
    return number


def write_near_duplicates_csv(
    groups: Iterable[Sequence[NearDuplicate]], bucket: str, out: TextSink, *, is_spreadsheet: bool = False
) -> int:
    """Write one line per image, with the number of its group from 1; returns the number of groups."""
    csv_lines = CsvLines(out, COLUMNS, is_spreadsheet=is_spreadsheet)
    number = 0
    for number, group in enumerate(groups, start=1):
        for image in group:
            fields = {**msgspec.to_builtins(image), "group": number, "uri": uri_of(bucket, image.key)}
            csv_lines.write([fields[column] for column in COLUMNS])
    return number
