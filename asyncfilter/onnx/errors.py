"""What is wrong with a model, or with a file that belongs to it."""

from __future__ import annotations

INSTALL = "pip install 'asyncfilter[onnx]'"
"""Installs what a model needs."""


class OwnModelError(ValueError):
    """A model, its labels or its settings cannot be used.

    Args:
        key: The key of ``detector`` that it concerns, such as ``labels``; empty where it concerns none.
        message: What, where, the value seen and the value expected.
        hint: One imperative sentence.
    """

    def __init__(self, key: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.key = key
        self.message = message
        self.hint = hint


class NoScoresError(Exception):
    """The model gives no scores for one picture; others are not concerned."""
