"""``export --format parquet | imagefolder | webdataset``, read by the libraries that people train with."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import duckdb
import pandas as pd
import pytest
import webdataset
from PIL import Image, ImageOps

import asyncfilter
from asyncfilter.datasets.exports.pictures import PictureExport
from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.keys import HOSTILE_KEYS
from tests.kit.pictures import encoded as picture
from tests.kit.pictures import plain
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace, ended

ROBIN = {
    "Name": "Robin",
    "Confidence": 97.5,
    "Instances": [{"BoundingBox": {"Left": 0.25, "Top": 0.5, "Width": 0.5, "Height": 0.25}, "Confidence": 88.25}],
    "Parents": [{"Name": "Bird"}],
}
BIRD = {"Name": "Bird", "Confidence": 90}
CAR = {"Name": "Car", "Confidence": 99}

KEPT = {
    **{f"keys/{number:02d}-{key}": "jpg" for number, key in enumerate(HOSTILE_KEYS) if len(key.encode()) < 900},
    "same/Case.jpg": "jpg",
    "same/case.JPG": "jpg",
    "other/case.jpg": "jpg",
    "dots/a.b.c.jpg": "jpg",
    "train/test.jpg": "jpg",
    "turned.jpg": "jpg",
    "png-by-content.jpg": "png",
}
REJECTED = ("cars/1.jpg", "cars/2.jpg")
UNSURE = ("birds/1.jpg",)
TWINS = ("twins/1.jpg", "twins/2.jpg", "twins/3.jpg")
RULES = [{"keep": {"any": "Robin"}}, {"review": {"any": "Bird"}}]
SOURCE = {"uri": "s3://raw/", "include": ["*"]}


def content(key: str) -> bytes:
    """The picture of a key; each has a content of its own."""
    colour = f"#{hashlib.md5(key.encode()).hexdigest()[:6]}"
    if key == "broken.jpg":
        return b"no picture, so that its examination fails"
    if key != "turned.jpg":
        return plain("PNG" if KEPT.get(key) == "png" else "JPEG", colour=colour)
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(Image.new("RGB", (200, 100), colour), exif=exif)


def labels_of(key: str) -> list[dict[str, Any]]:
    """The answer for a key."""
    if key in REJECTED:
        return [CAR]
    return [BIRD] if key in UNSURE else [ROBIN, BIRD]


KEYS = [*KEPT, *REJECTED, *UNSURE, "broken.jpg"]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """Images whose answers are fixed."""
    answers = tmp_path_factory.mktemp("answers") / "answers.jsonl"
    lines = [{"key": hashlib.md5(content(key)).hexdigest(), "labels": labels_of(key)} for key in KEYS]
    lines += [{"key": key, "labels": labels_of(key)} for key in (*KEYS, *TWINS)]
    answers.write_text("".join(json.dumps(line) + "\n" for line in lines))
    buckets = (BucketSpec("raw"), BucketSpec("clean"), BucketSpec("empty"))
    with SandboxProcess(SandboxOptions(buckets=buckets, answers=str(answers))) as running:
        with boto_client(running, "s3") as s3:
            for key in KEYS:
                s3.put_object(Bucket="raw", Key=key, Body=content(key))
        yield running


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, sandbox: SandboxProcess) -> Workspace:
    """A run that is over; kept images were copied."""
    folder = tmp_path_factory.mktemp("run")
    workspace = Workspace(folder, sandbox, source=SOURCE, rules=RULES, actions={"keep": {"copy": "s3://clean/{key}"}})
    code, _, err = workspace.here("run", "job.yaml", "--json")
    assert code == 1, err
    return workspace


@pytest.fixture
def output(tmp_path: Path, finished: Workspace, sandbox: SandboxProcess) -> Path:
    """A place for an output."""
    sandbox.control("POST", "reset-stats")
    return tmp_path / "output"


@pytest.fixture(scope="module")
def status(finished: Workspace) -> dict[str, Any]:
    """What ``status --json`` counts."""
    return finished.json("status", "job.yaml")


def records_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of an image folder."""
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").split("\n")[:-1]]


