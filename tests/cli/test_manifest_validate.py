"""``manifest validate`` and ``manifest stats``: local files, files and images in S3, repairs, and every exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.manifests import D, box, box_line, encoded, image_line, ref, size
from tests.kit.pictures import encoded as picture
from tests.kit.pictures import plain
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace, wait_until

BUCKET = "pictures"
REAL = Path(__file__).parents[3] / "shared/data/manifests/real"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """Two buckets, one of which may not be read."""
    options = SandboxOptions(buckets=(BucketSpec(BUCKET), BucketSpec("secret")), denied=("secret/*",))
    with SandboxProcess(options) as running:
        yield running


@pytest.fixture(scope="module")
def s3(sandbox: SandboxProcess) -> Iterator[Any]:
    """An independent client."""
    with boto_client(sandbox, "s3") as client:
        yield client


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    sandbox.control("POST", "faults", {"faults": []})
    return Workspace(tmp_path, sandbox)


def write(workspace: Workspace, *documents: object, name: str = "a.manifest") -> Path:
    """A manifest in the folder."""
    path = workspace.folder / name
    lines = [document if isinstance(document, bytes) else encoded(document) for document in documents]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def good(number: int = 20) -> list[D]:
    """Lines of which nothing is wrong."""
    return [image_line("Robin" if index % 2 else "Wren") for index in range(number)]


# -- Local files -------------------------------------------------------------------------------------------------------


def test_a_good_file(workspace: Workspace) -> None:
    """Exit 0, no finding, and a summary for people."""
    write(workspace, *good())
    code, out, err = workspace.here("manifest", "validate", "a.manifest")
    assert (code, err) == (0, "")
    assert out.startswith("a.manifest: 20 lines: 20 valid, 0 invalid, 0 ignored\n")
    assert workspace.json("manifest", "validate", "a.manifest")["ok"] is True


def test_findings_are_lines(workspace: Workspace) -> None:
    """``FILE:LINE: SEVERITY CODE: message``, however long; what does not print is escaped. Exit 1."""
    write(
        workspace, *good(), b'{"source-ref":"s3://pictures/\\u001b[31m' + b"x" * 200 + b'"', {"source-ref": "\x1b[31m"}
    )
    done = workspace("manifest", "validate", "a.manifest")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("a.manifest:21: error ERROR_INVALID_JSON_LINE: the line is not JSON")
    assert lines[1].startswith("a.manifest:22: error ERROR_INVALID_SOURCE_REF_FORMAT: source-ref is the string")
    assert "\x1b" not in done.stdout


def test_the_summary_has_the_severity_of_the_findings(workspace: Workspace) -> None:
    """A name without an extension is a warning, though the code is one of an error, too; the hint is its own."""
    write(workspace, *good(), name="a")
    done = workspace("manifest", "validate", "a")
    assert done.returncode == 0
    assert "1 warning ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT: End the name in .manifest." in done.stdout


def test_json_has_every_field(workspace: Workspace) -> None:
    """Findings are objects with all of their fields."""
    write(workspace, *good(), b"{")
    code, out, _ = workspace.here("manifest", "validate", "a.manifest", "--json")
    found = json.loads(out)
    assert code == 1
    assert list(found) == [
        *("file", "bytes", "lines", "valid_lines", "invalid_lines", "ignored_lines", "dropped_lines", "blank_lines"),
        *("invalid_share", "use_case", "images", "labels", "boxes", "buckets", "counts", "findings", "findings_total"),
        *("truncated", "would_import", "would_train", "ok"),
    ]
    (finding,) = found["findings"]
    assert list(finding) == [*("line", "code", "severity", "effect", "scope", "attribute", "index", "message", "hint")]
    assert (finding["line"], finding["severity"], finding["effect"], finding["scope"]) == (
        21,
        "error",
        "dropped",
        "line",
    )


def test_strict(workspace: Workspace) -> None:
    """Warnings count as errors only then."""
    write(workspace, *good(4))
    assert workspace.here("manifest", "validate", "a.manifest")[0] == 0
    assert workspace.here("manifest", "validate", "a.manifest", "--strict")[0] == 1


def test_findings_are_cut_and_written(workspace: Workspace) -> None:
    """``--max-findings`` cuts what is shown; ``--findings`` has all of them, and replaces nothing unasked."""
    write(workspace, *good(), b"{", b"{", b"{")
    code, out, _ = workspace.here("manifest", "validate", "a.manifest", "--max-findings", "2", "--findings", "f.jsonl")
    assert code == 1
    assert "... and 1 more" in out
    lines = [json.loads(line) for line in (workspace.folder / "f.jsonl").read_text().splitlines()]
    assert [line["line"] for line in lines] == [21, 22, 23]
    code, _, err = workspace.here("manifest", "validate", "a.manifest", "--findings", "f.jsonl")
    assert code == 130
    assert "--yes" in err
    assert workspace.here("manifest", "validate", "a.manifest", "--findings", "f.jsonl", "--yes")[0] == 1


@pytest.mark.parametrize("name", ["none.manifest", "folder"])
def test_a_file_that_cannot_be_read(workspace: Workspace, name: str) -> None:
    """Exit 2, with the reason."""
    (workspace.folder / "folder").mkdir()
    code, out, err = workspace.here("manifest", "validate", name)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {name}: ")


def test_a_pipe(workspace: Workspace) -> None:
    """What cannot be read twice is held in a file without a name."""
    body = write(workspace, *good(), b"{").read_bytes()
    done = subprocess.run(
        workspace.command("manifest", "validate", "/dev/stdin", "--fix", "out.manifest", "--json"),
        cwd=workspace.folder,
        env=workspace.env,
        input=body,
        capture_output=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)
    assert (done.returncode, found["lines"], found["bytes"]) == (1, 21, len(body))
    assert (workspace.folder / "out.manifest").read_bytes() == body[:-2]


def test_a_file_that_is_too_large(workspace: Workspace) -> None:
    """Its size tells it; it is not read."""
    with (workspace.folder / "a.manifest").open("wb") as file:
        file.truncate(1024**3 + 1)
    code, out, _ = workspace.here("manifest", "validate", "a.manifest", "--json")
    found = json.loads(out)
    assert (code, found["lines"], found["counts"]) == (1, 0, {"ERROR_MANIFEST_SIZE_TOO_LARGE": 1})


def test_against_a_file_without_labels(workspace: Workspace) -> None:
    """Such a file would agree with every test: exit code 2, not a result."""
    (workspace.folder / "test.manifest").write_bytes(encoded(image_line("Robin")) + b"\n")
    for content in (b"", b"no manifest\n", b"\xff\x00\xfe"):
        (workspace.folder / "train.manifest").write_bytes(content)
        code, out, err = workspace.here("manifest", "validate", "test.manifest", "--against", "train.manifest")
        assert (code, out, "no labelled image in it" in err) == (2, "", True), err


def test_against(workspace: Workspace) -> None:
    """A test manifest is checked beside its training manifest."""
    shared = image_line("Robin")
    write(workspace, *good(), shared, name="train.manifest")
    write(workspace, *[image_line("Robin") for _ in range(9)], shared, image_line("Wren"), name="test.manifest")
    code, out, _ = workspace.here("manifest", "validate", "test.manifest", "--against", "train.manifest", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["counts"] == {"FEW_IMAGES": 1, "SHARED_IMAGES": 1}
    write(workspace, *[image_line("Crow") for _ in range(10)], image_line("Jay"), name="other.manifest")
    code, out, _ = workspace.here("manifest", "validate", "other.manifest", "--against", "train.manifest", "--json")
    assert code == 1
    assert "ERROR_INSUFFICIENT_LABEL_OVERLAP" in json.loads(out)["counts"]


# -- Repairs -----------------------------------------------------------------------------------------------------------


def test_fix(workspace: Workspace) -> None:
    """What can be saved is in OUT, the rest beside it; the counts add up, and a second repair changes nothing."""
    saved = image_line(label0="0")
    lines = [*good(), saved, b"{", b""]
    write(workspace, *lines)
    code, out, _ = workspace.here(
        *("manifest", "validate", "a.manifest", "--fix", "out.manifest", "--creation-date", "2026-11-27", "--json")
    )
    found = json.loads(out)
    assert code == 1
    assert (found["kept"], found["repaired"], found["rejected"]) == (20, 1, 2)
    assert (found["fixed_file"], found["rejected_file"]) == ("out.manifest", "out.manifest-rejected.jsonl")
    assert (workspace.folder / "out.manifest-rejected.jsonl").read_bytes() == b"{\n\n"
    fixed = (workspace.folder / "out.manifest").read_bytes()
    assert fixed.splitlines()[-1] == encoded(saved | {"label0": 0})
    again = workspace.json("manifest", "validate", "out.manifest", "--fix", "again.manifest")
    assert (again["kept"], again["repaired"], again["rejected"], again["rejected_file"]) == (21, 0, 0, None)
    assert (workspace.folder / "again.manifest").read_bytes() == fixed
    assert not (workspace.folder / "again.manifest-rejected.jsonl").exists()
    assert again["ok"] is True


def test_fix_asks_before_it_replaces(workspace: Workspace) -> None:
    """Without a terminal and --yes: exit 130, and nothing is touched. With it, a former rejected file is emptied."""
    write(workspace, *good())
    out, rejected = workspace.folder / "out.manifest", workspace.folder / "out.manifest-rejected.jsonl"
    out.write_text("mine")
    rejected.write_text("mine, too")
    code, _, err = workspace.here("manifest", "validate", "a.manifest", "--fix", "out.manifest")
    assert code == 130
    assert "out.manifest, out.manifest-rejected.jsonl exist" in err
    assert (out.read_text(), rejected.read_text()) == ("mine", "mine, too")
    assert workspace.here("manifest", "validate", "a.manifest", "--fix", "out.manifest", "--yes")[0] == 0
    assert out.read_bytes() == (workspace.folder / "a.manifest").read_bytes()
    assert rejected.read_bytes() == b""


@pytest.mark.parametrize(
    "options",
    [
        ("--fix", "-"),
        ("--findings", "-"),
        ("--fix", "out", "--findings", "./out"),
        ("--fix", "out", "--findings", "out-rejected.jsonl"),
    ],
)
def test_files_that_cannot_be_meant(workspace: Workspace, options: tuple[str, ...]) -> None:
    """Stdout is no file of a repair, and no file replaces another one of the same command."""
    write(workspace, *good(), b"{")
    before = set(workspace.folder.iterdir())
    assert workspace.here("manifest", "validate", "a.manifest", *options, "--yes")[0] == 2
    assert set(workspace.folder.iterdir()) == before


def test_nothing_to_save(workspace: Workspace) -> None:
    """OUT is not made."""
    write(workspace, b"{", b"")
    code, out, _ = workspace.here("manifest", "validate", "a.manifest", "--fix", "out.manifest", "--json")
    found = json.loads(out)
    assert (code, found["fixed_file"], found["rejected"]) == (1, None, 2)
    assert not (workspace.folder / "out.manifest").exists()


def test_fix_in_place(workspace: Workspace) -> None:
    """OUT may be FILE: it is replaced once all of it is read."""
    path = write(workspace, *good(), b"{")
    body = path.read_bytes()
    assert workspace.here("manifest", "validate", "a.manifest", "--fix", "a.manifest", "--yes")[0] == 1
    assert path.read_bytes() == body[:-2]


def test_a_full_disk_leaves_things_as_they_were(workspace: Workspace) -> None:
    """Exit 74, and no part of a file is left."""
    write(workspace, *good(3000))
    (workspace.folder / "out.manifest").write_text("mine")
    command = " ".join(workspace.command("manifest", "validate", "a.manifest", "--fix", "out.manifest", "--yes"))
    done = subprocess.run(
        ["/bin/bash", "-c", f"ulimit -f 100; trap '' XFSZ; {command}"],
        cwd=workspace.folder,
        env=workspace.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 74, done.stderr
    assert (workspace.folder / "out.manifest").read_text() == "mine"
    assert not list(workspace.folder.glob(".asyncfilter*"))


# -- Manifests in S3 ---------------------------------------------------------------------------------------------------


def test_a_manifest_in_s3(workspace: Workspace, s3: Any) -> None:
    """It is read like a local one, in parts where it is large."""
    body = write(workspace, *good(), b"{" + b" " * 20_000_000).read_bytes()
    s3.put_object(Bucket=BUCKET, Key="m/train.manifest", Body=body)
    code, out, _ = workspace.here("manifest", "validate", "s3://pictures/m/train.manifest", "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["file"], found["bytes"], found["lines"]) == ("s3://pictures/m/train.manifest", len(body), 21)
    assert workspace.json("manifest", "stats", "s3://pictures/m/train.manifest")["images"] == 20


@pytest.mark.parametrize("uri", ["s3://pictures/none.manifest", "s3://no-such-bucket/a.manifest", "s3://pictures/"])
def test_a_manifest_that_is_not_there(workspace: Workspace, uri: str) -> None:
    """The service's own code, exit 1; other commands exit with 2."""
    code, out, _ = workspace.here("manifest", "validate", uri, "--json")
    found = json.loads(out)
    assert (code, found["counts"]) == (1, {"ERROR_MANIFEST_INACCESSIBLE_OR_UNSUPPORTED_FORMAT": 1})
    assert (found["ok"], found["would_import"]) == (False, False)
    assert workspace.here("manifest", "stats", uri)[0] == 2


