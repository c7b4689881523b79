"""Actions that are never carried out, that put all images in one place, or that remove what was to be kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from asyncfilter.job.addresses import Placeholder, parse_template
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, StoreKind, Verdict

_OF_THE_KEY = frozenset({Placeholder.KEY, Placeholder.RELATIVE, Placeholder.BASENAME, Placeholder.STEM})
"""The placeholders of which one must be in a target, so that two images have two targets."""


def unreachable_actions(job: Job, verdicts: Collection[Verdict]) -> Iterator[str]:
    """Actions on a verdict that no image gets.

    Args:
        job: The job.
        verdicts: What images can get.
    """
    for verdict, action in job.actions.items():
        if action.kind is not ActionKind.NONE and verdict not in verdicts:
            yield (
                f"actions.{verdict}: {action.kind} is never carried out: no image can get the verdict {verdict}, "
                f"neither by a rule nor by otherwise ({job.otherwise})"
            )
    if job.duplicate is not None and job.duplicate.kind is not ActionKind.NONE and (why := _without_duplicates(job)):
        yield f"actions.duplicate: {job.duplicate.kind} is never carried out: {why}"


def _without_duplicates(job: Job) -> str | None:
    """Why no image of a job counts as a duplicate; None when images can."""
    if job.source.store is StoreKind.FOLDER:
        return "files of a folder are not compared by content (near_duplicates finds them after the run)"
    if job.source.examine_duplicates or job.source.skip_duplicates:
        return f"with source.duplicates: {job.source.duplicates} no image gets it"
    return None


def odd_targets(job: Job) -> Iterator[str]:
    """Targets that cannot tell images apart, or that mix what was to be separated."""
    for key, action in job.actions_by_key.items():
        if action.target is not None and (shared := _shared_by(action.target)):
            yield (
                f"{key}: {shared} one target, {action.target}: the first of them takes it, and the others "
                "fail as target_collision; add {key} to it"
            )
    if job.actions[Verdict.KEEP].kind is ActionKind.DELETE:
        yield "actions.keep: delete removes the images that match, and leaves the others"
    yield from _mixed(job)


def _shared_by(target: str) -> str | None:
    """Which images have the same target; None when each key has its own, or may have."""
    placeholders = {part for part in parse_template(target).parts if isinstance(part, Placeholder)}
    if placeholders & _OF_THE_KEY:
        return None
    if Placeholder.LABEL in placeholders:
        return "all images with one label have"
    return "all images with one extension have" if Placeholder.EXT in placeholders else "all images have"


def _mixed(job: Job) -> Iterator[str]:
    rejects = job.actions[Verdict.REJECT]
    for verdict in (Verdict.KEEP, Verdict.REVIEW):
        action = job.actions[verdict]
        if action.target is not None and action.target == rejects.target:
            yield (
                f"actions.{verdict} and actions.reject have the same target, {action.target}: nothing there "
                "tells which images match"
            )
