"""Actions that are never carried out, that put all images in one place, or that remove what was to be kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from asyncfilter.job.addresses import Placeholder, parse_template
from asyncfilter.job.spec import Job, SourceSpec
from asyncfilter.model import ActionKind, StoreKind, Verdict
from asyncfilter.policy.extensions import CONVERTED, READ_AS_THEY_ARE

_OF_THE_KEY = frozenset({Placeholder.KEY, Placeholder.RELATIVE, Placeholder.BASENAME, Placeholder.STEM})
"""The placeholders of which one must be in a target, so that two images have two targets."""

_WITH_EXTENSION = (Placeholder.KEY, Placeholder.RELATIVE, Placeholder.BASENAME)
"""The placeholders that have the name's extension in them."""

_EXTENSIONS = "|".join(sorted(READ_AS_THEY_ARE | CONVERTED, key=len, reverse=True))
_ENDING = re.compile(rf"\{{(\w+)\}}(?:\.(\{{ext\}}|{_EXTENSIONS}))?$", re.IGNORECASE)
"""The last placeholder of a target, with the extension behind it, if nothing else is."""

_USUAL = ("*.jpg", "*.jpeg")
"""What most images are where a job does not say what it includes."""

_FORMATS = (
    frozenset({"jpg", "jpeg", "jpe", "jfif"}), frozenset({"tif", "tiff"}), frozenset({"heic", "heif"}),
)  # fmt: skip
"""Extensions that are names of one format."""


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
        elif action.target is not None and (odd := _oddly_named(action.target, job.source.include)):
            yield f"{key}: {action.target} {odd}"
    if job.actions[Verdict.KEEP].kind is ActionKind.DELETE:
        yield "actions.keep: delete removes the images that match, and leaves the others"
    if job.actions[Verdict.REVIEW].kind is ActionKind.DELETE:
        yield "actions.review: delete removes the images that a person should look at, before anybody has"
    yield from _mixed(job)


def _shared_by(target: str) -> str | None:
    """Which images have the same target; None when each key has its own, or may have."""
    placeholders = {part for part in parse_template(target).parts if isinstance(part, Placeholder)}
    if placeholders & _OF_THE_KEY:
        return None
    if Placeholder.LABEL in placeholders:
        return "all images with one label have"
    return "all images with one extension have" if Placeholder.EXT in placeholders else "all images have"


def _oddly_named(target: str, include: Sequence[str]) -> str | None:
    """What is odd about the keys or names of copies; None when nothing is."""
    template = parse_template(target)
    if template.store is StoreKind.S3 and template.literal_prefix().startswith("/"):
        return "makes keys that begin with a slash: there is one too many behind the bucket"
    name = "".join(f"{{{part}}}" if isinstance(part, Placeholder) else part for part in template.parts)
    found = _ENDING.search(name)
    if found is None:
        return None
    placeholder, extension = Placeholder(found[1]), found[2]
    if placeholder is Placeholder.STEM:
        return _of_a_stem(extension, include)
    if placeholder not in _WITH_EXTENSION or extension is None:
        return None
    if extension == "{ext}":
        return "has the extension twice, as in a.jpg.jpg; write {stem}.{ext}"
    return f"has an extension more, as in a.jpg.{extension}; leave .{extension} out"


def _of_a_stem(extension: str | None, include: Sequence[str]) -> str | None:
    """What is odd about ``{stem}`` with an extension, or without one."""
    if extension is None:
        is_sure = all("." in glob for glob in include)  # else names may have no extension in the source either
        return "makes names without an extension; write {stem}.{ext}" if is_sure else None
    if extension == "{ext}":
        return None
    wanted = _USUAL if tuple(include) == SourceSpec(bucket="").include else include
    others = sorted(glob for glob in wanted if glob.rpartition(".")[2].lower() not in _same_format(extension))
    if not others:
        return None
    return f"names copies of {', '.join(others)} .{extension} as well, and copies are not converted; write .{{ext}}"


def _same_format(extension: str) -> frozenset[str]:
    """The extensions of files in the format of ``extension``."""
    folded = extension.lower()
    return next((names for names in _FORMATS if folded in names), frozenset({folded}))


def _mixed(job: Job) -> Iterator[str]:
    rejects = job.actions[Verdict.REJECT]
    for verdict in (Verdict.KEEP, Verdict.REVIEW):
        action = job.actions[verdict]
        if action.target is not None and action.target == rejects.target:
            yield (
                f"actions.{verdict} and actions.reject have the same target, {action.target}: nothing there "
                "tells which images match"
            )
