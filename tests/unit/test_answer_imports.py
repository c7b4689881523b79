"""Imports into an answers file: matched images, repeated files, conflicts, undo rows, trials, and round trips."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from asyncfilter.answers import open_answers, open_reader
from asyncfilter.datasets.answers.answer_csv import AnswerCsvWriter
from asyncfilter.datasets.answers.answer_lines import AnswerLineWriter
from asyncfilter.datasets.answers.detecting import AnswerFormat
from asyncfilter.datasets.answers.export_counts import ExportCounts
from asyncfilter.datasets.answers.importing import AnswerImport
from asyncfilter.datasets.answers.label_studio_tasks import TaskImage, TaskWriter, labelling_config
from asyncfilter.datasets.answers.rows import write_rows
from asyncfilter.datasets.answers.trial import Trial
from asyncfilter.datasets.manifests.model import ImageSize
from asyncfilter.model import location
from asyncfilter.policy.answers.fold import fold
from asyncfilter.records.answers import (
    Answer,
    AskedAs,
    CurrentAnswer,
    CurrentVerdict,
    How,
    LabelledBox,
    NewAnswer,
    PersonVerdict,
    Saw,
    Subject,
)
from asyncfilter.report.answer_exchange import export_lines
from tests.kit.answer_files import (
    BUCKET,
    KEYS,
    Known,
    annotation,
    check_sums,
    choice,
    current,
    export,
    imported,
    rectangle,
    subject,
    task,
    units_of,
)

REAL = Path(__file__).parents[3] / "shared/data/manifests/real"
LS, CSV, GT, JSONL = (
    AnswerFormat.LABEL_STUDIO,
    AnswerFormat.CSV,
    AnswerFormat.GROUND_TRUTH,
    AnswerFormat.JSONL,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the answers file is."""
    return tmp_path / "birds.answers.db"


def all_rows(path: Path) -> list[Answer]:
    """The rows of an answers file."""
    reader = open_reader(path)
    assert reader is not None
    with reader:
        return list(reader.all_rows(up_to=reader.last_serial()))


def csv_of(*rows: tuple[str, ...]) -> bytes:
    """Rows with the columns key, verdict, reviewer, at, etag."""
    out = io.StringIO()
    csv.writer(out).writerows([("key", "verdict", "reviewer", "at", "etag"), *rows])
    return out.getvalue().encode()


def places(found: AnswerImport) -> list[tuple[object, str]]:
    """Where problems are, and what they are."""
    return [(problem.at, problem.code) for problem in found.problems]


def test_unknown_and_stale_answers_are_not_taken(path: Path) -> None:
    """An answer about another image, or another version of one, is in its own count, with its place."""
    found = imported(
        csv_of(
            ("a.jpg", "keep", "anna", "", ""),
            ("nowhere.jpg", "keep", "anna", "", ""),
            ("s3://other/a.jpg", "keep", "anna", "", ""),
            ("birds/b c.jpg", "keep", "anna", "", "0" * 32),
            ("birds/b c.jpg", "keep", "anna", "", f'"{subject("birds/b c.jpg").etag}"'),
        ),
        CSV,
        path,
    )
    assert (found.imported, found.lost) == (2, {"unknown": 2, "stale": 1})
    assert places(found) == [(3, "unknown"), (4, "unknown"), (5, "stale")]
    assert not found.is_complete


def test_the_same_file_twice_adds_nothing(path: Path) -> None:
    """A trial before tells the same counts, and changes nothing."""
    content = csv_of(("a.jpg", "keep", "anna", "", ""), ("q?v=1.jpg", "reject", "", "2024-01-01T00:00:00Z", ""))
    trial = imported(content, CSV, path, dry_run=True)
    assert not path.exists()
    first = imported(content, CSV, path)
    assert (trial.imported, trial.repeated) == (first.imported, first.repeated) == (2, 0)
    again = imported(content, CSV, path)
    assert (again.imported, again.repeated, again.reviewers) == (0, 2, {"anna": 1, "me": 1})
    assert len(all_rows(path)) == 2


def test_equal_rows_of_a_file_are_repeated(path: Path) -> None:
    """An equal row is no conflict."""
    found = imported(csv_of(*[("a.jpg", "keep", "anna", "", "")] * 3), CSV, path)
    assert (found.imported, found.repeated) == (1, 2)


