"""The manifests of a training: their lines judged, with the images that they name.

Rules: Custom Labels guide, *Terminal manifest content errors* and *Understanding the manifest summary*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from asyncfilter.sandbox import images
from asyncfilter.sandbox.custom_labels import messages
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.judgement import Fate, JudgedLine, judge, size_fault
from asyncfilter.sandbox.custom_labels.limits import MAX_BAD_SHARE, MAX_LABELS, MIN_BOX_LABELS, MIN_IMAGE_LABELS
from asyncfilter.sandbox.custom_labels.manifests import may_read
from asyncfilter.sandbox.message import ServiceError


class UseCase(StrEnum):
    """What a model is trained for."""

    IMAGE = "IMAGE_LEVEL_LABELS"
    BOXES = "OBJECT_LOCALIZATION"
    UNKNOWN = "NOT_DETERMINED"


LEAST_LABELS: Final = {UseCase.IMAGE: MIN_IMAGE_LABELS, UseCase.BOXES: MIN_BOX_LABELS, UseCase.UNKNOWN: 0}


class Material:
    """One manifest of a training.

    Args:
        lines: Its lines.
        account: Whose images they name.

    Attributes:
        lines: Judged, also by their images.
        bodies: The bytes of the image of each valid line, by source-ref.
        codes: Errors of the contents, which end the training.
    """

    def __init__(self, lines: Sequence[bytes], account: Account) -> None:
        self.lines = [judge(line) for line in lines]
        self.bodies: dict[str, bytes] = {}
        self.codes: list[str] = []
        self._missing = self._denied = 0
        seen: set[str] = set()
        for line in self.lines:
            if line.ref in seen and line.fate is not Fate.DROPPED:
                line.fate = Fate.DROPPED
            seen.add(line.ref)
            if line.fate is Fate.VALID:
                self._read_image(line, account)
        self._judge()

    # Lines

    def with_fate(self, *fates: Fate) -> list[JudgedLine]:
        """The lines of some fates."""
        return [line for line in self.lines if line.fate in fates]

    def usable(self, use_case: UseCase) -> list[JudgedLine]:
        """The valid lines that a use case can use."""
        valid = self.with_fate(Fate.VALID)
        return [line for line in valid if (line.labels if use_case is UseCase.IMAGE else line.boxes)]

    @property
    def use_case(self) -> UseCase:
        """The kind that more lines have; boxes where they are equal (assumed)."""
        labels, boxes = (len(self.usable(use_case)) for use_case in (UseCase.IMAGE, UseCase.BOXES))
        if not labels + boxes:
            return UseCase.UNKNOWN
        return UseCase.IMAGE if labels > boxes else UseCase.BOXES

    def labels(self, *use_cases: UseCase) -> Counter[str]:
        """The labels of the valid lines for some use cases, with the number of images that have each."""
        found: Counter[str] = Counter()
        for line in self.with_fate(Fate.VALID):
            names = set(line.labels if UseCase.IMAGE in use_cases else ())
            names |= {box.label for box in line.boxes} if UseCase.BOXES in use_cases else set()
            found.update(names)
        return found

    @property
    def all_labels(self) -> Counter[str]:
        """The labels of the valid lines of both kinds."""
        return self.labels(UseCase.IMAGE, UseCase.BOXES)

    # Judgement

    def _read_image(self, line: JudgedLine, account: Account) -> None:
        bucket_name, key = line.place
        bucket = account.store.buckets.get(bucket_name)
        stored = bucket.get(key) if bucket is not None and bucket.region == account.region else None
        if stored is None:
            self._missing += 1
            line.spoil(messages.INVALID_IMAGE)
        elif not may_read(account, bucket_name, stored):
            self._denied += 1
            line.spoil(messages.INVALID_IMAGE)
        elif code := _image_fault(line, stored.body):
            line.spoil(code)
        else:
            self.bodies[line.ref] = stored.body

    def _judge(self) -> None:
        kept = self.with_fate(Fate.VALID, Fate.IGNORED, Fate.INVALID)
        invalid = len(self.with_fate(Fate.INVALID, Fate.DROPPED))
        buckets = {line.place[0] for line in kept}
        if kept and self._missing + self._denied == len(kept):
            is_denied = self._denied > 0
            self.codes.append(
                "ERROR_INVALID_PERMISSIONS_IMAGES_S3_BUCKET" if is_denied else "ERROR_FAILED_IMAGES_S3_COPY"
            )
        if len(self.with_fate(Fate.DROPPED)) > MAX_BAD_SHARE * len(self.lines):
            self.codes.append("ERROR_TOO_MANY_RECORDS_IN_ERROR")
        if invalid > MAX_BAD_SHARE * len(self.lines):
            self.codes.append("ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST")
        if len(buckets) > 1:
            self.codes.append("ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS")
        labels, use_case = len(self.all_labels), self.use_case
        if labels > MAX_LABELS:
            self.codes.append("ERROR_MANIFEST_TOO_MANY_LABELS")
        if labels < max(1, LEAST_LABELS[use_case]):
            self.codes.append("ERROR_MANIFEST_TOO_FEW_LABELS")
        elif len(self.labels(use_case)) < LEAST_LABELS[use_case]:
            self.codes.append("ERROR_MANIFEST_TOO_FEW_USABLE_LABELS")

    def statistics(self) -> dict[str, Any]:
        """What the manifest summary says of it; lines are numbered from 1."""
        bad = {number for number, line in enumerate(self.lines, 1) if line.has_errors or line.fate is Fate.DROPPED}
        return {
            "use_case": self.use_case,
            "total_json_lines": len(self.lines),
            "valid_json_lines": len(self.with_fate(Fate.VALID)),
            "invalid_json_lines": len(self.with_fate(Fate.INVALID, Fate.DROPPED)),
            "ignored_json_lines": len(self.with_fate(Fate.IGNORED)),
            "error_json_line_indices": sorted(bad),
            "errors": [content_error(code) for code in self.codes],
        }


def content_error(code: str) -> dict[str, str]:
    """An error of the contents, as the manifest summary has it."""
    return {"code": code, "message": messages.CONTENT_MESSAGES[code]}


def _image_fault(line: JudgedLine, body: bytes) -> str:
    """The code of what is wrong with an image; empty for nothing."""
    try:
        images.check_image(body, images.CUSTOM_LABELS, inline=False)
    except ServiceError:
        size = images.dimensions(body)
        fault = size_fault(size) if size is not None and line.size is not None else ""
        return fault or messages.INVALID_IMAGE
    return ""
