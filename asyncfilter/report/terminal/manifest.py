"""Results of the commands about manifests and datasets, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asyncfilter.datasets.check import LimitResult
from asyncfilter.datasets.manifests.codes import RANKS, Severity
from asyncfilter.datasets.manifests.splitting import SplitCounts
from asyncfilter.datasets.manifests.statistics import Statistics
from asyncfilter.datasets.manifests.tally import ManifestTally
from asyncfilter.datasets.manifests.validation import Validation
from asyncfilter.report.formatting import count, counted, share

_MOST_BUCKETS = 3


def validation_lines(result: Validation) -> Iterator[str]:
    """The findings of a check, ``FILE:LINE: SEVERITY CODE: message``, and a summary."""
    kept = result.log.kept
    for found in kept:
        yield f"{result.file}:{'' if found.line is not None else ' '}{found}"
    if len(kept) < result.log.total:
        yield f"... and {count(result.log.total - len(kept))} more (--max-findings, --findings FILE)"
    if kept:
        yield ""
    yield from _summary(result)


def _summary(result: Validation) -> Iterator[str]:
    tally = result.tally
    states = f"{count(tally.valid)} valid, {count(tally.invalid)} invalid, {count(tally.ignored)} ignored"
    shown = (("dropped", tally.dropped), ("blank", tally.blank))
    details = ", ".join(f"{count(number)} {name}" for name, number in shown if number)
    yield f"{result.file}: {counted(tally.lines, 'line')}: {states}{f' ({details})' if details else ''}"
    boxes = f", {count(tally.boxes)} boxes" if tally.box_lines else ""
    labels = f"{counted(len(tally.labels), 'label')} in {counted(tally.valid, 'image')}{boxes}"
    yield f"  {tally.use_case.value}: {labels}; {_buckets(tally)}"
    for code in sorted(result.log.counts, key=RANKS.__getitem__):
        first = result.log.first[code]
        yield f"  {count(result.log.counts[code]):>7} {first.severity} {code}: {first.hint}"
    imports, trains = ("would" if does else "would not" for does in (result.would_import, result.would_train))
    yield f"  the service {imports} import it, and {trains} train with it"
    if "kept" in result.notes:
        notes = result.notes
        done = ", ".join(f"{name} {count(notes[name])}" for name in ("kept", "repaired", "rejected"))
        yield f"  repair: {done}"
        files = [str(notes[name]) for name in ("fixed_file", "rejected_file") if notes[name] is not None]
        yield f"  written: {', '.join(files) or 'nothing'}"


def split_lines(counts: SplitCounts) -> Iterator[str]:
    """The two sides of a split, and its labels."""
    whole = counts.train + counts.test
    left_out = f"; {count(counts.rejected)} lines left out" if counts.rejected else ""
    yield f"{count(counts.train)} train, {count(counts.test)} test ({share(counts.test, whole)}){left_out}"
    if counts.groups:
        yield f"  {count(counts.groups)} groups; {count(counts.ungrouped)} images in none"
    for name, (train, test) in counts.labels.items():
        yield f"  {count(train):>9} {count(test):>9}  {name}"


def statistics_lines(name: str, found: Statistics) -> Iterator[str]:
    """The figures of a manifest."""
    tally = found.tally
    images = f"{counted(found.images, 'image')}, {count(tally.ignored)} of them without labels"
    yield f"{name}: {counted(tally.lines, 'line')}, {images}"
    if tally.invalid:
        yield f"  {count(tally.invalid)} invalid lines are not counted: see asyncfilter manifest validate"
    yield f"  {tally.use_case.value}; {_buckets(tally)}"
    yield f"  an image has {found.mean(found.label_uses):g} labels and {found.mean(tally.boxes):g} boxes on average"
    if found.sides_px is not None:
        least_w, most_w, least_h, most_h = found.sides_px
        yield f"  width {least_w:,} to {most_w:,} px, height {least_h:,} to {most_h:,} px"
    yield f"  annotated by people: {count(found.by_people)}, by machines: {count(found.by_machines)}"
    if found.first is not None and found.last is not None:
        yield f"  created {found.first[1]} to {found.last[1]}"
    for label, counts in sorted(tally.labels.items(), key=lambda item: -item[1].images):
        boxes = f", {count(counts.boxes)} boxes" if counts.boxes else ""
        yield f"  {count(counts.images):>9} {share(counts.images, found.images):>7}  {label}{boxes}"


def limit_lines(results: Sequence[LimitResult], tallies: Sequence[ManifestTally]) -> Iterator[str]:
    """The limits that are broken with examples and advice, then those that are kept, in brief."""
    invalid = sum(tally.invalid for tally in tallies)
    if invalid:
        yield f"{counted(invalid, 'line')} cannot be used and are not counted: see asyncfilter manifest validate"
    for result in results:
        if result.ok:
            continue
        names = f" ({', '.join(result.examples)})" if result.examples else ""
        yield f"{result.severity} {result.dataset} {result.id}: {_value(result)}{names}"
        yield f"  {result.advice} [{result.source}]"
    kept = [f"{result.dataset} {result.id} {_value(result)}" for result in results if result.ok]
    for line in kept:
        yield f"ok {line}"


def _value(result: LimitResult) -> str:
    """``12, limit 250``; the ends of a range are joined."""
    found = "none" if result.value is None else _numbers(result.value)
    return f"{found}, {'advised' if result.severity is Severity.NOTICE else 'limit'} {_numbers(result.limit)}"


def _numbers(value: float | Sequence[float]) -> str:
    if isinstance(value, int | float):
        return f"{value:,}"
    return " to ".join(f"{number:,}" for number in value)


def _buckets(tally: ManifestTally) -> str:
    names = list(tally.buckets)
    more = f" and {len(names) - _MOST_BUCKETS} more" if len(names) > _MOST_BUCKETS else ""
    return f"{', '.join(names[:_MOST_BUCKETS])}{more}" if names else "no bucket"
