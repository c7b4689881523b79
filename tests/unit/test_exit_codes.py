"""Exit codes are defined in one enum, and every exit of the program uses it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import asyncfilter
from asyncfilter import errors
from asyncfilter.cli.exit_codes import exit_code_of
from asyncfilter.errors import AccessError, AsyncFilterError, CheckpointError, ExitCode, ImageError
from asyncfilter.model import StopReason
from asyncfilter.policy.counts import exit_code

PACKAGE = Path(asyncfilter.__file__).parent
RESERVED = {70, 74, 75, 130}
"""Numbers that are almost certainly exit codes."""
PARTS = ["cli", "engine", "policy", "report", "wiring", "__main__.py"]
EXITS = {"Exit", "exit", "_exit"}


def trees() -> Iterator[tuple[Path, ast.AST]]:
    """All modules that may end the program or report its exit code."""
    for part in PARTS:
        path = PACKAGE / part
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def is_number(node: ast.AST | None) -> bool:
    """Whether the node is a whole number literal."""
    return isinstance(node, ast.Constant) and type(node.value) is int


def bare_codes(tree: ast.AST) -> Iterator[int]:
    """Lines on which a number is used as an exit code."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in EXITS:
                if any(is_number(argument) for argument in node.args):
                    yield node.lineno
            case ast.keyword(arg="exit_code") | ast.Assign(targets=[ast.Name(id="exit_code")]) if is_number(node.value):
                yield node.value.lineno
            case ast.Assign(targets=[ast.Name()]) if is_number(node.value):
                if ast.literal_eval(node.value) in RESERVED - {70}:
                    yield node.lineno
            case ast.Return() | ast.Dict() | ast.Compare():
                numbers = [child.value for child in ast.iter_child_nodes(node) if isinstance(child, ast.Constant)]
                if RESERVED & {number for number in numbers if type(number) is int}:
                    yield node.lineno
            case _:
                pass


DOCS = Path(__file__).parents[2] / "docs"


def first_cells(document: str, heading: str) -> list[str]:
    """The first cells of the rows of the first table below a heading."""
    text = (DOCS / document).read_text(encoding="utf-8").split(f"# {heading}\n")[1]
    table = text[text.index("\n|") + 1 :].split("\n\n")[0]
    return [row.split("|")[1].strip(" `") for row in table.splitlines()[2:]]


@pytest.mark.parametrize("document", ["exit-codes.md", "guarantees.md"])
def test_documents_name_every_code(document: str) -> None:
    """And no other."""
    assert first_cells(document, "Exit codes") == [str(int(code)) for code in sorted(ExitCode)]


def test_documents_name_every_reason() -> None:
    """Of a run's end."""
    assert sorted(first_cells("exit-codes.md", "Why a run ended")) == sorted(StopReason)


def test_no_module_has_a_code_of_its_own() -> None:
    """Neither a constant nor an argument nor a result is a bare 70, 74, 75 or 130."""
    found = [f"{path.relative_to(PACKAGE)}:{line}" for path, tree in trees() for line in bare_codes(tree)]
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["raise typer.Exit(2)", "os._exit(130)", "INTERRUPTED = 75", "def f(): return 70", "s = {75: 'x'}", "a == 130"],
)
def test_a_code_of_its_own_would_be_found(source: str) -> None:
    """The check above finds each form of a bare number."""
    assert list(bare_codes(ast.parse(source)))


def test_the_codes_are_those_that_are_promised() -> None:
    """Scripts rely on the numbers."""
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "SOME_FAILED": 1,
        "USAGE": 2,
        "CHECKPOINT": 3,
        "ACCESS": 4,
        "INTERNAL": 70,
        "OUTPUT": 74,
        "INTERRUPTED": 75,
        "ABORTED": 130,
    }


def test_every_error_ends_with_a_code_of_the_list() -> None:
    """The code of every error that ends a command is a member of the enum."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AsyncFilterError)]
    assert len(kinds) > 10
    assert all(isinstance(kind.exit_code, ExitCode) for kind in kinds)


@pytest.mark.parametrize(
    ("reason", "error", "any_failed", "code"),
    [
        (StopReason.COMPLETED, None, False, ExitCode.OK),
        (StopReason.BUDGET, None, False, ExitCode.OK),
        (StopReason.COMPLETED, None, True, ExitCode.SOME_FAILED),
        (StopReason.INTERRUPTED, None, True, ExitCode.INTERRUPTED),
        (StopReason.FAILED, None, False, ExitCode.INTERNAL),
        (StopReason.FAILED, CheckpointError("no"), False, ExitCode.CHECKPOINT),
        (StopReason.ERRORS, None, False, ExitCode.SOME_FAILED),
        (StopReason.ERRORS, AccessError("no"), False, ExitCode.ACCESS),
        (StopReason.ERRORS, ImageError("no", code="kms_denied"), True, ExitCode.SOME_FAILED),
    ],
)
def test_how_a_run_ended(reason: StopReason, error: AsyncFilterError | None, any_failed: bool, code: ExitCode) -> None:
    """One code for each way to end."""
    assert exit_code(reason, error, any_failed=any_failed) is code


@pytest.mark.parametrize("what", ["the sink", "the source", "preparing s3://b/k", "the detector"])
def test_a_machine_without_threads_is_no_internal_error(what: str) -> None:
    """A limit of processes is met by threads first, wherever one is started; any other RuntimeError is a fault."""
    refused = errors.unexpected(RuntimeError("can't start new thread"), what)
    assert isinstance(refused, AccessError)
    assert what in refused.message
    assert "ulimit -u" in (refused.hint or "")
    assert errors.unexpected(RuntimeError("no running event loop"), what).exit_code is ExitCode.INTERNAL


@pytest.mark.parametrize("is_group", [True, False])
def test_a_command_without_threads_ends_with_a_remedy(capsys: pytest.CaptureFixture[str], *, is_group: bool) -> None:
    """Outside of the engine, too, and from within a task group."""

    def command() -> None:
        error = RuntimeError("can't start new thread")
        raise ExceptionGroup("tasks", [error]) if is_group else error

    assert exit_code_of(command, debug=lambda: False) is ExitCode.ACCESS
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert "ulimit -u" in hint
