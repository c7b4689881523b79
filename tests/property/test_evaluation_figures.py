"""Evaluations against independent counts, and files from anybody: no line stops the reader, and none vanishes."""

from __future__ import annotations

import io
import json
import warnings
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from asyncfilter.custom_labels.evaluation.comparison import compare
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, evaluate, evaluation_mapping
from asyncfilter.custom_labels.evaluation.model import PredictionOutcome
from asyncfilter.custom_labels.evaluation.snapshot import MOST_PROBLEMS, read_snapshot
from asyncfilter.custom_labels.evaluation.summary import read_summary
from asyncfilter.errors import UsageError
from asyncfilter.report.as_json import json_text
from asyncfilter.report.html.evaluation_page import MOST_BYTES, evaluation_page
from asyncfilter.report.terminal.evaluation import draw_evaluation
from tests.kit.evaluations import Judged, box_line, image_line, lines, summary, walkthrough
from tests.kit.fuzzing import damaged, few, fuzz
from tests.kit.manifests import D

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is in the extra datasets")

LABELS = ("cap", "hat", "watch")
Row = tuple[frozenset[str], dict[str, float]]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Row], dict[str, float], bool]:
    """Images with labels and confidences, thresholds, and whether labels below them are left out of the snapshot."""
    thresholds = {label: draw(st.sampled_from([0.25, 0.5, 0.75])) for label in LABELS}
    shares = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0])
    row = st.tuples(st.frozensets(st.sampled_from(LABELS)), st.fixed_dictionaries(dict.fromkeys(LABELS, shares)))
    return draw(st.lists(row, min_size=1, max_size=25)), thresholds, draw(st.booleans())


def snapshot_of(rows: list[Row], thresholds: dict[str, float], *, leaves_out: bool) -> list[D]:
    """The snapshot of a classifier that gives every label a confidence."""
    documents = []
    for number, (truths, shares) in enumerate(rows):
        predictions = [
            Judged(label, share, ("t" if said == (label in truths) else "f") + ("p" if said else "n"))
            for label, share in shares.items()
            if (said := share >= thresholds[label]) or not leaves_out
        ]
        documents.append(image_line(f"s3://photos/{number}.jpg", sorted(truths), predictions))
    return documents


@given(cases())
@settings(deadline=None)
def test_the_recount_is_that_of_scikit_learn(case: tuple[list[Row], dict[str, float], bool]) -> None:
    """Micro, macro, and each label, whether or not labels below the threshold are in the snapshot."""
    rows, thresholds, leaves_out = case
    documents = snapshot_of(rows, thresholds, leaves_out=leaves_out)
    if not any("evaluation" in key for line in documents for key in line):
        return
    found = _mapping(summary({}), documents)
    truth = [[label in truths for label in LABELS] for truths, _ in rows]
    said = [[shares[label] >= thresholds[label] for label in LABELS] for _, shares in rows]
    known = [number for number in range(3) if any(row[number] for row in (*truth, *said))]
    counted = found["recomputed"]
    assert counted["tp"] + counted["fn"] == sum(map(sum, truth))
    assert counted["tp"] + counted["fp"] == sum(map(sum, said))
    for average in ("micro", "macro"):
        if not known:
            assert counted[average] == {"precision": None, "recall": None, "f1": None}
            continue
        expected = sklearn_metrics.precision_recall_fscore_support(
            truth, said, labels=known, average=average, zero_division=0
        )[:3]
        assert list(counted[average].values()) == pytest.approx(expected)
    outcomes = Counter(mistake["outcome"] for mistake in found["mistakes"])
    assert (outcomes["fp"], outcomes["fn"]) == (counted["fp"], counted["fn"])


@given(cases())
@settings(deadline=None)
def test_curves_are_counts_at_every_threshold(case: tuple[list[Row], dict[str, float], bool]) -> None:
    """Each point is what counting from its threshold on gives; recall never rises with the threshold."""
    rows, thresholds, _ = case
    found = _mapping(summary({}), snapshot_of(rows, thresholds, leaves_out=False))
    for label, points in found["curves"].items():
        assert [point["threshold"] for point in points] == sorted({shares[label] for _, shares in rows})
        recalls = [point["recall"] for point in points]
        assert recalls == sorted(recalls, reverse=True)
        for point in points:
            said = [label in truths for truths, shares in rows if shares[label] >= point["threshold"]]
            assert point["precision"] == pytest.approx(sum(said) / len(said))
            assert point["recall"] == pytest.approx(sum(said) / sum(label in truths for truths, _ in rows))
            total = point["precision"] + point["recall"]
            product = point["precision"] * point["recall"]
            assert point["f1"] == pytest.approx(2 * product / total if total else 0)
    assert set(found["curves"]) == {label for truths, _ in rows for label in truths}


