"""One conversion: what is read, what is written, and what is left out on the way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from asyncfilter.datasets.exchange.box_files import BoxFiles, BoxWriter
from asyncfilter.datasets.exchange.box_lines import BoxLines
from asyncfilter.datasets.exchange.boxed_image import BoxedImage
from asyncfilter.datasets.exchange.coco import CocoReader
from asyncfilter.datasets.exchange.file_sizes import ImageFolder, image_size
from asyncfilter.datasets.exchange.formats import Format
from asyncfilter.datasets.exchange.manifest_lines import ManifestLines
from asyncfilter.datasets.exchange.multi_label_lines import multi_label_line
from asyncfilter.datasets.exchange.names import FileNames
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.exchange.voc import voc_images
from asyncfilter.datasets.exchange.yolo import yolo_images
from asyncfilter.datasets.manifests.equal_files import local_file
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.datasets.manifests.physical_lines import ByteSink, line_bytes
from asyncfilter.datasets.manifests.source_ref import join_path
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter, WriteCounts, empty_manifest
from asyncfilter.errors import UsageError
from asyncfilter.model import S3


class Conversion:
    """Converts labels; each of its methods writes one output.

    Args:
        classes: The labels that may occur, and their numbers.
        names: How images are called in other formats.
        s3_path: Under which images are in S3; None when their names are whole addresses.
        images: A folder with the images; None without one.

    Attributes:
        classes: As given; new labels are added.
        counts: What was written and left out; replaced by the next output.
        rejects: What could not be used.
    """

    def __init__(self, *, classes: Classes, names: FileNames, s3_path: str | None, images: Path | None) -> None:
        self.classes = classes
        self._names, self._s3_path, self._images = names, s3_path, images
        self.counts = WriteCounts()
        self.rejects = Rejects()

    def images_of(self, source: str, kind: Format, stream: BinaryIO) -> Iterable[BoxedImage]:
        """The images of COCO, VOC or YOLO.

        Args:
            source: The file or folder.
            kind: Its format.
            stream: The content of a file.

        Raises:
            UsageError: It cannot be read, or the folder with the images is missing.
        """
        if kind is Format.COCO:
            reader = CocoReader(stream, file=source, skipped=self.counts.skipped, rejects=self.rejects)
            return reader.images()
        if kind is Format.VOC:
            return voc_images(Path(source), self.rejects)
        if self._images is None:
            raise UsageError("YOLO has no sizes of images", hint="Name the folder with the images: --images FOLDER.")
        return yolo_images(Path(source), ImageFolder(self._images), self.rejects)

    def write_boxes(self, images: Iterable[BoxedImage], writer: ManifestWriter) -> None:
        """Write images as lines with boxes.

        Raises:
            DataError: There is no line, or images are in several buckets.
            UsageError: ``--s3-path`` is missing.
        """
        writer.counts.skipped, self.counts = self.counts.skipped, writer.counts
        lines = BoxLines(
            writer,
            classes=self.classes,
            s3_path=self._s3_path,
            rejects=self.rejects,
            size_of=lambda name: self._size(name if name.startswith(S3) else join_path("s3://any", name)),
        )
        for image in images:
            lines.add(image)
        self._finish()

    def write_lines(self, stream: BinaryIO, out: ByteSink) -> None:
        """Write lines of a manifest, SageMaker's multi-label attributes turned.

        Raises:
            DataError: There is no line.
        """
        for checked in self._lines(stream).turned():
            out.write(line_bytes(checked.line))
            self._count(checked.label_names(), sum(len(attribute.boxes) for attribute in checked.boxes))
        self._finish()

    def write_multi_label(self, stream: BinaryIO, out: ByteSink, *, attribute: str | None) -> None:
        """Write lines of a manifest with all image-level labels in one attribute.

        Raises:
            DataError: There is no line.
        """
        for checked in self._lines(stream).usable():
            problems = {self.classes.problem(label.name): label.name for label in checked.labels}
            problems.pop(None, None)
            for problem, label in problems.items():
                self.rejects.add(f"line {checked.line.number}", str(problem), f"the label {label!r}")
            if not problems:
                out.write(multi_label_line(checked, self.classes, attribute))
                self._count(checked.label_names(), sum(len(found.boxes) for found in checked.boxes))
        self._finish()

    def write_files(self, stream: BinaryIO, out: BoxWriter, *, has_files: bool) -> None:
        """Write the boxes of a manifest in another format.

        Args:
            stream: The manifest.
            out: Writes images.
            has_files: Whether each image has a file of its own.

        Raises:
            DataError: There is no image.
        """
        files = BoxFiles(
            out,
            counts=self.counts,
            rejects=self.rejects,
            classes=self.classes,
            names=self._names,
            has_files=has_files,
            size_of=self._size,
        )
        files.add_all(self._lines(stream))
        self._finish()

    def begin_again(self) -> None:
        """Count a second output on its own; what is left out stays counted."""
        self.counts = WriteCounts(skipped=self.counts.skipped, notes=self.counts.notes)

    def _lines(self, stream: BinaryIO) -> ManifestLines:
        return ManifestLines(stream, skipped=self.counts.skipped, rejects=self.rejects)

    def _size(self, source_ref: str) -> ImageSize | None:
        """The size of an image in the folder with the images; None when it is not there."""
        path = None if self._images is None else local_file(source_ref, self._images)
        try:
            return None if path is None else image_size(path)
        except OSError:
            return None

    def _count(self, names: Iterable[str], boxes: int) -> None:
        counts = self.counts
        counts.lines += 1
        counts.boxes += boxes
        for name in names:
            counts.labels[name] = counts.labels.get(name, 0) + 1

    def _finish(self) -> None:
        self.counts.skipped = +self.counts.skipped
        self.counts.rejected = self.rejects.total
        if not self.counts.lines:
            raise empty_manifest(self.counts)