@pytest.mark.parametrize(
    ("times", "taken"),
    [
        (("", ""), None),
        (("2024-01-01", ""), None),
        (("2024-01-01", "2024-01-01"), None),
        (("2024-01-01", "2024-01-02"), "reject"),
        (("2024-01-02", "2024-01-01"), "keep"),
    ],
)
def test_different_words_of_one_person_need_times(path: Path, times: tuple[str, str], taken: str | None) -> None:
    """Without a later one none of them is taken; with times the later counts, wherever it stands."""
    found = imported(
        csv_of(("a.jpg", "keep", "anna", times[0], ""), ("a.jpg", "reject", "anna", times[1], "")), CSV, path
    )
    if taken is None:
        assert (found.lost, found.imported) == ({"conflicting": 2}, 0)
        assert places(found) == [(2, "conflicting"), (3, "conflicting")]
        return
    assert (found.imported, found.changed) == (2, 1)
    answer = current(path)["a.jpg"]
    assert answer is not None
    assert answer.verdict == taken


def test_words_about_different_things_are_no_conflict(path: Path) -> None:
    """A verdict and labels, and the words of two people."""
    content = b'key,verdict,labels,reviewer\na.jpg,keep,,anna\na.jpg,,"[""Robin""]",anna\na.jpg,reject,,ben\n'
    found = imported(content, CSV, path)
    assert (found.imported, found.lost) == (3, {})
    answer = current(path)["a.jpg"]
    assert answer is not None
    assert (answer.verdict, answer.labels) == ("unresolved", ("Robin",))


def test_another_word_than_before_is_changed(path: Path) -> None:
    """Against the person's own former word, not that of others."""
    imported(csv_of(("a.jpg", "keep", "anna", "", "")), CSV, path)
    found = imported(csv_of(("a.jpg", "reject", "anna", "", ""), ("a.jpg", "reject", "ben", "", "")), CSV, path)
    assert (found.imported, found.changed) == (2, 1)


def test_rotated_boxes_are_told_with_their_place(path: Path) -> None:
    """They are taken, and are no reason for exit code 1."""
    boxes = [rectangle(10, 10, 20, 20, rotation=45), rectangle(90, 90, 20, 20)]
    found = imported(export(task(f"s3://{BUCKET}/a.jpg", annotation(*boxes))), LS, path)
    assert (found.boxes_taken, found.notes.boxes["rotated"], found.notes.boxes["clamped"]) == (2, 1, 1)
    assert places(found) == [("task 1, annotation 1", "rotated")]
    assert found.is_complete


def test_undo_rows_take_back_what_is_there(path: Path) -> None:
    """Of another person, or of nothing, they are rejected."""
    lines: list[dict[str, Any]] = [
        {"key": "a.jpg", "verdict": "keep", "reviewer": "anna", "uid": "anna-0001"},
        {"key": "a.jpg", "undoes": "anna-0001", "reviewer": "ben", "uid": "ben--0001"},
        {"key": "a.jpg", "undoes": "nothing-1", "reviewer": "anna", "uid": "anna-0002"},
        {"key": "a.jpg", "undoes": "anna-0001", "reviewer": "anna", "uid": "anna-0003"},
        {"key": "a.jpg", "undoes": "anna-0003", "reviewer": "anna", "uid": "anna-0004"},
    ]
    found = imported(b"\n".join(json.dumps(line).encode() for line in lines), JSONL, path)
    assert (found.imported, found.rejected) == (3, {"not_yours": 1, "unknown_uid": 1})
    answer = current(path)["a.jpg"]
    assert answer is not None
    assert answer.verdict == "keep"


# -- Round trips -------------------------------------------------------------------------------------------------------


