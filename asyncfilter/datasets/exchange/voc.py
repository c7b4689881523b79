"""Pascal VOC: a folder with one XML file an image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from asyncfilter.datasets.exchange.boxed_image import BoxedImage, Edges
from asyncfilter.datasets.exchange.globox_objects import annotation_of, edges_of, globox
from asyncfilter.datasets.exchange.label_files import read_text
from asyncfilter.datasets.exchange.names import stem_of
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox


def voc_images(folder: Path, rejects: Rejects) -> Iterator[BoxedImage]:
    """The images of all XML files below a folder, in the order of their paths.

    Args:
        folder: The folder.
        rejects: Takes files and boxes that cannot be used.
    """
    globox()
    for path in files_below(folder, ".xml"):
        place = path.relative_to(folder).as_posix()
        try:
            root = _parsed(path)
        except (OSError, ValueError, ET.ParseError) as error:
            rejects.add(place, "BAD_FILE", str(error))
            continue
        name = root.findtext("filename")
        if not name:
            rejects.add(place, "BAD_IMAGE", "it has no filename")
            continue
        yield BoxedImage(place, name, _size(root), list(_boxes(root, place, rejects)))


def files_below(folder: Path, extension: str) -> Iterator[Path]:
    """The files below a folder with an extension in any case, in the order of their paths; links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(extension):
                yield Path(parent) / name


def _parsed(path: Path) -> ET.Element:
    """The root of an XML file in UTF-8.

    Raises:
        OSError: It cannot be read, or is no regular file.
        ValueError: It is too large, not UTF-8, or declares entities.
        ParseError: It is no XML.
    """
    text = read_text(path)
    if "<!ENTITY" in text:
        raise ValueError("it declares entities")
    return ET.fromstring(text)  # noqa: S314  without entities there is nothing to expand  # nosec B314


def _size(root: ET.Element) -> ImageSize | None:
    try:
        sides = [int(float(root.findtext(f"size/{side}") or "")) for side in ("width", "height")]
    except (ValueError, OverflowError):
        return None
    return ImageSize(*sides) if min(sides) > 0 else None


def _boxes(root: ET.Element, place: str, rejects: Rejects) -> Iterator[Edges]:
    for number, node in enumerate(root.findall("object")):
        try:
            box: Any = globox().BoundingBox.from_xml(node)
        except Exception as error:  # noqa: BLE001  globox raises assertions and errors of its own for bad boxes
            rejects.add(f"{place}: object {number}", "BAD_BOX", str(error) or "it has no box")
            continue
        found = edges_of(box)
        if not found.label:
            rejects.add(f"{place}: object {number}", "NO_LABEL", "it has no name")
        elif all(is_number(side) for side in found[1:5]):
            yield found
        else:
            rejects.add(f"{place}: object {number}", "BAD_BOX", "its sides are no numbers")


class VocWriter:
    """Writes a folder of XML files.

    Args:
        folder: The folder, which is empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        globox()

    def add(self, name: str, size: ImageSize, boxes: Sequence[PixelBox]) -> None:
        """Write one image, in a file of its name."""
        root = annotation_of(name, size, boxes, with_confidence=False).to_pascal_voc()
        ET.SubElement(root.find("size"), "depth").text = str(size.depth)
        ET.indent(root)
        path = self._folder / f"{stem_of(name)}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")

    def finish(self) -> None:
        """Nothing follows the images."""
