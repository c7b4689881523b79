"""One test image of an evaluation page: its picture with boxes, its labels, and its predictions beside them."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from asyncfilter.custom_labels.evaluation.model import MISTAKES, Frame, PredictionOutcome, SnapshotImage
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.report.evaluation import LabelOutcome, outcome_text, outcomes_of, truth_text
from asyncfilter.report.html.elements import attribute, items, text

_TALLEST_PX = 340
_SAME_SHAPE = 0.04
"""Ratios of sides that differ by less are the same shape: thumbnails are rounded to whole pixels."""
_CLASSES = {
    PredictionOutcome.TRUE_POSITIVE: "right",
    PredictionOutcome.FALSE_POSITIVE: "wrong",
    PredictionOutcome.FALSE_NEGATIVE: "missed",
}
_MOST_CHIPS = 60


class Thumbnail(NamedTuple):
    """A small upright JPEG; size in pixels.

    Attributes:
        orientation: How the image is stored, by its EXIF metadata: 1 upright, 5 to 8 on its side.
    """

    jpeg: bytes
    width: int
    height: int
    orientation: int = 1


class _Drawn(NamedTuple):
    """A box to draw, in pixels of the snapshot; ``number`` is that of the text about it."""

    frame: Frame
    kind: str
    number: int | None


def card(image: SnapshotImage, thumbnail: Thumbnail | None, *, kind: str) -> str:
    """An image with its picture, where there is one; ``kind`` has its classes in the style sheet."""
    picture = "" if thumbnail is None else _picture(image, thumbnail)
    predicted = outcomes_of(image)[:_MOST_CHIPS]
    numbers = list(_numbers(predicted, has_boxes=image.size is not None))
    chips = items(_chip(one, number) for one, number in zip(predicted, numbers, strict=True)) or "<p>none</p>"
    return (
        f'<li class="{kind}">{picture}<dl><div><dt>labels</dt><dd>{text(truth_text(image.truths))}</dd></div>'
        f'<div><dt>predicted</dt><dd class="predicted">{chips}</dd></div></dl>'
        f'<p class="ref">{text(image.source_ref)}</p></li>\n'
    )


def outcomes_html(image: SnapshotImage) -> str:
    """The predictions about an image, as a list."""
    return items(_chip(one, None) for one in outcomes_of(image)[:_MOST_CHIPS]) or "none"


def _numbers(predicted: Sequence[LabelOutcome], *, has_boxes: bool) -> Iterator[int | None]:
    """A number for each mistake about a box."""
    number = 0
    for one in predicted:
        if has_boxes and one.outcome in MISTAKES:
            number += 1
            yield number
        else:
            yield None


def _chip(predicted: LabelOutcome, number: int | None) -> str:
    badge = "" if number is None else f"<b>{number}</b> "
    return f'<span class="chip {_CLASSES[predicted.outcome]}">{badge}{text(outcome_text(predicted))}</span>'


# -- The picture -------------------------------------------------------------------------------------------------------


def _picture(image: SnapshotImage, thumbnail: Thumbnail) -> str:
    width, height = thumbnail.width, thumbnail.height
    predicted = ", ".join(map(outcome_text, outcomes_of(image)[:_MOST_CHIPS])) or "none"
    alt = f"{image.source_ref}: labels {truth_text(image.truths)}; predicted {predicted}"
    widest_px = max(1, round(_TALLEST_PX * width / height))
    return (
        f'<div class="picture"><div class="frame" style="max-width:{widest_px}px">'
        f'<img decoding="async" width="{width}" height="{height}" alt="{attribute(alt)}" '
        f'src="data:image/jpeg;base64,{b64encode(thumbnail.jpeg).decode()}">{_overlay(image, thumbnail)}</div></div>'
    )


def _overlay(image: SnapshotImage, thumbnail: Thumbnail) -> str:
    """The boxes over the picture; none where the snapshot has another shape of the image, which they would not fit."""
    stored = image.size
    drawn = list(_drawn(image))
    if stored is None or not drawn:
        return ""
    size = _shown_size(stored, thumbnail)
    if size is None:
        return '<span class="unfit">boxes not drawn: the snapshot has another shape of this image</span>'
    if size is not stored:
        drawn = [one._replace(frame=turned(one.frame, stored, thumbnail.orientation)) for one in drawn]
    scale = max(size.width, size.height) / 300
    boxes = "".join(_box(one, size, scale) for one in drawn)
    return f'<svg viewBox="0 0 {size.width} {size.height}" preserveAspectRatio="none" aria-hidden="true">{boxes}</svg>'


def _shown_size(size: ImageSize, thumbnail: Thumbnail) -> ImageSize | None:
    """The size of the upright image: as the snapshot has it, or with its sides changed where that is on its side.

    Whether the service turns images is not known, so both are found in snapshots; None where neither is the shape.
    """
    if _is_same_shape(size, thumbnail):
        return size
    on_its_side = ImageSize(size.height, size.width)
    return on_its_side if thumbnail.orientation >= 5 and _is_same_shape(on_its_side, thumbnail) else None


def turned(frame: Frame, size: ImageSize, orientation: int) -> Frame:
    """A box of an image that is stored on its side, in the upright image.

    Args:
        frame: In the image as it is stored.
        size: Of the image as it is stored.
        orientation: 5 to 8.
    """
    left, top, width, height = frame.left, frame.top, frame.width, frame.height
    x = top if orientation in {5, 8} else size.height - top - height
    y = left if orientation in {5, 6} else size.width - left - width
    return Frame(x, y, height, width)


def _is_same_shape(size: ImageSize, thumbnail: Thumbnail) -> bool:
    ratio = size.width * thumbnail.height / (size.height * thumbnail.width)
    least = 1 / min(thumbnail.width, thumbnail.height)
    return abs(ratio - 1) <= max(_SAME_SHAPE, least)


def _drawn(image: SnapshotImage) -> Iterator[_Drawn]:
    """The boxes of the image, those that were predicted, and those that were missed, with the numbers of ``card``."""
    missed = Counter(image.missed)
    for truth in image.truths:
        missed[truth] -= 1
        if truth.frame is not None and missed[truth] < 0:
            yield _Drawn(truth.frame, "truth", None)
    number = 0
    for found in image.predictions:
        if found.outcome is None or found.outcome is PredictionOutcome.TRUE_NEGATIVE:
            continue
        is_mistake = found.outcome in MISTAKES
        number += is_mistake
        if found.frame is not None:
            yield _Drawn(found.frame, _CLASSES[found.outcome], number if is_mistake else None)
    for truth in image.missed:
        number += 1
        if truth.frame is not None:
            yield _Drawn(truth.frame, "missed", number)


def _box(one: _Drawn, size: ImageSize, scale: float) -> str:
    left, top = _clamped(one.frame.left, size.width), _clamped(one.frame.top, size.height)
    right = _clamped(one.frame.left + one.frame.width, size.width)
    bottom = _clamped(one.frame.top + one.frame.height, size.height)
    place = f'x="{left:.1f}" y="{top:.1f}" width="{max(0, right - left):.1f}" height="{max(0, bottom - top):.1f}"'
    box = f'<rect class="halo" {place}/><rect class="{one.kind}" {place}/>'
    if one.number is None:
        return box
    radius = 9 * scale
    x, y = min(max(left, radius), size.width - radius), min(max(top, radius), size.height - radius)
    return (
        f'{box}<circle class="{one.kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        f'<text x="{x:.1f}" y="{y + 4.5 * scale:.1f}" font-size="{13 * scale:.1f}">{one.number}</text>'
    )


def _clamped(value: float, most: float) -> float:
    return max(0.0, min(value, most))
