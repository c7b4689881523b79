"""The two files of an evaluation: those that the user names, those of a version, and those that ``--save`` wrote."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from asyncfilter.cli.manifest_input import open_manifest
from asyncfilter.cli.model import verbs
from asyncfilter.cli.model.options import ModelOptions, WaitOptions, reap_first, run_verb
from asyncfilter.cli.result_folder import check_folder, open_folder
from asyncfilter.cli.stderr import print_err
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, bare_mapping, evaluate
from asyncfilter.custom_labels.evaluation.snapshot import read_snapshot
from asyncfilter.custom_labels.evaluation.summary import MAX_SUMMARY_BYTES, read_summary
from asyncfilter.errors import UsageError
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.mounts import is_folder

SUMMARY_FILE = "summary.json"
SNAPSHOT_FILE = "snapshot.manifest"
"""The files of ``--save``, as the service wrote them."""


class EvaluationFiles(NamedTuple):
    """The two files, open, and the names of project and version; None where only the files have them."""

    summary: BinaryIO
    summary_name: str
    snapshot: BinaryIO
    snapshot_name: str
    project: str | None = None
    version: str | None = None

    def evaluation(self) -> Evaluation:
        """What is in them.

        Raises:
            UsageError: One of them cannot be read.
        """
        self.summary.seek(0)
        self.snapshot.seek(0)
        summary = read_summary(self.summary.read(MAX_SUMMARY_BYTES + 1), file=self.summary_name)
        found = evaluate(summary, read_snapshot(self.snapshot, file=self.snapshot_name))
        if self.project is None or self.version is None:
            return found
        return found.named(project=self.project, version=self.version)

    def save(self, folder: Path) -> None:
        """Copy both into a folder, which is there whole or not at all."""
        with open_folder("--save", folder) as new:
            for stream, name in ((self.summary, SUMMARY_FILE), (self.snapshot, SNAPSHOT_FILE)):
                stream.seek(0)
                with (new / name).open("wb") as out:
                    shutil.copyfileobj(stream, out)
        print_err(f"{folder}: {SUMMARY_FILE} and {SNAPSHOT_FILE}")


def check_saved(folder: Path, *, yes: bool) -> None:
    """Ask whether a folder of ``--save`` may be replaced; raises as ``check_folder``."""
    check_folder("--save", folder, is_ours={SUMMARY_FILE, SNAPSHOT_FILE}.__contains__, yes=yes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be evaluated: a version of a project, or two files.

    Attributes:
        project: The project; None for files. ``version`` alike.
        summary: The summary; None for a version. ``snapshot`` alike.
        against: A version, or a folder with its files; None without a comparison.
        waits: How to wait for what is stopped first.

    Raises:
        UsageError: The arguments do not belong together.
    """

    project: str | None
    version: str | None
    summary: str | None
    snapshot: str | None
    against: str | None
    waits: WaitOptions

    def __post_init__(self) -> None:
        if self.project is None and self.summary is None and self.snapshot is None:
            raise UsageError("PROJECT and VERSION are missing", hint=_BOTH_WAYS)
        if self.project is not None and (self.summary is not None or self.snapshot is not None):
            raise UsageError("a project and files were given", hint=_BOTH_WAYS)
        if self.project is not None and self.version is None:
            raise UsageError("VERSION is missing", hint=_BOTH_WAYS)
        if self.project is None and (self.summary is None or self.snapshot is None):
            missing = "--snapshot" if self.snapshot is None else "--summary"
            raise UsageError(f"{missing} is missing", hint="Give both files: --summary FILE --snapshot FILE.")

    @contextmanager
    def opened(self, options: ModelOptions) -> Iterator[EvaluationFiles]:
        """The files that are evaluated."""
        if self.project is None:
            reap_first(self.waits)
            with _opened(str(self.summary), str(self.snapshot), options) as files:
                yield files
            return
        with _fetched(self.project, str(self.version), self.waits, options) as files:
            yield files

    @contextmanager
    def opened_old(self, options: ModelOptions) -> Iterator[EvaluationFiles]:
        """The files of the version to compare with.

        Raises:
            UsageError: It is no version, and no folder of one.
        """
        name = str(self.against)
        if self.project is not None and (name.startswith("arn:") or "/" not in name):
            with _fetched(self.project, name, self.waits, options) as files:
                yield files
            return
        folder = Path(name)
        if not is_folder(folder):
            raise UsageError(
                f"--compare {name}: there is no such folder",
                hint=f"Name a folder that --save wrote, with {SUMMARY_FILE} and {SNAPSHOT_FILE}.",
            )
        with _opened(str(folder / SUMMARY_FILE), str(folder / SNAPSHOT_FILE), options) as files:
            yield files


_BOTH_WAYS = "Give PROJECT VERSION, or --summary FILE --snapshot FILE."


@contextmanager
def _opened(summary: str, snapshot: str, options: ModelOptions) -> Iterator[EvaluationFiles]:
    aws = options.aws()
    with open_manifest(summary, aws=aws) as first, open_manifest(snapshot, aws=aws) as second:
        yield EvaluationFiles(first.stream, first.name, second.stream, second.name)


@contextmanager
def _fetched(project: str, version: str, waits: WaitOptions, options: ModelOptions) -> Iterator[EvaluationFiles]:
    """The files of a version.

    Raises:
        RefusedError: There is no such version, or it has no evaluation.
        AccessError: The service or S3 cannot be reached, or denies access.
    """
    named = ProjectName.parse(project)
    wanted = VersionName.parse(version, project=named)
    with tempfile.TemporaryFile() as summary, tempfile.TemporaryFile() as snapshot:
        fetch = partial(
            verbs.fetch_evaluation, named, wanted, summary=summary, snapshot=snapshot, aws=options.aws(named)
        )
        found = run_verb(fetch, bare_mapping(project=named.name, version=wanted.name), options, waits=waits)
        yield EvaluationFiles(summary, found.summary_uri, snapshot, found.snapshot_uri, found.project, found.version)
