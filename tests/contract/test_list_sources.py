"""Runs over lists of keys and S3 Inventory: the same answer as over the listing, and nothing is paid for twice."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncfilter import Summary, run
from asyncfilter.checkpoint import read_images
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.policy.permissions import BucketFacts, Command, needs_of, policy_document
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from tests.kit import jobs
from tests.kit.inventory import (
    FOLDER,
    MANIFEST_URI,
    Listed,
    arrow_bytes,
    csv_gz,
    listed_in,
    put_inventory,
)
from tests.kit.keys import HOSTILE_KEYS
from tests.kit.services import serving

OPTIONS = SandboxOptions(buckets=(BucketSpec("raw"), BucketSpec("clean"), BucketSpec("lists")), check_images=False)

make_job = partial(
    jobs.make_bare_job,
    rules=[{"keep": {"none": "Nothing"}}],
    actions=jobs.COPIES,
    limits={"tps": 500},
)


def fill(sandbox: Sandbox, number: int = 8) -> list[str]:
    """Put pictures, and a text that no job includes."""
    keys = [f"birds/{n:03}.jpg" for n in range(number)]
    for key in keys:
        sandbox.put("raw", key, b"picture of " + key.encode())
    sandbox.put("raw", "birds/notes.txt", b"text")
    return keys


def rows_of(job: Job) -> list[tuple[int | None, str, str, Any]]:
    """Positions, keys, versions and decisions in the checkpoint."""
    return [(row.seq, row.key, row.etag, row.decision) for row in read_images(job.checkpoint)]


def write_list(folder: Path, name: str, text: str) -> str:
    """Write a list beside the job; its address."""
    (folder / name).write_text(text, "utf-8")
    return f"./{name}"


# -- Inventory ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format_", "client"), [("CSV", "fast"), ("Parquet", "aioboto3"), ("ORC", "fast")])
async def test_inventory_gives_the_verdicts_of_the_listing(format_: str, client: str, tmp_path: Path) -> None:
    """Several files, rows in no order, any key, older versions and markers among them: rows as over the listing."""
    async with serving(OPTIONS) as sandbox:
        for key in HOSTILE_KEYS:
            sandbox.put("raw", key, b"picture of " + key.encode())
        rows = listed_in(sandbox)[::-1]
        rows += [
            Listed(rows[0].key, 5, "older", is_latest=False),
            Listed("gone.jpg", None, None, None, is_marker=True),
        ]
        write = csv_gz if format_ == "CSV" else partial(arrow_bytes, is_orc=format_ == "ORC")
        files = {"inv/raw/daily/data/1": write(rows[::2]), "inv/raw/daily/data/2": write(rows[1::2])}
        put_inventory(sandbox, files, format_=format_)
        make = partial(make_job, aws={"client": client})
        over_listing = make(base_dir=tmp_path / "a", source={"uri": "s3://raw/", "include": "*"})
        over_list = make(base_dir=tmp_path / "b", source={"inventory": MANIFEST_URI, "include": "*"})
        first: Summary = await run(over_listing)
        second: Summary = await run(over_list)
        again = await run(over_list)
    assert second.counts.failed == {}
    assert rows_of(over_list) == rows_of(over_listing)
    assert (second.counts.listed, second.counts.skipped) == (first.counts.listed, first.counts.skipped)
    assert second.counts.copied == len(HOSTILE_KEYS)
    assert again.this_run.calls == 0


async def test_objects_are_looked_at_before_they_are_paid_for(tmp_path: Path) -> None:
    """Deleted since the list was made: skipped. Replaced since: examined as it is now, and copied."""
    async with serving(OPTIONS) as sandbox:
        keys = fill(sandbox)
        put_inventory(sandbox, {"data/1": csv_gz(listed_in(sandbox))})
        for key in keys[:5]:
            sandbox.bucket("raw").delete(key)
        sandbox.put("raw", keys[7], b"another picture")
        job = make_job(base_dir=tmp_path, source={"inventory": MANIFEST_URI})
        summary = await run(job)
        copied = sandbox.bucket("clean").get(keys[7])
    assert summary.counts.skipped == {"missing": 5, "not_included": 1}
    assert (summary.counts.keep, summary.counts.copied, summary.counts.failed) == (3, 3, {})
    assert copied is not None
    assert copied.body == b"another picture"


async def test_a_prefix_limits_an_inventory(tmp_path: Path) -> None:
    """``uri`` beside it selects as the listing of that prefix does."""
    async with serving(OPTIONS) as sandbox:
        fill(sandbox)
        sandbox.put("raw", "cats/1.jpg", b"cat")
        put_inventory(sandbox, {"data/1": csv_gz(listed_in(sandbox))})
        source = {"inventory": MANIFEST_URI, "uri": "s3://raw/cats/"}
        summary = await run(make_job(base_dir=tmp_path, source=source))
    assert (summary.counts.listed, summary.counts.keep) == (1, 1)


async def test_archived_objects_are_looked_at(tmp_path: Path) -> None:
    """An inventory does not say which of them are restored."""
    options = replace(OPTIONS, archived=("raw/cold/*",), restored=("raw/warm/*",))
    async with serving(options) as sandbox:
        for key in ("cold/1.jpg", "warm/1.jpg"):
            sandbox.put("raw", key, b"picture of " + key.encode())
        rows = [row._replace(storage_class="GLACIER") for row in listed_in(sandbox)]
        put_inventory(sandbox, {"data/1": csv_gz(rows)})
        job = make_job(base_dir=tmp_path, source={"inventory": MANIFEST_URI}, actions={})
        summary = await run(job)
    assert (summary.counts.skipped, summary.counts.keep) == ({"archived": 1}, 1)


async def test_an_inventory_without_optional_columns(tmp_path: Path) -> None:
    """Size and ETag are looked up."""
    async with serving(OPTIONS) as sandbox:
        fill(sandbox)
        columns = ("Bucket", "Key")
        files = {"data/1": csv_gz(listed_in(sandbox), columns)}
        put_inventory(sandbox, files, schema=", ".join(columns))
        listing = make_job(base_dir=tmp_path / "a", source="s3://raw/")
        job = make_job(base_dir=tmp_path / "b", source={"inventory": MANIFEST_URI})
        await run(listing)
        await run(job)
        assert rows_of(job) == rows_of(listing)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data/1": b"no gzip at all"}, "MD5"),
        ({f"{FOLDER}/manifest.checksum": b"0" * 32}, "manifest.checksum"),
        ({f"{FOLDER}/manifest.json": b"{}"}, "manifest"),
    ],
)
async def test_a_damaged_inventory_is_refused(change: dict[str, bytes], word: str, tmp_path: Path) -> None:
    """A file that is not the one in the manifest, and a manifest that is not the one of its checksum."""
    async with serving(OPTIONS) as sandbox:
        fill(sandbox)
        put_inventory(sandbox, {"data/1": csv_gz(listed_in(sandbox))})
        for key, body in change.items():
            sandbox.put("lists", key, body)
        job = make_job(base_dir=tmp_path, source={"inventory": MANIFEST_URI, "uri": "s3://raw/"})
        with_error = await failed(job)
        assert word in with_error
        assert "DetectLabels" not in sandbox.stats().operations


async def failed(job: Job) -> str:
    """The message of a run that cannot use its list, whose exit code is 2."""
    try:
        summary = await run(job)
    except UsageError as error:
        return error.message
    assert summary.exit_code == 2
    assert summary.error is not None
    return str(summary.error)


async def test_truncated_data(tmp_path: Path) -> None:
    """Compressed data that ends too early, under the right MD5."""
    async with serving(OPTIONS) as sandbox:
        fill(sandbox)
        put_inventory(sandbox, {"data/1": csv_gz(listed_in(sandbox))[:-20]})
        assert "incomplete" in await failed(make_job(base_dir=tmp_path, source={"inventory": MANIFEST_URI}))


async def test_the_policy_of_the_job_is_enough(tmp_path: Path) -> None:
    """With exactly what ``policy`` prints an inventory is read, and what is gone is told from what is forbidden."""
    options = replace(OPTIONS, access_log=True)
    async with serving(options) as sandbox:
        keys = fill(sandbox, 4)
        put_inventory(sandbox, {"inv/raw/daily/data/1": csv_gz(listed_in(sandbox))})
        sandbox.bucket("raw").delete(keys[0])
        source = {"inventory": MANIFEST_URI, "uri": "s3://raw/birds/"}
        job = make_job(base_dir=tmp_path, source=source)
        sandbox.set_policy(policy_document(needs_of(job, [Command.RUN], BucketFacts())))
        summary = await run(job)
    assert (summary.counts.keep, summary.counts.copied, summary.counts.failed) == (3, 3, {})
    assert summary.counts.skipped == {"missing": 1, "not_included": 1}


# -- Lists of keys -----------------------------------------------------------------------------------------------------


def lists(keys: list[str]) -> dict[str, str]:
    """The same list in every form of text."""
    uris = [f"s3://raw/{key}" for key in keys]
    return {
        "keys.csv": "\n".join(["uri,note", *(f'"{uri}",x' for uri in uris)]),
        "keys.tsv": "\n".join(["note\tkey\tbucket", *(f"x\t{key}\traw" for key in keys)]),
        "plain.csv": "\n".join(uris),
        "bulk.jsonl": "\n".join(json.dumps({"source-ref": uri}) for uri in uris),
        "objects.manifest": "\n".join(json.dumps({"source-ref": uri, "a": 1, "a-metadata": {}}) for uri in uris),
        "list.txt": "\r\n".join(uris) + "\r\n\r\n",
    }


@pytest.mark.parametrize("name", list(lists([])))
@pytest.mark.parametrize(("packed", "where"), [(False, "s3"), (True, "folder")])
async def test_a_list_is_examined_in_its_order(name: str, packed: bool, where: str, tmp_path: Path) -> None:
    """Its bucket comes from its addresses; a key that it has twice is examined once, at its first place."""
    async with serving(OPTIONS) as sandbox:
        keys = fill(sandbox, 5)
        order = [keys[3], keys[0], keys[3], keys[4]]
        body = lists(order)[name].encode()
        body, name = (gzip.compress(body), f"{name}.gz") if packed else (body, name)
        if where == "s3":
            sandbox.put("lists", name, body)
        (tmp_path / name).write_bytes(body)
        address = f"s3://lists/{name}" if where == "s3" else f"./{name}"
        job = make_job(base_dir=tmp_path, source={"list": address})
        summary = await run(job)
        again = await run(job)
    assert [row[1] for row in rows_of(job)] == [keys[3], keys[0], keys[4]]
    assert summary.counts.copied == 3
    assert again.this_run.calls == 0


async def test_parquet_list_with_a_named_column(tmp_path: Path) -> None:
    """Keys of any column, below the source's address; what is outside is skipped."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    async with serving(OPTIONS) as sandbox:
        keys = fill(sandbox, 5)
        pq.write_table(pa.table({"n": [1, 2, 3], "Object": [keys[1], "other/x.jpg", keys[0]]}), tmp_path / "k.parquet")
        source = {"uri": "s3://raw/birds/", "list": "./k.parquet", "column": "object"}
        job = make_job(base_dir=tmp_path, source=source)
        summary = await run(job)
    assert [row[1] for row in rows_of(job)] == [keys[1], keys[0]]
    assert summary.counts.skipped == {"outside": 1}


