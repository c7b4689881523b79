"""Trainings of the sandbox: models that learn from pixels, the files of a training, detections with a trained model."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from asyncfilter.sandbox import BucketSpec, LoadSpec, Sandbox
from asyncfilter.sandbox.options import SummaryShape
from asyncfilter.sandbox.pictures import draw_picture
from tests.contract.test_sandbox_custom_labels import Client, Open, Service, code, label_line, manifest
from tests.contract.test_sandbox_rekognition import s3_image
from tests.kit.manifests import box, box_metadata, size
from tests.kit.pace import one_moment
from tests.kit.pictures import encoded, plain

# numpy is not imported here: a training does so with one thread, which is faster than many.
pytestmark = pytest.mark.skipif(find_spec("numpy") is None, reason="trainings need the extra sandbox-training")

LOOK_S = 0.02
"""Pause between two looks at a training, whose thread needs the processor."""
CLOTHING = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "photos" / "clothing"
BIRDS = ("blackbird", "jay", "robin", "sparrow")

Labelled = tuple[str, str]
"""Key and label of an image."""


@pytest.fixture
def open_service(open_sandbox: Open, client: Client) -> Callable[..., Service]:
    """A function that starts a sandbox with empty buckets ``pics`` and ``models``."""

    def start(**options: Any) -> Service:
        given = {"buckets": (BucketSpec("pics"), BucketSpec("models")), **options}
        sandbox = open_sandbox(**given)
        return Service(sandbox, client("rekognition", sandbox))

    return start


def draw_birds(sandbox: Sandbox, pictures: int) -> tuple[list[Labelled], list[Labelled]]:
    """Drawn birds for training and test: every fourth is for the test."""
    train: list[Labelled] = []
    test: list[Labelled] = []
    for number in range(pictures):
        bird = BIRDS[number % len(BIRDS)]
        key = f"{bird}/{number}.jpg"
        sandbox.put("pics", key, draw_picture(bird, key))
        (test if number // len(BIRDS) % 4 == 3 else train).append((key, bird))
    return train, test


def wrong(labelled: Sequence[Labelled], share: float) -> list[Labelled]:
    """The same images, a share of them with another label."""
    names = sorted({label for _, label in labelled})
    chance = random.Random(7)
    return [
        (key, chance.choice([name for name in names if name != label]) if chance.random() < share else label)
        for key, label in labelled
    ]


def datasets(service: Service, name: str, train: Sequence[Labelled], test: Sequence[Labelled]) -> str:
    """A project with datasets of labelled images."""
    project = service.project(name)
    for kind, labelled in (("TRAIN", train), ("TEST", test)):
        service.dataset(project, kind, [label_line(key, label) for key, label in labelled])
    return project


def ended(service: Service, project: str, name: str = "v1", **more: Any) -> dict[str, Any]:
    """The description of a version after its training."""
    service.train(project, name, **more)
    service.wait(1800)
    while (described := service.version(project, name))["Status"] == "TRAINING_IN_PROGRESS":
        time.sleep(LOOK_S)
    return described


def f1(described: dict[str, Any]) -> float:
    """Of a trained version."""
    assert described["Status"] == "TRAINING_COMPLETED", described
    return float(described["EvaluationResult"]["F1Score"])


def body_at(service: Service, place: dict[str, Any]) -> bytes:
    """The object at an address of a description."""
    stored = service.sandbox.bucket(place["S3Object"]["Bucket"]).get(place["S3Object"]["Name"])
    assert stored is not None
    return stored.body


def lines_at(service: Service, result: dict[str, Any], part: str) -> list[dict[str, Any]]:
    """The lines of the manifest in ``Output`` or ``Validation``."""
    (asset,) = result[part]["Assets"]
    return [json.loads(line) for line in body_at(service, asset["GroundTruthManifest"]).splitlines()]


def test_a_better_dataset_gives_a_better_model(open_service: Callable[..., Service]) -> None:
    """Drawn birds are told apart on images that were not trained with; with wrong labels less so."""
    service = open_service()
    train, test = draw_birds(service.sandbox, 96)
    good = f1(ended(service, datasets(service, "good", train, test)))
    poor = f1(ended(service, datasets(service, "poor", wrong(train, 0.5), test)))
    assert good > 0.85, (good, poor)
    assert poor < good - 0.1, (good, poor)


@pytest.mark.real
@pytest.mark.skipif(not CLOTHING.exists(), reason=f"no photos at {CLOTHING}")
def test_real_photos_are_learned(open_service: Callable[..., Service]) -> None:
    """Ten kinds of clothes: the surest label is right three times as often as by chance; wrong labels make it worse."""
    service = open_service(load=(LoadSpec("pics", str(CLOTHING)),), buckets=(BucketSpec("models"),))
    photos = [(key, key.partition("/")[0]) for key in service.sandbox.keys("pics") if key.endswith(".jpg")]
    train = [photo for place, photo in enumerate(photos) if place % 4]
    test = photos[::4]
    described = ended(service, datasets(service, "good", train, test))
    snapshot = lines_at(service, described["TestingDataResult"], "Output")
    surest = [line["rekognition-custom-labels-evaluation-0-metadata"]["class-name"] for line in snapshot]
    right = sum(found == label for found, (_, label) in zip(surest, test, strict=True))
    assert right / len(test) > 0.3
    poor = f1(ended(service, datasets(service, "poor", wrong(train, 0.5), test)))
    assert f1(described) > poor + 0.05, (f1(described), poor)


@pytest.mark.parametrize("shape", SummaryShape)
def test_the_files_of_a_training(open_service: Callable[..., Service], shape: SummaryShape) -> None:
    """Summary in the wanted shape, snapshots, validation results; figures and files agree."""
    service = open_service(summary_shape=shape)
    train, test = draw_birds(service.sandbox, 48)
    service.sandbox.put("pics", "broken.jpg", b"no picture")
    described = ended(service, datasets(service, "birds", [*train, ("broken.jpg", "jay")], test))
    summary = json.loads(body_at(service, described["EvaluationResult"]["Summary"]))
    assert described["EvaluationResult"]["Summary"]["S3Object"]["Name"].endswith("/EvaluationSummary-birds-v1.json")
    aggregated = summary["AggregatedEvaluationResults"]
    assert ("Metrics" in aggregated) is (shape is SummaryShape.NESTED)
    aggregated = aggregated.get("Metrics", aggregated)
    assert aggregated["F1Score"] == pytest.approx(f1(described), rel=1e-6)
    details = summary["EvaluationDetails"]
    assert details["ProjectVersionArn"] == described["ProjectVersionArn"]
    assert details["Labels"] == list(BIRDS)
    assert (details["NumberOfTrainingImages"], details["NumberOfTestingImages"]) == (len(train), len(test))
    rows = summary["LabelEvaluationResults"]
    assert aggregated["F1Score"] == pytest.approx(sum(row["Metrics"]["F1Score"] for row in rows) / 4)
    assert {row["Label"]: row["NumberOfTestingImages"] for row in rows} == dict.fromkeys(BIRDS, len(test) // 4)
    assert {(row["GroundTruthLabel"], row["PredictedLabel"]) for row in aggregated["ConfusionMatrix"]} >= {
        (bird, bird) for bird in BIRDS
    }

    snapshot = lines_at(service, described["TestingDataResult"], "Output")
    assert [line["source-ref"] for line in snapshot] == [f"s3://pics/{key}" for key, _ in test]
    thresholds = {row["Label"]: row["Metrics"]["Threshold"] for row in rows}
    for line, (_, bird) in zip(snapshot, test, strict=True):
        assert line["rekognition-custom-labels-training-0-metadata"]["class-name"] == bird
        for number in range(4):
            metadata = line[f"rekognition-custom-labels-evaluation-{number}-metadata"]
            flags = metadata["rekognition-custom-labels-evaluation-details"]
            is_found = metadata["confidence"] >= thresholds[metadata["class-name"]]
            is_true = metadata["class-name"] == bird
            assert flags["is-present-in-ground-truth"] is is_true
            names = ("is-true-positive", "is-false-positive", "is-false-negative", "is-true-negative")
            assert [flags[name] for name in names] == [
                is_true and is_found,
                not is_true and is_found,
                is_true and not is_found,
                not is_true and not is_found,
            ]
    assert len(lines_at(service, described["TrainingDataResult"], "Output")) == len(train)

    validated = lines_at(service, described["TrainingDataResult"], "Validation")
    assert [line["errors"][0]["code"] for line in validated if "errors" in line] == ["ERROR_INVALID_IMAGE"]
    statistics = json.loads(body_at(service, described["ManifestSummary"]))["statistics"]
    assert statistics["training"] == {
        "use_case": "IMAGE_LEVEL_LABELS",
        "total_json_lines": len(train) + 1,
        "valid_json_lines": len(train),
        "invalid_json_lines": 1,
        "ignored_json_lines": 0,
        "error_json_line_indices": [len(train) + 1],
        "errors": [],
    }
    assert statistics["testing"]["valid_json_lines"] == len(test)


# Boxes


def boxed_picture(sandbox: Sandbox, number: int) -> dict[str, Any]:
    """A picture with one shape, and its line."""
    chance = random.Random(number)
    picture = Image.effect_noise((320, 240), 20).convert("RGB")
    label = number % 2
    side = chance.randint(70, 100)
    left, top = chance.randint(0, 319 - side), chance.randint(0, 239 - side)
    draw = ImageDraw.Draw(picture)
    shape = (left, top, left + side, top + side)
    if label:
        draw.ellipse(shape, fill=(210, 40, 40))
    else:
        draw.rectangle(shape, fill=(40, 60, 200))
    key = f"boxed/{number}.png"
    sandbox.put("pics", key, encoded(picture, "PNG"))
    return {
        "source-ref": f"s3://pics/{key}",
        "boxes": {"image_size": size(320, 240), "annotations": [box(left, top, side, side, label)]},
        "boxes-metadata": box_metadata(1, **{"class-map": {"0": "Box", "1": "Ball"}}),
    }


def test_boxes_are_learned(open_service: Callable[..., Service]) -> None:
    """A model of boxes finds them where they are; its files have boxes in pixels and its answers in ratios."""
    service = open_service()
    lines = [boxed_picture(service.sandbox, number) for number in range(40)]
    project = service.project()
    service.dataset(project, "TRAIN", lines[:30])
    service.dataset(project, "TEST", lines[30:])
    described = ended(service, project)
    assert f1(described) > 0.6
    aggregated = json.loads(body_at(service, described["EvaluationResult"]["Summary"]))["AggregatedEvaluationResults"]
    assert aggregated["AveragePrecision"] > 0.5
    assert aggregated["AverageRecall"] > 0.5
    assert "ConfusionMatrix" not in aggregated
    snapshot = lines_at(service, described["TestingDataResult"], "Output")
    right = 0
    for line, sent in zip(snapshot, lines[30:], strict=True):
        assert (
            line["rekognition-custom-labels-training-0"]["annotations"][0]["left"]
            == (sent["boxes"]["annotations"][0]["left"])
        )
        objects = line["rekognition-custom-labels-evaluation-metadata"]["objects"]
        found = line["rekognition-custom-labels-evaluation"]["annotations"]
        assert len(objects) == len(found)
        assert all(each["left"] >= 0 and each["left"] + each["width"] <= 320 for each in found)
        flags = [each["rekognition-custom-labels-evaluation-details"] for each in objects]
        right += sum(each["is-true-positive"] for each in flags)
    assert right > 5
    service.start(described["ProjectVersionArn"])
    service.wait(480)
    answer = service.api.detect_custom_labels(
        ProjectVersionArn=described["ProjectVersionArn"], Image=s3_image("boxed/31.png", "pics")
    )
    best = answer["CustomLabels"][0]
    place = best["Geometry"]["BoundingBox"]
    truth = lines[31]["boxes"]["annotations"][0]
    assert best["Name"] == "Ball"
    assert place["Left"] * 320 == pytest.approx(truth["left"], abs=40)
    assert len(best["Geometry"]["Polygon"]) == 4


# What is used, and what is not


def test_test_images_are_never_trained_with(open_service: Callable[..., Service]) -> None:
    """An image in both datasets is left out of the training."""
    service = open_service()
    train, test = draw_birds(service.sandbox, 48)
    described = ended(service, datasets(service, "birds", [*train, *test], test))
    summary = json.loads(body_at(service, described["EvaluationResult"]["Summary"]))
    assert summary["EvaluationDetails"]["NumberOfTrainingImages"] == len(train)


def test_a_training_splits_what_has_no_test(open_service: Callable[..., Service]) -> None:
    """From a training dataset alone, and from manifests with AutoCreate; a fifth is tested."""
    service = open_service()
    train, test = draw_birds(service.sandbox, 40)
    lines = [label_line(key, bird) for key, bird in sorted([*train, *test])]
    project = service.project("one")
    service.dataset(project, "TRAIN", lines)
    bare = service.project("two")
    assets = [{"GroundTruthManifest": {"S3Object": {"Bucket": "pics", "Name": "TRAIN.manifest"}}}]
    manifests: dict[str, Any] = {"TrainingData": {"Assets": assets}, "TestingData": {"AutoCreate": True}}
    for described in (ended(service, project), ended(service, bare, **manifests)):
        summary = json.loads(body_at(service, described["EvaluationResult"]["Summary"]))
        assert summary["EvaluationDetails"]["NumberOfTrainingImages"] == 32
        assert summary["EvaluationDetails"]["NumberOfTestingImages"] == 8
    inputs = service.version(bare)["TestingDataResult"]["Input"]
    assert inputs == {"Assets": [], "AutoCreate": True}


# Failures


def failing(service: Service, train: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The description of a version whose training fails."""
    project = service.project(f"p{random.random()}")
    service.dataset(project, "TRAIN", train)
    service.dataset(project, "TEST", test or None)
    described = ended(service, project)
    assert described["Status"] == "TRAINING_FAILED"
    assert "BillableTrainingTimeInSeconds" not in described
    return described


