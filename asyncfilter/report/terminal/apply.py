"""Output of ``apply`` and ``undo``: the plan, with what can be undone, before the question; then the result."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import chain

import msgspec
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table

from asyncfilter.errors import ExitCode
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, StopReason, StoreKind, store_of
from asyncfilter.policy.removal_plan import Group, RemovalPlan, RemovalSummary
from asyncfilter.policy.removal_query import RestoreMethod
from asyncfilter.records.removal import Versioning
from asyncfilter.report import formatting, messages
from asyncfilter.report.program import program
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

_FOR_EVER = "deleted images are gone for ever, and undo cannot bring them back"
_DELETED = {
    Versioning.ON: "the bucket keeps versions: a delete marker hides each image; its version stays and still costs "
    "storage; undo removes the marker",
    Versioning.SUSPENDED: "versioning is suspended: images stored since then are gone for ever; of older ones a "
    "version remains in the bucket, but undo cannot bring them back",
    Versioning.OFF: f"the bucket keeps no versions: {_FOR_EVER}",
    Versioning.UNKNOWN: "it is not known whether the bucket keeps versions (s3:GetBucketVersioning is missing); assume "
    f"that {_FOR_EVER}",
}
_MFA = (
    "MFA Delete is on: only the bucket's owner can remove a delete marker, so undo cannot bring back what is deleted; "
    "moved images are copied back"
)
_METHODS = {
    RestoreMethod.MARKER: "by removing the delete marker: the image is exactly as before",
    RestoreMethod.COPY: "by copying it back, and deleting the copy in quarantine",
    RestoreMethod.NONE: "cannot be brought back: no version of it is kept, or no marker may be removed",
}

# -- For scripts -------------------------------------------------------------------------------------------------------


def plan_mapping(plan: RemovalPlan, max_share: float | None = None) -> dict[str, object]:
    """A plan with its share of the examined images, the limit of that share, and whether the plan exceeds it."""
    fields: dict[str, object] = msgspec.to_builtins(plan)
    held = {} if max_share is None else {"max_share": max_share, "exceeds": plan.exceeds(max_share)}
    return {**fields, "share": round(plan.share, 6), **held}


def removal_mapping(summary: RemovalSummary, plan: RemovalPlan, max_share: float | None = None) -> dict[str, object]:
    """The result of ``apply`` or ``undo``, and its plan."""
    fields: dict[str, object] = msgspec.to_builtins(summary)
    return {**fields, "wall_s": round(summary.wall_s, 3), "plan": plan_mapping(plan, max_share)}


# -- For people --------------------------------------------------------------------------------------------------------


def draw_plan(plan: RemovalPlan, max_share: float | None = None) -> RenderableType:
    """The whole plan: of ``apply`` with ``max_share``, of ``undo`` without."""
    is_undo = max_share is None
    verb = "can be brought back to" if is_undo else "would be removed from"
    if plan.is_stale:
        verb = "that the rules no longer make would be deleted, of images in"
    head = Text.assemble((f"{formatting.count(plan.images)} {_what(plan)}", "bold"), f" {verb} {plan.source}")
    head.append(f", {formatting.size(plan.size_bytes)}", "dim")
    parts: list[RenderableType] = [head]
    parts += [_groups(groups) for groups in (plan.groups, plan.lost) if groups]
    facts = _undo_facts(plan) if is_undo else _apply_facts(plan, max_share or 0.0)
    return Lines(*parts, Facts(chain(facts, _place_facts(plan))))


def _what(plan: RemovalPlan) -> str:
    one, more = ("copy", "copies") if plan.is_stale else ("image", "images")
    return one if plan.images == 1 else more


def _groups(groups: Sequence[Group]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for is_number in (False, True, True, False):
        table.add_column(justify="right" if is_number else "left", overflow="fold")
    for group in groups:
        table.add_row(_reason(group), formatting.count(group.images), formatting.size(group.size_bytes), _result(group))
        for index, key in enumerate(group.sample):
            table.add_row("", "", "" if index else Text("such as", "dim"), Text(key, "dim"))
    return table


def _reason(group: Group) -> str:
    if group.verdict is None:
        return {ActionKind.MOVE: "moved", ActionKind.DELETE: "deleted"}.get(group.kind, group.kind.value)
    if group.is_duplicate:
        return f"duplicate ({group.verdict})"
    return f"{group.verdict}, " + ("otherwise" if group.rule is None else f"rules[{group.rule}]")


def _result(group: Group) -> Text:
    if group.verdict is None:
        return Text(_METHODS[RestoreMethod(group.target)])
    return Text(f"move to {group.target}" if group.kind is ActionKind.MOVE else "delete", "bold")


def _apply_facts(plan: RemovalPlan, max_share: float) -> Iterator[tuple[str, str]]:
    before = f", including {formatting.count(plan.removed)} removed before" if plan.removed else ""
    whole = "copies" if plan.is_stale else "examined"
    share = (
        f"{formatting.share(plan.removed + plan.images, plan.examined)} of {formatting.count(plan.examined)} {whole}"
    )
    allowed = f"at most {100 * max_share:g} % are allowed (--max-share)"
    yield "share", f"{share}{before}; {allowed}" + (": refused" if plan.exceeds(max_share) else "")
    if plan.new_answers:
        yield "answers", _new_answers(plan)
    if plan.is_stale:
        yield (
            "deleting",
            "a copy is deleted only while its image is in the source; run makes it again when the rules require it",
        )
        return
    kinds = {group.kind for group in plan.groups}
    if ActionKind.MOVE in kinds:
        yield "moving", "each image is copied, the copy is verified, then the image is deleted; undo brings it back"
    if _loses_metadata(plan):
        yield "", "files have no tags, metadata or storage class: undo brings back a new object with the same bytes"
    if ActionKind.DELETE in kinds:
        yield "deleting", _FOR_EVER if store_of(plan.source) is StoreKind.FOLDER else _DELETED[plan.state.versioning]
    if plan.state.mfa_delete and kinds:
        yield "", _MFA
    yield from _resumed_facts(plan)


def _new_answers(plan: RemovalPlan) -> str:
    spared = f": {formatting.count(plan.spared)} images stay, as they say" if plan.spared else ""
    number = formatting.count(plan.new_answers)
    return f"{number} of people are newer than these decisions{spared}; what they reject waits for run or refilter"


def _resumed_facts(plan: RemovalPlan) -> Iterator[tuple[str, str]]:
    if plan.under_way:
        yield "resumed", f"{formatting.count(plan.under_way)} of these were begun by an apply that was interrupted"
    if plan.undone:
        yield "again", f"{formatting.count(plan.undone)} of these were brought back by undo before"
    if plan.held_back:
        yield "held back", f"{formatting.count(plan.held_back)} were brought back by undo: not included without --again"
    if not plan.listing_done:
        yield "so far", "the source is not completely examined yet"


def _loses_metadata(plan: RemovalPlan) -> bool:
    """Whether objects of S3 would be moved into files; with versions ``undo`` brings back the object itself."""
    targets = {store_of(group.target) for group in plan.groups if group.kind is ActionKind.MOVE}
    is_kept = plan.state.versioning is Versioning.ON and not plan.state.mfa_delete
    return store_of(plan.source) is StoreKind.S3 and StoreKind.FOLDER in targets and not is_kept


def _place_facts(plan: RemovalPlan) -> Iterator[tuple[str, str]]:
    for index, use in enumerate(plan.places):
        refused = "" if use.is_covered else ": refused, since the job does not name it (--allow-place)"
        yield "" if index else "places", f"{use.place}  {formatting.count(use.images)}{refused}"


def _undo_facts(plan: RemovalPlan) -> Iterator[tuple[str, str]]:
    lost = sum(group.images for group in plan.lost)
    if lost:
        yield "lost", f"{formatting.count(lost)} removed images cannot be brought back"
    if plan.images:
        yield "kept", "an object that now has the key of an image is never overwritten; that image is not brought back"
    if plan.state.mfa_delete:
        yield "", _MFA


def draw_removal(summary: RemovalSummary, job: Job, plan: RemovalPlan) -> RenderableType:
    """The result of ``apply`` or ``undo``, and what to do next."""
    styles: dict[int, str] = {
        ExitCode.OK: "bold green",
        ExitCode.SOME_FAILED: "bold yellow",
        ExitCode.INTERRUPTED: "bold yellow",
    }
    done = {
        "moved": summary.moved,
        "deleted": summary.deleted,
        "brought back": summary.restored,
        "copies deleted": summary.cleared,
    }
    summary_text = (
        ", ".join(f"{formatting.count(number)} {word}" for word, number in done.items() if number) or "nothing was done"
    )
    head = Text(summary_text, styles.get(summary.exit_code, "bold red"))
    head.append(f"  {formatting.size(summary.size_bytes)} in {formatting.duration(summary.wall_s)}", "dim not bold")
    return Lines(head, Facts(_outcome(summary, job, plan)))


def _outcome(summary: RemovalSummary, job: Job, plan: RemovalPlan) -> Iterator[tuple[str, str]]:
    for code, number in sorted(summary.failed.items(), key=lambda item: -item[1]):
        yield "left", f"{formatting.count(number)} {code}: {messages.failure(code).meaning}"
    if summary.left:
        yield "left", f"{formatting.count(summary.left)} were not processed"
    if summary.new_answers:
        waits = "answer waits" if summary.new_answers == 1 else "answers wait"
        yield "answers", f"{formatting.count(summary.new_answers)} {waits} for run or refilter"
    if summary.error:
        yield "why", summary.error
    if summary.hint:
        yield "", summary.hint
    path, is_undo = shlex.quote(str(job.path or "JOB")), summary.run_id.startswith("undo")
    command = f"{program()} {'undo' if is_undo else 'apply'} {path}{' --stale' if plan.is_stale else ''}"
    if summary.left or "unavailable" in summary.failed:
        yield "next", f"{command}   continues where this stopped"
    if "changed" in summary.failed and not is_undo:
        yield "next", f"{program()} run {path}   examines the changed images"
    can_undo = summary.moved or (plan.state.versioning is Versioning.ON and not plan.state.mfa_delete)
    if (summary.moved or summary.deleted) and can_undo and summary.stop_reason is StopReason.COMPLETED:
        yield "next", f"{program()} undo {path}   brings the images back"
    yield "kept in", summary.checkpoint
