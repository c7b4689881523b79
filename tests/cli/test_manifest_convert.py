"""``manifest convert``: SageMaker's lines, COCO, VOC and YOLO, there and back, and what cannot be carried over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from asyncfilter.sandbox import SandboxOptions, SandboxProcess
from tests.kit.manifests import (
    MOMENT,
    D,
    box,
    box_line,
    box_metadata,
    encoded,
    image_line,
    label_metadata,
    ref,
    size,
)
from tests.kit.pictures import plain
from tests.kit.workspace import Workspace

needs_globox = pytest.mark.skipif(find_spec("globox") is None, reason="globox, the extra datasets, is not installed")
DATE = ("--creation-date", MOMENT)
PATH = ("--s3-path", "s3://pictures/")
MULTI = "groundtruth/image-classification-multilabel"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """No command here needs it."""
    with SandboxProcess(SandboxOptions()) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


def write(workspace: Workspace, *documents: object, name: str = "in") -> bytes:
    """A manifest in the folder; returns its bytes."""
    lines = [(document if isinstance(document, bytes) else encoded(document)) + b"\n" for document in documents]
    (workspace.folder / name).write_bytes(b"".join(lines))
    return b"".join(lines)


def convert(workspace: Workspace, source: str, to: str, out: str, *arguments: str, expected: int = 0) -> Any:
    """The counts of a conversion."""
    code, text, err = workspace.here("manifest", "convert", source, "--to", to, "-o", out, *arguments, "--json")
    assert (code, err == "") == (expected, expected == 0), err
    return json.loads(text)


def multi(*ids: object, source_ref: str = "", **changes: Any) -> D:
    """One of SageMaker's lines."""
    metadata = {
        "class-map": {"0": "Robin", "3": "Wren"},
        "confidence-map": {"0": 0.5},
        "type": MULTI,
        "human-annotated": "yes",
        "creation-date": MOMENT,
        "job-name": "labeling-job/birds",
    }
    return {"source-ref": source_ref or ref(), "birds": list(ids), "birds-metadata": metadata | changes}


# -- SageMaker ---------------------------------------------------------------------------------------------------------


def test_multi_label_to_custom_labels(workspace: Workspace) -> None:
    """One attribute a label, in the order of the list; an empty list is a bare line."""
    write(workspace, multi(3, 0, source_ref=ref(1)), multi(source_ref=ref(2)), image_line(source_ref=ref(3)))
    counts = convert(workspace, "in", "custom-labels", "out")
    assert (workspace.folder / "out").read_bytes() == (
        b'{"source-ref":"s3://pictures/0000001.jpg","birds0":1,"birds0-metadata":{"class-name":"Wren","confidence":0,'
        b'"type":"groundtruth/image-classification","human-annotated":"yes","creation-date":"2026-11-27T10:00:00.000",'
        b'"job-name":"labeling-job/birds"},"birds1":1,"birds1-metadata":{"class-name":"Robin","confidence":0.5,'
        b'"type":"groundtruth/image-classification","human-annotated":"yes","creation-date":"2026-11-27T10:00:00.000",'
        b'"job-name":"labeling-job/birds"}}\n'
        b'{"source-ref":"s3://pictures/0000002.jpg"}\n' + encoded(image_line(source_ref=ref(3))) + b"\n"
    )
    assert counts == {
        "lines": 3,
        "images": 3,
        "labels": {"Wren": 1, "Robin": 2},
        "boxes": 0,
        "skipped": {},
        "duplicates": 0,
        "rejected": 0,
        "output": "out",
        "duplicates_file": None,
        "rejected_file": None,
        "from": "sagemaker-multilabel",
        "to": "custom-labels",
    }


