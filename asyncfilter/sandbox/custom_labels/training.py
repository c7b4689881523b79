"""A training: manifests are judged, a model is learned and tested on images that it has not seen, files are written."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from asyncfilter.sandbox.custom_labels import messages
from asyncfilter.sandbox.custom_labels.account import Account
from asyncfilter.sandbox.custom_labels.distribution import distribute, lonely_label
from asyncfilter.sandbox.custom_labels.entries import DatasetError, entry_of, split_lines
from asyncfilter.sandbox.custom_labels.judgement import Fate, judge
from asyncfilter.sandbox.custom_labels.limits import MAX_MANIFEST_BYTES, MIN_OVERLAP, max_rows
from asyncfilter.sandbox.custom_labels.manifests import read_manifest
from asyncfilter.sandbox.custom_labels.material import Material
from asyncfilter.sandbox.custom_labels.requests import S3Object
from asyncfilter.sandbox.custom_labels.training_input import Training
from asyncfilter.sandbox.custom_labels.validation_files import manifest_summary, validation_manifest
from asyncfilter.sandbox.custom_labels.versions import TrainingOutcome

NO_NUMPY: Final = (
    "The sandbox has no numpy and cannot train; install the extra: pip install 'asyncfilter[sandbox-training]'."
)
_AUTOSPLIT: Final = "ERROR_INSUFFICIENT_IMAGES_PER_LABEL_FOR_AUTOSPLIT"


def train(account: Account, training: Training) -> TrainingOutcome:
    """Train; runs in a thread."""
    try:
        _check_output(account, training)
        train_lines, test_lines = _lines(account, training)
    except DatasetError as error:
        return TrainingOutcome(problem=str(error))
    codes: list[str] = []
    if test_lines is None:
        train_lines, test_lines = _split(train_lines, codes)
    material, test = Material(train_lines, account), Material(test_lines, account)
    codes += _shared_codes(material, test)
    outcome = _validated(training, material, test, codes)
    if problems := [*material.codes, *test.codes, *codes]:
        outcome.problem = messages.CONTENT_MESSAGES[problems[0]]
        return outcome
    if importlib.util.find_spec("numpy") is None:
        outcome.problem = NO_NUMPY
        return outcome
    with _one_blas_thread():
        from asyncfilter.sandbox.custom_labels.learned import learn  # noqa: PLC0415 - an optional extra

    return learn(account, training, material, test, outcome)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Import numpy so that it computes in the thread that asks it: for matrices this small, more threads only wait.

    OpenBLAS reads the variable when it is loaded. A numpy that is loaded already stays as it is.
    """
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ.setdefault(name, "1")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _check_output(account: Account, training: Training) -> None:
    """Return if the files can be written.

    Raises:
        DatasetError: If there is no such bucket in the region, or the caller may not write there.
    """
    bucket = account.store.buckets.get(training.output.s3_bucket)
    uri = f"{training.output.s3_bucket}/{training.key('evaluation', '')}"
    if bucket is None or bucket.region != account.region or not account.access.allowed("PutObject", uri):
        raise DatasetError(messages.NO_OUTPUT)


def _lines(account: Account, training: Training) -> tuple[list[bytes], list[bytes] | None]:
    """The lines of training and test; None for a test that is to be split off.

    Raises:
        DatasetError: If a manifest has a terminal file error.
    """
    train_lines = training.entries or _manifest_lines(account, training.manifests)
    test_lines = training.test_entries
    if test_lines is None and training.test_manifests:
        test_lines = _manifest_lines(account, training.test_manifests)
    if not train_lines or test_lines == []:
        raise DatasetError(messages.EMPTY)
    for lines, kind in ((train_lines, "TRAIN"), (test_lines or [], "TEST")):
        if len(lines) > max_rows(account.region, kind):
            raise DatasetError(messages.TOO_MANY_ROWS)
    return train_lines, test_lines


def _manifest_lines(account: Account, places: Sequence[S3Object]) -> list[bytes]:
    lines = []
    for place in places:
        manifest = read_manifest(account, place)
        if len(manifest) > MAX_MANIFEST_BYTES:
            raise DatasetError(messages.TOO_LARGE)
        lines += split_lines(manifest)
    return lines


def _split(lines: list[bytes], codes: list[str]) -> tuple[list[bytes], list[bytes]]:
    """The lines of training and test, split as a distribution does; adds the code of a failure."""
    entries = {line.ref: entry_of(line) for line in map(judge, lines) if line.fate is not Fate.DROPPED}
    if lonely_label(entries) is not None:
        codes.append(_AUTOSPLIT)
    goes = {entry.line for entry in distribute(entries)[1].values()}
    return [line for line in lines if line not in goes], [line for line in lines if line in goes]


def _shared_codes(train_material: Material, test: Material) -> list[str]:
    """Errors that concern training and test together: too few of the trained labels are tested."""
    use_case = train_material.use_case
    if _overlap(train_material.all_labels, test.all_labels) < MIN_OVERLAP:
        return ["ERROR_INSUFFICIENT_LABEL_OVERLAP"]
    if _overlap(train_material.labels(use_case), test.labels(use_case)) < MIN_OVERLAP:
        return ["ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP"]
    return []


def _overlap(trained: Mapping[str, int], tested: Mapping[str, int]) -> float:
    return len(trained.keys() & tested.keys()) / len(trained) if trained else 1.0


def _validated(training: Training, material: Material, test: Material, codes: list[str]) -> TrainingOutcome:
    """The outcome with the validation results, which a failed training has, too."""
    names = ("training_manifest_with_validation.json", "testing_manifest_with_validation.json", "manifest_summary.json")
    bodies = (validation_manifest(material), validation_manifest(test))
    summary = manifest_summary(material, test, codes)
    outcome = TrainingOutcome()
    for name, body in zip(names, (*bodies, summary), strict=True):
        outcome.files[training.key("validation", name)] = body
    for member, name in zip(("TrainingDataResult", "TestingDataResult"), names, strict=False):
        assets = [{"GroundTruthManifest": training.place("validation", name)}]
        outcome.described[member] = {"Validation": {"Assets": assets}}
    outcome.described["ManifestSummary"] = training.place("validation", names[2])
    return outcome