def fill(path: Path) -> None:
    """Rows of every kind."""
    box = LabelledBox(label="Dog, <b>&\"'", left=0.123457, top=0, width=0.5, height=0.25)
    saw = Saw(verdict="review", rule=1, score=71.3, model_version="3.0")
    said: list[NewAnswer] = []

    def add(key: str, reviewer: str, verdict: str | None = None, **more: Any) -> None:
        number = len(said)
        word = None if verdict is None else PersonVerdict(verdict)
        said.append(
            NewAnswer(
                uid=f"uid-{number:04}",
                subject=subject(key),
                reviewer=reviewer,
                at_unix_s=1_700_000_000.125 + number,
                verdict=word,
                **more,
            )
        )

    add("a.jpg", "anna", "keep", labels=("=SUM(A1)", "Röbin"), boxes=(box,), note="=2+3", saw=saw, shown_ms=1234)
    add("a.jpg", "ben", "reject", how=How.GROUP, asked_as=AskedAs.SECOND, blind=True)
    add("a.jpg", "cleo", "reject", asked_as=AskedAs.ADJUDICATE, labels=())
    add("birds/b c.jpg", "anna", "keep")
    add("birds/b c.jpg", "ben", "reject")
    add("=1+1.jpg", "anna", labels=("Wren",), boxes=())
    add("'@x.jpg", "anna", "unsure")
    add("ü/ß.jpg", "anna", "keep")
    add("ü/ß.jpg", "anna", undoes="uid-0007", note="oh")
    add("q?v=1.jpg", "anna", "reject")
    add("q?v=1.jpg", "anna", "keep", note="better")
    add("50%20off.jpg", "anna", "reject", labels=("Keep",))
    add('quo"te,;.jpg', "ben", "unsure", boxes=(box, box))
    with open_answers(path) as file:
        file.add(said)


def answered(path: Path) -> list[tuple[str, tuple[Answer, ...], CurrentAnswer]]:
    """The images with a current answer."""
    with open_answers(path) as file, file.transaction() as writing:
        images = writing.images_of([subject(key) for key in KEYS])
    found = [(key, image.rows, fold(image.rows)) for key, image in zip(KEYS, images, strict=True) if image is not None]
    return [(key, rows, answer) for key, rows, answer in found if answer is not None]


def said_of(answers: dict[str, CurrentAnswer | None]) -> dict[str, object]:
    """What answers say, without who and when."""
    return {key: (one.verdict, one.labels, one.boxes) for key, one in answers.items() if one is not None}


def test_somebody_writes_while_an_import_looks(path: Path) -> None:
    """What is new is found anew, and every unit is counted once: no other writer waits while an import looks."""
    content = csv_of(
        (KEYS[0], "keep", "anna", "", ""), (KEYS[1], "keep", "anna", "", ""), ("gone.jpg", "keep", "anna", "", "")
    )
    found = AnswerImport(known=Known(), reviewer=None, default_reviewer="me", now_unix_s=0.0)
    found.add_all(units_of(content, CSV, found.notes))
    found.settle()
    found.prepare(Trial(None))
    assert (found.imported, found.repeated, found.lost.total()) == (2, 0, 1)
    imported(content, CSV, path)
    with open_answers(path) as file, file.transaction() as writing:
        found.prepare(writing)
        found.store(writing)
    check_sums(found)
    assert (found.imported, found.repeated, found.lost.total(), found.problems_total) == (0, 2, 1, 1)
    assert len(all_rows(path)) == 2
    found.close()


def test_json_lines_lose_nothing(path: Path, tmp_path: Path) -> None:
    """Every row, undo rows too, with all of its parts."""
    fill(path)
    out, rows = io.BytesIO(), all_rows(path)
    assert write_rows(rows, out) == len(rows)
    other = tmp_path / "other.answers.db"
    found = imported(out.getvalue(), JSONL, other)
    assert (found.imported, found.is_complete) == (len(rows), True)
    assert all_rows(other) == rows
    again = imported(out.getvalue(), JSONL, path)
    assert (again.imported, again.repeated) == (0, len(rows))


def test_tasks_of_label_studio_out_and_in(path: Path, tmp_path: Path) -> None:
    """The same answers in a new file, and nothing new in the old one."""
    fill(path)
    out = io.BytesIO()
    writer = TaskWriter(out)
    for key, rows, _ in answered(path):
        writer.write(TaskImage(subject=subject(key), rows=rows, size=ImageSize(640, 480)))
    writer.finish()
    other = tmp_path / "other.answers.db"
    found = imported(out.getvalue(), LS, other)
    assert (found.imported, found.is_complete, found.read) == (writer.annotations, True, writer.annotations)
    assert said_of(current(other)) == said_of(current(path))
    assert {key: one and one.reviewer for key, one in current(other).items()}["a.jpg"] == "cleo"
    again = imported(out.getvalue(), LS, path)
    assert (again.imported, again.repeated, again.boxes_taken) == (0, writer.annotations, found.boxes_taken)