# -- Parquet -----------------------------------------------------------------------------------------------------------


def test_parquet_has_the_counts_of_status(
    finished: Workspace, status: dict[str, Any], output: Path, sandbox: SandboxProcess
) -> None:
    """DuckDB, pandas and the data frame agree; AWS is not asked."""
    written = finished.json("export", "job.yaml", "--format", "parquet", "-o", str(output))
    with duckdb.connect() as db:
        by_verdict = dict(
            db.execute(f"SELECT verdict, count(DISTINCT key) FROM read_parquet('{output}') GROUP BY 1").fetchall()
        )
        failed = dict(
            db.execute(
                f"SELECT error, count(*) FROM read_parquet('{output}') WHERE error NOT NULL GROUP BY 1"
            ).fetchall()
        )
    assert by_verdict.pop(None) == sum(status["failed"].values())
    assert by_verdict == {name: status[name] for name in ("keep", "review", "reject")}
    assert failed == status["failed"]
    frame = pd.read_parquet(output)
    assert frame.groupby("verdict")["key"].nunique().to_dict() == by_verdict
    assert written == {"images": len(KEYS), "rows": len(frame), "output": str(output), "format": "parquet"}
    ours = asyncfilter.labels_frame(asyncfilter.load_job(finished.job))
    assert ours.equals(pd.read_parquet(output, dtype_backend="pyarrow"))
    assert set(frame["key"]) == set(KEYS)
    assert sandbox.stats().operations == {}


def test_the_frame_can_be_smaller(finished: Workspace, status: dict[str, Any]) -> None:
    """Columns and verdicts are chosen; an unknown column is an error."""
    job = asyncfilter.load_job(finished.job)
    frame = asyncfilter.labels_frame(job, verdicts=[asyncfilter.Verdict.KEEP], columns=["label", "key"])
    assert list(frame.columns) == ["label", "key"]
    assert frame["key"].nunique() == status["keep"]
    assert set(frame["label"]) == {"Robin", "Bird"}
    with pytest.raises(asyncfilter.UsageError, match="no column 'labels'"):
        asyncfilter.labels_frame(job, columns=["labels"])


def test_parquet_into_a_pipe(finished: Workspace, output: Path) -> None:
    """The footer comes last, so that a stream will do; a terminal will not."""
    with output.open("wb") as out:
        process = finished.start("export", "job.yaml", "--format", "parquet", output=out.fileno())
        assert process.wait(60) == 0
    assert len(pd.read_parquet(output)) > len(KEYS)
    terminal = finished.terminal("export", "job.yaml", "--format", "parquet")
    assert terminal.end() == 2
    assert "stdout is a terminal" in " ".join(terminal.lines)


# -- Pictures ----------------------------------------------------------------------------------------------------------


