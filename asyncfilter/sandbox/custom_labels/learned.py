"""Learns the model of a training and tests it; needs numpy."""

from __future__ import annotations

from collections.abc import Sequence

from asyncfilter.sandbox.custom_labels import result_files as files
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.judgement import JudgedLine
from asyncfilter.sandbox.custom_labels.learning.box_model import BoxModel
from asyncfilter.sandbox.custom_labels.learning.examples import Example, RatioBox, spread
from asyncfilter.sandbox.custom_labels.learning.features import UndecodableError, channels_of
from asyncfilter.sandbox.custom_labels.learning.image_model import ImageModel
from asyncfilter.sandbox.custom_labels.material import Material, UseCase
from asyncfilter.sandbox.custom_labels.messages import CONTENT_MESSAGES
from asyncfilter.sandbox.custom_labels.metrics import means
from asyncfilter.sandbox.custom_labels.testing import TestResult, run_test
from asyncfilter.sandbox.custom_labels.trained import Trained
from asyncfilter.sandbox.custom_labels.training_input import Training
from asyncfilter.sandbox.custom_labels.versions import TrainingOutcome

MOST_TESTED = 2000
"""Most images that are tested; of more, evenly spread ones are."""


def learn(
    account: Account, training: Training, material: Material, test: Material, outcome: TrainingOutcome
) -> TrainingOutcome:
    """Add the model to the outcome, with its files and figures.

    Args:
        account: Whose the model is.
        training: What is trained.
        material: The training manifest.
        test: The test manifest: none of its images is learned from, unless there are no others.
        outcome: With the validation results.
    """
    use_case = material.use_case
    tested_refs = {line.ref for line in test.usable(use_case)}
    valid = material.usable(use_case)
    known = _examples(spread([line for line in valid if line.ref not in tested_refs] or valid), material)
    if not known:
        outcome.problem = CONTENT_MESSAGES["ERROR_FAILED_IMAGES_S3_COPY"]
        return outcome
    labels = sorted(material.labels(use_case))
    examples = [example for _, example in known]
    model = ImageModel(examples, labels) if use_case is UseCase.IMAGE else BoxModel(examples, labels)
    result = run_test(model, _examples(spread(test.usable(use_case), MOST_TESTED), test))
    outcome.model = Trained(model, result.thresholds)
    trained = [line for line, _ in known]
    _add_results(account, training, outcome, use_case=use_case, trained=trained, result=result)
    return outcome


def _add_results(
    account: Account,
    training: Training,
    outcome: TrainingOutcome,
    *,
    use_case: UseCase,
    trained: Sequence[JudgedLine],
    result: TestResult,
) -> None:
    """Add summary and snapshots to the outcome, and where they are."""
    ended_s = account.clock.now_s()
    name = f"{training.project}-{training.version}.json"
    summary = files.evaluation_summary(
        training.arn,
        result,
        training_images=len(trained),
        ended_s=ended_s,
        use_case=use_case,
        is_nested=account.nests_summary,
    )
    bodies = {
        f"EvaluationSummary-{name}": summary,
        f"TrainingGroundTruth-{name}": files.training_snapshot(trained, use_case, ended_s),
        f"TestingGroundTruth-{name}": files.test_snapshot(result, use_case, ended_s),
    }
    outcome.files |= {training.key("evaluation", file): body for file, body in bodies.items()}
    outcome.described["EvaluationResult"] = {
        "F1Score": means(result.labels).f1,
        "Summary": training.place("evaluation", f"EvaluationSummary-{name}"),
    }
    for member, file in (("TrainingDataResult", "TrainingGroundTruth"), ("TestingDataResult", "TestingGroundTruth")):
        assets = [{"GroundTruthManifest": training.place("evaluation", f"{file}-{name}")}]
        outcome.described[member]["Output"] = {"Assets": assets}


def _examples(lines: Sequence[JudgedLine], material: Material) -> list[tuple[JudgedLine, Example]]:
    """The lines whose images can be decoded, with their truth."""
    found = []
    for line in lines:
        try:
            channels = channels_of(material.bodies[line.ref])
        except UndecodableError:
            continue
        width, height = line.size or (1, 1)
        boxes = tuple(
            RatioBox(box.label, box.left / width, box.top / height, box.width / width, box.height / height)
            for box in line.boxes
        )
        found.append((line, Example(channels, frozenset(line.labels), boxes)))
    return found
