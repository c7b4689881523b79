"""What is read of files of people's answers: each annotation, row or line is one unit, with its place."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from asyncfilter.datasets.answers.addresses import Addresses
from asyncfilter.datasets.answers.detecting import AnswerFormat, format_of
from asyncfilter.datasets.answers.label_studio import LabelStudioReader
from asyncfilter.datasets.answers.units import Left, ReadNotes, RotatedBox, Said, Unit
from asyncfilter.datasets.answers.words import VerdictWords, moment_text, moment_unix_s
from asyncfilter.errors import UsageError
from asyncfilter.records.answers import LabelledBox, PersonVerdict
from tests.kit.answer_files import BUCKET, annotation, choice, export, rectangle, task, units_of

REAL = Path(__file__).parents[3] / "shared/data/manifests/real"
LS, CSV, GT, JSONL = (
    AnswerFormat.LABEL_STUDIO,
    AnswerFormat.CSV,
    AnswerFormat.GROUND_TRUTH,
    AnswerFormat.JSONL,
)


def ls(*tasks: Any, notes: ReadNotes | None = None, **options: Any) -> list[Unit]:
    """The units of an export of tasks."""
    return list(units_of(export(*tasks), LS, notes, **options))


def codes(units: list[Unit]) -> list[str]:
    """What became of each unit."""
    return [unit.code if isinstance(unit, Left) else "said" for unit in units]


def one(units: list[Unit]) -> Said:
    """The only unit, which says something."""
    (unit,) = units
    assert isinstance(unit, Said), unit
    return unit


# -- Label Studio ------------------------------------------------------------------------------------------------------


def test_an_annotation_is_a_unit_with_its_place() -> None:
    """Each annotation is one unit; a task without one counts as one."""
    found = ls(
        task("s3://pictures/a.jpg", annotation(choice("Keep")), annotation(choice("reject"), was_cancelled=True)),
        task("s3://pictures/b.jpg"),
        {"id": 9, "data": {"image": "s3://pictures/c.jpg"}, "completions": [annotation(choice("UNSURE"))]},
    )
    assert codes(found) == ["said", "cancelled", "no_annotation", "said"]
    assert [unit.at for unit in found] == [
        "task 1, annotation 1",
        "task 1, annotation 2",
        "task 2",
        "task 3, annotation 1",
    ]


def test_the_two_forms_of_label_studio_say_the_same() -> None:
    """A task with annotations, and what a cloud storage has: an annotation with its task."""
    said = annotation(choice("keep"), rectangle())
    exported = one(ls(task("s3://pictures/a.jpg", said)))
    stored = {**said, "task": task("s3://pictures/a.jpg")}
    for content in (
        json.dumps(stored),
        json.dumps(stored, indent=2),
        json.dumps([stored]),
        f"{json.dumps(stored)}\n\n",
    ):
        assert format_of(io.BytesIO(content.encode())) is LS
        assert one(list(units_of(content.encode(), LS))) == exported
    assert codes(ls({**said, "task": 3}, {**said, "task": {"id": 3}})) == ["no_task_data", "no_task_data"]


def test_tasks_one_a_line_are_numbered_by_their_lines() -> None:
    """A line that is no JSON costs itself alone, and blank lines are no tasks."""
    lines = b"\xef\xbb\xbf" + b"\n".join(
        [json.dumps(task("s3://pictures/a.jpg", annotation(choice("keep")))).encode(), b"", b"{nothing", b"3"]
    )
    found = list(units_of(lines, LS))
    assert codes(found) == ["said", "unreadable", "unreadable"]
    assert [unit.at for unit in found] == ["task 1, annotation 1", "task 3", "task 4"]


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([choice("keep", "reject")], "two_verdicts"),
        ([choice("keep"), choice("reject")], "two_verdicts"),
        ([choice("keep"), choice("KEEP ")], "said"),
        ([], "empty"),
        ([{"type": "brushlabels", "value": {}}], "empty"),
        ([rectangle("10")], "bad_box"),
        ([rectangle(None)], "bad_box"),
        ([rectangle(True)], "bad_box"),
        ([rectangle(float("nan"))], "bad_box"),
        ([rectangle(10**400)], "bad_box"),
        ([rectangle(rotation="90")], "bad_box"),
        ([{**rectangle(), "value": None}], "unreadable"),
        ([3], "unreadable"),
        ([choice("x" * 256)], "bad_label"),
        ([choice(" ")], "bad_label"),
        ([choice(*map(str, range(51)))], "bad_label"),
        ([rectangle(200, 200)], "empty"),
        ([rectangle(image_rotation=90)], "empty"),
        ([rectangle(rotation=30, original_width=None)], "empty"),
    ],
)
def test_what_results_cannot_be_used(results: list[Any], code: str) -> None:
    """Each annotation that cannot be used has the code of its reason."""
    assert codes(ls(task("s3://pictures/a.jpg", annotation(*results)))) == [code]


def test_results_become_verdict_labels_and_boxes() -> None:
    """Mapped texts are verdicts, other choices labels, boxes are cut at the frame, the rest is counted."""
    notes = ReadNotes()
    found = one(
        ls(
            task(
                "s3://pictures/a.jpg",
                annotation(
                    choice("good", "Robin"),
                    {"type": "labels", "value": {"labels": ["Wren"]}},
                    rectangle(-10, 0, 30, 50),
                    {"type": "textarea", "value": {"text": ["x"]}},
                    {**choice("reject"), "value": {**rectangle()["value"], "choices": ["reject"]}},
                ),
            ),
            notes=notes,
            maps=["Good=keep"],
        )
    )
    assert (found.verdict, found.labels) == (PersonVerdict.KEEP, ("Robin", "Wren"))
    assert found.boxes == (LabelledBox(label="Dog", left=0, top=0, width=0.2, height=0.5),)
    assert (notes.boxes["clamped"], notes.ignored_results) == (1, {"textarea": 1, "choices": 1})
    assert (found.reviewer, found.at_unix_s) == ("label-studio:3", moment_unix_s("2024-03-04T10:00:05Z"))


def test_a_rotated_box_becomes_its_envelope() -> None:
    """Clockwise about the left top corner, in pixels: a quarter turn of 80 x 20 px goes to the left."""
    told: list[RotatedBox] = []
    notes = ReadNotes(told.append)
    found = one(ls(task("s3://pictures/a.jpg", annotation(rectangle(50, 50, 20, 10, rotation=90))), notes=notes))
    assert found.boxes == (LabelledBox(label="Dog", left=0.45, top=0.5, width=0.05, height=0.4),)
    assert notes.boxes == {"rotated": 1, "clamped": 0}
    assert [box.at for box in told] == ["task 1, annotation 1"]


@pytest.mark.parametrize(
    ("person", "name"),
    [
        ({"email": " anna@example.org "}, "anna@example.org"),
        ({"id": 5, "email": ""}, "label-studio:5"),
        (12, "label-studio:12"),
        (None, "label-studio"),
        ("ben", "ben"),
    ],
)
def test_who_completed_it_is_the_reviewer(person: object, name: str) -> None:
    """An address, a number, or nobody."""
    found = one(ls(task("s3://pictures/a.jpg", annotation(choice("keep"), completed_by=person))))
    assert found.reviewer == name


def test_a_task_of_ours_names_the_image_and_keeps_labels_called_like_verdicts() -> None:
    """What the program wrote into a task holds, not the address beside it."""
    ours = {"bucket": BUCKET, "key": "x?y.jpg", "etag": '"abc"', "size_bytes": 5, "seq": 1}
    results = [choice("reject", name="verdict"), choice("Keep", "Robin", name="labels")]
    data = {"image": "s3://other/z", "asyncfilter": ours}
    found = one(ls(task(None, annotation(*results, asyncfilter={"uid": "u" * 10, "reviewer": "anna"}), data=data)))
    assert (found.images, found.etag, found.size_bytes) == (((BUCKET, "x?y.jpg"),), "abc", 5)
    assert (found.verdict, found.labels, found.reviewer) == (PersonVerdict.REJECT, ("Keep", "Robin"), "anna")


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("s3://pictures/a%20b.jpg?versionId=1", "a b.jpg"),
        ("s3://pictures/a%20b.jpg", "a%20b.jpg"),
        ("https://pictures.s3.amazonaws.com/a%20b+c.jpg?X-Amz-Signature=1", "a b+c.jpg"),
        ("https://pictures.s3.eu-central-1.amazonaws.com/x/y.jpg", "x/y.jpg"),
        ("https://pictures.s3-eu-west-1.amazonaws.com/x/y.jpg", "x/y.jpg"),
        ("https://s3.dualstack.us-east-1.amazonaws.com/pictures/x/y.jpg", "x/y.jpg"),
        ("https://s3.amazonaws.com/pictures/%C3%BC.jpg", "ü.jpg"),
    ],
)
def test_addresses_of_images(address: str, key: str) -> None:
    """All forms of addresses in S3, with queries and escapes."""
    assert (BUCKET, key) in Addresses(bucket=BUCKET).of(address)


@pytest.mark.parametrize(
    "address", ["a.jpg", "/data/upload/1/a.jpg", "https://example.org/pictures/a.jpg", "s3://", ""]
)
def test_what_is_no_address_is_no_image(address: str) -> None:
    """Nothing is guessed from the name of a file."""
    assert codes(ls(task(address, annotation(choice("keep"))))) == ["no_image"]


def test_base_and_image_field_say_where_the_key_is() -> None:
    """Tasks over files that Label Studio serves itself."""
    local = "/data/local-files/?d=birds/a%20b.jpg"
    found = one(ls(task(local, annotation(choice("keep"))), base="/data/local-files/?d="))
    assert (None, "birds/a b.jpg") in found.images
    data = {"text": "hello", "picture": "s3://pictures/p.jpg"}
    assert codes(ls(task(None, annotation(choice("keep")), data=data))) == ["no_image"]
    assert one(ls(task(None, annotation(choice("keep")), data=data), image_field="picture")).images[0].key == "p.jpg"
    only = one(ls(task(None, annotation(choice("keep")), data={"picture": "s3://pictures/p.jpg"})))
    assert only.images[0].key == "p.jpg"


def test_json_min_is_refused_with_what_to_export() -> None:
    """The flat export has neither annotations nor boxes of whole tasks."""
    flat = [{"image": "s3://pictures/a.jpg", "id": 1, "choice": "keep", "annotator": 1, "annotation_id": 1}]
    content = json.dumps(flat).encode()
    assert format_of(io.BytesIO(content)) is LS
    with pytest.raises(UsageError) as caught:
        list(units_of(content, LS))
    assert "JSON-MIN" in str(caught.value)
    assert "as JSON" in (caught.value.hint or "")


@pytest.mark.parametrize("content", [b'[{"data":{}', b'[{"id":1},]', b"[3]", b'{"a":1}', b"{", b"", b"key,verdict\n"])
def test_what_is_no_label_studio_is_refused_whole(content: bytes) -> None:
    """Of a file that is no JSON of tasks nothing is read."""
    with pytest.raises(UsageError):
        list(units_of(content, LS))


def test_a_file_of_a_folder_that_cannot_be_read_is_a_unit() -> None:
    """The other files of a folder are read."""
    reader = LabelStudioReader(words=VerdictWords(), addresses=Addresses(bucket=BUCKET), notes=ReadNotes())
    (found,) = reader.read_named("17", io.BytesIO(b"<html>"))
    assert isinstance(found, Left)
    assert (found.at, found.code) == ("17", "unreadable")


def test_python_s_json_with_nan_and_surrogates_is_read() -> None:
    """Label Studio writes what the RFC does not have."""
    content = b'[{"annotations":[{"result":[],"x":NaN}],"data":{"image":"\\ud800"}},{"annotations":null,"data":{}}]'
    assert codes(list(units_of(content, LS))) == ["empty", "no_annotation"]


# -- CSV ---------------------------------------------------------------------------------------------------------------


def rows(text: str, encoding: str = "utf-8", **options: Any) -> list[Unit]:
    """The units of a CSV file."""
    return list(units_of(text.encode(encoding), CSV, **options))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
def test_csv_of_any_spreadsheet(encoding: str, delimiter: str, end: str) -> None:
    """Encodings, delimiters and line ends of spreadsheets, columns in any order and case."""
    table = [
        ["Key", "note", "verdict", "Label"],
        ["ü a.jpg", '"say ""x"""', "Keep", "Robin"],
        ["b.jpg", "", "reject", ""],
    ]
    text = end.join(delimiter.join(row) for row in table)
    content = text.encode(encoding)
    assert format_of(io.BytesIO(content)) is CSV
    first, second = units_of(content, CSV)
    assert isinstance(first, Said)
    assert isinstance(second, Said)
    assert (first.images[0].key, first.verdict, first.labels, first.note) == ("ü a.jpg", "keep", ("Robin",), 'say "x"')
    assert (second.images[0].key, second.verdict, second.labels) == ("b.jpg", "reject", None)


