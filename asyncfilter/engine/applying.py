"""``apply``: takes out of the source what the decisions condemn, after somebody confirmed how much that is.

The way of one image: looked at, announced in the journal, for a move copied and the copy verified, deleted on condition
of the ETag that was examined, confirmed. What changed or vanished since it was examined is left and reported.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from asyncfilter.engine.originals import Originals
from asyncfilter.engine.plan import Plan, image_of
from asyncfilter.engine.removal import (
    WAVE_IMAGES,
    Item,
    Stages,
    may_be_done,
    other_decisions,
    seq_of,
)
from asyncfilter.engine.repeating import DrainedError
from asyncfilter.errors import ImageError, PermissionDeniedError, ThrottledError, TransientError
from asyncfilter.job.fingerprint import decided_by
from asyncfilter.job.spec import Action, Job
from asyncfilter.model import ActionKind, Decision, Effect, Failure, IfExists, ObjectRef, S3Location, location, uri_of
from asyncfilter.policy.removal import (
    NULL_VERSION,
    REMOVING,
    UNDER_WAY,
    BucketState,
    GroupCount,
    Removal,
    RemovalPlan,
    Step,
    Versioning,
    condemnation,
)
from asyncfilter.policy.rules import compile_rules
from asyncfilter.ports import Batch, Checkpoint, Condemned, DoneEffect, Found, StoredImage, Version

ABANDONED = Failure("abandoned", "begun and not finished; the job no longer removes it")


class Apply:
    """Moves and deletes what is pending.

    Args:
        job: Whose decisions.
        checkpoint: Holds them.
        state: What deleting means in the source.
        again: Propose also what was undone under these same decisions.
    """

    def __init__(self, job: Job, checkpoint: Checkpoint, state: BucketState, *, again: bool = False) -> None:
        self._job = job
        self._checkpoint = checkpoint
        self._state = state
        self._which = condemnation(job, None if again else decided_by(job))
        self._plan = Plan(job, REMOVING)
        self._originals = Originals(job, checkpoint)
        self._rules = compile_rules(job)
        self._bucket = job.source.bucket

    async def plan(self) -> RemovalPlan:
        """What is pending. Every decision is made once more from the stored labels: none is taken on trust.

        Raises:
            UsageError: The stored decisions are not those of the job as it is now.
        """
        if self._checkpoint.opened.decided_by != decided_by(self._job):
            raise other_decisions(self._job)
        count = GroupCount(self._state)
        under_way = undone = 0
        async for page in self._pages():
            for row, kept in page:
                self._count(count, row)
                under_way += kept is not None and kept.step in UNDER_WAY
                undone += kept is not None and kept.step is Step.UNDONE
        watermark = self._checkpoint.opened.watermark
        tally = watermark.tally
        everything = 0 if self._which.is_empty else await self._checkpoint.count_condemned(condemnation(self._job))
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
            held_back=everything - count.images,
            listing_done=watermark.listing_done,
            state=self._state,
            digest=count.digest,
        )

    def _count(self, count: GroupCount, row: StoredImage) -> None:
        decision = row.decision
        if decision is None or (row.detection is not None and self._rules.decide(row.detection) != decision):
            raise other_decisions(self._job)
        target = self._action(row, decision).target or ""
        is_duplicate = row.same_as is not None and self._job.duplicate is not None
        count.add(
            self._removal(row), verdict=decision.verdict, rule=decision.rule, target=target, is_duplicate=is_duplicate
        )

    def _action(self, row: StoredImage, decision: Decision) -> Action:
        return self._plan.action(decision, is_duplicate=row.same_as is not None)

    async def _pages(self) -> AsyncIterator[Sequence[tuple[StoredImage, Removal | None]]]:
        after_seq = 0
        while not self._which.is_empty:
            page = await self._checkpoint.condemned(self._which, after_seq, WAVE_IMAGES)
            if not page:
                return
            after_seq = page[-1][0].seq or 0
            yield page

    # -- Waves ---------------------------------------------------------------------------------------------------------

    async def waves(self, stages: Stages) -> AsyncGenerator[list[Item], None]:
        """Pending images in order of examination."""
        await self._settle_strays(stages)
        async for page in self._pages():
            items = [self._item(row, kept) for row, kept in page]
            await self._check_targets(items)
            await self._originals.fetch(row for row, _ in page)
            yield items

    def _item(self, row: StoredImage, kept: Removal | None) -> Item:
        wanted = self._removal(row)
        if kept is None or kept.step not in UNDER_WAY:
            return Item(removal=wanted, kept=None, row=row)
        item = _resumed(kept, row)
        if _aim(kept) != _aim(wanted):
            message = f"{uri_of(self._bucket, row.key)}: what was begun with it cannot be found out now"
            item.error = TransientError(message, may_be_billed=False)
        return item

    def _removal(self, row: StoredImage) -> Removal:
        effect, kind = self._effect(row), ActionKind.DELETE
        if row.decision is not None:
            kind = self._action(row, row.decision).kind
        target = effect.target.uri if effect is not None and effect.target is not None else ""
        return Removal(image=row.id, key=row.key, etag=row.etag, size_bytes=row.size_bytes, kind=kind, target=target)

    def _effect(self, row: StoredImage) -> Effect | None:
        if row.decision is None:
            return None
        try:
            return self._plan.effect(row.decision, image_of(self._bucket, row), is_duplicate=row.same_as is not None)
        except ImageError:
            return None

    async def _check_targets(self, items: list[Item]) -> None:
        """Two images never share a target: whoever claims it first has it, the other stays where it is."""
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

    def _targetless(self, item: Item) -> ImageError:
        try:
            if item.row is not None and item.row.decision is not None:
                self._plan.effect(
                    item.row.decision, image_of(self._bucket, item.row), is_duplicate=item.row.same_as is not None
                )
        except ImageError as error:
            return error
        return ImageError(f"{item.removal.key}: the move has no target", code="target_empty")

    # -- What interrupted processes left -------------------------------------------------------------------------------

    async def _settle_strays(self, stages: Stages) -> None:
        """Find out what became of removals that were begun and are not wanted any more; nothing is removed."""
        self._stages = stages
        after_image = 0
        while page := await self._checkpoint.removals(sorted(UNDER_WAY), after_image, WAVE_IMAGES):
            after_image = page[-1][0].image
            strays = [_resumed(kept, row) for kept, row in page if not self._is_wanted(kept, row)]
            await stages.each(strays, self._find_out)
            await stages.note(strays, self._change)

    def _is_wanted(self, kept: Removal, row: StoredImage | None) -> bool:
        if row is None or row.seq is None or row.failure is not None or row.decision is None:
            return False
        wanted = self._removal(row)
        is_covered = self._which.covers(row.decision.verdict, is_duplicate=row.same_as is not None)
        return is_covered and _aim(wanted) == _aim(kept)

    async def _find_out(self, item: Item) -> None:
        failure = ABANDONED
        try:
            found = await self._seen(item)
            if not _is_same(found, item.removal):
                await self._missed(item, found)
        except ImageError as error:
            if error.access:
                raise DrainedError from error  # it cannot be found out now
            failure = Failure(error.code, error.message)
        if item.removal.step is not Step.DELETED:
            item.give_up(failure)

    # -- Stages --------------------------------------------------------------------------------------------------------

    async def carry_out(self, stages: Stages, items: list[Item]) -> None:
        """Take a wave through all its stages."""
        self._stages = stages
        await stages.each(items, self._look)
        await stages.note(items, self._change)
        await stages.each(_at(items, Step.STARTED, ActionKind.MOVE), self._copy)
        await stages.note(items, self._change)
        await stages.each(_at(items, Step.COPIED, ActionKind.MOVE), self._verify)
        await stages.note(items, self._change)
        deletes, moves = _at(items, Step.STARTED, ActionKind.DELETE), _at(items, Step.VERIFIED, ActionKind.MOVE)
        await self._delete([*deletes, *moves])
        await stages.note(items, self._change)
        stages.count(items, lambda item: item.removal.kind.value if item.removal.step is Step.DELETED else None)

    async def _seen(self, item: Item) -> Found | None:
        return await self._found(self._stages.source(item.removal))

    async def _found(self, place: S3Location) -> Found | None:
        return await self._stages.repeat(lambda: self._stages.remover.look(place))

    async def _look(self, item: Item) -> None:
        """See that the image is the one examined, before anything announces that it may be touched."""
        found = await self._seen(item)
        if not _is_same(found, item.removal):
            await self._missed(item, found)
            return
        if item.row is not None:
            await self._originals.check(item.row, self._found)
        if item.removal.step in {Step.COPIED, Step.VERIFIED}:
            # Time has passed since the copy was made: only one that stands now lets the image go.
            item.advance(Step.COPIED if await self._is_copied(item.removal) else Step.STARTED)

    async def _is_copied(self, removal: Removal) -> bool:
        return await self._found(location(removal.target)) == Found(etag=removal.copied, size_bytes=removal.size_bytes)

    async def _copy(self, item: Item) -> None:
        removal = item.removal
        effect = Effect(
            kind=ActionKind.COPY,
            source=_object(self._bucket, item),
            target=location(removal.target),
            if_exists=self._if_exists(item),
        )

        async def attempt() -> None:
            try:
                copied = await self._stages.remover.copy(effect)
            except (TransientError, ThrottledError) as error:
                item.may_be_copied = item.may_be_copied or may_be_done(error)
                raise
            is_foreign = not (copied.is_new or item.may_be_copied)
            item.advance(Step.COPIED, copied=copied.etag, is_foreign=is_foreign)

        await self._stages.repeat(attempt)

    def _if_exists(self, item: Item) -> IfExists:
        """A move never skips: what stands at its target must be the image, or the image stays in the source."""
        decision = item.row.decision if item.row is not None else None
        asked = IfExists.FAIL
        if item.row is not None and decision is not None:
            asked = self._action(item.row, decision).if_exists
        return asked if asked is IfExists.OVERWRITE else IfExists.FAIL

    async def _verify(self, item: Item) -> None:
        if not await self._is_copied(item.removal):
            message = f"{item.removal.target}: what stands there is not the copy that was made"
            raise ImageError(message, code="not_verified")
        item.advance(Step.VERIFIED)

    async def _delete(self, items: list[Item]) -> None:
        gone = await self._stages.delete(self._bucket, items, _condemned)
        for item in items:
            if item.removal.image in gone:
                item.advance(Step.DELETED, marker=gone[item.removal.image].marker)
        unseen = [item for item in items if item.may_be_gone and item.failed_as("vanished", "changed")]
        for item in unseen:
            item.error = None
        await self._stages.each(unseen, self._look)

    async def _missed(self, item: Item, found: Found | None) -> None:
        """The image is not there as it was: by us, when a delete may have been sent, or by somebody else.

        In a versioned bucket the delete marker right above the image tells; elsewhere, that nothing stands there.

        Raises:
            ImageError: ``vanished`` or ``changed``, by somebody else.
        """
        where = self._stages.source(item.removal).uri
        if item.may_be_gone:
            marker = await self._marker(item)
            if marker or (found is None and self._state.versioning is not Versioning.ON):
                item.advance(Step.DELETED, marker=marker)
                return
        if found is None:
            raise ImageError(f"{where}: deleted since it was examined", code="vanished")
        seen = f"ETag {item.removal.etag}, now {found.etag}"
        raise ImageError(f"{where}: replaced since it was examined ({seen})", code="changed")

    async def _marker(self, item: Item) -> str:
        """Version id of the delete marker right above the image that was examined; empty when there is none."""
        if self._state.versioning is Versioning.OFF:
            return ""
        place = self._stages.source(item.removal)
        try:
            versions = await self._stages.repeat(lambda: self._stages.remover.versions(place))
        except PermissionDeniedError:
            if self._state.versioning is Versioning.UNKNOWN:
                return ""
            raise
        ours = next((at for at, one in enumerate(versions) if one.etag == item.removal.etag), 0)
        above = versions[ours - 1] if ours else None
        if above is not None and above.is_marker:
            return above.id
        return NULL_VERSION if versions and versions[0] == Version(id=NULL_VERSION, is_marker=True) else ""

    # -- What follows --------------------------------------------------------------------------------------------------

    def _change(self, item: Item, batch: Batch) -> None:
        row, tally = item.row, self._stages.watermark.tally
        if isinstance(item.error, ImageError):
            if item.error.access and item.may_be_gone:
                return  # without s3:ListBucket what is gone looks forbidden: it stays open
            failure = Failure(item.error.code, item.error.message)
            if item.kept is not None:
                item.give_up(failure)
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


def _resumed(kept: Removal, row: StoredImage | None) -> Item:
    """An image that an earlier process had begun with, and may have got further than it could note."""
    is_move = kept.kind is ActionKind.MOVE
    return Item(
        removal=kept,
        kept=kept,
        row=row,
        may_be_copied=is_move and kept.step is Step.STARTED,
        may_be_gone=kept.step is (Step.VERIFIED if is_move else Step.STARTED),
    )


def _at(items: list[Item], step: Step, kind: ActionKind) -> list[Item]:
    return [item for item in items if item.removal.step is step and item.removal.kind is kind]


def _aim(removal: Removal) -> tuple[str, ActionKind, str]:
    return removal.etag, removal.kind, removal.target


def _object(bucket: str, item: Item) -> ObjectRef:
    removal = item.removal
    return ObjectRef(bucket=bucket, key=removal.key, size_bytes=removal.size_bytes, etag=removal.etag, seq=seq_of(item))


def _condemned(item: Item) -> Condemned:
    return Condemned(key=item.removal.key, etag=item.removal.etag, size_bytes=item.removal.size_bytes)


def _is_same(found: Found | None, removal: Removal) -> bool:
    return found == Found(etag=removal.etag, size_bytes=removal.size_bytes)
