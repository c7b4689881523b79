"""The results of ``init``, for people and for scripts: what is at the place, and the job file for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import RenderableType

from asyncfilter.job.draft import KEEP_PCT, REVIEW_PCT, JobDraft
from asyncfilter.policy.first_look import PlaceFound
from asyncfilter.policy.reference_labels import Labelled, common_labels
from asyncfilter.report import messages
from asyncfilter.report.formatting import count, size, usd, usd_number
from asyncfilter.report.program import program
from asyncfilter.report.terminal.facts import Facts
from asyncfilter.report.terminal.text import Text

Row = tuple[str, str | Text]

FOLDERS_SHOWN = 5
OTHERS_SHOWN = 5
LABELS_SHOWN = 8


class Initialised(msgspec.Struct, frozen=True, kw_only=True):
    """A job file that was written.

    Attributes:
        output: The file, ``-`` for stdout.
        command: The file in a shell.
        draft: Its content.
        found: The place.
        labelled: Labels of images that were examined for it; None without.
        cautions: What the user should know.
    """

    output: str
    command: str
    draft: JobDraft
    found: PlaceFound
    labelled: Labelled | None
    cautions: Sequence[str]


def init_mapping(done: Initialised) -> dict[str, object]:
    """Everything, for scripts."""
    draft, found, look = done.draft, done.found, done.found.look
    return {
        "output": done.output,
        "name": draft.name,
        "source": draft.source,
        "store": found.place.store.value,
        "uri": found.place.uri,
        "region": found.region,
        "bucket_region": None if found.is_folder else found.home,
        "listed": look.listed,
        "is_whole": look.is_whole,
        "images": look.images,
        "formats": look.formats,
        "others": look.others,
        "skipped": look.skipped,
        "size_bytes": look.size_bytes,
        "median_bytes": look.median_bytes,
        "largest_bytes": look.largest_bytes,
        "prefixes": look.folders,
        "samples": [listed.key for listed in look.sample],
        "cost_usd": usd_number(found.cost_micros(look.images)),
        "keep": list(draft.keep),
        "labels_from": draft.labels_from.value,
        "copy_to": draft.copy_to,
        "budget_usd": None if draft.budget_micros is None else usd_number(draft.budget_micros),
        "labels": _label_counts(done.labelled),
        "calls": 0 if done.labelled is None else done.labelled.calls,
        "spent_usd": usd_number(0 if done.labelled is None else done.labelled.spent_micros),
        "cautions": list(done.cautions),
    }


def _label_counts(labelled: Labelled | None) -> dict[str, int]:
    """Examined images by label."""
    shared = () if labelled is None else common_labels(labelled.labels, KEEP_PCT).labels
    return {label.name: label.images for label in shared}


# -- For people --------------------------------------------------------------------------------------------------------


def draw_place(found: PlaceFound) -> RenderableType:
    """What is at the place."""
    return Facts(place_rows(found))


def place_rows(found: PlaceFound) -> Iterator[Row]:
    """What is at the place, in lines."""
    look = found.look
    yield "place", Text.assemble((found.address, "bold"), f", {found.region}")
    listed = f"{'' if look.is_whole else 'at least '}{count(look.listed)} objects"
    yield "images", f"{count(look.images)} of {listed}, {size(look.size_bytes)}"
    if look.images:
        yield "", f"median {size(look.median_bytes)}, largest {size(look.largest_bytes)}"
        yield "formats", ", ".join(f"{count(number)} {name}" for name, number in look.formats.items())
    if look.others:
        shown = [f"{count(number)} {name or 'without extension'}" for name, number in look.others.items()]
        yield "other", ", ".join(shown[:OTHERS_SHOWN]) + (", and more" if len(shown) > OTHERS_SHOWN else "")
    for index, (reason, number) in enumerate(look.skipped.items()):
        yield ("skipped" if not index else ""), f"{count(number)} {messages.skip(reason)}"
    if len(look.folders) > 1 or "" not in look.folders:
        yield from _folder_rows(look.folders)
    if look.images:
        estimate = " (an estimate)" if found.prices.is_estimate else ""
        yield "cost", f"{usd(found.cost_micros(look.images))} for these images{estimate}"


def _folder_rows(folders: dict[str, int]) -> Iterator[Row]:
    shown = list(folders.items())[:FOLDERS_SHOWN]
    for index, (folder, number) in enumerate(shown):
        yield ("folders" if not index else ""), f"{count(number)} in {folder or 'no folder'}"
    if len(folders) > len(shown):
        yield "", f"and {count(len(folders) - len(shown))} more"


def draw_labels_seen(labelled: Labelled) -> RenderableType:
    """The labels of the images that were examined, those of most images first."""
    shared = common_labels(labelled.labels, KEEP_PCT).labels[:LABELS_SHOWN]
    rows: list[Row] = [
        (
            "labels" if not index else "",
            Text(f"{label.name} in {label.images} of {len(labelled.labels)}", _style(label.why_not)),
        )
        for index, label in enumerate(shared)
    ]
    return Facts(rows or [("labels", "none: the images could not be examined, or show nothing certain")])


def _style(why_not: str | None) -> str:
    return "" if why_not is None else "dim"


def draw_initialised(done: Initialised, *, with_place: bool) -> RenderableType:
    """The job file, and with ``with_place`` what is at the place."""
    return Facts([*(place_rows(done.found) if with_place else ()), *_job_rows(done)])


def _job_rows(done: Initialised) -> Iterator[Row]:
    draft = done.draft
    yield "keep", f"{', '.join(draft.keep)} from {KEEP_PCT} % on; from {REVIEW_PCT} % on to review"
    yield "copies", "none yet" if draft.copy_to is None else draft.copy_to
    yield "budget", "no limit" if draft.budget_micros is None else usd(draft.budget_micros)
    if done.labelled is not None:
        yield "paid", f"{usd(done.labelled.spent_micros)} for {count(done.labelled.calls)} calls"
    for caution in done.cautions:
        yield "note", Text(caution, "yellow")
    yield "written", Text("on stdout" if done.output == "-" else done.output, "bold")
    yield "next", f"{program()} plan {done.command}   what it would cost; free"
