"""The engine with a source, a detector and a sink of your own: keep the bright pictures of a local folder.

The guarantees of a run apply: it is resumed after any interruption, no picture is examined twice, stop rules hold in
order, effects are conditional. Nothing here needs AWS.

    python docs/examples/own_ports.py FOLDER TARGET
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from PIL import Image, ImageStat

import asyncfilter
from asyncfilter.errors import ImageError
from asyncfilter.model import Detection, Effect, Label, ListedObject, ObjectRef
from asyncfilter.ports import Page


class Folder:
    """A source: the files of one folder, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def page(self, after: str | None) -> Page:
        """Up to 1,000 files that follow the name ``after``."""
        names = sorted(path.name for path in self._folder.iterdir() if path.is_file())
        following = [name for name in names if after is None or name > after]
        return Page([self.head(name) for name in following[:1000]], is_last=len(following) <= 1000)

    def head(self, name: str) -> ListedObject:
        """The file as it is now; its time of change serves as the ETag."""
        stat = (self._folder / name).stat()
        return ListedObject(name, stat.st_size, str(stat.st_mtime_ns))


class Brightness:
    """A detector: one label, ``Bright``, whose confidence is the mean brightness."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def detect(self, image: ObjectRef) -> Detection:
        """Measure the pixels, in a thread."""
        brightness_pct = await anyio.to_thread.run_sync(self._measure, self._folder / image.key)
        return Detection((Label("Bright", brightness_pct),), model_version="mean grey")

    def _measure(self, path: Path) -> float:
        try:
            with Image.open(path) as picture:
                return float(ImageStat.Stat(picture.convert("L")).mean[0]) / 2.55
        except OSError as error:
            raise ImageError(f"{path.name} is not a picture", code="invalid_image_format") from error


class CopyTo:
    """A sink: copies a file, if it is still the one that was examined."""

    def __init__(self, source: Folder, folder: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        self._source = source
        self._folder = folder
        self._target = target

    async def perform(self, effect: Effect) -> None:
        """Copy one file."""
        name = effect.source.key
        if self._source.head(name).etag != effect.source.etag:
            raise ImageError(f"{name} changed since it was examined", code="changed")
        await anyio.to_thread.run_sync(shutil.copy2, self._folder / name, self._target / name)


async def keep_bright(folder: Path, target: Path) -> asyncfilter.Summary:
    """Copy the bright pictures of ``folder`` to ``target``; run it again after any interruption."""
    job = asyncfilter.parse_job(
        {
            "version": 1,
            "name": "bright",
            "source": "own:photos",
            "rules": [{"keep": {"any": "Bright", "confidence": 50}}],
            "actions": {"keep": {"copy": "own:bright/{key}"}},
            "limits": {"tps": 500, "concurrency": 4},
            "checkpoint": str(target / ".bright.db"),
        },
        base_dir=folder,
    )
    source = Folder(folder)
    overrides = asyncfilter.Overrides(source=source, detector=Brightness(folder), sink=CopyTo(source, folder, target))
    return await asyncfilter.run(
        job, overrides=overrides, on_event=lambda event: print(event) if "-v" in sys.argv else None
    )


if __name__ == "__main__":
    summary = anyio.run(keep_bright, Path(sys.argv[1]), Path(sys.argv[2]))
    counts = summary.counts
    print(f"{summary.stop_reason}: {counts.copied} of {counts.examined} pictures are bright, {counts.failed} failed")
