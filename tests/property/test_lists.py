"""Readers of lists: any key comes back from every form, and no content crashes them or vanishes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncfilter.datasets.lists import ListedPlace, inventory_objects, list_entries, read_manifest
from asyncfilter.errors import UsageError
from asyncfilter.model import FOLDER, ListedObject
from tests.kit.inventory import Listed, arrow_bytes, csv_gz, manifest_of
from tests.kit.keys import HOSTILE_KEYS

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda key: not key.startswith(("s3://", "file://", "arn:")) and "://" not in key[:12]
)
PLAIN_KEYS = KEYS.filter(lambda key: not set(key) & set("\r\n"))
LISTS = st.lists(KEYS, max_size=8)


def keys_of(name: str, content: bytes, column: str | None = None) -> list[str]:
    """The keys of a list in the bucket ``raw``."""
    return [one.key for one in ListedPlace("raw").objects(list_entries(name, io.BytesIO(content), column))]


def as_csv(keys: list[str]) -> bytes:
    """A table with a column of keys."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["n", "Key"])
    writer.writerows(enumerate(keys))
    return text.getvalue().encode()


def as_addresses(keys: list[str]) -> bytes:
    """A table of addresses, with a byte order mark."""
    text = io.StringIO()
    csv.writer(text).writerows([["uri"], *([f"s3://raw/{key}"] for key in keys)])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def as_json(keys: list[str]) -> bytes:
    """A manifest."""
    return "".join(json.dumps({"source-ref": f"s3://raw/{key}", "x": None}) + "\n" for key in keys).encode()


FORMS: list[tuple[str, Callable[[list[str]], bytes]]] = [
    ("k.csv", as_csv),
    ("k.csv", as_addresses),
    ("k.jsonl", as_json),
    ("list", as_json),
]


@pytest.mark.parametrize(("name", "write"), FORMS)
@given(keys=LISTS)
@example(keys=list(HOSTILE_KEYS))
def test_any_key_comes_back(name: str, write: Callable[[list[str]], bytes], keys: list[str]) -> None:
    """From every form of text, also compressed."""
    assert keys_of(name, write(keys)) == keys
    assert keys_of(f"{name}.gz", gzip.compress(write(keys))) == keys


@given(st.lists(PLAIN_KEYS, max_size=8))
def test_any_line_of_text_comes_back(keys: list[str]) -> None:
    """A key without a line end is a line."""
    assert keys_of("k.txt", "\n".join(keys).encode()) == keys


def as_batch(keys: list[str]) -> bytes:
    """A manifest of S3 Batch Operations; it begins with an image."""
    text = io.StringIO()
    csv.writer(text).writerows(["raw", quote(key, safe="/")] for key in ("first.JPG", *keys))
    return text.getvalue().encode()


@given(LISTS)
@example(list(HOSTILE_KEYS))
def test_any_key_comes_back_from_a_batch_manifest(keys: list[str]) -> None:
    """Keys are decoded there; a row of another bucket, or with a version, is refused."""
    assert keys_of("k.csv", as_batch(keys)) == ["first.JPG", *keys]
    for row in (b"other,a.jpg\n", b"raw,a.jpg,v1\n", b"raw,\n", b"raw,%ff.jpg\n"):
        with pytest.raises(UsageError, match=f"k.csv:{len(keys) + 2}: " if "\n" not in "".join(keys) else "k.csv:"):
            keys_of("k.csv", as_batch(keys) + row)


@pytest.mark.parametrize("format_", ["CSV", "Parquet", "ORC"])
@settings(max_examples=20, deadline=None)
@given(keys=LISTS)
@example(keys=list(HOSTILE_KEYS))
def test_any_key_comes_back_from_an_inventory(format_: str, keys: list[str]) -> None:
    """Decoded in CSV, literal elsewhere; only the latest versions."""
    rows = [Listed(key, 7, "e" * 32) for key in keys]
    past = [Listed("old.jpg", 1, "x", is_latest=False), Listed("gone.jpg", None, None, None, is_marker=True)]
    body = csv_gz([*past, *rows]) if format_ == "CSV" else arrow_bytes([*past, *rows], is_orc=format_ == "ORC")
    manifest = read_manifest("m", manifest_of({"f": body}, format_=format_))
    found = list(inventory_objects("f", io.BytesIO(body), manifest))
    assert found == [ListedObject(key, 7, "e" * 32) for key in keys]


