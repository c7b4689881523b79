"""Reference images at the start of a run: stored labels are used, the rest is paid for, and rules get label names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from random import Random

import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.core.run_context import RunContext
from asyncfilter.engine.examine.assembly import assemble
from asyncfilter.engine.examine.inputs import Options, RunInputs, no_sink
from asyncfilter.engine.preview.jobs import reference_job
from asyncfilter.engine.preview.list_source import ChosenSource
from asyncfilter.engine.preview.overlays import ReferenceView, with_cached
from asyncfilter.errors import EndpointError, ImageError, TransientError, UsageError
from asyncfilter.events import AttemptFailed, Emit, Event
from asyncfilter.job.spec import Job
from asyncfilter.model import Detection, ListedObject, StopReason, Summary
from asyncfilter.ports.checkpoint import Checkpoint, LabelStore
from asyncfilter.ports.examine import References
from asyncfilter.records.images import StoredImage, StoredReference
from asyncfilter.records.progress import Batch


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """The result of examining references.

    Attributes:
        labels: By address.
        checkpoint: For the run that follows: its totals include what was paid.
        calls: Images that had to be paid for, at ``spent_micros``.
        ended: Why examining them ended early, and the run with it; None when all were examined.
    """

    labels: Mapping[str, Detection]
    checkpoint: Checkpoint
    calls: int = 0
    spent_micros: int = 0
    ended: Summary | None = None


"""Stands here only until every import names ``engine.core.run_context``."""


async def examine(
    job: Job,
    uris: Sequence[str],
    *,
    references: References,
    checkpoint: Checkpoint,
    elsewhere: Iterable[StoredReference],
    inputs: RunInputs,
    context: RunContext,
) -> Examined:
    """The labels of references: paid for within the budget where their content is not stored, and kept.

    Args:
        job: Whose references.
        uris: Their addresses, without repeats.
        references: Examines them.
        checkpoint: Open, and held.
        elsewhere: References from another store, examined with the same settings.
        inputs: Of the job: its rate, price and concurrency are used.
        context: The run that needs them.

    Raises:
        UsageError: A reference cannot be examined.
        AccessError: Nothing can be read.
        CheckpointError: The checkpoint cannot be written.
    """
    listed = await _look_at(uris, references, job.limits.max_attempts, context.clock)
    known = _known(listed, [*elsewhere, *await checkpoint.references()])
    wanted = [one for one in listed if one.key not in known]
    totals, calls = checkpoint.opened.totals, 0
    if wanted:
        view = ReferenceView(checkpoint, reference_job(job))
        summary = await _pay(
            reference_job(job), wanted, references=references, view=view, inputs=inputs, context=context
        )
        totals, calls = view.totals, summary.this_run.calls
        for uri, failure in view.failures.items():
            raise _unusable(uri, failure.code, failure.message)
        if summary.stop_reason is not StopReason.COMPLETED:
            ended = _explained(summary, len(wanted) - len(view.found))
            return Examined(labels={}, checkpoint=checkpoint, ended=ended)
        known |= {one.uri: one for one in view.found}
    await _keep(checkpoint, known.values())
    return Examined(
        labels={uri: known[uri].detection for uri in uris},
        checkpoint=await with_cached(checkpoint, await _own_objects(job, checkpoint, known.values()), totals),
        calls=calls,
        spent_micros=totals.spent_micros - checkpoint.opened.totals.spent_micros,
    )


async def _own_objects(job: Job, store: LabelStore, known: Iterable[StoredReference]) -> list[StoredImage]:
    """Cached rows for references that are objects of the job's own source: they are free when they are listed."""
    home = f"s3://{job.source.bucket}/"
    own = {one.uri.removeprefix(home): one for one in known if one.uri.startswith(home + job.source.prefix)}
    have = {(row.key, row.etag, row.size_bytes) for row in await store.by_keys(list(own))}
    return [
        StoredImage(id=0, seq=None, key=key, etag=one.etag, size_bytes=one.size_bytes, detection=one.detection)
        for key, one in own.items()
        if (key, one.etag, one.size_bytes) not in have
    ]


async def _pay(
    job: Job,
    wanted: Sequence[ListedObject],
    *,
    references: References,
    view: ReferenceView,
    inputs: RunInputs,
    context: RunContext,
) -> Summary:
    """Examine what is not known, as a small run of its own."""
    pipeline = assemble(
        job,
        context=msgspec.structs.replace(context, emit=lambda event: _pass_on(event, context.emit)),
        checkpoint=view,
        sink=no_sink(),
        inputs=_inputs_of(inputs, wanted, references),
        options=Options(dry_run=True),
    )
    if context.on_start is not None:
        context.on_start(pipeline.progress)
    return await pipeline.run()


def _inputs_of(inputs: RunInputs, wanted: Sequence[ListedObject], references: References) -> RunInputs:
    """The job's rate, price and concurrency, without what it does to the images of its own source."""
    backend = msgspec.structs.replace(inputs.primary, detector=references)
    return msgspec.structs.replace(
        inputs, source=ChosenSource(wanted), backends=(backend,), check=lambda _listed: None, preparation=None
    )


async def _look_at(uris: Sequence[str], references: References, max_attempts: int, clock: Clock) -> list[ListedObject]:
    """What stands at each address now, at no cost."""
    repeat = Repeater(max_attempts=max_attempts, pause=full_pause(clock), rng=Random())
    found = []
    for uri in uris:
        try:
            found.append(await repeat(partial(references.head, uri)))
        except ImageError as error:
            raise _unusable(uri, error.code, error.message) from error
        except TransientError as error:
            raise EndpointError(f"the reference {uri} cannot be read: {error.message}", hint="Try again.") from error
    return found


def _known(listed: Iterable[ListedObject], kept: Iterable[StoredReference]) -> dict[str, StoredReference]:
    """References whose content was examined under this or another address, by the address that they have now."""
    by_content = {(one.etag, one.size_bytes): one for one in kept}
    return {
        now.key: msgspec.structs.replace(was, uri=now.key)
        for now in listed
        if (was := by_content.get((now.etag, now.size_bytes))) is not None
    }


async def _keep(store: LabelStore, known: Iterable[StoredReference]) -> None:
    """Keep references under the addresses that rules name, so that ``refilter`` finds them."""
    kept = {one.uri: one for one in await store.references()}
    new = [one for one in known if kept.get(one.uri) != one]
    if new:
        await store.commit(Batch(references=new))


def _pass_on(event: Event, emit: Emit) -> None:
    """Emit repetitions; all other events belong to the run that follows."""
    if isinstance(event, AttemptFailed):
        emit(event)


def _unusable(uri: str, code: str, message: str) -> UsageError:
    return UsageError(
        f"the reference {uri} cannot be examined ({code}): {message}", hint="Name another image, or make it readable."
    )


def _explained(summary: Summary, left: int) -> Summary:
    """The summary, with a message that the run ended before its first image."""
    if summary.error is not None or summary.stop_reason is not StopReason.BUDGET:
        return summary
    return msgspec.structs.replace(summary, error=f"{left} reference images are not examined yet")