async def test_a_list_that_changed_is_read_anew(tmp_path: Path) -> None:
    """In the middle of a pass and after it: known images are not paid for again, new ones follow."""
    async with serving(OPTIONS) as sandbox:
        keys = fill(sandbox, 10)
        name = write_list(tmp_path, "keys.csv", "\n".join(["key", *keys[:6]]))
        make = partial(make_job, base_dir=tmp_path, source={"uri": "s3://raw/", "list": name})
        await run(make(limits={"tps": 500, "max_images": 3}))
        write_list(tmp_path, "keys.csv", "\n".join(["key", *keys[9:4:-1], keys[0]]))
        events: list[Any] = []
        summary = await run(make(), on_event=events.append)
        job = make()
    assert any("is not the one of the last run" in str(event) for event in events)
    assert [row[1] for row in rows_of(job)] == [*keys[:3], *keys[9:4:-1]]
    assert summary.this_run.calls <= 5
    assert summary.counts.listed == 6


async def test_a_checkpoint_goes_from_a_list_to_the_listing(tmp_path: Path) -> None:
    """Both are of the same source, so that labels are kept, in the middle of a pass too."""
    async with serving(OPTIONS) as sandbox:
        keys = fill(sandbox, 10)
        name = write_list(tmp_path, "keys.csv", "\n".join(["key", *reversed(keys)]))
        make = partial(make_job, base_dir=tmp_path)
        await run(make(source={"uri": "s3://raw/", "list": name}, limits={"tps": 500, "max_images": 4}))
        summary = await run(make(source="s3://raw/"))
        assert sandbox.stats().operations["DetectLabels"].billed == 10
    assert [row[1] for row in rows_of(make(source="s3://raw/"))] == [*keys[:5:-1], *keys[:6]]
    assert summary.counts.keep == 10


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name\nx.jpg", "expected a column key or uri"),
        ("uri\ns3://raw/a.jpg\ns3://other/b.jpg", "keys.csv:3"),
        ("uri\ns3://raw/a.jpg\n\nhttp://x/y.jpg", "expected a key or s3://bucket/key"),
        ("key\na.jpg", "the bucket is not known"),
        ("", "the bucket is not known"),
        ("uri,n\ns3://raw/a.jpg", "expected 2 cells"),
        ('uri\n"s3://raw/a.jpg', "keys.csv"),
        ("uri\ns3://raw/" + "x" * 1025, "1024 bytes"),
    ],
)
async def test_a_list_that_cannot_be_read(text: str, word: str, tmp_path: Path) -> None:
    """The line is named, and nothing is paid for."""
    async with serving(OPTIONS) as sandbox:
        fill(sandbox, 2)
        name = write_list(tmp_path, "keys.csv", text)
        assert word in await failed(make_job(base_dir=tmp_path, source={"list": name}))
        assert "DetectLabels" not in sandbox.stats().operations


