"""What is wrong with a manifest as a whole.

Rules: Custom Labels guide, *Validation rules for manifest files*, *Terminal manifest file errors*, *Terminal manifest
content errors*.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from asyncfilter.datasets.limits import (
    FEW_IMAGES,
    MAX_LABELS,
    MAX_MANIFEST_BYTES,
    MIN_BOX_LABELS,
    MIN_IMAGE_LABELS,
    MIN_OVERLAP,
    most_images,
)
from asyncfilter.datasets.manifests.codes import Consequence, Finding, Scope, Severity, finding
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.tally import ManifestTally, UseCase

MOST_BAD_SHARE = 0.2
"""Largest share of lines that may be invalid, or dropped."""

_SHOWN = 5
_INVISIBLE = "Cf"
"""Unicode category of characters without a width, such as the zero-width space."""


class Role(StrEnum):
    """What a manifest is used for."""

    TRAIN = "train"
    TEST = "test"
    SINGLE = "single"
    """To train and, after the service has split it, to test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What the check of a test manifest needs of the training manifest.

    Attributes:
        file: Its name, for messages.
        tally: Of its lines.
        refs: Its images, with the numbers of their lines.
    """

    file: str
    tally: ManifestTally
    refs: RefIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """How a manifest is checked.

    Attributes:
        role: What it is used for.
        region: Where; None for a region without a limit of its own.
        most_findings: How many findings are kept.
        is_strict: Whether warnings count as errors.
        training: The training manifest, for a test manifest.
    """

    role: Role = Role.TRAIN
    region: str | None = None
    most_findings: int = 1000
    is_strict: bool = False
    training: TrainingFacts | None = None


def file_findings(
    file: str, size_bytes: int, tally: ManifestTally, options: CheckOptions, refs: RefIndex
) -> Iterator[Finding]:
    """Everything that is wrong with a file, whose lines were read and counted.

    Args:
        file: Its name.
        size_bytes: Of the file; of one that is too large, no line was read.
        tally: Of its lines.
        options: How it is checked.
        refs: Its images.
    """
    yield from _about_lines(tally)
    yield from _about_size(size_bytes, tally, options)
    if size_bytes <= MAX_MANIFEST_BYTES:
        yield from _about_labels(tally, options)
        if options.training is not None:
            yield from _against(options.training, tally, refs)
    if not PurePosixPath(file).suffix and not file.startswith(("/dev/", "/proc/")):
        yield _of_file(
            "ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT",
            "the name has no extension, which AWS allows on one page and refuses on another",
            severity=Severity.WARNING,
            effect=Consequence.NONE,
            hint="End the name in .manifest.",
        )


def _of_file(
    code: str,
    message: str,
    *,
    severity: Severity | None = None,
    effect: Consequence | None = None,
    hint: str | None = None,
) -> Finding:
    return finding(code, message, scope=Scope.FILE, severity=severity, effect=effect, hint=hint)


def _about_lines(tally: ManifestTally) -> Iterator[Finding]:
    """Warnings about what valid lines hold."""
    if tally.image_lines and tally.box_lines:
        yield _of_file(
            "MIXED_USE_CASES",
            f"{tally.image_lines:,} lines with image-level labels and {tally.box_lines:,} with boxes; training uses "
            f"{tally.use_case.value}",
        )
    for names in _similar(tally.labels):
        yield _of_file("SIMILAR_LABELS", f"different labels: {_listed(names)}")
    for name, counts in tally.labels.items():
        if counts.images < FEW_IMAGES:
            yield _of_file("FEW_IMAGES", f"label {name!r} has {_images(counts.images)}")


def _about_size(size_bytes: int, tally: ManifestTally, options: CheckOptions) -> Iterator[Finding]:
    if size_bytes > MAX_MANIFEST_BYTES:
        yield _of_file(
            "ERROR_MANIFEST_SIZE_TOO_LARGE", f"{size_bytes:,} bytes, {MAX_MANIFEST_BYTES:,} are taken; it was not read"
        )
        return
    if tally.lines == tally.blank:
        yield _of_file("ERROR_EMPTY_MANIFEST", "no line but blank ones" if tally.lines else "no line")
    most = most_images(options.region, is_test=options.role is Role.TEST)
    if tally.lines > most:
        where = f" in {options.region}" if options.region else ""
        yield _of_file("ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM", f"{tally.lines:,} lines, {most:,} are taken{where}")
    if tally.invalid > MOST_BAD_SHARE * tally.lines:
        yield _of_file("ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST", _share("invalid", tally.invalid, tally.lines))
    if tally.dropped > MOST_BAD_SHARE * tally.lines:
        yield _of_file("ERROR_TOO_MANY_RECORDS_IN_ERROR", _share("dropped", tally.dropped, tally.lines))
    if len(tally.buckets) > 1:
        places = [f"{bucket} (line {line:,})" for bucket, line in tally.buckets.items()]
        yield _of_file(
            "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS", f"{len(places):,} buckets: {_listed(places, quoted=False)}"
        )


def _about_labels(tally: ManifestTally, options: CheckOptions) -> Iterator[Finding]:
    labels, use_case = len(tally.labels), tally.use_case
    if labels > MAX_LABELS:
        yield _of_file("ERROR_MANIFEST_TOO_MANY_LABELS", f"{labels:,} labels, {MAX_LABELS} are taken")
    least = MIN_IMAGE_LABELS if use_case is UseCase.IMAGE else MIN_BOX_LABELS
    usable = len(tally.usable_labels(use_case))
    if labels < least and tally.lines > tally.blank:
        yield _of_file("ERROR_MANIFEST_TOO_FEW_LABELS", f"{_labels(labels)} in valid lines, {least} needed")
    elif usable < least and tally.valid:
        yield _of_file(
            "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS",
            f"{_labels(usable)} in lines for {use_case.value}, {least} needed; {labels} in all valid lines",
        )
    if options.role is Role.SINGLE:
        for name, counts in tally.labels.items():
            if counts.images == 1:
                yield _of_file("ERROR_INSUFFICIENT_IMAGES_PER_LABEL_FOR_AUTOSPLIT", f"label {name!r} has one image")


def _against(training: TrainingFacts, tally: ManifestTally, refs: RefIndex) -> Iterator[Finding]:
    """What is wrong with a test manifest beside its training manifest."""
    trained, tested = set(training.tally.labels), set(tally.labels)
    use_case = training.tally.use_case
    usable, usable_tested = set(training.tally.usable_labels(use_case)), set(tally.usable_labels(use_case))
    if _overlap(trained, tested) < MIN_OVERLAP:
        yield _of_file(
            "ERROR_INSUFFICIENT_LABEL_OVERLAP",
            f"{len(trained & tested)} of {len(trained)} labels of {training.file} occur in the test",
        )
    elif _overlap(usable, usable_tested) < MIN_OVERLAP:
        yield _of_file(
            "ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP",
            f"{len(usable & usable_tested)} of {len(usable)} labels for {use_case.value} of {training.file} occur in "
            "the test",
        )
    shared, line, other = refs.shared_with(training.refs)
    if shared:
        yield _of_file(
            "SHARED_IMAGES",
            f"{_images(shared)} in {training.file}, too; the first is in line {line:,} (there: line {other:,})",
        )


def _overlap(trained: set[str], tested: set[str]) -> float:
    return len(trained & tested) / len(trained) if trained else 1.0


def _similar(labels: Iterable[str]) -> list[list[str]]:
    """Labels that differ in case, blanks, invisible characters or Unicode form only, in groups of two and more."""
    groups: dict[str, list[str]] = {}
    for name in labels:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
        visible = "".join(char for char in folded if not char.isspace() and unicodedata.category(char) != _INVISIBLE)
        groups.setdefault(visible, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _listed(names: list[str], *, quoted: bool = True) -> str:
    shown = ", ".join(repr(name) if quoted else name for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"


def _images(number: int) -> str:
    return f"{number:,} {'image' if number == 1 else 'images'}"


def _labels(number: int) -> str:
    return f"{number:,} {'label' if number == 1 else 'labels'}"


def _share(what: str, part: int, whole: int) -> str:
    return (
        f"{part:,} of {whole:,} lines are {what} ({100 * part / whole:.1f} %); {100 * MOST_BAD_SHARE:.0f} % are allowed"
    )
