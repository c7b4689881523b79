"""People's answers about the images of a job or of a folder: where they are, and which images these are.

Nothing here takes the lock of a run, calls a service or writes to a checkpoint. ``find_answers`` is the beginning of
every command about answers; ``AnswersPlace`` opens the file with ``asyncfilter.answers``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asyncfilter.answers import AnswersFile, AnswersReader, open_answers, open_reader
from asyncfilter.checkpoint import checkpoint_exists, read_images_named, read_status
from asyncfilter.datasets.answers.known import KnownImages
from asyncfilter.errors import NothingToWorkOnError
from asyncfilter.folders import check_folder
from asyncfilter.folders.files import etag_of, real_path
from asyncfilter.job.load import load_job
from asyncfilter.job.spec import Job
from asyncfilter.model import FOLDER, uri_of
from asyncfilter.mounts import is_folder
from asyncfilter.policy.extensions import CONVERTED, READ_AS_THEY_ARE, extension_of
from asyncfilter.policy.targets import is_plain
from asyncfilter.records.answers import Subject, TakenOver
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring.located import with_known_bucket

FOLDER_ANSWERS = Path(".asyncfilter") / "review.answers.db"
"""The answers file of a folder, in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersPlace:
    """The answers about the images of a job or of a folder.

    Attributes:
        path: The answers file, which need not exist.
        images: The images.
        job: The job, with its bucket; None for a folder.
    """

    path: Path
    images: KnownImages
    job: Job | None = None

    def open(self) -> AnswersFile:
        """The file, open for writing; it is created where it is missing. Raises as ``open_answers``."""
        return open_answers(self.path)

    def open_reader(self) -> AnswersReader | None:
        """The file, open for reading; None where it is missing. Raises as ``answers.open_reader``."""
        return open_reader(self.path)

    @property
    def is_known(self) -> bool:
        """Whether there are images: a folder, or a job with a checkpoint."""
        return self.job is None or checkpoint_exists(self.job.checkpoint)

    def check_known(self) -> None:
        """Return if there are images.

        Raises:
            NothingToWorkOnError: The job has no checkpoint yet.
        """
        if self.job is not None and not checkpoint_exists(self.job.checkpoint):
            raise NothingToWorkOnError(
                f"{self.job.checkpoint}: there is no checkpoint yet, so nothing was examined",
                hint=f"Run the job first: asyncfilter run {self.job.path or 'JOB'}",
            )

    def find(self, named: str) -> Subject | None:
        """The present version of one image.

        Args:
            named: Its key, verbatim, or its address; the key comes first where it is both.

        Raises:
            CheckpointError: The checkpoint cannot be read.
        """
        address = self.key_of(named)
        found = self.images.find([named] if address is None else [named, address])
        return found.get(named) or found.get(address or named)

    def key_of(self, address: str) -> str | None:
        """The key in an address ``s3://bucket/key`` (or ``file:///folder/key``) of an image here; None for others."""
        start = uri_of(self.images.bucket, "")
        return address[len(start) :] if address.startswith(start) and address != start else None

    def taken_over(self) -> TakenOver | None:
        """How far the checkpoint follows an answers file; None where it does not, or there is none.

        Raises:
            CheckpointError: The checkpoint cannot be read.
        """
        return read_status(self.job.checkpoint).taken_over if self.job is not None and self.is_known else None

    def caution(self) -> str | None:
        """What is to be known before the file is made anew: runs follow another one, and will refuse this one.

        Raises:
            CheckpointError: The checkpoint cannot be read.
        """
        if os.path.exists(self.path):  # noqa: PTH110  Path.exists raises where a name is too long
            return None
        followed = self.taken_over()
        if followed is None:
            return None
        return (
            f"{self.path} was made anew: the job follows answers file {followed.id}, which is not there, and refuses "
            "another one until that is merged into it (asyncfilter answers merge)"
        )


def _load(path: Path, settings: Sequence[str]) -> Job:
    return load_job(path, overrides=settings)


def find_answers(
    target: Path,
    *,
    answers: Path | None = None,
    settings: Sequence[str] = (),
    load: Callable[[Path, Sequence[str]], Job] = _load,
) -> AnswersPlace:
    """The answers about the images of ``target``.

    Args:
        target: A job file, or a folder of pictures.
        answers: Another answers file than the usual one.
        settings: Keys of the job file that are set, ``KEY=VALUE``.
        load: Loads the job, with a checkpoint that can be read.

    Raises:
        JobError: The job is wrong.
        UsageError: The bucket of its list is not known yet.
        AccessError: The folder cannot be listed.
    """
    if is_folder(target):
        folder = real_path(target)
        check_folder(folder)
        return AnswersPlace(path=answers or folder / FOLDER_ANSWERS, images=FolderImages(folder))
    return job_place(with_known_bucket(load(target, settings)), answers=answers)


def job_place(job: Job, *, answers: Path | None = None) -> AnswersPlace:
    """The answers about the images of a job, whose bucket is known."""
    images = CheckpointImages(job.checkpoint, job.source.bucket)
    return AnswersPlace(path=answers or job.answers_path, images=images, job=job)


class CheckpointImages:
    """The images that a checkpoint has.

    Args:
        checkpoint: The file; without it no image is known.
        bucket: Of the source.
    """

    def __init__(self, checkpoint: Path, bucket: str) -> None:
        self._checkpoint = checkpoint
        self.bucket = bucket

    def find(self, keys: Sequence[str]) -> Mapping[str, Subject]:
        """See ``KnownImages``.

        Raises:
            CheckpointError: The checkpoint cannot be read.
        """
        if not keys or not checkpoint_exists(self._checkpoint):
            return {}
        present: dict[str, StoredImage] = {}
        for image in read_images_named(self._checkpoint, keys):
            former = present.get(image.key)
            # A row with a position is the object as it was examined last; of the others, the newest.
            if former is None or former.seq is None or image.seq is not None:
                present[image.key] = image
        return {key: self._subject(image) for key, image in present.items()}

    def _subject(self, image: StoredImage) -> Subject:
        return Subject(bucket=self.bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes)


class FolderImages:
    """The pictures below a folder; folders whose names begin with a dot are not looked into.

    Args:
        folder: Without links.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bucket = f"{FOLDER}{folder}".rstrip("/")

    def find(self, keys: Sequence[str]) -> Mapping[str, Subject]:
        """See ``KnownImages``."""
        found = ((key, self._subject(key)) for key in keys)
        return {key: subject for key, subject in found if subject is not None}

    def _subject(self, key: str) -> Subject | None:
        if not is_picture_here(key):
            return None
        path = self._folder / key
        try:
            status = path.stat()
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(status.st_mode) or not _is_below(path, self._folder):
            return None
        return Subject(bucket=self.bucket, key=key, etag=etag_of(status), size_bytes=status.st_size)


def is_picture_here(key: str) -> bool:
    """Whether a key may be that of a picture below a folder, by its name."""
    if not is_plain(key) or any(part.startswith(".") for part in key.split("/")[:-1]):
        return False
    return extension_of(key) in READ_AS_THEY_ARE | CONVERTED


def _is_below(path: Path, folder: Path) -> bool:
    """Whether a file is in the folder, links followed as the source of a job follows them."""
    link = path if path.is_symlink() else path.parent
    return Path(os.path.realpath(link)).is_relative_to(folder)
