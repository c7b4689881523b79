"""From a job file, or a mapping, to a ``Job``: read, expand, override, validate, convert.

All problems of a file are reported at once, in file order; only ``JobError`` is raised for an invalid job.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from asyncfilter.errors import JobError, Problem
from asyncfilter.job import yaml_positions
from asyncfilter.job.checks import check
from asyncfilter.job.convert import to_job
from asyncfilter.job.environment import Environment
from asyncfilter.job.error_messages import describe
from asyncfilter.job.schema import JobFile, wrap_uri
from asyncfilter.job.spec import Job
from asyncfilter.job.yaml_positions import Document, Place

_INDEX = re.compile(r"\[(\d+)\]")


def load_job(
    path: str | os.PathLike[str],
    *,
    overrides: Mapping[str, object] | Sequence[str] = (),
    environ: Mapping[str, str] = os.environ,
) -> Job:
    """The job in a YAML file.

    Args:
        path: The file.
        overrides: Keys to set on top of it, in order: ``"limits.tps=50"`` with the value in YAML, as ``--set`` gives
            them, or a mapping of dotted keys to values. List items are ``rules[0]`` or ``rules.0``.
        environ: The variables for ``${NAME}``.

    Raises:
        JobError: The file cannot be read, or holds problems; it lists them all, in file order.
    """
    file = os.fspath(path)
    text = yaml_positions.decode(_content(file), file)
    environment = Environment(environ)
    document = yaml_positions.read(text, file, environment.expand)
    if isinstance(overrides, Mapping):
        parsed = [(key, _plain(value, key)) for key, value in overrides.items()]
    else:
        parsed = [_setting(setting, environment) for setting in overrides]
    for key, value in parsed:
        _override(document, key, value)
    return _job(document, base_dir=_base_dir(Path(file)), path=Path(file), hide=environment.hide)


def parse_job(mapping: Mapping[str, object], *, base_dir: str | os.PathLike[str]) -> Job:
    """The job in a mapping with the keys of the job file; strings are used without expansion.

    Args:
        mapping: The content of a job file; tuples count as lists.
        base_dir: The folder that a relative ``checkpoint`` starts from.

    Raises:
        JobError: The mapping holds problems; it lists them all. Their line and column are 1.
    """
    return _job(_plain(mapping, "job"), base_dir=Path(base_dir), path=None)


def _job(document: Document, *, base_dir: Path, path: Path | None, hide: Callable[[str], str] = str) -> Job:
    """Validate and convert; earlier problems of the document are reported too, and ``hide`` is applied to messages."""
    try:
        model = JobFile.model_validate(document.value)
    except ValidationError as error:
        model = None
        describe(document, error.errors(include_url=False, include_input=False))
    for where, message in check(document.value, str(base_dir)):
        document.add(where, message)
    if document.problems or model is None:
        raise JobError([replace(problem, message=hide(problem.message)) for problem in _in_file_order(document)])
    return to_job(model, base_dir=base_dir, path=path)


def _in_file_order(document: Document) -> list[Problem]:
    rank = {file: index for index, file in enumerate(document.files)}
    return sorted(document.problems.values(), key=lambda problem: (rank[problem.file], problem.line, problem.column))


def _base_dir(path: Path) -> Path:
    """The folder that relative paths of a job file start from.

    That of the file; of a job that a pipe or a descriptor gives (``/dev/stdin``, ``<(...)`` of a shell) the working
    directory, since what is kept in ``/dev`` is lost when the machine stops.
    """
    return path.parent if path.is_file() and path.absolute().parts[1] not in {"dev", "proc"} else Path()


def _content(file: str) -> bytes:
    """The bytes of a file.

    Raises:
        JobError: It is missing, a folder, or not readable.
    """
    try:
        with Path(file).open("rb") as stream:
            return stream.read(yaml_positions.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        stdin = "; standard input is /dev/stdin" if file == "-" else ""
        found = f"expected a job file that can be read, found: {reason}{stdin}"
        raise yaml_positions.refuse(Place(file, 1, 1), found) from error


def _setting(setting: str, environment: Environment) -> tuple[str, Document]:
    """Key and value of ``a.b=v``.

    Raises:
        JobError: No ``=``, no key, or a value that is not YAML.
    """
    key, equals, text = setting.partition("=")
    file = f"--set {setting}"
    if not key or not equals:
        raise yaml_positions.refuse(Place(file, 1, 1), f"expected KEY=VALUE, such as limits.tps=50, found {setting!r}")
    if not text.strip():
        text = "null"
    elif "\n" not in text:
        text = " " * len(f"{key}=") + text  # so that columns count from the start of the setting
    return key, yaml_positions.read(text, file, environment.expand)


def _override(document: Document, key: str, value: Document) -> None:
    """Set ``key`` in ``document``; missing mappings along its path are created."""
    steps = _INDEX.sub(r".\1", key).split(".")
    target: Any = document.value
    if steps[0] == "source" and len(steps) > 1 and isinstance(target, dict):
        target["source"] = wrap_uri(target.get("source"))
    path: yaml_positions.Path = ()
    for step in steps[:-1]:
        if isinstance(target, dict) and target.get(step) is None:
            target[step] = {}
            document.places[*path, step] = value.place(())
        index = _index(target, step)
        path, target = (*path, step if index is None else index), None if index is None else target[index]
    index = _index(target, steps[-1])
    if index is None:
        message = f"expected a key or item that is there, found {key!r}"
        document.problems[*path, steps[-1]] = Problem(**value.place(())._asdict(), key=key, message=message)
        document.files += value.files
    else:
        target[index] = value.value
        document.graft((*path, index), value)


def _index(target: object, step: str) -> str | int | None:
    """The key or index that ``step`` means in a mapping or list; None where there is none."""
    if isinstance(target, dict):
        return step
    if isinstance(target, list) and step in {str(number) for number in range(len(target))}:
        return int(step)
    return None


def _plain(value: object, file: str) -> Document:
    """A document of values from a program, all of them at line 1."""
    document = Document(files=[file], places={(): Place(file, 1, 1)})
    document.value = _copy(value, document, 0)
    return document


def _copy(value: object, document: Document, depth: int) -> object:
    """A copy with plain dicts and lists, so that overrides and validation cannot change the caller's values."""
    if depth > yaml_positions.MAX_DEPTH:
        raise yaml_positions.refuse(
            document.place(()), f"expected at most {yaml_positions.MAX_DEPTH} levels of nesting, found more"
        )
    match value:
        case Mapping():
            return {str(key): _copy(item, document, depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [_copy(item, document, depth + 1) for item in value]
        case Enum() | os.PathLike():
            return str(value)
        case _:
            return value
