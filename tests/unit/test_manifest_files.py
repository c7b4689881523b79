"""What is wrong with a file as a whole, and what its check counts."""

from __future__ import annotations

import io
from typing import Any

import pytest

from asyncfilter.datasets.limits import MAX_MANIFEST_BYTES
from asyncfilter.datasets.manifests.codes import CODES, Finding, Severity
from asyncfilter.datasets.manifests.file_checks import CheckOptions, Role, TrainingFacts, file_findings
from asyncfilter.datasets.manifests.ref_index import RefIndex
from asyncfilter.datasets.manifests.tally import ManifestTally
from asyncfilter.datasets.manifests.validation import Validation, validate
from tests.kit.manifests import D, box, box_line, box_metadata, encoded, image_line, ref, size
from tests.unit.test_manifest_lines import OF_FILES

NAME = "train.manifest"


def check(*documents: object, file: str = NAME, **options: Any) -> Validation:
    """The result of a check of these lines."""
    lines = [document if isinstance(document, bytes) else encoded(document) for document in documents]
    return validate(io.BytesIO(b"\n".join(lines) + b"\n" if lines else b""), file=file, options=CheckOptions(**options))


def file_codes(result: Validation) -> list[str]:
    """Codes about the file but for the advice that every small one gets."""
    return [found.code for found in result.log.kept if found.line is None and found.code != "FEW_IMAGES"]


def images(names: list[str], each: int = 1) -> list[dict[str, Any]]:
    """Lines with one label each."""
    return [image_line(name) for name in names for _ in range(each)]


TWO = images(["Robin", "Wren"])
BLANK = b"   "
BAD = b"{"


def test_a_good_file() -> None:
    """All fields, under their public names and in their order."""
    result = check(*images(["Robin", "Wren"], 10))
    assert result.as_mapping() == {
        "file": NAME,
        "bytes": result.size_bytes,
        "lines": 20,
        "valid_lines": 20,
        "invalid_lines": 0,
        "ignored_lines": 0,
        "dropped_lines": 0,
        "blank_lines": 0,
        "invalid_share": 0,
        "use_case": "IMAGE_LEVEL_LABELS",
        "images": 20,
        "labels": {"Robin": {"images": 10, "boxes": 0}, "Wren": {"images": 10, "boxes": 0}},
        "boxes": 0,
        "buckets": ["pictures"],
        "counts": {},
        "findings": [],
        "findings_total": 0,
        "truncated": False,
        "would_import": True,
        "would_train": True,
        "ok": True,
    }


def training(*documents: object) -> TrainingFacts:
    """These lines as the training manifest."""
    result = check(*documents)
    return TrainingFacts(file="t.manifest", tally=result.tally, refs=result.refs)


