"""Labels as rows: every label of every image is one row that any reader of Parquet sees as it was stored."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncfilter.datasets.exports.label_table import COLUMNS, table_schema, write_parquet
from asyncfilter.model import ActionKind, Box, Decision, Detection, Failure, Instance, Label, Verdict
from asyncfilter.records.images import DoneEffect, StoredImage
from tests.kit.checkpoints import stored_image
from tests.kit.fuzzing import MIB

ROBIN = Detection(
    (
        Label("Robin", 98.34567, (Instance(Box(0.1, 0.2, 0.3, 0.4), 97.5),), ("Bird",), ("Redbreast",), ("Fauna",)),
        Label("Bird", 98.34567),
    ),
    "3.0",
)


def parquet(*images: StoredImage, rows: int = 1000, skips_duplicates: bool = False) -> bytes:
    """The file of the images."""
    out = io.BytesIO()
    written = write_parquet(images, out, bucket="raw", skips_duplicates=skips_duplicates, rows=rows)
    assert written.images == len(images)
    assert written.rows == pq.ParquetFile(io.BytesIO(out.getvalue())).metadata.num_rows
    return out.getvalue()


def rows_of(content: bytes) -> list[dict[str, Any]]:
    """The rows of a file."""
    found: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
    return found


def test_a_row_has_everything_of_its_label() -> None:
    """All columns, in their order; what an image has is in each of its rows."""
    copied = stored_image(7, detection=ROBIN, effects=(DoneEffect(ActionKind.COPY, "s3://clean/x"),))
    robin, bird = rows_of(parquet(copied))
    assert robin == {
        "image_id": 7,
        "seq": 7,
        "bucket": "raw",
        "key": "birds/007.jpg",
        "uri": "s3://raw/birds/007.jpg",
        "etag": f"{7:032x}",
        "size_bytes": 1007,
        "verdict": "keep",
        "rule": 0,
        "rule_label": "Robin",
        "error": None,
        "message": None,
        "effect": "copy",
        "target": "s3://clean/x",
        "model_version": "3.0",
        "rule_verdict": None,
        "reviewed_by": None,
        "reviewed_at": None,
        "reviewed_labels": None,
        "reviewed_boxes": None,
        "label": "Robin",
        "confidence_pct": 98.34567,
        "parents": ["Bird"],
        "aliases": ["Redbreast"],
        "categories": ["Fauna"],
        "instances": [{"confidence_pct": 97.5, "left": 0.1, "top": 0.2, "width": 0.3, "height": 0.4}],
    }
    own = {"label": "Bird", "parents": [], "aliases": [], "categories": [], "instances": []}
    assert bird == {**robin, **own}
    assert tuple(robin) == COLUMNS


def test_an_image_without_labels_is_one_row() -> None:
    """It failed, or the answer was empty: the columns of the label are null, and nothing else is lost."""
    failed = stored_image(1, decision=None, detection=None, failure=Failure("vanished", "gone"))
    empty = stored_image(2, decision=Decision(Verdict.REJECT), detection=Detection((), "3.0"))
    one, other = rows_of(parquet(failed, empty))
    absent = dict.fromkeys(("label", "confidence_pct", "parents", "aliases", "categories", "instances"))
    assert {name: one[name] for name in absent} == {name: other[name] for name in absent} == absent
    assert (one["verdict"], one["error"], one["message"]) == (None, "vanished", "gone")
    assert (other["verdict"], other["rule"], other["model_version"]) == ("reject", None, "3.0")


def test_the_verdict_is_the_one_that_is_counted() -> None:
    """Images whose action failed, cached ones and skipped duplicates count under no verdict."""
    images = [
        stored_image(1),
        stored_image(2, failure=Failure("target_exists", "there")),
        stored_image(3, same_as=1),
        stored_image(4, seq=None),
    ]
    assert [row["verdict"] for row in rows_of(parquet(*images))] == ["keep", None, "keep", None]
    assert [row["verdict"] for row in rows_of(parquet(*images, skips_duplicates=True))] == ["keep", None, None, None]


def test_duckdb_and_pandas_read_it_without_options(tmp_path: Path) -> None:
    """Both see types, nested boxes and missing values."""
    path = tmp_path / "labels.parquet"
    failed = stored_image(2, decision=None, detection=None, failure=Failure("vanished", "gone"))
    path.write_bytes(parquet(stored_image(1, detection=ROBIN), failed, stored_image(3, detection=ROBIN)))
    with duckdb.connect() as db:
        counts = f"SELECT verdict, count(DISTINCT image_id), count(label) FROM '{path}' GROUP BY ALL ORDER BY ALL"
        assert db.execute(counts).fetchall() == [("keep", 2, 4), (None, 1, 0)]
        boxes = f"SELECT label, b.width FROM '{path}', unnest(instances) AS t(b) WHERE seq = 1"
        assert db.execute(boxes).fetchall() == [("Robin", 0.3)]
        described = {name: type_ for name, type_, *_ in db.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}
        assert (described["size_bytes"], described["confidence_pct"], described["parents"]) == (
            "BIGINT",
            "DOUBLE",
            "VARCHAR[]",
        )
    frame = pd.read_parquet(path)
    assert list(frame.columns) == list(COLUMNS)
    assert frame.groupby("verdict")["image_id"].nunique().to_dict() == {"keep": 2}
    assert frame["instances"][0][0]["width"] == 0.3
    assert frame["label"].isna().sum() == 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 6))
def test_groups_divide_no_image_and_lose_none(labels: list[int], rows: int) -> None:
    """Whatever the size of a group is: the rows are those of one table, in order."""
    images = [
        stored_image(id_, detection=Detection(tuple(Label(f"L{number % 3}", 50.0 + number) for number in range(many))))
        for id_, many in enumerate(labels, start=1)
    ]
    content = parquet(*images, rows=rows)
    assert rows_of(content) == rows_of(parquet(*images, rows=10_000))
    found = [(row["image_id"], row["confidence_pct"]) for row in rows_of(content)]
    assert found == [
        (id_, 50.0 + number if many else None)
        for id_, many in enumerate(labels, start=1)
        for number in range(max(1, many))
    ]
    groups = pq.ParquetFile(io.BytesIO(content)).metadata
    assert all(groups.row_group(at).num_rows <= rows + 4 for at in range(groups.num_row_groups))


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_text_survives(text: str) -> None:
    """Keys and labels with anything in them."""
    (row,) = rows_of(parquet(stored_image(1, key=text, detection=Detection((Label(text, 1.0, (), (text,)),)))))
    assert (row["key"], row["label"], row["parents"]) == (text, text, [text])


def test_without_images_there_is_an_empty_table() -> None:
    """It has the columns and their types."""
    table = pq.read_table(io.BytesIO(parquet()))
    assert table.num_rows == 0
    assert table.schema.equals(table_schema())


def test_equal_images_give_equal_bytes() -> None:
    """A file can be compared with the one of another day."""
    assert parquet(stored_image(1, detection=ROBIN)) == parquet(stored_image(1, detection=ROBIN))


def test_rows_are_written_as_they_come() -> None:
    """Memory is that of one group, however many follow."""

    class Nothing(io.RawIOBase):
        def writable(self) -> bool:
            """Yes."""
            return True

        def write(self, content: Any, /) -> int:
            """Discard it."""
            return len(content)

    def many(count: int) -> Iterator[StoredImage]:
        return (stored_image(id_, detection=ROBIN) for id_ in range(1, count + 1))

    def peaks(count: int) -> tuple[int, int]:
        tracemalloc.start()
        before = pa.default_memory_pool().bytes_allocated()
        held = 0

        def watched() -> Iterator[StoredImage]:
            nonlocal held
            for image in many(count):
                yield image
                held = max(held, pa.default_memory_pool().bytes_allocated() - before)

        write_parquet(watched(), io.BufferedWriter(Nothing()), bucket="raw", skips_duplicates=False, rows=200)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, held

    few, more = peaks(400), peaks(8000)
    assert more[0] < few[0] + MIB  # what other tests have left to the collector is some hundred kB; all images are more
    assert more[1] < 2 * few[1] + 1_000_000


@pytest.mark.parametrize(("library", "extra"), [("pyarrow", "parquet"), ("pandas", "pandas")])
def test_a_missing_extra_is_named(library: str, extra: str, tmp_path: Path) -> None:
    """Without the library the error says what to install."""
    program = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "import asyncfilter\n"
        "job = asyncfilter.parse_job({'version': 1, 'name': 'a', 'source': 's3://raw/',"
        " 'rules': [{'keep': {'any': 'Robin'}}]}, base_dir='.')\n"
        "try:\n    asyncfilter.labels_frame(job)\n"
        "except asyncfilter.UsageError as error:\n    print(error.exit_code, error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"2 Install the extra: pip install 'asyncfilter[{extra}]'\n"
