"""The stages that ``apply`` and ``undo`` share: waves of images go from step to step, each durable before the next.

A wave is a page of images. Each stage does one thing to all of them, by a fixed pool of tasks or in batches, and its
results are written to the journal in one transaction before the next stage begins. So a process can be killed at any
moment: the journal holds what may have been done, and a resumed process reads the state of the store before it repeats
anything.

Invariants: every write to the store is in the journal before it is sent; everything that is counted is in the journal;
every write is on condition of the ETag that was examined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import TypeVar

import anyio
import msgspec

from asyncfilter.clock import Clock
from asyncfilter.engine.core.retry import DrainedError, Repeater
from asyncfilter.engine.core.stopping import StopSignal
from asyncfilter.errors import (
    AccessError,
    AsyncFilterError,
    CallError,
    ImageError,
    PermissionDeniedError,
    ThrottledError,
    TransientError,
    UsageError,
)
from asyncfilter.events import ActionDone, Emit, ImageFailed
from asyncfilter.job.spec import Job
from asyncfilter.model import Effect, Failure, ObjectRef, S3Location, StopReason, StoreKind, location
from asyncfilter.policy.breaker import FAILURES_IN_A_ROW
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.remover import DeleteRequest, DeleteResult, Remover
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import Removal, Step

WAVE_IMAGES = 1000
"""Images that go through the stages together: as many as S3 deletes in one batch."""

AT_ONCE = 64
"""Most requests of one stage in flight."""

THROTTLED_LIMIT_S = 600.0
"""The command ends when one request is throttled for this long (docs/guarantees.md, *The rate holds*)."""

_LONGEST_ROUND_S = 60.0
"""Most time that one wait and attempt count for in this: beyond it, the process stood still."""

T = TypeVar("T")
Dropped = ImageError | TransientError | ThrottledError | DrainedError


class RemovalItem(msgspec.Struct, kw_only=True):
    """One image in a wave.

    Attributes:
        removal: Its removal as it is to be written to the journal next.
        recorded: Its removal as the journal holds it; None when the journal has none yet.
        row: Its row in the checkpoint; None when there is none any more.
        may_be_copied: An earlier attempt, of this process or of a killed one, may have made the copy unconfirmed.
        may_be_deleted: An earlier attempt may have deleted the image unconfirmed.
        error: The reason why it dropped out of the wave; None while it is in.
        is_error_recorded: True once its error is in the journal.
    """

    removal: Removal
    recorded: Removal | None
    row: StoredImage | None
    may_be_copied: bool = False
    may_be_deleted: bool = False
    error: Dropped | None = None
    is_error_recorded: bool = False

    @property
    def is_in(self) -> bool:
        """True while it takes part in the wave."""
        return self.error is None

    @property
    def is_new(self) -> bool:
        """True when its state is not in the journal yet; errors other than ``ImageError`` are never written to it."""
        if isinstance(self.error, ImageError):
            return not self.is_error_recorded
        return self.is_in and self.removal != self.recorded

    def advance(self, step: Step, **fields: object) -> None:
        """Set its step, and fields of its removal."""
        self.removal = msgspec.structs.replace(self.removal, step=step, failure=None, **fields)

    def fail(self, failure: Failure, step: Step = Step.FAILED) -> None:
        """Set its failure and the step that it ends with."""
        self.removal = msgspec.structs.replace(self.removal, step=step, failure=failure)

    def failed_as(self, *codes: str) -> bool:
        """Whether it dropped out with one of these failure codes."""
        return isinstance(self.error, ImageError) and self.error.code in codes


Change = Callable[[RemovalItem, Batch], None]
"""Adds the changes of an item to a batch: those of its row, of the counts and of the journal."""


class RemovalStages:
    """The stages of one ``apply`` or ``undo``, and their journal.

    Attributes:
        watermark: The checkpoint's watermark, with counts that include what is in the journal.
        done: Number of finished images, by the kind of the event emitted for them.
        failed: Number of images that were left as they are, by failure code.
        size_bytes: Size of the finished images.
    """

    def __init__(
        self,
        job: Job,
        *,
        checkpoint: Checkpoint,
        remover: Remover,
        stop_signal: StopSignal,
        emit: Emit,
        clock: Clock,
        rng: Random,
    ) -> None:
        self.bucket = job.source.bucket
        self.remover = remover
        self.stop_signal = stop_signal
        opened = checkpoint.opened.watermark
        self.watermark = msgspec.structs.replace(opened, tally=opened.tally.copy())
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.size_bytes = 0
        self._repeater = Repeater(max_attempts=job.limits.max_attempts, pause=stop_signal.pause, rng=rng)
        self._checkpoint = checkpoint
        self._emit = emit
        self._clock = clock

    def source(self, removal: Removal) -> S3Location:
        """The location of the image in the source, before its removal or now."""
        return S3Location(self.bucket, removal.key)

    async def repeat(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt until an attempt succeeds or fails permanently; throttling for too long ends the command.

        Raises:
            DrainedError: The end was requested before the next attempt.
            CallError: The error of the last attempt.
        """
        last_s, spent_s = self._clock.monotonic(), 0.0

        def watch(error: Exception, _delay_s: float) -> None:
            nonlocal last_s, spent_s
            now_s = self._clock.monotonic()
            spent_s += min(now_s - last_s, _LONGEST_ROUND_S)
            last_s = now_s
            if isinstance(error, ThrottledError) and spent_s >= THROTTLED_LIMIT_S:
                message = f"throttled for {THROTTLED_LIMIT_S / 60:.0f} minutes: {error.message}"
                hint = "Check what else uses this bucket; then run the same command again."
                self.stop_signal.request(StopReason.ERRORS, AsyncFilterError(message, hint=hint))

        return await self._repeater(attempt, watch)

    async def is_copy(self, item: RemovalItem, etag: str) -> bool:
        """Whether the object at the target of a move, as the journal has it, has the content of the image.

        Args:
            item: A move whose image is in the source.
            etag: Of the image as it is in the source now.

        Raises:
            ImageError: ``changed`` or ``vanished``, of the object at the target; ``original_gone``, of the image.
            DrainedError, CallError: As ``repeat``.
        """
        removal, target, seq = item.removal, location(item.removal.target), seq_of(item)
        # Not of files: those on two disks can have one time and inode. To compare a hard link takes no reading.
        if removal.copied == etag and target.store is not StoreKind.FOLDER:
            return True
        image = ObjectRef(bucket=self.bucket, key=removal.key, size_bytes=removal.size_bytes, etag=etag, seq=seq)
        copy = msgspec.structs.replace(image, bucket=target.bucket, key=target.key, etag=removal.copied)
        return await self.repeat(lambda: self.remover.same_content(copy, image))

    async def equal_object(self, effect: Effect) -> str | None:
        """The ETag of the object at a copy's target, when it has the bytes of its source; None otherwise.

        For a copy that an earlier attempt may have made: encrypted, or of an upload in parts, it has another ETag.

        Raises:
            ImageError: ``changed`` or ``vanished``, of the source; ``original_gone``, of the object at the target.
            DrainedError, CallError: As ``repeat``.
        """
        source, target = effect.source, effect.target
        found = await self.repeat(lambda: self.remover.head(target)) if target is not None else None
        if target is None or found is None or found.size_bytes != source.size_bytes:
            return None
        there = msgspec.structs.replace(source, bucket=target.bucket, key=target.key, etag=found.etag)
        is_same = await self.repeat(lambda: self.remover.same_content(source, there))
        return found.etag if is_same else None

    # -- Concurrency ---------------------------------------------------------------------------------------------------

    async def each(self, items: Iterable[RemovalItem], work: Callable[[RemovalItem], Awaitable[None]]) -> None:
        """Call ``work`` with every item that is in, several at a time; an item with an error drops out."""
        wanted = [item for item in items if item.is_in]
        # One iterator for all workers: each item is taken once, and no worker idles while items are left.
        following = iter(wanted)

        async def worker() -> None:
            for item in following:
                await self._do(item, work)

        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, len(wanted))):
                tasks.start_soon(worker)
        self._stop_if_denied(wanted)

    async def _do(self, item: RemovalItem, work: Callable[[RemovalItem], Awaitable[None]]) -> None:
        if self.stop_signal.is_requested:
            item.error = DrainedError()
            return
        try:
            await work(item)
        except (ImageError, TransientError, ThrottledError, DrainedError) as error:
            item.error = error
        except AccessError as error:
            item.error = DrainedError()
            self.stop_signal.request(StopReason.FAILED, error)

    def _stop_if_denied(self, items: Sequence[RemovalItem]) -> None:
        """End the command when every image is denied: the account lacks a permission, so no image fails for it."""
        denied = [item.error for item in items if isinstance(item.error, ImageError) and item.error.access]
        # Once images were done, a few denied ones may have a policy of their own; as many as trip a breaker do not.
        if not denied or len(denied) < len(items) or (self.done and len(items) < FAILURES_IN_A_ROW):
            return
        for item in items:
            item.error = DrainedError()
        self.stop_signal.request(StopReason.FAILED, PermissionDeniedError(denied[0].message, hint=denied[0].hint))

    # -- Deleting ------------------------------------------------------------------------------------------------------

    async def delete(
        self, bucket: str, items: Sequence[RemovalItem], wanted: Callable[[RemovalItem], DeleteRequest]
    ) -> dict[int, DeleteResult]:
        """Delete the object that ``wanted`` names for each item that is in.

        When an object is not there any more, its item drops out as ``vanished``, also when ``may_be_deleted`` is set
        and an earlier attempt may have deleted it: the caller interprets it.

        Returns:
            The results of the deleted objects, by row id.
        """
        items = [item for item in items if item.is_in]
        deleted: dict[int, DeleteResult] = {}
        left = list(items)

        async def attempt() -> None:
            sent = list(left)
            try:
                results = await self.remover.delete(bucket, [wanted(item) for item in sent])
            except (TransientError, ThrottledError) as failed:
                for item in sent:
                    item.may_be_deleted = item.may_be_deleted or may_be_done(failed)
                raise
            # In place: `_until_done` holds the same list, and gives its errors to what is left in it.
            left[:] = []
            again = [_result_error(item, result, left, deleted) for item, result in zip(sent, results, strict=True)]
            # Any one of the errors will do: it causes a repetition, and only of what is left.
            if error := next(filter(None, again), None):
                raise error

        if items:
            await self._until_done(attempt, left)
            self._stop_if_denied(items)
        return deleted

    async def _until_done(self, attempt: Callable[[], Awaitable[None]], left: list[RemovalItem]) -> None:
        try:
            await self._unless_stopping(attempt)
        except (TransientError, ThrottledError, DrainedError) as error:
            for item in left:
                item.error = error
        except AccessError as error:
            for item in left:
                item.error = DrainedError()
            self.stop_signal.request(StopReason.FAILED, error)

    async def _unless_stopping(self, attempt: Callable[[], Awaitable[None]]) -> None:
        if self.stop_signal.is_requested:
            raise DrainedError
        await self.repeat(attempt)

    # -- The journal ---------------------------------------------------------------------------------------------------

    async def note(self, items: Iterable[RemovalItem], change: Change) -> None:
        """Write the steps and errors of ``items`` to the checkpoint, in one transaction."""
        batch = Batch()
        new = [item for item in items if item.is_new]
        for item in new:
            change(item, batch)
        if not new:
            return
        # Counts and journal in one transaction, so that no removal is counted twice or lost.
        batch.watermark = msgspec.structs.replace(self.watermark, tally=self.watermark.tally.copy())
        await self._checkpoint.commit(batch)
        for item in new:
            # Only after the commit: `recorded` is what a resumed process will read.
            item.recorded = item.removal
            item.is_error_recorded = not item.is_in

    def count(self, items: Iterable[RemovalItem], kinds: Callable[[RemovalItem], str | None]) -> None:
        """Count a wave that is over, and emit an event for every image that is finished or failed."""
        for item in items:
            kind = kinds(item) if item.is_in else None
            if kind is not None:
                self.done[kind] += 1
                self.size_bytes += item.removal.size_bytes
                self._emit(
                    ActionDone(
                        at_unix_s=self._clock.unix(),
                        seq=seq_of(item),
                        key=item.removal.key,
                        kind=kind,
                        target=item.removal.target or None,
                    )
                )
            elif isinstance(item.error, CallError):
                code = item.error.code if isinstance(item.error, ImageError) else "unavailable"
                self.failed[code] += 1
                self._emit(
                    ImageFailed(
                        at_unix_s=self._clock.unix(),
                        seq=seq_of(item),
                        key=item.removal.key,
                        code=code,
                        message=item.error.message,
                    )
                )


