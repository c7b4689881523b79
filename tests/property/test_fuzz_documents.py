"""Lists, label files, models, box files and reports of trainings may come from anybody: each is read, or refused."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncfilter.aws.model_service.descriptions import dataset_of, label_of, project_of, version_of
from asyncfilter.aws.transport_errors import UNREADABLE
from asyncfilter.custom_labels import training_errors
from asyncfilter.custom_labels.manifest_lines import source_ref_of
from asyncfilter.datasets.exchange.coco import CocoReader
from asyncfilter.datasets.exchange.file_sizes import ImageFolder
from asyncfilter.datasets.exchange.rejects import Rejects
from asyncfilter.datasets.exchange.voc import voc_images
from asyncfilter.datasets.exchange.yolo import read_labels, yolo_images
from asyncfilter.datasets.lists import inventory_objects, list_entries, read_manifest
from asyncfilter.errors import UsageError
from asyncfilter.onnx.errors import OwnModelError
from asyncfilter.onnx.label_names import read_label_file
from asyncfilter.onnx.preprocessing import read_preprocess_file
from asyncfilter.onnx.wire import WireError, scan
from tests.kit.fuzzing import MIB, bounded, damaged, fuzz
from tests.kit.inventory import Listed, arrow_bytes, csv_gz, manifest_of
from tests.kit.onnx_models import COLOURS, colour_model

TOKENS = [
    *(b"\n", b"\r", b"\xef\xbb\xbf", b"\xff", b"\0", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\t", b" "),
    *(b"null", b"true", b"NaN", b"1e999", b"-1", b"9" * 400, b"9" * 5000, b"\\ud800", b"%ff", b"s3://raw/", b"../"),
    *(b"[" * 1500, b'{"a":' * 1500, b'"key":', b'"size":', b"\x1f\x8b", b"PAR1", b"ORC", b"\xed\xa0\x80"),
]
DEEP = b'{"key":' + b"[" * 700 + b"]" * 700 + b"}"


# -- Lists -------------------------------------------------------------------------------------------------------------

LISTS = [
    b"key,size,etag,bucket\na.jpg,10,e,raw\nb c.jpg,,,\n",
    b'{"source-ref":"s3://raw/a.jpg","size":3}\n{"source-ref":"s3://raw/b.jpg"}\n',
    b"raw,a%20b.jpg\nraw,c.jpg\n",
    b"a.jpg\nb.jpg\n",
    csv_gz([Listed("a.jpg"), Listed("b c.jpg", None, None)]),
    arrow_bytes([Listed("a.jpg")]),
    arrow_bytes([Listed("a.jpg")], is_orc=True),
]


NO_UTF8 = arrow_bytes([Listed("a.jpg"), Listed("zz.jpg")]).replace(b"zz.jpg", b"z\x80.jpg")
"""Sound Parquet whose text is none: found out when the values are made, not when they are read."""


@fuzz
@given(st.sampled_from(["k.csv", "k.tsv", "k.jsonl", "k.txt", "k", "k.csv.gz"]), damaged(LISTS, TOKENS))
@example("k.csv", NO_UTF8)
@example("k.jsonl", DEEP)
@example("k.jsonl", b'{"key":"\xff"}')
@example("k.jsonl", b'{"key":' + b"9" * 5000 + b"}")
@example("k.jsonl", b'{"key":"a.jpg","size":' + b"9" * 5000 + b"}")
def test_a_list_is_read_or_refused(name: str, body: bytes) -> None:
    """Keys that S3 could have, or the error of a list."""
    with suppress(UsageError):
        for entry in list_entries(name, io.BytesIO(body)):
            assert 0 < len(entry.key.encode()) <= 1024


DATA = {"f": LISTS[4]}
MANIFESTS = [manifest_of(DATA), manifest_of(DATA, format_="Parquet"), manifest_of(DATA, creationTimestamp=1795741200)]


@fuzz
@given(damaged(MANIFESTS, TOKENS))
@example(MANIFESTS[0].replace(b"raw", b"\xff", 1))
@example(MANIFESTS[0].replace(b'"1795741200000"', b"9" * 5000))
@example(b"[" * 200_000)
@example(MANIFESTS[0].replace(b"arn:aws:", b"arn:aws:" * 500, 1))
@example(MANIFESTS[0].replace(b'"CSV"', b'"' + b"CSV" * 5000 + b'"'))
def test_the_manifest_of_an_inventory_is_read_or_refused(body: bytes) -> None:
    """And the message about it is short enough for a terminal."""
    try:
        found = read_manifest("m", body)
    except UsageError as error:
        assert len(error.message) < 2000  # noqa: PT017  either may come
    else:
        assert found.format in {"CSV", "PARQUET", "ORC"}


@fuzz
@given(st.sampled_from(["CSV", "Parquet", "ORC"]), damaged(LISTS[4:], TOKENS))
def test_the_files_of_an_inventory_are_read_or_refused(kind: str, body: bytes) -> None:
    """Whatever their manifest calls them."""
    manifest = read_manifest("m", manifest_of({"f": body}, format_=kind))
    with suppress(UsageError):
        for listed in inventory_objects("f", io.BytesIO(body), manifest):
            assert listed.key


# -- Models of one's own -----------------------------------------------------------------------------------------------

LABELS = [b'{"id2label":{"0":"robin","1":"wren"}}', b"tench, Tinca tinca\nAramus guarauna (Limpkin)\n\ngrass_green\n"]
PREPROCESS = [
    json.dumps(
        {
            "do_resize": True, "size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224, "resample": 3,
            "rescale_factor": 0.00392, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            "image_processor_type": "ConvNextImageProcessor", "do_normalize": True,
        }
    ).encode()
]  # fmt: skip


def read_file(read: Callable[[str], object], body: bytes, name: str) -> None:
    """Read a file with a content: the result, or the error of a model with a short message."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(body)
        try:
            read(str(path))
        except OwnModelError as error:
            assert len(error.message) < 2000  # noqa: PT017  either may come


