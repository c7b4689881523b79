"""Boxes of another format as lines of a manifest: addresses, whole pixels, and the rules of the service."""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.datasets.exchange.boxed_image import BoxedImage
from asyncfilter.datasets.exchange.names import UsedNames
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.limits import MAX_BOXES_OF_IMAGE
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.pixels import box_of_edges, is_outside
from asyncfilter.datasets.manifests.source_ref import join_path, parse_source_ref
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter
from asyncfilter.errors import UsageError
from asyncfilter.model import S3

CLAMPED = "clamped"
"""Counts boxes that were partly outside of the image."""


class BoxLines:
    """Writes a line for each image; one without boxes has an empty list of them.

    Args:
        writer: Of the manifest.
        classes: The labels that may occur.
        s3_path: Under which the images are in S3; None when their names are whole addresses.
        rejects: Takes what cannot be used.
        size_of: Finds the size of an image whose size the format does not say, by its name; None where it cannot.
    """

    def __init__(
        self,
        writer: ManifestWriter,
        *,
        classes: Classes,
        s3_path: str | None,
        rejects: Rejects,
        size_of: Callable[[str], ImageSize | None],
    ) -> None:
        self._writer, self._classes, self._s3_path = writer, classes, s3_path
        self._rejects, self._size_of = rejects, size_of
        self._used = UsedNames()

    def add(self, image: BoxedImage) -> None:
        """Write the line of one image.

        Raises:
            UsageError: ``--s3-path`` is missing.
        """
        source_ref = self._address(image.name)
        size = image.size or self._size_of(image.name)
        if parse_source_ref(source_ref) is None:
            self._rejects.add(image.place, "NOT_S3_URI", f"{source_ref!r} is no address")
        elif size is None:
            self._rejects.add(image.place, "NO_SIZE", "width and height are not known; --images can tell them")
        elif not self._used.add(source_ref):
            self._rejects.add(image.place, "REPEATED_SOURCE_REF", f"{source_ref} was there already")
        else:
            by_people = all(box.confidence is None for box in image.boxes)
            self._writer.write(source_ref, size=size, boxes=self._boxes(image, size), by_people=by_people)

    def _address(self, name: str) -> str:
        if name.startswith(S3):
            return name
        if self._s3_path is None:
            raise UsageError(
                f"{name} is no address in S3, and a manifest names images in S3",
                hint="Say where they are: --s3-path s3://BUCKET/PREFIX.",
            )
        return join_path(self._s3_path, name)

    def _boxes(self, image: BoxedImage, size: ImageSize) -> list[PixelBox]:
        boxes: list[PixelBox] = []
        for label, left, top, right, bottom, confidence in image.boxes:
            problem = self._classes.problem(label)
            if problem is not None:
                self._rejects.add(image.place, problem, f"a box of {label!r}")
                continue
            sides = {"left": left, "top": top, "right": right, "bottom": bottom}
            self._writer.counts.notes[CLAMPED] += is_outside(size, **sides)
            box = box_of_edges(label, size, **sides, confidence=1 if confidence is None else confidence)
            boxes += self._writer.usable(size, [box])
        for _ in boxes[MAX_BOXES_OF_IMAGE:]:
            self._rejects.add(image.place, "TOO_MANY_BOXES", f"{len(boxes)} boxes, {MAX_BOXES_OF_IMAGE} are taken")
        return boxes[:MAX_BOXES_OF_IMAGE]
