"""The rules that all writers of manifests share: class numbers, one bucket, counts, and no manifest without a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asyncfilter.datasets.manifests.line_form import LineForm, box_members, encode_line, image_members
from asyncfilter.datasets.manifests.model import MAX_LABEL_CHARS, SOURCE_REF, ImageSize, PixelBox
from asyncfilter.datasets.manifests.physical_lines import ByteSink
from asyncfilter.datasets.manifests.pixels import is_too_small
from asyncfilter.datasets.manifests.source_ref import parse_source_ref
from asyncfilter.errors import DataError, UsageError

_MAX_CLASSES_BYTES = 1 << 20
"""Of ``--classes``: many times the labels that a manifest may have; a device has no end."""


class Classes:
    """The labels of a manifest with their numbers, from 0: in order of first appearance, or as a file fixes them.

    Args:
        fixed: All labels that may occur, in the order of their numbers; None when any label may.
    """

    def __init__(self, fixed: Sequence[str] | None = None) -> None:
        self._is_fixed = fixed is not None
        self.numbers: dict[str, int] = {label: number for number, label in enumerate(fixed or ())}

    def problem(self, label: str) -> str | None:
        """The code of what is wrong with a label: ``LABEL_TOO_LONG`` or ``UNKNOWN_CLASS``; None when it can be used."""
        if len(label) > MAX_LABEL_CHARS:
            return "LABEL_TOO_LONG"
        return "UNKNOWN_CLASS" if self._is_fixed and label not in self.numbers else None

    def add(self, label: str) -> int:
        """The number of a label, which is a new one at its first appearance."""
        return self.numbers.setdefault(label, len(self.numbers))


def read_classes(path: Path) -> Classes:
    """The labels of ``--classes``: one a line, in UTF-8; blank lines are skipped.

    Raises:
        UsageError: The file cannot be read or is too large, holds no label, a label twice, or one that is too long.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CLASSES_BYTES + 1)
        if len(content) > _MAX_CLASSES_BYTES:
            raise UsageError(
                f"--classes {path}: over {_MAX_CLASSES_BYTES:,} bytes", hint="Name a file of one label a line."
            )
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"--classes {path}: {error.strerror or error}", hint="Name a file that can be read."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--classes {path}: not UTF-8", hint="Save the file as UTF-8.") from error
    labels = [label for line in text.split("\n") if (label := line.strip(" \t\r"))]
    repeated = next((label for label, times in Counter(labels).items() if times > 1), None)
    if repeated is not None:
        raise UsageError(f"--classes {path}: {repeated!r} stands there twice", hint="Name each label once.")
    too_long = next((label for label in labels if len(label) > MAX_LABEL_CHARS), None)
    if too_long is not None or not labels:
        why = "no label in it" if too_long is None else f"a label of {len(too_long)} characters"
        raise UsageError(f"--classes {path}: {why}", hint=f"Write one label a line, of at most {MAX_LABEL_CHARS}.")
    return Classes(labels)


@dataclass(slots=True, kw_only=True)
class WriteCounts:
    """What a writer did, for ``--json``.

    Attributes:
        lines: Lines written; each is one image.
        labels: Images of each label, in order of first appearance.
        boxes: Boxes written.
        skipped: Images or rows left out, by reason.
        duplicates: Rows left out because an earlier one has the same address.
        rejected: Rows that cannot be used.
        notes: Further counts of the command, such as ``boxes_too_small``.
    """

    lines: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    boxes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    rejected: int = 0
    notes: Counter[str] = field(default_factory=Counter)

    def as_mapping(
        self, *, output: str | None, duplicates_file: str | None = None, rejected_file: str | None = None
    ) -> dict[str, Any]:
        """The counts under their public names, and the files that were made."""
        return {
            "lines": self.lines,
            "images": self.lines,
            "labels": dict(self.labels),
            "boxes": self.boxes,
            "skipped": dict(sorted(self.skipped.items())),
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "output": output,
            "duplicates_file": duplicates_file,
            "rejected_file": rejected_file,
            **self.notes,
        }