@fuzz
@given(damaged(LABELS, TOKENS), st.sampled_from(["l.json", "l.txt"]))
@example(b'{"id2label":{"' + b"1" * 5000 + b'":"robin"}}', "l.json")
@example(b'{"id2label":{"0":"\xff"}}', "l.json")
def test_names_of_labels_are_read_or_refused(body: bytes, name: str) -> None:
    """As text, or as JSON."""
    read_file(read_label_file, body, name)


@fuzz
@given(damaged(PREPROCESS, TOKENS))
@example(b'{"rescale_factor":' + b"9" * 400 + b"}")
@example(b'{"size":' + b"9" * 400 + b"}")
@example(b'{"size":"\xff"}')
@example(b'{"size":' + b"[" * 700 + b"]" * 700 + b"}")
def test_the_settings_of_an_image_processor_are_read_or_refused(body: bytes) -> None:
    """And their cautions."""
    read_file(read_preprocess_file, body, "preprocessor_config.json")


MODELS = [colour_model(COLOURS), colour_model(COLOURS, location="w.bin")]


@fuzz
@given(damaged(MODELS, [b"\xff" * 9, b"\x0a\xff\xff\xff\xff\x0f", b"\x3a\x02", b"\x0a\x00", b"\x80" * 11]))
def test_a_model_is_scanned_or_refused(body: bytes) -> None:
    """In memory in proportion to it."""
    with bounded(2 * MIB), suppress(WireError):
        scan(body)


# -- Boxes in other formats --------------------------------------------------------------------------------------------

COCO = [
    json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 30, 40], "score": 0.5}],
            "categories": [{"id": 2, "name": "robin"}],
        }
    ).encode()
]
VOC = [
    (
        b"<annotation><filename>a.jpg</filename><size><width>100</width><height>80</height><depth>3</depth></size>"
        b"<object><name>robin</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
        b"</annotation>"
    )
]
YOLO = [b"0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.05 0.05\n"]
PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x64\0\0\0\x50\x08\2\0\0\0" + bytes(4)
CLASSES = [b"names: {0: robin, 1: wren}\n", b"names: [robin, wren]\n"]
BOX_TOKENS = [
    *TOKENS,
    b"<!ENTITY a 'b'>",
    b"&a;",
    b"<object>",
    b"<" * 2000,
    b"<a>" * 2000,
    b"&lol;",
    b"!!python/name:os",
]


