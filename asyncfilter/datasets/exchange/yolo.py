"""YOLO: a folder with a text file an image below ``labels``, and the names of the classes beside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from asyncfilter.datasets.exchange.boxed_image import BoxedImage, Edges
from asyncfilter.datasets.exchange.file_sizes import ImageFolder
from asyncfilter.datasets.exchange.globox_objects import annotation_of, edges_of, globox
from asyncfilter.datasets.exchange.label_files import read_text
from asyncfilter.datasets.exchange.names import stem_of
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.exchange.voc import files_below
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.model import ImageSize, PixelBox
from asyncfilter.datasets.manifests.writing import Classes
from asyncfilter.errors import UsageError

LABELS = "labels"
CLASSES = "classes.txt"
DATA = "data.yaml"
_YAMLS = (DATA, "data.yml")
_BRACKETS = re.compile(r"[\[\]{}]")
_MAX_DEPTH = 50
_NUMBER = re.compile("[0-9]{1,9}")


def yolo_images(folder: Path, images: ImageFolder, rejects: Rejects) -> Iterator[BoxedImage]:
    """The images of all text files, in the order of their paths.

    Args:
        folder: With ``labels``, and ``classes.txt`` or ``data.yaml``.
        images: Where the images are: their paths but for the extension are those of the text files.
        rejects: Takes files and boxes that cannot be used.

    Raises:
        UsageError: The classes cannot be read.
    """
    globox()
    labels = read_labels(folder)
    root = folder / LABELS if (folder / LABELS).is_dir() else folder
    for path in files_below(root, ".txt"):
        if path.parent == folder and path.name == CLASSES:
            continue
        place = path.relative_to(folder).as_posix()
        name = images.find(stem_of(path.relative_to(root).as_posix()))
        size = None if name is None else images.size(name)
        if name is None or size is None:
            rejects.add(place, "NO_IMAGE" if name is None else "BAD_IMAGE", "the image, and so its size, is not there")
            continue
        try:
            lines = read_text(path).split("\n")
        except (OSError, ValueError) as error:
            rejects.add(place, "BAD_FILE", str(error))
            continue
        yield BoxedImage(place, name, size, list(_boxes(lines, place, labels, size, rejects)))


def read_labels(folder: Path) -> dict[int, str]:
    """The names of the classes by their numbers.

    Raises:
        UsageError: There is no such file, or it has no names.
    """
    try:
        for name in _YAMLS:
            if (folder / name).is_file():
                return _yaml_labels(folder / name)
        text = read_text(folder / CLASSES)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder}: the classes cannot be read: {error}", hint=f"Add {CLASSES} or {DATA} with the names."
        ) from error
    lines = text.removesuffix("\n").split("\n")
    return {number: label for number, line in enumerate(lines) if (label := line.rstrip("\r"))}


def _yaml_labels(path: Path) -> dict[int, str]:
    text = read_text(path)
    try:
        document = None if _is_deep(text) else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not YAML: {error}", hint="Mend the file.") from error
    names: Any = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(type(number) is int for number in names):
        raise UsageError(f"{path}: it has no names", hint="Add names: a list, or names by number.")
    if any(isinstance(label, Collection) and not isinstance(label, str) for label in names.values()):
        # Aliases of aliases: a few lines whose text would be gigabytes.
        raise UsageError(f"{path}: a name is a list or a mapping", hint="Write each name as one word or text.")
    return {number: str(label) for number, label in names.items()}


def _is_deep(text: str) -> bool:
    """Whether there are more brackets in brackets than names need; PyYAML takes seconds until it gives up."""
    depth = 0
    for bracket in _BRACKETS.findall(text):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            return True
    return False


def _boxes(
    lines: Sequence[str], place: str, labels: dict[int, str], size: ImageSize, rejects: Rejects
) -> Iterator[Edges]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{place}:{number}"
        try:
            box: Any = globox().BoundingBox.from_yolo_v5(line, image_size=(size.width, size.height))
        except Exception as error:  # noqa: BLE001  globox raises assertions and errors of its own for bad boxes
            rejects.add(where, "BAD_BOX", f"not class, centre, width and height: {error}")
            continue
        label = labels.get(int(box.label)) if _NUMBER.fullmatch(box.label) else None
        found = edges_of(box, label or "")
        if label is None:
            rejects.add(where, "NO_LABEL", f"there is no class {box.label}")
        elif all(is_number(side) for side in found[1:5]):
            yield found
        else:
            rejects.add(where, "BAD_BOX", "its sides are no numbers")


class YoloWriter:
    """Writes a folder of text files, and at the end the names of the classes.

    Args:
        folder: The folder, which is empty.
        classes: Gives the numbers of labels.
    """

    def __init__(self, folder: Path, classes: Classes) -> None:
        self._folder, self._classes = folder, classes
        globox()
        (folder / LABELS).mkdir()

    def add(self, name: str, size: ImageSize, boxes: Sequence[PixelBox]) -> None:
        """Write one image, in a file of its name; one without boxes has an empty file."""
        numbers = {box.label: self._classes.add(box.label) for box in boxes}
        text = annotation_of(name, size, boxes, with_confidence=False).to_yolo_darknet(label_to_id=numbers)
        path = self._folder / LABELS / f"{stem_of(name)}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n" if text else "", encoding="utf-8")

    def finish(self) -> None:
        """Write the names."""
        labels = sorted(self._classes.numbers, key=self._classes.numbers.__getitem__)
        (self._folder / CLASSES).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        names = yaml.safe_dump({"names": dict(enumerate(labels))}, allow_unicode=True, sort_keys=False)
        (self._folder / DATA).write_text(f"path: .\ntrain: images\nval: images\n{names}", encoding="utf-8")
