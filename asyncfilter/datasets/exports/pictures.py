"""Pictures of a run as a dataset: which are chosen, what is said about each, and what its file is called.

Names of files come from the position of an image in the order of examination, never from its key. A key may hold what
no file system or archive takes, lead out of the folder, collide with another one where case does not count, have dots
at which WebDataset would cut it, or words such as ``test`` from which a loader would guess a split. The key is in the
record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from asyncfilter.datasets.exports.counted import counted_verdict
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.pixels import box_of_ratios
from asyncfilter.errors import ImageError
from asyncfilter.model import Label, Verdict, uri_of
from asyncfilter.policy.header import Format
from asyncfilter.policy.upright import UprightHeader, read_upright
from asyncfilter.records.images import StoredImage

EXTENSIONS = {
    Format.JPEG: "jpg",
    Format.PNG: "png",
    Format.GIF: "gif",
    Format.WEBP: "webp",
    Format.BMP: "bmp",
    Format.TIFF: "tiff",
    Format.HEIC: "heic",
    Format.AVIF: "avif",
    Format.UNKNOWN: "bin",
}
"""By content: loaders choose their decoder by the extension, and keys may have a wrong one or none."""


class LeftOut(StrEnum):
    """Why an examined image is not in the dataset."""

    VERDICT = "verdict"
    """It counts under another verdict than those that are wanted."""
    FAILED = "failed"
    DUPLICATE = "duplicate"
    """With ``duplicates: skip``: it has the content of an earlier one."""
    REMOVED = "removed"
    """It was deleted, and there is no copy."""


class ObjectColumns(msgspec.Struct, frozen=True, kw_only=True):
    """The boxes of a picture, in parallel lists.

    Attributes:
        bbox: Left, top, width and height of each, in pixels of the upright picture.
        categories: The names of their labels.
        confidence_pct: Of each box.
    """

    bbox: Sequence[Sequence[int]]
    categories: Sequence[str]
    confidence_pct: Sequence[float]


class PictureRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is said about one picture; docs/datasets.md describes the fields.

    Attributes:
        width: Of the upright picture, in pixels; None where its header does not show it; ``height`` likewise.
        label: First name of the deciding rule that matched; None where the rule names none.
        labels: All labels, in the order of the response; ``confidences_pct`` is parallel.
    """

    key: str
    uri: str
    etag: str
    size_bytes: int
    width: int | None
    height: int | None
    verdict: str
    label: str | None
    labels: Sequence[str]
    confidences_pct: Sequence[float]
    objects: ObjectColumns


class PictureWriter(Protocol):
    """Writes pictures with their records, in the order in which they are given."""

    def write(self, seq: int, extension: str, record: PictureRecord, content: bytes) -> object:
        """Write one picture.

        Args:
            seq: Its position in the order of examination, from 1.
            extension: Of its file, without a dot.
            record: What is said about it.
            content: Its bytes.
        """
        ...


class PictureCounts(msgspec.Struct, kw_only=True):
    """What became of the images of a run.

    Attributes:
        images: Pictures that were written, of ``bytes`` bytes in all.
        skipped: Images that are not wanted, by reason.
        failed: Images that could not be read, by cause; ``first`` has the messages of some.
    """

    images: int = 0
    bytes: int = 0
    skipped: Counter[str] = msgspec.field(default_factory=Counter)
    failed: Counter[str] = msgspec.field(default_factory=Counter)
    first: list[str] = []


FIRST_FAILURES = 20


class PictureExport:
    """Chooses the pictures of a run, and gives each with its record to a writer.

    Args:
        writer: Writes them.
        bucket: The source's.
        verdicts: The verdicts under which they count.
        skips_duplicates: See ``counted_verdict``.
    """

    def __init__(
        self, writer: PictureWriter, *, bucket: str, verdicts: Collection[Verdict], skips_duplicates: bool
    ) -> None:
        self._writer, self._bucket = writer, bucket
        self._verdicts, self._skips_duplicates = frozenset(verdicts), skips_duplicates
        self.counts = PictureCounts()

    def chosen(self, images: Iterable[StoredImage]) -> Iterator[StoredImage]:
        """Those of the placed images that are wanted, in the order of examination; the others are counted."""
        for image in images:
            if image.seq is None:
                return  # in a checkpoint, cached images follow all others
            left_out = self._left_out(image)
            if left_out is None:
                yield image
            else:
                self.counts.skipped[left_out.value] += 1

    def add(self, image: StoredImage, content: bytes) -> None:
        """Write one picture."""
        header = read_upright(content, is_whole=True)
        record = _record(image, self._bucket, header)
        self._writer.write(image.seq or 0, EXTENSIONS[header.header.format], record, content)
        self.counts.images += 1
        self.counts.bytes += len(content)

    def fail(self, image: StoredImage, error: ImageError) -> None:
        """Count one that cannot be read."""
        del image  # the message names it
        self.counts.failed[error.code] += 1
        if len(self.counts.first) < FIRST_FAILURES:
            self.counts.first.append(f"{error.code}: {error.message}")

    def _left_out(self, image: StoredImage) -> LeftOut | None:
        verdict = counted_verdict(image, skips_duplicates=self._skips_duplicates)
        if verdict is not None and verdict not in self._verdicts:
            return LeftOut.VERDICT
        if verdict is not None:
            return LeftOut.REMOVED if image.removal is not None and image.copied_to is None else None
        return LeftOut.DUPLICATE if self._skips_duplicates and image.same_as is not None else LeftOut.FAILED


def _record(image: StoredImage, bucket: str, header: UprightHeader) -> PictureRecord:
    labels = image.detection.labels if image.detection is not None else ()
    upright, decision = header.upright, image.decision
    size = None if upright is None else ImageSize(upright.width, upright.height, upright.channels)
    return PictureRecord(
        key=image.key,
        uri=uri_of(bucket, image.key),
        etag=image.etag,
        size_bytes=image.size_bytes,
        width=None if size is None else size.width,
        height=None if size is None else size.height,
        verdict=decision.verdict.value if decision is not None else "",
        label=decision.label if decision is not None else None,
        labels=[label.name for label in labels],
        confidences_pct=[float(label.confidence_pct) for label in labels],
        objects=_objects(labels, size),
    )


def _objects(labels: Iterable[Label], size: ImageSize | None) -> ObjectColumns:
    """The boxes in whole pixels, cut at the frame; none where the size is not known, and none without an area."""
    boxes = [] if size is None else [box for label in labels for box in _boxes(label, size)]
    seen = [box for box in boxes if box.width > 0 and box.height > 0]
    return ObjectColumns(
        bbox=[tuple(map(int, (box.left, box.top, box.width, box.height))) for box in seen],
        categories=[box.label for box in seen],
        confidence_pct=[float(box.confidence) for box in seen],
    )


def _boxes(label: Label, size: ImageSize) -> Iterator[PixelBox]:
    for instance in label.instances:
        yield box_of_ratios(label.name, instance.box, size, instance.confidence_pct)