def test_trainings_that_fail(open_service: Callable[..., Service]) -> None:
    """With the service's message, and with the validation results, in which the code stands."""
    service = open_service(denied=("pics/secret/*",))
    for place in ("jay", "robin", "secret"):
        for number in range(5):
            service.sandbox.put("pics", f"{place}/{number}.jpg", plain("JPEG", 80, 80))
    service.sandbox.put("other", "0.jpg", plain("JPEG", 80, 80))
    jays = [label_line(f"jay/{number}.jpg", "jay") for number in range(5)]
    robins = [label_line(f"robin/{number}.jpg", "robin") for number in range(5)]
    lines = [*jays, *robins]
    missing = [label_line(f"none/{number}.jpg", "jay") for number in range(3)]
    denied = [label_line(f"secret/{number}.jpg", "jay") for number in range(5)]
    more = [label_line(f"jay/{number}.jpg", f"l{number}") for number in range(5)]
    cases = (
        (jays, jays, "The manifest file has too few labels.", "ERROR_MANIFEST_TOO_FEW_LABELS"),
        ([*lines, *missing], lines, "The manifest file contains too many invalid rows.", "ERROR_TOO_MANY_INVALID_ROWS"),
        (missing, lines, "Failed to copy images from S3 bucket.", "ERROR_FAILED_IMAGES_S3_COPY"),
        (denied, lines, "The permissions for the images S3 bucket are invalid.", "ERROR_INVALID_PERMISSIONS_IMAGES"),
        (
            [*lines, label_line("0.jpg", "jay", bucket="other")],
            lines,
            "The manifest file contains images from multiple S3 buckets.",
            "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS",
        ),
        ([*more, *robins], [*jays, *robins], "Less than 50% label overlap", "ERROR_INSUFFICIENT_LABEL_OVERLAP"),
    )
    for train, test, message, name in cases:
        described = failing(service, train, test)
        assert message in described["StatusMessage"]
        summary = json.loads(body_at(service, described["ManifestSummary"]))
        errors = [*summary["errors"], *summary["statistics"]["training"]["errors"]]
        assert any(error["code"].startswith(name) for error in errors), (name, errors)
        assert code(partial(service.start, described["ProjectVersionArn"])) == "InvalidParameterException"
    described = failing(service, lines, [])
    assert described["StatusMessage"] == "The manifest file is empty."
    assert "ManifestSummary" not in described


