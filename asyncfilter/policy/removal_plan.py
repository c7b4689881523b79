"""Removal plans: what ``apply`` or ``undo`` would do, the user's consent, and the result."""

from __future__ import annotations

import hashlib
import shlex
from bisect import insort
from fractions import Fraction

import msgspec

from asyncfilter import notebook
from asyncfilter.errors import UsageError
from asyncfilter.model import ActionKind, StopReason, Verdict
from asyncfilter.policy.removal_places import OTHER_PLACES, PlaceUse
from asyncfilter.policy.removal_query import RestoreMethod
from asyncfilter.records.removal import BucketState, Removal

DEFAULT_MAX_SHARE = 0.5
"""The highest share of the examined images that may leave the source without ``--max-share``."""

SAMPLE_KEYS = 5

_RESTORING = {
    RestoreMethod.MARKER: "remove the delete marker",
    RestoreMethod.COPY: "copy back",
    RestoreMethod.NONE: "cannot be brought back",
}


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Images of a plan with the same reason.

    Attributes:
        verdict: None in a plan to undo.
        rule: Index of the rule that decided, from 0; None for ``otherwise``.
        kind: Move or delete.
        target: The template of a move, empty for a delete; in a plan to undo, how they are restored.
        is_duplicate: True for images that are removed because an earlier one has the same content.
        sample: A few keys, drawn by their hash, so that each plan of the same images shows the same ones.
    """

    verdict: Verdict | None = None
    rule: int | None = None
    kind: ActionKind
    target: str = ""
    images: int
    size_bytes: int
    sample: tuple[str, ...]
    is_duplicate: bool = False

    @property
    def reason(self) -> str:
        """The verdict and what decided it, as in the job file: ``reject, rules[0]``."""
        if self.verdict is None:
            return self.kind.value
        decided = "otherwise" if self.rule is None else f"rules[{self.rule}]"
        return f"{self.verdict.value}, {'duplicate' if self.is_duplicate else decided}"

    @property
    def action(self) -> str:
        """The action on the images, as a short text."""
        if self.verdict is None:
            return _RESTORING[RestoreMethod(self.target)]
        return f"{self.kind.value} to {self.target}" if self.target else self.kind.value


class RemovalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``apply`` would do, or ``undo``.

    Attributes:
        images: Number of its images; the user confirms this number.
        lost: Removed images that undo cannot bring back.
        removed: Images that left the source before; ``examined`` is the number they are a share of.
        under_way: Of ``images``, the ones that an interrupted process began.
        undone: Of ``images``, the ones that were brought back before; ``held_back`` were too, and are not proposed.
        listing_done: False while the source was not examined to its end.
        state: What deleting means there.
        is_removal: False for a plan to undo.
        is_stale: True for a plan about copies that the rules no longer make: ``images`` and ``examined`` count copies.
        digest: Changes with any change to the plan.
        new_answers: Answers of people on which no run or refilter has acted yet.
        spared: Images that would leave, if these answers did not say something else about them.
        places: Where images or copies would be deleted or written; nothing is done while one is not covered.
    """

    name: str
    source: str
    is_removal: bool
    is_stale: bool = False
    groups: tuple[Group, ...]
    images: int
    size_bytes: int
    lost: tuple[Group, ...] = ()
    removed: int = 0
    examined: int = 0
    under_way: int = 0
    undone: int = 0
    held_back: int = 0
    listing_done: bool = True
    state: BucketState
    digest: str
    places: tuple[PlaceUse, ...] = ()
    new_answers: int = 0
    spared: int = 0

    @property
    def uncovered(self) -> tuple[PlaceUse, ...]:
        """The places that neither the job names nor the user allowed."""
        return tuple(use for use in self.places if not use.is_covered)

    @property
    def share(self) -> float:
        """Share of the examined images that would be out of the source, 0 to 1."""
        return (self.removed + self.images) / self.examined if self.examined else 0.0

    def exceeds(self, max_share: float) -> bool:
        """Whether more than ``max_share`` of the examined images would be out of the source, counted exactly."""
        return (
            self.is_removal
            and bool(self.images)
            and self.removed + self.images > Fraction(str(max_share)) * self.examined
        )

    def _repr_html_(self) -> str:
        """For notebooks: a row for each group, those that cannot come back last."""
        what = (
            "copies to delete of" if self.is_stale else "images to leave" if self.is_removal else "images to return to"
        )
        share = f", {100 * self.share:.1f} % with those removed before" if self.is_removal else ""
        rows = [
            (group.reason, group.images, group.size_bytes, group.action, ", ".join(group.sample))
            for group in (*self.groups, *self.lost)
        ]
        caption = f"{self.name}: {self.images:,} {what} {self.source}{share}"
        return notebook.table(caption, rows, head=("reason", "images", "bytes", "action", "such as"))


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """The consent of a user to a plan.

    Attributes:
        images: Number of images; nothing is done unless exactly as many are pending.
        max_share: The highest share of the examined images that may be out of the source, 0 to 1.
        digest: Of the plan that was shown; None when only its number was agreed to.
    """

    images: int
    max_share: float = DEFAULT_MAX_SHARE
    digest: str | None = None

    def check(self, plan: RemovalPlan) -> None:
        """Check that ``plan`` is what was agreed to.

        Raises:
            UsageError: It is about other images, takes out too many, or writes where the job does not.
        """
        if plan.uncovered:
            raise _uncovered(plan)
        what = "copies" if plan.is_stale else "images"
        if self.images != plan.images or self.digest not in {None, plan.digest}:
            others = ", and not as they were shown" if self.images == plan.images else ""
            raise UsageError(
                f"{self.images} {what} were agreed to, {plan.images} are pending{others}: nothing was done",
                hint="Show the plan again (--dry-run) and confirm it.",
            )
        if plan.exceeds(self.max_share):
            whole, place = ("copies", "deleted") if plan.is_stale else ("examined images", "out of the source")
            raise UsageError(
                f"{plan.removed + plan.images} of {plan.examined} {whole} ({100 * plan.share:.1f} %) would be "
                f"{place}, more than the {100 * self.max_share:g} % allowed: nothing was done",
                hint="Check the rules; --max-share allows more.",
            )


