"""The files of an evaluation that a version of a project has, fetched into temporary files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, NamedTuple

from asyncfilter.cli import deferred
from asyncfilter.job.spec import Aws


class Fetched(NamedTuple):
    """The files of a version, the addresses that they came from, and its names."""

    project: str
    version: str
    summary: BinaryIO
    summary_uri: str
    snapshot: BinaryIO
    snapshot_uri: str


@contextmanager
def fetched_evaluation(project: str, version: str, *, aws: Aws) -> Iterator[Fetched]:
    """Fetch the files of a version.

    Raises:
        UsageError: There is no such version.
        DataError: It has no evaluation.
        AccessError: The service or S3 cannot be reached, or denies access.
    """
    with tempfile.TemporaryFile() as summary, tempfile.TemporaryFile() as snapshot:
        found = deferred.run_async(
            partial(deferred.fetch_evaluation, project, version, summary=summary, snapshot=snapshot, aws=aws)
        )
        yield Fetched(
            found.project, found.version, summary, found.summary_uri, snapshot, found.snapshot_uri
        )
