"""What leaves the source and what can come back, and the arithmetic of a plan that people confirm."""

from __future__ import annotations

import hashlib
from bisect import insort
from enum import StrEnum
from fractions import Fraction

import msgspec

from asyncfilter import notebook
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, StopReason, Verdict
from asyncfilter.records.removal import (
    CLAIMING,
    NULL_VERSION,
    REMOVED,
    REMOVING,
    UNDER_WAY,
    BucketState,
    Removal,
    Step,
    Versioning,
)

__all__ = [
    "CLAIMING",
    "DEFAULT_MAX_SHARE",
    "NULL_VERSION",
    "REMOVED",
    "REMOVING",
    "SAMPLE_KEYS",
    "UNDER_WAY",
    "BucketState",
    "Condemnation",
    "Consent",
    "Group",
    "GroupCount",
    "Removal",
    "RemovalPlan",
    "RemovalSummary",
    "Step",
    "Versioning",
    "WayBack",
    "condemnation",
    "way_back",
]
# The names of records/removal stand here only until every import names that module.

DEFAULT_MAX_SHARE = 0.5
"""More than this share of the examined images leaves the source only when the user says so."""

SAMPLE_KEYS = 5


class WayBack(StrEnum):
    """How a removed image comes back."""

    MARKER = "marker"
    COPY = "copy"
    NONE = "none"


def way_back(removal: Removal, state: BucketState) -> WayBack:
    """The way with the fewest changes: a delete marker that is removed leaves the image exactly as it was.

    A marker of the version ``null`` is left alone: whatever is written in its place would be removed for good.
    """
    if removal.marker not in {"", NULL_VERSION} and not state.mfa_delete:
        return WayBack.MARKER
    return WayBack.COPY if removal.kind is ActionKind.MOVE else WayBack.NONE


class Condemnation(msgspec.Struct, frozen=True, kw_only=True):
    """Which decided images are to leave the source.

    Attributes:
        verdicts: Images decided so.
        duplicates: Of images whose content an earlier one has: all, none, or (None) those decided so.
        settled_by: Fingerprint of decisions; images that were undone under these stay. None to have them too.
    """

    verdicts: tuple[Verdict, ...]
    duplicates: bool | None = None
    settled_by: str | None = None

    @property
    def is_empty(self) -> bool:
        """True when it covers no image whatever."""
        return not self.verdicts and not self.duplicates

    def covers(self, verdict: Verdict, *, is_duplicate: bool) -> bool:
        """Whether an image decided so is to leave."""
        if is_duplicate and self.duplicates is not None:
            return self.duplicates or False
        return verdict in self.verdicts


def condemnation(job: Job, settled_by: str | None = None) -> Condemnation:
    """What the actions of a job take out of the source."""
    duplicates = None if job.duplicate is None else job.duplicate.kind in REMOVING
    return Condemnation(
        verdicts=tuple(verdict for verdict, action in job.actions.items() if action.kind in REMOVING),
        duplicates=False if job.source.skip_duplicates else duplicates,
        settled_by=settled_by,
    )


# -- Plans -------------------------------------------------------------------------------------------------------------

_RESTORING = {
    WayBack.MARKER: "remove the delete marker",
    WayBack.COPY: "copy back",
    WayBack.NONE: "cannot be brought back",
}


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Images of a plan that share a reason.

    Attributes:
        verdict: None in a plan to undo.
        rule: Index of the rule that decided, from 0; None for ``otherwise``.
        kind: Move or delete.
        target: The template of a move, empty for a delete; in a plan to undo the way back.
        is_duplicate: True for images that go because an earlier one has the same content.
        sample: A few keys, drawn by their hash: the same ones whenever the plan is made.
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
        """What decided, as the job file names it: ``reject, rules[0]``."""
        if self.verdict is None:
            return self.kind.value
        decided = "otherwise" if self.rule is None else f"rules[{self.rule}]"
        return f"{self.verdict.value}, {'duplicate' if self.is_duplicate else decided}"

    @property
    def action(self) -> str:
        """What is done with the images, in a few words."""
        if self.verdict is None:
            return _RESTORING[WayBack(self.target)]
        return f"{self.kind.value} to {self.target}" if self.target else self.kind.value


class RemovalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What ``apply`` would do, or ``undo``.

    Attributes:
        images: How many images it is about: the number a user confirms.
        lost: Removed images that undo cannot bring back.
        removed: Images that left the source before; ``examined`` is the whole they are a share of.
        under_way: Of ``images``, the ones that an interrupted process had begun.
        undone: Of ``images``, the ones that were brought back before; ``held_back`` were too, and are not proposed.
        listing_done: False while the source was not examined to its end.
        state: What deleting means there.
        is_removal: False for a plan to undo.
        is_stale: True for a plan about copies that the rules no longer make: ``images`` and ``examined`` count copies.
        digest: Differs when anything about the plan does.
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

    @property
    def share(self) -> float:
        """Part of the examined images that would be out of the source, 0 to 1."""
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
    """What somebody agreed to.

    Attributes:
        images: How many images: exactly as many as are pending, or nothing is done.
        max_share: The most of the examined images that may be out of the source, 0 to 1.
        digest: Of the plan that was shown; None when only its number was agreed to.
    """

    images: int
    max_share: float = DEFAULT_MAX_SHARE
    digest: str | None = None

    def check(self, plan: RemovalPlan) -> None:
        """See that ``plan`` is what was agreed to.

        Raises:
            UsageError: It is about other images, or takes out too many.
        """
        what = "copies" if plan.is_stale else "images"
        if self.images != plan.images or self.digest not in {None, plan.digest}:
            others = ", and not as they were shown" if self.images == plan.images else ""
            raise UsageError(
                f"{self.images} {what} were agreed to, {plan.images} are pending{others}: nothing was done",
                hint="Look at the plan again (--dry-run) and agree to it.",
            )
        if plan.exceeds(self.max_share):
            whole, place = ("copies", "deleted") if plan.is_stale else ("examined images", "out of the source")
            raise UsageError(
                f"{plan.removed + plan.images} of {plan.examined} {whole} ({100 * plan.share:.1f} %) would be "
                f"{place}, more than the {100 * self.max_share:g} % allowed: nothing was done",
                hint="Check the rules; --max-share allows more.",
            )


class GroupCount:
    """Counts images by reason, in memory that does not grow with them.

    Args:
        state: What deleting means where they stand: whoever agrees to a plan agrees to that too.
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
        """Count one image; ``target`` is what its group shows as such."""
        sums = self._groups.setdefault((verdict, rule, removal.kind, target, is_duplicate), _Sums())
        sums.add(removal.key, removal.size_bytes)
        self.images += 1
        self.size_bytes += removal.size_bytes
        self._digest.update(repr((removal.image, removal.key, removal.etag, removal.kind, removal.target)).encode())

    @property
    def digest(self) -> str:
        """Of the state, and of every image counted, in order."""
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
    """What ``apply`` or ``undo`` came to.

    Attributes:
        planned: Images that were confirmed.
        deleted: Images out of the source; ``moved`` with a copy elsewhere.
        restored: Images that ``undo`` brought back.
        cleared: Copies deleted that the rules no longer make.
        failed: Images that were left as they are, by cause.
        left: Images that were not got to: the same command goes on with them.
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
    size_bytes: int = 0
    wall_s: float = 0.0
    checkpoint: str = ""
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0

    def _repr_html_(self) -> str:
        """For notebooks: what was done, and what was left."""
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
