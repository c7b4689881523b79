"""``model evaluate`` from files: figures, page, comparison, saved files, and every way in which files can be wrong."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.evaluations import Judged, box_line, image_line, lines, summary, walkthrough
from tests.kit.manifests import D
from tests.kit.pictures import encoded, noise, plain
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

HOSTILE = '"><script>alert(1)</script>\u202e<b onmouseover=x>\x1b[31m'


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A bucket of pictures, and one that may not be read."""
    options = SandboxOptions(buckets=(BucketSpec("pictures"), BucketSpec("secret")), denied=("secret/*",))
    with SandboxProcess(options) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


def write(workspace: Workspace, document: object, documents: list[D], folder: str = ".") -> tuple[str, ...]:
    """The two files of an evaluation, as arguments."""
    place = workspace.folder / folder
    place.mkdir(exist_ok=True)
    (place / "summary.json").write_text(json.dumps(document, indent=1))
    (place / "snapshot.manifest").write_bytes(lines(documents))
    return ("model", "evaluate", "--summary", f"{folder}/summary.json", "--snapshot", f"{folder}/snapshot.manifest")


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        tags: Names of all elements.
        addresses: All that it would load or lead to.
        pictures: Bytes of embedded pictures, by their alternative texts.
        texts: All text between elements.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.pictures: dict[str, str] = {}
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        assert not any(name.startswith("on") for name in found)
        self.addresses += [str(found[name]) for name in ("src", "href") if name in found]
        if tag == "img":
            self.pictures[str(found["alt"])] = str(found["src"])

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_figures_of_both(workspace: Workspace) -> None:
    """The service's stay its own; the recounted ones stand beside them. Nothing is asked of AWS."""
    workspace.env = {name: value for name, value in workspace.env.items() if "AWS" not in name}
    arguments = write(workspace, *walkthrough())
    found = workspace.json(*arguments)
    assert (found["f1"], found["recomputed"]["tp"], found["project"]) == (0.6461539, 13, "birds")
    assert found["curves"]["Swoosh"][-1]["threshold"] == 0.99
    code, out, err = workspace.here(*arguments)
    assert (code, err) == (0, "")
    assert "AWS           0.646" in out
    assert "recounted     0.703" in out
    assert "13 right, 7 wrong, 4 missed" in out


@pytest.mark.parametrize("columns", [40, 80])
def test_no_terminal_is_too_narrow(workspace: Workspace, columns: int) -> None:
    """No line is longer than the terminal, and none is cut."""
    document = summary({"a label of several words": (0.9, 0.8, 0.847, 0.5, 3)}, confusion=[("cap", "watch", 0.25)])
    arguments = write(workspace, document, [image_line("s3://photos/1.jpg", ["cap"], [Judged("watch", 0.9, "fp")])])
    code, out, _ = Workspace.here(_with(workspace, COLUMNS=str(columns)), *arguments)
    assert code == 0
    assert max(map(len, out.splitlines())) <= columns
    assert all(word in out for word in ("a label", "several", "words"))
    assert "…" not in out


def _with(workspace: Workspace, **env: str) -> Workspace:
    workspace.env = workspace.env | env
    return workspace


def test_a_page_with_boxes(workspace: Workspace) -> None:
    """Pictures from a folder, by the ends of their keys; boxes drawn; nothing is loaded, nothing runs."""
    document, documents = walkthrough()
    arguments = write(workspace, document, documents)
    (workspace.folder / "set").mkdir()
    for number in range(14):
        (workspace.folder / f"set/{number:02}.jpg").write_bytes(noise(width=640, height=480))
    code, _, err = workspace.here(*arguments, "--html", "p.html", "--pictures", "set")
    assert code == 0, err
    html = (workspace.folder / "p.html").read_text("utf-8")
    page = Page(html)
    assert "p.html: " in err
    assert "8 pictures" in err
    assert len(page.pictures) == 8
    assert html.count('<rect class="wrong"') == 7
    assert html.count('<rect class="missed"') == 4
    assert "script" not in page.tags
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in page.addresses)
    assert "default-src 'none'" in html
    assert "predicted Swoosh 0.009 missed, Swoosh 0.290 wrong" in next(
        text for text in page.pictures if "/01.jpg" in text
    )


