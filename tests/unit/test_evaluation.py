"""Evaluations: both shapes of the summary, every variant of the snapshot, figures, curves and comparisons."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

from asyncfilter.custom_labels.evaluation.comparison import compare
from asyncfilter.custom_labels.evaluation.evaluation import Evaluation, evaluate, evaluation_mapping
from asyncfilter.custom_labels.evaluation.model import PrecisionRecall, PredictionOutcome, ServiceSummary
from asyncfilter.custom_labels.evaluation.snapshot import Snapshot, read_snapshot
from asyncfilter.custom_labels.evaluation.summary import MAX_SUMMARY_BYTES, read_summary
from asyncfilter.errors import UsageError
from asyncfilter.report.as_json import json_text
from tests.kit.evaluations import Judged, box_line, details, image_line, lines, summary, walkthrough
from tests.kit.manifests import D

DETAILS = "rekognition-custom-labels-evaluation-details"


def read(document: object) -> ServiceSummary:
    """A summary."""
    return read_summary(json.dumps(document, indent=1).encode(), file="s.json")


def snapshot(*documents: object) -> Snapshot:
    """A snapshot of these lines."""
    return read_snapshot(io.BytesIO(lines(documents)), file="t.manifest")


def evaluation(document: object, *documents: object) -> Evaluation:
    """An evaluation of a summary and lines."""
    return evaluate(read(document), snapshot(*documents))


def mapping(found: Evaluation) -> dict[str, Any]:
    """What ``--json`` has."""
    result: dict[str, Any] = json.loads(json_text(evaluation_mapping(found, None)))
    return result


LABELS = {"cap": (0.9, 0.8, 0.847, 0.5, 3), "watch": (0.7, 0.6, 0.646, 0.25, 2)}


class TestSummary:
    @pytest.mark.parametrize("nested", [True, False])
    def test_both_shapes_say_the_same(self, nested: bool) -> None:
        """The aggregates stand directly in the results, or in Metrics."""
        found = read(summary(LABELS, nested=nested, confusion=[("cap", "watch", 0.25)]))
        assert found.figures == PrecisionRecall(0.9, 0.8, 0.847)
        assert [one.label for one in found.labels] == ["cap", "watch"]
        assert found.labels[1].threshold == 0.25
        assert (found.training_images, found.testing_images) == (56, 14)
        assert (found.project, found.version) == ("birds", "birds.2026-11-27T10.00.00")
        assert [(one.truth, one.predicted, one.share) for one in found.confusion] == [("cap", "watch", 0.25)]

    @pytest.mark.parametrize("nested", [True, False])
    def test_averages_of_boxes(self, nested: bool) -> None:
        """Models that find boxes have averages in place of a confusion matrix."""
        found = read(summary(LABELS, nested=nested, averages=(0.609, 0.941)))
        assert (found.average_precision, found.average_recall, found.confusion) == (0.609, 0.941, ())

    def test_what_is_missing_is_none(self) -> None:
        """No figure is made up, and unknown keys are ignored."""
        found = read({"AggregatedEvaluationResults": {"F1Score": None, "New": 1}, "LabelEvaluationResults": None})
        assert found == ServiceSummary(file="s.json")

    def test_a_label_that_is_only_named_is_kept(self) -> None:
        """Labels of the details without a result stay, without figures."""
        document = summary(LABELS)
        document["EvaluationDetails"]["Labels"] = ["watch", "hat"]
        assert [(one.label, one.figures.f1) for one in read(document).labels][-1] == ("hat", None)

    def test_a_byte_order_mark_is_no_problem(self) -> None:
        """Editors add one."""
        assert read_summary(b"\xef\xbb\xbf" + json.dumps(summary(LABELS)).encode(), file="s.json").labels

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "s.json:1:1: no evaluation summary"),
            (b'{\n "a": 1,\n oops}', "s.json:3:2: no evaluation summary"),
            (b"[]", "is an empty list, not an object"),
            (b"{}", "neither AggregatedEvaluationResults nor LabelEvaluationResults"),
            (b"\xff{}", "byte 1 is not UTF-8"),
            (b'{"AggregatedEvaluationResults": NaN}', "the file is not JSON: it has NaN"),
            (b'{"AggregatedEvaluationResults": []}', "AggregatedEvaluationResults is an empty list"),
            (b'{"AggregatedEvaluationResults": {"F1Score": 93.1}}', "F1Score is the number 93.1, not a number from 0"),
            (
                b'{"AggregatedEvaluationResults": {"Metrics": {"F1Score": "1"}}}',
                "Metrics is the string|F1Score is the st",
            ),
            (b'{"LabelEvaluationResults": [{"Metrics": {}}]}', "LabelEvaluationResults[0]: Label is missing"),
            (b'{"LabelEvaluationResults": [3]}', "LabelEvaluationResults[0] is the number 3, not an object"),
            (b'{"LabelEvaluationResults": {}}', "LabelEvaluationResults is an object, not a list"),
            (b'{"AggregatedEvaluationResults": {"ConfusionMatrix": [{}]}}', "ConfusionMatrix[0]: Value is missing"),
            (
                b'{"LabelEvaluationResults": [], "EvaluationDetails": {"NumberOfTestingImages": 1.5}}',
                "not a whole number",
            ),
            (b'{"LabelEvaluationResults": [], "EvaluationDetails": {"Labels": [1]}}', "Labels[0] is the number 1"),
        ],
    )
    def test_damage_is_told(self, content: bytes, expected: str) -> None:
        """The file, the place and what was seen."""
        with pytest.raises(UsageError) as caught:
            read_summary(content, file="s.json")
        assert any(part in caught.value.message for part in expected.split("|")), caught.value.message
        assert caught.value.message.startswith("s.json")
        assert caught.value.hint

    def test_a_huge_file_is_not_parsed(self) -> None:
        """A summary has a few megabytes at the most."""
        with pytest.raises(UsageError, match="are read"):
            read_summary(bytes(MAX_SUMMARY_BYTES + 1), file="s.json")


class TestSnapshot:
    @pytest.mark.parametrize("numbered", [True, False])
    def test_labels_of_whole_images(self, numbered: bool) -> None:
        """Attributes with numbers and without; details in the metadata."""
        found = snapshot(image_line("s3://b/1.jpg", ["cap"], [Judged("cap", 0.95, "tp")], numbered=numbered))
        (image,) = found.images
        assert [(one.label, one.frame) for one in image.truths] == [("cap", None)]
        (predicted,) = image.predictions
        index = 0 if numbered else None
        assert predicted == type(predicted)("cap", 0.95, PredictionOutcome.TRUE_POSITIVE, is_in_truth=True, index=index)
        assert not image.missed
        assert not image.has_mistake

    def test_boxes_with_details_at_each_object(self) -> None:
        """Keys of the service beside them are ignored."""
        document = box_line("s3://b/1.jpg", [("cap", (1, 2, 30, 40))], [Judged("cap", 0.3, "fn", (1, 2, 31, 40))])
        assert "line-idx" in document
        (image,) = snapshot(document).images
        assert image.size is not None
        assert (image.size.width, image.size.height) == (640, 480)
        assert image.predictions[0].index == 0
        assert image.predictions[0].outcome is PredictionOutcome.FALSE_NEGATIVE
        assert image.missed == ()
        assert image.has_mistake

    def test_boxes_with_details_in_the_metadata(self) -> None:
        """What an object does not have stands in the metadata."""
        frame = (1, 2, 30, 40)
        document = box_line("s3://b/1.jpg", [("cap", frame)], [Judged("cap", 0.3, "fp", frame)], in_metadata=True)
        (image,) = snapshot(document).images
        assert image.predictions[0].outcome is PredictionOutcome.FALSE_POSITIVE
        assert image.predictions[0].confidence == 0.3

    def test_a_label_without_a_prediction_is_missed(self) -> None:
        """Without a prediction about it, it is a false negative without confidence."""
        found = evaluation(summary(LABELS), image_line("s3://b/1.jpg", ["cap", "watch"], [Judged("cap", 0.95, "tp")]))
        (mistake,) = mapping(found)["mistakes"]
        assert mistake == {
            "source_ref": "s3://b/1.jpg",
            "label": "watch",
            "outcome": "fn",
            "confidence": None,
            "index": None,
        }

    def test_the_missed_box_is_the_one_that_nothing_overlaps(self) -> None:
        """Of two boxes of one label, the found one is the one with the overlap."""
        left, right = (0, 0, 50, 50), (200, 0, 50, 50)
        document = box_line(
            "s3://b/1.jpg", [("cap", left), ("cap", right)], [Judged("cap", 0.9, "tp", (195, 2, 50, 50))]
        )
        (image,) = snapshot(document).images
        assert [truth.frame.left for truth in image.missed if truth.frame] == [0]

    def test_boxes_too_small_for_a_float(self) -> None:
        """No division by nothing."""
        frame = (0, 0, 1e-200, 1e-200)
        (image,) = snapshot(box_line("s3://b/1.jpg", [("cap", frame)], [Judged("cap", 0.9, "tp", frame)])).images
        assert not image.missed

    def test_a_true_negative_is_no_mistake(self) -> None:
        """It is not counted either."""
        found = mapping(evaluation(summary(LABELS), image_line("s3://b/1.jpg", [], [Judged("cap", 0.1, "tn")])))
        assert found["mistakes"] == []
        assert (found["recomputed"]["tp"], found["recomputed"]["fp"], found["recomputed"]["fn"]) == (0, 0, 0)
        assert found["recomputed"]["micro"] == {"precision": None, "recall": None, "f1": None}

    def test_presence_follows_from_the_outcome_where_it_is_missing(self) -> None:
        """Older files need not have the flag."""
        document = image_line("s3://b/1.jpg", ["cap"], [Judged("cap", 0.1, "fn")])
        del document["rekognition-custom-labels-evaluation-0-metadata"][DETAILS]["is-present-in-ground-truth"]
        assert snapshot(document).images[0].predictions[0].is_in_truth

    def test_blank_lines_are_nothing(self) -> None:
        """Also with a carriage return."""
        body = lines([image_line("s3://b/1.jpg", [], [Judged("cap", 0.1, "tn")])]) + b"\r\n  \n"
        found = read_snapshot(io.BytesIO(body), file="t")
        assert (found.lines, found.left_out) == (1, 0)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (lambda line: line.pop("source-ref"), "source-ref is missing"),
            (lambda line: line.update({"source-ref": 3}), "source-ref is the number 3, not an address"),
            (lambda line: line.pop("rekognition-custom-labels-evaluation-metadata"), "evaluation-metadata is missing"),
            (lambda line: meta(line).pop("objects"), "objects is missing"),
            (lambda line: meta(line)["objects"].pop(), "1 boxes, and 0 objects about them"),
            (lambda line: meta(line).update({"objects": [3]}), "objects[0] is the number 3, not an object"),
            (lambda line: first(line).update({"confidence": 93.5}), "confidence is the number 93.5, not a number"),
            (lambda line: first(line).update({"confidence": "1"}), "confidence is the string"),
            (lambda line: first(line).pop(DETAILS), f"objects[0]: {DETAILS} is missing"),
            (lambda line: first(line)[DETAILS].update({"is-true-positive": "no"}), "is-true-positive is the string"),
            (lambda line: first(line)[DETAILS].update({"is-true-negative": True}), "contradict each other"),
            (lambda line: meta(line).update({"class-map": {}}), "class-map has no class_id the number 0"),
            (lambda line: meta(line).update({"class-map": []}), "class-map is an empty list, not an object"),
            (lambda line: value(line).update({"annotations": 1}), "annotations is the number 1, not a list"),
            (lambda line: value(line).update({"annotations": [1]}), "annotations[0] is the number 1"),
            (lambda line: value(line)["annotations"][0].update({"top": None}), "annotations[0]: top is missing"),
            (lambda line: value(line)["annotations"][0].update({"class_id": "0"}), "class_id is the string"),
            (lambda line: value(line)["annotations"][0].update({"class_id": 10**5000}), "class_id"),
        ],
    )
    def test_damage_of_a_line_is_told_and_the_others_count(self, change: Any, expected: str) -> None:
        """The line and what is wrong with it; it is left out."""
        frame = (1, 2, 30, 40)
        good, bad = (
            box_line(f"s3://b/{number}.jpg", [("cap", frame)], [Judged("cap", 0.9, "tp", frame)]) for number in (1, 2)
        )
        change(bad)
        sys.set_int_max_str_digits(0)
        try:
            found = snapshot(good, bad)
        finally:
            sys.set_int_max_str_digits(4300)
        assert [image.source_ref for image in found.images] == ["s3://b/1.jpg"]
        assert (found.lines, found.left_out, found.problems[0].line) == (2, 1, 2)
        assert expected in found.problems[0].message

    def test_a_repeated_image_is_told(self) -> None:
        """It would count twice."""
        line = image_line("s3://b/1.jpg", [], [Judged("cap", 0.9, "fp")])
        found = snapshot(line, line)
        assert len(found.images) == 1
        assert "stood in line 1" in found.problems[0].message

    def test_a_line_beyond_all_bounds_is_told(self) -> None:
        """It is not held."""
        good = lines([image_line("s3://b/1.jpg", [], [Judged("cap", 0.9, "fp")])])
        found = read_snapshot(io.BytesIO(good + b'{"a":"' + b"x" * 3_000_000 + b'"}\n'), file="t")
        assert "are read" in found.problems[0].message

    @pytest.mark.parametrize("body", [b"", b"{}\n", b'{"source-ref":"s3://b/1.jpg","label0":1}\n', b"\0\xff\n"])
    def test_another_file_is_no_snapshot(self, body: bytes) -> None:
        """A training manifest has no predictions: that is not a model without mistakes."""
        with pytest.raises(UsageError, match="no test snapshot"):
            read_snapshot(io.BytesIO(body), file="t.manifest")


def value(line: D) -> Any:
    """The boxes that were predicted."""
    return line["rekognition-custom-labels-evaluation"]


def meta(line: D) -> Any:
    """Their metadata."""
    return line["rekognition-custom-labels-evaluation-metadata"]


def first(line: D) -> Any:
    """The first object in it."""
    return meta(line)["objects"][0]


class TestFigures:
    def test_the_walkthrough_differs_from_its_summary(self) -> None:
        """Both are shown: the service's figures are never replaced by ours, nor ours by the service's."""
        document, documents = walkthrough()
        found = mapping(evaluation(document, *documents))
        assert (found["precision"], found["recall"], found["f1"]) == (0.6, 0.7, 0.6461539)
        assert (found["average_precision"], found["average_recall"]) == (0.609, 0.941)
        counted = found["recomputed"]
        assert (counted["tp"], counted["fp"], counted["fn"]) == (13, 7, 4)
        assert counted["micro"]["precision"] == pytest.approx(0.65)
        assert counted["micro"]["recall"] == pytest.approx(0.765, abs=5e-4)
        assert counted["micro"]["f1"] == pytest.approx(0.703, abs=5e-4)
        assert len(found["mistakes"]) == 11
        assert found["mistakes"][0] == {
            "source_ref": "s3://logos/set/01.jpg",
            "label": "Swoosh",
            "outcome": "fn",
            "confidence": 0.00914,
            "index": 0,
        }
        assert found["use_case"] == "OBJECT_LOCALIZATION"
        assert found["version"] == "swoosh_detector.2020-12-13T22.50.45"
        assert found["comparison"] is None
        assert found["notices"] == []

    def test_the_fields_are_those_of_the_contract(self) -> None:
        """Names may be added, and none may be lost."""
        document, documents = walkthrough()
        found = mapping(evaluation(document, *documents))
        expected = (
            "project version use_case f1 precision recall average_precision average_recall training_images "
            "testing_images labels confusion recomputed curves mistakes comparison"
        )
        assert list(found)[: len(expected.split())] == expected.split()
        assert list(found["labels"][0])[:6] == ["label", "precision", "recall", "f1", "threshold", "test_images"]
        assert list(found["curves"]["Swoosh"][0]) == ["threshold", "precision", "recall", "f1"]

    def test_labels_of_the_snapshot_alone_are_kept(self) -> None:
        """They have counts and no figures of the service."""
        found = evaluation(summary({}), image_line("s3://b/1.jpg", ["hat"], [Judged("cap", 0.9, "fp")]))
        rows = {one["label"]: one for one in mapping(found)["labels"]}
        assert rows["cap"]["f1"] is None
        assert rows["cap"]["recomputed"]["fp"] == 1
        assert rows["hat"]["recomputed"]["fn"] == 1

    def test_files_that_do_not_belong_together_are_told(self) -> None:
        """The summary counts the test images."""
        found = evaluation(summary(LABELS), image_line("s3://b/1.jpg", [], [Judged("cap", 0.9, "fp")]))
        assert list(found.notices()) == ["the summary counts 14 test images, the snapshot has 1"]

    def test_without_scikit_learn_only_the_curves_are_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Everything else needs no library."""
        monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
        document, documents = walkthrough()
        found = mapping(evaluation(document, *documents))
        assert found["curves"] is None
        assert found["recomputed"]["tp"] == 13

    def test_a_curve_counts_what_was_never_found(self) -> None:
        """Recall stays below one where a label has images without any prediction."""
        found = mapping(
            evaluation(
                summary(LABELS),
                image_line("s3://b/1.jpg", ["cap"], [Judged("cap", 0.9, "tp")]),
                image_line("s3://b/2.jpg", ["cap"], [Judged("watch", 0.8, "fp")]),
                image_line("s3://b/3.jpg", [], [Judged("cap", 0.2, "tn")]),
            )
        )
        assert found["curves"] == {
            "cap": [
                {"threshold": 0.2, "precision": 0.5, "recall": 0.5, "f1": 0.5},
                {"threshold": 0.9, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)},
            ]
        }


