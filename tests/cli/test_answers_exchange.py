"""``answers import`` and ``answers export``: files of other programs, in and out of people's answers."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from asyncfilter.answers import Writing, open_answers, open_reader
from asyncfilter.datasets.answers.detecting import AnswerFormat
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.answer_files import BUCKET, Known, annotation, choice, export, imported, rectangle, task
from tests.kit.manifests import MOMENT
from tests.kit.pictures import encoded as picture
from tests.kit.pictures import plain
from tests.kit.services import boto_client
from tests.kit.workspace import PATIENCE_S, Workspace

KEYS = ("a.jpg", "b c.jpg", "d.jpg", "turned.jpg", "broken.jpg")
BOX = {"BoundingBox": {"Left": 0.1, "Top": 0.2, "Width": 0.5, "Height": 0.5}, "Confidence": 91.25}
LABELS = {
    "a.jpg": [{"Name": "Robin", "Confidence": 97, "Instances": [BOX]}, {"Name": "Bird", "Confidence": 99}],
    "b c.jpg": [{"Name": "Robin", "Confidence": 60}],
    "d.jpg": [{"Name": "Car", "Confidence": 99}],
    "turned.jpg": [{"Name": "Robin", "Confidence": 90}],
    "broken.jpg": [],
}
RULES = [{"keep": {"any": ["Robin"], "confidence": 85}}, {"review": {"any": ["Robin"], "confidence": 55}}]


def content(key: str) -> bytes:
    """The picture of a key, 200 x 100 px, each with a content of its own."""
    if key == "broken.jpg":
        return b"no picture, so that its examination fails"
    if key != "turned.jpg":
        return plain(colour=f"#{40 * KEYS.index(key):02x}00ff")
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(Image.new("L", (200, 100)), exif=exif)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Pictures whose labels are fixed."""
    answers = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    answers.write_text("".join(json.dumps({"key": key, "labels": found}) + "\n" for key, found in LABELS.items()))
    with SandboxProcess(
        SandboxOptions(buckets=(BucketSpec("raw"), BucketSpec("clean")), answers=str(answers))
    ) as running:
        with boto_client(running, "s3") as s3:
            for key in KEYS:
                s3.put_object(Bucket="raw", Key=key, Body=content(key))
        yield running


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> Path:
    """The folder of a run that is over."""
    folder = tmp_path_factory.mktemp("run")
    workspace = Workspace(folder, sandbox, rules=RULES, checkpoint="robins.db")
    code, _, err = workspace.here("run", "job.yaml", "--json")
    assert code in {0, 1}, err
    return folder