def test_csv_without_a_header_is_key_verdict_labels() -> None:
    """Keys are not trimmed; addresses are keys, too."""
    first, second = rows(" a.jpg,keep,Robin,,Wren\ns3://pictures/b.jpg,unsure\n")
    assert isinstance(first, Said)
    assert isinstance(second, Said)
    assert (first.images[0].key, first.labels) == (" a.jpg", ("Robin", "Wren"))
    assert (BUCKET, "b.jpg") in second.images


def test_codes_of_rows() -> None:
    """Each row is one unit with its code; an open quote costs its line alone."""
    found = rows(
        "key,verdict,label,labels,size_bytes,at,color\n"
        "a,maybe,,,,,\n"  # bad_verdict
        "b,keep\n"  # short_row
        "c,keep,,,,,,extra\n"  # bad_row
        "d,,,,,,\n"  # empty
        ",,,,,,\n"  # blank
        "e,unresolved,,,,,\n"
        "f,,,[1],,,\n"  # bad_labels
        "g,,,{,,,\n"  # bad_labels
        "h,keep,,,12x,,\n"  # bad_row
        "i,keep,,,,yesterday,\n"  # bad_row
        "\0j,keep,,,,,\n"  # bad_row
        ",keep,,,,,\n"  # bad_row
        'k,keep,,"[""A"",""B""]",3,2024-01-01,red\n'
        "l,,,[],,,\n"
        '"m,keep,,,,,\n'  # bad_row: an open quote
        "n,reject,,,,,\n"
    )
    assert codes(found) == [
        *("bad_verdict", "short_row", "bad_row", "empty", "blank", "unresolved", "bad_labels", "bad_labels"),
        *("bad_row", "bad_row", "bad_row", "bad_row", "said", "said", "bad_row", "said"),
    ]
    assert [unit.at for unit in found] == list(range(2, 18))
    assert isinstance(found[13], Said)
    assert found[13].labels == ()


