"""``manifest from-csv``: every row is a line, a part of one, skipped, a duplicate or rejected."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.sandbox import BucketSpec, SandboxOptions, SandboxProcess
from tests.kit.manifests import MOMENT
from tests.kit.services import boto_client
from tests.kit.workspace import Workspace

DATA = Path(__file__).parents[3] / "shared/data"
RACCOONS = DATA / "manifests/raccoon-csv/raccoon_labels.csv"
PREFIX = "s3://pictures/in/"
BOX_HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One bucket."""
    with SandboxProcess(SandboxOptions(buckets=(BucketSpec("pictures"),))) as running:
        yield running


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """An empty folder."""
    return Workspace(tmp_path, sandbox)


class Written:
    """What one command did with a table."""

    def __init__(self, workspace: Workspace, table: str | bytes, *more: str) -> None:
        (workspace.folder / "t.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
        self.code, out, self.err = workspace.here(
            *("manifest", "from-csv", "t.csv", "--s3-path", PREFIX, "--creation-date", MOMENT),
            *("-o", "out.manifest", "--yes", "--json", *more),
        )
        self.counts: dict[str, Any] = json.loads(out) if out else {}
        manifest = workspace.folder / "out.manifest"
        self.text = manifest.read_bytes().decode() if manifest.exists() else ""
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in self.text.split("\n")[:-1]]
        self.rejected = self._rows(workspace, "rejected_file")
        self.duplicates = self._rows(workspace, "duplicates_file")

    @property
    def labels(self) -> list[list[str]]:
        """The labels of each line."""
        return [[one["class-name"] for key, one in line.items() if key.endswith("-metadata")] for line in self.lines]

    @property
    def refs(self) -> list[str]:
        """The addresses, below the prefix where they are there."""
        return [line["source-ref"].removeprefix(PREFIX) for line in self.lines]

    def _rows(self, workspace: Workspace, name: str) -> list[list[str]]:
        if not self.counts.get(name):
            return []
        with (workspace.folder / self.counts[name]).open(encoding="utf-8", newline="") as stream:
            return list(csv.reader(stream))


# -- Images ------------------------------------------------------------------------------------------------------------


