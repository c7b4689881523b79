"""The mistakes on an evaluation page: a card for each image, and a choice of labels that needs no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from asyncfilter.custom_labels.evaluation.evaluation import Evaluation
from asyncfilter.custom_labels.evaluation.model import SnapshotImage
from asyncfilter.report.evaluation import images_with_mistakes, wrong_labels
from asyncfilter.report.formatting import count
from asyncfilter.report.html.elements import left_out, section, text, within
from asyncfilter.report.html.evaluation_cards import Thumbnail, card

PICTURE_BYTES = 2_500_000
"""Of all thumbnails together, before they are written as text, which takes a third more."""

MOST_PICTURES = 240
"""Most thumbnails, so that each can be seen."""

MOST_CHOICES = 24
"""Most labels that can be chosen, those with the most mistakes."""

_LARGEST_BYTES = 60_000
_WORD_BYTES = 600_000
"""Of all cards without their pictures."""

CHOICE_RULES = "".join(
    f"main:has(#choice-{number}:checked) .card:not(.mistake-{number}){{display:none}}\n"
    for number in range(MOST_CHOICES)
)
"""The style sheet of the choices: a browser that does not know ``:has`` shows all cards."""

_LEGEND = (
    '<ul class="legend" aria-label="Lines in the pictures">'
    '<li><span class="line truth"></span>labels of the image</li>'
    '<li><span class="line right"></span>right prediction</li>'
    '<li><span class="line wrong"></span>wrong prediction</li>'
    '<li><span class="line missed"></span>missed, or below the threshold</li></ul>\n'
)


def thumbnail_size(pictures: int) -> tuple[int, int]:
    """Longest side in pixels and most bytes of each of so many thumbnails: the fewer there are, the larger."""
    most_bytes = min(_LARGEST_BYTES, PICTURE_BYTES // max(1, pictures))
    return (560 if most_bytes >= 40_000 else 420 if most_bytes >= 20_000 else 320), most_bytes


def mistakes_section(found: Evaluation, pictures: Mapping[str, Thumbnail], why: str) -> str:
    """The images with a mistake.

    Args:
        found: The evaluation.
        pictures: Thumbnails by the address of the image.
        why: A sentence about pictures that are not there; empty for none.
    """
    wrong = images_with_mistakes(found)
    if not wrong:
        return section("mistakes", "Mistakes", "", lead="There is no image with a mistake in the snapshot.")
    choices = Counter(label for image in wrong for label in wrong_labels(image)).most_common(MOST_CHOICES)
    numbers = {label: number for number, (label, _) in enumerate(choices)}
    most_bytes = _WORD_BYTES + sum(4 * (len(one.jpeg) + 2) // 3 for one in pictures.values())
    cards = within((_card(image, pictures, numbers) for image in wrong), most_bytes)
    return section(
        "mistakes",
        "Mistakes",
        "".join(_above(wrong, choices, why))
        + f'<ul class="cards">\n{"".join(cards)}</ul>\n'
        + left_out(len(wrong) - len(cards), "images with mistakes"),
        lead=f"{count(len(wrong))} of {count(len(found.snapshot.images))} test images. Wrong: predicted, and no label "
        "of the image; the most confident come first. Missed: a label of the image, and below the threshold.",
    )


def _card(image: SnapshotImage, pictures: Mapping[str, Thumbnail], numbers: Mapping[str, int]) -> str:
    labels = [numbers[label] for label in wrong_labels(image) if label in numbers]
    kind = "".join(f" mistake-{number}" for number in labels)
    return card(image, pictures.get(image.source_ref), kind=f"card{kind}")


def _above(wrong: Sequence[SnapshotImage], choices: Sequence[tuple[str, int]], why: str) -> Iterator[str]:
    """What stands above the cards."""
    if len(choices) > 1:
        yield '<fieldset class="choices"><legend>Show</legend>'
        yield _choice("all", "all", len(wrong), is_chosen=True)
        for number, (label, images) in enumerate(choices):
            yield _choice(str(number), label, images)
        yield "</fieldset>\n"
    if any(image.size is not None for image in wrong):
        yield _LEGEND
    if why:
        yield f'<p class="more">{text(why)}</p>\n'


def _choice(name: str, label: str, images: int, *, is_chosen: bool = False) -> str:
    chosen = " checked" if is_chosen else ""
    return (
        f'<label><input type="radio" name="choice" id="choice-{name}"{chosen}>'
        f"<span>{text(label)} <small>{count(images)}</small></span></label>"
    )
