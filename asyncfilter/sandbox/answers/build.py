"""Builds the label source that the options select."""

from __future__ import annotations

from collections.abc import Mapping

from asyncfilter.sandbox.answers.folder import FolderAnswers
from asyncfilter.sandbox.answers.source import AnswerSource, LabelSet
from asyncfilter.sandbox.answers.table import RecordedAnswers, TableAnswers, read_answers
from asyncfilter.sandbox.options import LabelSource, SandboxOptions


def build_source(options: SandboxOptions, drawn: Mapping[str, LabelSet]) -> AnswerSource:
    """The source named by ``labels``; answers by key, where there are any, take precedence over it.

    Raises:
        ValueError: If the options lack a file that the source needs, or a file does not have the expected format.
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
        from asyncfilter.sandbox.answers.onnx import OnnxAnswers  # noqa: PLC0415 - an optional extra

        return OnnxAnswers(options.onnx_model, options.onnx_labels, options.onnx_preprocess)
    return FolderAnswers(options.noise, options.seed)