class TestComparison:
    def test_the_same_images(self) -> None:
        """Changes of each label, and of all."""
        line = image_line("s3://b/1.jpg", ["cap"], [Judged("cap", 0.9, "tp")])
        old = evaluation(summary({"cap": (1, 1, 0.5, 0.5, 1), "gone": (1, 1, 0.4, 0, 1)}, version="v1"), line)
        new = evaluation(summary({"cap": (1, 1, 0.75, 0.5, 1), "hat": (1, 1, 1, 0, 1)}, version="v2"), line)
        assert compare(old, new).as_mapping() == {
            "old": "v1",
            "new": "v2",
            "test_sets_equal": True,
            "labels": [
                {"label": "cap", "f1_old": 0.5, "f1_new": 0.75, "delta": 0.25},
                {"label": "hat", "f1_old": None, "f1_new": 1.0, "delta": None},
                {"label": "gone", "f1_old": 0.4, "f1_new": None, "delta": None},
            ],
            "f1_delta": 0,
            "f1_old": 0.847,
            "f1_new": 0.847,
            "only_old": 0,
            "only_new": 0,
            "relabelled": 0,
        }

    def test_other_images_and_other_labels_are_told(self) -> None:
        """Figures of different test images do not compare."""
        both, changed = ("s3://b/1.jpg", ["cap"]), ("s3://b/1.jpg", ["hat"])
        old = evaluation(summary({}), image_line(*both, []), image_line("s3://b/2.jpg", [], [Judged("cap", 0.9, "fp")]))
        new = evaluation(summary({}), image_line(*changed, [Judged("cap", 0.9, "fp")]))
        found = compare(old, new)
        assert (found.test_sets_equal, found.only_old, found.only_new, found.relabelled) == (False, 1, 0, 1)
        assert len(list(found.differences())) == 2


def test_flags_of_the_kit_are_those_of_the_service() -> None:
    """The fixtures follow the published form."""
    assert details("tp")["is-true-positive"] is True
    assert details("fn")["is-present-in-ground-truth"] is True
