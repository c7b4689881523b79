"""The code cites headings of docs/guarantees.md, and every guarantee names existing tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUARANTEES = ROOT / "docs" / "guarantees.md"

TEXT = GUARANTEES.read_text("utf-8")
HEADINGS = set(re.findall(r"^#{2,3} (.+)$", TEXT, re.MULTILINE))

SOURCES = [
    *(
        path
        for folder in ("asyncfilter", "benchmarks", "docs", "tests")
        for path in sorted((ROOT / folder).rglob("*.*"))
    ),
    *sorted(ROOT.glob("*.md")),
]
READ = [path for path in SOURCES if path.suffix in {".py", ".md"} and path != Path(__file__).resolve()]

NAMED = re.compile(r"`((?:tests|benchmarks)/[\w./*-]+\.py)(?:::(\w+))?`")
"""The citation of a test, or a file of tests, in documents."""

CITED = re.compile(r"docs/guarantees\.md`*,\s+\*([^*]+)\*")
"""The citation of a heading in docstrings and comments."""


def sections() -> Iterator[tuple[str, str]]:
    """Each heading with guarantees of its own, with the text below it."""
    for part in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        yield heading, re.split(r"^## ", body, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(("heading", "body"), [pytest.param(*section, id=section[0]) for section in sections()])
def test_every_promise_names_its_tests(heading: str, body: str) -> None:
    """Every guarantee names its tests."""
    assert "\nTests: " in body, heading
    assert NAMED.search(body.partition("\nTests: ")[2]), heading


@pytest.mark.parametrize("document", ["docs/guarantees.md", "docs/ARCHITECTURE.md", "docs/security.md"])
def test_the_tests_that_documents_name_exist(document: str) -> None:
    """The cited files and their functions exist; a pattern matches at least one file."""
    for pattern, function in NAMED.findall((ROOT / document).read_text("utf-8")):
        files = sorted(ROOT.glob(pattern))
        assert files, pattern
        if function:
            assert any(function in functions(file) for file in files), f"{pattern}::{function}"


def functions(file: Path) -> set[str]:
    """The functions of a module."""
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_what_is_cited_is_there() -> None:
    """Every citation of the guarantees names an existing heading, and there are citations."""
    cited = {path: CITED.findall(path.read_text("utf-8")) for path in READ}
    wrong = {
        f"{path.relative_to(ROOT)}: {heading}"
        for path, headings in cited.items()
        for heading in headings
        if " ".join(heading.split()) not in HEADINGS
    }
    assert wrong == set()
    assert sum(map(len, cited.values())) > 10


def test_code_cites_headings_and_not_the_whole() -> None:
    """Every citation in the code names a heading, so that a reader finds the guarantee itself."""
    for path in READ:
        text = path.read_text("utf-8")
        if path.suffix == ".py":
            assert len(re.findall(r"docs/guarantees\.md", text)) == len(CITED.findall(text)), path


def test_nothing_cites_a_contract_that_is_not_here() -> None:
    """Sections and numbered invariants of a document outside the repository are not cited."""
    wrong = re.compile(
        r"contract('s)?,?\s+\(?(section|invariant)|section \d+ of the contract|\binvariants? \d", re.IGNORECASE
    )
    found = {
        f"{path.relative_to(ROOT)}: {match[0]}" for path in READ for match in wrong.finditer(path.read_text("utf-8"))
    }
    assert found == set()