def _mapping(document: object, documents: list[D]) -> dict[str, Any]:
    found = evaluate(
        read_summary(json.dumps(document).encode(), file="s"), read_snapshot(io.BytesIO(lines(documents)), file="t")
    )
    result: dict[str, Any] = json.loads(json_text(evaluation_mapping(found, None)))
    return result


# -- Files from anybody ------------------------------------------------------------------------------------------------

_FRAME = (1, 2, 30, 40)
SNAPSHOTS = [
    lines(walkthrough()[1][:4]),
    lines([image_line("s3://photos/1.jpg", ["cap", "hat"], [Judged("cap", 0.9, "tp"), Judged("hat", 0.1, "fn")])]),
    lines([image_line("s3://photos/1.jpg", ["cap"], [Judged("hat", 0.9, "fp")], numbered=False)]),
    lines([box_line("s3://photos/1.jpg", [("cap", _FRAME)], [Judged("cap", 0.3, "fp", _FRAME)], in_metadata=True)]),
]
SUMMARIES = [
    json.dumps(walkthrough()[0], indent=1).encode(),
    json.dumps(summary({"cap": (0.9, 0.8, 0.8, 0.5, 3)}, confusion=[("cap", "cap", 1.0)], nested=True)).encode(),
]
TOKENS = [
    *(b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xff", b"\0", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\\ud800"),
    *(
        b"null",
        b"NaN",
        b"1e999",
        b"-0",
        b"9" * 400,
        b"1e-300",
        b"true",
        b"false",
        b"0.5",
        b'"<script>"',
        b"\xe2\x80\xae",
    ),
    *(b'"confidence":', b'"annotations":[]', b'"objects":', b'"class-map":', b"-metadata", b"is-true-positive"),
    *(b'"Metrics":', b'"Threshold":', b'"Label":', b'"ConfusionMatrix":[]', b"-evaluation-1", b"-training-1"),
]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def _evaluated(summary_body: bytes, snapshot_body: bytes) -> Evaluation | UsageError:
    try:
        snapshot = read_snapshot(io.BytesIO(snapshot_body), file="t.manifest")
        return evaluate(read_summary(summary_body, file="s.json"), snapshot)
    except UsageError as error:
        return error


def check_everything(summary_body: bytes, snapshot_body: bytes) -> None:
    """Whatever is in the files: figures, JSON, text and page, or one clear error."""
    found = _evaluated(summary_body, snapshot_body)
    if isinstance(found, UsageError):
        assert found.message.startswith(("s.json", "t.manifest"))
        assert found.hint
        return
    snapshot = found.snapshot
    assert snapshot.lines == len(snapshot.images) + snapshot.left_out
    assert len(snapshot.problems) == min(snapshot.left_out, MOST_PROBLEMS)
    counted, total = Counter[PredictionOutcome | None](), found.recount.total
    for image in snapshot.images:
        counted.update(one.outcome for one in image.predictions)
        counted[PredictionOutcome.FALSE_NEGATIVE] += len(image.missed)
        assert len(image.missed) <= len(image.truths)
    expected = (PredictionOutcome.TRUE_POSITIVE, PredictionOutcome.FALSE_POSITIVE, PredictionOutcome.FALSE_NEGATIVE)
    assert tuple(total) == tuple(counted[outcome] for outcome in expected)
    for curve in (found.curves or {}).values():
        recalls = [point.recall for point in curve]
        assert recalls == sorted(recalls, reverse=True)
    comparison = compare(found, found)
    assert comparison.test_sets_equal
    json.loads(json_text(evaluation_mapping(found, comparison.as_mapping())))
    console = Console(file=io.StringIO(), width=40)
    console.print(draw_evaluation(found, comparison))
    html = evaluation_page(found, comparison, {}, why_no_pictures="none")
    assert len(html.encode()) < MOST_BYTES
    parser = _Tags()
    parser.feed(html)
    assert not parser.tags & {"script", "iframe", "link", "object", "form"}


@given(damaged(SUMMARIES, TOKENS), damaged(SNAPSHOTS, TOKENS))
@example(SUMMARIES[0], SNAPSHOTS[0])
@pytest.mark.fuzz
@few
def test_no_file_stops_the_reader(summary_body: bytes, snapshot_body: bytes) -> None:
    """Both files damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_everything(summary_body, snapshot_body)


@given(damaged(SNAPSHOTS, TOKENS))
@settings(fuzz, max_examples=fuzz.max_examples // 2)
def test_no_snapshot_stops_the_reader(snapshot_body: bytes) -> None:
    """A damaged snapshot alone."""
    check_everything(SUMMARIES[0], snapshot_body)