def test_a_cell_of_several_lines_counts_its_lines() -> None:
    """The place of a row is the line on which it begins."""
    found = rows('key,verdict,note\n"a\r\nb",keep,"1\n2\n3"\nc,keep,\n')
    assert [unit.at for unit in found] == [2, 6]
    assert isinstance(found[0], Said)
    assert (found[0].images[0].key, found[0].note) == ("a\r\nb", "1\n2\n3")


def test_columns_that_are_not_read_are_named() -> None:
    """So that a misspelt column is seen."""
    notes = ReadNotes()
    list(units_of(b"filename,verdict,colour,key\na,keep,red,b\n", CSV, notes))
    assert notes.ignored_columns == ["colour", "key"]


def test_one_apostrophe_is_taken_off_a_guarded_cell() -> None:
    """Only where it guards."""
    found = rows("key,verdict,note\n'=1+1.jpg,keep,''-x\n'a.jpg,keep,it's\n")
    assert [(unit.images[0].key, unit.note) for unit in found if isinstance(unit, Said)] == [
        ("=1+1.jpg", "'-x"),
        ("'a.jpg", "it's"),
    ]


@pytest.mark.parametrize("content", [b"key,verdict\n\xff,keep\n", b"\xff\xfek\x00\x00"])
def test_text_in_another_encoding_is_refused_whole(content: bytes) -> None:
    """Keys of an unknown encoding would be others."""
    with pytest.raises(UsageError) as caught:
        list(units_of(content, CSV))
    assert "UTF" in str(caught.value)