def test_lines_that_cannot_be_turned(workspace: Workspace) -> None:
    """Each is told with its number; the others are written; exit 1."""
    write(workspace, multi(7), b"{", b"", multi(0), {"source-ref": "x"}, multi(0) | {"birds0": 1})
    code, out, err = workspace.here("manifest", "convert", "in", "--to", "custom-labels", "-o", "out", "--json")
    assert code == 1
    counts = json.loads(out)
    assert (counts["lines"], counts["rejected"], counts["skipped"]) == (1, 4, {"blank": 1})
    assert "in: line 1: rejected: ERROR_INVALID_LABEL_ATTRIBUTE_FORMAT: birds: class 7 is not in class-map" in err
    assert "in: line 2: rejected: ERROR_INVALID_JSON_LINE" in err


def test_custom_labels_to_multi_label_and_back(workspace: Workspace) -> None:
    """Ids by the file's numbering; labels, confidences and metadata come back."""
    body = write(
        workspace,
        image_line("Wren", "Robin", source_ref=ref(1)),
        {"source-ref": ref(2)},
        image_line("Robin", source_ref=ref(3), **D({"label0-metadata": label_metadata("Robin", confidence=0.25)})),
        box_line(**image_line("Crow")),
    )
    counts = convert(workspace, "in", "sagemaker-multilabel", "multi")
    assert (counts["from"], counts["labels"]) == ("custom-labels", {"Wren": 1, "Robin": 3, "Crow": 1})
    lines = [json.loads(line) for line in (workspace.folder / "multi").read_bytes().splitlines()]
    assert lines[0] == {
        "source-ref": ref(1),
        "label": [0, 1],
        "label-metadata": {
            "class-map": {"0": "Wren", "1": "Robin"},
            "confidence-map": {"0": 1, "1": 1},
            "type": MULTI,
            "job-name": "labeling-job/label",
            "human-annotated": "yes",
            "creation-date": MOMENT,
        },
    }
    assert (lines[1], lines[2]["label"]) == ({"source-ref": ref(2)}, [1])
    convert(workspace, "multi", "custom-labels", "back")
    back = (workspace.folder / "back").read_bytes().splitlines()
    assert [json.loads(line) for line in back] == [json.loads(line) for line in body.splitlines()]
    write(workspace, b"Robin", name="classes")
    counts = convert(workspace, "in", "sagemaker-multilabel", "few", "--classes", "classes", expected=1)
    assert (counts["lines"], counts["rejected"]) == (2, 2)


# -- COCO, VOC, YOLO ---------------------------------------------------------------------------------------------------


def scene(workspace: Workspace) -> bytes:
    """A manifest in the form that conversion writes, and its images."""
    lines: list[D] = []
    for number, key in enumerate(("a/1.jpg", "a/2.jpg", "b/ü 3.png", "4.jpg")):
        boxes = [box(number, 7, 33, 41, 0), box(300, 2, 340 - number, 478, 1)][: 2 if number < 3 else 0]
        labels = {"0": "Robin", "1": "Wren & <Crow>"} if boxes else {}
        boxes_ = {"image_size": size(), "annotations": boxes}
        metadata = {
            "objects": [{"confidence": 1} for _ in boxes],
            "class-map": labels,
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": MOMENT,
            "job-name": "labeling-job/boxes",
        }
        lines.append({"source-ref": f"s3://pictures/{key}", "boxes": boxes_, "boxes-metadata": metadata})
        path = workspace.folder / "images" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plain("PNG" if key.endswith("png") else "JPEG", 640, 480))
    return write(workspace, *lines)


@needs_globox
@pytest.mark.parametrize("kind", ["coco", "voc", "yolo"])
def test_there_and_back(workspace: Workspace, kind: str) -> None:
    """Labels, images and boxes are kept, and a second time gives the same bytes."""
    body = scene(workspace)
    more = ("--images", "images") if kind == "yolo" else ()
    counts = convert(workspace, "in", kind, "there")
    assert (counts["lines"], counts["boxes"], counts["rejected"]) == (4, 6, 0)
    assert counts["labels"] == {"Robin": 3, "Wren & <Crow>": 3}
    back = convert(workspace, "there", "custom-labels", "back", *PATH, *DATE, *more)
    assert (back["from"], back["lines"], back["boxes"], back["boxes_too_small"]) == (kind, 4, 6, 0)
    in_order = (workspace.folder / "back").read_bytes()
    assert sorted(in_order.splitlines()) == sorted(body.splitlines())
    assert kind != "coco" or in_order == body
    convert(workspace, "back", kind, "again")
    assert content(workspace, "again") == content(workspace, "there") or kind != "coco"


