"""The formats of ``asyncfilter export`` that are no text: Parquet, and folders of pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import typer

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_output import data_errors_told
from asyncfilter.cli.options import STDOUT, ResultOptions
from asyncfilter.cli.questions import check_replaced
from asyncfilter.cli.result_file import open_result
from asyncfilter.cli.result_folder import check_folder, open_folder
from asyncfilter.cli.signals import PROCESS, show_cursor
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.streams import StdoutEndedError, stdout_stream
from asyncfilter.cli.terminal import is_live, stderr_console, write_json
from asyncfilter.datasets.exports.image_folder import ImageFolderWriter, is_of_image_folder
from asyncfilter.datasets.exports.label_table import TableCounts, arrow, write_parquet
from asyncfilter.datasets.exports.pictures import PictureCounts, PictureExport, PictureWriter
from asyncfilter.datasets.exports.web_dataset import WebDatasetWriter, is_of_web_dataset, webdataset
from asyncfilter.errors import DataError, ExitCode, OutputError, UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import StoreKind, Verdict
from asyncfilter.records.images import StoredImage
from asyncfilter.report.formatting import count, size

IMAGE_FOLDER, WEB_DATASET = "imagefolder", "webdataset"
PARQUET = "parquet"
MEGABYTE = 1_000_000
SHARD_MB = 1_000
"""Most megabytes of pictures in one tar; a gigabyte is what WebDataset's documentation advises."""


# -- Parquet -----------------------------------------------------------------------------------------------------------


def export_parquet(images: Iterable[StoredImage], job: Job, output: str, options: ResultOptions) -> None:
    """Write labels as rows of a Parquet file.

    Raises:
        UsageError: pyarrow is missing, or the file cannot be created, or stdout is a terminal.
        OutputError: It cannot be written.
        AbortedError: It exists, and there is no terminal to ask on.
        typer.Exit: The user does not want it replaced.
    """
    arrow()
    write = partial(write_parquet, images, bucket=job.source.bucket, skips_duplicates=job.source.skip_duplicates)
    if output == STDOUT:
        if sys.stdout.isatty():
            raise UsageError("Parquet is no text, and stdout is a terminal", hint="Name a file: --output FILE.")
        with suppress(StdoutEndedError), stdout_stream() as out:
            write(out)
        return
    path = Path(output)
    check_replaced([path], yes=options.yes)
    with open_result("--output", path) as out:
        written: TableCounts = write(out)
    if options.as_json:
        write_json({"images": written.images, "rows": written.rows, "output": output, "format": PARQUET})
    else:
        print_err(f"{count(written.images)} images, {count(written.rows)} rows in {output}")


# -- Pictures ----------------------------------------------------------------------------------------------------------


def export_image_folder(
    job: Job, output: str, verdicts: Collection[Verdict], options: ResultOptions, *, reviewed: bool = False
) -> None:
    """Write pictures and their metadata into a folder. Raises as ``export_web_dataset``."""
    path = _checked(job, IMAGE_FOLDER, output, is_of_image_folder, options)
    bare = {"images": 0, "output": None, "format": IMAGE_FOLDER}
    with (
        data_errors_told(bare, as_json=options.as_json),
        open_folder("--output", path) as folder,
        ImageFolderWriter(folder) as writer,
    ):
        counts = _write(job, writer, verdicts, path, reviewed=reviewed)
    _report(counts, {}, IMAGE_FOLDER, output, options)


def export_web_dataset(
    job: Job,
    output: str,
    verdicts: Collection[Verdict],
    options: ResultOptions,
    *,
    shard_bytes: int,
    reviewed: bool = False,
) -> None:
    """Write pictures into tar files.

    Raises:
        UsageError: webdataset is missing, the folder cannot be created, or has other files.
        AbortedError: The user does not want it replaced.
        OutputError: It cannot be written.
        DataError: There is no image to write.
        AccessError: No image can be read.
        typer.Exit: Some images could not be read.
    """
    webdataset()
    path = _checked(job, WEB_DATASET, output, is_of_web_dataset, options)
    bare = {"images": 0, "output": None, "format": WEB_DATASET}
    with data_errors_told(bare, as_json=options.as_json), open_folder("--output", path) as folder:
        with WebDatasetWriter(folder, shard_bytes=shard_bytes) as writer:
            counts = _write(job, writer, verdicts, path, reviewed=reviewed)
        shards = writer.shards
    _report(counts, {"shards": shards}, WEB_DATASET, output, options)