def test_an_edited_annotation_is_a_new_answer(path: Path) -> None:
    """An annotation has the uid of the row that it was made from; what was edited since is not lost by it."""
    fill(path)
    out = io.BytesIO()
    writer = TaskWriter(out)
    for key, rows, _ in answered(path):
        writer.write(TaskImage(subject=subject(key), rows=rows))
    writer.finish()
    edited = out.getvalue().replace(b'"choices":["unsure"]', b'"choices":["reject"]')
    found = imported(edited, LS, path)
    assert (found.imported, found.changed) == (2, 2)
    answer = current(path)["'@x.jpg"]
    assert answer is not None
    assert answer.verdict == "reject"


def test_csv_out_and_in(path: Path, tmp_path: Path) -> None:
    """The same answers, but boxes; cells that spreadsheets take for formulas are guarded."""
    fill(path)
    text = io.StringIO(newline="")
    writer = AnswerCsvWriter(text)
    for key, rows, answer in answered(path):
        note = next((row.note for row in reversed(rows) if row.note), None)
        writer.write(subject(key), answer, note=note)
    lines = text.getvalue().split("\r\n")
    assert lines[0] == "key,verdict,label,labels,reviewer,at,bucket,etag,size_bytes,note"
    assert any(line.startswith("'=1+1.jpg,") for line in lines)
    assert any(line.startswith("''@x.jpg,") for line in lines)
    other = tmp_path / "other.answers.db"
    found = imported(text.getvalue().encode(), CSV, other)
    assert (found.skipped, found.is_complete) == ({"unresolved": 1}, True)
    again = imported(text.getvalue().encode(), CSV, path)
    assert (again.imported, again.repeated) == (0, found.imported)
    noted = imported(text.getvalue().replace("better", "best").encode(), CSV, path)
    assert (noted.imported, noted.changed) == (1, 0)
    before = {key: one for key, one in current(path).items() if one and one.verdict is not CurrentVerdict.UNRESOLVED}
    for key, one in before.items():
        after = current(other)[key]
        assert after is not None
        assert (after.verdict, after.labels, after.reviewer) == (one.verdict, one.labels, one.reviewer)
        assert round(after.at_unix_s, 3) == round(one.at_unix_s, 3)


def test_lines_of_ground_truth_out_and_in(path: Path, tmp_path: Path) -> None:
    """The same verdicts and labels, and boxes to half a pixel."""
    fill(path)
    out = io.BytesIO()
    writer = AnswerLineWriter(out, creation_date="2026-11-27T10:00:00.000")
    expected = {}
    for key, _, answer in answered(path):
        if answer.verdict is CurrentVerdict.UNRESOLVED:
            continue
        assert writer.write(f"s3://{BUCKET}/{key}", answer, size=ImageSize(1000, 500))
        expected[key] = answer
    other = tmp_path / "other.answers.db"
    found = imported(out.getvalue(), GT, other)
    assert (found.imported, found.is_complete) == (writer.lines, True)
    for key, one in expected.items():
        after = current(other)[key]
        assert after is not None
        assert (after.verdict, after.labels or ()) == (one.verdict, one.labels or ())
        assert len(after.boxes or ()) == len(one.boxes or ())
        for box, former in zip(after.boxes or (), one.boxes or (), strict=True):
            assert box.label == former.label
            assert abs(box.left - former.left) <= 0.5 / 1000
            assert abs(box.width - former.width) <= 1 / 1000


def test_a_line_of_ground_truth_is_written_as_promised() -> None:
    """Members and their order."""
    answer = CurrentAnswer(
        serial=1, verdict=CurrentVerdict.REJECT, labels=("Robin",), boxes=None, reviewer="anna", at_unix_s=0
    )
    out = io.BytesIO()
    AnswerLineWriter(out, creation_date="2026-11-27T10:00:00.000").write("s3://b/k.jpg", answer, size=None)
    assert out.getvalue().decode() == (
        '{"source-ref":"s3://b/k.jpg","verdict":1,"verdict-metadata":{"class-name":"reject","confidence":1,'
        '"type":"groundtruth/image-classification","job-name":"labeling-job/verdict","human-annotated":"yes",'
        '"creation-date":"2026-11-27T10:00:00.000"},"label0":1,"label0-metadata":{"class-name":"Robin","confidence":1,'
        '"type":"groundtruth/image-classification","job-name":"labeling-job/label","human-annotated":"yes",'
        '"creation-date":"2026-11-27T10:00:00.000"}}\n'
    )


