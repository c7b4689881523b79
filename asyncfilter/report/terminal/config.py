"""The result of ``config check``, for people and for scripts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import RenderableType

from asyncfilter.errors import Problem
from asyncfilter.job.spec import Job
from asyncfilter.policy.job_warnings import warnings_before_answers
from asyncfilter.report.program import program
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text


def checked_mapping(file: str, job: Job) -> dict[str, object]:
    """A job file without problems."""
    return {
        "file": file,
        "valid": True,
        "problems": [],
        "cautions": warnings_before_answers(job),
        "name": job.name,
        "source": job.source.described,
        "checkpoint": str(job.checkpoint),
    }


def problems_mapping(file: str, problems: Sequence[Problem]) -> dict[str, object]:
    """A job file with problems, all of them in file order."""
    return {"file": file, "valid": False, "problems": [asdict(problem) for problem in problems], "cautions": []}


def draw_checked(file: str, job: Job) -> RenderableType:
    """A few lines on a job file without problems."""
    return Facts(_rows(file, job))


def _rows(file: str, job: Job) -> Iterator[tuple[str, str | Text]]:
    yield "valid", Text.assemble((file, "bold"), ": the job file has no problems")
    yield "job", f"{job.name}, {job.source.described}"
    for caution in warnings_before_answers(job):
        yield "note", Text(caution, "yellow")
    yield "next", f"{program()} plan {shlex.quote(file)}   checks access too, and shows cost and time; free"