def _uncovered(plan: RemovalPlan) -> UsageError:
    images = sum(use.images for use in plan.uncovered)
    names = ", ".join(use.place for use in plan.uncovered)
    example = next((use.place for use in plan.uncovered if use.place != OTHER_PLACES), "PLACE")
    return UsageError(
        f"images or copies ({images}) would be written or deleted in places that the job does not name for it: "
        f"{names}: nothing was done",
        hint="The job's actions may have been changed, or the checkpoint is not yours. If you know a place, allow it: "
        f"--allow-place {shlex.quote(example)}",
    )


class GroupCount:
    """Counts images by reason, in memory that does not grow with their number.

    Args:
        state: What deleting means in their bucket; part of what a user agrees to.
    """

    def __init__(self, state: BucketState) -> None:
        self.images = 0
        self.size_bytes = 0
        self._groups: dict[tuple[Verdict | None, int | None, ActionKind, str, bool], _Sums] = {}
        self._digest = hashlib.blake2b(repr(state).encode(), digest_size=16)

    def add(
        self,
        removal: Removal,
        *,
        verdict: Verdict | None = None,
        rule: int | None = None,
        target: str = "",
        is_duplicate: bool = False,
    ) -> None:
        """Count one image; ``target`` is the target that its group shows."""
        sums = self._groups.setdefault((verdict, rule, removal.kind, target, is_duplicate), _Sums())
        sums.add(removal.key, removal.size_bytes)
        self.images += 1
        self.size_bytes += removal.size_bytes
        self._digest.update(repr((removal.image, removal.key, removal.etag, removal.kind, removal.target)).encode())

    @property
    def digest(self) -> str:
        """Digest of the state, and of every image counted, in order."""
        return self._digest.hexdigest()

    def groups(self) -> tuple[Group, ...]:
        """Largest first."""
        found = [
            Group(
                verdict=verdict,
                rule=rule,
                kind=kind,
                target=target,
                images=sums.images,
                size_bytes=sums.size_bytes,
                sample=tuple(key for _, key in sums.sample),
                is_duplicate=is_duplicate,
            )
            for (verdict, rule, kind, target, is_duplicate), sums in self._groups.items()
        ]
        return tuple(sorted(found, key=lambda group: -group.images))


class _Sums:
    """Figures of one group."""

    __slots__ = ("images", "sample", "size_bytes")

    def __init__(self) -> None:
        self.images = 0
        self.size_bytes = 0
        self.sample: list[tuple[bytes, str]] = []

    def add(self, key: str, size_bytes: int) -> None:
        self.images += 1
        self.size_bytes += size_bytes
        drawn = (hashlib.blake2b(key.encode(), digest_size=8).digest(), key)
        if len(self.sample) < SAMPLE_KEYS or drawn < self.sample[-1]:
            insort(self.sample, drawn)
            del self.sample[SAMPLE_KEYS:]


class RemovalSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of ``apply`` or ``undo``.

    Attributes:
        planned: Images that were confirmed.
        deleted: Images out of the source; ``moved`` with a copy elsewhere.
        restored: Images that ``undo`` brought back.
        cleared: Copies deleted that the rules no longer make.
        failed: Images that were left as they were, by cause.
        left: Images that were not reached; the same command continues with them.
        new_answers: Answers of people on which no run or refilter had acted: what they alone reject waits for one.
    """

    run_id: str
    name: str
    stop_reason: StopReason
    planned: int
    deleted: int = 0
    moved: int = 0
    restored: int = 0
    cleared: int = 0
    failed: dict[str, int] = {}
    left: int = 0
    new_answers: int = 0
    size_bytes: int = 0
    wall_s: float = 0.0
    checkpoint: str = ""
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0

    def _repr_html_(self) -> str:
        """For notebooks: what was done, and what remains."""
        done = ("moved", "deleted", "restored", "cleared", "left")
        rows = [
            ("error", self.error),
            ("hint", self.hint),
            ("planned", self.planned),
            *((name, getattr(self, name) or None) for name in done),
            ("failed", self.failed),
            ("bytes", self.size_bytes),
            ("time", notebook.duration(self.wall_s)),
            ("checkpoint", self.checkpoint),
        ]
        return notebook.table(f"{self.name}: {self.stop_reason.value}", rows)
