"""Every image with labels is found by its ETag, for any order of rows and any state of the index."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from asyncfilter.checkpoint import SqliteCheckpoint, etag_index, open_checkpoint
from asyncfilter.checkpoint.schema import table_names
from asyncfilter.checkpoint.state import INDEXED, read_state
from asyncfilter.errors import CheckpointError
from asyncfilter.model import Detection
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Batch
from tests.kit.checkpoints import SqliteHarness

ETAGS = [f"{number:02x}{'ab' * 15}" for number in range(6)] + [f"00{'ab' * 14}cd", "ABCD", "00ab-2", "00ab-3"]
"""Some share a prefix; some are no hex digits."""


async def opened(path: Path) -> SqliteCheckpoint:
    """The checkpoint at ``path``."""
    return await open_checkpoint(path, identity={}, name="contents")


async def found(checkpoint: SqliteCheckpoint) -> dict[str, list[int]]:
    """Row ids by ETag, as the checkpoint finds them."""
    return {etag: [image.id for image in await checkpoint.by_etags([etag])] for etag in ETAGS}


@pytest.mark.parametrize("seed", range(30))
def test_found_whatever_comes_between(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After late ids, changed ETags, rollbacks, clean ends and kills, look-ups find exactly the stored rows."""
    monkeypatch.setattr(etag_index, "MEMTABLE_ENTRIES", 5)
    anyio.run(_in_process, random.Random(seed), tmp_path)


async def _in_process(chance: random.Random, folder: Path) -> None:
    harness = SqliteHarness(folder)
    etags: dict[int, str] = {}
    in_flight: list[int] = []
    checkpoint = await harness.open()
    next_id = checkpoint.opened.next_id
    for _ in range(60):
        in_flight += range(next_id, next_id + 2)
        next_id += 2
        committed = [id_ for id_ in in_flight if chance.random() < 0.4]
        new = {id_: chance.choice(ETAGS) for id_ in committed}
        rows = [_image(id_, etag, chance.random() < 0.8) for id_, etag in new.items()]
        labelled = [row.id for row in rows if row.detection is not None]
        if chance.random() < 0.2:
            with pytest.raises(CheckpointError):
                await checkpoint.commit(
                    Batch(new=[*rows, _image(next_id + 5, "ABCD", True)], positioned=[_image(999, "", True)])
                )
        else:
            renewed = [(id_, chance.choice(ETAGS)) for id_ in etags if chance.random() < 0.1]
            await checkpoint.commit(Batch(new=rows, renewed=renewed))
            in_flight = [id_ for id_ in in_flight if id_ not in new]
            etags |= dict(renewed) | {id_: new[id_] for id_ in labelled}
        if chance.random() < 0.2:
            await (harness.crash() if chance.random() < 0.5 else harness.close())
            checkpoint = await harness.open()
            next_id, in_flight = checkpoint.opened.next_id, []
        assert await found(checkpoint) == {
            etag: [id_ for id_, its in sorted(etags.items()) if its == etag] for etag in ETAGS
        }
    await harness.close()


def _image(id_: int, etag: str, has_labels: bool) -> StoredImage:
    detection = Detection(()) if has_labels else None
    return StoredImage(id=id_, seq=id_, key=str(id_), etag=etag, size_bytes=1, detection=detection)


async def test_a_file_with_another_index_gets_this_one(tmp_path: Path) -> None:
    """Rows of a file from before this form of the index are found, also when the file is opened again."""
    path = tmp_path / "old.db"
    rows = [_image(id_, ETAGS[id_ % len(ETAGS)], id_ % 3 > 0) for id_ in range(1, 100)]
    async with await opened(path) as checkpoint:
        await checkpoint.commit(Batch(new=rows))
        expected = await found(checkpoint)
    assert sum(map(len, expected.values())) == 66
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "DROP TABLE content; DELETE FROM state WHERE key = 'indexed';"
            "CREATE INDEX image_etag ON image (substr(etag, 1, 4)) WHERE detection IS NOT NULL"
        )
    for _ in range(2):
        async with await opened(path) as checkpoint:
            assert await found(checkpoint) == expected
    with closing(sqlite3.connect(path)) as db:
        assert "image_etag" not in table_names(db)
        assert read_state(db, INDEXED, int) == 99


async def test_few_rows_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With any number of images, opening a file reads at most five times as many rows as the memtable holds."""
    monkeypatch.setattr(etag_index, "MEMTABLE_ENTRIES", 50)
    chance = random.Random(0)
    async with await opened(tmp_path / "many.db") as checkpoint:
        for first in range(1, 1200, 4):
            rows = [_image(id_, chance.randbytes(16).hex(), True) for id_ in range(first, first + 4)]
            await checkpoint.commit(Batch(new=rows))
            with closing(sqlite3.connect(tmp_path / "many.db")) as db:
                (last,) = db.execute("SELECT max(id) FROM image").fetchone()
                assert last - (read_state(db, INDEXED, int) or 0) <= 5 * 50
