"""Provenance: what a run records about an image whose bytes it read, in ``Detection.extra`` beside the response.

It is stored under ``asyncfilter``, a name that no response of the service has, so that no checkpoint needs a column for
it. Boxes of a converted image refer to what was sent: upright, and of the size recorded here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asyncfilter.model import Detection

NAME = "asyncfilter"


class Sent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The bytes that were sent with a request.

    Attributes:
        bytes: Their number.
        width: In pixels; None where it was not read; ``height`` likewise.
        converted_from: The format of the file, if the image was converted; None when it was sent as it is.
    """

    bytes: int
    width: int | None = None
    height: int | None = None
    converted_from: str | None = None


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is recorded about one image.

    Attributes:
        sent: What was sent; None when the service read the image from S3.
        blake2b: Hash of the whole file, 16 bytes in hex digits.
        perceptual_hash: The perceptual hash, 16 hex digits; None when it was not requested, or the image has no
            structure to hash.
        lane: The lane whose answer it is; None without lanes.
    """

    sent: Sent | None = None
    blake2b: str | None = None
    perceptual_hash: str | None = msgspec.field(default=None, name="likeness")
    lane: str | None = None


class _Extra(msgspec.Struct):
    asyncfilter: Provenance | None = None


_DECODER = msgspec.json.Decoder(_Extra)


def add_provenance(detection: Detection, provenance: Provenance) -> Detection:
    """``detection`` with ``provenance``, which replaces an earlier one."""
    extra: dict[str, Any] = msgspec.json.decode(detection.extra) if detection.extra else {}
    return msgspec.structs.replace(detection, extra=msgspec.json.encode({**extra, NAME: provenance}))


def add_lane(detection: Detection, lane: str) -> Detection:
    """``detection`` as the answer of a lane."""
    return add_provenance(detection, msgspec.structs.replace(provenance_of(detection), lane=lane))


def provenance_of(detection: Detection | None) -> Provenance:
    """The provenance of a stored detection; an empty one when it has none."""
    if detection is None or not detection.extra:
        return Provenance()
    try:
        return _DECODER.decode(detection.extra).asyncfilter or Provenance()
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
    ):  # written by a detector or a version that uses the name for something else
        return Provenance()
