"""Looking up keys in a checkpoint while a run writes to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncfilter.checkpoint import open_checkpoint, open_lookup
from asyncfilter.errors import CheckpointError, CheckpointMismatchError
from asyncfilter.model import Detection
from asyncfilter.records.images import StoredImage, StoredReference
from asyncfilter.records.progress import Batch, Totals, Watermark
from tests.kit.checkpoints import IDENTITY, stored_image


def row(id_: int, seq: int | None) -> StoredImage:
    """A row with a label."""
    return stored_image(id_, seq=seq, key=f"{id_:03d}.jpg")


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, with their contents."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_each_question_sees_the_file_as_it_is(tmp_path: Path) -> None:
    """Rows that a run adds meanwhile are visible; the run is not delayed, and nothing is changed."""
    path = tmp_path / "job.db"
    async with await open_checkpoint(path, identity=IDENTITY, name="x") as checkpoint:
        await checkpoint.commit(Batch(new=[row(1, 1)], totals=Totals(calls=1), watermark=Watermark(seq=1)))
        async with open_lookup(path, IDENTITY) as lookup:
            assert (lookup.status.totals.calls, lookup.status.watermark.seq) == (1, 1)
            assert [found.id for found in await lookup.by_keys(["001.jpg", "002.jpg"])] == [1]
            reference = StoredReference(uri="s3://good/1.jpg", etag="1", size_bytes=1, detection=Detection(()))
            await checkpoint.commit(Batch(new=[row(2, None)], references=[reference]))
            found = await lookup.by_keys(["002.jpg", "001.jpg"])
            assert [(one.id, one.seq, one.detection is not None) for one in found] == [(1, 1, False), (2, None, True)]
            assert list(await lookup.references()) == [reference]
    before = contents(tmp_path)
    async with open_lookup(path, IDENTITY) as lookup:
        assert len(await lookup.by_keys(["001.jpg", "002.jpg"])) == 2
    assert contents(tmp_path) == before


async def test_what_is_not_the_jobs_is_refused(tmp_path: Path) -> None:
    """Another source, a missing file or another format is refused as by a run."""
    path = tmp_path / "job.db"
    async with await open_checkpoint(path, identity=IDENTITY, name="x") as checkpoint:
        await checkpoint.commit(Batch(new=[row(1, None)]))
    with pytest.raises(CheckpointMismatchError, match=r"source\.uri"):
        async with open_lookup(path, {"source.uri": "s3://other/"}):
            pass
    with pytest.raises(CheckpointError, match="no checkpoint"):
        async with open_lookup(tmp_path / "none.db", IDENTITY):
            pass
