"""What people have said about a job's images, for the verbs that obey it."""

from __future__ import annotations

from contextlib import AsyncExitStack

from asyncfilter.answers import open_port
from asyncfilter.answers.file import exists
from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.job.spec import Job
from asyncfilter.ports.answers import Answers
from asyncfilter.records.answers import TakenOver
from asyncfilter.wiring.overrides import Overrides


async def known_answers(job: Job, taken: TakenOver | None, overrides: Overrides, stack: AsyncExitStack) -> KnownAnswers:
    """The answers that are there when the checkpoint is opened.

    Args:
        job: The job with its bucket.
        taken: How far the checkpoint follows an answers file.
        overrides: The ports of the caller.
        stack: Closes the file, which is opened for reading alone. A file that appears later is opened later.

    Raises:
        AnswersError: The file cannot be read, or is another one than that which the checkpoint follows.
    """

    async def open_answers() -> Answers | None:
        # Most jobs have no such file: one look, and no thread.
        if overrides.answers is not None or not exists(job.answers_path):
            return overrides.answers
        return await stack.enter_async_context(open_port(job.answers_path))

    found = KnownAnswers(open_answers, bucket=job.source.bucket, taken=taken)
    await found.look()
    return found
