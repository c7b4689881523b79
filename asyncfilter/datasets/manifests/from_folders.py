"""Lines from a listing: the first folder below the source is the label, as the console of Custom Labels has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from asyncfilter.datasets.manifests.row_rules import RowCode, RowSink, Unlabelled, labels_problem
from asyncfilter.datasets.manifests.source_ref import parse_source_ref
from asyncfilter.datasets.manifests.writing import Classes, ManifestWriter
from asyncfilter.model import Skip
from asyncfilter.policy.globs import KeyFilter

IMAGE_GLOBS = ("*.jpg", "*.jpeg", "*.png")
"""The files that are images, in any case of letters."""

LINK = "link"
"""Why a symbolic link is skipped."""
UNLABELLED = "unlabelled"
"""Why an image without a label is skipped."""


class FolderEntry(NamedTuple):
    """One entry of a listing.

    Attributes:
        path: Below the source, with slashes; that of a folder ends in one.
        size_bytes: Of the file.
        is_link: Whether it is a symbolic link.
        problem: Why it cannot be used, whatever its name is; None when it can.
    """

    path: str
    size_bytes: int
    is_link: bool = False
    problem: RowCode | None = None


class FolderLines:
    """Writes a line for each image of a listing.

    Args:
        writer: Of the manifest.
        classes: The labels that may occur.
        address: Gives the ``source-ref`` of a path.
        include: Globs on paths; one of them must match.
        unlabelled: What happens to files right at the source.
        rejected: Takes what cannot be used, as address and code.
    """

    def __init__(
        self,
        writer: ManifestWriter,
        *,
        classes: Classes,
        address: Callable[[str], str],
        include: tuple[str, ...] = IMAGE_GLOBS,
        unlabelled: Unlabelled = Unlabelled.SKIP,
        rejected: RowSink,
    ) -> None:
        self._writer = writer
        self._classes = classes
        self._address = address
        self._keys = KeyFilter(include)
        self._unlabelled = unlabelled
        self._rejected = rejected

    def add(self, entry: FolderEntry) -> None:
        """Write the line of one entry, or count why it has none."""
        if (skip := self._skip(entry)) is not None:
            self._writer.counts.skipped[skip] += 1
            return
        label, slash, _ = entry.path.partition("/")
        labels = [label] if slash and label else []
        address = self._address(entry.path)
        problem = entry.problem or self._problem(address, labels)
        if problem is not None:
            self._writer.counts.rejected += 1
            self._rejected.write((address, problem.value))
        else:
            self._writer.write(address, [(name, 1) for name in labels])

    def _skip(self, entry: FolderEntry) -> str | None:
        if entry.is_link:
            return LINK
        if entry.problem is not None and entry.path.endswith("/"):
            return None  # a folder that cannot be listed may hold any image
        if entry.path.endswith("/") or not entry.path:
            return Skip.FOLDER.value
        if self._keys.skip(entry.path) is not None:
            return Skip.NOT_INCLUDED.value
        if entry.problem is not None:
            return None
        if entry.size_bytes == 0:
            return Skip.EMPTY.value
        is_labelled = not entry.path.startswith("/") and "/" in entry.path
        return UNLABELLED if not is_labelled and self._unlabelled is Unlabelled.SKIP else None

    def _problem(self, address: str, labels: list[str]) -> RowCode | None:
        if parse_source_ref(address) is None:
            return RowCode.NOT_S3_URI
        if not labels and self._unlabelled is Unlabelled.ERROR:
            return RowCode.NO_LABEL
        return labels_problem(labels, self._classes)
