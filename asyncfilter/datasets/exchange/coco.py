"""COCO: one JSON document with images, annotations and categories. It is read whole, and written image by image."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from asyncfilter.datasets.exchange.boxed_image import BoxedImage, Edges
from asyncfilter.datasets.exchange.globox_objects import annotation_of, edges_of, globox
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.line_form import encode_json
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.writing import Classes
from asyncfilter.errors import UsageError

CROWD = "crowd"
"""Why an annotation of a crowd is skipped: it is a region, not an object."""

_PIECE_BYTES = 1024 * 1024


# -- Reading -----------------------------------------------------------------------------------------------------------


class CocoReader:
    """Reads a COCO document.

    Args:
        stream: The document.
        file: Its name, for messages.
        skipped: Counts what is left out without harm.
        rejects: Takes what cannot be used.

    Raises:
        UsageError: It is none.
    """

    def __init__(self, stream: BinaryIO, *, file: str, skipped: Counter[str], rejects: Rejects) -> None:
        self._skipped, self._rejects = skipped, rejects
        document = _document(stream, file)
        self._images = [image for image in document["images"] if isinstance(image, dict)]
        for number, image in enumerate(document["images"]):
            if not isinstance(image, dict):
                rejects.add(f"images[{number}]", "BAD_IMAGE", "it is no object")
        self._labels = {
            category.get("id"): category["name"]
            for category in document.get("categories") or ()
            if isinstance(category, dict) and isinstance(category.get("name"), str) and _is_id(category.get("id"))
        }
        self._boxes: dict[Any, list[Edges]] = {
            image["id"]: [] for image in self._images if _is_id(image.get("id")) and _is_name(image)
        }
        for annotation in document.get("annotations") or ():
            self._add(annotation)

    def images(self) -> Iterator[BoxedImage]:
        """The images in their order; those without boxes, too."""
        seen = set[Any]()
        for number, image in enumerate(self._images):
            place, image_id = f"image {image.get('id', f'[{number}]')}", image.get("id")
            if not _is_id(image_id) or not _is_name(image):
                self._rejects.add(place, "BAD_IMAGE", "it has no id or no file_name")
            elif image_id in seen:
                self._rejects.add(place, "BAD_IMAGE", "its id occurs twice")
            else:
                seen.add(image_id)
                yield BoxedImage(place, image["file_name"], _size(image), self._boxes[image_id])

    def _add(self, annotation: object) -> None:
        place = f"annotation {annotation.get('id')}" if isinstance(annotation, dict) else "an annotation"
        if not isinstance(annotation, dict):
            self._rejects.add(place, "BAD_BOX", "it is no object")
        elif annotation.get("iscrowd"):
            self._skipped[CROWD] += 1
        elif not _is_id(annotation.get("image_id")) or annotation["image_id"] not in self._boxes:
            self._rejects.add(place, "NO_IMAGE", f"there is no image {annotation.get('image_id')!r}")
        elif not _is_id(annotation.get("category_id")) or annotation["category_id"] not in self._labels:
            self._rejects.add(place, "NO_LABEL", f"there is no category {annotation.get('category_id')!r}")
        elif (found := self._edges(annotation)) is None:
            self._rejects.add(place, "BAD_BOX", "bbox is not left, top, width and height")
        else:
            self._boxes[annotation["image_id"]].append(found)

    def _edges(self, annotation: dict[str, Any]) -> Edges | None:
        sides, score = annotation.get("bbox"), annotation.get("score")
        if not isinstance(sides, list) or len(sides) != 4 or not all(is_number(side) for side in sides):
            return None
        if sides[2] < 0 or sides[3] < 0:
            return None
        library = globox()
        box = library.BoundingBox.create(
            label=self._labels[annotation["category_id"]],
            coords=tuple(sides),
            confidence=score if is_number(score) and 0 <= score <= 1 else None,
            box_format=library.BoxFormat.LTWH,
        )
        return edges_of(box)


def _document(stream: BinaryIO, file: str) -> dict[str, Any]:
    try:
        document = json.loads(stream.read().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file}: not JSON: {error}", hint="Name a COCO file.") from error
    is_coco = isinstance(document, dict) and isinstance(document.get("images"), list)
    if not is_coco or any(
        not isinstance(document.get(name, []), list | None) for name in ("annotations", "categories")
    ):
        raise UsageError(f"{file}: no COCO file: it has no list of images", hint="Name a COCO file.")
    found: dict[str, Any] = document
    return found


def _is_id(value: object) -> bool:
    return type(value) in {int, str}


def _is_name(image: dict[str, Any]) -> bool:
    return isinstance(image.get("file_name"), str) and bool(image["file_name"])


def _size(image: dict[str, Any]) -> ImageSize | None:
    width, height = image.get("width"), image.get("height")
    if not is_number(width) or not is_number(height) or width < 1 or height < 1:
        return None
    return ImageSize(int(width), int(height)) if width == int(width) and height == int(height) else None


# -- Writing -----------------------------------------------------------------------------------------------------------


class CocoWriter:
    """Writes a COCO document; annotations wait in a temporary file for the end of the images.

    Args:
        out: Where it goes.
        classes: Gives the numbers of labels; category ids begin at 1.
    """

    def __init__(self, out: BinaryIO, classes: Classes) -> None:
        self._out, self._classes = out, classes
        self._images = self._annotations = 0
        self._held = tempfile.TemporaryFile()  # noqa: SIM115  closed by finish
        globox()
        out.write(b'{"images":[')

    def add(self, name: str, size: ImageSize, boxes: Sequence[PixelBox]) -> None:
        """Write one image."""
        self._images += 1
        ids = {box.label: self._classes.add(box.label) + 1 for box in boxes}
        annotation = annotation_of(name, size, boxes, with_confidence=True)
        found = globox().AnnotationSet([annotation]).to_coco(label_to_id=ids, imageid_to_id={name: self._images})
        self._out.write(b",\n" if self._images > 1 else b"\n")
        self._out.write(encode_json(found["images"][0]))
        for box in found["annotations"]:
            self._annotations += 1
            self._held.write(b",\n" if self._annotations > 1 else b"\n")
            self._held.write(encode_json({**box, "id": self._annotations}))

    def finish(self) -> None:
        """Write what follows the images."""
        self._out.write(b'\n],"annotations":[')
        self._held.seek(0)
        while piece := self._held.read(_PIECE_BYTES):
            self._out.write(piece)
        self._held.close()
        categories = [
            {"id": number + 1, "name": label, "supercategory": "none"}
            for label, number in sorted(self._classes.numbers.items(), key=lambda item: item[1])
        ]
        self._out.write(b'\n],"categories":' + encode_json(categories) + b"}\n")
