"""Lines from the images that a run has examined: their labels, their boxes, or both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from asyncfilter.datasets.limits import MAX_BOXES_OF_IMAGE
from asyncfilter.datasets.manifests.image_facts import ImageFacts
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.pixels import box_of_ratios
from asyncfilter.datasets.manifests.row_rules import RowCode, RowSink, labels_problem
from asyncfilter.datasets.manifests.run_answers import People, SaidOfImage, is_reviewed
from asyncfilter.datasets.manifests.run_labels import Choice
from asyncfilter.datasets.manifests.run_refs import RunRefs
from asyncfilter.datasets.manifests.source_ref import parse_source_ref
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter
from asyncfilter.model import Skip, Verdict
from asyncfilter.records.images import StoredImage

EXIF_ROTATED = "exif_rotated"
"""Counts images that are stored lying on their side."""


class RunKind(StrEnum):
    """What the lines hold."""

    IMAGE = "image"
    BOXES = "boxes"
    BOTH = "both"


class LeftOut(StrEnum):
    """Why an examined image has no line."""

    VERDICT = "verdict"
    """Another verdict than those that are wanted."""
    FAILED = "failed"
    DUPLICATE = Skip.DUPLICATE.value
    NO_LABEL = "no_label"
    NO_BOXES = "no_boxes"
    NO_SIZE = "no_size"
    TOO_MANY_BOXES = "too_many_boxes"
    """Over 50, with which the service refuses the whole line."""
    NOT_REVIEWED = "not_reviewed"
    """Nobody has said anything about it."""
    REMOVED = "removed"
    """It is not there any more, or not below a target of the job."""


class RunImage(NamedTuple):
    """An examined image that may become a line.

    Attributes:
        image: As the checkpoint has it.
        source_ref: Its address in the manifest.
        said: Its labels and boxes.
    """

    image: StoredImage
    source_ref: str
    said: SaidOfImage


class RunChoice:
    """Chooses the images and labels of a run.

    Args:
        kind: What the lines hold.
        verdicts: The verdicts that are wanted: a person's before the rules'.
        choice: Chooses the labels that the detector has found in an image.
        people: Chooses what people say about an image before that.
        reject_label: The label of rejected images; None leaves them out, unless their verdict is wanted.
        refs: The addresses of the images.
        skips_duplicates: Whether the job leaves out images with the content of an earlier one.
        only_reviewed: Whether images about which nobody has said anything are left out.
    """

    def __init__(
        self,
        *,
        kind: RunKind,
        verdicts: Collection[Verdict],
        choice: Choice,
        people: People,
        reject_label: str | None,
        refs: RunRefs,
        skips_duplicates: bool,
        only_reviewed: bool = False,
    ) -> None:
        self.has_boxes = kind is not RunKind.IMAGE
        self.has_labels = kind is not RunKind.BOXES
        self._verdicts, self._choice, self._people = frozenset(verdicts), choice, people
        self._reject_label, self._refs, self._skips_duplicates = reject_label, refs, skips_duplicates
        self._only_reviewed = only_reviewed

    def of(self, image: StoredImage) -> RunImage | LeftOut:
        """What an image becomes, or why it is left out."""
        if self._skips_duplicates and image.same_as is not None:
            return LeftOut.DUPLICATE
        if image.decision is None:
            return LeftOut.FAILED
        if self._only_reviewed and not is_reviewed(image):
            return LeftOut.NOT_REVIEWED
        if self._reject_label is not None and image.decision.verdict is Verdict.REJECT:
            said = self._people.rejected(image, self._reject_label)
        elif image.decision.verdict in self._verdicts:
            said = self._people.before(image, self._choice)
        else:
            return LeftOut.VERDICT
        if not said.labels and (self.has_labels or not said.boxes):
            return LeftOut.NO_LABEL
        if self.has_boxes and not said.boxes:
            return LeftOut.NO_BOXES
        source_ref = self._refs.of(image)
        return LeftOut.REMOVED if source_ref is None else RunImage(image, source_ref, said)

    def boxed(self, images: Iterable[StoredImage]) -> Iterator[RunImage]:
        """The images whose sizes are needed."""
        for image in placed(images):
            found = self.of(image)
            if isinstance(found, RunImage):
                yield found


class RunLines:
    """Writes a line for each image of a run that is chosen.

    Args:
        writer: Of the manifest.
        classes: The labels that may occur.
        choice: Chooses images and labels.
        facts: What is known of an image itself; not called where no boxes are written.
        rejected: Takes images that cannot be used, as address and code.
    """

    def __init__(
        self,
        writer: ManifestWriter,
        *,
        classes: Classes,
        choice: RunChoice,
        facts: Callable[[StoredImage], ImageFacts | None],
        rejected: RowSink,
    ) -> None:
        self._writer, self._classes, self._choice = writer, classes, choice
        self._facts, self._rejected = facts, rejected
        if choice.has_boxes:
            writer.counts.notes[EXIF_ROTATED] = writer.counts.notes["boxes_too_small"] = 0

    def write(self, images: Iterable[StoredImage]) -> None:
        """Write all lines, in the order of the images.

        Raises:
            DataError: The images are in several buckets.
        """
        for image in placed(images):
            found = self._choice.of(image)
            left_out = self._line(found) if isinstance(found, RunImage) else found
            if left_out is not None:
                self._writer.counts.skipped[left_out.value] += 1

    def _line(self, found: RunImage) -> LeftOut | None:
        """Write or reject an image; returns why neither was done."""
        said = found.said
        problem = labels_problem([label.name for label in said.labels], self._classes)
        problem = problem or labels_problem(list(dict.fromkeys(box.label for box in said.boxes)), self._classes)
        if problem is None and parse_source_ref(found.source_ref) is None:
            problem = RowCode.NOT_S3_URI
        if problem is not None:
            self._writer.counts.rejected += 1
            self._rejected.write((found.source_ref, problem.value))
            return None
        names = [(one.name, one.confidence_pct / 100) for one in said.labels] if self._choice.has_labels else []
        if not self._choice.has_boxes:
            self._writer.write(found.source_ref, names, labels_by_people=said.labels_by_people)
            return None
        facts = self._facts(found.image)
        if facts is None or facts.size is None:
            return LeftOut.NO_SIZE
        boxes = self._writer.usable(facts.size, list(_boxes(said, facts.size)))
        if not boxes or len(boxes) > MAX_BOXES_OF_IMAGE:
            return LeftOut.TOO_MANY_BOXES if boxes else LeftOut.NO_BOXES
        self._writer.counts.notes[EXIF_ROTATED] += facts.is_turned
        self._writer.write(
            found.source_ref,
            names,
            size=facts.size,
            boxes=boxes,
            by_people=said.boxes_by_people,
            labels_by_people=said.labels_by_people,
        )
        return None


def placed(images: Iterable[StoredImage]) -> Iterator[StoredImage]:
    """The images that are counted, in the order of examination; in a checkpoint the others follow them."""
    for image in images:
        if image.seq is None:
            return
        yield image


def _boxes(said: SaidOfImage, size: ImageSize) -> Iterator[PixelBox]:
    for one in said.boxes:
        yield box_of_ratios(one.label, one.box, size, one.confidence_pct / 100)
