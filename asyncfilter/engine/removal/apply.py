"""``apply``: moves or deletes the images that the decisions remove, after the user confirmed their number.

The steps of one image: it is checked, and the removal is written to the journal; for a move it is copied and the copy
is verified; it is deleted on condition of the ETag that was examined; the removal is confirmed in the journal. An image
that changed or vanished since it was examined is left as it is, and reported.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from asyncfilter.engine.core.known_answers import KnownAnswers
from asyncfilter.engine.removal.newer_verdicts import NewerVerdicts
from asyncfilter.engine.removal.originals import DuplicateGuard
from asyncfilter.engine.removal.recovery import Recovery, aim, resumed
from asyncfilter.engine.removal.stages import (
    WAVE_IMAGES,
    RemovalItem,
    RemovalStages,
    is_in_doubt,
    may_be_done,
    other_decisions,
    seq_of,
)
from asyncfilter.errors import ImageError, ThrottledError, TransientError
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Action, Job
from asyncfilter.model import ActionKind, Decision, Effect, Failure, IfExists, ObjectRef, location, uri_of
from asyncfilter.policy.effects import with_hash
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.policy.removal_places import PlaceCount, RemovalPlaces
from asyncfilter.policy.removal_plan import GroupCount, RemovalPlan
from asyncfilter.policy.removal_query import removal_query
from asyncfilter.policy.rules import compile_rules
from asyncfilter.ports.checkpoint import Checkpoint
from asyncfilter.ports.remover import DeleteRequest, ObjectState
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch
from asyncfilter.records.removal import REMOVING, UNDER_WAY, BucketState, Removal, Step


class Apply:
    """Moves and deletes the images that are pending.

    Args:
        job: The job that decided.
        checkpoint: Holds the decisions and the removal journal.
        state: The versioning of the source, which decides whether a delete can be undone.
        again: True to include images that were restored by ``undo`` under these same decisions.
        places: The places that may be written to; None for those of the job.
        answers: What people say about the images, up to now.
    """

    def __init__(
        self,
        job: Job,
        checkpoint: Checkpoint,
        state: BucketState,
        *,
        again: bool = False,
        places: RemovalPlaces | None = None,
        answers: KnownAnswers | None = None,
    ) -> None:
        self._places = places or RemovalPlaces(job)
        self._job = job
        self._checkpoint = checkpoint
        self._state = state
        self._which = removal_query(job, None if again else decided_by(job))
        self._outcomes = Outcomes(job, compile_rules(job), kinds=REMOVING)
        self._duplicates = DuplicateGuard(job, checkpoint, self._places)
        self._changes = NewerVerdicts(job, answers, checkpoint)
        self._bucket = job.source.bucket
        self._spared = 0

    async def plan(self) -> RemovalPlan:
        """The plan of all pending removals. Every decision is made again from the stored labels and compared.

        Raises:
            UsageError: The stored decisions are not those of the present job.
        """
        if self._checkpoint.opened.decided_by != decided_by(self._job):
            raise other_decisions(self._job)
        new_answers = await self._changes.look()
        count, places = GroupCount(self._state), PlaceCount(self._places)
        under_way = undone = 0
        async for page in self._pages():
            for row, recorded in page:
                removal = self._count(count, row)
                places.add_image(removal.key)
                if removal.target:
                    places.add_copy(removal.target)
                under_way += recorded is not None and recorded.step in UNDER_WAY
                undone += recorded is not None and recorded.step is Step.UNDONE
        watermark = self._checkpoint.opened.watermark
        tally = watermark.tally
        everything = (
            0 if self._which.is_empty else await self._checkpoint.count_pending_removals(removal_query(self._job))
        )
        return RemovalPlan(
            name=self._job.name,
            is_removal=True,
            source=uri_of(self._bucket, self._job.source.prefix),
            groups=count.groups(),
            images=count.images,
            size_bytes=count.size_bytes,
            removed=sum(tally.effects.get(kind.value, 0) for kind in REMOVING),
            examined=tally.examined,
            under_way=under_way,
            undone=undone,
            held_back=everything - count.images - self._spared,
            new_answers=new_answers,
            spared=self._spared,
            listing_done=watermark.listing_done,
            state=self._state,
            digest=count.digest,
            places=places.uses(),
        )

    def _count(self, count: GroupCount, row: StoredImage) -> Removal:
        decision = row.decision
        if decision is None or (
            row.detection is not None and self._outcomes.decide(row.detection, row.answer) != decision
        ):
            raise other_decisions(self._job)
        target = self._action(row, decision).target or ""
        is_duplicate = row.same_as is not None and self._job.duplicate is not None
        removal = self._removal(row)
        count.add(removal, verdict=decision.verdict, rule=decision.rule, target=target, is_duplicate=is_duplicate)
        return removal

    def _action(self, row: StoredImage, decision: Decision) -> Action:
        return self._outcomes.effects.action(decision, is_duplicate=row.same_as is not None)

    async def _pages(self) -> AsyncIterator[Sequence[tuple[StoredImage, Removal | None]]]:
        """Pending images, except those whose verdict newer answers change."""
        after_seq = self._spared = 0
        while not self._which.is_empty:
            page = await self._checkpoint.pending_removals(self._which, after_seq, WAVE_IMAGES)
            if not page:
                return
            after_seq = page[-1][0].seq or 0
            kept = [pair for pair in page if pair[0].id not in self._changes.ids]
            self._spared += len(page) - len(kept)
            yield kept

    # -- Waves ---------------------------------------------------------------------------------------------------------

    async def waves(self, stages: RemovalStages) -> AsyncGenerator[list[RemovalItem], None]:
        """Pending images in order of examination."""
        self._stages = stages
        self._recovery = Recovery(stages, self._state)
        await self._changes.take_over(stages.watermark)
        # First, because a new removal of the same image would replace what the journal holds of the abandoned one.
        await self._recovery.settle_abandoned(self._checkpoint, self._is_wanted, self._change)
        async for page in self._pages():
            items = [self._item(row, recorded) for row, recorded in page]
            await self._check_targets(items)
            await self._duplicates.fetch(row for row, _ in page)
            yield items

    def _item(self, row: StoredImage, recorded: Removal | None) -> RemovalItem:
        wanted = self._removal(row)
        if recorded is None or recorded.step not in UNDER_WAY:
            return RemovalItem(removal=wanted, recorded=None, row=row)
        item = resumed(recorded, row)
        if aim(recorded) != aim(wanted):
            message = f"{uri_of(self._bucket, row.key)}: the state of an earlier removal of it cannot be determined now"
            item.error = TransientError(message, may_be_billed=False)
        return item

    def _is_wanted(self, recorded: Removal, row: StoredImage | None) -> bool:
        """Whether the job requires exactly the removal that the journal holds."""
        if row is None or row.seq is None or row.failure is not None or row.decision is None:
            return False
        if row.id in self._changes.ids:
            return False
        is_covered = self._which.covers(row.decision.verdict, is_duplicate=row.same_as is not None)
        return is_covered and aim(self._removal(row)) == aim(recorded)

    def _removal(self, row: StoredImage) -> Removal:
        """The removal that the job requires; without a target when it is a move whose target cannot be computed."""
        effect, kind = self._outcomes.as_stored(row).effect, ActionKind.DELETE
        if row.decision is not None:
            kind = self._action(row, row.decision).kind
        target = effect.target.uri if effect is not None and effect.target is not None else ""
        return Removal(image=row.id, key=row.key, etag=row.etag, size_bytes=row.size_bytes, kind=kind, target=target)

    async def _check_targets(self, items: list[RemovalItem]) -> None:
        """Check that no two images have one target: the first that claims it gets it, the other fails and stays."""
        claims: dict[str, str] = {}
        moves = [item for item in items if item.removal.kind is ActionKind.MOVE]
        owners = await self._checkpoint.owners([item.removal.target for item in moves if item.removal.target])
        for item in moves:
            removal = item.removal
            if not removal.target:
                item.error = self._targetless(item)
                continue
            owner = owners.get(removal.target)
            key = owner.key if owner is not None else claims.setdefault(removal.target, removal.key)
            if key != removal.key:
                message = f"{removal.target} belongs to another image: {key}"
                item.error = ImageError(message, code="target_collision")

    def _targetless(self, item: RemovalItem) -> ImageError:
        """The reason why the target of a move cannot be computed."""
        failure = self._outcomes.as_stored(item.row).failure if item.row is not None else None
        if failure is None:
            return ImageError(f"{item.removal.key}: the move has no target", code="target_empty")
        return ImageError(failure.message, code=failure.code)

    # -- Stages --------------------------------------------------------------------------------------------------------

    async def carry_out(self, stages: RemovalStages, items: list[RemovalItem]) -> None:
        """Run all stages on one wave."""
        await stages.each(items, self._check_image)
        await stages.note(items, self._change)
        # The line above announces the removals: nothing is written to the store before that commit.
        await stages.each(_at(items, Step.STARTED, ActionKind.MOVE), self._copy)
        await stages.note(items, self._change)
        await stages.each(_at(items, Step.COPIED, ActionKind.MOVE), self._verify)
        await stages.note(items, self._change)
        # VERIFIED is durable before a move deletes: at any earlier step of the journal, the image was certainly not
        # deleted.
        deletes, moves = _at(items, Step.STARTED, ActionKind.DELETE), _at(items, Step.VERIFIED, ActionKind.MOVE)
        await self._delete([*deletes, *moves])
        await stages.note(items, self._change)
        stages.count(items, lambda item: item.removal.kind.value if item.removal.step is Step.DELETED else None)

    async def _check_image(self, item: RemovalItem) -> None:
        """Check that the image is the one that was examined, before its removal is written to the journal."""
        if not await self._recovery.is_untouched(item):
            return
        if item.row is not None:
            await self._duplicates.check(item.row, self._recovery.found, self._same_content)
        if item.removal.step in {Step.COPIED, Step.VERIFIED}:
            # Time has passed since the copy was made: the image is deleted only when the copy is still there. The
            # journal may be somebody else's, so its word that this object is the copy is not enough.
            is_copied = await self._is_copied(item.removal) and await self._stages.is_copy(item, item.removal.etag)
            item.advance(Step.COPIED if is_copied else Step.STARTED)

    async def _same_content(self, image: ObjectRef, original: ObjectRef) -> bool:
        return await self._stages.repeat(lambda: self._stages.remover.same_content(image, original))

    async def _is_copied(self, removal: Removal) -> bool:
        found = await self._recovery.found(location(removal.target))
        return found == ObjectState(etag=removal.copied, size_bytes=removal.size_bytes)

    async def _copy(self, item: RemovalItem) -> None:
        removal = item.removal
        effect = Effect(
            kind=ActionKind.COPY,
            source=_object(self._bucket, item),
            target=location(removal.target),
            if_exists=self._if_exists(item),
        )
        effect = effect if item.row is None else with_hash(effect, item.row.detection)

        async def attempt() -> None:
            try:
                copied = await self._stages.remover.copy(effect)
            except (TransientError, ThrottledError) as error:
                # The next attempt may find the copy of this one at the target, which is then not a foreign object.
                item.may_be_copied = item.may_be_copied or may_be_done(error)
                raise
            if (
                not copied.is_new
                and is_in_doubt(effect, copied.etag)
                and await self._stages.equal_object(effect) is None
            ):
                message = f"{removal.target}: the target has another object with the same checksum"
                raise ImageError(message, code="target_exists")
            is_foreign = not (copied.is_new or item.may_be_copied)
            item.advance(Step.COPIED, copied=copied.etag, is_foreign=is_foreign)

        try:
            await self._stages.repeat(attempt)
        except ImageError as error:
            etag = None
            if error.code == "target_exists" and item.may_be_copied:
                etag = await self._stages.equal_object(effect)
            if etag is None:
                raise
            item.advance(Step.COPIED, copied=etag)

    def _if_exists(self, item: RemovalItem) -> IfExists:
        """A move never skips: the object at its target must be the image's copy, or the image stays in the source."""
        decision = item.row.decision if item.row is not None else None
        if_exists = IfExists.FAIL
        if item.row is not None and decision is not None:
            if_exists = self._action(item.row, decision).if_exists
        return if_exists if if_exists is IfExists.OVERWRITE else IfExists.FAIL

    async def _verify(self, item: RemovalItem) -> None:
        if not await self._is_copied(item.removal):
            message = f"{item.removal.target}: the object there is not the copy that was made"
            raise ImageError(message, code="not_verified")
        item.advance(Step.VERIFIED)

    async def _delete(self, items: list[RemovalItem]) -> None:
        deleted = await self._stages.delete(self._bucket, items, _delete_request)
        for item in items:
            if item.removal.image in deleted:
                item.advance(Step.DELETED, marker=deleted[item.removal.image].marker)
        unseen = [item for item in items if item.may_be_deleted and item.failed_as("vanished", "changed")]
        for item in unseen:
            # An earlier request of ours may have deleted them: check before another program counts as the cause.
            item.error = None
        await self._stages.each(unseen, self._check_image)

    # -- What follows --------------------------------------------------------------------------------------------------

    def _change(self, item: RemovalItem, batch: Batch) -> None:
        row, tally = item.row, self._stages.watermark.tally
        if isinstance(item.error, ImageError):
            if item.error.access and item.may_be_deleted:
                return  # without s3:ListBucket a deleted object gives 403: the removal stays unresolved
            failure = Failure(item.error.code, item.error.message)
            if item.recorded is not None:
                item.fail(failure)
                batch.removals.append(item.removal)
            if row is not None and row.decision is not None:
                batch.failures.append((row.id, failure))
                tally.count_failed_action(row.decision.verdict, failure.code)
            return
        batch.removals.append(item.removal)
        if item.removal.step is Step.DELETED and row is not None:
            batch.effects.append((row.id, DoneEffect(item.removal.kind, item.removal.target)))
            if row.seq is not None:
                tally.count_effect(item.removal.kind)


def _at(items: list[RemovalItem], step: Step, kind: ActionKind) -> list[RemovalItem]:
    return [item for item in items if item.removal.step is step and item.removal.kind is kind]


def _object(bucket: str, item: RemovalItem) -> ObjectRef:
    removal = item.removal
    return ObjectRef(bucket=bucket, key=removal.key, size_bytes=removal.size_bytes, etag=removal.etag, seq=seq_of(item))


def _delete_request(item: RemovalItem) -> DeleteRequest:
    return DeleteRequest(key=item.removal.key, etag=item.removal.etag, size_bytes=item.removal.size_bytes)
