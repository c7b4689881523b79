"""A new job from a first look at its place, options and answers: the work of ``asyncfilter init``."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec

import msgspec

from asyncfilter.cli import deferred
from asyncfilter.cli.init_dialogue import Dialogue, budget_micros_of
from asyncfilter.cli.new_job_file import NewJobFile
from asyncfilter.cli.stderr import ask
from asyncfilter.errors import AsyncFilterError, JobError, UsageError
from asyncfilter.job.draft import JobDraft, LabelsFrom, job_name
from asyncfilter.job.spec import Aws, Job
from asyncfilter.model import ListedObject, uri_of
from asyncfilter.policy.first_look import PlaceFound
from asyncfilter.policy.job_warnings import warnings_before_answers
from asyncfilter.policy.label_list import published_labels
from asyncfilter.policy.new_job import (
    EXAMPLE_LABELS,
    found_settings,
    labels_in_names,
    place_cautions,
    suggested_budget_micros,
    suggested_labels,
)
from asyncfilter.policy.reference_labels import Labelled
from asyncfilter.report.formatting import count, size, usd
from asyncfilter.report.terminal.init import Initialised, draw_labels_seen, draw_place

HERE = "./"
OFFERED_IMAGES = 5
"""How many images are offered to be examined."""

_NUMBERED = 58
"""Characters of a name to which a number is added."""

_OPTIONS = {
    "name": "--name",
    "source": "PLACE",
    "rules": "--keep",
    "actions": "--copy-to",
    "limits": "--budget",
    "detector": "--region",
    "aws": "--profile",
}
"""The option that gives each section of the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the options of ``init`` say; None for what is asked for, or has a default.

    ``keep`` are labels, ``budget`` is text that ``budget_micros_of`` reads, ``examine`` a number of images.
    """

    name: str | None
    keep: tuple[str, ...] | None
    copy_to: str | None
    budget: str | None
    examine: int | None
    profile: str | None


class NewJob:
    """One job file, from the look at the place to the written file.

    Args:
        file: To be written.
        given: The options.
        dialogue: Asks for what they do not say; None for the defaults.
        yes: Every question is answered with yes.
    """

    def __init__(self, file: NewJobFile, given: Given, dialogue: Dialogue | None, *, yes: bool) -> None:
        self._file = file
        self._given = given
        self._dialogue = dialogue
        self._yes = yes
        self._has_plugin = find_spec("pillow_heif") is not None
        self._cautions: list[str] = []

    def made(self, place: str | None, aws: Aws) -> Initialised:
        """Look, ask, and write the file.

        Raises:
            UsageError: An option cannot be used.
            AccessError: The place cannot be listed, or the target does not exist.
            OutputError: The file cannot be written.
        """
        source, location = self._file.source(place or self._place())
        found: PlaceFound = deferred.run_listing(functools.partial(deferred.look_at, location, aws))
        self._cautions += place_cautions(found, has_plugin=self._has_plugin)
        if self._dialogue is not None:
            self._dialogue.show(draw_place(found), self._cautions)
        labelled = self._labelled(found, aws)
        draft = self._draft(found, source, labelled)
        draft, job = self._named(draft)
        if draft.labels_from is LabelsFrom.EXAMPLE:
            self._cautions.append(
                f"{', '.join(draft.keep)} is an example: put the labels of your images into the rules"
            )
        self._file.write(draft.text(command=self._file.command, facts=list(_facts(found, source))))
        return Initialised(
            output=self._file.output,
            command=self._file.command,
            draft=draft,
            found=found,
            labelled=labelled,
            cautions=[*self._cautions, *warnings_before_answers(job)],
        )

    def _place(self) -> str:
        return HERE if self._dialogue is None else self._dialogue.place(HERE)

    # -- Labels --------------------------------------------------------------------------------------------------------

    def _labelled(self, found: PlaceFound, aws: Aws) -> Labelled | None:
        """Labels of a few images, if the user agrees to the price; None without."""
        if self._given.keep is not None and not self._given.examine:
            return None
        is_offer = self._given.examine is None
        wanted = OFFERED_IMAGES if is_offer and self._dialogue is not None else self._given.examine or 0
        drawn = found.sample_of(wanted)
        if wanted and not drawn:
            self._cautions.append("no image that was seen can be examined where it is, so that no labels are suggested")
        if not drawn or not self._agrees(found, len(drawn), is_offer=is_offer):
            return None
        if found.is_folder:
            aws = replace(aws, region=found.region)
        verb = functools.partial(deferred.label_sample, _addresses(found, drawn), aws, folder=self._file.base_dir)
        try:
            labelled: Labelled = deferred.run_draining(verb)
        except AsyncFilterError as error:
            if not is_offer:
                raise
            self._cautions.append(f"no image could be examined: {error.message}")
            return None
        if self._dialogue is not None:
            self._dialogue.show(draw_labels_seen(labelled))
        return labelled

    def _agrees(self, found: PlaceFound, number: int, *, is_offer: bool) -> bool:
        """Whether the user agrees to the price; an offer needs an answer, whatever ``--yes`` says."""
        images = "one image" if number == 1 else f"{count(number)} images"
        price = f"at most {usd(found.cost_micros(number))}"
        if self._dialogue is not None:
            self._dialogue.explain(f"Rekognition can examine {images} drawn at random, to suggest labels, for {price}.")
        return ask(f"Pay {price}?", yes=self._yes and not is_offer)

    # -- The job -------------------------------------------------------------------------------------------------------

    def _draft(self, found: PlaceFound, source: str, labelled: Labelled | None) -> JobDraft:
        """The job, from the options and the answers."""
        given, asks = self._given, self._dialogue
        default, origin = _default_labels(found, labelled)
        keep = given.keep or (default if asks is None else asks.labels(default))
        draft = JobDraft(
            name=given.name or job_name(uri_of(found.place.bucket, found.place.key)),
            source=source,
            keep=keep,
            labels_from=origin if given.keep is None and keep == default else LabelsFrom.GIVEN,
            profile=given.profile,
            kept_beside=self._file.kept_beside(found.place) if found.is_folder else "",
            **msgspec.structs.asdict(found_settings(found, has_plugin=self._has_plugin)),
        )
        self._job(draft)
        draft = replace(draft, copy_to=self._copy_to(draft))
        return replace(draft, budget_micros=self._budget_micros(found))

    def _copy_to(self, draft: JobDraft) -> str | None:
        def usable(text: str) -> str:
            target = self._file.target(text)
            deferred.run_async(deferred.check_places, self._job(replace(draft, copy_to=target)))
            return target

        if self._given.copy_to is not None:
            return usable(self._given.copy_to)
        return None if self._dialogue is None else self._dialogue.copy_to(usable)

    def _budget_micros(self, found: PlaceFound) -> int | None:
        if self._given.budget is not None:
            return budget_micros_of(self._given.budget)
        default_micros = suggested_budget_micros(found)
        return default_micros if self._dialogue is None else self._dialogue.budget_micros(found, default_micros)

    def _named(self, draft: JobDraft) -> tuple[JobDraft, Job]:
        """The job under a name whose checkpoint is free for it.

        Raises:
            UsageError: That of the name which the user gave is not.
        """
        first, job = draft.name, self._job(draft)
        for number in itertools.count(2):
            if deferred.run_async(deferred.fits_checkpoint, job):
                return draft, job
            if self._given.name is not None:
                raise UsageError(
                    f"--name {first}: {job.checkpoint} holds labels of another source", hint="Choose another name."
                )
            draft = replace(draft, name=f"{first[:_NUMBERED]}-{number}")
            job = self._job(draft)
        raise AssertionError("unreachable")

    def _job(self, draft: JobDraft) -> Job:
        """The job of a draft.

        Raises:
            UsageError: An option or answer cannot be used.
        """
        try:
            job: Job = deferred.parse_job(draft.mapping(), base_dir=self._file.base_dir)
        except JobError as error:
            problem = error.problems[0]
            section = problem.key.partition(".")[0].partition("[")[0]
            raise UsageError(f"{_OPTIONS.get(section, section)}: {problem.message}") from error
        return job


def _default_labels(found: PlaceFound, labelled: Labelled | None) -> tuple[tuple[str, ...], LabelsFrom]:
    """Labels for the rules where the user names none, and where they come from."""
    if labelled is not None and (suggested := suggested_labels(labelled.labels)):
        return suggested, LabelsFrom.IMAGES
    if named := labels_in_names(found, published_labels().names):
        return named, LabelsFrom.NAMES
    return EXAMPLE_LABELS, LabelsFrom.EXAMPLE


def _addresses(found: PlaceFound, drawn: list[ListedObject]) -> list[str]:
    """Addresses of objects as references: of a file its path."""
    if found.is_folder:
        return [f"{found.address}/{listed.key}" for listed in drawn]
    return [uri_of(found.place.bucket, listed.key) for listed in drawn]


def _facts(found: PlaceFound, source: str) -> Iterator[str]:
    """What the first lines of the file say about the place."""
    look = found.look
    number = f"{'' if look.is_whole else 'at least '}{count(look.images)}"
    today = time.strftime("%Y-%m-%d", time.gmtime())
    yield f"{number} images ({size(look.size_bytes)}) in {source}, seen by asyncfilter init on {today}."
    folders = [f"{folder} ({count(images)})" for folder, images in list(look.folders.items())[:5] if folder]
    if folders:
        yield f"Folders: {', '.join(folders)}{', and more' if len(look.folders) > len(folders) else ''}."