# -- Ground Truth ------------------------------------------------------------------------------------------------------


def gt(document: dict[str, Any], notes: ReadNotes | None = None, **options: Any) -> Unit:
    """The unit of a line."""
    (unit,) = units_of(json.dumps(document).encode(), GT, notes, **options)
    return unit


def label(name: str, **more: Any) -> dict[str, Any]:
    """Metadata of an image-level label."""
    return {"class-name": name, "type": "groundtruth/image-classification", "human-annotated": "yes", **more}


def box_line(
    *annotations: dict[str, Any], size: Any = ({"width": 400, "height": 200, "depth": 3},), **more: Any
) -> Any:
    """A line with boxes."""
    metadata = {"class-map": {"0": "Dog"}, "type": "groundtruth/object-detection", "human-annotated": "yes", **more}
    boxes = {"image_size": size and list(size), "annotations": list(annotations)}
    return {"source-ref": "s3://pictures/a.jpg", "b": boxes, "b-metadata": metadata}


def test_classes_of_a_line_are_verdict_and_labels() -> None:
    """The class that is a verdict gives it; the creation date is the time."""
    found = gt(
        {
            "source-ref": "s3://pictures/a.jpg",
            "x": 0,
            "x-metadata": label("KEEP", **{"creation-date": "2024-01-02T03:04:05.678"}),
            "y": "3",
            "y-metadata": label("Robin"),
        }
    )
    assert isinstance(found, Said)
    assert (found.verdict, found.labels, found.reviewer) == ("keep", ("Robin",), "ground-truth")
    assert moment_text(found.at_unix_s or 0) == "2024-01-02T03:04:05.678Z"