def _checked(job: Job, format_: str, output: str, is_ours: Callable[[str], bool], options: ResultOptions) -> Path:
    """The folder to write; everything that can be told beforehand is, and the question is asked."""
    if output == STDOUT:
        raise UsageError(f"--format {format_} writes a folder, not stdout", hint="Name the folder: --output FOLDER.")
    if job.source.store is StoreKind.OWN:
        raise UsageError(
            f"{job.source.bucket} is a store of your own, whose pictures the program cannot read",
            hint="Use --format parquet, and your own pictures.",
        )
    next(deferred.read_images(job.checkpoint), None)  # an error before anything else
    path = Path(output)
    check_folder("--output", path, is_ours=is_ours, yes=options.yes)
    return path


def stored_images(checkpoint: Path, *, reviewed: bool) -> Iterator[StoredImage]:
    """The images of a checkpoint; with ``reviewed`` only those that people said something about."""
    return (image for image in deferred.read_images(checkpoint) if image.answer is not None or not reviewed)


def _write(
    job: Job, writer: PictureWriter, verdicts: Collection[Verdict], path: Path, *, reviewed: bool
) -> PictureCounts:
    """Write all pictures.

    Raises:
        OutputError: One cannot be written.
        DataError: There was none.
        AccessError: None can be read.
    """
    pictures = PictureExport(
        writer,
        bucket=job.source.bucket,
        verdicts=verdicts or (Verdict.KEEP,),
        skips_duplicates=job.source.skip_duplicates,
    )
    with _progress() as on_read:
        images = pictures.chosen(stored_images(job.checkpoint, reviewed=reviewed))
        receiver = _Receiver(pictures, path)
        deferred.run_async(partial(deferred.read_contents, images, receiver, job, on_read=on_read))
    if not pictures.counts.images:
        _tell_failures(pictures.counts)
        raise DataError(
            f"no image of the job counts under {' or '.join(verdicts or (Verdict.KEEP,))}, and can be read; nothing "
            "was written",
            code="NO_IMAGES",
            hint="Look at what the checkpoint has: asyncfilter status JOB.",
        )
    return pictures.counts


class _Receiver:
    """Gives images to ``PictureExport``; an error of writing leaves the reading tasks as one of the output."""

    def __init__(self, pictures: PictureExport, path: Path) -> None:
        self.fail, self._add, self._path = pictures.fail, pictures.add, path

    def add(self, image: StoredImage, content: bytes) -> None:
        """Write one picture."""
        try:
            self._add(image, content)
        except OSError as error:
            message = f"--output {self._path}: {error.strerror or error}; it was left as it was"
            raise OutputError(message) from error


@contextmanager
def _progress() -> Iterator[Callable[[int], object] | None]:
    """What shows the number of images that were read; None without a terminal."""
    console = stderr_console()
    if not is_live(console):
        yield None
        return
    with PROCESS.at_end(show_cursor), console.status("reading images") as status:

        def on_read(number: int) -> None:
            status.update(f"reading images: {count(number)}")

        yield on_read


def _report(counts: PictureCounts, more: Mapping[str, int], format_: str, output: str, options: ResultOptions) -> None:
    """Tell what was written; some images that could not be read are exit code 1."""
    if options.as_json:
        sums = {"images": counts.images, "bytes": counts.bytes, **more}
        left_out = {"skipped": dict(sorted(counts.skipped.items())), "failed": dict(sorted(counts.failed.items()))}
        write_json({**sums, **left_out, "output": output, "format": format_})
    else:
        files = "".join(
            f", {count(number)} {what if number > 1 else what.rstrip('s')}" for what, number in more.items()
        )
        print_err(f"{count(counts.images)} images in {output}: {size(counts.bytes)}{files}")
        for reason, number in sorted(counts.skipped.items()):
            print_err(f"  skipped {reason}: {count(number)}")
    _tell_failures(counts)
    if counts.failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _tell_failures(counts: PictureCounts) -> None:
    for message in counts.first:
        print_err(f"failed: {message}")
    rest = sum(counts.failed.values()) - len(counts.first)
    if rest:
        print_err(f"failed: {count(rest)} more")
