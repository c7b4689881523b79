"""Labels of real photographs from a real classifier, through the sandbox."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from asyncfilter.onnx.label_names import read_name
from asyncfilter.sandbox import LabelSource, LoadSpec, Sandbox, SandboxOptions
from asyncfilter.sandbox.answers.build import build_source

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MODEL = DATA / "models" / "mobilenet_v2_1.0_224_quant.onnx"
LABELS = DATA / "models" / "imagenet_labels.txt"
PANTS = DATA / "photos" / "clothing" / "pants"
real = pytest.mark.skipif(not (MODEL.exists() and PANTS.exists()), reason=f"no model or photographs below {DATA}")


@pytest.mark.real
@real
def test_a_classifier_labels_jeans(open_sandbox: Callable[..., Sandbox], client: Callable[..., Any]) -> None:
    """Most photographs of pants are labelled jeans; bytes with only the beginning of a picture are refused."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    sandbox = open_sandbox(
        load=(LoadSpec("photos", str(PANTS)),),
        labels=LabelSource.ONNX,
        onnx_model=str(MODEL),
        onnx_labels=str(LABELS),
    )
    rekognition = client("rekognition", sandbox)

    def names(key: str) -> set[str]:
        image = {"S3Object": {"Bucket": "photos", "Name": key}}
        return {label["Name"] for label in rekognition.detect_labels(Image=image, MinConfidence=5)["Labels"]}

    keys = sandbox.keys("photos")
    assert sum("Jean" in names(key) for key in keys) > len(keys) / 3
    whole = sandbox.bucket("photos").get(keys[0])
    assert whole is not None
    sandbox.put("photos", "cut.jpg", whole.body[:2000])
    with pytest.raises(ClientError, match=r"InvalidImageFormatException.*Invalid image encoding"):
        names("cut.jpg")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("tench, Tinca tinca", ("Tench", ("Tinca Tinca",))),
        ("Aramus guarauna (Limpkin)", ("Limpkin", ("Aramus Guarauna",))),
        ("background", ("Background", ())),
        ("T-shirt", ("T-Shirt", ())),
    ],
)
def test_label_files_are_read(line: str, names: tuple[str, tuple[str, ...]]) -> None:
    """The first name of a class is the label, the others are its aliases."""
    assert read_name(line) == names


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without onnxruntime the message names the package to install."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    options = SandboxOptions(labels=LabelSource.ONNX, onnx_model="m", onnx_labels="l")
    with pytest.raises(ValueError, match=r"asyncfilter\[onnx\]"):
        build_source(options, {})


@pytest.mark.parametrize("labels", [LabelSource.ONNX, LabelSource.RECORDED])
def test_a_missing_file_is_named(labels: LabelSource) -> None:
    """A label source that needs a file is refused without one."""
    with pytest.raises(ValueError, match="need"):
        build_source(SandboxOptions(labels=labels), {})


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nonsense", ":1: not a JSON object"),
        ('{"labels": {}}', "'key' is missing"),
        ('{"key": "k"}', "'labels' is missing"),
    ],
)
def test_a_wrong_answers_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    """The error names file, line and cause."""
    path = tmp_path / "answers.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=re.escape(word)):
        build_source(SandboxOptions(answers=str(path)), {})