def test_a_manifest_that_may_not_be_read(workspace: Workspace, s3: Any) -> None:
    """The service's own code, exit 4."""
    s3.put_object(Bucket="secret", Key="a.manifest", Body=b"x")
    code, out, _ = workspace.here("manifest", "validate", "s3://secret/a.manifest", "--json")
    found = json.loads(out)
    assert (code, found["counts"]) == (4, {"ERROR_INVALID_PERMISSIONS_MANIFEST_S3_BUCKET": 1})


# -- Images ------------------------------------------------------------------------------------------------------------


def turned(width: int, height: int) -> bytes:
    """A JPEG that is stored lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture(Image.new("RGB", (width, height)), exif=exif)


class Sample(NamedTuple):
    """A line, its image, and the codes that only a look at the image finds."""

    line: D
    body: bytes | None
    codes: list[str]


NONE = "ERROR_NO_VALID_LABEL_ATTRIBUTES"
INVALID = "ERROR_INVALID_IMAGE"
SAMPLES = [
    Sample(image_line(), plain(), []),
    Sample(image_line(), plain("PNG", 64, 64), []),
    Sample(image_line(), None, [INVALID]),
    Sample(image_line(), b"", [INVALID]),
    Sample(image_line(), b"<Error>", [INVALID]),
    Sample(image_line(), plain("GIF"), [INVALID]),
    Sample(image_line(), plain()[:100], [INVALID]),
    Sample(image_line(), plain() + b" " * (15 * 1024 * 1024), [INVALID]),
    Sample(image_line(), plain(width=63, height=100), [INVALID]),
    Sample(image_line(), plain(width=4097, height=300), [INVALID]),
    Sample(image_line(), plain(width=2000, height=90), [INVALID]),
    Sample(box_line(), plain(width=640, height=480), []),
    Sample(box_line(box(0, 0, 9, 9), image_size=size(200, 100)), turned(100, 200), []),
    Sample(box_line(box(0, 0, 9, 9), image_size=size(100, 200)), turned(100, 200), [NONE, "IMAGE_SIZE_MISMATCH"]),
    Sample(box_line(), plain(width=60, height=480), [NONE, "ERROR_INVALID_IMAGE_DIMENSION", "IMAGE_SIZE_MISMATCH"]),
    Sample(box_line(**image_line()), plain(width=600, height=480), ["IMAGE_SIZE_MISMATCH"]),
]


def put(s3: Any, samples: list[Sample]) -> None:
    """Make the images."""
    for sample in samples:
        key = sample.line["source-ref"].removeprefix(f"s3://{BUCKET}/")
        if sample.body is None:
            s3.delete_object(Bucket=BUCKET, Key=key)
        else:
            s3.put_object(Bucket=BUCKET, Key=key, Body=sample.body)


def codes_of(found: D) -> dict[int, list[str]]:
    """Codes by line, without those of the file."""
    codes: dict[int, list[str]] = {}
    for finding in found["findings"]:
        if finding["line"] is not None:
            codes.setdefault(finding["line"], []).append(finding["code"])
    return codes


def requests(workspace: Workspace) -> dict[str, int]:
    """Requests for heads and bytes since the last reset."""
    operations = workspace.sandbox.stats().operations
    return {name: operations[name].attempts if name in operations else 0 for name in ("HeadObject", "GetObject")}


def check_images(workspace: Workspace, *options: str) -> D:
    """``manifest validate --check-images``."""
    code, out, err = workspace.here("manifest", "validate", "a.manifest", "--check-images", "--json", *options)
    assert code == 1, err
    found: D = json.loads(out)
    return found


def test_images_are_looked_at(workspace: Workspace, s3: Any) -> None:
    """Each way in which an image can be refused; only then a request is made."""
    put(s3, SAMPLES)
    write(workspace, *(sample.line for sample in SAMPLES))
    workspace.sandbox.control("POST", "reset-stats")
    code, out, _ = workspace.here("manifest", "validate", "a.manifest", "--json")
    assert (code, codes_of(json.loads(out)), requests(workspace)) == (1, {}, {"HeadObject": 0, "GetObject": 0})
    found = check_images(workspace)
    assert codes_of(found) == {number: sample.codes for number, sample in enumerate(SAMPLES, 1) if sample.codes}
    assert found["valid_lines"] == sum(
        1 for sample in SAMPLES if INVALID not in sample.codes and NONE not in sample.codes
    )


def test_a_second_check_asks_for_etags_only(workspace: Workspace, s3: Any) -> None:
    """An entry of the journal holds while the ETag does; the results are the same without it."""
    put(s3, SAMPLES)
    write(workspace, *(sample.line for sample in SAMPLES))
    first = check_images(workspace)
    assert (workspace.folder / "a.manifest.checked").is_file()
    workspace.sandbox.control("POST", "reset-stats")
    assert check_images(workspace) == first
    assert requests(workspace) == {"HeadObject": len(SAMPLES), "GetObject": 0}
    put(s3, [SAMPLES[0]._replace(body=b"broken")])
    again = check_images(workspace)
    assert codes_of(again)[1] == [INVALID]
    assert requests(workspace)["GetObject"] == 1
    (workspace.folder / "a.manifest.checked").unlink()
    assert check_images(workspace) == again


def test_fix_knows_the_images(workspace: Workspace, s3: Any) -> None:
    """A line whose image cannot be used is set aside; an attribute for another size goes."""
    put(s3, SAMPLES)
    write(workspace, *(sample.line for sample in SAMPLES))
    found = check_images(workspace, "--fix", "out.manifest")
    assert found["kept"] + found["repaired"] + found["rejected"] == len(SAMPLES)
    saved = [json.loads(line) for line in (workspace.folder / "out.manifest").read_bytes().splitlines()]
    expected = [sample.line for sample in SAMPLES if not sample.codes]
    last = {name: value for name, value in SAMPLES[-1].line.items() if not name.startswith("boxes")}
    assert saved == [*expected, last]


def test_transient_failures_change_nothing(workspace: Workspace, s3: Any) -> None:
    """They are repeated."""
    put(s3, SAMPLES)
    write(workspace, *(sample.line for sample in SAMPLES))
    expected = check_images(workspace)
    (workspace.folder / "a.manifest.checked").unlink()
    faults = ["internal:HeadObject@*=1x", "slowdown:GetObject@*=1x"]
    workspace.sandbox.control("POST", "faults", {"faults": faults})
    assert check_images(workspace) == expected


def test_no_image_may_be_read(workspace: Workspace, s3: Any) -> None:
    """Exit 4; once it is allowed, the same command finds out what was not found out."""
    lines = [image_line("Robin" if number % 2 else "Wren", source_ref=ref(bucket="secret")) for number in range(30)]
    for line in lines:
        s3.put_object(Bucket="secret", Key=line["source-ref"].removeprefix("s3://secret/"), Body=plain())
    write(workspace, *lines)
    code, out, err = workspace.here("manifest", "validate", "a.manifest", "--check-images")
    assert (code, out) == (4, "")
    assert "s3:GetObject" in err
    write(workspace, *lines[:3])
    assert workspace.here("manifest", "validate", "a.manifest", "--check-images")[0] == 4


def test_one_image_may_not_be_read(workspace: Workspace, s3: Any) -> None:
    """It is a finding like others."""
    secret = image_line(source_ref=ref(bucket="secret"))
    s3.put_object(Bucket="secret", Key=secret["source-ref"].removeprefix("s3://secret/"), Body=plain())
    put(s3, SAMPLES[:1])
    write(workspace, SAMPLES[0].line, secret)
    assert codes_of(check_images(workspace)) == {2: [INVALID]}


def test_a_killed_check_asks_nothing_twice(workspace: Workspace, s3: Any) -> None:
    """After kill -9 the same command goes on: no more requests than images, but for those in flight."""
    lines = [image_line("Robin" if number % 2 else "Wren") for number in range(150)]
    put(s3, [Sample(line, plain(), []) for line in lines])
    write(workspace, *lines)
    workspace.sandbox.control("POST", "latency", {"s3": "150ms"})
    workspace.sandbox.control("POST", "reset-stats")
    try:
        process = workspace.start("manifest", "validate", "a.manifest", "--check-images")
        wait_until(lambda: requests(workspace)["GetObject"] > 60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        time.sleep(0.3)
        killed = requests(workspace)
        assert killed["GetObject"] < 150
    finally:
        workspace.sandbox.control("POST", "latency", {"s3": "0ms"})
    assert workspace.json("manifest", "validate", "a.manifest", "--check-images")["valid_lines"] == 150
    total = requests(workspace)
    assert total["HeadObject"] <= 150 + 32
    assert total["GetObject"] <= 150 + 32


def test_an_interrupted_check_goes_on(workspace: Workspace, s3: Any) -> None:
    """Exit 75 after Ctrl-C, and the same command ends."""
    lines = [image_line("Robin" if number % 2 else "Wren") for number in range(100)]
    put(s3, [Sample(line, plain(), []) for line in lines])
    write(workspace, *lines)
    workspace.sandbox.control("POST", "latency", {"s3": "150ms"})
    workspace.sandbox.control("POST", "reset-stats")
    try:
        process = workspace.start("manifest", "validate", "a.manifest", "--check-images")
        wait_until(lambda: requests(workspace)["GetObject"] > 20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert (process.returncode, out) == (75, ""), err
    finally:
        workspace.sandbox.control("POST", "latency", {"s3": "0ms"})
    assert workspace.json("manifest", "validate", "a.manifest", "--check-images")["valid_lines"] == 100
    assert requests(workspace)["GetObject"] <= 100 + 32


def test_a_journal_that_is_none(workspace: Workspace) -> None:
    """It is refused and left as it is."""
    write(workspace, *good())
    journal = workspace.folder / "a.manifest.checked"
    for body in (
        b"my notes, which are long enough to be no header of a database" * 20,
        b"SQLite format 3\0" + b"\0" * 500,
    ):
        journal.write_bytes(body)
        code, _, err = workspace.here("manifest", "validate", "a.manifest", "--check-images")
        assert code == 2
        assert "a.manifest.checked" in err
        assert journal.read_bytes() == body


# -- Statistics, and real files ----------------------------------------------------------------------------------------


def test_stats(workspace: Workspace) -> None:
    """All figures, under their public names."""
    write(
        workspace,
        image_line("Robin"),
        image_line("Robin", "Wren"),
        box_line(box(), box(class_id=1)),
        {"source-ref": ref()},
        b"{",
    )
    found = workspace.json("manifest", "stats", "a.manifest")
    assert found == {
        "lines": 5,
        "images": 4,
        "unlabelled": 1,
        "use_case": "IMAGE_LEVEL_LABELS",
        "labels": {
            "Robin": {"images": 3, "boxes": 1, "share": 0.75},
            "Wren": {"images": 2, "boxes": 1, "share": 0.5},
        },
        "labels_per_image": 1.25,
        "boxes_per_image": 0.5,
        "image_sizes": {"min": {"width": 640, "height": 480}, "max": {"width": 640, "height": 480}},
        "human_annotated": {"yes": 3, "no": 1},
        "created": {"first": "2026-11-27T10:00:00.000", "last": "2026-11-27T10:00:00.000"},
        "buckets": ["pictures"],
        "invalid_lines": 1,
    }
    code, out, _ = workspace.here("manifest", "stats", "a.manifest")
    assert code == 0
    assert "Robin, 1 boxes" in out
    write(workspace, name="empty.manifest")
    assert workspace.json("manifest", "stats", "empty.manifest")["images"] == 0


@pytest.mark.real
def test_real_manifests(workspace: Workspace) -> None:
    """Files that people really had: which of their lines can be used."""
    if not REAL.is_dir():
        pytest.skip("no real manifests here: ../shared/data/manifests/real is absent")
    found = {}
    for path in sorted(REAL.glob("*.manifest")):
        _, out, _ = workspace.here("manifest", "validate", str(path), "--json")
        result = json.loads(out)
        found[path.stem] = tuple(result[f"{state}_lines"] for state in ("valid", "invalid", "ignored"))
        fixed = workspace.folder / path.name
        workspace.here("manifest", "validate", str(path), "--fix", str(fixed), "--json")
        assert (fixed.read_bytes() == path.read_bytes().rstrip(b"\n") + b"\n") if result["ok"] else not fixed.exists()
    assert found == {
        "excerpt-animals": (4, 0, 0),
        "excerpt-bees": (6, 0, 2),
        "excerpt-cats": (2, 0, 1),
        "excerpt-packs": (4, 0, 2),
        "segmentation": (0, 1, 0),
        "vehicles": (10, 0, 0),
    }


def test_local_work_needs_no_account(workspace: Workspace) -> None:
    """Neither credentials nor a network."""
    write(workspace, *good(), b"{")
    env = {name: value for name, value in workspace.env.items() if not name.startswith("AWS")}
    env |= {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"}
    done = workspace(
        "manifest", "validate", "a.manifest", "--fix", "out.manifest", "--json", env=env | {"HOME": os.devnull}
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["kept"] == 20