def content(workspace: Workspace, name: str) -> dict[str, bytes]:
    """All files of a result."""
    root = workspace.folder / name
    files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@needs_globox
def test_boxes_that_cannot_be_used_are_told(workspace: Workspace) -> None:
    """A valid line may have some: they do not vanish."""
    write(workspace, box_line(box(), box(width=1, height=1), box(600, width=41)))
    code, out, err = workspace.here("manifest", "convert", "in", "--to", "coco", "-o", "out", "--json")
    counts = json.loads(out)
    assert (code, counts["boxes"], counts["rejected"]) == (1, 1, 2)
    assert "line 1: rejected: ERROR_INVALID_BOUNDING_BOX: boxes: box 2 ends at" in err


@needs_globox
def test_what_was_left_out_is_counted_where_nothing_is_written(workspace: Workspace) -> None:
    """Exit code 1, no file, and the reasons in the object."""
    write(workspace, image_line())
    code, out, err = workspace.here("manifest", "convert", "in", "--to", "coco", "-o", "out", "--json")
    found = json.loads(out)
    assert (code, found["error"]["code"], found["output"]) == (1, "ERROR_EMPTY_MANIFEST", None), err
    assert found["skipped"] == {"image_level": 1}
    assert not (workspace.folder / "out").exists()


@needs_globox
def test_coco_document(workspace: Workspace) -> None:
    """Ids from 1, images in the order of lines, those without boxes, too; a score where a machine drew the box."""
    line = box_line(box(1, 2, 30, 40, 1), source_ref="", **D({"source-ref": "s3://pictures/b/2.jpg"}))
    bare = box_line(metadata=box_metadata(0), boxes={"image_size": size(), "annotations": []})
    write(workspace, line, image_line(), bare | {"source-ref": "s3://pictures/a/1.jpg"}, {"source-ref": ref()})
    counts = convert(workspace, "in", "coco", "out.json")
    assert counts["skipped"] == {"image_level": 1, "no_size": 1}
    found = json.loads((workspace.folder / "out.json").read_text())
    assert found["images"] == [
        {"id": 1, "file_name": "b/2.jpg", "width": 640, "height": 480},
        {"id": 2, "file_name": "a/1.jpg", "width": 640, "height": 480},
    ]
    (annotation,) = found["annotations"]
    assert annotation | {"segmentation": [], "ignore": 0} == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [1, 2, 30, 40],
        "area": 1200,
        "iscrowd": 0,
        "ignore": 0,
        "segmentation": [],
        "score": 0.9,
    }
    assert found["categories"] == [{"id": 1, "name": "Wren", "supercategory": "none"}]
    convert(workspace, "out.json", "custom-labels", "back", *PATH)
    first = json.loads((workspace.folder / "back").read_bytes().splitlines()[0])["boxes-metadata"]
    assert (first["objects"], first["human-annotated"]) == ([{"confidence": 0.9}], "no")