def test_an_image_folder_is_read_by_datasets(
    finished: Workspace, status: dict[str, Any], output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``load_dataset`` finds every picture that was kept, with its metadata, the bytes those of the source."""
    written = finished.json("export", "job.yaml", "--format", "imagefolder", "-o", str(output))
    assert written["images"] == status["keep"] == len(KEPT)
    assert written["skipped"] == {"failed": 1, "verdict": status["reject"] + status["review"]}
    assert written["failed"] == {}
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    found = datasets.load_dataset("imagefolder", data_dir=str(output), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"]
    rows = {row["key"]: row for row in found["train"]}
    assert set(rows) == set(KEPT)
    for line in records_of(output):
        assert (output / line["file_name"]).read_bytes() == content(line["key"])
        row = rows[line["key"]]
        assert row["image"].size == (row["width"], row["height"])
    turned = rows["turned.jpg"]
    assert (turned["width"], turned["height"]) == (100, 200)
    assert turned["objects"] == {"bbox": [[25, 100, 50, 50]], "categories": ["Robin"], "confidence_pct": [88.25]}
    assert (turned["labels"], turned["confidences_pct"]) == (["Robin", "Bird"], [97.5, 90.0])
    assert (turned["verdict"], turned["label"], turned["uri"]) == ("keep", "Robin", "s3://raw/turned.jpg")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset closes no file that it read
def test_tars_are_read_by_webdataset(finished: Workspace, status: dict[str, Any], output: Path) -> None:
    """Every sample is whole, whatever its key is, and has its own picture."""
    written = finished.json("export", "job.yaml", "--format", "webdataset", "-o", str(output))
    assert (written["images"], written["shards"]) == (status["keep"], 1)
    shards = sorted(map(str, output.iterdir()))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert len(samples) == status["keep"]
    for sample in samples:
        record = json.loads(sample["json"])
        assert sample[KEPT[record["key"]]] == content(record["key"])
        assert record["objects"]["categories"] == ["Robin"]
    decoded = webdataset.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg;png", "json")
    assert {record["key"] for image, record in decoded if image.size == (200, 100)} == set(KEPT)


def test_shards_are_divided_by_size(finished: Workspace, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample is divided or lost, and the same command gives the same bytes."""
    monkeypatch.setattr("asyncfilter.cli.export.MEGABYTE", 1000)
    command = ("export", "job.yaml", "--format", "webdataset", "--shard-mb", "5", "--yes", "-o", str(output))
    written = finished.json(*command)
    shards = sorted(output.iterdir())
    assert [path.name for path in shards] == [f"images-{number:06d}.tar" for number in range(written["shards"])]
    assert len(shards) > 2
    names: list[str] = []
    for shard in shards:
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
        assert sum(one.size for one in members if not one.name.endswith(".json")) <= 5000
        names += [one.name for one in members]
    assert len(names) == len(set(names)) == 2 * len(KEPT)
    assert all(name.isascii() and "/" not in name and name.count(".") == 1 for name in names)
    before = [path.read_bytes() for path in shards]
    finished.json(*command)
    assert [path.read_bytes() for path in sorted(output.iterdir())] == before


@pytest.mark.parametrize("format_", ["imagefolder", "webdataset"])
def test_other_verdicts(finished: Workspace, status: dict[str, Any], output: Path, format_: str) -> None:
    """``--verdict`` chooses, as in the other formats."""
    chosen = ("--verdict", "review", "--verdict", "reject")
    written = finished.json("export", "job.yaml", "--format", format_, *chosen, "-o", str(output))
    assert written["images"] == status["review"] + status["reject"]
    assert written["skipped"] == {"failed": 1, "verdict": status["keep"]}


def test_boxes_sit_right_in_turned_pictures(finished: Workspace, output: Path) -> None:
    """The box is in pixels of the picture as people see it."""
    finished.json("export", "job.yaml", "--format", "imagefolder", "-o", str(output))
    (turned,) = [line for line in records_of(output) if line["key"] == "turned.jpg"]
    with Image.open(output / turned["file_name"]) as opened:
        upright = ImageOps.exif_transpose(opened)
    left, top, width, height = turned["objects"]["bbox"][0]
    assert (left / upright.width, top / upright.height) == (0.25, 0.5)
    assert (width / upright.width, height / upright.height) == (0.5, 0.25)


# -- Guards ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["imagefolder", "webdataset"])
def test_an_existing_folder_is_a_question(finished: Workspace, output: Path, format_: str) -> None:
    """Without a terminal the answer is no; a folder with other files is never replaced."""
    command = ("export", "job.yaml", "--format", format_, "-o", str(output))
    finished.json(*command)
    before = sorted(output.rglob("*"))
    code, _, err = finished.here(*command)
    assert (code, "Add --yes" in err) == (130, True)
    assert sorted(output.rglob("*")) == before
    finished.json(*command, "--yes")
    assert sorted(output.rglob("*")) == before
    (output / "mine.txt").write_text("a")
    code, _, err = finished.here(*command, "--yes")
    assert (code, "other files, such as mine.txt" in err) == (2, True)
    assert (output / "mine.txt").exists()


def test_an_existing_parquet_file_is_a_question(finished: Workspace, output: Path) -> None:
    """As with the other files of ``export``."""
    output.write_bytes(b"mine")
    code, _, err = finished.here("export", "job.yaml", "--format", "parquet", "-o", str(output))
    assert (code, "Add --yes" in err) == (130, True)
    assert output.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "imagefolder"), "writes a folder, not stdout"),
        (("--format", "webdataset"), "writes a folder, not stdout"),
        (("--format", "parquet", "--duplicates"), "--duplicates has no form in parquet"),
        (("--format", "webdataset", "--near-duplicates", "-o", "x"), "--near-duplicates has no form in webdataset"),
        (("--format", "imagefolder", "--failed", "-o", "x"), "pictures are chosen by --verdict"),
        (("--format", "webdataset", "--stale", "-o", "x"), "pictures are chosen by --verdict"),
        (("--format", "parquet", "--shard-mb", "5", "-o", "x"), "--shard-mb is for WebDataset alone"),
        (("--format", "parquet", "--spreadsheet", "-o", "x"), "--spreadsheet is for CSV alone"),
        (("--format", "parquet", "-o", "none/x"), "No such file or directory"),
        (("--format", "imagefolder", "-o", "none/x"), "No such file or directory"),
        (("--format", "parquet", "--json"), "both write to stdout"),
    ],
)
def test_what_cannot_be_meant(finished: Workspace, options: tuple[str, ...], message: str) -> None:
    """Exit code 2, before anything is written."""
    code, _, err = finished.here("export", "job.yaml", *options)
    assert (code, message in err) == (2, True), err
    assert not (finished.folder / "x").exists()