def test_images_byte_for_byte(workspace: Workspace) -> None:
    """The line of the contract; cells are trimmed, empty labels dropped, equal ones kept once; keys are raw."""
    found = Written(workspace, 'image,label\n a%20b é.jpg ,Robin, Wren ,,Robin\ns3://pictures/x//y.jpg,"a,""b"\n')
    metadata = (
        '"type":"groundtruth/image-classification","job-name":"labeling-job/label","human-annotated":"yes",'
        f'"creation-date":"{MOMENT}"}}'
    )
    assert found.text == (
        f'{{"source-ref":"s3://pictures/in/a%20b é.jpg","label0":1,"label0-metadata":{{"class-name":"Robin",'
        f'"confidence":1,{metadata},"label1":1,"label1-metadata":{{"class-name":"Wren","confidence":1,{metadata}}}\n'
        f'{{"source-ref":"s3://pictures/x//y.jpg","label0":1,"label0-metadata":{{"class-name":"a,\\"b",'
        f'"confidence":1,{metadata}}}\n'
    )
    assert found.counts == {
        "lines": 2,
        "images": 2,
        "labels": {"Robin": 1, "Wren": 1, 'a,"b': 1},
        "boxes": 0,
        "skipped": {},
        "duplicates": 0,
        "rejected": 0,
        "output": "out.manifest",
        "duplicates_file": None,
        "rejected_file": None,
    }
    assert found.code == 0
    assert sorted(path.name for path in workspace.folder.iterdir() if path.suffix == ".csv") == ["t.csv"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings(workspace: Workspace, encoding: str, end: str) -> None:
    """A byte order mark is no part of the header; U+2028 ends no row."""
    text = f"Image,label{end}é\u2028.jpg,Zaunkönig{end}{end}b.jpg,Wren"
    marks = {"utf-16-le-bom": b"\xff\xfe", "utf-16-be-bom": b"\xfe\xff"}
    table = marks.get(encoding, b"") + text.encode(encoding.removesuffix("-bom"))
    found = Written(workspace, table)
    assert (found.code, found.refs, found.labels) == (0, ["é\u2028.jpg", "b.jpg"], [["Zaunkönig"], ["Wren"]])
    assert found.counts["skipped"] == {"blank": 1}


@pytest.mark.parametrize(
    ("table", "more", "code"),
    [
        ("a.jpg,x\xff\n".encode("latin-1"), (), "t.csv:1: the text is not UTF-8"),
        ('a.jpg,"x\nb.jpg,y\n', (), "t.csv:2: unexpected end of data"),
        ('a.jpg,"x"y\n', (), "t.csv:1: "),
        ("filename,label\na.jpg,x\n", ("--kind", "boxes"), "t.csv: the header has no column width"),
        ("a.jpg,x\n", ("--delimiter", ";;"), "--delimiter"),
        ("a.jpg,x\n", ("--s3-path", "here"), "--s3-path"),
        ("a.jpg,x\n", ("--attribute", "$x"), "--attribute"),
        ("a.jpg,x\n", ("--classes", "none.txt"), "--classes"),
    ],
)
def test_usage(workspace: Workspace, table: str | bytes, more: tuple[str, ...], code: str) -> None:
    """Exit 2 with the place, and nothing is written."""
    found = Written(workspace, table, *more)
    assert (found.code, found.text) == (2, "")
    assert found.err.startswith(f"error: {code}")
    assert not list(workspace.folder.glob("out*"))


@pytest.mark.parametrize(
    ("first", "more", "is_header"),
    [
        *((name, (), True) for name in ("image", "FileName", "file", "Path", "source-ref", "source_ref", "URL", "key")),
        ("s3_path", (), True),
        ("images", (), False),
        ("image", ("--header", "no"), False),
        ("anything", ("--header", "yes"), True),
    ],
)
def test_headers(workspace: Workspace, first: str, more: tuple[str, ...], *, is_header: bool) -> None:
    """The first cell, case-folded, tells a header; the option has the last word."""
    found = Written(workspace, f"{first},label\na.jpg,x\n", *more)
    assert found.refs == (["a.jpg"] if is_header else [first, "a.jpg"])


REJECTED = [
    ("NO_IMAGE", ",x"),
    ("NO_LABEL", "a.jpg, ,"),
    ("NOT_S3_URI", "s3://pictures,x"),
    ("NOT_S3_URI", f"{'k' * 1025}.jpg,x"),
    ("LABEL_TOO_LONG", f"a.jpg,{'x' * 256}"),
    ("TOO_MANY_LABELS", "a.jpg," + ",".join(map(str, range(51)))),
    ("UNKNOWN_CLASS", "a.jpg,y"),
]


@pytest.mark.parametrize(("code", "row"), REJECTED)
def test_rejected_rows(workspace: Workspace, code: str, row: str) -> None:
    """The row as it was, with the code; exit 1, and the others are written."""
    classes = workspace.folder / "classes.txt"
    classes.write_text("good\nx\n")
    more = ("--classes", "classes.txt") if code == "UNKNOWN_CLASS" else ()
    found = Written(workspace, f"good.jpg,good\n{row}\n", *more)
    assert (found.code, found.refs, found.counts["rejected"]) == (1, ["good.jpg"], 1)
    assert found.rejected == [[*row.split(","), code]]
    assert found.counts["rejected_file"] == "out-errors.csv"


def test_without_a_prefix_only_addresses_are_taken(workspace: Workspace) -> None:
    """Without ``--s3-path``; the files beside a manifest on stdout are called after FILE."""
    (workspace.folder / "t.csv").write_text("a.jpg,x\ns3://pictures/b.jpg,x\n")
    code, out, _ = workspace.here("manifest", "from-csv", "t.csv")
    assert (code, json.loads(out)["source-ref"]) == (1, "s3://pictures/b.jpg")
    assert (workspace.folder / "t-errors.csv").read_bytes() == b"a.jpg,x,NOT_S3_URI\r\n"


def test_duplicates(workspace: Workspace) -> None:
    """The first is kept, and the manifest is written: exit 0. ``merge`` unites the labels."""
    table = "a.jpg,x\n/a.jpg, y,x\nb.jpg,z\na.jpg,w\n"
    found = Written(workspace, table)
    assert (found.code, found.labels, found.counts["duplicates"]) == (0, [["x"], ["z"]], 2)
    assert found.duplicates == [["/a.jpg", " y", "x"], ["a.jpg", "w"]]
    assert found.counts["duplicates_file"] == "out-duplicates.csv"
    found = Written(workspace, table, "--duplicates", "merge")
    assert (found.code, found.labels, found.counts["merged"]) == (0, [["x", "y", "w"], ["z"]], 2)
    assert found.counts["duplicates_file"] is None


def test_merged_labels_have_a_limit(workspace: Workspace) -> None:
    """The row that would give a line more than 50 is rejected, and later ones are still merged."""
    many = ",".join(map(str, range(49)))
    found = Written(workspace, f"a.jpg,{many}\na.jpg,x,y\na.jpg,z\n", "--duplicates", "merge")
    assert (found.code, len(found.labels[0]), found.labels[0][-1]) == (1, 50, "z")
    assert found.rejected == [["a.jpg", "x", "y", "TOO_MANY_LABELS"]]


@pytest.mark.parametrize(("choice", "lines", "skipped"), [("skip", 1, {"unlabelled": 1}), ("keep", 2, {})])
def test_unlabelled(workspace: Workspace, choice: str, lines: int, skipped: dict[str, int]) -> None:
    """Left out, or a bare line."""
    found = Written(workspace, "a.jpg,x\nb.jpg,\n", "--unlabelled", choice)
    assert (found.code, len(found.lines), found.counts["skipped"]) == (0, lines, skipped)
    assert ('{"source-ref":"s3://pictures/in/b.jpg"}\n' in found.text) is (choice == "keep")


def test_two_buckets(workspace: Workspace) -> None:
    """The service does not train with them: exit 1, nothing written."""
    found = Written(workspace, "s3://pictures/a.jpg,x\ns3://others/a.jpg,x\n,x\n")
    assert (found.code, found.text) == (1, "")
    assert "ERROR_IMAGES_IN_MULTIPLE_S3_BUCKETS" in found.err
    assert not list(workspace.folder.glob("out*"))


def test_nothing_to_write(workspace: Workspace) -> None:
    """No manifest, but the rejected rows, which tell why."""
    found = Written(workspace, "image,label\n,x\n")
    assert (found.code, found.text) == (1, "")
    assert "ERROR_EMPTY_MANIFEST: there is no line to write (1 rejected)" in found.err
    assert (workspace.folder / "out-errors.csv").read_bytes() == b",x,NO_IMAGE\r\n"


def test_delimiters(workspace: Workspace) -> None:
    """Semicolons and tabs; the files beside the manifest have the same."""
    assert Written(workspace, "a.jpg;x;y,z\n", "--delimiter", ";").labels == [["x", "y,z"]]
    assert Written(workspace, "a.jpg\tx y\n", "--delimiter", "\\t").labels == [["x y"]]
    Written(workspace, "a.jpg;x\n;x\n", "--delimiter", ";")
    assert (workspace.folder / "out-errors.csv").read_bytes() == b";x;NO_IMAGE\r\n"


def test_an_existing_file_beside_is_a_question(workspace: Workspace) -> None:
    """No terminal and no ``--yes``: exit 130, untouched."""
    (workspace.folder / "t.csv").write_text("a.jpg,x\n")
    (workspace.folder / "out-errors.csv").write_text("mine")
    command = ("manifest", "from-csv", "t.csv", "--s3-path", PREFIX, "-o", "out.manifest")
    code, _, err = workspace.here(*command)
    assert (code, (workspace.folder / "out-errors.csv").read_text()) == (130, "mine")
    assert "out-errors.csv" in err
    assert workspace.here("manifest", "from-csv", "none.csv")[0] == 2


def test_a_table_in_s3(workspace: Workspace, sandbox: SandboxProcess) -> None:
    """FILE may be an object."""
    with boto_client(sandbox, "s3") as s3:
        s3.put_object(Bucket="pictures", Key="tables/t.csv", Body=b"s3://pictures/a.jpg,x\n")
    code, out, _ = workspace.here("manifest", "from-csv", "s3://pictures/tables/t.csv")
    assert (code, json.loads(out)["source-ref"]) == (0, "s3://pictures/a.jpg")


# -- Boxes -------------------------------------------------------------------------------------------------------------


def test_boxes_byte_for_byte(workspace: Workspace) -> None:
    """The line of the contract; rows of an image need not stand together; edges are rounded, not widths."""
    table = BOX_HEADER + (
        "a.jpg,640,480,Robin,86,65,306,399\nb.jpg,640,480,Wren,1.5,2.4,20.4,30.5\na.jpg,640,480,Wren,0,0,10,10\n"
    )
    found = Written(workspace, table)
    assert found.text == (
        '{"source-ref":"s3://pictures/in/a.jpg","boxes":{"image_size":[{"width":640,"height":480,"depth":3}],'
        '"annotations":[{"class_id":0,"top":65,"left":86,"width":220,"height":334},'
        '{"class_id":1,"top":0,"left":0,"width":10,"height":10}]},"boxes-metadata":{"objects":[{"confidence":1},'
        '{"confidence":1}],"class-map":{"0":"Robin","1":"Wren"},"type":"groundtruth/object-detection",'
        f'"human-annotated":"yes","creation-date":"{MOMENT}","job-name":"labeling-job/boxes"}}}}\n'
        '{"source-ref":"s3://pictures/in/b.jpg","boxes":{"image_size":[{"width":640,"height":480,"depth":3}],'
        '"annotations":[{"class_id":1,"top":2,"left":2,"width":18,"height":29}]},"boxes-metadata":{"objects":'
        '[{"confidence":1}],"class-map":{"1":"Wren"},"type":"groundtruth/object-detection","human-annotated":"yes",'
        f'"creation-date":"{MOMENT}","job-name":"labeling-job/boxes"}}}}\n'
    )
    assert (found.counts["boxes"], found.counts["labels"], found.counts["clamped"]) == (3, {"Robin": 1, "Wren": 2}, 0)


def test_columns_in_any_order_and_case(workspace: Workspace) -> None:
    """Further columns do not matter; a header of boxes is one whatever its first cell is."""
    found = Written(workspace, "Class,id,XMAX,xmin,ymin,ymax,Height,Width,FileName\nRobin,7,30,10,20,40,480,640,a.jpg")
    assert found.lines[0]["boxes"]["annotations"] == [{"class_id": 0, "top": 20, "left": 10, "width": 20, "height": 20}]
    found = Written(workspace, "a.jpg,640,480,Robin,10,20,30,40\n", "--kind", "boxes")
    assert found.lines[0]["boxes"]["annotations"][0]["left"] == 10


BAD_BOXES = [
    ("NO_IMAGE", ",640,480,Robin,1,2,30,40"),
    ("NOT_S3_URI", "s3://pictures/,640,480,Robin,1,2,30,40"),
    ("NO_LABEL", "a.jpg,640,480,,1,2,30,40"),
    ("LABEL_TOO_LONG", f"a.jpg,640,480,{'x' * 256},1,2,30,40"),
    *(
        ("BAD_NUMBER", f"a.jpg,640,480,Robin,{text},2,30,40")
        for text in ("x", "", "nan", "inf", "1e999", "1_0", "\u0661")
    ),
    ("BAD_NUMBER", "a.jpg,0,480,Robin,1,2,30,40"),
    ("BAD_NUMBER", "a.jpg,640.5,480,Robin,1,2,30,40"),
    ("BAD_NUMBER", "a.jpg,640,480,Robin"),
    ("BAD_BOX", "a.jpg,640,480,Robin,31,2,30,40"),
    ("BAD_BOX", "a.jpg,640,480,Robin,1,41,30,40"),
    ("BAD_BOX", "a.jpg,640,480,Robin,700,2,730,40"),
    ("BAD_BOX", "a.jpg,640,480,Robin,-30,2,-1,40"),
    ("BAD_BOX", "a.jpg,640,480,Robin,10,2,11,40"),
    ("SIZE_DIFFERS", "good.jpg,641,480,Robin,1,2,30,40"),
    ("UNKNOWN_CLASS", "a.jpg,640,480,Wren,1,2,30,40"),
]


@pytest.mark.parametrize(("code", "row"), BAD_BOXES)
def test_rejected_boxes(workspace: Workspace, code: str, row: str) -> None:
    """The row as it was, with the code; exit 1, and the others are written."""
    (workspace.folder / "classes.txt").write_text("Owl\nRobin\n")
    more = ("--classes", "classes.txt") if code == "UNKNOWN_CLASS" else ()
    found = Written(workspace, f"{BOX_HEADER}good.jpg,640,480,Robin,1,2,30,40\n{row}\n", *more)
    assert (found.code, found.refs, found.counts["boxes"]) == (1, ["good.jpg"], 1)
    assert found.rejected == [[*row.split(","), code]]
    if more:
        assert found.lines[0]["boxes"]["annotations"][0]["class_id"] == 1


def test_too_many_boxes(workspace: Workspace) -> None:
    """From the 51st."""
    rows = "".join(f"a.jpg,640,480,Robin,{left},2,{left + 20},40\n" for left in range(52))
    found = Written(workspace, BOX_HEADER + rows)
    assert (found.code, found.counts["boxes"]) == (1, 50)
    assert [row[-1] for row in found.rejected] == ["TOO_MANY_BOXES"] * 2


def test_boxes_partly_outside_are_cut(workspace: Workspace) -> None:
    """They are counted, and no error."""
    found = Written(workspace, f"{BOX_HEADER}a.jpg,640,480,Robin,-5,470.4,20,481\n")
    assert (found.code, found.counts["clamped"]) == (0, 1)
    assert found.lines[0]["boxes"]["annotations"] == [{"class_id": 0, "top": 470, "left": 0, "width": 20, "height": 10}]


def test_equal_boxes(workspace: Workspace) -> None:
    """An equal row is a duplicate; the same box of another class is none."""
    row = "a.jpg,640,480,Robin,1,2,30,40\n"
    found = Written(workspace, BOX_HEADER + row + row.replace("Robin", "Wren") + row)
    assert (found.code, found.counts["boxes"], found.counts["duplicates"]) == (0, 2, 1)
    assert found.duplicates == [row.strip().split(",")]
    assert Written(workspace, BOX_HEADER + row + row, "--duplicates", "merge").counts["merged"] == 1


def test_images_without_boxes(workspace: Workspace) -> None:
    """``keep`` makes bare lines of them, unless another row has a box."""
    table = f"{BOX_HEADER}a.jpg,,,,,,,\nb.jpg,640,480,,,,,\nb.jpg,640,480,Robin,1,2,30,40\n"
    found = Written(workspace, table, "--unlabelled", "keep")
    assert (found.code, found.refs, ["boxes" in line for line in found.lines]) == (0, ["a.jpg", "b.jpg"], [False, True])
    assert Written(workspace, table, "--unlabelled", "skip").counts["skipped"] == {"unlabelled": 2}


CELLS = st.one_of(
    st.sampled_from(["", " ", "a.jpg", "b.jpg", "s3://pictures/c.jpg", "x", "y", "640", "1", "9.5", "-1", "nan"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=9), max_size=12),
    kind=st.sampled_from(["image", "boxes"]),
    unlabelled=st.sampled_from(["error", "skip", "keep"]),
    duplicates=st.sampled_from(["first", "merge"]),
)
def test_every_row_is_accounted_for(
    sandbox: SandboxProcess, rows: list[list[str]], kind: str, unlabelled: str, duplicates: str
) -> None:
    """Rows = lines (or boxes) + merged + skipped + duplicates + rejected, and what is written can be read."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    good = "good.jpg,640,480,Robin,1,2,30,40\r\n" if kind == "boxes" else "good.jpg,Robin\r\n"
    table = out.getvalue() + good
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), sandbox)
        more = ("--kind", kind, "--header", "no", "--unlabelled", unlabelled, "--duplicates", duplicates)
        found = Written(workspace, table, *more)
    counts = found.counts
    assert found.code == (1 if counts["rejected"] else 0), found.err
    bare = sum("boxes" not in line for line in found.lines)
    used = counts["boxes"] + bare if kind == "boxes" else counts["lines"]
    left_out = sum(counts["skipped"].values()) + counts["duplicates"] + counts["rejected"] + counts.get("merged", 0)
    total = len(list(csv.reader(io.StringIO(table, newline=""))))
    assert used + left_out == total
    assert len(set(found.refs)) == len(found.refs) == counts["lines"]
    assert (len(found.rejected), len(found.duplicates)) == (counts["rejected"], counts["duplicates"])


@pytest.mark.skipif(not RACCOONS.is_file(), reason="needs ../shared/data/manifests/raccoon-csv")
def test_real_boxes(workspace: Workspace) -> None:
    """The raccoons' boxes become a manifest without a finding of severity error."""
    found = Written(workspace, RACCOONS.read_bytes())
    assert (found.code, found.counts["lines"], found.counts["boxes"]) == (0, 200, 217)
    assert workspace.here("manifest", "validate", "out.manifest")[0] == 0


def test_long_cells(workspace: Workspace) -> None:
    """A column of outlines may be longer than Python's own limit; where a quote is missing, the message says so."""
    header = "filename,width,height,class,xmin,ymin,xmax,ymax,outline\n"
    row = "a.jpg,100,80,x,10,10,50,50,"
    found = Written(workspace, f'{header}{row}"{"1,2," * 50_000}"\n')
    assert (found.code, found.counts["boxes"]) == (0, 1), found.err
    found = Written(workspace, f'{header}{row}"{"1,2," * 4_500_000}\n')
    assert found.code == 2
    assert "a quote is probably missing" in found.err
