"""The stored form of a detection: compact bytes that decode to exactly the same numbers.

    flags     1 byte   bits 0-1 number mode, bits 2-3 integer width, bit 4 something extra follows
    integers           model version, number of labels n, number of labels with boxes m,
                       n label numbers, m pairs (position of the label, number of its boxes)
    numbers            n confidences, then per box: confidence, left, top, width, height
    extra              zlib, to the end

Labels and model versions are numbers of interned tables. All is little-endian. Rekognition computes in float32 and
writes either all digits or ten decimals, so nearly every response fits float32; the mode determines how it is widened.
A mode is used only when it restores every number of the response bit by bit; float64 always does.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache

from asyncfilter.checkpoint.errors import CorruptRowError
from asyncfilter.checkpoint.interning import Interned, LabelDefinition
from asyncfilter.model import Box, Detection, Instance, Label, LabelFilter

_FLOAT64 = 3
_SCALES = (None, 1e10, 1e4, None)
"""By mode: float32 widened as it is, rounded to ten decimals, rounded to four; float64 as it is."""

_WIDTHS = (("B", 1), ("H", 2), ("I", 4))
_EXTRA = 0x10
_NUMBERS_PER_BOX = 5

MOST_EXTRA_BYTES = 16 << 20
"""Largest extra part of a detection, inflated: an answer has at most 4 MB."""

_ROUNDER = 6755399441055744.0
"""1.5 * 2**52: adding and subtracting it rounds a double below 2**51 to an integer, half to even."""


def encode(detection: Detection, labels: Interned[LabelDefinition], words: Interned[str]) -> bytes:
    """The stored form of ``detection``; new labels and model versions are added to the tables."""
    numbers = labels.numbers(
        [(label.name, label.parents, label.aliases, label.categories) for label in detection.labels]
    )
    values = [label.confidence_pct for label in detection.labels]
    boxed: list[int] = []
    for position, label in enumerate(detection.labels):
        if label.instances:
            boxed += (position, len(label.instances))
            for instance in label.instances:
                box = instance.box
                values += (instance.confidence_pct, box.left, box.top, box.width, box.height)
    integers = [words.number(detection.model_version), len(numbers), len(boxed) // 2, *numbers, *boxed]
    width = _width(max(integers))
    mode, packed = _pack_numbers(values)
    flags = mode | width << 2 | (_EXTRA if detection.extra else 0)
    head = _struct(_WIDTHS[width][0], len(integers)).pack(*integers)
    extra = zlib.compress(detection.extra) if detection.extra else b""
    return b"".join((flags.to_bytes(1, "little"), head, packed, extra))


def decode(stored: bytes, labels: Interned[LabelDefinition], words: Interned[str]) -> Detection:
    """The detection whose stored form is ``stored``.

    Raises:
        CorruptRowError: These bytes are not a stored detection, or the tables do not belong to them.
    """
    try:
        return _decode(stored, labels, words)
    except (struct.error, zlib.error, LookupError, ValueError) as exc:
        raise CorruptRowError(f"not a stored detection: {exc}") from exc


class AskedLabels:
    """Decodes only the wanted labels of stored detections.

    Args:
        labels: The table of the file.
        is_asked: True for a label that is wanted.
    """

    def __init__(self, labels: Interned[LabelDefinition], is_asked: LabelFilter) -> None:
        self.is_asked = is_asked
        self._labels = labels
        self._definitions: dict[int, LabelDefinition] = {}
        self._past = 0

    def catch_up(self) -> None:
        """Call ``is_asked`` for the new labels of the table; to be called before rows with them are decoded."""
        definitions = self._labels.all()
        for number in range(self._past, len(definitions)):
            if self.is_asked(_label(definitions[number], 0.0)):
                self._definitions[number] = definitions[number]
        self._past = len(definitions)

    def decode(self, stored: bytes) -> Detection:
        """The wanted labels of the detection whose stored form is ``stored``, without boxes and extra.

        Raises:
            CorruptRowError: These bytes are not a stored detection, or the tables do not belong to them.
        """
        try:
            return self._decode(stored)
        except (struct.error, LookupError) as exc:
            raise CorruptRowError(f"not a stored detection: {exc}") from exc

    def _decode(self, stored: bytes) -> Detection:
        flags = stored[0]
        mode = flags & 3
        code, size = _WIDTHS[flags >> 2 & 3]
        _, count, boxed = _struct(code, 3).unpack_from(stored, 1)
        at = 1 + 3 * size
        # Bytes are integers already; for most images two checks on them are enough, without a loop.
        numbers = stored[at : at + count] if size == 1 else _struct(code, count).unpack_from(stored, at)
        if len(numbers) != count or (count and max(numbers) >= self._past):
            raise LookupError("its labels are missing")
        if self._definitions.keys().isdisjoint(numbers):
            return _NOTHING_ASKED
        at += size * (count + 2 * boxed)
        values = _struct("d" if mode == _FLOAT64 else "f", count).unpack_from(stored, at)
        asked = [
            (definition, value)
            for number, value in zip(numbers, values, strict=True)
            if (definition := self._definitions.get(number))
        ]
        confidences_pct = _widen([value for _, value in asked], mode)
        return Detection(tuple(map(_label, [definition for definition, _ in asked], confidences_pct)))


def _decode(stored: bytes, labels: Interned[LabelDefinition], words: Interned[str]) -> Detection:
    flags = stored[0]
    code, size = _WIDTHS[flags >> 2 & 3]
    model, count, boxed = _struct(code, 3).unpack_from(stored, 1)
    at = 1 + 3 * size
    integers = _struct(code, count + 2 * boxed).unpack_from(stored, at)
    at += size * (count + 2 * boxed)
    amount = count + _NUMBERS_PER_BOX * sum(integers[count + 1 :: 2])
    values = _unpack_numbers(stored, at, flags & 3, amount)
    at += (8 if flags & 3 == _FLOAT64 else 4) * amount
    instances = _instances(integers[count:], values, count)
    ours = integers[:count]
    definitions = labels.values(max(ours, default=-1) + 1)
    found = [
        _label(definitions[number], confidence_pct, boxes)
        # Not strict: the numbers of the boxes follow the confidences in `values`.
        for number, confidence_pct, boxes in zip(ours, values, instances, strict=False)
    ]
    extra = _inflated(stored[at:]) if flags & _EXTRA else b""
    return Detection(tuple(found), words.values(model + 1)[model], extra)


def _inflated(stored: bytes) -> bytes:
    """The extra part of a detection; a file that somebody else made may hold what inflates without end."""
    inflating = zlib.decompressobj()
    found = inflating.decompress(stored, MOST_EXTRA_BYTES)
    if not inflating.eof:
        raise ValueError(f"its extra part is cut off, or has over {MOST_EXTRA_BYTES:,} bytes")
    return found


_NOTHING_ASKED = Detection(())


def _label(definition: LabelDefinition, confidence_pct: float, instances: tuple[Instance, ...] = ()) -> Label:
    name, parents, aliases, categories = definition
    return Label(name, confidence_pct, instances, parents, aliases, categories)


def _instances(boxed: Sequence[int], values: Sequence[float], count: int) -> list[tuple[Instance, ...]]:
    """The instances of each of ``count`` labels; ``boxed`` is the pairs of position and number of boxes."""
    found: list[tuple[Instance, ...]] = [()] * count
    first = count
    for position, boxes in zip(boxed[::2], boxed[1::2], strict=True):
        past = first + _NUMBERS_PER_BOX * boxes
        found[position] = tuple(
            Instance(Box(*values[i + 1 : i + _NUMBERS_PER_BOX]), values[i])
            for i in range(first, past, _NUMBERS_PER_BOX)
        )
        first = past
    return found


@lru_cache(maxsize=1024)
def _struct(code: str, count: int) -> struct.Struct:
    return struct.Struct(f"<{count}{code}")


def _width(largest: int) -> int:
    return 0 if largest < 1 << 8 else 1 if largest < 1 << 16 else 2


def _pack_numbers(values: Sequence[float]) -> tuple[int, bytes]:
    exact = _struct("d", len(values))
    wanted = exact.pack(*values)
    narrow = _struct("f", len(values))
    try:
        packed = narrow.pack(*values)
    except OverflowError:
        return _FLOAT64, wanted
    singles = narrow.unpack(packed)
    for mode in range(_FLOAT64):
        # Bytes are compared, because -0.0 equals 0.0 and NaN does not equal itself.
        if exact.pack(*_widen(singles, mode)) == wanted:
            return mode, packed
    return _FLOAT64, wanted


def _unpack_numbers(stored: bytes, at: int, mode: int, count: int) -> Sequence[float]:
    return _widen(_struct("d" if mode == _FLOAT64 else "f", count).unpack_from(stored, at), mode)


def _widen(singles: Sequence[float], mode: int) -> Sequence[float]:
    scale = _SCALES[mode]
    if scale is None:
        return singles
    # Exact: 24 bits of a float32 times 24 bits of 10**10 fit a double, and the division rounds as parsing text does.
    return [(single * scale + _ROUNDER - _ROUNDER) / scale for single in singles]
