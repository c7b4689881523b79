"""``manifest from-run``: examined images become lines with their labels, their boxes, or both."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from asyncfilter.answers import open_answers
from asyncfilter.records.answers import LabelledBox, Subject
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.answers import new_answer, subject
from tests.kit.manifests import MOMENT
from tests.kit.pictures import encoded as picture
from tests.kit.pictures import plain
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

PHOTOGRAPHS = Path(__file__).parents[3] / "shared/data/badimages/exif-orientation"


def instance(left: float, top: float, width: float, height: float, pct: float) -> dict[str, Any]:
    """One instance in an answer."""
    return {"BoundingBox": {"Left": left, "Top": top, "Width": width, "Height": height}, "Confidence": pct}


def label(name: str, pct: float, *instances: dict[str, Any], aliases: tuple[str, ...] = ()) -> dict[str, Any]:
    """One label in an answer."""
    return {
        "Name": name,
        "Confidence": pct,
        "Instances": list(instances),
        "Aliases": [{"Name": alias} for alias in aliases],
    }


ROBIN_BOX = instance(0.1, 0.2, 0.5, 0.5, 91.23456)
ANSWERS = {
    "a.jpg": [label("Bird", 99.5), label("Robin", 97.12345, ROBIN_BOX, instance(-0.1, 0.5, 0.3, 0.6, 42))],
    "b.jpg": [label("Wren", 80, instance(0, 0, 1, 1, 80), aliases=("Jenny Wren",)), label("Bird", 79)],
    "c.jpg": [label("Robin", 60)],
    "d.jpg": [label("Car", 99, instance(0, 0, 0.5, 0.5, 99))],
    "e.jpg": [label("Robin", 90, instance(0.5, 0.5, 0.001, 0.2, 90))],
    "f.jpg": [label("Robin", 90, *(instance(number / 100, 0, 0.3, 0.3, 90) for number in range(51)))],
    "turned.jpg": [label("Robin", 90, instance(0.25, 0.5, 0.5, 0.25, 88))],
    "broken.jpg": [],
}
LABEL_METADATA = re.compile("label[0-9]+-metadata")
RULES = [
    {"keep": {"any": ["robin", "Jenny Wren"], "confidence": 55}},
    {"keep": {"all": ["Bird"], "confidence": 90}},
]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Images of 200 x 100 px, whose answers are fixed."""
    answers = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    table = {f"{folder}{key}": found for folder in ("", "in/", "sizes/") for key, found in ANSWERS.items()}
    # Pictures that are sent have no key: their answers are found by content.
    sent = [*PHOTOGRAPHS.glob("*.jpg")] if PHOTOGRAPHS.is_dir() else []
    table |= {hashlib.md5(path.read_bytes()).hexdigest(): ANSWERS["turned.jpg"] for path in sent}
    table |= {hashlib.md5(content(key)).hexdigest(): ANSWERS[key] for key in ANSWERS}
    answers.write_text("".join(json.dumps({"key": key, "labels": found}) + "\n" for key, found in table.items()))
    buckets = (BucketSpec("raw"), BucketSpec("clean"), BucketSpec("other"))
    with SandboxProcess(SandboxOptions(buckets=buckets, answers=str(answers))) as running:
        with boto_client(running, "s3") as s3:
            for key in ANSWERS:
                s3.put_object(Bucket="raw", Key=key, Body=content(key))
        yield running


def content(key: str) -> bytes:
    """The picture of a key; each has a content of its own."""
    if key == "broken.jpg":
        return b"no picture, so that its examination fails"
    if key != "turned.jpg":
        return plain(colour=f"#{40 * list(ANSWERS).index(key):02x}00ff")
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(Image.new("L", (200, 100)), exif=exif)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> Path:
    """The folder of a run that is over; kept images were copied to ``s3://clean/kept/``."""
    return run(tmp_path_factory.mktemp("run"), sandbox, {"keep": {"copy": "s3://clean/kept/"}}).folder


