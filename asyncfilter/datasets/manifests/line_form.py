"""The lines that this program writes: compact JSON, with the fields in one order: equal input gives equal bytes.

Image-level attributes are numbered and never made from a label's text, so that no label can collide with another key.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from asyncfilter.datasets.manifests.model import (
    BOX_TYPE,
    IMAGE_TYPE,
    METADATA,
    SERVICE_KEYS,
    SOURCE_REF,
    ImageSize,
    PixelBox,
)
from asyncfilter.errors import UsageError

DEFAULT_IMAGE_ATTRIBUTE = "label"
DEFAULT_BOX_ATTRIBUTE = "boxes"

_ENCODER = msgspec.json.Encoder()
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineForm:
    """What is the same in all lines of one kind that a command writes.

    Attributes:
        attribute: The name of the attribute; image-level ones have a number after it.
        job_name: ``job-name`` in the metadata.
        human_annotated: Whether people, or folders and tables that people made, gave the labels.
        creation_date: As ``creation_date`` returns it.
    """

    attribute: str
    job_name: str
    human_annotated: bool
    creation_date: str

    @property
    def human(self) -> str:
        """``human-annotated`` in the metadata."""
        return "yes" if self.human_annotated else "no"


def line_form(
    *, attribute: str | None, default: str, job_name: str | None, human_annotated: bool, creation_date: str
) -> LineForm:
    """The form of one kind of line.

    Args:
        attribute: ``--attribute``; None for the default.
        default: ``DEFAULT_IMAGE_ATTRIBUTE`` or ``DEFAULT_BOX_ATTRIBUTE``.
        job_name: ``--job-name``; None for the default.
        human_annotated: See ``LineForm``.
        creation_date: As ``creation_date`` returns it.

    Raises:
        UsageError: The attribute's name cannot be one.
    """
    name = default if attribute is None else attribute
    if (problem := attribute_problem(name)) is not None or name in SERVICE_KEYS or not name:
        why = problem or ("it is empty" if not name else "the service itself writes that key")
        raise UsageError(f"--attribute {name!r}: {why}", hint=f"Choose another name, such as {default}.")
    return LineForm(
        attribute=name,
        job_name=f"labeling-job/{name}" if job_name is None else job_name,
        human_annotated=human_annotated,
        creation_date=creation_date,
    )


def attribute_problem(name: str) -> str | None:
    """Why a name cannot be that of an attribute (SageMaker guide, *Input data*, *Output data*); None when it can."""
    if name == SOURCE_REF:
        return "this is the key of the image's address"
    if METADATA in name:
        return f"a name must not contain {METADATA}"
    if name.endswith("-ref"):
        return "a name must not end in -ref"
    return "a name must not begin with $" if name.startswith("$") else None


def creation_date(given: str | None, environ: Mapping[str, str], now_s: float) -> str:
    """The moment that all lines of a command have: ``YYYY-MM-DDTHH:MM:SS.mmm`` in UTC.

    Args:
        given: ``--creation-date``, in ISO 8601; without an offset it is UTC.
        environ: ``SOURCE_DATE_EPOCH`` holds where nothing is given.
        now_s: Seconds since 1970, where neither is.

    Raises:
        UsageError: What is given is no moment.
    """
    if given is not None:
        return _written_moment(_moment(given))
    epoch = environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return _written_moment(datetime.fromtimestamp(now_s, UTC))
    try:
        if _SECONDS.fullmatch(epoch):
            return _written_moment(datetime.fromtimestamp(int(epoch), UTC))
    except (ValueError, OverflowError, OSError):
        pass
    raise UsageError(
        f"SOURCE_DATE_EPOCH={epoch!r} is no moment",
        hint="Set it to whole seconds since 1970, or give --creation-date.",
    )


def _moment(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--creation-date {given!r} is no moment in ISO 8601", hint="Write it like 2026-11-27T10:00:00.000."
        ) from error


def _written_moment(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


# -- Members of a line -------------------------------------------------------------------------------------------------


def encode_line(members: Mapping[str, Any]) -> bytes:
    """One line: compact JSON in UTF-8 and a line feed; only what JSON cannot hold raw is escaped."""
    return encode_json(members) + b"\n"


def encode_json(value: object) -> bytes:
    """Compact JSON in UTF-8, of anything that a manifest may hold.

    A lone half of a surrogate pair, which UTF-8 does not have, stays an escape; a number beyond the range of a float
    becomes null.
    """
    try:
        return _ENCODER.encode(value)
    except (UnicodeEncodeError, OverflowError):  # OverflowError: a whole number of more than 64 bits
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def _finite(value: object) -> object:
    """A value with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def confidence_number(confidence: float) -> float | int:
    """A confidence of 0 to 1 as it is written: with at most 6 decimals, and 1 rather than 1.0."""
    kept = round(min(max(confidence, 0.0), 1.0), 6)
    return int(kept) if kept == int(kept) else kept


def image_members(labels: Iterable[tuple[str, float]], form: LineForm) -> dict[str, Any]:
    """The members for image-level labels, each with its confidence of 0 to 1, in the order given."""
    members: dict[str, Any] = {}
    for number, (name, confidence) in enumerate(labels):
        attribute = f"{form.attribute}{number}"
        members[attribute] = 1
        members[attribute + METADATA] = {
            "class-name": name,
            "confidence": confidence_number(confidence),
            "type": IMAGE_TYPE,
            "job-name": form.job_name,
            "human-annotated": form.human,
            "creation-date": form.creation_date,
        }
    return members


def box_members(
    size: ImageSize, boxes: Sequence[PixelBox], numbers: Mapping[str, int], form: LineForm
) -> dict[str, Any]:
    """The members for the boxes of one image.

    Args:
        size: Of the upright image.
        boxes: In whole pixels.
        numbers: The ``class_id`` of each label.
        form: Of the line.
    """
    used = sorted({numbers[box.label]: box.label for box in boxes}.items())
    return {
        form.attribute: {
            "image_size": [{"width": size.width, "height": size.height, "depth": size.depth}],
            "annotations": [
                {
                    "class_id": numbers[box.label],
                    "top": box.top,
                    "left": box.left,
                    "width": box.width,
                    "height": box.height,
                }
                for box in boxes
            ],
        },
        form.attribute + METADATA: {
            "objects": [{"confidence": confidence_number(box.confidence)} for box in boxes],
            "class-map": {str(number): label for number, label in used},
            "type": BOX_TYPE,
            "human-annotated": form.human,
            "creation-date": form.creation_date,
            "job-name": form.job_name,
        },
    }
