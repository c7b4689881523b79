"""What a run notes of an image whose bytes it had in hands: kept in ``Detection.extra`` beside what the service said.

There it stands under ``asyncfilter``, a name that no answer of the service has, and so it needs no place of its own in
any checkpoint. Boxes of an image that was converted refer to what was sent: upright, and of the size noted here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from asyncfilter.model import Detection

NAME = "asyncfilter"


class Sent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was sent in place of a reference.

    Attributes:
        bytes: How many.
        width: In pixels; None where it was not looked at, as is ``height``.
        converted_from: The format of the file, where another picture was made of it; None when it went as it is.
    """

    bytes: int
    width: int | None = None
    height: int | None = None
    converted_from: str | None = None


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is noted of one image.

    Attributes:
        sent: What was sent; None when the service was given a reference.
        blake2b: Hash of the whole file, 16 bytes in hex digits.
        perceptual_hash: The perceptual hash, 16 hex digits; None when it was not asked for, or the picture shows
            nothing.
    """

    sent: Sent | None = None
    blake2b: str | None = None
    perceptual_hash: str | None = msgspec.field(default=None, name="likeness")


class _Extra(msgspec.Struct):
    asyncfilter: Provenance | None = None


_DECODER = msgspec.json.Decoder(_Extra)


def add_provenance(detection: Detection, provenance: Provenance) -> Detection:
    """``detection`` with ``provenance``, in the place of one it had."""
    extra: dict[str, Any] = msgspec.json.decode(detection.extra) if detection.extra else {}
    return msgspec.structs.replace(detection, extra=msgspec.json.encode({**extra, NAME: provenance}))


def provenance_of(detection: Detection | None) -> Provenance:
    """The provenance of a stored detection; an empty one when it has none."""
    if detection is None or not detection.extra:
        return Provenance()
    try:
        return _DECODER.decode(detection.extra).asyncfilter or Provenance()
    except msgspec.DecodeError:  # made by a detector or a version that means something else by the name
        return Provenance()