@fuzz
@given(damaged(COCO, BOX_TOKENS))
def test_coco_is_read_or_refused(body: bytes) -> None:
    """Each annotation counts as a box or as a reject."""
    pytest.importorskip("globox", reason="globox is not installed")
    with suppress(UsageError):
        list(CocoReader(io.BytesIO(body), file="a.json", skipped=Counter(), rejects=Rejects()).images())


@fuzz
@given(damaged(VOC, BOX_TOKENS))
@example(b"<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><annotation>&b;</annotation>")
@example(b"<a>" * 100_000 + b"</a>" * 100_000)
def test_voc_is_read_or_refused(body: bytes) -> None:
    """A file that cannot be used is a reject."""
    pytest.importorskip("globox", reason="globox is not installed")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.xml").write_bytes(body)
        list(voc_images(Path(folder), Rejects()))


@fuzz
@given(damaged(YOLO, BOX_TOKENS), damaged(CLASSES, BOX_TOKENS, most_bytes=8192))
@example(YOLO[0], b"names: &a [x, x]\nb: &b [*a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b]\n")
@example(b"0 0.5 0.5 0.2 0.2\n" + b"9" * 5000 + b" 0.5 0.5 0.2 0.2\n", CLASSES[0])
def test_yolo_is_read_or_refused(lines: bytes, classes: bytes) -> None:
    """A line that cannot be used is a reject."""
    pytest.importorskip("globox", reason="globox is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "labels").mkdir()
        (folder / "labels" / "a.txt").write_bytes(lines)
        (folder / "data.yaml").write_bytes(classes)
        (folder / "a.png").write_bytes(PNG_HEAD)
        with suppress(UsageError):
            list(yolo_images(folder, ImageFolder(folder), Rejects()))


LAUGHS = b"".join(
    b"%c: &%c [%b]\n" % (97 + level, 97 + level, b",".join([b"*%c" % (96 + level) if level else b"x"] * 9))
    for level in range(9)
)
"""Lists of lists, of which the last one would be 400 million words long."""


@pytest.mark.parametrize("names", [b"names: [robin, *i]\n", b"names: {0: *i}\n", b"names: {0: {1: *i}}\n"])
def test_names_of_a_class_are_no_lists(names: bytes, tmp_path: Path) -> None:
    """The text of one may have no end."""
    pytest.importorskip("globox", reason="globox is not installed")
    (tmp_path / "data.yaml").write_bytes(LAUGHS + names)
    with bounded(8 * MIB), pytest.raises(UsageError, match="a name is a list"):
        read_labels(tmp_path)


@pytest.mark.parametrize("names", [b"[" * 1500, b"names: " + b"{a: " * 400, b"[" * 100_000])
def test_names_in_too_many_brackets_are_refused(names: bytes, tmp_path: Path) -> None:
    """PyYAML would take seconds until it gives up."""
    pytest.importorskip("globox", reason="globox is not installed")
    (tmp_path / "data.yaml").write_bytes(names)
    with pytest.raises(UsageError, match="no names"):
        read_labels(tmp_path)


DEVICE = Path("/dev/zero")
PLANTED: list[Callable[[Path], object]] = [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(DEVICE)]


@pytest.mark.parametrize("put", PLANTED, ids=["pipe", "folder", "device"])
@pytest.mark.parametrize("planted", ["labels/b.txt", "b.png", "classes.txt"])
def test_what_is_no_file_is_a_reject_of_yolo(planted: str, put: Callable[[Path], object], tmp_path: Path) -> None:
    """A pipe is not waited for, a device is not read: the rest of the folder is."""
    pytest.importorskip("globox", reason="globox is not installed")
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        (tmp_path / "labels" / f"{name}.txt").write_bytes(YOLO[0])
        (tmp_path / f"{name}.png").write_bytes(PNG_HEAD)
    (tmp_path / "classes.txt").write_text("robin\nwren\n")
    (tmp_path / planted).unlink()
    put(tmp_path / planted)
    rejects = Rejects()
    if planted == "classes.txt":
        with pytest.raises(UsageError, match="classes cannot be read"):
            list(yolo_images(tmp_path, ImageFolder(tmp_path), rejects))
        return
    assert [image.name for image in yolo_images(tmp_path, ImageFolder(tmp_path), rejects)] == ["a.png"]
    # ``os.walk`` names no folder as a file.
    assert rejects.total == (0 if planted.endswith(".txt") and put is Path.mkdir else 1)


@pytest.mark.parametrize("put", PLANTED, ids=["pipe", "folder", "device"])
def test_what_is_no_file_is_a_reject_of_voc(put: Callable[[Path], object], tmp_path: Path) -> None:
    """The same with XML."""
    pytest.importorskip("globox", reason="globox is not installed")
    (tmp_path / "a.xml").write_bytes(VOC[0])
    put(tmp_path / "b.xml")
    rejects = Rejects()
    assert [image.place for image in voc_images(tmp_path, rejects)] == ["a.xml"]
    assert rejects.total == (0 if put is Path.mkdir else 1)


# -- What Custom Labels writes and answers -----------------------------------------------------------------------------

SUMMARY = [
    b'{"statistics":{"train":{},"training":{"errors":[{"code":"A","message":"b"}]}},"errors":[{"code":"C"}]}',
    b'{"source-ref":"s3://a/b","x-metadata":{"cl-errors":[{"code":"A","message":"b"}]},"errors":["text",3,null]}',
]


@fuzz
@given(damaged(SUMMARY, TOKENS))
@example(b'{"errors":' + b"[" * 900 + b"]" * 900 + b"}")
@example(b'{"errors":[' + b"9" * 5000 + b"]}")
def test_the_report_of_a_training_is_always_read(body: bytes) -> None:
    """What cannot be read is left out."""
    for error in training_errors._of_summary(io.BytesIO(body)):
        assert isinstance(error.message, str)
    for error in training_errors._of_lines("train", io.BytesIO(body), 10):
        assert error.line
    found = source_ref_of(body)
    assert found is None or isinstance(found, str)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("9" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
ARN = "arn:aws:rekognition:us-east-1:123456789012:project/birds/version/v1/1"
PLACE = {"S3Object": {"Bucket": "b", "Name": "k"}}
ANSWERS: list[tuple[Callable[[Any], object], dict[str, Any]]] = [
    (project_of, {"ProjectArn": ARN, "Status": "CREATED", "Datasets": [{"DatasetArn": ARN, "DatasetType": "TRAIN"}]}),
    (lambda found: dataset_of(ARN, found), {"Status": "x", "DatasetStats": {"TotalEntries": 3}}),
    (label_of, {"LabelName": "a", "LabelStats": {"EntryCount": 3}}),
    (
        version_of,
        {
            "ProjectVersionArn": ARN, "Status": "x", "BillableTrainingTimeInSeconds": 3, "MinInferenceUnits": 1,
            "EvaluationResult": {"F1Score": 0.5, "Summary": PLACE}, "OutputConfig": {"S3Bucket": "b"},
            "TrainingDataResult": {"Input": {"Assets": [{"GroundTruthManifest": PLACE}]}}, "ManifestSummary": PLACE,
        },
    ),
]  # fmt: skip


@fuzz
@given(st.sampled_from(ANSWERS), st.data())
def test_a_description_is_read_or_cannot_be_decoded(
    answer: tuple[Callable[[Any], object], dict[str, Any]], data: st.DataObject
) -> None:
    """One value anywhere replaced or left out: what is raised is what counts as an answer that cannot be read."""
    read, whole = answer
    document = json.loads(json.dumps(whole))
    at: Any = document
    while True:
        step = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if isinstance(at[step], dict | list) and at[step] and data.draw(st.booleans()):
            at = at[step]
            continue
        if data.draw(st.booleans()):
            del at[step]
        else:
            at[step] = data.draw(VALUES)
        break
    with suppress(*UNREADABLE):
        read(document)