@needs_globox
def test_coco_with_everything_wrong(workspace: Workspace) -> None:
    """Nothing vanishes: each annotation is written, skipped or rejected."""
    image = {"id": 1, "file_name": "a.jpg", "width": 100, "height": 200}
    good = {"id": 1, "image_id": 1, "category_id": 5, "bbox": [10.4, 10.6, 20.2, 20]}
    document = {
        "images": [image, image | {"id": 2}, {"id": 3}, image | {"id": 4, "file_name": "b.jpg", "width": 0}, 7],
        "categories": [{"id": 5, "name": "Robin"}, {"id": 6}],
        "annotations": [
            good,
            good | {"bbox": [-5, 190, 200, 20]},
            good | {"bbox": [1, 1, 1, 1]},
            good | {"iscrowd": 1},
            good | {"image_id": 9},
            good | {"category_id": 6},
            good | {"bbox": [1, 2, 3]},
            good | {"bbox": [1, 2, -3, 4]},
            good | {"bbox": [1, 2, 3, float("nan")]},
            good | {"image_id": [1]},
            "x",
        ],
    }
    (workspace.folder / "in.json").write_text(json.dumps(document, indent=1))
    code, out, err = workspace.here(
        "manifest", "convert", "in.json", "--to", "custom-labels", "-o", "out", *PATH, "--json"
    )
    counts = json.loads(out)
    assert (code, counts["lines"], counts["boxes"], counts["skipped"]) == (1, 1, 2, {"crowd": 1})
    assert (counts["rejected"], counts["clamped"], counts["boxes_too_small"]) == (11, 1, 1)
    annotations = json.loads((workspace.folder / "out").read_text())["boxes"]["annotations"]
    assert annotations == [box(10, 11, 21, 20), box(0, 190, 100, 10)]
    assert "annotation 1: rejected: NO_IMAGE" in err