SHARED = image_line("Robin")
MIXED = [*images(["Robin"]), box_line(), box_line()]
FILES: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "empty": ([], {}, ["ERROR_EMPTY_MANIFEST"]),
    "blank": (
        [BLANK, BLANK],
        {},
        ["ERROR_EMPTY_MANIFEST", "ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST", "ERROR_TOO_MANY_RECORDS_IN_ERROR"],
    ),
    "all invalid": (
        [{"source-ref": ref(), "x": 1}],
        {},
        ["ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST", "ERROR_MANIFEST_TOO_FEW_LABELS"],
    ),
    "a fifth invalid": ([*TWO, *TWO[:0], *images(["Robin"] * 2), {"source-ref": ref(), "x": 1}], {}, []),
    "over a fifth invalid": (
        [*images(["Robin", "Wren", "Crow"]), {"source-ref": ref(), "x": 1}],
        {},
        ["ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST"],
    ),
    "over a fifth dropped": (
        [*images(["Robin", "Wren", "Crow"]), BAD],
        {},
        ["ERROR_TOO_MANY_INVALID_ROWS_IN_MANIFEST", "ERROR_TOO_MANY_RECORDS_IN_ERROR"],
    ),
    "only ignored": ([{"source-ref": ref()}], {}, ["ERROR_MANIFEST_TOO_FEW_LABELS"]),
    "two buckets": (
        [*TWO, image_line(source_ref=ref(bucket="other"))],
        {},
        ["ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS"],
    ),
    "two buckets, one of a dropped line": ([*images(["Robin", "Wren"], 3), b'{"source-ref":"s3://other/x"} x'], {}, []),
    "250 labels": (images([f"l{number}" for number in range(250)]), {}, []),
    "251 labels": (images([f"l{number}" for number in range(251)]), {}, ["ERROR_MANIFEST_TOO_MANY_LABELS"]),
    "one label": (images(["Robin"], 3), {}, ["ERROR_MANIFEST_TOO_FEW_LABELS"]),
    "one label with boxes": ([box_line()], {}, []),
    "too few usable": (
        [*images(["Robin"], 2), box_line(box(class_id=1))],
        {},
        ["MIXED_USE_CASES", "ERROR_MANIFEST_TOO_FEW_USABLE_LABELS"],
    ),
    "mixed": (MIXED, {}, ["MIXED_USE_CASES"]),
    "both in each line": ([box_line(**image_line())], {}, ["MIXED_USE_CASES"]),
    "similar": (
        images(["Robin", "robin ", "robin\u200b", "ro bin", "Caf\u00e9", "Cafe\u0301", "Wren"]),
        {},
        ["SIMILAR_LABELS"] * 2,
    ),
    "alike but for a character without a width": (images(["Robin", "Robin\u200b", "Wren"]), {}, ["SIMILAR_LABELS"]),
    "autosplit": (
        [*images(["Robin", "Wren"], 2), *images(["Crow"])],
        {"role": Role.SINGLE},
        ["ERROR_INSUFFICIENT_IMAGES_PER_LABEL_FOR_AUTOSPLIT"],
    ),
    "no autosplit": ([*images(["Robin", "Wren"], 2), *images(["Crow"])], {}, []),
    "no extension": (TWO, {"file": "train"}, ["ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT"]),
    "overlap": (images(["a", "b"]), {"training": training(*images(["a", "b", "c", "d"]))}, []),
    "too little overlap": (
        images(["a", "x"]),
        {"training": training(*images(["a", "b", "c"]))},
        ["ERROR_INSUFFICIENT_LABEL_OVERLAP"],
    ),
    "too little usable overlap": (
        [box_line(box(class_id=1)), box_line()],
        {"training": training(*images(["Robin", "Wren"], 2), box_line())},
        ["ERROR_INSUFFICIENT_USABLE_LABEL_OVERLAP"],
    ),
    "shared": ([*TWO, SHARED], {"training": training(*TWO[:0], *images(["Wren"]), SHARED)}, ["SHARED_IMAGES"]),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file(name: str) -> None:
    """All findings about the file, in the order of the table."""
    documents, options, expected = FILES[name]
    result = check(*documents, **options)
    assert file_codes(result) == expected
    fatal = [code for code in expected if code.startswith("ERROR_") and name != "no extension"]
    assert result.would_train == (not fatal)
    stops = ("EMPTY", "SIZE", "ROWS_EXCEEDS", "RECORDS_IN_ERROR", "TOO_MANY_LABELS")
    assert result.would_import == (not any(stop in code for code in fatal for stop in stops))
    tally = result.tally
    assert tally.lines == len(documents) == tally.valid + tally.invalid + tally.ignored


def test_every_code_of_a_file_has_a_test() -> None:
    """No rule is without a file that breaks it; the others are below, and where S3 is read."""
    elsewhere = {
        "ERROR_MANIFEST_SIZE_TOO_LARGE",
        "ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM",
        "ERROR_INVALID_PERMISSIONS_MANIFEST_S3_BUCKET",
        "FEW_IMAGES",
    }
    assert {code for _, _, codes in FILES.values() for code in codes} == OF_FILES - elsewhere


def test_few_images() -> None:
    """One warning for each label with fewer than ten images."""
    result = check(*images(["Robin"], 10), *images(["Wren"], 9))
    assert [found.message for found in result.log.kept] == ["label 'Wren' has 9 images"]
    assert result.ok
    assert not check(*TWO, is_strict=True).ok


