"""The job of a command that only reads: where its checkpoint is kept in S3, with a copy of what is committed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asyncfilter.cli import deferred
from asyncfilter.cli.signals import PROCESS
from asyncfilter.cli.stderr import print_err
from asyncfilter.cli.until_end import until_end
from asyncfilter.report.formatting import count, duration

if TYPE_CHECKING:
    from asyncfilter.job.spec import Job
    from asyncfilter.wiring.states import ForReading


class Reading(NamedTuple):
    """A job for a command that owns no state.

    Attributes:
        job: With a copy in place of its checkpoint, where that is kept in S3.
        checkpoint: The job's own checkpoint, for messages and results.
        copy: What was fetched; None where nothing was.
    """

    job: Job
    checkpoint: Path
    copy: ForReading | None = None


def load_for_reading(
    path: Path | str, settings: Sequence[str] = (), *, may_be_missing: bool = False, may_write_answers: bool = False
) -> Job:
    """The job of ``open_for_reading``, whose arguments and errors these are."""
    opened = open_for_reading(path, settings, may_be_missing=may_be_missing, may_write_answers=may_write_answers)
    return opened.job


def load_for_answers(path: Path, settings: Sequence[str]) -> Job:
    """The job, for a command that reads people's answers; raises as ``open_for_reading``."""
    return load_for_reading(path, settings, may_be_missing=True)


def load_for_answering(path: Path, settings: Sequence[str]) -> Job:
    """The job, for a command that adds people's answers; raises as ``open_for_reading``."""
    return load_for_reading(path, settings, may_be_missing=True, may_write_answers=True)


def open_for_reading(
    path: Path | str, settings: Sequence[str] = (), *, may_be_missing: bool = False, may_write_answers: bool = False
) -> Reading:
    """The job, for a command that owns no state.

    With ``checkpoint: s3://``, or ``checkpoint_copy`` where this machine has no file, it has a checkpoint of its own,
    which is fetched and removed at the end of the command; stderr says how old it is. Any other job is the one that
    ``load_job`` returns.

    Args:
        path: The job file.
        settings: Keys of the job file that are set, ``KEY=VALUE``.
        may_be_missing: Whether the command works without a checkpoint.
        may_write_answers: Whether the command adds to the file of people's answers, which is then fetched for good.

    Raises:
        JobError: The job is wrong.
        CheckpointError: There is no state, or it cannot be restored.
        AccessError: S3 cannot be read.
    """
    job = deferred.load_job(path, overrides=settings)
    if job.state is None or (not job.state.is_authoritative and deferred.checkpoint_exists(job.checkpoint)):
        return Reading(job, job.checkpoint)
    folder = until_end(_own_folder())
    found = deferred.run_async(partial(deferred.for_reading, job, folder, keeps_answers=may_write_answers))
    if found is None:
        if not may_be_missing:
            raise deferred.no_state_of(job)
        return Reading(job, job.checkpoint)
    age = f"written {found.head.written}" if found.age_s is None else f"written {duration(max(0.0, found.age_s))} ago"
    print_err(f"{found.uri}: as of commit {count(found.head.commit)}, {age}")
    return Reading(found.job, job.checkpoint, found)


@contextmanager
def _own_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="asyncfilter-state-"))
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    with PROCESS.at_end(remove):
        try:
            yield folder
        finally:
            remove()