async def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    """Here and in S3."""
    async with serving(OPTIONS):
        for address in ("./keys.csv", "s3://lists/keys.csv", "s3://no-such-bucket/keys.csv"):
            with pytest.raises(UsageError, match=r"keys\.csv|no-such"):
                await run(make_job(base_dir=tmp_path, source={"list": address, "uri": "s3://raw/"}))


async def test_targets_in_the_bucket_of_a_list_are_refused(tmp_path: Path) -> None:
    """Also where only the list names the bucket."""
    async with serving(OPTIONS) as sandbox:
        keys = fill(sandbox, 2)
        name = write_list(tmp_path, "keys.txt", f"s3://raw/{keys[0]}")
        actions = {"keep": {"copy": "s3://raw/copies/{key}"}}
        with pytest.raises(UsageError, match="outside the source"):
            await run(make_job(base_dir=tmp_path, source={"list": name}, actions=actions))


async def test_random_order_over_a_list(tmp_path: Path) -> None:
    """The order is that of the seed, whatever the list's is."""
    async with serving(OPTIONS) as sandbox:
        keys = fill(sandbox, 8)
        name = write_list(tmp_path, "keys.csv", "\n".join(["key", *reversed(keys)]))
        base = {"uri": "s3://raw/", "order": "random", "seed": 7}
        listing = make_job(base_dir=tmp_path / "a", source=base)
        job = make_job(base_dir=tmp_path, source=base | {"list": name})
        await run(listing)
        await run(job)
        assert rows_of(job) == rows_of(listing)
