"""Corrections of a training dataset: which lines of a manifest count, and which of them must stay out of it.

Of several lines for an image the last one holds. An image of the test dataset never enters training: a model that has
seen it would be tested with what it knows by heart.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from asyncfilter.custom_labels.manifest_lines import LineFates, digest_of, source_ref_of
from asyncfilter.datasets.manifests.codes import Finding, Severity
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.tally import ManifestTally, UseCase
from asyncfilter.datasets.manifests.validation import validate
from asyncfilter.errors import RefusedError

IN_TEST_SET = "in_test_set"
REPEATED = "repeated"
"""The reasons for which a line is skipped."""

OTHER_USE_CASE = "OTHER_USE_CASE"

_NO_ERRORS = frozenset(
    {
        "REPEATED_SOURCE_REF",  # the last word holds
        # These are about whole datasets, and corrections are a part of one.
        "ERROR_MANIFEST_TOO_FEW_LABELS",
        "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS",
        # These follow from other errors, or from repeated images alone.
        "ERROR_TOO_MANY_RECORDS_IN_ERROR",
        "ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST",
    }
)
_EXAMPLES = 5
_MOST_ERRORS = 1000
_WHITE = b" \t\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """A manifest of corrections that was checked.

    Attributes:
        name: As the user named it.
        stream: Its bytes, which can be read again and again.
        digest: SHA-256 of it, as hexadecimal digits.
        refs: Its images, with the numbers of their first lines.
        tally: Of its lines.
        errors: What is wrong with it, at most the first thousand; nothing may be imported unless there are none.
    """

    name: str
    stream: BinaryIO
    digest: str
    refs: RefIndex
    tally: ManifestTally
    errors: tuple[Finding, ...]


def check_corrections(stream: BinaryIO, *, name: str, size_bytes: int) -> Corrections:
    """Check a manifest by the rules of the service for lines; those for whole datasets do not hold."""
    errors: list[Finding] = []

    def note(found: Finding) -> None:
        is_error = found.severity is Severity.ERROR and found.code not in _NO_ERRORS
        if is_error and len(errors) < _MOST_ERRORS:
            errors.append(found)

    stream.seek(0)
    checked = validate(stream, file=name, size_bytes=size_bytes, on_finding=note)
    return Corrections(
        name=name,
        stream=stream,
        digest=digest_of(stream),
        refs=checked.refs,
        tally=checked.tally,
        errors=tuple(errors),
    )


def check_fit(corrections: Corrections, entries: Sequence[str]) -> None:
    """Check that corrections are of the kind of a training dataset, by some of its entries.

    Raises:
        RefusedError: Their images are in another bucket, or they have labels where it has boxes.
    """
    found = validate(BytesIO("\n".join(entries).encode()), file="the training dataset").tally
    here, there = corrections.tally, found
    if others := [bucket for bucket in here.buckets if there.buckets and bucket not in there.buckets]:
        raise RefusedError(
            f"{corrections.name} has images in {others[0]}, and the training dataset in {next(iter(there.buckets))}",
            code="ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS",
            hint="Copy the images to the bucket of the dataset: a training takes images of one bucket.",
        )
    if UseCase.UNKNOWN not in {here.use_case, there.use_case} and here.use_case is not there.use_case:
        raise RefusedError(
            f"{corrections.name} is for {here.use_case.value}, and the training dataset for {there.use_case.value}",
            code=OTHER_USE_CASE,
            hint="Give lines of the same kind: the training would not use the corrected images.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The lines that are to be imported.

    Attributes:
        stream: These lines, whole.
        size_bytes: Of them.
        digest: SHA-256 of them.
        fates: What the service will do with them.
        refs: Their images.
        skipped: How many lines are left out, by reason; ``in_test_set`` is always there.
        examples: The first images that are in the test dataset.
    """

    stream: BinaryIO
    size_bytes: int
    digest: str
    fates: LineFates
    refs: RefIndex
    skipped: dict[str, int]
    examples: tuple[str, ...]


def select(corrections: Corrections, test_refs: RefIndex, out: BinaryIO) -> Selected:
    """Write the last line for each image that is not in the test dataset.

    The same corrections and the same test dataset give the same bytes, so that an import that was cut goes on.

    Args:
        corrections: They have no error.
        test_refs: The images of the test dataset.
        out: Where the lines go; whatever is in it is replaced.
    """
    out.seek(0)
    out.truncate()
    last = _last_lines(corrections)
    skipped: dict[str, int] = {IN_TEST_SET: 0}
    examples: list[str] = []
    for number, source_ref, content in _lines(corrections.stream):
        if last[corrections.refs.find(source_ref)] != number:
            skipped[REPEATED] = skipped.get(REPEATED, 0) + 1
        elif test_refs.find(source_ref):
            skipped[IN_TEST_SET] += 1
            examples += [source_ref] if len(examples) < _EXAMPLES else []
        else:
            out.write(content + b"\n")
    size_bytes, fates = out.tell(), LineFates()
    out.seek(0)
    checked = validate(out, file=corrections.name, size_bytes=size_bytes, on_line=fates.add)
    return Selected(
        stream=out,
        size_bytes=size_bytes,
        digest=digest_of(out),
        fates=fates,
        refs=checked.refs,
        skipped=skipped,
        examples=tuple(examples),
    )


def _last_lines(corrections: Corrections) -> array[int]:
    """For the number of an image's first line, that of its last one."""
    last = array("I", bytes(4 * (corrections.tally.lines + 1)))
    for number, source_ref, _content in _lines(corrections.stream):
        last[corrections.refs.find(source_ref)] = number
    return last


def _lines(stream: BinaryIO) -> Iterator[tuple[int, str, bytes]]:
    """Number, image and content of each line that has one."""
    stream.seek(0)
    for line in read_lines(stream):
        content = line.content.strip(_WHITE)
        if (source_ref := source_ref_of(content)) is not None:
            yield line.number, source_ref, content
