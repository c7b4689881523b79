"""The map is that of the code: every module that it names exists, and its layers are those that are checked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "asyncfilter"
MAP = ROOT / "docs" / "ARCHITECTURE.md"
PARTS = ROOT / "docs" / "architecture-parts.md"

NAMED = re.compile(r"`([\w/.-]+\.(?:py|txt))[`:]")


@pytest.mark.parametrize("page", [MAP, PARTS], ids=lambda page: page.name)
def test_every_module_that_is_named_exists(page: Path) -> None:
    """By its path below the package or the repository; by its name alone, where its package stands beside it."""
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.*")}
    endings = {"/".join(path.split("/")[start:]) for path in files for start in range(path.count("/") + 1)}
    named = set(NAMED.findall(page.read_text("utf-8")))
    assert named
    assert not [name for name in sorted(named) if name not in endings and not (ROOT / name).exists()]


def test_layers_are_those_of_the_contract() -> None:
    """The line under *Packages* is the contract of import-linter, in words."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    text = re.search(r"`(__main__ > [^`]+)`", MAP.read_text("utf-8"))
    assert text is not None
    shown = [layer.split() for layer in text[1].split(" > ")]
    assert [set(layer) - {"|"} for layer in shown] == [set(layer.split()) - {"|"} for layer in layers]


def test_the_map_is_short() -> None:
    """Under 200 lines."""
    assert len(MAP.read_text("utf-8").splitlines()) < 200
