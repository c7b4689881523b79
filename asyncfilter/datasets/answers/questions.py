"""What people are asked about by an audit, in each of the formats that answers can come back in.

Blind, unless a prediction is given: no verdict, score, rule or label of the machine is written.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, Protocol

import msgspec

from asyncfilter.datasets.answers.answer_csv import AnswerCsvWriter
from asyncfilter.datasets.answers.answer_lines import AnswerLineWriter
from asyncfilter.datasets.answers.label_studio_tasks import TaskImage, TaskPrediction, TaskWriter
from asyncfilter.datasets.manifests.line_form import encode_json
from asyncfilter.policy.audit_questions import Question, QuestionFormat
from asyncfilter.records.answers import Subject


class AskedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that people are asked about.

    Attributes:
        question: The position.
        seq: Its place in the order of examination; None where it has none.
        address: Where people find it.
        prediction: What the machine says; None to hide it.
        rule: Number of the rule that decided; None to hide it, and for ``otherwise``.
    """

    question: Question
    seq: int | None
    address: str
    prediction: TaskPrediction | None = None
    rule: int | None = None

    @property
    def subject(self) -> Subject:
        """The version of the object."""
        image = self.question.image
        return Subject(bucket=image.bucket, key=image.key, etag=image.etag, size_bytes=image.size_bytes)


class QuestionWriter(Protocol):
    """Writes questions."""

    def write(self, asked: AskedImage) -> None:
        """Write one."""
        ...

    def finish(self) -> None:
        """Write what comes after the last."""
        ...


def question_writer(format_: QuestionFormat, out: BinaryIO) -> QuestionWriter:
    """The writer of a format; it leaves ``out`` open."""
    return _WRITERS[format_](out)


class _Tasks:
    def __init__(self, out: BinaryIO) -> None:
        self._tasks = TaskWriter(out)

    def write(self, asked: AskedImage) -> None:
        image = TaskImage(subject=asked.subject, seq=asked.seq, prediction=asked.prediction)
        self._tasks.write(image, address=asked.address)

    def finish(self) -> None:
        self._tasks.finish()


class _Csv:
    """Rows whose verdict is to be filled in."""

    def __init__(self, out: BinaryIO) -> None:
        self._text = io.TextIOWrapper(out, encoding="utf-8", errors="backslashreplace", newline="")
        self._rows = AnswerCsvWriter(self._text)

    def write(self, asked: AskedImage) -> None:
        self._rows.write(asked.subject, None)

    def finish(self) -> None:
        self._text.flush()
        self._text.detach()


class _JsonLines:
    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, asked: AskedImage) -> None:
        question, image = asked.question, asked.question.image
        line: dict[str, object] = {
            "draw": question.draw,
            "part": question.part.value,
            "position": question.position,
            "bucket": image.bucket,
            "key": image.key,
            "etag": image.etag,
            "size_bytes": image.size_bytes,
        }
        if asked.prediction is not None:
            line |= {
                "machine_verdict": asked.prediction.verdict or "review",
                "machine_rule": asked.rule,
                "machine_score": image.score,
            }
        self._out.write(encode_json(line) + b"\n")

    def finish(self) -> None:
        pass


class _BareLines:
    """Lines of a manifest that say nothing but where the image is."""

    def __init__(self, out: BinaryIO) -> None:
        self._lines = AnswerLineWriter(out, creation_date="")

    def write(self, asked: AskedImage) -> None:
        self._lines.write_bare(asked.address)

    def finish(self) -> None:
        pass


_WRITERS: dict[QuestionFormat, Callable[[BinaryIO], QuestionWriter]] = {
    QuestionFormat.LABEL_STUDIO: _Tasks,
    QuestionFormat.CSV: _Csv,
    QuestionFormat.JSONL: _JsonLines,
    QuestionFormat.GROUND_TRUTH: _BareLines,
}
