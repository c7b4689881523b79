"""The public names of the package; documents and examples use no others."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import pytest

import asyncfilter
from asyncfilter.testing import Stage, run_virtually
from tests.kit.jobs import make_bare_job

ROOT = Path(__file__).resolve().parents[2]

PUBLIC_MODULES = {f"asyncfilter.{name}" for name in ("clock", "errors", "events", "job", "model", "ports", "testing")}

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


def test_public_names_are_pinned() -> None:
    """The public names change only on purpose; each can be imported and is listed in ``dir``."""
    assert sorted(asyncfilter.__all__) == sorted(
        [
            "AbortedError",
            "AccessError",
            "AsyncFilterError",
            "CheckpointError",
            "Consent",
            "Counts",
            "Interrupt",
            "Job",
            "JobError",
            "Labelled",
            "Measurement",
            "PlanResult",
            "Overrides",
            "Progress",
            "RemovalPlan",
            "RemovalSummary",
            "StopReason",
            "Summary",
            "UsageError",
            "Verdict",
            "apply",
            "bench",
            "label_references",
            "labels_frame",
            "load_job",
            "parse_job",
            "plan",
            "plan_apply",
            "plan_undo",
            "refilter",
            "run",
            "undo",
        ]
    )
    assert all(callable(getattr(asyncfilter, name)) for name in asyncfilter.__all__)
    assert {name for name in dir(asyncfilter) if not name.startswith("_")} == set(asyncfilter.__all__)


def test_public_names_are_imported_at_their_first_use() -> None:
    """``import asyncfilter`` and ``dir`` load no other module of it and none of its dependencies."""
    program = (
        "import sys, asyncfilter; dir(asyncfilter); "
        "print([name for name in sys.modules if name.startswith(('asyncfilter.', 'aioboto3', 'pydantic', 'rich'))])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert printed == "[]\n"


def test_type_checkers_see_what_is_imported_later() -> None:
    """The imports for type checkers name the same objects, from the same modules, as those at run time."""
    declared: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(asyncfilter.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("asyncfilter."):
            declared |= dict.fromkeys((alias.name for alias in node.names), node.module or "")
    assert declared.keys() == set(asyncfilter.__all__)
    for name, module in declared.items():
        assert getattr(asyncfilter, name) is getattr(import_module(module), name)


def test_former_name_still_works_and_warns() -> None:
    """``World`` is ``Overrides`` for one more release."""
    with pytest.warns(DeprecationWarning, match="World is now asyncfilter.Overrides"):
        assert asyncfilter.World is asyncfilter.Overrides  # type: ignore[attr-defined]  # deprecated, so not declared


def test_other_names_do_not_exist() -> None:
    """A misspelt name is an ``AttributeError`` that names it."""
    with pytest.raises(AttributeError, match=r"asyncfilter.*'rnu'"):
        _ = asyncfilter.rnu  # type: ignore[attr-defined]  # the missing name is tested


def python_sources() -> Iterator[tuple[str, str]]:
    """All Python code shown to users, with its position."""
    for path in EXAMPLES:
        yield path.name, path.read_text()
    for path in DOCUMENTS:
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL), start=1):
            yield f"{path.name}, block {number}", block


def names_used(source: str) -> Iterator[tuple[str, str]]:
    """Imports of a program from the package, as module and name; the name is empty for a module alone."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] == "asyncfilter":
                yield from ((module, alias.name) for alias in names)
            case ast.Import(names=names):
                yield from ((alias.name, "") for alias in names if alias.name.split(".")[0] == "asyncfilter")
            case ast.Attribute(value=ast.Name(id="asyncfilter"), attr=name):
                yield "asyncfilter", name


def is_public(module: str, name: str) -> bool:
    """Whether users may rely on it."""
    if module == "asyncfilter":
        return name in {"", "__version__", *asyncfilter.__all__} or f"asyncfilter.{name}" in PUBLIC_MODULES
    named = getattr(import_module(module), "__all__", None) if module in PUBLIC_MODULES else []
    return not name.startswith("_") and (named is None or not name or name in named) and module in PUBLIC_MODULES


@pytest.mark.parametrize(("where", "source"), [pytest.param(*found, id=found[0]) for found in python_sources()])
def test_documents_and_examples_use_public_names_alone(where: str, source: str) -> None:
    """Code that users copy uses public names only."""
    assert [name for name in names_used(source) if not is_public(*name)] == [], where


def test_the_documents_name_public_modules_alone() -> None:
    """``asyncfilter.x`` in the text of a document for users is a public name or module."""
    text = (ROOT / "docs/python.md").read_text()
    mentioned = set(re.findall(r"\basyncfilter\.(\w+)", text))
    assert {name for name in mentioned if not is_public("asyncfilter", name)} == set()
    assert set(asyncfilter.__all__) <= set(re.findall(r"\w+", text))


def test_former_parameter_still_works_and_warns() -> None:
    """``world=`` is accepted in place of ``overrides=`` for one release."""
    stage = Stage({"a.jpg": "Robin"})
    job = make_bare_job()
    with pytest.warns(DeprecationWarning, match=r"'world' of plan is 'overrides' now"):
        planned = asyncfilter.plan(job, world=stage.overrides())  # type: ignore[call-arg] # the former name
    assert run_virtually(lambda: planned).plan_inputs.survey.listed == 1


@pytest.mark.parametrize("document", ["docs/ARCHITECTURE.md", "docs/python.md", "asyncfilter/__init__.py"])
def test_private_modules_are_documented(document: str) -> None:
    """ARCHITECTURE.md names the modules that may change without notice."""
    text = " ".join((ROOT / document).read_text().split())
    assert "very other module may change without notice" in text
    assert {module for module in PUBLIC_MODULES if module not in text} == set()


if TYPE_CHECKING:

    async def every_result_has_its_type(job: asyncfilter.Job, consent: asyncfilter.Consent) -> None:
        """Checked by mypy alone: names that are imported lazily have their real types."""
        assert_type(asyncfilter.load_job("job.yaml"), asyncfilter.Job)
        assert_type(await asyncfilter.run(job, overrides=asyncfilter.Overrides()), asyncfilter.Summary)
        assert_type(await asyncfilter.refilter(job), asyncfilter.Summary)
        assert_type(await asyncfilter.plan(job), asyncfilter.PlanResult)
        assert_type(await asyncfilter.bench(job), asyncfilter.Measurement)
        assert_type(await asyncfilter.label_references(["a.jpg"]), asyncfilter.Labelled)
        assert_type(await asyncfilter.plan_apply(job), asyncfilter.RemovalPlan)
        assert_type(await asyncfilter.apply(job, consent), asyncfilter.RemovalSummary)
        assert_type(await asyncfilter.plan_undo(job), asyncfilter.RemovalPlan)
        assert_type(await asyncfilter.undo(job, consent), asyncfilter.RemovalSummary)
