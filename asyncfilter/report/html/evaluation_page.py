"""The page about an evaluation: figures, curves, confusions, and the pictures of the mistakes.

Its size is bounded whatever the files hold: each part has its share of ``MOST_BYTES`` and says what it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from asyncfilter import __version__
from asyncfilter.custom_labels.evaluation.comparison import Comparison
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, LabelReport
from asyncfilter.custom_labels.evaluation.model import Figures, SnapshotImage
from asyncfilter.report.evaluation import (
    NOT_COMPARABLE,
    USE_CASES,
    WHY_BOTH,
    delta,
    figure,
    said_of,
    truth_text,
)
from asyncfilter.report.formatting import count
from asyncfilter.report.html.charts import precision_recall_chart
from asyncfilter.report.html.elements import items, page, section, table, text, within
from asyncfilter.report.html.evaluation_cards import Thumbnail, card, said_html
from asyncfilter.report.html.evaluation_matrix import confusion_section

MOST_BYTES = 5_000_000
"""Largest page."""

PICTURE_BYTES = 3_000_000
"""Of all thumbnails together, before they are written as text, which takes a third more."""

MOST_PICTURES = 240
"""Most thumbnails, so that each can be seen."""

_LARGEST_BYTES = 60_000
_CARD_BYTES = PICTURE_BYTES * 4 // 3 + 250_000
_LABEL_BYTES = 200_000
_IMAGE_BYTES = 250_000
_CHART_BYTES = 150_000
"""Shares of the parts, so that all together stay below ``MOST_BYTES``."""


def evaluation_page(
    found: Evaluation, comparison: Comparison | None, pictures: Mapping[str, Thumbnail], *, why_no_pictures: str = ""
) -> str:
    """The page as HTML.

    Args:
        found: The evaluation.
        comparison: With an older version; None without one.
        pictures: Thumbnails by the address of the image; ``PICTURE_BYTES`` together at the most.
        why_no_pictures: A sentence for the reader where there are none, or not all.
    """
    parts = [
        ("figures", "Figures", _figures(found)),
        ("comparison", "Comparison", "" if comparison is None else _comparison(comparison)),
        ("labels", "Labels", _labels(found.labels)),
        ("curves", "Curves", _curves(found)),
        ("confusion", "Confusion", confusion_section(found.summary.confusion)),
        ("mistakes", "Mistakes", _mistakes(found, pictures, why_no_pictures)),
        ("images", "All images", _images(found)),
    ]
    links = items(f'<a href="#{anchor}">{text(title)}</a>' for anchor, title, html in parts if html)
    body = (
        f'{_head(found)}<nav aria-label="Parts of this page">{links}</nav>\n<main>\n'
        f"{''.join(html for _, _, html in parts)}</main>\n"
        f"<footer><p>Made by asyncfilter {text(__version__)}. This page needs no network.</p></footer>\n"
    )
    return page(f"{found.name}: evaluation", body, style="evaluation.css")


def _head(found: Evaluation) -> str:
    summary = found.summary
    facts = [
        f"finds {USE_CASES[found.use_case]}",
        f"trained with {_number(summary.training_images)} images",
        f"tested with {_number(summary.testing_images)}",
    ]
    if summary.ended:
        facts.append(f"evaluated {summary.ended[:16].replace('T', ' ')} UTC")
    notices = "".join(f'<p class="notice" role="note">{text(notice)}</p>\n' for notice in found.notices())
    project = f"Model evaluation · {summary.project}" if summary.project else "Model evaluation"
    return (
        f'<header><p class="over">{text(project)}</p><h1>{text(found.name)}</h1>'
        f'<p class="facts">{" · ".join(map(text, facts))}</p></header>\n{notices}'
    )


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else count(value)


# -- Figures -----------------------------------------------------------------------------------------------------------


def _figures(found: Evaluation) -> str:
    summary, total = found.summary, found.recount.total
    rows = [
        ("AWS, all labels", summary.figures, "of the evaluation summary"),
        (
            "Recounted, all labels",
            total.figures,
            f"{count(total.tp)} right, {count(total.fp)} wrong, {count(total.fn)} missed",
        ),
        ("Recounted, mean of the labels", found.recount.macro, "each label counts the same"),
    ]
    cells = [[text(name), *_cells(figures), text(about)] for name, figures, about in rows]
    averages = [
        f"AWS: {name} {figure(value)}"
        for name, value in (
            ("average precision", summary.average_precision),
            ("average recall", summary.average_recall),
        )
        if value is not None
    ]
    shown = table("Figures of all labels", ["", "F1", "Precision", "Recall", ""], cells)
    return section(
        "figures", "Figures", _tiles(summary.figures, total.figures) + shown + items(map(text, averages)), lead=WHY_BOTH
    )


def _tiles(ours: Figures, counted: Figures) -> str:
    tiles = [
        ("F1", ours.f1, counted.f1),
        ("Precision", ours.precision, counted.precision),
        ("Recall", ours.recall, counted.recall),
    ]
    return "".join(
        ['<dl class="tiles">']
        + [
            f'<div><dt>{name} <span>AWS</span></dt><dd class="big">{figure(aws)}</dd>'
            f"<dd>recounted {figure(ours)}</dd></div>"
            for name, aws, ours in tiles
        ]
        + ["</dl>\n"]
    )


def _cells(figures: Figures) -> Iterator[str]:
    for value in (figures.f1, figures.precision, figures.recall):
        yield _bar(value)


def _bar(value: float | None) -> str:
    """A cell with a figure from 0 to 1 and a bar behind it."""
    return f'<td class="bar" style="--v:{value:.3f}">{figure(value)}</td>' if value is not None else "<td>-</td>"


def _comparison(found: Comparison) -> str:
    rows = [
        [text(one.label), figure(one.f1_old), figure(one.f1_new), _delta(one.delta)]
        for one in sorted(found.labels, key=lambda one: (one.delta is None, one.delta or 0))
    ]
    total = [text("All labels"), figure(found.f1_old), figure(found.f1_new), _delta(found.f1_delta)]
    warning = ""
    if not found.test_sets_equal:
        told = "; ".join(found.differences())
        warning = f'<p class="notice" role="note">{text(f"{told}. {NOT_COMPARABLE}")}</p>\n'
    lead = f"AWS's F1 of each label in {found.old} and in {found.new}."
    if found.test_sets_equal:
        lead += " Both were tested with the same images."
    kept, left_out = _kept_rows([total, *rows], _LABEL_BYTES)
    shown = table("F1 of each label in both versions", ["", found.old, found.new, "Change"], kept)
    return section(
        "comparison", f"Compared with {found.old}", warning + shown + _left_out(left_out, "labels"), lead=lead
    )


def _delta(value: float | None) -> str:
    kind = "" if not value else ' class="up"' if value > 0 else ' class="down"'
    return f"<td{kind}>{delta(value)}</td>"


def _labels(labels: Sequence[LabelReport]) -> str:
    heads = ["Label", "F1", "Precision", "Recall", "Threshold", "Images", "Recounted F1", "Right", "Wrong", "Missed"]
    rows = [
        [
            text(one.result.label),
            *_cells(one.result.figures),
            figure(one.result.threshold),
            "-" if one.result.test_images is None else count(one.result.test_images),
            _bar(one.tally.figures.f1),
            *map(count, one.tally),
        ]
        for one in labels
    ]
    kept, left_out = _kept_rows(rows, _LABEL_BYTES)
    return section(
        "labels",
        "Labels",
        table("Figures of each label", heads, kept) + _left_out(left_out, "labels"),
        lead="F1, precision, recall, threshold and images are AWS's; what is counted from the snapshot stands right of "
        "them. The threshold is the one that AWS assumes: a prediction counts from this confidence on.",
    )


def _kept_rows(rows: Sequence[Sequence[str]], most_bytes: int) -> tuple[Sequence[Sequence[str]], int]:
    kept, left_out = within(("".join(row) for row in rows), most_bytes)
    return rows[: len(kept)], left_out


def _left_out(number: int, what: str) -> str:
    return f'<p class="more">{count(number)} more {what} are not on this page.</p>\n' if number else ""


def _curves(found: Evaluation) -> str:
    if found.curves is None:
        return section("curves", "Curves", "", lead="Curves need scikit-learn: pip install 'asyncfilter[datasets]'.")
    thresholds = {one.result.label: one.result.threshold for one in found.labels}
    charts = [
        f"<figure>{precision_recall_chart(label, points, thresholds.get(label))}"
        f"<figcaption>{text(label)}</figcaption></figure>\n"
        for label, points in sorted(found.curves.items(), key=lambda item: max((one.f1 for one in item[1]), default=0))
        if points
    ]
    if not charts:
        return ""
    kept, left_out = within(charts, _CHART_BYTES)
    return section(
        "curves",
        "Precision and recall at every threshold",
        f'<div class="charts">\n{"".join(kept)}</div>\n{_left_out(left_out, "labels")}',
        lead="From the confidences in the snapshot, the weakest labels first. The dot is AWS's assumed threshold.",
    )


# -- Images ------------------------------------------------------------------------------------------------------------


def _mistakes(found: Evaluation, pictures: Mapping[str, Thumbnail], why: str) -> str:
    wrong = images_with_mistakes(found)
    if not wrong:
        return section("mistakes", "Mistakes", "", lead="There is no image with a mistake in the snapshot.")
    legend = _LEGEND if any(image.size is not None for image in wrong) else ""
    cards, left_out = within((card(image, pictures.get(image.source_ref)) for image in wrong), _CARD_BYTES)
    note = f'<p class="more">{text(why)}</p>\n' if why else ""
    return section(
        "mistakes",
        "Mistakes",
        f'{legend}{note}<ul class="cards">\n{"".join(cards)}</ul>\n{_left_out(left_out, "images with mistakes")}',
        lead=f"{count(len(wrong))} of {count(len(found.snapshot.images))} test images. Wrong: said, and not so; the "
        "most confident come first. Missed: there, and not said with enough confidence.",
    )


_LEGEND = (
    '<ul class="legend" aria-label="Lines in the pictures">'
    '<li><span class="line truth"></span>what the image has</li>'
    '<li><span class="line right"></span>rightly said</li>'
    '<li><span class="line wrong"></span>wrongly said</li>'
    '<li><span class="line missed"></span>missed, or below the threshold</li></ul>\n'
)


def thumbnail_size(pictures: int) -> tuple[int, int]:
    """Longest side in pixels and most bytes of each of so many thumbnails: the fewer there are, the larger."""
    most_bytes = min(_LARGEST_BYTES, PICTURE_BYTES // max(1, pictures))
    return (560 if most_bytes >= 40_000 else 420 if most_bytes >= 20_000 else 320), most_bytes


def images_with_mistakes(found: Evaluation) -> Sequence[SnapshotImage]:
    """Images with a mistake: those about which the model was surest come first."""
    wrong = [image for image in found.snapshot.images if image.has_mistake]
    return sorted(
        wrong, key=lambda image: -max((one.confidence or 0 for one in said_of(image) if one.outcome == "fp"), default=0)
    )


def _images(found: Evaluation) -> str:
    images = found.snapshot.images
    rows = [
        [
            text(image.source_ref),
            _verdict(image),
            text(truth_text(image.truths)),
            f'<td class="said">{said_html(image)}</td>',
        ]
        for image in images
    ]
    kept, left_out = _kept_rows(rows, _IMAGE_BYTES)
    shown = table("All test images", ["Image", "", "Has", "The model said"], kept, kind="images")
    return section(
        "images",
        "All test images",
        f"<details><summary>{text(f'{count(len(images))} images, what they have and what the model said')}</summary>\n"
        f"{shown}{_left_out(left_out, 'images')}</details>\n",
    )


def _verdict(image: SnapshotImage) -> str:
    return '<td class="wrong">mistake</td>' if image.has_mistake else '<td class="right">right</td>'
