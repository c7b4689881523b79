"""``--check-images`` and ``--images``: look at the images of a manifest, and show how far that is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from asyncfilter.cli import deferred
from asyncfilter.cli.manifest_input import OpenManifest
from asyncfilter.cli.signals import PROCESS, show_cursor
from asyncfilter.cli.terminal import is_live, stderr_console
from asyncfilter.datasets.manifests.image_facts import KnownImage
from asyncfilter.datasets.manifests.line_checks import LineState, read_manifest
from asyncfilter.job.spec import Aws
from asyncfilter.model import S3
from asyncfilter.report.formatting import count


@contextmanager
def checked_images(manifest: OpenManifest, *, aws: Aws) -> Iterator[KnownImage]:
    """Look at all images of a manifest, and give the facts about each.

    Raises:
        UsageError: The journal cannot be used.
        AccessError: No image can be read.
    """
    from asyncfilter.datasets.manifests.image_journal import ImageJournal  # noqa: PLC0415  only for this option

    with ImageJournal(journal_path(manifest.name)) as journal:
        manifest.stream.seek(0)
        refs = (checked.source_ref for checked in read_manifest(manifest.stream) if checked.state is LineState.VALID)
        console = stderr_console()
        if is_live(console):
            with PROCESS.at_end(show_cursor), console.status("looking at images") as status:

                def on_looked(looked: int) -> None:
                    status.update(f"looking at images: {count(looked)}")

                deferred.run_async(partial(deferred.look_at_images, refs, journal, aws=aws, on_looked=on_looked))
        else:
            deferred.run_async(partial(deferred.look_at_images, refs, journal, aws=aws))
        manifest.stream.seek(0)
        yield journal.facts


def journal_path(name: str) -> Path:
    """``<FILE>.checked``: beside the manifest, for one in S3 in the working folder."""
    return Path(f"{PurePosixPath(name).name if name.startswith(S3) else name}.checked")