def test_files_go_where_the_caller_may_write(open_service: Callable[..., Service]) -> None:
    """A bucket that is not there ends the training without files."""
    service = open_service()
    train, test = draw_birds(service.sandbox, 16)
    project = datasets(service, "birds", train, test)
    described = ended(service, project, OutputConfig={"S3Bucket": "nowhere", "S3KeyPrefix": ""})
    assert (described["Status"], described["StatusMessage"]) == (
        "TRAINING_FAILED",
        "Unable to write to output S3 bucket.",
    )
    assert service.sandbox.keys("models") == []


# Detections


def test_detections_of_a_trained_model(open_service: Callable[..., Service]) -> None:
    """Only while it runs; all labels with a minimum of 0, and those above their assumed thresholds without one."""
    service = open_service(unit_tps=1000)
    train, test = draw_birds(service.sandbox, 48)
    described = ended(service, datasets(service, "birds", train, test))
    arn = described["ProjectVersionArn"]
    thresholds = {
        row["Label"]: row["Metrics"]["Threshold"] * 100
        for row in json.loads(body_at(service, described["EvaluationResult"]["Summary"]))["LabelEvaluationResults"]
    }

    def detect(key: str, **more: Any) -> dict[str, float]:
        answer = service.api.detect_custom_labels(ProjectVersionArn=arn, Image=s3_image(key, "pics"), **more)
        assert all("Geometry" not in row for row in answer["CustomLabels"])
        return {row["Name"]: row["Confidence"] for row in answer["CustomLabels"]}

    assert code(partial(detect, test[0][0])) == "ResourceNotReadyException"
    service.start(arn)
    assert code(partial(detect, test[0][0])) == "ResourceNotReadyException"
    service.wait(480)
    right = 0
    for key, bird in test:
        everything = detect(key, MinConfidence=0)
        assert set(everything) == set(BIRDS)
        assert list(everything.values()) == sorted(everything.values(), reverse=True)
        assumed = {label: found for label, found in everything.items() if found >= thresholds[label]}
        assert detect(key) == assumed
        assert detect(key, MinConfidence=30) == {label: found for label, found in everything.items() if found >= 30}
        right += next(iter(everything)) == bird
    assert right / len(test) > 0.7
    sent = draw_picture("robin", "another")
    answer = service.api.detect_custom_labels(
        ProjectVersionArn=arn, Image={"Bytes": sent}, MinConfidence=0, MaxResults=1
    )
    assert [row["Name"] for row in answer["CustomLabels"]] == ["robin"]
    service.api.stop_project_version(ProjectVersionArn=arn)
    assert code(partial(detect, test[0][0])) == "ResourceNotReadyException"


