"""The evaluation summary: the service's own figures, in one JSON document.

Two shapes of it are published: the aggregates stand directly under ``AggregatedEvaluationResults``, or in its
``Metrics``. Both are read, and keys that are not known are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from asyncfilter.custom_labels.evaluation.model import (
    MAX_LABEL_CHARS,
    Confusion,
    LabelResult,
    PrecisionRecall,
    ServiceSummary,
)
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.json_object import BadJsonError, JsonLineReader, kind_of
from asyncfilter.errors import UsageError

MAX_SUMMARY_BYTES = 64 * 1024 * 1024
"""Largest summary that is read; one of 250 labels, the most that a model has, with all pairs of them has about 7 MB."""

_VERSION_ARN = re.compile(r"arn:[^/]*:project/([^/]{1,255})/version/([^/]{1,255})/[^/]+")
_BOM = b"\xef\xbb\xbf"
_AGGREGATES = "AggregatedEvaluationResults"
_DETAILS = "EvaluationDetails"
_LABELS = "LabelEvaluationResults"
_METRICS = "Metrics"
_MOST_CHARS = 2_048
"""Longest text; the pattern of an ARN has less."""


def read_summary(content: bytes, *, file: str) -> ServiceSummary:
    """The figures in a summary.

    Args:
        content: The file.
        file: Its name, for messages.

    Raises:
        UsageError: This is no summary, or a figure in it is none.
    """
    document = _document(content, file)
    top = _Members(file, document)
    details = top.members(_DETAILS)
    aggregates = top.members(_AGGREGATES).with_nested(_METRICS)
    results = [_label_result(found) for found in top.each(_LABELS)]
    known = {result.label for result in results}
    results += [LabelResult(label=name) for name in details.texts("Labels") if name not in known]
    arn = details.text("ProjectVersionArn")
    names = _VERSION_ARN.fullmatch(arn) if arn is not None else None
    return ServiceSummary(
        file=file,
        arn=arn,
        project=names[1] if names else None,
        version=names[2] if names else None,
        ended=details.text("EvaluationEndTimestamp"),
        figures=_figures(aggregates),
        average_precision=aggregates.share("AveragePrecision"),
        average_recall=aggregates.share("AverageRecall"),
        training_images=details.count("NumberOfTrainingImages"),
        testing_images=details.count("NumberOfTestingImages"),
        labels=tuple({result.label: result for result in results}.values()),
        confusion=tuple([_confusion(found) for found in aggregates.each("ConfusionMatrix")]),
    )


def _document(content: bytes, file: str) -> dict[str, Any]:
    if len(content) > MAX_SUMMARY_BYTES:
        raise _no_summary(file, f"{len(content):,} bytes, {MAX_SUMMARY_BYTES:,} are read")
    try:
        document = JsonLineReader().read(content.removeprefix(_BOM))
    except BadJsonError as error:
        cause = error.__cause__
        place = f"{file}:{cause.lineno}:{cause.colno}" if isinstance(cause, json.JSONDecodeError) else file
        raise _no_summary(place, f"the file {error}") from error
    if _AGGREGATES not in document and _LABELS not in document:
        raise _no_summary(file, f"it has neither {_AGGREGATES} nor {_LABELS}")
    return document


def _no_summary(place: str, why: str) -> UsageError:
    return UsageError(
        f"{place}: no evaluation summary: {why}",
        hint="Name the file to which EvaluationResult.Summary of DescribeProjectVersions points.",
    )


def _label_result(found: _Members) -> LabelResult:
    metrics = found.with_nested(_METRICS)
    return LabelResult(
        label=found.name("Label"),
        figures=_figures(metrics),
        threshold=metrics.share("Threshold"),
        test_images=found.count("NumberOfTestingImages"),
    )


def _figures(found: _Members) -> PrecisionRecall:
    return PrecisionRecall(precision=found.share("Precision"), recall=found.share("Recall"), f1=found.share("F1Score"))


def _confusion(found: _Members) -> Confusion:
    share = found.share("Value")
    if share is None:
        raise found.wrong("Value", None, "a number from 0 to 1")
    return Confusion(truth=found.name("GroundTruthLabel"), predicted=found.name("PredictedLabel"), share=share)


class _Members:
    """The members of one object of the document, each checked when it is read; null counts as missing.

    Args:
        place: The file and the path of the object, for messages.
        found: The object.
    """

    def __init__(self, place: str, found: Mapping[str, Any]) -> None:
        self._place, self._found = place, found

    def with_nested(self, name: str) -> _Members:
        """These members, and those of the object ``name`` in it, which come first."""
        self.members(name)  # which checks it
        nested: dict[str, Any] = self._found.get(name) or {}
        return _Members(self._place, {**self._found, **nested})

    def members(self, name: str) -> _Members:
        """An object; empty where there is none."""
        found = self._found.get(name)
        if found is None:
            found = {}
        if not isinstance(found, dict):
            raise self.wrong(name, found, "an object")
        return _Members(f"{self._place}: {name}", found)

    def each(self, name: str) -> Iterator[_Members]:
        """The objects of a list; none where there is no list."""
        for number, found in enumerate(self._list(name)):
            if not isinstance(found, dict):
                raise self.wrong(f"{name}[{number}]", found, "an object")
            yield _Members(f"{self._place}: {name}[{number}]", found)

    def texts(self, name: str) -> Iterator[str]:
        """The texts of a list; none where there is no list."""
        for number, found in enumerate(self._list(name)):
            if not _is_label(found):
                raise self.wrong(f"{name}[{number}]", found, "a label")
            yield found

    def text(self, name: str) -> str | None:
        """A text."""
        found = self._found.get(name)
        if found is not None and (not isinstance(found, str) or len(found) > _MOST_CHARS):
            raise self.wrong(name, found, "a short string")
        return found

    def name(self, name: str) -> str:
        """The name of a label, which must be there."""
        found = self._found.get(name)
        if not _is_label(found):
            raise self.wrong(name, found, "a label")
        return found

    def share(self, name: str) -> float | None:
        """A number from 0 to 1."""
        found = self._found.get(name)
        if found is None:
            return None
        if not is_number(found) or not 0 <= found <= 1:
            raise self.wrong(name, found, "a number from 0 to 1")
        return float(found)

    def count(self, name: str) -> int | None:
        """A whole number from 0."""
        found = self._found.get(name)
        if found is None:
            return None
        if not is_number(found) or found < 0 or found != int(found):
            raise self.wrong(name, found, "a whole number")
        return int(found)

    def wrong(self, name: str, found: object, expected: str) -> UsageError:
        """The error about a member that is something else."""
        seen = "is missing" if found is None else f"is {kind_of(found)}, not {expected}"
        return UsageError(
            f"{self._place}: {name} {seen}", hint="Fetch the file again: it is not as the service writes it."
        )

    def _list(self, name: str) -> list[Any]:
        found = self._found.get(name)
        if found is None:
            return []
        if not isinstance(found, list):
            raise self.wrong(name, found, "a list")
        return found


def _is_label(found: object) -> TypeGuard[str]:
    return isinstance(found, str) and 0 < len(found) <= MAX_LABEL_CHARS