def test_labels_beside_our_verdict_may_be_called_like_verdicts() -> None:
    """In lines of ours the attribute verdict alone has it."""
    document = {"source-ref": "s3://pictures/a.jpg", "verdict": 1, "verdict-metadata": label("reject")}
    found = gt({**document, "label0": 1, "label0-metadata": label("Keep")})
    assert isinstance(found, Said)
    assert (found.verdict, found.labels) == ("reject", ("Keep",))
    two = gt({**document, "label0": 1, "label0-metadata": label("Keep"), "verdict-metadata": label("Robin")})
    assert isinstance(two, Said)
    assert (two.verdict, two.labels) == ("keep", ("Robin",))


def test_boxes_of_a_line_are_pixels_of_its_size() -> None:
    """Ids may be texts; a list without boxes says that there are none."""
    found = gt(box_line({"class_id": "0", "left": 40, "top": 50, "width": 100.5, "height": 50}))
    assert isinstance(found, Said)
    assert found.boxes == (LabelledBox(label="Dog", left=0.1, top=0.25, width=0.25125, height=0.25),)
    none = gt(box_line())
    assert isinstance(none, Said)
    assert none.boxes == ()


def test_codes_of_lines() -> None:
    """Each line is one unit with its code."""
    box = {"class_id": 0, "left": 0, "top": 0, "width": 10, "height": 10}
    notes = ReadNotes()
    ref = {"source-ref": "s3://pictures/a.jpg"}
    documents: list[tuple[Any, str]] = [
        (ref, "empty"),
        ({"x": 1, "x-metadata": label("keep")}, "bad_line"),
        ({"source-ref": "a.jpg", "x": 1, "x-metadata": label("keep")}, "bad_line"),
        ({**ref, "x": 1, "x-metadata": 3}, "bad_line"),
        ({**ref, "x": 1, "x-metadata": label("")}, "bad_line"),
        ({**ref, "x": 1, "x-metadata": label("keep", **{"human-annotated": "no"})}, "machine"),
        ({**ref, "x": 1, "x-metadata": label("keep"), "y": 1, "y-metadata": label("reject")}, "two_verdicts"),
        (box_line({**box, "left": "1"}), "bad_line"),
        (box_line({**box, "class_id": 7}), "bad_line"),
        (box_line(box, size=None), "empty"),
        (box_line(box, **{"human-annotated": "no"}), "machine"),
        ({**ref, "s-ref": "s3://x", "s-ref-metadata": {"type": "groundtruth/semantic-segmentation"}}, "empty"),
    ]
    assert [codes([gt(document, notes)])[0] for document, _ in documents] == [code for _, code in documents]
    assert (notes.boxes["no_size"], notes.ignored_results) == (1, {"groundtruth/semantic-segmentation": 1})
    assert codes([gt(documents[5][0], machine=True)]) == ["said"]
    assert codes(list(units_of(b'\n{"a":\n[1]\n \xff\n', GT))) == ["blank", "bad_line", "bad_line", "bad_line"]