def test_a_page_without_pictures(workspace: Workspace) -> None:
    """From files alone no picture is read; the page has a note."""
    arguments = write(workspace, *walkthrough())
    workspace.env = {name: value for name, value in workspace.env.items() if "AWS" not in name}
    code, _, err = workspace.here(*arguments, "--html", "p.html")
    assert code == 0, err
    page = Page((workspace.folder / "p.html").read_text("utf-8"))
    assert not page.pictures
    assert "Without --pictures the page has no pictures." in page.texts


def test_a_page_with_pictures_in_s3(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """By the key below a prefix; a picture that is broken or not there is counted."""
    documents = [image_line(f"s3://gone/a/{name}.jpg", ["cap"], []) for name in ("one", "two", "three")]
    documents.append(image_line("s3://gone/a/four.jpg", [], [Judged("cap", 0.9, "tn")]))
    with boto_client(sandbox, "s3") as s3:
        s3.put_object(Bucket="pictures", Key="copy/a/one.jpg", Body=plain())
        s3.put_object(Bucket="pictures", Key="copy/two.jpg", Body=b"no picture")
    arguments = write(workspace, summary({}), documents)
    code, _, err = workspace.here(*arguments, "--html", "p.html", "--pictures", "s3://pictures/copy")
    assert code == 0, err
    page = Page((workspace.folder / "p.html").read_text("utf-8"))
    assert len(page.pictures) == 1
    assert "Pictures that are not shown: 1 are not there, 1 cannot be decoded." in page.texts


def test_pictures_that_may_not_be_read(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """Exit 4, and no page."""
    with boto_client(sandbox, "s3") as s3:
        s3.put_object(Bucket="secret", Key="1.jpg", Body=plain())
    arguments = write(workspace, summary({}), [image_line("s3://photos/1.jpg", [], [Judged("cap", 0.9, "fp")])])
    code, _, err = workspace.here(*arguments, "--html", "p.html", "--pictures", "s3://secret/")
    assert code == 4
    assert "secret" in err
    assert not (workspace.folder / "p.html").exists()


def test_a_turned_picture_is_upright(workspace: Workspace) -> None:
    """EXIF orientation; boxes of both ways in which a snapshot can have the image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    (workspace.folder / "1.jpg").write_bytes(encoded(Image.new("RGB", (200, 100), "red"), exif=exif))
    (workspace.folder / "2.jpg").write_bytes(encoded(Image.new("RGB", (200, 100), "red"), exif=exif))
    frame = (10, 20, 30, 40)
    documents = [
        box_line("s3://photos/1.jpg", [], [Judged("cap", 0.9, "fp", frame)], width=100, height=200),
        box_line("s3://photos/2.jpg", [], [Judged("cap", 0.8, "fp", frame)], width=200, height=100),
    ]
    arguments = write(workspace, summary({}), documents)
    code, _, err = workspace.here(*arguments, "--html", "p.html", "--pictures", ".")
    assert code == 0, err
    html = (workspace.folder / "p.html").read_text("utf-8")
    assert html.count("<img ") == 2
    assert html.count('viewBox="0 0 100 200"') == 2
    assert '<rect class="wrong" x="10.0" y="20.0" width="30.0" height="40.0"/>' in html
    assert '<rect class="wrong" x="40.0" y="10.0" width="40.0" height="30.0"/>' in html


def test_hostile_files_make_a_harmless_page(workspace: Workspace) -> None:
    """Keys and labels are text everywhere, and the page stays below 5 MB whatever the files hold."""
    labels = {f"{HOSTILE}{number}": (0.9, 0.8, 0.847, 0.5, 3) for number in range(400)}
    names = list(labels)
    frames = [(-5, -5, 1e300, 1e300), (3, 4, -7, 1e-300)]
    documents = [
        box_line(
            f"s3://photos/{HOSTILE}{'k' * 700}{number}.jpg",
            [],
            [Judged(names[0], 0.9, "fp", frame) for frame in frames],
        )
        for number in range(600)
    ]
    document = summary(labels, confusion=[(names[0], names[1], 0.5)], version=HOSTILE)
    document["EvaluationDetails"]["EvaluationEndTimestamp"] = HOSTILE
    document["EvaluationDetails"]["ProjectVersionArn"] = f"arn:x:project/{'<i>'}/version/<u>/1"
    arguments = write(workspace, document, documents)
    (workspace.folder / "1.jpg").write_bytes(plain())
    code, out, err = workspace.here(*arguments, "--html", "p.html", "--pictures", ".", "--compare", "./")
    assert code == 0, err
    assert "\x1b" not in out + err
    body = (workspace.folder / "p.html").read_bytes()
    assert len(body) < 5_000_000
    page = Page(body.decode())
    assert not {"script", "b onmouseover=x", "i", "u"} & set(page.tags)
    assert "\x1b" not in body.decode()
    assert "\u202e" not in body.decode()
    assert any("are not on this page" in text for text in page.texts)


def test_a_page_has_a_bounded_number_of_pictures(workspace: Workspace) -> None:
    """The more there are, the smaller they are; those beyond the bound are counted."""
    documents = [image_line(f"s3://photos/{number}.jpg", [], [Judged("cap", 0.9, "fp")]) for number in range(250)]
    for number in range(250):
        (workspace.folder / f"{number}.jpg").write_bytes(plain(width=400, height=300))
    arguments = write(workspace, summary({}), documents)
    code, _, err = workspace.here(*arguments, "--html", "p.html", "--pictures", ".")
    assert code == 0, err
    page = Page((workspace.folder / "p.html").read_text("utf-8"))
    assert len(page.pictures) == 240
    assert "Pictures that are not shown: 10 are beyond the 240 of a page." in page.texts
    assert Image.open(io.BytesIO(_decoded(next(iter(page.pictures.values()))))).size == (320, 240)


def _decoded(address: str) -> bytes:
    return b64decode(address.partition(",")[2])


def test_the_mistakes_of_one_label_can_be_chosen(workspace: Workspace) -> None:
    """A choice for each label with a mistake, the most frequent first, which needs no script."""
    documents = [
        image_line("s3://photos/1.jpg", ["cap"], [Judged("hat", 0.9, "fp")]),
        image_line("s3://photos/2.jpg", ["cap"], [Judged("cap", 0.1, "fn")]),
        image_line("s3://photos/3.jpg", ["watch"], [Judged("watch", 0.9, "tp")]),
    ]
    arguments = write(workspace, summary({}), documents)
    assert workspace.here(*arguments, "--html", "p.html")[0] == 0
    html = (workspace.folder / "p.html").read_text("utf-8")
    choices = [line for line in Page(html).texts if line in {"all ", "cap ", "hat ", "watch "}]
    assert choices == ["all ", "cap ", "hat "]
    assert html.count('<li class="card mistake-1 mistake-0">') == 1
    assert html.count('<li class="card mistake-0">') == 1
    assert "main:has(#choice-0:checked) .card:not(.mistake-0){display:none}" in html


def test_a_key_cannot_lead_out_of_the_folder(workspace: Workspace) -> None:
    """Keys with dots and links are no way to other files."""
    (workspace.folder / "in").mkdir()
    (workspace.folder / "secret.jpg").write_bytes(plain())
    (workspace.folder / "in/link.jpg").symlink_to("../secret.jpg")
    refs = [
        "s3://photos/../secret.jpg",
        "s3://photos/a/../../secret.jpg",
        "s3://photos/link.jpg",
        "s3://photos//etc/passwd",
        "s3://photos/x\0y.jpg",
    ]
    arguments = write(workspace, summary({}), [image_line(ref, ["cap"], []) for ref in refs] + [_judged()])
    code, _, err = workspace.here(*arguments, "--html", "p.html", "--pictures", "in")
    assert code == 0, err
    assert not Page((workspace.folder / "p.html").read_text("utf-8")).pictures


def _judged() -> D:
    return image_line("s3://photos/judged.jpg", [], [Judged("cap", 0.1, "tn")])


# -- Comparison, saved files -------------------------------------------------------------------------------------------


def test_two_versions(workspace: Workspace) -> None:
    """``--compare`` takes a folder that ``--save`` wrote; other test images are reported."""
    line = image_line("s3://photos/1.jpg", ["cap"], [Judged("cap", 0.9, "tp")])
    other = image_line("s3://photos/2.jpg", ["cap"], [Judged("cap", 0.9, "tp")])
    old = write(workspace, summary({"cap": (1, 1, 0.5, 0.5, 1)}, version="v1", images=(1, 2)), [line, other], "one")
    code, _, err = workspace.here(*old, "--save", "kept")
    assert (code, err) == (0, "kept: summary.json and snapshot.manifest\n")
    kept = workspace.folder / "kept"
    for name in ("summary.json", "snapshot.manifest"):
        assert (kept / name).read_bytes() == (workspace.folder / "one" / name).read_bytes()
    new = write(workspace, summary({"cap": (1, 1, 0.75, 0.5, 1)}, version="v2", images=(1, 1)), [line], "two")
    found = workspace.json(*new, "--compare", "kept", "--html", "p.html")["comparison"]
    assert (found["old"], found["new"], found["test_sets_equal"], found["f1_delta"]) == ("v1", "v2", False, 0)
    assert found["labels"] == [{"label": "cap", "f1_old": 0.5, "f1_new": 0.75, "delta": 0.25}]
    _, out, _ = workspace.here(*new, "--compare", "kept")
    assert "1 test images of v1 are not among those of v2" in out
    assert "do not show which version is better" in " ".join(out.split())
    html = (workspace.folder / "p.html").read_text("utf-8")
    assert "1 test images of v1 are not among those of v2" in html
    assert workspace.json(*old, "--compare", "kept")["comparison"]["test_sets_equal"] is True


def test_what_is_there_is_not_replaced(workspace: Workspace) -> None:
    """Exit 130 without a terminal, and untouched; ``--yes`` replaces; other files are never deleted."""
    arguments = write(workspace, *walkthrough())
    (workspace.folder / "p.html").write_text("mine")
    assert workspace.here(*arguments, "--html", "p.html")[0] == 130
    assert (workspace.folder / "p.html").read_text() == "mine"
    assert workspace.here(*arguments, "--html", "p.html", "--yes")[0] == 0
    assert workspace.here(*arguments, "--save", "kept")[0] == 0
    assert workspace.here(*arguments, "--save", "kept")[0] == 130
    (workspace.folder / "kept/other").write_text("mine")
    assert workspace.here(*arguments, "--save", "kept", "--yes")[0] == 2
    assert (workspace.folder / "kept/other").read_text() == "mine"


# -- What is wrong -----------------------------------------------------------------------------------------------------


def test_a_damaged_line_is_told_and_the_rest_counts(workspace: Workspace) -> None:
    """Exit 1, the file and the line on stderr, and the figures of the other lines."""
    document, documents = walkthrough()
    arguments = write(workspace, document, documents)
    path = workspace.folder / "snapshot.manifest"
    path.write_bytes(path.read_bytes().replace(b'"source-ref":"s3://logos/set/02.jpg"', b'"source-ref":\x1b[31m'))
    code, out, err = workspace.here(*arguments, "--json")
    found: dict[str, Any] = json.loads(out)
    assert code == 1
    assert err.startswith("snapshot.manifest:3: the line is not JSON")
    assert "\x1b" not in err
    assert (found["left_out"], found["problems"][0]["line"], found["recomputed"]["tp"]) == (1, 3, 11)
    assert "1 of 14 lines of the snapshot cannot be read" in found["notices"][0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "PROJECT and VERSION are missing"),
        (("birds",), "VERSION is missing"),
        (("--summary", "s"), "--snapshot is missing"),
        (("--snapshot", "s"), "--summary is missing"),
        (("birds", "v1", "--summary", "s", "--snapshot", "s"), "a project and files were given"),
        (("--summary", "none", "--snapshot", "snapshot.manifest"), "none: No such file"),
        (("--summary", "snapshot.manifest", "--snapshot", "snapshot.manifest"), "no evaluation summary"),
        (("--summary", "summary.json", "--snapshot", "summary.json"), "no test snapshot"),
        (
            ("--summary", "summary.json", "--snapshot", "snapshot.manifest", "--pictures", "."),
            "--pictures is for a page",
        ),
        (
            ("--summary", "summary.json", "--snapshot", "snapshot.manifest", "--compare", "v1"),
            "there is no such folder",
        ),
        (
            ("--summary", "summary.json", "--snapshot", "snapshot.manifest", "--html", "p", "--pictures", "none"),
            "there is no such folder",
        ),
        (
            ("--summary", "summary.json", "--snapshot", "snapshot.manifest", "--html", "p", "--pictures", "s3://A_B/"),
            "A_B",
        ),
        (("--summary", "summary.json", "--snapshot", "snapshot.manifest", "--html", "no/p"), "no/p"),
    ],
)
def test_usage(workspace: Workspace, arguments: tuple[str, ...], expected: str) -> None:
    """Exit 2, what is wrong, and a remedy; nothing is written."""
    write(workspace, *walkthrough())
    before = sorted(workspace.folder.iterdir())
    code, out, err = workspace.here("model", "evaluate", *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert "hint: " in err
    assert sorted(workspace.folder.iterdir()) == before
