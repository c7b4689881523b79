"""What commands that write stored verdicts say about people's answers which these lack."""

from __future__ import annotations

from asyncfilter.cli import deferred
from asyncfilter.cli.stderr import print_err
from asyncfilter.errors import AnswersError
from asyncfilter.job.spec import Job
from asyncfilter.model import AnswersState
from asyncfilter.report.terminal.people import waiting


def told_answers(job: Job) -> AnswersState | None:
    """How far the verdicts follow what people said; a message tells how many answers they lack."""
    try:
        found = deferred.read_answers_state(job.answers_path, deferred.read_taken_over(job.checkpoint))
    except AnswersError as error:
        # What was taken over is in the checkpoint, and is all that is written.
        print_err(f"caution: {error.message}")
        return None
    if found is not None and found.pending:
        print_err(f"{waiting(found)}: they are not in these verdicts yet")
    return found
