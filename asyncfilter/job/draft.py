"""A new job file: the text with comments that ``asyncfilter init`` writes, and the same job as a mapping."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from asyncfilter.job.shipped_schema import schema_line
from asyncfilter.job.spec import SourceSpec
from asyncfilter.job.yaml_text import comment, scalar, sequence

KEEP_PCT = 80
REVIEW_PCT = 55
"""Confidence of the two rules, percent; the second is the service's own default."""

_COLUMN = 40
"""Where comments begin beside values that leave room for them."""

_NAME_CHARACTERS = 64
_UNNAMED = "images"


class LabelsFrom(StrEnum):
    """Where the labels of a new job come from."""

    GIVEN = "given"
    IMAGES = "images"
    NAMES = "names"
    EXAMPLE = "example"


_ABOUT_LABELS = {
    LabelsFrom.IMAGES: "From a few images that were examined: check them.",
    LabelsFrom.NAMES: "From the names of folders: check them.",
    LabelsFrom.EXAMPLE: "An example: put the labels of your images here.",
}
"""The comment on labels that the user has not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDraft:
    """A job to be written.

    Attributes:
        name: Of the job.
        source: Address of the images, as it is to stand in the file.
        is_folder: The source is a folder of this machine.
        include: Globs; None for the default.
        has_precheck: Headers are read before an image is paid for.
        converts: What the service cannot read is converted; the default of a folder.
        region: Where images are examined; None for the default.
        profile: Profile of the AWS settings; None for the default.
        keep: Labels of the images to keep; not empty.
        labels_from: Where they come from.
        kept_beside: For a folder, another one that is not inside of it, for the example of an action.
        copy_to: Target of the copies of kept images; None for no action.
        budget_micros: The most to spend; None for no limit.
    """

    name: str
    source: str
    is_folder: bool = False
    include: tuple[str, ...] | None = None
    has_precheck: bool = False
    converts: bool = False
    region: str | None = None
    profile: str | None = None
    keep: tuple[str, ...]
    labels_from: LabelsFrom = LabelsFrom.GIVEN
    kept_beside: str = "./kept/"
    copy_to: str | None = None
    budget_micros: int | None = None

    def mapping(self) -> dict[str, object]:
        """The job as ``parse_job`` takes it."""
        source: dict[str, object] = {"uri": self.source}
        document: dict[str, object] = {"version": 1, "name": self.name, "source": source}
        if self.include is not None:
            source["include"] = list(self.include)
        if self.region is not None:
            document["detector"] = {"region": self.region}
        if self.has_precheck:
            document["precheck"] = "header"
        if self.converts:
            document["convert"] = True
        labels = list(self.keep)
        document["rules"] = [
            {"keep": {"any": labels, "confidence": KEEP_PCT}},
            {"review": {"any": labels, "confidence": REVIEW_PCT}},
        ]
        document["otherwise"] = "reject"
        if self.copy_to is not None:
            document["actions"] = {"keep": {"copy": self.copy_to}}
        if self.budget_micros is not None:
            document["limits"] = {"budget_usd": self.budget_micros / 1_000_000}
        if self.profile is not None:
            document["aws"] = {"profile": self.profile}
        return document

    def text(self, *, command: str, facts: Sequence[str] = ()) -> str:
        """The job file.

        Args:
            command: Path of the file in a shell, for the commands in its first lines.
            facts: What is known of the source, one line each.
        """
        sections = [
            [*_head(command, facts), "version: 1", _line(f"name: {self.name}", "names the checkpoint and the log")],
            self._source(),
            self._detector(),
            self._rules(),
            self._actions(),
            self._limits(),
        ]
        return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"

    def _source(self) -> list[str]:
        about = "relative to this file" if self.is_folder else "bucket and key prefix, used literally"
        include = SourceSpec(bucket="").include if self.include is None else self.include
        return [
            "source:",
            _line(f"  uri: {scalar(self.source)}", about),
            _line(f"  include: {sequence(include)}", "globs on the whole key, in any case"),
        ]

    def _detector(self) -> list[str]:
        lines = []
        if self.region is not None:
            about = "the files are sent to this region" if self.is_folder else "the images are sent to this region"
            lines += ["detector:", _line(f"  region: {self.region}", about)]
        if self.has_precheck:
            lines.append(_line("precheck: header", "what is no image costs nothing"))
        if self.converts:
            lines.append(_line("convert: true", "what the service cannot read is fetched and sent as JPEG"))
        if self.profile is not None:
            lines.append(f"aws: {{profile: {scalar(self.profile)}}}")
        return lines

    def _rules(self) -> list[str]:
        labels = sequence(self.keep)
        about = _ABOUT_LABELS.get(self.labels_from)
        return [
            _line("rules:", "the first rule that matches decides"),
            *([f"  {comment(about)}"] if about is not None else []),
            "  # `asyncfilter labels IMAGE...` shows the labels of good images. Rules can be changed later at no cost.",
            f"  - keep: {{any: {labels}, confidence: {KEEP_PCT}}}",
            _line(f"  - review: {{any: {labels}, confidence: {REVIEW_PCT}}}", "less certain: for people to look at"),
            _line("otherwise: reject", "without an action below, nothing happens to these"),
        ]

    def _actions(self) -> list[str]:
        if self.copy_to is not None:
            return ["actions:", f"  keep: {{copy: {scalar(self.copy_to)}}}"]
        target = f"{self.kept_beside}{{relative}}" if self.is_folder else "s3://YOUR-BUCKET/kept/{relative}"
        return [
            "# Nothing is copied yet. The labels are paid for once and kept, so that this can be added later.",
            "# actions:",
            f'#   keep: {{copy: "{target}"}}',
        ]

    def _limits(self) -> list[str]:
        budget = "null" if self.budget_micros is None else _dollars(self.budget_micros)
        return [
            "limits:",
            _line("  tps: auto", "calls a second: the account's quota"),
            _line(f"  budget_usd: {budget}", "the most that this job may spend, resumed runs included"),
            "",
            "# stop:",
            _line("#   matches: 50", "after 50 images with the verdict keep"),
        ]


def _head(command: str, facts: Sequence[str]) -> Iterator[str]:
    yield schema_line()
    yield from map(comment, facts)
    commands = {
        f"plan {command}": "what it would cost and how long it would take; free",
        f"plan {command} --sample 50": "how many images the rules keep, from 50 that are paid for",
        f"run {command}": "the same command resumes the run",
    }
    width = max(map(len, commands))
    for given, meaning in commands.items():
        yield comment(f"  asyncfilter {given.ljust(width)}   {meaning}")
    yield "# `asyncfilter config check` checks the file alone, `asyncfilter schema` prints every key."


def _line(value: str, about: str) -> str:
    return f"{value.ljust(_COLUMN - 1)}{'' if len(value) < _COLUMN - 1 else '  '} # {about}"


def _dollars(micros: int) -> str:
    """Dollars with at least two decimals, exactly."""
    whole, rest = divmod(micros, 1_000_000)
    decimals = f"{rest:06d}"
    return f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}"


def job_name(place: str) -> str:
    """The name of a job for the images at an address or path: its last part, as far as a name may have it."""
    parts = [re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in re.split(r"[/\\]", place)]
    name = next((part for part in reversed(parts) if part), _UNNAMED)
    return name[:_NAME_CHARACTERS].strip("-")