class ManifestWriter:
    """Writes the lines of one manifest.

    Args:
        out: Where the lines go.
        image_form: The form of image-level labels.
        box_form: The form of boxes.
        classes: Numbers the labels of boxes.
        one_bucket: Whether a second bucket is an error.

    Attributes:
        counts: What was written so far; callers add what they leave out.
    """

    def __init__(
        self,
        out: ByteSink,
        *,
        image_form: LineForm,
        box_form: LineForm,
        classes: Classes | None = None,
        one_bucket: bool = True,
    ) -> None:
        self._out = out
        self._image_form = image_form
        self._box_form = box_form
        self._classes = classes or Classes()
        self._one_bucket = one_bucket
        self._bucket: str | None = None
        self.counts = WriteCounts()

    def usable(self, size: ImageSize, boxes: Sequence[PixelBox]) -> list[PixelBox]:
        """Those of the boxes that the service takes; the others are counted as ``boxes_too_small``."""
        kept = [box for box in boxes if not is_too_small(box.width, box.height, size)]
        self.counts.notes["boxes_too_small"] += len(boxes) - len(kept)
        return kept

    def write(
        self,
        source_ref: str,
        labels: Sequence[tuple[str, float]] = (),
        *,
        size: ImageSize | None = None,
        boxes: Sequence[PixelBox] | None = None,
        by_people: bool | None = None,
        labels_by_people: bool | None = None,
    ) -> None:
        """Write one line; without labels and boxes it is a bare one, which the service calls unannotated.

        Args:
            source_ref: ``s3://BUCKET/KEY``.
            labels: Image-level labels with their confidences, 0 to 1.
            size: Of the upright image; needed for boxes.
            boxes: In whole pixels, all of them ``usable``; None for a line without a box attribute.
            by_people: Whether people drew the boxes; None for what the form of boxes says.
            labels_by_people: Whether people gave the labels; None for what the form of labels says.

        Raises:
            DataError: ``ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS``.
            ValueError: ``source_ref`` is no address.
        """
        self._check_bucket(source_ref)
        image_form = _by(self._image_form, by_people=labels_by_people)
        members: dict[str, Any] = {SOURCE_REF: source_ref, **image_members(labels, image_form)}
        if boxes is not None and size is not None:
            for box in boxes:
                self._classes.add(box.label)
            box_form = _by(self._box_form, by_people=by_people)
            members |= box_members(size, boxes, self._classes.numbers, box_form)
        self._out.write(encode_line(members))
        self._count([name for name, _ in labels], boxes or ())

    def finish(self) -> WriteCounts:
        """The counts, once all lines are written.

        Raises:
            DataError: ``ERROR_EMPTY_MANIFEST``: no line was written.
        """
        if not self.counts.lines:
            raise empty_manifest(self.counts)
        return self.counts

    def _check_bucket(self, source_ref: str) -> None:
        place = parse_source_ref(source_ref)
        if place is None:
            raise ValueError(f"{source_ref!r} is no address of an image")
        if self._bucket is None:
            self._bucket = place.bucket
        elif self._one_bucket and place.bucket != self._bucket:
            raise several_buckets(self._bucket, place.bucket)

    def _count(self, names: Sequence[str], boxes: Sequence[PixelBox]) -> None:
        counts = self.counts
        counts.lines += 1
        counts.boxes += len(boxes)
        for name in dict.fromkeys([*names, *(box.label for box in boxes)]):
            counts.labels[name] = counts.labels.get(name, 0) + 1


def _by(form: LineForm, *, by_people: bool | None) -> LineForm:
    return form if by_people is None else replace(form, human_annotated=by_people)


def empty_manifest(counts: WriteCounts | None = None) -> DataError:
    """The error of a writer that has no line to write; it says what was left out."""
    left_out: Mapping[str, int] = {} if counts is None else {**counts.skipped, "rejected": counts.rejected}
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in left_out.items() if number)
    return DataError(
        f"there is no line to write{f' ({reasons})' if reasons else ''}; no manifest was written",
        code="ERROR_EMPTY_MANIFEST",
        hint="Look at what was left out, and why.",
    )


def several_buckets(one: str, other: str) -> DataError:
    """The error of images in two buckets, which the service does not train with."""
    return DataError(
        f"images are in several buckets, {one} and {other} among them; all images of a manifest must be in one",
        code="ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS",
        hint="Copy the images to one bucket.",
    )
