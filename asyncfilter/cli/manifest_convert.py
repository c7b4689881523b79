"""``asyncfilter manifest convert``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from asyncfilter.cli.manifest_input import open_manifest
from asyncfilter.cli.manifest_output import ManifestOptions, data_errors_told, open_output
from asyncfilter.cli.options import STDOUT, Profile, command_group, help_text, takes_options
from asyncfilter.cli.result_folder import check_folder, open_folder
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.terminal import write_json
from asyncfilter.datasets.exchange.boxed_image import BoxedImage
from asyncfilter.datasets.exchange.coco import CocoWriter
from asyncfilter.datasets.exchange.conversion import Conversion
from asyncfilter.datasets.exchange.formats import Format, format_of_file, format_of_folder
from asyncfilter.datasets.exchange.globox_objects import globox
from asyncfilter.datasets.exchange.names import FileNames
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.exchange.voc import VocWriter
from asyncfilter.datasets.exchange.yolo import CLASSES, DATA, LABELS, YoloWriter
from asyncfilter.datasets.manifests.line_form import attribute_problem
from asyncfilter.datasets.manifests.writing import ManifestWriter, WriteCounts
from asyncfilter.errors import ExitCode, UsageError
from asyncfilter.job.addresses import parse_s3_uri
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3
from asyncfilter.mounts import is_folder
from asyncfilter.report.formatting import count

app = command_group()


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatOptions:
    """The options of the two formats, and of what neither of them has."""

    to: Annotated[
        Format,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help="custom-labels, sagemaker-multilabel, coco, voc or yolo; the last two write a folder.",
            show_default=False,
        ),
    ]
    from_: Annotated[
        Format | None,
        typer.Option("--from", metavar="FORMAT", help="The format of IN. Default: by its content.", show_default=False),
    ] = None
    s3_path: Annotated[
        str | None,
        typer.Option(
            "--s3-path",
            metavar="PREFIX",
            help="s3://BUCKET/PREFIX under which the images of COCO, VOC or YOLO are in S3.",
            show_default=False,
        ),
    ] = None
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="The images, for sizes that IN does not say; YOLO never does.",
            show_default=False,
        ),
    ] = None
    file_names: Annotated[
        FileNames,
        typer.Option(
            "--file-names", metavar="WHAT", help="What images are called in COCO, VOC and YOLO: key or basename."
        ),
    ] = FileNames.KEY


@app.command(
    "convert",
    help=help_text(
        "Convert labels: manifests of Custom Labels, SageMaker's multi-label manifests, COCO, Pascal VOC and YOLO. "
        "The last three have boxes alone, and need the extra: pip install 'asyncfilter[datasets]'.",
        "asyncfilter manifest convert sagemaker.manifest --to custom-labels -o train.manifest",
        "asyncfilter manifest convert train.manifest --to coco -o train.json",
        "asyncfilter manifest convert yolo/ --to custom-labels --images yolo/images "
        "--s3-path s3://my-bucket/birds -o train.manifest",
    ),
)
@takes_options
def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="IN", help="A file or s3://BUCKET/KEY; for VOC and YOLO a folder.", show_default=False),
    ],
    *,
    formats: FormatOptions,
    profile: Profile = None,
    options: ManifestOptions,
) -> None:
    """Convert labels."""
    to = formats.to
    _check(to, formats.s3_path, formats.images, options)
    place = formats.s3_path if formats.s3_path is not None or to.is_manifest else _NOWHERE
    conversion = Conversion(classes=options.labels(), names=formats.file_names, s3_path=place, images=formats.images)

    def left_out() -> dict[str, object]:
        skipped = +conversion.counts.skipped  # without zeros
        return WriteCounts(skipped=skipped, rejected=conversion.rejects.total).as_mapping(output=None)

    with data_errors_told(left_out, as_json=options.as_json), ExitStack() as stack:
        found, stream = _opened(source, formats.from_, Aws(profile=profile), stack)
        _check_pair(found, to)
        try:
            _convert(conversion, source, found, stream, to=to, options=options)
        finally:
            _tell_rejects(source, conversion.rejects)
    _report(conversion.counts, found, to, options)


_NOWHERE = "s3://nowhere"
"""Where images are between two formats that name no place in S3; what is written has their keys alone."""


def _check(to: Format, s3_path: str | None, images: Path | None, options: ManifestOptions) -> None:
    """Check options before anything is read.

    Raises:
        UsageError: One cannot be meant.
    """
    if to.is_folder and options.output == STDOUT:
        raise UsageError(f"--to {to} writes a folder, not stdout", hint="Name the folder: -o FOLDER.")
    if images is not None and not is_folder(images):
        raise UsageError(f"--images {images}: there is no such folder", hint="Name the folder with the images.")
    if options.attribute is not None and (problem := attribute_problem(options.attribute)) is not None:
        raise UsageError(f"--attribute {options.attribute!r}: {problem}", hint="Choose another name.")
    if s3_path is not None:
        try:
            parse_s3_uri(s3_path)
        except ValueError as error:
            raise UsageError(f"--s3-path: {error}", hint="Write it like s3://my-bucket/images.") from error


def _opened(source: str, given: Format | None, aws: Aws, stack: ExitStack) -> tuple[Format, BinaryIO]:
    """The format of the input, and its stream; that of a folder is empty."""
    folder = None if source.startswith(S3) or not is_folder(source) else Path(source)
    if folder is None and given is not None and given.is_folder:
        raise UsageError(f"{source}: no folder, which {given} is", hint="Name a folder, or another --from.")
    if folder is not None:
        found = given or format_of_folder(folder)
        if not found.is_folder:
            raise UsageError(f"{source}: a folder, which {found} is not", hint="Name a file, or another --from.")
        return found, stack.enter_context(tempfile.TemporaryFile())
    manifest = stack.enter_context(open_manifest(source, aws=aws))
    return given or format_of_file(manifest.stream), manifest.stream


def _check_pair(found: Format, to: Format) -> None:
    """Check what is converted to what.

    Raises:
        UsageError: Nothing can be carried over, or globox is missing.
    """
    if not found.is_manifest or not to.is_manifest:
        globox()
    if not found.is_manifest and to is Format.MULTI_LABEL:
        raise UsageError(f"{found} has boxes, and {to} image-level labels alone", hint="Use --to custom-labels.")


def _convert(
    conversion: Conversion, source: str, found: Format, stream: BinaryIO, *, to: Format, options: ManifestOptions
) -> None:
    """Write what is in the input; between two formats of boxes a manifest is held in a temporary file."""
    if found.is_manifest:
        _write(conversion, stream, to, options)
    elif to.is_manifest:
        with open_output(options.output, yes=options.yes) as out:
            _write_boxes(conversion, conversion.images_of(source, found, stream), out, options)
    else:
        with tempfile.TemporaryFile() as held:
            _write_boxes(conversion, conversion.images_of(source, found, stream), held, options)
            held.seek(0)
            conversion.begin_again()
            _write(conversion, held, to, options)


def _write(conversion: Conversion, stream: BinaryIO, to: Format, options: ManifestOptions) -> None:
    """Write what is in a manifest."""
    if to.is_folder:
        path = Path(options.output)
        check_folder("--output", path, is_ours=_IS_OURS[to], yes=options.yes)
        with open_folder("--output", path) as folder:
            writer = VocWriter(folder) if to is Format.VOC else YoloWriter(folder, conversion.classes)
            conversion.write_files(stream, writer, has_files=True)
        return
    with open_output(options.output, yes=options.yes) as out:
        if to is Format.CUSTOM_LABELS:
            conversion.write_lines(stream, out)
        elif to is Format.MULTI_LABEL:
            conversion.write_multi_label(stream, out, attribute=options.attribute)
        else:
            conversion.write_files(stream, CocoWriter(out, conversion.classes), has_files=False)


def _write_boxes(conversion: Conversion, images: Iterable[BoxedImage], out: BinaryIO, options: ManifestOptions) -> None:
    """Write a manifest of what is in COCO, VOC or YOLO."""
    image_form, box_form = options.forms(human_annotated=True)
    writer = ManifestWriter(out, image_form=image_form, box_form=box_form, classes=conversion.classes)
    conversion.write_boxes(images, writer)


def _is_voc(path: str) -> bool:
    return path.endswith(".xml")


def _is_yolo(path: str) -> bool:
    return path in {CLASSES, DATA} or (path.startswith(f"{LABELS}/") and path.endswith(".txt"))


_IS_OURS = {Format.VOC: _is_voc, Format.YOLO: _is_yolo}
"""Which files a folder of a format has; one with others is never replaced."""


def _tell_rejects(source: str, rejects: Rejects) -> None:
    for place, code, message in rejects.first:
        print_err(f"{source}: {place}: rejected: {code}: {message}")
    if rejects.total > len(rejects.first):
        print_err(f"{source}: {count(rejects.total - len(rejects.first))} more were rejected")


def _report(counts: WriteCounts, found: Format, to: Format, options: ManifestOptions) -> None:
    if options.as_json:
        write_json({**counts.as_mapping(output=options.output), "from": found, "to": to})
    else:
        where = "" if options.output == STDOUT else f" in {options.output}"
        boxes = f", {count(counts.boxes)} boxes" if counts.boxes else ""
        print_err(f"{count(counts.lines)} images{where}: {count(len(counts.labels))} labels{boxes}")
        for name, number in [*sorted(counts.skipped.items()), *sorted(counts.notes.items())]:
            if number:
                print_err(f"  {'skipped ' if name in counts.skipped else ''}{name}: {count(number)}")
        if counts.rejected:
            print_err(f"  rejected: {count(counts.rejected)}")
    if counts.rejected:
        raise typer.Exit(ExitCode.SOME_FAILED)
