"""A whole manifest, checked line by line in flat memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from asyncfilter.datasets.limits import MAX_MANIFEST_BYTES
from asyncfilter.datasets.manifests.codes import CODES, Finding, Scope, Severity, finding
from asyncfilter.datasets.manifests.file_checks import CheckOptions, file_findings
from asyncfilter.datasets.manifests.finding_log import FindingLog
from asyncfilter.datasets.manifests.line_checks import CheckedLine, ImageCheck, LineChecker
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.tally import ManifestTally

_STOPS_IMPORT = frozenset(
    {
        "ERROR_EMPTY_MANIFEST",
        "ERROR_MANIFEST_SIZE_TOO_LARGE",
        "ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM",
        "ERROR_TOO_MANY_RECORDS_IN_ERROR",
        "ERROR_MANIFEST_TOO_MANY_LABELS",
        "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT",
        "ERROR_INVALID_PERMISSIONS_MANIFEST_S3_BUCKET",
    }
)
"""Errors of the file that stop a dataset; all others stop a training."""


@dataclass(slots=True, kw_only=True)
class Validation:
    """The result of the check of one manifest.

    Attributes:
        file: As the user named it.
        size_bytes: Of the file.
        tally: Of its lines.
        log: All findings.
        refs: The images of the lines that are not dropped, with the numbers of their lines.
        is_strict: Whether warnings count as errors.
        notes: Further fields for ``--json``, such as the counts of a repair.
    """

    file: str
    size_bytes: int
    tally: ManifestTally
    log: FindingLog
    refs: RefIndex
    is_strict: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        found = self.log.severities
        return not found[Severity.ERROR] and not (self.is_strict and found[Severity.WARNING])

    @property
    def would_import(self) -> bool:
        """Whether the service would make a dataset of it."""
        return not self.log.fatal & _STOPS_IMPORT

    @property
    def would_train(self) -> bool:
        """Whether the service would train with it."""
        return not self.log.fatal

    def as_mapping(self) -> dict[str, Any]:
        """The result under its public names."""
        tally, log = self.tally, self.log
        kept = log.kept
        return {
            "file": self.file,
            "bytes": self.size_bytes,
            "lines": tally.lines,
            "valid_lines": tally.valid,
            "invalid_lines": tally.invalid,
            "ignored_lines": tally.ignored,
            "dropped_lines": tally.dropped,
            "blank_lines": tally.blank,
            "invalid_share": round(tally.invalid / tally.lines, 6) if tally.lines else 0,
            "use_case": tally.use_case.value,
            "images": tally.valid,
            "labels": {name: {"images": counts.images, "boxes": counts.boxes} for name, counts in tally.labels.items()},
            "boxes": tally.boxes,
            "buckets": list(tally.buckets),
            "counts": {code: log.counts[code] for code in CODES if code in log.counts},
            "findings": kept,
            "findings_total": log.total,
            "truncated": len(kept) < log.total,
            "would_import": self.would_import,
            "would_train": self.would_train,
            "ok": self.ok,
            **self.notes,
        }


def validate(
    stream: BinaryIO,
    *,
    file: str,
    size_bytes: int | None = None,
    options: CheckOptions = CheckOptions(),  # noqa: B008  immutable
    images: ImageCheck | None = None,
    on_line: Callable[[CheckedLine], object] | None = None,
    on_finding: Callable[[Finding], object] | None = None,
) -> Validation:
    """Check a manifest, line by line in flat memory.

    Args:
        stream: The manifest, at its beginning.
        file: Its name, for messages.
        size_bytes: Of the file where it is known before it is read; one that is too large is not read.
        options: How it is checked.
        images: Checks the image of each line, where images are looked at.
        on_line: Called with every line, checked.
        on_finding: Called with every finding.
    """
    log = FindingLog(most=options.most_findings, on_finding=on_finding)
    checker, tally = LineChecker(images=images), ManifestTally()
    read_bytes = 0
    for line in () if (size_bytes or 0) > MAX_MANIFEST_BYTES else read_lines(stream):
        read_bytes += line.size_bytes
        if read_bytes > MAX_MANIFEST_BYTES:
            break
        checked = checker.check(line)
        tally.add(checked)
        if on_line is not None:
            on_line(checked)
        for found in checked.findings:
            log.add(found)
    total_bytes = read_bytes if size_bytes is None else size_bytes
    for found in file_findings(file, total_bytes, tally, options, checker.refs):
        log.add(found)
    return Validation(
        file=file, size_bytes=total_bytes, tally=tally, log=log, refs=checker.refs, is_strict=options.is_strict
    )


def unreadable(file: str, code: str, message: str, *, hint: str | None) -> Validation:
    """The result for a file of which nothing can be read.

    Args:
        file: Its name.
        code: Of the only finding.
        message: What is the trouble.
        hint: The remedy; None for that of the code.
    """
    log = FindingLog(most=1)
    log.add(finding(code, message, scope=Scope.FILE, hint=hint))
    return Validation(file=file, size_bytes=0, tally=ManifestTally(), log=log, refs=RefIndex())