@given(
    st.sampled_from(["k.csv", "k.tsv", "k.jsonl", "k.txt", "k", "k.csv.gz"]),
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=200).map(lambda body: gzip.compress(body)[: len(body)]),
        st.text(max_size=100).map(lambda text: f"key,size,etag,bucket\n{text}".encode()),
        st.text(max_size=100).map(lambda text: b'{"key": ' + json.dumps(text).encode() + b"}\n"),
        st.binary(max_size=100).map(lambda body: b"PAR1" + body),
        st.binary(max_size=100).map(lambda body: b"ORC" + body),
    ),
)
def test_no_content_crashes_a_reader(name: str, content: bytes) -> None:
    """Keys, or one error of its own."""
    with suppress(UsageError):
        for key in keys_of(name, content):
            assert key
            key.encode()


@given(st.lists(st.one_of(PLAIN_KEYS.map(lambda key: json.dumps({"key": key})), st.text(max_size=20)), max_size=6))
def test_no_line_vanishes(lines: list[str]) -> None:
    """Every line that is not blank is an object, or the error that ends the list."""
    content = "\n".join(line.replace("\n", " ") for line in lines).encode("utf-8", "replace")
    written = [line for line in content.split(b"\n") if line.strip(b" \t\r")]
    entries = list_entries("k.jsonl", io.BytesIO(content))
    for number in range(len(written)):
        try:
            assert next(entries, None) is not None, number
        except UsageError as error:
            refused = error.message
            break
    else:
        assert next(entries, None) is None
        return
    assert "k.jsonl:" in refused


@given(st.binary(max_size=200))
def test_no_manifest_crashes_the_reader(content: bytes) -> None:
    """Only errors of its own."""
    with suppress(UsageError):
        read_manifest("m", content)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("./a.jpg", "a.jpg"),
        ("/photos/a.jpg", "a.jpg"),
        ("file:///photos/a%20b.jpg", "a%20b.jpg"),
        ("../a.jpg", "../a.jpg"),  # no file of the folder
        ("/elsewhere/a.jpg", None),
        ("s3://raw/a.jpg", None),
        ("/photos2/a.jpg", None),
    ],
)
def test_files_of_a_folder(key: str, expected: str | None) -> None:
    """Relative to the folder; what names another place is refused."""
    entries = list_entries("k.txt", io.BytesIO(key.encode()))
    place = ListedPlace(f"{FOLDER}/photos")
    if expected is None:
        with pytest.raises(UsageError, match="is not in the source"):
            list(place.objects(entries))
    else:
        assert [one.key for one in place.objects(entries)] == [expected]


@pytest.mark.parametrize("size", ["-1", "x", "1.5", "9" * 30])
def test_a_size_that_is_none(size: str) -> None:
    """The row is named."""
    with pytest.raises(UsageError, match=r"k\.csv:2"):
        keys_of("k.csv", f"key,size\na.jpg,{size}".encode())
    body = csv_gz([])
    manifest = read_manifest("m", manifest_of({"f": body}, schema="Bucket, Key, Size"))
    with pytest.raises(UsageError, match="row 1"):
        list(inventory_objects("f", io.BytesIO(f'"raw","a.jpg","{size}"\n'.encode()), manifest))


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet and ORC need it; other lists do not."""
    content = arrow_bytes([Listed("a.jpg")])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UsageError, match="pyarrow") as caught:
        keys_of("k.parquet", content)
    assert caught.value.hint == "Install the extra: pip install 'asyncfilter[parquet]'"
    assert keys_of("k.txt", b"a.jpg") == ["a.jpg"]


def test_a_table_without_a_header() -> None:
    """Told by an address, or by the name of an image that stands alone."""
    assert keys_of("k.csv", b"a/1.jpg\na/2.png\n") == ["a/1.jpg", "a/2.png"]
    assert keys_of("k.csv", b"s3://raw/1,x\ns3://raw/2,y\n") == ["1", "2"]
    for content in (b"a\nb", b"a.jpg,x\nb.jpg,y"):
        with pytest.raises(UsageError, match="expected a column key"):
            keys_of("k.csv", content)
