"""The label source that options ask for."""

from __future__ import annotations

from collections.abc import Mapping

from asyncfilter.sandbox.answers.folder import FolderAnswers
from asyncfilter.sandbox.answers.source import AnswerSource, LabelSet
from asyncfilter.sandbox.answers.table import RecordedAnswers, TableAnswers, read_answers
from asyncfilter.sandbox.options import LabelSource, SandboxOptions


def build_source(options: SandboxOptions, drawn: Mapping[str, LabelSet]) -> AnswerSource:
    """Answers by key first, where there are any, then the source that ``labels`` names.

    Raises:
        ValueError: If a file is missing from the options, or cannot be read as what it should be.
    """
    source = _by_picture(options)
    table = {**drawn, **({} if options.answers is None else read_answers(options.answers))}
    return TableAnswers(table, source) if table else source


def _by_picture(options: SandboxOptions) -> AnswerSource:
    if options.labels is LabelSource.RECORDED:
        if options.recorded is None:
            raise ValueError("labels 'recorded' need the file of recorded answers")
        return RecordedAnswers(options.recorded, options.seed)
    if options.labels is LabelSource.ONNX:
        if options.onnx_model is None or options.onnx_labels is None:
            raise ValueError("labels 'onnx' need a model file and its label file")
        from asyncfilter.sandbox.answers.onnx import OnnxAnswers  # noqa: PLC0415 - an extra that is seldom installed

        return OnnxAnswers(options.onnx_model, options.onnx_labels)
    return FolderAnswers(options.noise, options.seed)
