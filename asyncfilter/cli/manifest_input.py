"""Manifests that a command reads: local files, and objects in S3, which are fetched first."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple

import typer

from asyncfilter.cli import deferred
from asyncfilter.datasets.limits import MAX_MANIFEST_BYTES
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3

ManifestPath = Annotated[
    str, typer.Argument(metavar="FILE", help="The manifest: a file, or s3://BUCKET/KEY.", show_default=False)
]
Region = Annotated[
    str | None,
    typer.Option("--region", metavar="REGION", help="Region of the service, whose limits hold.", show_default=False),
]


class OpenManifest(NamedTuple):
    """A manifest that is open for reading, at its beginning.

    Attributes:
        name: As the user gave it.
        stream: Its bytes; they can be read again with ``seek(0)``.
        size_bytes: Of all of it. Of one that is larger than the service takes, the stream may be incomplete.
    """

    name: str
    stream: BinaryIO
    size_bytes: int


@contextmanager
def open_manifest(name: str, *, aws: Aws | None = None) -> Iterator[OpenManifest]:
    """Open a manifest; one from S3 or a pipe is held in a temporary file without a name.

    Raises:
        UsageError: It cannot be read.
        ObjectMissingError: There is no such object.
        AccessError: S3 cannot be read.
    """
    if not name.startswith(S3):
        with _opened(Path(name)) as opened:
            yield opened
        return
    with tempfile.TemporaryFile() as held:
        size_bytes = deferred.run_async(partial(deferred.fetch_manifest, name, held, aws=aws or Aws()))
        held.seek(0)
        yield OpenManifest(name, held, size_bytes)


@contextmanager
def _opened(path: Path) -> Iterator[OpenManifest]:
    try:
        stream = path.open("rb")
        mode = os.fstat(stream.fileno()).st_mode
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", hint="Name a manifest that can be read.") from error
    with stream:
        if stat.S_ISREG(mode):
            yield OpenManifest(str(path), stream, os.fstat(stream.fileno()).st_size)
            return
        with tempfile.TemporaryFile() as held:
            _hold(path, stream, held)
            size_bytes = held.tell()
            held.seek(0)
            yield OpenManifest(str(path), held, size_bytes)


def _hold(path: Path, stream: BinaryIO, held: BinaryIO) -> None:
    """Copy what comes from a pipe, up to one byte more than the service takes."""
    left_bytes = MAX_MANIFEST_BYTES + 1
    try:
        while left_bytes and (piece := stream.read(min(left_bytes, 1024 * 1024))):
            held.write(piece)
            left_bytes -= len(piece)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", hint="Name a manifest that can be read.") from error
