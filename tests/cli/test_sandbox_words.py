"""Options of the sandbox that cannot be used: exit 2, with the option and what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncfilter.cli.app import command_line
from tests.kit.onnx_models import FLOAT, colour_model


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--labels", "onxx"], "--labels: expected folder, recorded or onnx, found 'onxx'"),
        (["--throttle-mode", "w"], "--throttle-mode: expected window or bucket, found 'w'"),
        (["--conditional-writes", "no"], "--conditional-writes: expected yes, ignored or refused, found 'no'"),
        (["--summary-shape", "x"], "--summary-shape: expected "),
        (["--ai-opt-out", "x"], "--ai-opt-out: expected "),
        (["--model-version", "3.0", "--model-version", "3.1"], "the model version of all other regions is given twice"),
        (["--model-version", "eu-west-1=3", "--model-version", "eu-west-1=4"], "eu-west-1 is given twice"),
        (["--onnx-model", "m.onnx"], "--onnx-model is read with --labels onnx alone, found --labels folder"),
        (["--onnx-labels", "l.txt", "--labels", "recorded"], "--onnx-labels is read with --labels onnx alone"),
        (["--onnx-preprocess", "p.json"], "--onnx-preprocess is read with --labels onnx alone"),
        (["--host", ""], "--host: expected an address"),
        (["--recorded", "r.jsonl"], "--recorded is read with --labels recorded alone, found --labels folder"),
    ],
)
def test_a_wrong_word_is_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The message has the option, what it takes, and what was found."""
    assert command_line(["sandbox", "--port", "0", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_model_without_its_preprocessing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that takes numbers needs ``--onnx-preprocess``: the message begins with it."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    model, labels = tmp_path / "m.onnx", tmp_path / "l.txt"
    model.write_bytes(colour_model([[1.0, 0], [0, 1], [0, 0]], shape=("N", 3, 8, 8), kind=FLOAT))
    labels.write_text("red\ngreen\n", "utf-8")
    files = ["--onnx-model", str(model), "--onnx-labels", str(labels)]
    assert command_line(["sandbox", "--port", "0", "--labels", "onnx", *files]) == 2
    assert "error: --onnx-preprocess: it is missing" in capsys.readouterr().err