@pytest.mark.skipif(not REAL.is_dir(), reason="no real manifests here")
@pytest.mark.parametrize(
    ("name", "said", "boxes"),
    [("excerpt-animals", 4, 23), ("excerpt-bees", 8, 6), ("excerpt-cats", 3, 3), ("vehicles", 10, 0)],
)
def test_real_manifests(name: str, said: int, boxes: int) -> None:
    """Lines that labelling jobs wrote."""
    content = (REAL / f"{name}.manifest").read_bytes()
    assert format_of(io.BytesIO(content)) is GT
    found = list(units_of(content, GT))
    assert codes(found) == ["said"] * said
    count = sum(len(unit.boxes or ()) for unit in found if isinstance(unit, Said))
    assert count == boxes


# -- JSON Lines --------------------------------------------------------------------------------------------------------


def test_codes_of_json_lines() -> None:
    """A row needs a key and something to say, and all of it sound."""
    lines: list[tuple[dict[str, Any], str]] = [
        ({"key": "a", "verdict": "keep"}, "said"),
        ({"key": "a", "labels": []}, "said"),
        ({"key": "a", "boxes": []}, "said"),
        ({"key": "a", "undoes": "u" * 8}, "said"),
        ({"key": "a", "reviewer": "anna"}, "bad_line"),
        ({"key": "a", "note": "x"}, "bad_line"),
        ({"key": "a", "note": "x", "uid": "u" * 9}, "said"),
        ({"verdict": "keep"}, "bad_line"),
        ({"key": "", "verdict": "keep"}, "bad_line"),
        ({"key": "a", "verdict": "review"}, "bad_line"),
        ({"key": "a", "verdict": "keep", "undoes": "u" * 8}, "bad_line"),
        ({"key": "a", "verdict": "keep", "uid": "short"}, "bad_line"),
        ({"key": "a", "verdict": "keep", "at": "yesterday"}, "bad_line"),
        ({"key": "a", "verdict": "keep", "size_bytes": -1}, "bad_line"),
        ({"key": "a", "verdict": "keep", "content": "x"}, "bad_line"),
        ({"key": "a", "verdict": "keep", "reviewer": "x" * 65}, "bad_line"),
        ({"key": "a", "labels": ["x" * 256]}, "bad_line"),
        ({"key": "a", "boxes": [{"label": "x"}]}, "bad_line"),
    ]
    content = b"\n".join(json.dumps(line).encode() for line, _ in lines)
    assert codes(list(units_of(content, JSONL))) == [code for _, code in lines]


# -- Formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"key":"a","reviewer":"b","verdict":"keep"}\n', JSONL),
        (b'{"key":"a","verdict":"keep"}\n', JSONL),
        (b'{"draw":1,"key":"b"}\n{"draw":1,"key":"a","labels":[]}\n', JSONL),
        (b'not json\n{"key"', CSV),
        (b'{"broken\n{"source-ref":"s3://b/a"}\n', GT),
        (b'\xef\xbb\xbf {"data":{"image":"x"},"completions":[]}', LS),
        (b'{\n "task": 3,\n "result": []\n}\n', LS),
        (b"[]", LS),
        (b"[1].jpg,keep\n", CSV),
        (b"[1,2].jpg,keep\n", CSV),
        (b"[1, 2]\n", LS),
        ("schlüssel,keep\n".encode("utf-16"), CSV),
    ],
)
def test_the_format_is_told_from_the_content(content: bytes, found: AnswerFormat) -> None:
    """By the first line that shows it."""
    stream = io.BytesIO(content)
    assert format_of(stream) is found
    assert stream.tell() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b'{"key":"a"}\n',
        b'{"key":"a","verdict":"keep","labels":[],"rule_verdict":null}\n',  # a line of `export`: nobody said it
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"{",
    ],
)
def test_what_fits_no_format_is_refused(content: bytes) -> None:
    """Nothing is read of a file without a known format."""
    with pytest.raises(UsageError):
        format_of(io.BytesIO(content))


def test_a_text_is_mapped_to_one_verdict() -> None:
    """Case does not make it another text; the same map twice is none too many."""
    assert VerdictWords(["good=keep", "GOOD=keep"]).of("Good") is PersonVerdict.KEEP
    with pytest.raises(UsageError, match="two verdicts"):
        VerdictWords(["good=keep", "GOOD=reject"])


@pytest.mark.parametrize("given", ["good", "=keep", "good=perhaps", ""])
def test_a_map_needs_a_text_and_a_verdict(given: str) -> None:
    """A map that maps nothing is a mistake."""
    with pytest.raises(UsageError):
        VerdictWords([given])