def test_labels_of_the_configuration_are_escaped() -> None:
    """No label ends its attribute."""
    labels = ["<b>", '"&"', "a\nb", "\0", "'", "\u202e", "]]>"]
    root = ET.fromstring(labelling_config(labels))
    expected = [label.replace("\0", "\ufffd") for label in labels]
    assert [choice.get("value") for choice in root.findall("./Choices[@name='labels']/Choice")] == expected
    assert [label.get("value") for label in root.findall("./RectangleLabels[@name='boxes']/Label")] == expected
    assert [one.get("value") for one in root.findall("./Choices[@name='verdict']/Choice")] == [
        *("keep", "reject", "unsure")
    ]


def test_known_images_may_be_in_a_folder(path: Path) -> None:
    """Addresses of files name them."""
    known = Known(["x/a.jpg"], bucket="file:///photos")
    tasks = export(
        task("file:///photos/x/a.jpg", annotation(choice("keep"))),
        task("file:///else/a.jpg", annotation(choice("keep"))),
    )
    found = imported(tasks, LS, path, known=known, bucket="file:///photos")
    assert (found.imported, found.rejected) == (1, {"no_image": 1})


def test_the_first_thousand_problems_are_kept(path: Path) -> None:
    """All are counted."""
    found = imported(b"".join(b"%d.jpg,keep\n" % number for number in range(1_500)), CSV, path)
    assert (len(found.problems), found.problems_total, found.problems[-1].at) == (1_000, 1_500, 1_000)


def test_the_later_line_of_a_manifest_counts(path: Path) -> None:
    """By the creation dates of its attributes."""
    lines = []
    for word, day in (("reject", 2), ("keep", 1)):
        metadata = {"class-name": word, "type": "groundtruth/image-classification", "human-annotated": "yes"}
        dated = {**metadata, "creation-date": f"2024-01-0{day}T00:00:00.000"}
        lines.append(json.dumps({"source-ref": f"s3://{BUCKET}/a.jpg", "x": 0, "x-metadata": dated}).encode())
    found = imported(b"\n".join(lines), GT, path)
    assert (found.imported, found.changed) == (2, 1)
    answer = current(path)["a.jpg"]
    assert answer is not None
    assert (answer.verdict, answer.reviewer) == ("reject", "ground-truth")


def test_words_about_two_copies_of_a_picture_are_about_one_image(path: Path) -> None:
    """Objects of one ETag and size are one image, whatever they are called."""
    known = Known()
    known.subjects = {
        key: Subject(bucket=BUCKET, key=key, etag="0" * 32, size_bytes=5) for key in ("a.jpg", "copy.jpg")
    }
    found = imported(b"a.jpg,keep\ncopy.jpg,reject\n", CSV, path, known=known)
    assert (found.lost, found.imported) == ({"conflicting": 2}, 0)


def test_rows_without_uids_are_told_apart_by_their_times_alone(path: Path) -> None:
    """Rows of our own JSON Lines keep their order; those of others are as good as rows of CSV."""
    lines = [{"key": "a.jpg", "verdict": word, "reviewer": "anna"} for word in ("keep", "reject")]
    content = b"\n".join(json.dumps(line).encode() for line in lines)
    assert imported(content, JSONL, path).lost == {"conflicting": 2}
    ours = [{**line, "uid": f"anna-{number:04}"} for number, line in enumerate(lines)]
    found = imported(b"\n".join(json.dumps(line).encode() for line in ours), JSONL, path)
    assert (found.imported, found.changed) == (2, 1)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real manifests here")
@pytest.mark.parametrize("name", ["excerpt-animals", "excerpt-bees", "excerpt-cats", "excerpt-packs", "vehicles"])
def test_real_manifests_are_imported_once(path: Path, name: str) -> None:
    """All lines of what labelling jobs wrote, once their images are known."""
    content = (REAL / f"{name}.manifest").read_bytes()
    places = [location(json.loads(line)["source-ref"]) for line in content.splitlines()]
    known = Known([place.key for place in places], bucket=places[0].bucket)
    found = imported(content, GT, path, known=known)
    assert (found.imported, found.is_complete) == (len(places), True)
    again = imported(content, GT, path, known=known)
    assert (again.imported, again.repeated, again.boxes_taken) == (0, len(places), found.boxes_taken)


@pytest.mark.parametrize(("number", "line"), [(1, "1 answer about 1 image"), (2, "2 answers about 2 images")])
def test_an_export_is_told_in_numbers_that_agree(number: int, line: str) -> None:
    """One answer is an answer."""
    assert list(export_lines(ExportCounts(lines=number, answers=number, images=number), output="-")) == [line]
