"""Answers from files: one answer per key, or recorded answers assigned to keys by hash.

An answers file is JSON Lines; ``key`` is a key, or ``bucket/key`` where several buckets have the same key:

    {"key": "raw/robin/1.jpg", "labels": {"Robin": 97.1, "Person": 80}}
    {"key": "raw/robin/2.jpg", "labels": [{"Name": "Robin", "Confidence": 97.1, "Instances": [...]}]}
    {"key": "raw/robin/3.jpg", "response": {"Labels": [...], "LabelModelVersion": "3.0"}}
    {"key": "raw/robin/4.jpg", "error": {"code": "InvalidImageFormatException", "message": "...", "status": 400}}

A recorded file is JSON Lines of {"response": {...}}; members of the SDK, such as ResponseMetadata, are left out.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from asyncfilter.sandbox.answers.folder import build_labels
from asyncfilter.sandbox.answers.source import AnswerSource, EncodedLabel, LabelSet, Picture, encode_label, keep_label
from asyncfilter.sandbox.message import ServiceError

Answers = Mapping[str, LabelSet | ServiceError]


class TableAnswers:
    """An ``AnswerSource``: answers by ``bucket/key`` or key, or by ETag for pictures that were sent.

    Other pictures have those of the source ``otherwise``.
    """

    def __init__(self, table: Answers, otherwise: AnswerSource) -> None:
        self._table = table
        self._otherwise = otherwise
        self.slow = otherwise.slow

    def labels(self, picture: Picture) -> LabelSet:
        """See ``AnswerSource``."""
        found = self._table.get(f"{picture.bucket}/{picture.key}") or self._table.get(picture.key or picture.etag)
        if isinstance(found, ServiceError):
            raise ServiceError(found.code, found.message, found.status)
        return self._otherwise.labels(picture) if found is None else found


class RecordedAnswers:
    """An ``AnswerSource``: recorded answers, selected by a hash of seed and ``bucket/key``."""

    slow = False

    def __init__(self, path: str, seed: int = 0) -> None:
        self._seed = seed
        self._recorded = [
            _from_response(_member(row, "response", where), f"recorded {where}") for where, row in _rows(path)
        ]
        if not self._recorded:
            raise ValueError(f"{path}: holds no recorded answers")

    def labels(self, picture: Picture) -> LabelSet:
        """See ``AnswerSource``."""
        text = f"{self._seed} {picture.bucket}/{picture.key or picture.etag}".encode("utf-8", "surrogateescape")
        return self._recorded[(zlib.crc32(text) * 0x9E3779B1 >> 16) % len(self._recorded)]


def read_answers(path: str) -> dict[str, LabelSet | ServiceError]:
    """Read an answers file.

    Raises:
        ValueError: If a line is not usable; the message has file and line number.
    """
    return {str(_member(row, "key", where)): _answer(row, where) for where, row in _rows(path)}


def _answer(row: dict[str, Any], where: str) -> LabelSet | ServiceError:
    if "error" in row:
        error = row["error"]
        return ServiceError(str(error["code"]), str(error.get("message", "")), int(error.get("status", 400)))
    if "response" in row:
        return _from_response(row["response"], where)
    labels = _member(row, "labels", where)
    if isinstance(labels, dict):
        found = {str(name): float(confidence) for name, confidence in labels.items()}
        return LabelSet(tuple(encode_label(label) for label in build_labels(found, random.Random(where))), where)
    return LabelSet(_sorted(labels, where), where)


def _from_response(response: dict[str, Any], where: str) -> LabelSet:
    rest = {name: value for name, value in response.items() if name not in {"Labels", "ResponseMetadata"}}
    return LabelSet(_sorted(response.get("Labels", []), where), where, msgspec.json.encode(rest))


def _sorted(labels: list[dict[str, Any]], where: str) -> tuple[EncodedLabel, ...]:
    try:
        kept = [keep_label(label) for label in labels]
    except ValueError as exc:
        raise ValueError(f"{where}: {exc}") from exc
    return tuple(sorted(kept, key=lambda label: -label.confidence_pct))


def _rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if line.strip():
            where = f"{path}:{number}"
            try:
                yield where, msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as exc:
                raise ValueError(f"{where}: not a JSON object: {exc}") from exc


def _member(row: dict[str, Any], name: str, where: str) -> Any:  # noqa: ANN401 - any JSON value
    if name not in row:
        raise ValueError(f"{where}: {name!r} is missing; there are {', '.join(row)}")
    return row[name]
