"""Files of people's answers as other programs write them, and an import of them without a command line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asyncfilter.answers import AnswersFile, open_answers, open_reader
from asyncfilter.datasets.answers.addresses import Addresses
from asyncfilter.datasets.answers.answer_csv import AnswerCsvReader
from asyncfilter.datasets.answers.detecting import AnswerFormat
from asyncfilter.datasets.answers.ground_truth import GroundTruthReader
from asyncfilter.datasets.answers.importing import AnswerImport
from asyncfilter.datasets.answers.label_studio import LabelStudioReader
from asyncfilter.datasets.answers.rows import read_rows
from asyncfilter.datasets.answers.trial import Trial
from asyncfilter.datasets.answers.units import ReadNotes, Unit
from asyncfilter.datasets.answers.words import VerdictWords
from asyncfilter.policy.answers.fold import fold
from asyncfilter.records.answers import CurrentAnswer, Subject

BUCKET = "pictures"
NOW_S = 1_800_000_000.0
KEYS = ("a.jpg", "birds/b c.jpg", "=1+1.jpg", "'@x.jpg", "ü/ß.jpg", "q?v=1.jpg", "50%20off.jpg", 'quo"te,;.jpg')


def subject(key: str, *, bucket: str = BUCKET) -> Subject:
    """The present version of an image; one that no other image is the same as."""
    return Subject(bucket=bucket, key=key, etag=f"{key.encode().hex()[:20]}-2", size_bytes=1000 + len(key))


class Known:
    """Images that answers may be about."""

    def __init__(self, keys: Sequence[str] = KEYS, bucket: str = BUCKET) -> None:
        self.bucket = bucket
        self.subjects = {key: subject(key, bucket=bucket) for key in keys}

    def find(self, keys: Sequence[str]) -> Mapping[str, Subject]:
        """Those of the keys that are known; all of them can be asked for in a database."""
        b"".join(key.encode() for key in keys)
        return {key: self.subjects[key] for key in keys if key in self.subjects}


def units_of(
    content: bytes,
    format_: AnswerFormat,
    notes: ReadNotes | None = None,
    *,
    maps: Sequence[str] = (),
    base: str | None = None,
    image_field: str | None = None,
    machine: bool = False,
    bucket: str = BUCKET,
) -> Iterator[Unit]:
    """The units of a file."""
    notes, words = notes or ReadNotes(), VerdictWords(maps)
    addresses, stream = Addresses(bucket=bucket, base=base), io.BytesIO(content)
    match format_:
        case AnswerFormat.CSV:
            return AnswerCsvReader(words=words, addresses=addresses, notes=notes).read(stream)
        case AnswerFormat.JSONL:
            return read_rows(stream, notes)
        case AnswerFormat.GROUND_TRUTH:
            reader = GroundTruthReader(words=words, addresses=addresses, notes=notes, takes_machine=machine)
            return reader.read(stream)
    return LabelStudioReader(words=words, addresses=addresses, notes=notes, image_field=image_field).read(stream)


def imported(
    content: bytes,
    format_: AnswerFormat,
    path: Path,
    *,
    known: Known | None = None,
    dry_run: bool = False,
    **options: Any,
) -> AnswerImport:
    """An import into the answers file at ``path``."""
    found = AnswerImport(known=known or Known(), reviewer=None, default_reviewer="me", now_unix_s=NOW_S)
    found.add_all(units_of(content, format_, found.notes, **options))
    found.settle()
    if dry_run:
        reader = open_reader(path)
        found.prepare(Trial(reader))
        if reader is not None:
            reader.close()
    else:
        with open_answers(path) as file, file.transaction() as writing:
            found.prepare(writing)
            found.store(writing)
    found.close()
    check_sums(found)
    return found


def check_sums(found: AnswerImport) -> None:
    """Every unit is in exactly one place."""
    left = found.lost.total() + found.skipped.total() + found.rejected.total()
    assert found.read == found.matched + left
    assert found.changed <= found.imported
    told = found.lost.total() + found.rejected.total()
    assert told <= found.problems_total
    assert len(found.problems) == min(1000, found.problems_total)
    assert found.reviewers.total() == found.matched


def current(path: Path) -> dict[str, CurrentAnswer | None]:
    """The current answer about each image that has rows, by its first key."""
    with open_answers(path) as file:
        return _current(file)


def _current(file: AnswersFile) -> dict[str, CurrentAnswer | None]:
    with file.transaction() as writing:
        images = writing.images_of([subject(key) for key in KEYS])
    return {key: fold(image.rows) for key, image in zip(KEYS, images, strict=True) if image is not None}


# -- Label Studio ------------------------------------------------------------------------------------------------------


def choice(*texts: str, name: str = "choice") -> dict[str, Any]:
    """A result of choices."""
    return {"id": "x", "from_name": name, "to_name": "image", "type": "choices", "value": {"choices": list(texts)}}


def rectangle(
    x: object = 10, y: object = 10, width: object = 20, height: object = 20, *, label: str = "Dog", **more: Any
) -> dict[str, Any]:
    """A result of a box, in percent; members of the result by name, ``rotation`` in its value."""
    rotation = more.pop("rotation", 0)
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": [label]}
    result = {"id": "y", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "image_rotation": 0}
    return {**result, "original_width": 400, "original_height": 200, **more, "value": value}


def annotation(*results: Any, **more: Any) -> dict[str, Any]:
    """An annotation as Label Studio's export has it."""
    return {
        "id": 7,
        "completed_by": 3,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2024-03-04T10:00:00.123456Z",
        "updated_at": "2024-03-04T10:00:05.000000Z",
        "lead_time": 4.2,
        "prediction": {},
        "result_count": 0,
        "task": 1,
        **more,
    }


def task(image: object = f"s3://{BUCKET}/a.jpg", *annotations: Any, **more: Any) -> dict[str, Any]:
    """A task as Label Studio's export has it."""
    return {
        "id": 1,
        "annotations": list(annotations),
        "file_upload": None,
        "drafts": [],
        "predictions": [{"result": [choice("reject")], "score": 0.9}],
        "data": {"image": image},
        "meta": {},
        "created_at": "2024-03-04T09:00:00Z",
        "updated_at": "2024-03-04T10:00:05Z",
        "project": 1,
        **more,
    }


def export(*tasks: Any) -> bytes:
    """An export of tasks as JSON."""
    return json.dumps(list(tasks)).encode()
