"""Raccoons among clothes: rules from five good photographs of a class find them, with a real classifier."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="the real photographs are not on this machine"),
]


@pytest.fixture(scope="module")
def cleaned() -> Any:
    """One job per class."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    patch = pytest.MonkeyPatch()
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        patch.setenv(name, "")
    try:
        yield runpy.run_path(str(ROOT / "benchmarks" / "real_cleanup.py"))["clean"](DATA)
    finally:
        patch.undo()


def test_intruders_are_removed_and_clothes_stay(cleaned: Any) -> None:
    """Precision and recall of the decision to remove, over all classes; the figures are printed."""
    print(json.dumps(cleaned.figures(), indent=2))  # noqa: T201  shown with -s
    assert len(cleaned.intruders) == 40
    assert len(cleaned.good) == 100
    assert cleaned.precision >= 0.8
    assert cleaned.recall >= 0.8


def test_no_reference_is_ever_removed(cleaned: Any) -> None:
    """Each of the fifty good pictures is kept by the rule that was made from it."""
    assert len(cleaned.references) == 50
    assert {cleaned.verdicts[key] for key in cleaned.references} == {"keep"}


def test_references_are_paid_for_once(cleaned: Any) -> None:
    """One call is made for each picture of the bucket, and one for each reference sent as a file."""
    assert sum(cleaned.calls) == len(cleaned.verdicts) + 10
