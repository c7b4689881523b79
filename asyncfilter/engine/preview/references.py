"""The examination of reference images at the start of a run: stored labels are used, the others are paid for."""

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
        checkpoint: The checkpoint for the run that follows; its totals include what was paid.
        calls: Images that were paid for; ``spent_micros``: their price.
        ended: The summary of a run that ended before all were examined; None when all were.
    """

    labels: Mapping[str, Detection]
    checkpoint: Checkpoint
    calls: int = 0
    spent_micros: int = 0
    ended: Summary | None = None


async def examine(
    job: Job,
    uris: Sequence[str],
    *,
    references: References,
    checkpoint: Checkpoint,
    elsewhere: Iterable[StoredReference],
    inputs: RunInputs,
    context: RunContext,
    leaves_out: bool = False,
) -> Examined:
    """The labels of references. Where the content has no stored labels, they are paid for within the budget and stored.

    Args:
        job: The job of the references.
        uris: Their addresses, without repeats.
        references: Examines them.
        checkpoint: Open, and locked.
        elsewhere: References from another store, examined with the same settings.
        inputs: The inputs of the job; its rate, price and concurrency are used.
        context: The context of the run that needs them.
        leaves_out: References that cannot be examined are left out of the labels, and are no error.

    Raises:
        UsageError: A reference cannot be examined.
        AccessError: The references cannot be read at all.
        CheckpointError: The checkpoint cannot be written.
    """
    listed = await _look_at(uris, references, job.limits.max_attempts, context.clock, leaves_out=leaves_out)
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
            if not leaves_out:
                raise _unusable(uri, failure.code, failure.message)
        if summary.stop_reason is not StopReason.COMPLETED:
            ended = _explained(summary, len(wanted) - len(view.found))
            return Examined(labels={}, checkpoint=checkpoint, ended=ended)
        known |= {one.uri: one for one in view.found}
    await _keep(checkpoint, known.values())
    return Examined(
        labels={uri: known[uri].detection for uri in uris if uri in known or not leaves_out},
        checkpoint=await with_cached(checkpoint, await _own_objects(job, checkpoint, known.values()), totals),
        calls=calls,
        spent_micros=totals.spent_micros - checkpoint.opened.totals.spent_micros,
    )


async def _own_objects(job: Job, store: LabelStore, known: Iterable[StoredReference]) -> list[StoredImage]:
    """Cached rows for references that are objects of the job's source, so that they cost nothing when listed."""
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
    """Examine references without stored labels, in a preview run."""
    pipeline = assemble(
        job,
        context=msgspec.structs.replace(context, emit=lambda event: _pass_on(event, context.emit)),
        checkpoint=view,
        sink=no_sink(),
        inputs=_inputs_of(inputs, wanted, references),
        options=Options(dry_run=True, is_preview=True),
    )
    if context.on_start is not None:
        context.on_start(pipeline.progress)
    return await pipeline.run()


def _inputs_of(inputs: RunInputs, wanted: Sequence[ListedObject], references: References) -> RunInputs:
    """The job's rate, price and concurrency, without the free checks and the preparation for images of its source."""
    backend = msgspec.structs.replace(inputs.primary, detector=references)
    return msgspec.structs.replace(
        inputs, source=ChosenSource(wanted), backends=(backend,), check=lambda _listed: None, preparation=None
    )


async def _look_at(
    uris: Sequence[str], references: References, max_attempts: int, clock: Clock, *, leaves_out: bool
) -> list[ListedObject]:
    """The present object at each address; this costs no call of a detector."""
    repeat = Repeater(max_attempts=max_attempts, pause=full_pause(clock), rng=Random())
    found = []
    for uri in uris:
        try:
            found.append(await repeat(partial(references.head, uri)))
        except ImageError as error:
            if not leaves_out:
                raise _unusable(uri, error.code, error.message) from error
        except TransientError as error:
            raise EndpointError(f"the reference {uri} cannot be read: {error.message}", hint="Try again.") from error
    return found


def _known(listed: Iterable[ListedObject], kept: Iterable[StoredReference]) -> dict[str, StoredReference]:
    """References whose content was examined under this or another address, by their present address."""
    by_content = {(one.etag, one.size_bytes): one for one in kept}
    return {
        now.key: msgspec.structs.replace(was, uri=now.key)
        for now in listed
        if (was := by_content.get((now.etag, now.size_bytes))) is not None
    }


async def _keep(store: LabelStore, known: Iterable[StoredReference]) -> None:
    """Store references under the addresses that rules name, so that ``refilter`` finds them."""
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