def test_inference_units_bound_the_rate(open_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit takes its rate at once and no more; two units, also as the most of a scaled model, take twice as much."""
    service = open_service(unit_tps=3)
    train, test = draw_birds(service.sandbox, 16)
    arn = service.trained(datasets(service, "birds", train, test))

    def taken() -> int:
        done = 0
        try:
            while done < 100:
                service.api.detect_custom_labels(ProjectVersionArn=arn, Image=s3_image(test[0][0], "pics"))
                done += 1
        except service.api.exceptions.ProvisionedThroughputExceededException:
            pass
        return done

    for units, most in ((1, {}), (2, {}), (1, {"MaxInferenceUnits": 2})):
        service.start(arn, units, **most)
        service.wait(480)
        with one_moment(monkeypatch):
            assert taken() == 3 * max(units, *most.values(), 1)
        service.api.stop_project_version(ProjectVersionArn=arn)
        service.wait(120)
    stats = service.sandbox.stats().operations["DetectCustomLabels"]
    assert stats.throttled == 3


def test_manifests_are_written_as_they_came(open_service: Callable[..., Service]) -> None:
    """The validation manifest of a training from manifests has every line, those that are dropped, too."""
    service = open_service()
    train, test = draw_birds(service.sandbox, 40)
    good = [label_line(key, bird) for key, bird in train]
    bad = [b"{", manifest([good[0]]).strip(), b'{"source-ref":"s3://pics/bare.jpg"}']
    service.sandbox.put("pics", "a.manifest", manifest(good) + b"\n".join(bad) + b"\n")
    service.sandbox.put("pics", "b.manifest", manifest(label_line(key, bird) for key, bird in test))
    places = [
        {"Assets": [{"GroundTruthManifest": {"S3Object": {"Bucket": "pics", "Name": name}}}]}
        for name in ("a.manifest", "b.manifest")
    ]
    described = ended(service, service.project(), TrainingData=places[0], TestingData=places[1])
    f1(described)
    lines = lines_at(service, described["TrainingDataResult"], "Validation")
    assert len(lines) == len(good) + 3
    assert lines[len(good)] == {
        "errors": [{"code": "ERROR_INVALID_JSON_LINE", "message": "The JSON Line has an invalid format."}]
    }
    assert lines[-1]["warnings"][0]["code"] == "WARNING_UNANNOTATED_RECORD"
    statistics = json.loads(body_at(service, described["ManifestSummary"]))["statistics"]["training"]
    names = ("total_json_lines", "valid_json_lines", "invalid_json_lines", "ignored_json_lines")
    assert [statistics[name] for name in names] == [len(good) + 3, len(good), 2, 1]


def test_a_training_needs_numpy(open_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra everything else works, and a training says what to install."""
    service = open_service()
    train, test = draw_birds(service.sandbox, 16)
    project = datasets(service, "birds", train, test)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    described = ended(service, project)
    assert "asyncfilter[sandbox-training]" in described["StatusMessage"]
    assert described["Status"] == "TRAINING_FAILED"


def test_numpy_is_not_imported_before_a_training() -> None:
    """Who never trains does not wait for it."""
    program = "import asyncfilter.sandbox, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_defect_ends_a_training(open_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the sandbox itself is a failed training, not one without an end."""

    def fail(*_: object) -> None:
        raise RuntimeError("no such thing")

    service = open_service()
    train, test = draw_birds(service.sandbox, 16)
    project = datasets(service, "birds", train, test)
    monkeypatch.setattr("asyncfilter.sandbox.custom_labels.learned.run_test", fail)
    described = ended(service, project)
    assert described["Status"] == "TRAINING_FAILED"
    assert described["StatusMessage"].startswith("Amazon Rekognition experienced a service issue.")


def test_boxes_that_fill_their_images(open_service: Callable[..., Service]) -> None:
    """Without a window that is far from all boxes there is nothing to learn against, and no failure."""
    service = open_service()
    lines = [boxed_picture(service.sandbox, number) for number in range(8)]
    for line in lines:
        line["boxes"]["annotations"][0] |= {"left": 0, "top": 0, "width": 320, "height": 240}
    project = service.project()
    service.dataset(project, "TRAIN", lines[:6])
    service.dataset(project, "TEST", lines[6:])
    assert ended(service, project)["Status"] == "TRAINING_COMPLETED"


def test_a_training_holds_nothing_up(open_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """While one works, calls are answered, datasets are made, models detect; its own state waits for it."""
    service = open_service()
    train, test = draw_birds(service.sandbox, 16)
    arn = service.trained(datasets(service, "ready", train, test))
    service.start(arn)
    service.wait(480)
    from asyncfilter.sandbox.custom_labels.testing import run_test  # imports numpy

    go_on = threading.Event()

    def wait_and_test(*arguments: Any) -> Any:
        go_on.wait(60)
        return run_test(*arguments)

    monkeypatch.setattr("asyncfilter.sandbox.custom_labels.learned.run_test", wait_and_test)
    project = datasets(service, "birds", train, test)
    try:
        service.train(project)
        service.wait(7200)
        assert service.version(project)["Status"] == "TRAINING_IN_PROGRESS"
        service.dataset(service.project("more"), "TRAIN", [label_line(key, bird) for key, bird in train])
        found = service.api.detect_custom_labels(
            ProjectVersionArn=arn, Image=s3_image(test[0][0], "pics"), MinConfidence=0
        )
        assert len(found["CustomLabels"]) == 4
        assert service.version(project)["Status"] == "TRAINING_IN_PROGRESS"
    finally:
        go_on.set()
    while (described := service.version(project))["Status"] == "TRAINING_IN_PROGRESS":
        time.sleep(LOOK_S)
    took = described["TrainingEndTimestamp"] - described["CreationTimestamp"]
    assert took.total_seconds() >= 7200