@needs_globox
def test_voc_files(workspace: Workspace) -> None:
    """One XML file an image, named like it; names may be those of the keys' ends."""
    scene(workspace)
    convert(workspace, "in", "voc", "out", "--file-names", "basename")
    assert sorted(content(workspace, "out")) == ["1.xml", "2.xml", "4.xml", "ü 3.xml"]
    root = ET.fromstring(content(workspace, "out")["1.xml"])
    assert root.findtext("filename") == "1.jpg"
    assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["640", "480", "3"]
    bounds = [
        [node.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")] for node in root.iter("object")
    ]
    assert bounds == [["0", "7", "33", "48"], ["300", "2", "640", "480"]]


@needs_globox
def test_bad_voc_files(workspace: Workspace) -> None:
    """Entities are refused, UTF-8 is read in any locale, and every bad file and box is told."""
    folder = workspace.folder / "voc"
    folder.mkdir()
    entity = '<!DOCTYPE a [<!ENTITY x "y">]><annotation><filename>&x;</filename></annotation>'
    whole = (
        "<annotation><filename>ü.jpg</filename><size><width>100</width><height>100</height></size>"
        "<object><name>Röbin</name><bndbox><xmin>1.4</xmin><ymin>1</ymin><xmax>50</xmax><ymax>50</ymax></bndbox></object>"
        "<object><name>Wren</name></object><object><name>Wren</name>"
        "<bndbox><xmin>9</xmin><ymin>1</ymin><xmax>5</xmax><ymax>50</ymax></bndbox></object></annotation>"
    )
    for name, text in (("a", entity), ("b", whole), ("c", "<a"), ("d", "<annotation/>"), ("e", "\udcff")):
        (folder / f"{name}.xml").write_text(text, encoding="utf-8", errors="surrogateescape")
    code, out, err = workspace.here("manifest", "convert", "voc", "--to", "custom-labels", "-o", "out", *PATH, "--json")
    counts = json.loads(out)
    assert (code, counts["lines"], counts["rejected"], counts["labels"]) == (1, 1, 6, {"Röbin": 1})
    assert "a.xml: rejected: BAD_FILE: it declares entities" in err
    line = json.loads((workspace.folder / "out").read_text())
    assert (line["source-ref"], line["boxes"]["annotations"]) == ("s3://pictures/ü.jpg", [box(1, 1, 49, 49)])


@needs_globox
def test_yolo_files(workspace: Workspace) -> None:
    """A text file an image with ratios, and the names; upright sizes come from the images."""
    scene(workspace)
    convert(workspace, "in", "yolo", "out")
    files = content(workspace, "out")
    assert sorted(files) == [
        *("classes.txt", "data.yaml", "labels/4.txt", "labels/a/1.txt", "labels/a/2.txt", "labels/b/ü 3.txt"),
    ]
    assert files["classes.txt"].decode() == "Robin\nWren & <Crow>\n"
    first = [float(number) for number in files["labels/a/1.txt"].split()[:5]]
    assert first == pytest.approx([0, 16.5 / 640, 27.5 / 480, 33 / 640, 41 / 480])
    assert files["labels/4.txt"] == b""
    (workspace.folder / "out/data.yaml").unlink()
    (workspace.folder / "out/labels/a/1.txt").write_text("0 0.5 0.5 0.5 0.5 0.75\n9 .5 .5 .5 .5\n0 1\nx .5 .5 .5 .5\n")
    (workspace.folder / "out/labels/none.txt").write_text("")
    counts = convert(workspace, "out", "custom-labels", "back", *PATH, "--images", "images", expected=1)
    assert (counts["lines"], counts["rejected"]) == (4, 4)


@needs_globox
def test_from_one_to_another(workspace: Workspace) -> None:
    """COCO to YOLO is one command."""
    scene(workspace)
    convert(workspace, "in", "coco", "coco.json")
    counts = convert(workspace, "coco.json", "yolo", "yolo", *PATH)
    assert (counts["from"], counts["to"], counts["lines"], counts["boxes"]) == ("coco", "yolo", 4, 6)


@needs_globox
def test_between_other_formats_no_place_is_needed(workspace: Workspace) -> None:
    """COCO and YOLO have no addresses; the images keep their names."""
    scene(workspace)
    convert(workspace, "in", "coco", "coco.json")
    convert(workspace, "coco.json", "voc", "with", *PATH)
    convert(workspace, "coco.json", "voc", "without")
    assert content(workspace, "with") == content(workspace, "without")


@needs_globox
def test_names_that_clash_or_lead_elsewhere(workspace: Workspace) -> None:
    """They are rejected: no file is written twice, and none outside of the folder."""
    keys = ("a/1.jpg", "a/1.png", "../x.jpg", "/y.jpg", "a//z.jpg", "a\nb.jpg", "ok.jpg")
    write(workspace, *(box_line() | {"source-ref": f"s3://pictures/{key}"} for key in keys))
    counts = convert(workspace, "in", "yolo", "out", expected=1)
    assert (counts["lines"], counts["rejected"]) == (2, 5)
    assert sorted(content(workspace, "out")) == ["classes.txt", "data.yaml", "labels/a/1.txt", "labels/ok.txt"]
    assert not (workspace.folder / "x.txt").exists()


@needs_globox
def test_folders_are_replaced_with_care(workspace: Workspace) -> None:
    """An existing one is a question; one with other files is never touched; stdout is no folder."""
    scene(workspace)
    command = ("manifest", "convert", "in", "--to", "yolo")
    assert workspace.here(*command)[0] == 2
    convert(workspace, "in", "yolo", "out")
    (workspace.folder / "out/labels/old.txt").write_text("")
    assert workspace.here(*command, "-o", "out")[0] == 130
    assert workspace.here(*command, "-o", "out", "--yes")[0] == 0
    assert "labels/old.txt" not in content(workspace, "out")
    before = content(workspace, "images")
    code, _, err = workspace.here(*command, "-o", "images", "--yes")
    assert (code, content(workspace, "images")) == (2, before)
    assert "it has other files" in err
    write(workspace, image_line())
    assert workspace.here(*command, "-o", "new")[0] == 1
    assert sorted(path.name for path in workspace.folder.iterdir() if ".asyncfilter-" in path.name) == []
    assert not (workspace.folder / "new").exists()


@needs_globox
def test_pycocotools_agrees(workspace: Workspace) -> None:
    """An independent library reads the same."""
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    body = scene(workspace)
    convert(workspace, "in", "coco", "out.json")
    found = coco.COCO(str(workspace.folder / "out.json"))
    assert [image["file_name"] for image in found.loadImgs(found.getImgIds())] == [
        "a/1.jpg",
        "a/2.jpg",
        "b/ü 3.png",
        "4.jpg",
    ]
    assert len(found.getAnnIds(catIds=found.getCatIds(catNms=["Robin"]))) == 3
    names = {category["id"]: category["name"] for category in found.loadCats(found.getCatIds())}
    boxes = [
        [(names[one["category_id"]], *one["bbox"]) for one in found.loadAnns(found.getAnnIds(imgIds=image))]
        for image in found.getImgIds()
    ]
    assert boxes == [
        [
            (attribute["class-map"][str(one["class_id"])], *(one[side] for side in ("left", "top", "width", "height")))
            for one in line["boxes"]["annotations"]
        ]
        for line in map(json.loads, body.splitlines())
        for attribute in [line["boxes-metadata"]]
    ]


@needs_globox
@pytest.mark.parametrize(("confidence", "score"), [(97.5, None), (-1, 0), (0.5, 0.5), (1e308, None)])
def test_confidences_beyond_their_range(workspace: Workspace, confidence: float, score: float | None) -> None:
    """The service takes any number as the confidence of a box; COCO gets one of 0 to 1, and 1 is not written."""
    write(workspace, box_line(box(), metadata=box_metadata(objects=[{"confidence": confidence}])))
    convert(workspace, "in", "coco", "out.json")
    (annotation,) = json.loads((workspace.folder / "out.json").read_bytes())["annotations"]
    assert annotation.get("score") == score


@pytest.mark.parametrize("to", ["coco", "sagemaker-multilabel"])
def test_labels_that_utf_8_cannot_hold(workspace: Workspace, to: str) -> None:
    """Half a surrogate pair, which JSON can say, comes there and back."""
    boxes = box_line(box(), metadata=box_metadata(1, **{"class-map": {"0": "Wren\udc00"}}))
    line = boxes if to == "coco" else image_line("Wren\udc00")
    write(workspace, json.dumps(line).encode())
    convert(workspace, "in", to, "there")
    convert(workspace, "there", "custom-labels", "back", "--s3-path", "s3://pictures")
    back = (workspace.folder / "back").read_bytes()
    assert back.count(b'"Wren\\udc00"') == 1
    assert b"sagemaker" not in back


def test_usage(workspace: Workspace) -> None:
    """Exit 2 for what cannot be meant."""
    write(workspace, image_line())
    (workspace.folder / "folder").mkdir()
    for arguments in (
        ("none", "--to", "custom-labels"),
        ("folder", "--to", "custom-labels"),
        ("folder", "--to", "custom-labels", "--from", "coco"),
        ("in", "--to", "custom-labels", "--from", "voc"),
        ("in", "--to", "xml"),
        ("in",),
        ("in", "--to", "custom-labels", "--s3-path", "x"),
        ("in", "--to", "coco", "--images", "none"),
        ("in", "--to", "sagemaker-multilabel", "--attribute", "a-metadata"),
    ):
        assert workspace.here("manifest", "convert", *arguments)[0] == 2


@needs_globox
def test_usage_of_other_formats(workspace: Workspace) -> None:
    """Exit 2 and a remedy."""
    (workspace.folder / "in.json").write_text('{"images":[{"id":1,"file_name":"a.jpg","width":9,"height":9}]}')
    (workspace.folder / "labels").mkdir()
    (workspace.folder / "classes.txt").write_text("a\n")
    (workspace.folder / "bad.json").write_text('{"images":')
    for arguments, hint in (
        (("in.json", "--to", "custom-labels"), "--s3-path"),
        (("in.json", "--to", "sagemaker-multilabel"), "--to custom-labels"),
        ((".", "--to", "custom-labels", *PATH), "--images"),
        (("bad.json", "--to", "custom-labels", *PATH), "COCO"),
    ):
        code, _, err = workspace.here("manifest", "convert", *arguments)
        assert code == 2
        assert hint in err


def test_without_globox(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, naming the extra; SageMaker's lines need none."""
    monkeypatch.setitem(__import__("sys").modules, "globox", None)
    write(workspace, box_line())
    code, _, err = workspace.here("manifest", "convert", "in", "--to", "coco", "-o", "out")
    assert (code, (workspace.folder / "out").exists()) == (2, False)
    assert "pip install 'asyncfilter[datasets]'" in err
    assert workspace.here("manifest", "convert", "in", "--to", "custom-labels", "-o", "out")[0] == 0
