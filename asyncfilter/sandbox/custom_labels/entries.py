"""The entries of a dataset, read from lines of a manifest.

A line with a terminal content error is dropped and told nowhere; a line with any other error becomes an entry that has
errors (Custom Labels guide, *Debugging datasets*).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from asyncfilter.sandbox.custom_labels.judgement import Fate, JudgedLine, judge
from asyncfilter.sandbox.custom_labels.limits import MAX_BAD_SHARE, MAX_LABELS, MAX_MANIFEST_BYTES
from asyncfilter.sandbox.custom_labels.messages import (
    EMPTY,
    TOO_LARGE,
    TOO_MANY_ERRORS,
    TOO_MANY_LABELS,
    TOO_MANY_ROWS,
)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One image of a dataset.

    Attributes:
        ref: Its source-ref.
        line: As it was sent.
        labels: Those of the image as a whole.
        boxes: The number of boxes of each label that has any.
        is_labeled: Whether somebody has labelled it, soundly or not.
        has_errors: The line has errors that are not terminal.
    """

    ref: str
    line: bytes
    labels: tuple[str, ...]
    boxes: tuple[tuple[str, int], ...]
    is_labeled: bool
    has_errors: bool

    @property
    def names(self) -> set[str]:
        """The labels of both kinds."""
        return {*self.labels, *(label for label, _ in self.boxes)}


class DatasetError(Exception):
    """A terminal error: the dataset is not made or not changed; the text is the service's message."""


def read_entries(manifest: bytes, *, most_rows: int, already: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries of a manifest by source-ref; runs in a thread.

    Args:
        manifest: JSON Lines.
        most_rows: How many a dataset may have.
        already: The entries of the dataset; labels and rows are counted together with them.

    Raises:
        DatasetError: If the manifest has a terminal file error.
    """
    if len(manifest) > MAX_MANIFEST_BYTES:
        raise DatasetError(TOO_LARGE)
    lines = split_lines(manifest)
    if not any(line.strip() for line in lines):
        raise DatasetError(EMPTY)
    if len(lines) > most_rows:
        raise DatasetError(TOO_MANY_ROWS)
    entries: dict[str, Entry] = {}
    dropped = 0
    for line in lines:
        judged = judge(line)
        if judged.fate is Fate.DROPPED or judged.ref in entries:
            dropped += 1
        else:
            entries[judged.ref] = entry_of(judged)
    if dropped > MAX_BAD_SHARE * len(lines):
        raise DatasetError(TOO_MANY_ERRORS)
    check_size(entries, already, most_rows)
    return entries


def split_lines(manifest: bytes) -> list[bytes]:
    r"""The physical lines: ``\n`` alone ends one, a ``\r`` before it belongs to the end."""
    lines = manifest.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def entry_of(judged: JudgedLine) -> Entry:
    """The entry of a line that is not dropped."""
    return Entry(
        ref=judged.ref,
        line=judged.line,
        labels=tuple(dict.fromkeys(judged.labels)),
        boxes=tuple(judged.box_counts().items()),
        is_labeled=judged.is_labeled,
        has_errors=judged.has_errors,
    )


def check_size(entries: Mapping[str, Entry], already: Mapping[str, Entry], most_rows: int) -> None:
    """Return if a dataset may have these entries beside those that it has; an entry replaces one of its source-ref.

    Raises:
        DatasetError: If there would be too many rows or labels.
    """
    kept = already.keys() - entries.keys() if already else ()
    if len(entries) + len(kept) > most_rows:
        raise DatasetError(TOO_MANY_ROWS)
    if len(labels_of([*entries.values(), *(already[ref] for ref in kept)])) > MAX_LABELS:
        raise DatasetError(TOO_MANY_LABELS)


def labels_of(entries: Iterable[Entry]) -> Collection[str]:
    """All labels."""
    found: set[str] = set()
    for entry in entries:
        found.update(entry.labels)
        found.update(label for label, _ in entry.boxes)
    return found