@pytest.fixture
def workspace(sandbox: SandboxProcess, finished: Path, tmp_path: Path) -> Workspace:
    """A job that was run, about which nobody has said anything."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    found = Workspace(tmp_path, sandbox, rules=RULES, checkpoint="robins.db")
    shutil.copy(finished / "job.yaml", found.job)
    return found


def take(workspace: Workspace, file: str, *options: str, code: int = 0, target: str = "job.yaml") -> dict[str, Any]:
    """The JSON of an import."""
    found, out, err = workspace.here("answers", "import", target, file, *options, "--json")
    assert found == code, err
    result: dict[str, Any] = json.loads(out)
    check_sums(result)
    return result


def check_sums(found: dict[str, Any]) -> None:
    """Every unit is in exactly one place."""
    lost = found["stale"] + found["unknown"] + found["conflicting"]
    assert found["read"] == found["matched"] + lost + sum(found["skipped"].values()) + sum(found["rejected"].values())
    assert found["matched"] == found["imported"] + found["repeated"]
    assert set(found["boxes"]) == {"taken", "rotated", "clamped", "too_small", "no_size", "image_rotated"}


def give(workspace: Workspace, *options: str, output: str = "out", code: int = 0) -> dict[str, Any]:
    """The JSON of an export."""
    found, out, err = workspace.here("answers", "export", "job.yaml", "-o", output, "--yes", *options, "--json")
    assert found == code, err
    result: dict[str, Any] = json.loads(out) if out else {}
    return result


def listed(workspace: Workspace) -> dict[str, tuple[object, ...]]:
    """What people say now about each image."""
    code, out, err = workspace.here("answers", "list", "job.yaml", "--json")
    assert code == 0, err
    images = json.loads(out)["images"]
    return {one["key"]: (one["verdict"], one["labels"], one["boxes"]) for one in images}


def written(workspace: Workspace, name: str, content: bytes | str | object) -> str:
    """A file with bytes, text, or JSON."""
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    (workspace.folder / name).write_bytes(content)
    return name


# -- Label Studio ------------------------------------------------------------------------------------------------------


def test_all_images_go_out_as_tasks_with_predictions(workspace: Workspace) -> None:
    """Every image with labels is a task, and the configuration has every label of them."""
    found = give(workspace, "--format", "label-studio", "--all-images", "--config", "labels.xml", output="tasks.json")
    assert found == {
        "lines": 4,
        "answers": 0,
        "images": 4,
        "format": "label-studio",
        "output": "tasks.json",
        "skipped": {},
        "boxes_too_small": 0,
    }
    tasks = {
        one["data"]["asyncfilter"]["key"]: one for one in json.loads((workspace.folder / "tasks.json").read_bytes())
    }
    first = tasks["a.jpg"]
    assert first["data"]["image"] == "s3://raw/a.jpg"
    assert set(first["data"]["asyncfilter"]) == {"bucket", "key", "etag", "size_bytes", "seq"}
    (prediction,) = first["predictions"]
    assert (prediction["score"], "annotations" in first) == (0.97, False)
    verdict, labels, box = prediction["result"]
    assert verdict == {
        "id": "r0",
        "from_name": "verdict",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": ["keep"]},
    }
    assert (labels["from_name"], labels["value"]) == ("labels", {"choices": ["Robin"]})
    assert box["value"] == {
        "x": 10,
        "y": 20,
        "width": 50,
        "height": 50,
        "rotation": 0,
        "rectanglelabels": ["Robin"],
    }
    assert (box["type"], box["image_rotation"], box["score"]) == ("rectanglelabels", 0, 0.9125)
    band = tasks["b c.jpg"]["predictions"][0]["result"]
    assert [one["from_name"] for one in band] == ["labels"]
    root = ET.fromstring((workspace.folder / "labels.xml").read_text())
    assert [one.get("value") for one in root.findall("./RectangleLabels/Label")] == ["Robin"]


def an_export(workspace: Workspace) -> list[dict[str, Any]]:
    """What Label Studio exports once people have worked on our tasks: its own members, and ours beside them."""
    give(workspace, "--format", "label-studio", "--all-images", output="tasks.json")
    tasks = json.loads((workspace.folder / "tasks.json").read_bytes())
    found = []
    for number, ours in enumerate(tasks, start=1):
        exported = task(None, **ours, id=number, inner_id=number, total_annotations=1, comment_count=0)
        people = {"completed_by": {"id": 3, "email": "anna@example.org", "first_name": "Anna", "last_name": ""}}
        results = copy.deepcopy(ours["predictions"][0]["result"])
        for result in results:
            result["origin"] = "prediction"
            if result["from_name"] == "verdict":
                result["value"]["choices"] = ["reject"]
        if not results or results[0]["from_name"] != "verdict":
            results.insert(0, choice("unsure", name="verdict"))
        exported["annotations"] = [annotation(*results, id=number, unique_id=f"u{number}", **people)]
        found.append(exported)
    return found


def test_an_export_of_label_studio_and_a_damaged_one(workspace: Workspace) -> None:
    """A trial tells all; the file itself is taken once; what is damaged by hand is told with its place."""
    exported = an_export(workspace)
    file = written(workspace, "export.json", exported)
    trial = take(workspace, file, "--dry-run")
    assert not (workspace.folder / "robins.answers.db").exists()
    found = take(workspace, file)
    assert {**found, "dry_run": True, "serial": 0} == trial
    assert (found["format"], found["read"], found["imported"], found["boxes"]["taken"]) == ("label-studio", 4, 4, 1)
    assert found["reviewers"] == {"anna@example.org": 4}
    assert listed(workspace)["a.jpg"][:2] == ("reject", ["Robin"])
    assert take(workspace, file)["repeated"] == 4

    damaged = copy.deepcopy(exported)
    damaged[0]["annotations"][0]["result"][2]["value"]["x"] = "ten"
    damaged[1]["data"]["asyncfilter"]["etag"] = "0" * 32
    damaged[2]["data"] = {"image": "/data/upload/7/d.jpg"}
    damaged[3]["annotations"] += [{**damaged[3]["annotations"][0], "was_cancelled": True}, 7]
    damaged.append(task("s3://raw/a.jpg", annotation(choice("keep", "unsure")), annotation()))
    damaged.append({"id": 9, "task": 3, "result": []})
    found = take(workspace, written(workspace, "damaged.json", damaged), code=1)
    assert (found["read"], found["repeated"], found["stale"]) == (9, 1, 1)
    assert found["skipped"] == {"cancelled": 1, "empty": 1}
    assert found["rejected"] == {"bad_box": 1, "no_image": 1, "no_task_data": 1, "two_verdicts": 1, "unreadable": 1}
    assert [(problem["at"], problem["code"]) for problem in found["problems"]] == [
        ("task 1, annotation 1", "bad_box"),
        ("task 2, annotation 1", "stale"),
        ("task 3, annotation 1", "no_image"),
        ("task 4, annotation 3", "unreadable"),
        ("task 5, annotation 1", "two_verdicts"),
        ("task 6, annotation 1", "no_task_data"),
    ]
    assert (found["problems_total"], found["truncated"]) == (6, False)


def test_the_files_of_a_cloud_storage_are_a_folder(workspace: Workspace) -> None:
    """Every file, by name; one that is no JSON costs itself alone."""
    folder = workspace.folder / "annotations"
    folder.mkdir()
    for number, key in enumerate(("a.jpg", "b%20c.jpg"), start=1):
        stored = annotation(choice("Good"), completed_by=5, task=task(f"s3://raw/{key}?X-Amz-Expires=1"))
        (folder / f"{number}").write_text(json.dumps(stored))
    (folder / "3.json").write_text("<html>")
    (folder / "4.json").symlink_to("nowhere")
    (folder / "more").mkdir()
    found = take(workspace, "annotations", "--map", "good=keep", code=1)
    assert (found["format"], found["imported"], found["rejected"]) == ("label-studio", 2, {"unreadable": 2})
    assert found["reviewers"] == {"label-studio:5": 2}
    assert found["problems"][0]["at"] == "3.json"
    assert {key: one[0] for key, one in listed(workspace).items()} == {"a.jpg": "keep", "b c.jpg": "keep"}


# -- Round trips -------------------------------------------------------------------------------------------------------


def say_much(workspace: Workspace) -> None:
    """Answers of several people with labels and boxes."""
    tasks = [
        task("s3://raw/a.jpg", annotation(choice("keep", "=Robin"), rectangle(), completed_by="anna")),
        task("s3://raw/a.jpg", annotation(choice("keep"), completed_by="ben")),
        task("s3://raw/b c.jpg", annotation(choice("keep"), completed_by="anna")),
        task("s3://raw/b c.jpg", annotation(choice("reject"), completed_by="ben")),
        task("s3://raw/turned.jpg", annotation(choice("unsure"), rectangle(25, 50, 50, 25), completed_by="anna")),
        task("s3://raw/broken.jpg", annotation(choice("reject"), rectangle(), completed_by="anna")),
    ]
    take(workspace, written(workspace, "said.json", tasks))


@pytest.mark.parametrize("format_", ["jsonl", "label-studio", "csv"])
def test_out_and_in_gives_the_same_answers(workspace: Workspace, format_: str) -> None:
    """Into a new file; CSV has no boxes, and says which image is unresolved."""
    say_much(workspace)
    before = listed(workspace)
    found = give(workspace, "--format", format_, output="answers.out")
    assert found["images"] == len(before) == 4
    (workspace.folder / "robins.answers.db").unlink()
    result = take(workspace, "answers.out")
    assert result["format"] == format_
    after = listed(workspace)
    if format_ == "csv":
        assert result["skipped"] == {"unresolved": 1}
        assert after == {key: (*one[:2], None) for key, one in before.items() if key != "b c.jpg"}
    else:
        assert after == before


def test_lines_of_ground_truth_have_pixels_of_the_upright_picture(workspace: Workspace) -> None:
    """Boxes of a picture whose size cannot be told are left out; who disagrees has no line."""
    say_much(workspace)
    found = give(workspace, "--format", "ground-truth", "--creation-date", MOMENT, output="out.manifest")
    assert (found["lines"], found["images"], found["skipped"]) == (3, 2, {"no_size": 1, "unresolved": 1})
    lines = {
        line["source-ref"]: line
        for line in map(json.loads, (workspace.folder / "out.manifest").read_text().splitlines())
    }
    assert list(lines) == ["s3://raw/a.jpg", "s3://raw/broken.jpg", "s3://raw/turned.jpg"]
    assert lines["s3://raw/a.jpg"]["label0-metadata"]["class-name"] == "=Robin"
    assert lines["s3://raw/broken.jpg"].keys() == {"source-ref", "verdict", "verdict-metadata"}
    turned = lines["s3://raw/turned.jpg"]
    assert (turned["verdict"], turned["verdict-metadata"]["class-name"]) == (2, "unsure")
    assert turned["boxes"] == {
        "image_size": [{"width": 100, "height": 200, "depth": 1}],
        "annotations": [{"class_id": 0, "top": 100, "left": 25, "width": 50, "height": 50}],
    }
    assert (workspace.folder / "robins.db.sizes").exists()
    result = take(workspace, "out.manifest")
    assert (result["format"], result["imported"], result["reviewers"]) == ("ground-truth", 3, {"ground-truth": 3})


def test_one_person_s_answers_can_be_exported(workspace: Workspace) -> None:
    """As that person said it, whatever others say."""
    say_much(workspace)
    found = give(workspace, "--format", "csv", "--reviewer", "ben", output="ben.csv")
    assert (found["lines"], found["images"]) == (2, 2)
    rows = (workspace.folder / "ben.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:2] for row in rows] == [["a.jpg", "keep"], ["b c.jpg", "reject"]]
    assert give(workspace, "--reviewer", "ben", output="ben.jsonl")["lines"] == 2


# -- Sources, options and exit codes -----------------------------------------------------------------------------------


def test_stdin_and_stdout(workspace: Workspace) -> None:
    """What one command writes, the other reads."""
    say_much(workspace)
    exported = workspace("answers", "export", "job.yaml")
    assert exported.returncode == 0
    (workspace.folder / "robins.answers.db").unlink()
    process = subprocess.run(
        workspace.command("answers", "import", "job.yaml", "-", "--json"),
        cwd=workspace.folder,
        env=workspace.env,
        input=exported.stdout,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert (json.loads(process.stdout)["imported"], json.loads(process.stdout)["file"]) == (6, "-")


def test_a_folder_of_pictures_has_answers(workspace: Workspace) -> None:
    """In a file of its own; its manifest needs the address of the pictures in S3, and ``--base`` on the way back."""
    photos = workspace.folder / "photos" / "x"
    photos.mkdir(parents=True)
    (photos / "a.jpg").write_bytes(content("a.jpg"))
    file = written(workspace, "a.csv", "x/a.jpg,keep,Robin\nx/b.jpg,keep\n")
    found = take(workspace, file, "--as", "anna", code=1, target="photos")
    assert (found["imported"], found["unknown"], found["reviewers"]) == (1, 1, {"anna": 1})
    assert (workspace.folder / "photos/.asyncfilter/review.answers.db").exists()
    code, _, err = workspace.here("answers", "export", "photos", "--format", "ground-truth")
    assert (code, "--s3-path" in err) == (2, True)
    code, out, err = workspace.here(
        "answers", "export", "photos", "--format", "ground-truth", "--s3-path", "s3://bucket/p"
    )
    assert code == 0, err
    assert json.loads(out)["source-ref"] == "s3://bucket/p/x/a.jpg"
    found = take(workspace, written(workspace, "m", out), "--base", "s3://bucket/p", "--as", "anna", target="photos")
    assert found["imported"] == 1


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ([{"image": "s3://raw/a.jpg", "id": 1, "choice": "keep", "annotator": 1}], ()),
        ("{}", ()),
        ("", ()),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", ()),
        (b"key,verdict\n\xe4.jpg,keep\n", ()),
        ("a.jpg,keep", ("--format", "label-studio")),
        ("a.jpg,keep", ("--map", "good")),
        ("a.jpg,keep", ("--delimiter", "ab")),
        ("a.jpg,keep", ("--as", " ")),
    ],
)
def test_what_cannot_be_read_is_exit_code_2(workspace: Workspace, content: object, options: tuple[str, ...]) -> None:
    """And nothing was written."""
    file = written(workspace, "file", content)
    code, out, err = workspace.here("answers", "import", "job.yaml", file, *options, "--json")
    assert (code, out) == (2, ""), err
    assert not (workspace.folder / "robins.answers.db").exists()


OF_FORMATS = {
    "--map=good=keep": {"csv", "label-studio", "ground-truth"},
    "--base=s3://raw/": {"csv", "label-studio", "ground-truth"},
    "--image-field=picture": {"label-studio"},
    "--delimiter=;": {"csv"},
    "--machine": {"ground-truth"},
}
CONTENTS = {
    "csv": "a.jpg,keep\n",
    "jsonl": json.dumps({"key": "a.jpg", "verdict": "keep"}) + "\n",
    "label-studio": json.dumps([task("s3://raw/a.jpg", annotation(choice("keep")))]),
    "ground-truth": json.dumps({"source-ref": "s3://raw/a.jpg", "x": 0, "x-metadata": {"class-name": "keep"}}) + "\n",
}


@pytest.mark.parametrize("format_", CONTENTS)
@pytest.mark.parametrize("option", OF_FORMATS)
def test_an_option_of_another_format_is_refused(workspace: Workspace, option: str, format_: str) -> None:
    """Exit 2, which names it, instead of an import in which it means nothing; told and found formats alike."""
    file = written(workspace, "file", CONTENTS[format_])
    for told in ((), ("--format", format_)):
        code, out, err = workspace.here("answers", "import", "job.yaml", file, option, *told, "--dry-run", "--json")
        if format_ in OF_FORMATS[option]:
            assert "has no use for" not in err
        else:
            assert (code, out) == (2, "")
            assert f"file: {format_} has no use for {option.partition('=')[0]}, which is for " in err


def test_a_device_is_not_imported(workspace: Workspace) -> None:
    """What may have no end would fill the disk."""
    code, _, err = workspace.here("answers", "import", "job.yaml", "/dev/zero")
    assert (code, "/dev/zero: a device" in err) == (2, True)


def test_exit_codes_of_both(workspace: Workspace) -> None:
    """A missing file, a folder of another format, no checkpoint, two things for stdout, a file that is there."""
    file = written(workspace, "file", "a.jpg,keep\n")
    assert workspace.here("answers", "import", "job.yaml", "nowhere.csv")[0] == 2
    assert workspace.here("answers", "import", "job.yaml", ".", "--format", "csv")[0] == 2
    assert workspace.here("answers", "export", "job.yaml", "--json")[0] == 2
    assert workspace.here("answers", "export", "job.yaml", "--all-images")[0] == 2
    assert workspace.here("answers", "export", "job.yaml", "--config", "c.xml")[0] == 2
    assert workspace.here("answers", "export", "job.yaml", "-o", file)[0] == 130
    assert (workspace.folder / file).read_text() == "a.jpg,keep\n"
    (workspace.folder / "robins.db").unlink()
    assert workspace.here("answers", "import", "job.yaml", file)[0] == 1
    assert workspace.here("answers", "export", "job.yaml", "-o", "new")[0] == 1


def test_columns_that_are_not_read_and_problems_are_told(workspace: Workspace) -> None:
    """On stderr, and with exit code 1."""
    file = written(workspace, "a.csv", "key;verdict;colour\na.jpg;keep;red\nb c.jpg;perhaps;\n")
    code, out, err = workspace.here("answers", "import", "job.yaml", file)
    assert code == 1
    assert "2 read, 1 imported" in out
    assert "colour" in err
    assert "a.csv: 3: bad_verdict" in err


def test_a_killed_import_leaves_nothing_and_the_next_all(tmp_path: Path) -> None:
    """One transaction a file: kill -9 between two batches of rows."""
    path, known = tmp_path / "x.answers.db", Known([f"{number}.jpg" for number in range(1_500)])
    content = "".join(f"{key},keep\n" for key in known.subjects).encode()
    open_answers(path).close()
    process = os.fork()
    if process == 0:
        calls = iter(range(3))
        former = Writing.add

        def add(self: Writing, rows: Any) -> Any:
            if next(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return former(self, rows)

        setattr(Writing, "add", add)  # noqa: B010  in a process of its own; mypy refuses a method
        imported(content, AnswerFormat.CSV, path, known=known)
        os._exit(0)
    _, status = os.waitpid(process, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    reader = open_reader(path)
    assert reader is not None
    with reader:
        assert reader.last_serial() == 0
    assert imported(content, AnswerFormat.CSV, path, known=known).imported == 1_500


def test_a_file_that_names_another_bucket_is_unknown(workspace: Workspace) -> None:
    """Whatever its keys are."""
    file = written(workspace, "x.json", export(task(f"s3://{BUCKET}/a.jpg", annotation(choice("keep")))))
    assert take(workspace, file, code=1)["unknown"] == 1
    assert not (workspace.folder / "robins.answers.db").exists()