@pytest.mark.parametrize(
    ("region", "role", "most"),
    [
        (None, Role.TRAIN, 250_000),
        ("us-east-1", Role.TEST, 250_000),
        ("ap-south-1", Role.TRAIN, 28_000),
        ("eu-west-2", Role.SINGLE, 28_000),
        ("eu-west-2", Role.TEST, 7_000),
    ],
)
def test_rows(region: str | None, role: Role, most: int) -> None:
    """The most lines are counted, whatever is in them."""
    options, tally = CheckOptions(region=region, role=role), ManifestTally()
    for lines in (most, most + 1):
        tally.lines = lines
        codes = [found.code for found in file_findings(NAME, 1, tally, options, RefIndex())]
        assert ("ERROR_MANIFEST_ROWS_EXCEEDS_MAXIMUM" in codes) is (lines > most)


class NeverRead(io.BytesIO):
    """A file that must not be read."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Fail."""
        raise AssertionError(size)


def test_a_file_that_is_too_large() -> None:
    """Its size tells it; it is not read."""
    result = validate(NeverRead(), file=NAME, size_bytes=MAX_MANIFEST_BYTES + 1)
    assert file_codes(result) == ["ERROR_MANIFEST_SIZE_TOO_LARGE"]
    assert (result.as_mapping()["lines"], result.as_mapping()["bytes"]) == (0, MAX_MANIFEST_BYTES + 1)
    assert not result.would_import


def test_findings_are_counted_and_cut() -> None:
    """At most N are kept, those about the file always among them; every one is told to the listener."""
    told: list[Finding] = []
    lines = b"\n".join([BAD] * 10)
    result = validate(io.BytesIO(lines), file=NAME, options=CheckOptions(most_findings=5), on_finding=told.append)
    mapping = result.as_mapping()
    assert mapping["findings_total"] == len(told) == 13
    assert mapping["truncated"] is True
    assert [found.line for found in mapping["findings"]] == [1, 2, None, None, None]
    assert mapping["counts"]["ERROR_INVALID_JSON_LINE"] == 10
    assert [found.line for found in told][:10] == list(range(1, 11))
    empty = validate(io.BytesIO(lines), file=NAME, options=CheckOptions(most_findings=0)).as_mapping()
    assert (empty["findings"], empty["findings_total"], empty["truncated"]) == ([], 13, True)


def test_lines_are_accounted_for() -> None:
    """Dropped and blank lines are among the invalid ones, ignored ones are not."""
    result = check(*TWO, BLANK, BAD, {"source-ref": ref()}, {"source-ref": ref(), "x": 1}, TWO[0]).as_mapping()
    counted = ("lines", "valid_lines", "invalid_lines", "ignored_lines", "dropped_lines", "blank_lines", "images")
    assert [result[name] for name in counted] == [7, 2, 4, 1, 3, 1, 2]
    assert result["invalid_share"] == round(4 / 7, 6)


def test_only_what_can_be_used_is_counted() -> None:
    """Labels and boxes of invalid lines, and invalid boxes of valid lines, are not."""
    result = check(
        box_line(box(), box(left=-1), box(class_id=1)),
        box_line(box(class_id=1), image_size=size(5000, 480)),
        box_line(box(), metadata=box_metadata(**D({"class-map": {"0": "Robin", "9": "Unused"}}))),
    ).as_mapping()
    assert result["labels"] == {"Robin": {"images": 2, "boxes": 2}, "Wren": {"images": 1, "boxes": 1}}
    assert (result["boxes"], result["images"]) == (3, 2)


def test_the_use_case() -> None:
    """The kind with more valid lines; boxes when they are equal."""
    assert check(*images(["a"]), box_line()).tally.use_case.value == "OBJECT_LOCALIZATION"
    assert check(*images(["a", "b"]), box_line()).tally.use_case.value == "IMAGE_LEVEL_LABELS"
    assert check(BAD).tally.use_case.value == "NOT_DETERMINED"


def test_a_finding_has_all_of_its_fields() -> None:
    """They are public; what means nothing is null."""
    found = check(box_line(box(left=-1), box())).log.kept[0]
    assert (found.line, found.code, found.severity, found.effect, found.scope, found.attribute, found.index) == (
        *(1, "ERROR_INVALID_BOUNDING_BOX", Severity.ERROR, "part", "annotation", "boxes", 0),
    )
    assert found.hint == CODES[found.code].hint
    blank = check(BLANK).log.kept[0]
    assert (blank.attribute, blank.index, blank.scope, blank.effect) == (None, None, "line", "dropped")
