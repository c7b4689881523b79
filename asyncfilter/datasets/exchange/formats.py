"""The formats between which a manifest is converted, and which one a file or a folder has."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from asyncfilter.datasets.exchange.voc import files_below
from asyncfilter.datasets.exchange.yolo import CLASSES, DATA, LABELS
from asyncfilter.datasets.manifests.line_checks import LineChecker
from asyncfilter.datasets.manifests.model import SOURCE_REF
from asyncfilter.datasets.manifests.multi_label import is_multi_label
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.errors import UsageError

_MOST_LINES = 1_000
_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')


class Format(StrEnum):
    """A format of labels."""

    CUSTOM_LABELS = "custom-labels"
    MULTI_LABEL = "sagemaker-multilabel"
    COCO = "coco"
    VOC = "voc"
    YOLO = "yolo"

    @property
    def is_manifest(self) -> bool:
        """Whether it has one line an image."""
        return self in {Format.CUSTOM_LABELS, Format.MULTI_LABEL}

    @property
    def is_folder(self) -> bool:
        """Whether it has one file an image."""
        return self in {Format.VOC, Format.YOLO}


def format_of_file(stream: BinaryIO) -> Format:
    """The format of a file, which is at its beginning and stays there: by its first thousand lines."""
    checker, has_key = LineChecker(finds_repeated=False), False
    found = Format.CUSTOM_LABELS
    for line in islice(read_lines(stream), _MOST_LINES):
        checked = checker.check(line)
        if SOURCE_REF in checked.document:
            found = Format.CUSTOM_LABELS
            if any(is_multi_label(pair.metadata) for pair in checked.pairs):
                found = Format.MULTI_LABEL
                break
            has_key = True
        elif not has_key and any(key in line.content for key in _COCO_KEYS):
            found = Format.COCO
            break
    stream.seek(0)
    return found


def format_of_folder(folder: Path) -> Format:
    """The format of a folder.

    Raises:
        UsageError: It has none.
    """
    if (folder / LABELS).is_dir() or (folder / CLASSES).is_file() or (folder / DATA).is_file():
        return Format.YOLO
    if next(files_below(folder, ".xml"), None) is not None:
        return Format.VOC
    raise UsageError(f"{folder}: neither VOC nor YOLO: no .xml, no {LABELS}", hint="Name another folder, or --from.")