@pytest.mark.parametrize(
    ("format_", "library", "extra"), [("parquet", "pyarrow", "parquet"), ("webdataset", "webdataset", "datasets")]
)
def test_a_missing_extra(
    finished: Workspace, output: Path, monkeypatch: pytest.MonkeyPatch, format_: str, library: str, extra: str
) -> None:
    """Exit code 2 with the command that installs it."""
    monkeypatch.setitem(sys.modules, library, None)
    code, _, err = finished.here("export", "job.yaml", "--format", format_, "-o", str(output))
    assert (code, f"pip install 'asyncfilter[{extra}]'" in err) == (2, True), err
    assert not output.exists()


@pytest.mark.parametrize("format_", ["imagefolder", "webdataset"])
def test_a_full_disk(finished: Workspace, output: Path, monkeypatch: pytest.MonkeyPatch, format_: str) -> None:
    """Exit code 74, and nothing is left."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(PictureExport, "add", full)
    code, _, err = finished.here("export", "job.yaml", "--format", format_, "-o", str(output))
    assert (code, "No space left on device; it was left as it was" in err) == (74, True), err
    assert list(output.parent.iterdir()) == []


def test_a_full_disk_for_parquet(finished: Workspace, output: Path) -> None:
    """Likewise."""
    command = shlex.join(finished.command("export", "job.yaml", "--format", "parquet", "-o", str(output)))
    shell = ["sh", "-c", f"ulimit -f 1; exec {command}"]
    done = subprocess.run(shell, cwd=finished.folder, env=finished.env, capture_output=True, text=True, check=False)
    assert (done.returncode, "File too large; it was left as it was" in done.stderr) == (74, True), done.stderr
    assert list(output.parent.iterdir()) == []


def test_skipped_duplicates_are_not_kept(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """They count under no verdict, as in ``status``; their labels are rows all the same."""
    with boto_client(sandbox, "s3") as s3:
        for key in TWINS:
            s3.put_object(Bucket="empty", Key=key, Body=content("dots/a.b.c.jpg"))
    source = {"uri": "s3://empty/twins/", "duplicates": "skip"}
    workspace = Workspace(tmp_path, sandbox, source=source, rules=RULES)
    assert workspace.json("run", "job.yaml")["keep"] == 1
    assert workspace.json("status", "job.yaml")["skipped"] == {"duplicate": 2}
    for format_ in ("imagefolder", "webdataset"):
        written = workspace.json("export", "job.yaml", "--format", format_, "-o", str(tmp_path / format_))
        assert (written["images"], written["skipped"]) == (1, {"duplicate": 2})
    frame = asyncfilter.labels_frame(asyncfilter.load_job(workspace.job))
    assert frame.groupby("verdict")["key"].nunique().to_dict() == {"keep": 1}
    assert frame["key"].nunique() == 3
    assert set(frame[frame["verdict"].isna()]["label"]) == {"Robin", "Bird"}
    kept = workspace("export", "job.yaml", "--verdict", "keep").stdout.splitlines()
    assert [json.loads(line)["key"] for line in kept] == ["twins/1.jpg"]


def test_no_checkpoint_and_no_image(tmp_path: Path, sandbox: SandboxProcess, finished: Workspace, output: Path) -> None:
    """Nothing is written."""
    fresh = Workspace(tmp_path, sandbox, source=SOURCE, rules=RULES)
    for format_ in ("parquet", "imagefolder", "webdataset"):
        code, _, err = fresh.here("export", "job.yaml", "--format", format_, "-o", str(output))
        assert (code, "there is no checkpoint" in err) == (3, True), err
        assert not output.exists()
    with boto_client(sandbox, "s3") as s3:
        s3.put_object(Bucket="empty", Key="cars/1.jpg", Body=content("cars/1.jpg"))
    cars = Workspace(tmp_path, sandbox, source="s3://empty/cars/", rules=RULES)
    assert cars.json("run", "job.yaml")["reject"] == 1
    for format_ in ("imagefolder", "webdataset"):
        code, _, err = cars.here("export", "job.yaml", "--format", format_, "-o", str(output), "--json")
        assert (code, "NO_IMAGES: no image of the job counts under keep" in err) == (1, True), err
        assert not output.exists()


# -- Sources and copies ------------------------------------------------------------------------------------------------


def test_replaced_and_removed_images_are_read_from_their_copies(
    finished: Workspace, sandbox: SandboxProcess, output: Path
) -> None:
    """The picture that was examined is exported, or none: exit code 1 with the reason."""
    with boto_client(sandbox, "s3") as s3:
        s3.delete_object(Bucket="raw", Key="same/Case.jpg")
        s3.put_object(Bucket="raw", Key="turned.jpg", Body=plain(width=300, height=300))
        s3.put_object(Bucket="raw", Key="other/case.jpg", Body=plain(width=300, height=300))
        s3.delete_object(Bucket="clean", Key="other/case.jpg")
    try:
        code, out, err = finished.here("export", "job.yaml", "--format", "imagefolder", "-o", str(output), "--json")
    finally:
        with boto_client(sandbox, "s3") as s3:
            for key in ("same/Case.jpg", "turned.jpg", "other/case.jpg"):
                for bucket in ("raw", "clean"):
                    s3.put_object(Bucket=bucket, Key=key, Body=content(key))
    assert code == 1
    assert json.loads(out)["failed"] == {"changed": 1}
    assert "failed: changed: s3://raw/other/case.jpg: " in err
    lines = {line["key"]: line for line in records_of(output)}
    assert set(lines) == set(KEPT) - {"other/case.jpg"}
    for key in ("same/Case.jpg", "turned.jpg"):
        assert (output / lines[key]["file_name"]).read_bytes() == content(key)


def test_no_image_can_be_read(finished: Workspace, sandbox: SandboxProcess, output: Path) -> None:
    """Access that is denied ends the command, and nothing is written."""
    sandbox.control("POST", "faults", {"faults": ["denied:GetObject=100%"]})
    try:
        code, _, err = finished.here("export", "job.yaml", "--format", "webdataset", "-o", str(output))
    finally:
        sandbox.control("POST", "faults", {"faults": []})
    assert code == 4, err
    assert list(output.parent.iterdir()) == []


def test_throttles_and_resets_are_repeated(finished: Workspace, sandbox: SandboxProcess, output: Path) -> None:
    """An image that the store refuses for a moment is there."""
    sandbox.control("POST", "faults", {"faults": ["slowdown:GetObject=20%", "reset:GetObject=20%"]})
    try:
        written = finished.json("export", "job.yaml", "--format", "webdataset", "-o", str(output))
    finally:
        sandbox.control("POST", "faults", {"faults": []})
    assert written["images"] == len(KEPT)


def test_a_signal_leaves_nothing(finished: Workspace, sandbox: SandboxProcess, output: Path) -> None:
    """Exit code 75, and no part of the folder."""
    sandbox.control("POST", "faults", {"faults": ["timeout:GetObject=100%"]})
    try:
        process = finished.start("export", "job.yaml", "--format", "imagefolder", "-o", str(output))
        while not list(output.parent.iterdir()):
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        assert ended(process)[0] == 75
    finally:
        sandbox.control("POST", "faults", {"faults": []})
    assert list(output.parent.iterdir()) == []


def test_a_folder_as_source(tmp_path: Path, sandbox: SandboxProcess, output: Path) -> None:
    """Files are read where they are, moved ones where they were moved to; the formats are the same."""
    source = tmp_path / "photos"
    for key in ("dots/a.b.c.jpg", "png-by-content.jpg", "turned.jpg", "cars/1.jpg"):
        path = source / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(key))
    workspace = Workspace(
        tmp_path, sandbox, source="./photos", rules=RULES, actions={"keep": {"move": "./kept/{relative}"}}
    )
    code, _, err = workspace.here("run", "job.yaml", "--json")
    assert code == 0, err
    first = workspace.json("export", "job.yaml", "--format", "webdataset", "-o", str(output))
    kept = workspace.json("status", "job.yaml")["keep"]
    assert first["images"] == kept == 3
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    code, _, err = workspace.here("apply", "job.yaml", "--yes", "--expect", str(kept), "--max-share", "1")
    assert code == 0, err
    workspace.json("export", "job.yaml", "--format", "webdataset", "-o", str(output), "--yes")
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_deleted_images_are_skipped(tmp_path: Path, sandbox: SandboxProcess) -> None:
    """They are no failures: the job deleted them."""
    source = tmp_path / "photos"
    for key in ("cars/1.jpg", "cars/2.jpg", "turned.jpg"):
        (source / key).parent.mkdir(parents=True, exist_ok=True)
        (source / key).write_bytes(content(key))
    workspace = Workspace(tmp_path, sandbox, source="./photos", rules=RULES, actions={"reject": "delete"})
    assert workspace.json("run", "job.yaml")["reject"] == 2
    code, _, err = workspace.here("apply", "job.yaml", "--yes", "--expect", "2", "--max-share", "1")
    assert code == 0, err
    verdicts = ("--verdict", "reject", "--verdict", "keep")
    command = ("export", "job.yaml", "--format", "webdataset", *verdicts, "-o", str(tmp_path / "out"))
    written = workspace.json(*command)
    assert (written["images"], written["skipped"], written["failed"]) == (1, {"removed": 2}, {})


def test_a_list_as_source(tmp_path: Path, sandbox: SandboxProcess, output: Path) -> None:
    """The bucket is that of the addresses in the list."""
    keys = ("dots/a.b.c.jpg", "turned.jpg", "cars/1.jpg")
    (tmp_path / "keys.csv").write_text("uri\n" + "".join(f"s3://raw/{key}\n" for key in keys))
    workspace = Workspace(tmp_path, sandbox, source={"list": "./keys.csv"}, rules=RULES)
    assert workspace.json("run", "job.yaml")["keep"] == 2
    frame = asyncfilter.labels_frame(asyncfilter.load_job(workspace.job))
    assert set(frame["uri"]) == {f"s3://raw/{key}" for key in keys}
    written = workspace.json("export", "job.yaml", "--format", "imagefolder", "-o", str(output))
    assert written["images"] == 2
    assert {line["uri"] for line in records_of(output)} == {"s3://raw/dots/a.b.c.jpg", "s3://raw/turned.jpg"}
