"""What the service found wrong with the datasets of a training, from its message and from the files that it wrote.

Files: the manifest summary, with errors of the datasets as a whole, and a copy of each dataset's manifest with the
errors of its lines. Neither is there when the file of a dataset was refused as a whole. Source: Custom Labels guide,
*Understanding the manifest summary*, *Understanding training and testing validation result manifests*.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from asyncfilter.custom_labels.messages import code_of
from asyncfilter.datasets.manifests.physical_lines import read_lines
from asyncfilter.errors import AccessError, AsyncFilterError
from asyncfilter.model import S3Location
from asyncfilter.ports.model_service import ModelVersion, ObjectFiles, VersionStatus

MOST_ERRORS = 10_000
"""Most errors that are kept; a training has failed long before."""

_LISTS = frozenset({"errors", "cl-errors"})
_DEPTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingError:
    """One error.

    Attributes:
        dataset: ``train`` or ``test``; None for one that is about both, or where the service does not say.
        line: Of the dataset, from 1; None for the dataset as a whole.
        code: The service's; None for a message that its guide does not list.
        message: The service's.
    """

    dataset: str | None
    line: int | None
    code: str | None
    message: str


async def training_errors(files: ObjectFiles, version: ModelVersion, held: BinaryIO) -> list[TrainingError]:
    """All that the service found wrong, the errors of the whole first.

    Args:
        files: Reads what the training wrote; what cannot be read is left out, and said.
        version: A version whose training is over.
        held: A temporary file for one of them at a time.
    """
    found: list[TrainingError] = []
    has_failed = version.status == VersionStatus.TRAINING_FAILED
    if version.manifest_summary is not None and await _fetch(files, version.manifest_summary, held, found):
        found += _of_summary(held)
    for name, places in (("train", version.training.validation), ("test", version.testing.validation)):
        for place in places:
            if await _fetch(files, place, held, found):
                found += _of_lines(name, held, MOST_ERRORS - len(found))
    if has_failed and version.message and not any(error.line is None for error in found):
        found.insert(0, TrainingError(dataset=None, line=None, code=code_of(version.message), message=version.message))
    return found[:MOST_ERRORS]


async def _fetch(files: ObjectFiles, place: S3Location, held: BinaryIO, found: list[TrainingError]) -> bool:
    held.seek(0)
    held.truncate()
    try:
        is_there = await files.read(place, held)
    except AccessError as error:
        found.append(TrainingError(dataset=None, line=None, code=None, message=f"{place.uri}: {error.message}"))
        return False
    except AsyncFilterError:
        return False
    held.seek(0)
    return is_there


def _of_summary(held: BinaryIO) -> Iterator[TrainingError]:
    try:
        summary = json.load(held)
    except (ValueError, RecursionError):
        return
    if not isinstance(summary, dict):
        return
    yield from _errors(summary.get("errors"), None, None)
    statistics = summary.get("statistics")
    if isinstance(statistics, dict):
        for name, section in (("train", "training"), ("test", "testing")):
            part = statistics.get(section)
            if isinstance(part, dict):
                yield from _errors(part.get("errors"), name, None)


def _of_lines(dataset: str, held: BinaryIO, most: int) -> list[TrainingError]:
    found: list[TrainingError] = []
    for line in read_lines(held):
        if b"rrors" not in line.content:  # of a quarter of a million lines, few have any
            continue
        try:
            document = json.loads(line.content)
        except (ValueError, RecursionError):
            continue
        found += [one for listed in error_lists(document) for one in _errors(listed, dataset, line.number)]
        if len(found) >= most:
            break
    return found[:most]


def error_lists(value: object, depth: int = _DEPTH) -> Iterator[object]:
    """The lists of errors in an entry, wherever the service has put them: line, attribute, annotation, metadata."""
    if depth == 0:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _LISTS:
                yield inner
            else:
                yield from error_lists(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            yield from error_lists(inner, depth - 1)


def code_and_message(error: Any) -> tuple[str | None, str]:  # noqa: ANN401  anything that JSON has
    """Code and text of one error as the service writes it."""
    if not isinstance(error, dict):
        return code_of(str(error)), str(error)
    message = str(error.get("message", ""))
    code = error.get("code") or code_of(message)
    return (None if code is None else str(code)), message


def _errors(listed: object, dataset: str | None, line: int | None) -> Sequence[TrainingError]:
    if not isinstance(listed, list):
        return ()
    pairs = [code_and_message(error) for error in listed]
    return [TrainingError(dataset=dataset, line=line, code=code, message=message) for code, message in pairs]