def _result_error(
    item: RemovalItem, result: DeleteResult | CallError, left: list[RemovalItem], deleted: dict[int, DeleteResult]
) -> CallError | None:
    """Record the result of one delete; returns the error if the delete must be sent again."""
    match result:
        case DeleteResult():
            deleted[item.removal.image] = result
        case ImageError():
            item.error = result
        case _:
            item.may_be_deleted = item.may_be_deleted or may_be_done(result)
            left.append(item)
            return result
    return None


def may_be_done(error: CallError) -> bool:
    """Whether a request that failed with ``error`` may have been carried out, as with some 503s of a gateway."""
    return isinstance(error, TransientError) or (isinstance(error, ThrottledError) and error.may_be_done)


def is_in_doubt(effect: Effect, etag: str) -> bool:
    """Whether only a checksum can have shown that an object, which was at the target, is the copy.

    S3's are CRCs as a rule, and it is easy to make another picture with a given one.
    """
    is_of_s3 = effect.target is not None and {effect.source.store, effect.target.store} == {StoreKind.S3}
    return is_of_s3 and etag != effect.source.etag


def seq_of(item: RemovalItem) -> int:
    """The image's position in the order of examination; 0 when it has none."""
    return (item.row.seq or 0) if item.row is not None else 0


def other_decisions(job: Job) -> UsageError:
    """The error when the stored decisions are not those of the job: then nothing is removed."""
    path = job.path or "JOB"
    return UsageError(
        f"{job.checkpoint}: the stored decisions are not those of this job's rules and actions",
        hint=f"Make them first: asyncfilter run {path}, or asyncfilter refilter {path} at no cost.",
    )
