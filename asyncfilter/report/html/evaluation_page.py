"""The page about an evaluation: figures, curves, confusions, and the pictures of the mistakes.

Its size is bounded whatever the files hold: each part has its share of ``MOST_BYTES`` and names what it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping

from asyncfilter.custom_labels.evaluation.comparison import Comparison
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation
from asyncfilter.custom_labels.evaluation.model import SnapshotImage
from asyncfilter.report.evaluation import USE_CASES, moment, truth_text
from asyncfilter.report.formatting import count
from asyncfilter.report.html.elements import items, long_table, page, section, text
from asyncfilter.report.html.evaluation_cards import Thumbnail, outcomes_html
from asyncfilter.report.html.evaluation_figures import (
    comparison_section,
    curves_section,
    figures_section,
    labels_section,
)
from asyncfilter.report.html.evaluation_matrix import confusion_section
from asyncfilter.report.html.evaluation_mistakes import CHOICE_RULES, mistakes_section

MOST_BYTES = 5_000_000
"""Largest page."""

_IMAGE_BYTES = 250_000
"""Of the rows of all images, at the most; this and the bounds of the other parts stay below ``MOST_BYTES`` together."""


def evaluation_page(
    found: Evaluation, comparison: Comparison | None, pictures: Mapping[str, Thumbnail], *, why_no_pictures: str = ""
) -> str:
    """The page as HTML.

    Args:
        found: The evaluation.
        comparison: With an older version; None without one.
        pictures: Thumbnails by the address of the image; see ``evaluation_mistakes.thumbnail_size``.
        why_no_pictures: A sentence for the reader where there are none, or not all.
    """
    parts = [
        ("figures", "Figures", figures_section(found)),
        ("comparison", "Comparison", "" if comparison is None else comparison_section(comparison)),
        ("labels", "Labels", labels_section(found.labels)),
        ("curves", "Curves", curves_section(found)),
        ("confusion", "Confusion", confusion_section(found.summary.confusion)),
        ("mistakes", "Mistakes", mistakes_section(found, pictures, why_no_pictures)),
        ("images", "All images", _images(found)),
    ]
    links = items(f'<a href="#{anchor}">{text(title)}</a>' for anchor, title, html in parts if html)
    body = (
        f'{_head(found)}<nav aria-label="Parts of this page">{links}</nav>\n<main>\n'
        f"{''.join(html for _, _, html in parts)}</main>\n"
        "<footer><p>Made by asyncfilter model evaluate. This page needs no network and runs no script.</p></footer>\n"
    )
    html = page(f"{found.name}: evaluation", body, style="evaluation.css", rules=CHOICE_RULES)
    if pictures and len(html.encode()) >= MOST_BYTES:  # only where labels are as long as they can be
        return evaluation_page(found, comparison, {}, why_no_pictures="The words leave no room for pictures.")
    return html


def _head(found: Evaluation) -> str:
    summary = found.summary
    facts = [
        f"finds {USE_CASES[found.use_case]}",
        f"trained with {_number(summary.training_images)} images",
        f"tested with {_number(summary.testing_images)}",
    ]
    if summary.ended:
        facts.append(f"evaluated {moment(summary.ended)}")
    notices = "".join(f'<p class="notice" role="note">{text(notice)}</p>\n' for notice in found.notices())
    project = f"Model evaluation · {summary.project}" if summary.project else "Model evaluation"
    return (
        f'<header><p class="over">{text(project)}</p><h1>{text(found.name)}</h1>'
        f'<p class="facts">{" · ".join(map(text, facts))}</p></header>\n{notices}'
    )


def _number(value: int | None) -> str:
    return "an unknown number of" if value is None else count(value)


# -- Images ------------------------------------------------------------------------------------------------------------


def _images(found: Evaluation) -> str:
    images = found.snapshot.images
    rows = (
        [
            text(image.source_ref),
            _verdict(image),
            text(truth_text(image.truths)),
            f'<td class="predicted">{outcomes_html(image)}</td>',
        ]
        for image in images
    )
    shown = long_table(
        "Labels and predictions of each test image",
        ["Image", "Result", "Labels", "Predicted"],
        rows,
        total=len(images),
        what="images",
        most_bytes=_IMAGE_BYTES,
        kind="images",
    )
    return section(
        "images",
        "All test images",
        f"<details><summary>{text(f'{count(len(images))} images with their labels and predictions')}</summary>\n"
        f"{shown}</details>\n",
    )


def _verdict(image: SnapshotImage) -> str:
    return '<td class="wrong">mistake</td>' if image.has_mistake else '<td class="right">right</td>'
