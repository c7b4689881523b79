"""Label Studio's JSON: tasks with annotations, and the form of its cloud storages, one annotation with its task.

Tasks come as an array, a single object or one a line; older ones have ``completions`` in place of ``annotations``. A
unit is an annotation; a task without one counts as one. Predictions are never answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from asyncfilter.datasets.answers.addresses import Addresses
from asyncfilter.datasets.answers.json_values import NotJson
from asyncfilter.datasets.answers.label_studio_files import ANNOTATIONS, tasks_of
from asyncfilter.datasets.answers.label_studio_results import BOXES, LABELS, BadResultError, Results
from asyncfilter.datasets.answers.units import Address, Left, ReadNotes, Reject, RotatedBox, Said, SkipReason, Unit
from asyncfilter.datasets.answers.words import VerdictWords, moment_unix_s
from asyncfilter.datasets.manifests.attribute_checks import is_number
from asyncfilter.datasets.manifests.json_object import kind_of
from asyncfilter.errors import UsageError
from asyncfilter.policy.answers.checks import BadAnswerError, checked_note, checked_reviewer, checked_uid
from asyncfilter.records.answers import AskedAs

NAME = "label-studio"
"""Reviewer of annotations that name nobody."""


class LabelStudioReader:
    """Reads tasks.

    Args:
        words: Which texts are verdicts.
        addresses: What addresses mean.
        notes: Counts what is beside the units.
        image_field: The member of ``data`` that has the address; None for ``image``, or the only text there.
    """

    def __init__(
        self, *, words: VerdictWords, addresses: Addresses, notes: ReadNotes, image_field: str | None = None
    ) -> None:
        self._words, self._addresses, self._notes, self._image_field = words, addresses, notes, image_field

    def read(self, stream: BinaryIO) -> Iterator[Unit]:
        """The units of a file.

        Raises:
            UsageError: It is no JSON, or not that of tasks.
        """
        for number, element in tasks_of(stream):
            yield from self.units(number, element)

    def read_named(self, name: str, stream: BinaryIO) -> Iterator[Unit]:
        """The units of one file of a folder; one that cannot be read as a whole is a rejected unit."""
        try:
            for number, element in tasks_of(stream):
                yield from self.units(number, element, within=f"{name}: ")
        except UsageError as error:
            yield Left(name, Reject.UNREADABLE, error.message)

    def units(self, number: int, element: object, *, within: str = "") -> Iterator[Unit]:
        """The units of one element of a file.

        Args:
            number: Of the task, from 1.
            element: A task, or an annotation with its task.
            within: Begins the place of each unit.
        """
        place = f"{within}task {number}"
        if isinstance(element, NotJson):
            yield Left(place, Reject.UNREADABLE, f"the task {element.message}")
        elif not isinstance(element, dict):
            yield Left(place, Reject.UNREADABLE, f"the task is {kind_of(element)}, not an object")
        elif (name := next((name for name in ANNOTATIONS if name in element), None)) is not None:
            yield from self._task_units(place, element, name)
        elif "result" in element:
            yield self._unit(f"{place}, annotation 1", element, element.get("task"))
        elif isinstance(element.get("data"), dict):
            yield Left(place, SkipReason.NO_ANNOTATION, key=self._key(element))
        else:
            yield Left(place, Reject.NO_TASK_DATA, "neither data nor a result: not a task")

    def _task_units(self, place: str, task: dict[str, Any], name: str) -> Iterator[Unit]:
        annotations = task[name]
        if not annotations and (annotations is None or isinstance(annotations, list)):
            yield Left(place, SkipReason.NO_ANNOTATION, key=self._key(task))
        elif not isinstance(annotations, list):
            yield Left(place, Reject.UNREADABLE, f"{name} is {kind_of(annotations)}, not a list")
        else:
            for number, annotation in enumerate(annotations, start=1):
                yield self._unit(f"{place}, annotation {number}", annotation, task)

    # -- One annotation ------------------------------------------------------------------------------------------------

    def _unit(self, place: str, annotation: object, task: object) -> Unit:
        if not isinstance(annotation, dict):
            return Left(place, Reject.UNREADABLE, f"the annotation is {kind_of(annotation)}, not an object")
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            return Left(place, Reject.NO_TASK_DATA, "the task has no data, so that its image is not known")
        key = self._key(task)
        if annotation.get("was_cancelled"):
            return Left(place, SkipReason.CANCELLED, key=key)
        ours = _ours(data)
        try:
            found = Results(
                annotation.get("result"),
                words=self._words,
                notes=self._notes,
                is_ours=bool(ours),
                on_rotated=lambda message: self._notes.on_rotated(RotatedBox(place, key, message)),
            )
            return self._said(place, annotation, data, found)
        except BadResultError as error:
            return Left(place, error.code, str(error), key=key)

    def _said(self, place: str, annotation: dict[str, Any], data: dict[str, Any], found: Results) -> Unit:
        made_from = _members(annotation, "asyncfilter")
        none_of = made_from.get("empty")
        none_of = none_of if isinstance(none_of, list) else []
        labels = () if found.labels is None and LABELS in none_of else found.labels
        boxes = () if found.boxes is None and BOXES in none_of else found.boxes
        note = _note(made_from.get("note"))
        images = self._images(data)
        key = images[0].key if images else None
        if found.verdict is None and labels is None and boxes is None and note is None:
            return Left(place, SkipReason.EMPTY, key=key)
        if not images:
            return Left(place, Reject.NO_IMAGE, self._no_image(data))
        ours = _ours(data)
        return Said(
            at=place,
            images=images,
            etag=ours.get("etag"),
            size_bytes=ours.get("size_bytes"),
            reviewer=_reviewer(annotation, made_from),
            at_unix_s=_moment(annotation),
            verdict=found.verdict,
            labels=labels,
            boxes=boxes,
            note=note,
            uid=_uid(made_from.get("uid")),
            asked_as=AskedAs.ADJUDICATE if made_from.get("asked_as") == AskedAs.ADJUDICATE else AskedAs.DECIDE,
        )

    # -- Its image -----------------------------------------------------------------------------------------------------

    def _key(self, task: object) -> str | None:
        data = task.get("data") if isinstance(task, dict) else None
        images = self._images(data) if isinstance(data, dict) else ()
        return images[0].key if images else None

    def _images(self, data: dict[str, Any]) -> tuple[Address, ...]:
        ours = _ours(data)
        if ours:
            return (Address(ours["bucket"], ours["key"]),)
        text = self._address(data)
        return () if text is None else self._addresses.of(text)

    def _address(self, data: dict[str, Any]) -> str | None:
        if self._image_field is not None:
            found = data.get(self._image_field)
        elif isinstance(data.get("image"), str):
            found = data["image"]
        else:
            texts = [value for value in data.values() if isinstance(value, str)]
            found = texts[0] if len(texts) == 1 else None
        return found if isinstance(found, str) else None

    def _no_image(self, data: dict[str, Any]) -> str:
        text = self._address(data)
        if text is None:
            return f"data has no address of an image{f' in {self._image_field}' if self._image_field else ''}"
        return f"{text[:200]!r} is no address in S3"


# -- Members of an annotation ------------------------------------------------------------------------------------------


def _members(annotation: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = annotation.get(name)
    return found if isinstance(found, dict) else {}


def _ours(data: Mapping[str, Any]) -> dict[str, Any]:
    """What this program has written about the image into a task; empty where it is not there, or not whole."""
    found = _members(data, "asyncfilter")
    bucket, key = found.get("bucket"), found.get("key")
    if not isinstance(bucket, str) or not isinstance(key, str) or not key:
        return {}
    etag, size_bytes = found.get("etag"), found.get("size_bytes")
    return {
        "bucket": bucket,
        "key": key,
        "etag": etag.strip('"') if isinstance(etag, str) else None,
        "size_bytes": size_bytes if type(size_bytes) is int else None,
    }


def _reviewer(annotation: Mapping[str, Any], made_from: Mapping[str, Any]) -> str:
    person = annotation.get("completed_by")
    named: list[object] = [made_from.get("reviewer"), person.get("email") if isinstance(person, dict) else person]
    if isinstance(person, dict):
        named.append(person.get("id"))
    for name in named:
        if isinstance(name, str) and name.strip():
            try:
                return checked_reviewer(name)
            except BadAnswerError as error:
                raise BadResultError(Reject.BAD_REVIEWER, error.message) from error
        if is_number(name):
            return f"{NAME}:{str(name).removesuffix('.0')}"
    return NAME


def _moment(annotation: Mapping[str, Any]) -> float | None:
    moments = (moment_unix_s(annotation.get(name)) for name in ("updated_at", "created_at"))
    return next((moment for moment in moments if moment is not None), None)


def _note(value: object) -> str | None:
    try:
        return checked_note(value) if isinstance(value, str) else None
    except BadAnswerError:
        return None


def _uid(value: object) -> str | None:
    try:
        return checked_uid(value) if isinstance(value, str) else None
    except BadAnswerError:
        return None