@pytest.fixture
def examined(tmp_path: Path, sandbox: SandboxProcess, finished: Path) -> Workspace:
    """A copy of that folder."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    workspace = Workspace(tmp_path, sandbox)
    shutil.copy(finished / "job.yaml", workspace.job)
    sandbox.control("POST", "reset-stats")
    return workspace


def run(folder: Path, sandbox: SandboxProcess, actions: dict[str, Any], **sections: Any) -> Workspace:
    """A run that is over."""
    workspace = Workspace(
        folder, sandbox, **{"rules": RULES, "actions": actions, "checkpoint": "robins.db", **sections}
    )
    code, _, err = workspace.here("run", "job.yaml", "--json")
    assert code in {0, 1}, err
    sandbox.control("POST", "reset-stats")
    return workspace


class Written:
    """What one command wrote."""

    def __init__(self, workspace: Workspace, *more: str) -> None:
        command = ("manifest", "from-run", "job.yaml", "--creation-date", MOMENT, "-o", "out.manifest")
        self.code, out, self.err = workspace.here(*command, "--yes", "--json", *more)
        self.counts: dict[str, Any] = json.loads(out) if out else {}
        manifest = workspace.folder / "out.manifest"
        self.text = manifest.read_bytes().decode() if manifest.exists() else ""
        self.lines = [json.loads(line) for line in self.text.split("\n")[:-1]]
        self.by_name = {line["source-ref"].rpartition("/")[2]: line for line in self.lines}

    @property
    def labels(self) -> dict[str, dict[str, float]]:
        """The image-level labels of each image with their confidences."""
        return {
            name: {
                one["class-name"]: one["confidence"]
                for one in line.values()
                if isinstance(one, dict) and "class-name" in one
            }
            for name, line in self.by_name.items()
        }

    @property
    def humans(self) -> dict[str, set[str]]:
        """What the metadata of each image say of people."""
        return {
            name: {
                one["human-annotated"] for one in line.values() if isinstance(one, dict) and "human-annotated" in one
            }
            for name, line in self.by_name.items()
        }

    @property
    def boxes(self) -> dict[str, list[tuple[int, int, int, int]]]:
        """Left, top, width and height of the boxes of each image."""
        return {
            name: [tuple(box[side] for side in ("left", "top", "width", "height")) for box in boxes["annotations"]]
            for name, line in self.by_name.items()
            if (boxes := line.get("boxes")) is not None
        }


def requests(sandbox: SandboxProcess) -> dict[str, int]:
    """Attempts by operation."""
    return {name: found.attempts for name, found in sandbox.stats().operations.items() if found.attempts}


def test_images_byte_for_byte(examined: Workspace, sandbox: SandboxProcess) -> None:
    """The name that made the rule match, as the rule has it; where the image was copied to; nothing is asked of AWS."""
    found = Written(examined)
    assert found.text.split("\n")[0] == (
        '{"source-ref":"s3://clean/kept/a.jpg","label0":1,"label0-metadata":{"class-name":"robin",'
        '"confidence":0.971235,"type":"groundtruth/image-classification","job-name":"labeling-job/label",'
        f'"human-annotated":"no","creation-date":"{MOMENT}"}}}}'
    )
    assert found.code == 0
    assert found.labels["b.jpg"] == {"Jenny Wren": 0.8}
    assert found.counts == {
        "lines": 6,
        "images": 6,
        "labels": {"robin": 5, "Jenny Wren": 1},
        "boxes": 0,
        "skipped": {"failed": 1, "verdict": 1},
        "duplicates": 0,
        "rejected": 0,
        "output": "out.manifest",
        "duplicates_file": None,
        "rejected_file": None,
    }
    assert requests(sandbox) == {}
    assert Written(examined).text == found.text
    assert not (examined.folder / "robins.db.sizes").exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--labels", "rules"), {"a.jpg": {"robin": 0.971235, "Bird": 0.995}, "c.jpg": {"robin": 0.6}}),
        (("--labels", "bird, ROBIN ,,bird"), {"a.jpg": {"bird": 0.995, "ROBIN": 0.971235}, "c.jpg": {"ROBIN": 0.6}}),
        (("--labels", "Robin", "--min-confidence", "97"), {"a.jpg": {"Robin": 0.971235}, "c.jpg": None}),
        (("--labels", "jenny wren"), {"b.jpg": {"jenny wren": 0.8}, "a.jpg": None}),
        (("--verdict", "reject", "--labels", "Car"), {"d.jpg": {"Car": 0.99}, "a.jpg": None}),
        (
            ("--verdict", "reject", "--verdict", "keep", "--labels", "Car,Bird"),
            {"d.jpg": {"Car": 0.99}, "b.jpg": {"Bird": 0.79}},
        ),
        (("--reject-label", "other"), {"d.jpg": {"other": 1}, "c.jpg": {"robin": 0.6}}),
    ],
)
def test_labels(examined: Workspace, more: tuple[str, ...], expected: dict[str, dict[str, float] | None]) -> None:
    """What ``--labels``, ``--verdict`` and ``--reject-label`` choose; every image is a line or has a reason."""
    found = Written(examined, "--refs", "source", *more)
    assert found.code == 0, found.err
    assert {name: found.labels.get(name) for name in expected} == expected
    assert found.counts["lines"] + sum(found.counts["skipped"].values()) == len(ANSWERS)


def test_boxes_byte_for_byte(examined: Workspace, sandbox: SandboxProcess) -> None:
    """Every instance with its own confidence, cut at the frame, in the upright image; sizes are asked for once."""
    found = Written(examined, "--kind", "boxes")
    assert found.text.split("\n")[0] == (
        '{"source-ref":"s3://clean/kept/a.jpg","boxes":{"image_size":[{"width":200,"height":100,"depth":3}],'
        '"annotations":[{"class_id":0,"top":20,"left":20,"width":100,"height":50},'
        '{"class_id":0,"top":50,"left":0,"width":40,"height":50}]},"boxes-metadata":{"objects":'
        '[{"confidence":0.912346},{"confidence":0.42}],"class-map":{"0":"robin"},'
        f'"type":"groundtruth/object-detection","human-annotated":"no","creation-date":"{MOMENT}",'
        '"job-name":"labeling-job/boxes"}}'
    )
    assert found.boxes["turned.jpg"] == [(25, 100, 50, 50)]
    assert found.by_name["turned.jpg"]["boxes"]["image_size"] == [{"width": 100, "height": 200, "depth": 1}]
    assert (found.code, list(found.boxes)) == (0, ["a.jpg", "b.jpg", "turned.jpg"])
    counts = found.counts
    assert counts["skipped"] == {"failed": 1, "no_boxes": 2, "too_many_boxes": 1, "verdict": 1}
    assert (counts["boxes"], counts["boxes_too_small"], counts["exif_rotated"]) == (4, 1, 1)
    assert set(requests(sandbox)) <= {"GetObject", "HeadBucket"}
    assert requests(sandbox)["GetObject"] == 5
    sandbox.control("POST", "reset-stats")
    assert Written(examined, "--kind", "boxes").text == found.text
    assert requests(sandbox) == {}


def test_both_in_one_line(examined: Workspace) -> None:
    """Image-level attributes and boxes of the same labels; what is written can be imported."""
    found = Written(examined, "--kind", "both", "--labels", "Robin,Wren")
    assert list(found.by_name["a.jpg"]) == ["source-ref", "label0", "label0-metadata", "boxes", "boxes-metadata"]
    assert found.counts["labels"] == {"Robin": 2, "Wren": 1}
    assert examined.json("manifest", "validate", "out.manifest")["invalid_lines"] == 0


def test_sizes_come_from_copies_where_the_source_changed(sandbox: SandboxProcess, examined: Workspace) -> None:
    """The image that was examined is meant, not what is under its key now."""
    with boto_client(sandbox, "s3") as s3:
        s3.delete_object(Bucket="raw", Key="b.jpg")
        s3.put_object(Bucket="raw", Key="turned.jpg", Body=plain(width=300, height=300))
    try:
        found = Written(examined, "--kind", "boxes")
    finally:
        with boto_client(sandbox, "s3") as s3:
            for key in ("b.jpg", "turned.jpg"):
                s3.put_object(Bucket="raw", Key=key, Body=content(key))
    assert found.boxes["b.jpg"] == [(0, 0, 200, 100)]  # of the copy, since the source is gone
    assert found.boxes["turned.jpg"] == [(25, 100, 50, 50)]  # likewise: the source was replaced


def test_addresses(examined: Workspace) -> None:
    """``--refs source``; several buckets are an error, and nothing is written."""
    found = Written(examined, "--refs", "source")
    assert {line["source-ref"].rpartition("/")[0] for line in found.lines} == {"s3://raw"}
    found = Written(examined, "--reject-label", "other", "-o", "two.manifest")
    assert found.code == 1
    assert found.err.startswith("error: ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS")
    assert not (examined.folder / "two.manifest").exists()


def test_moved_and_deleted_images(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """A moved image has its new address, a deleted one none; with ``--refs source`` neither is there."""
    with boto_client(sandbox, "s3") as s3:
        for key in ("a.jpg", "c.jpg", "d.jpg"):
            s3.put_object(Bucket="other", Key=f"in/{key}", Body=content(key))
    workspace = run(
        tmp_path,
        sandbox,
        {"keep": {"move": "s3://other/kept/"}, "reject": "delete"},
        source="s3://other/in/",
        rules=[{"keep": {"any": "Robin"}}],
    )
    assert set(Written(workspace).by_name) == {"a.jpg", "c.jpg"}
    code, _, err = workspace.here("apply", "job.yaml", "--yes", "--expect", "3", "--max-share", "1")
    assert code == 0, err
    found = Written(workspace)
    assert [line["source-ref"] for line in found.lines] == ["s3://other/kept/in/a.jpg", "s3://other/kept/in/c.jpg"]
    found = Written(workspace, "--kind", "boxes")
    assert found.boxes == {"a.jpg": [(20, 20, 100, 50), (0, 50, 40, 50)]}
    found = Written(workspace, "--reject-label", "other")
    assert found.counts["skipped"] == {"removed": 1}
    (workspace.folder / "out.manifest").unlink()
    found = Written(workspace, "--refs", "source")
    assert (found.code, found.text) == (1, "")
    assert "ERROR_EMPTY_MANIFEST: there is no line to write (2 removed, 1 verdict)" in found.err


def test_an_image_whose_size_cannot_be_told(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """It is skipped, and asked for again the next time."""
    with boto_client(sandbox, "s3") as s3:
        for key in ("a.jpg", "c.jpg", "turned.jpg"):
            s3.put_object(Bucket="other", Key=f"sizes/{key}", Body=content(key))
        workspace = run(tmp_path, sandbox, {}, source="s3://other/sizes/")
        s3.delete_object(Bucket="other", Key="sizes/a.jpg")
        found = Written(workspace, "--kind", "boxes")
        assert (found.code, set(found.boxes), found.counts["skipped"]["no_size"]) == (0, {"turned.jpg"}, 1)
        s3.put_object(Bucket="other", Key="sizes/a.jpg", Body=content("a.jpg"))
        assert set(Written(workspace, "--kind", "boxes").boxes) == {"a.jpg", "turned.jpg"}


def test_a_folder(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """Files need ``--s3-path``, for the source and for the folder of the copies; sizes come from the files."""
    for key in ("a.jpg", "turned.jpg"):
        (tmp_path / "raw" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / "deep" / key).write_bytes(content(key))
    workspace = run(tmp_path, sandbox, {"keep": {"copy": "./clean/kept/"}}, source="./raw")
    found = Written(workspace)
    assert found.code == 2
    assert "--s3-path" in found.err
    found = Written(workspace, "--kind", "boxes", "--s3-path", "s3://pictures/x/")
    assert [line["source-ref"] for line in found.lines] == [
        "s3://pictures/x/deep/a.jpg",
        "s3://pictures/x/deep/turned.jpg",
    ]
    assert found.boxes["turned.jpg"] == [(25, 100, 50, 50)]
    (workspace.folder / "raw/deep/a.jpg").unlink()
    (workspace.folder / "robins.db.sizes").unlink()
    assert Written(workspace, "--kind", "boxes", "--s3-path", "s3://pictures/x/").text == found.text


# -- What people say ---------------------------------------------------------------------------------------------------


def drawn(label: str, left: float, top: float, width: float, height: float) -> LabelledBox:
    """A box that somebody drew."""
    return LabelledBox(label=label, left=left, top=top, width=width, height=height)


@pytest.fixture
def reviewed(examined: Workspace, sandbox: SandboxProcess) -> Workspace:
    """A run that has taken over what people said about most of the images."""
    with boto_client(sandbox, "s3") as s3:
        listed = {one["Key"]: one for one in s3.list_objects_v2(Bucket="raw")["Contents"]}

    def about(key: str) -> Subject:
        return subject(key, etag=listed[key]["ETag"].strip('"'), size_bytes=listed[key]["Size"])

    with open_answers(examined.folder / "robins.answers.db") as answers:
        answers.add([
            new_answer("keep", about("a.jpg"), labels=("Blue Tit",), boxes=(drawn("Blue Tit", 0.5, 0.25, 0.25, 0.5),)),
            new_answer("keep", about("b.jpg")),  # as the rules say
            new_answer("reject", about("c.jpg")),  # against the rules
            new_answer("keep", about("d.jpg")),  # likewise: no label of a keep rule
            new_answer("unsure", about("e.jpg")),
            new_answer(None, about("f.jpg"), labels=()),  # none of the labels
        ])  # fmt: skip
    assert examined.here("refilter", "job.yaml", "--json")[0] in {0, 1}
    sandbox.control("POST", "reset-stats")
    return examined


def test_people_come_before_the_rules(reviewed: Workspace) -> None:
    """Verdict and labels are those of people where they said something; each line says which of both it has."""
    found = Written(reviewed, "--refs", "source")
    assert found.labels == {"a.jpg": {"Blue Tit": 1}, "b.jpg": {"Jenny Wren": 1}, "turned.jpg": {"robin": 0.9}}
    assert found.humans == {"a.jpg": {"yes"}, "b.jpg": {"yes"}, "turned.jpg": {"no"}}
    assert found.counts["skipped"] == {"failed": 1, "no_label": 2, "verdict": 2}


def test_only_what_people_answered(reviewed: Workspace) -> None:
    """``--reviewed`` leaves out what nobody said anything about; every line is by people."""
    found = Written(reviewed, "--reviewed", "--reject-label", "other", "--refs", "source")
    assert found.labels == {"a.jpg": {"Blue Tit": 1}, "b.jpg": {"Jenny Wren": 1}, "c.jpg": {"other": 1}}
    assert set.union(*found.humans.values()) == {"yes"}
    assert found.counts["skipped"] == {"failed": 1, "no_label": 2, "not_reviewed": 1, "verdict": 1}
    assert found.counts["lines"] + sum(found.counts["skipped"].values()) == len(ANSWERS)


def test_boxes_that_people_drew(reviewed: Workspace) -> None:
    """They come before those of the detector, without its labels; with ``--reviewed`` there are no others."""
    found = Written(reviewed, "--kind", "both", "--refs", "source")
    assert found.boxes == {"a.jpg": [(100, 25, 50, 50)], "b.jpg": [(0, 0, 200, 100)], "turned.jpg": [(25, 100, 50, 50)]}
    assert found.humans == {"a.jpg": {"yes"}, "b.jpg": {"yes", "no"}, "turned.jpg": {"no"}}
    assert found.by_name["a.jpg"]["boxes-metadata"]["objects"] == [{"confidence": 1}]
    only = Written(reviewed, "--kind", "boxes", "--reviewed", "--refs", "source")
    assert (only.boxes, only.humans) == ({"a.jpg": [(100, 25, 50, 50)]}, {"a.jpg": {"yes"}})


def test_chosen_names_hold_for_people_too(reviewed: Workspace) -> None:
    """What ``--labels`` does not name is not written, whoever says it."""
    found = Written(reviewed, "--labels", "BLUE TIT,Robin", "--refs", "source", "--kind", "both")
    assert found.labels["a.jpg"] == {"BLUE TIT": 1}
    assert found.boxes["a.jpg"] == [(100, 25, 50, 50)]
    assert "a.jpg" not in Written(reviewed, "--labels", "Robin", "--refs", "source").labels


def test_nobody_has_said_anything(examined: Workspace) -> None:
    """``--reviewed`` then has no line to write."""
    found = Written(examined, "--reviewed")
    assert (found.code, found.text) == (1, "")
    assert "7 not_reviewed" in found.err


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (("--labels", " , "), 2),
        (("--kind", "boxes", "--reject-label", "other"), 2),
        (("--reject-label", " "), 2),
        (("--kind", "labels"), 2),
        (("--min-confidence", "101"), 2),
        (("--s3-path", "x"), 2),
        (("--s3-path", "s3://elsewhere/"), 2),
        (("--s3-path", "s3://elsewhere/", "--refs", "source"), 2),
        (("--labels", "Unicorn"), 1),
        (("--set", "checkpoint=none.db"), 3),
    ],
)
def test_errors(examined: Workspace, more: tuple[str, ...], code: int) -> None:
    """A code, a message, and no file; with exit code 1 the message stands in the counts, too."""
    found = Written(examined, *more)
    assert (found.code, found.text, "error" in found.counts) == (code, "", code == 1)
    assert found.err.startswith("error: ")
    assert not [path.name for path in examined.folder.iterdir() if path.name.startswith(("out", "none"))]


def test_classes(examined: Workspace) -> None:
    """A label that is not in ``--classes`` is a rejected image."""
    (examined.folder / "classes.txt").write_text("Owl\nrobin\n")
    found = Written(examined, "--classes", "classes.txt")
    assert (found.code, found.counts["rejected"], found.counts["lines"]) == (1, 1, 5)
    assert (examined.folder / "out-errors.csv").read_bytes() == b"s3://clean/kept/b.jpg,UNKNOWN_CLASS\r\n"
    found = Written(examined, "--classes", "classes.txt", "--kind", "boxes")
    assert found.by_name["a.jpg"]["boxes-metadata"]["class-map"] == {"1": "robin"}


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="needs ../shared/data/badimages/exif-orientation")
def test_real_photographs_lie_on_their_side(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """One picture in every EXIF orientation has one size, and its boxes are where they are in the upright picture."""
    workspace = run(tmp_path, sandbox, {}, source=str(PHOTOGRAPHS))
    found = Written(workspace, "--kind", "boxes", "--s3-path", "s3://pictures")
    assert found.counts["exif_rotated"] == 4
    for path in PHOTOGRAPHS.glob("Landscape_[1-8].jpg"):
        (size,) = found.by_name[path.name]["boxes"]["image_size"]
        with Image.open(path) as stored, ImageOps.exif_transpose(stored) as upright:
            assert (size["width"], size["height"]) == upright.size


def test_images_of_a_folder_that_were_copied_into_s3(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """They have addresses there; one that was not needs ``--s3-path``, and nothing is written without it."""
    (tmp_path / "raw").mkdir()
    for key in ("a.jpg", "c.jpg"):
        (tmp_path / "raw" / key).write_bytes(content(key))
    with boto_client(sandbox, "s3") as s3:
        s3.create_bucket(Bucket="uploads")
        s3.put_object(Bucket="uploads", Key="c.jpg", Body=b"another")
        workspace = run(tmp_path, sandbox, {"keep": {"copy": "s3://uploads/", "if_exists": "fail"}}, source="./raw")
        found = Written(workspace)
        assert (found.code, "c.jpg is not in S3" in found.err) == (2, True)
        s3.delete_object(Bucket="uploads", Key="c.jpg")
    assert workspace.summary("run", "job.yaml", "--retry-failed")["copied"] == 2
    assert [line["source-ref"] for line in Written(workspace).lines] == ["s3://uploads/a.jpg", "s3://uploads/c.jpg"]
