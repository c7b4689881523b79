"""A committing process is killed at random times: all reported commits are in the file, and no partial ones.

Run as a program, this file is that process: it commits batch after batch and prints the last id once a commit returned.
"""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import anyio
import msgspec
import pytest

from asyncfilter.checkpoint import open_checkpoint, read_images, read_status
from asyncfilter.checkpoint.reader import Status
from asyncfilter.model import ActionKind, Decision, Detection, Label, Verdict
from asyncfilter.records.images import DoneEffect, StoredImage
from asyncfilter.records.progress import Batch, Watermark

KILLS = 8
PRICE_MICROS = 1000
RESERVED_CALLS = 50


def image(id_: int) -> StoredImage:
    """The row of an id; the same in every process."""
    chance = random.Random(id_)
    labels = tuple(Label(f"Label {chance.randrange(300)}", chance.random() * 100) for _ in range(chance.randrange(9)))
    decision = Decision(Verdict.KEEP, chance.randrange(5), f"Label {chance.randrange(9)}")
    etag = chance.randbytes(16).hex()
    return StoredImage(
        id=id_, seq=id_, key=f"{id_}.jpg", etag=etag, size_bytes=id_, decision=decision, detection=Detection(labels)
    )


async def commit_forever(path: Path, seed: int) -> None:
    """Commit batches from where the last process was killed, until this one is."""
    chance = random.Random(seed)
    async with await open_checkpoint(path, identity={}, name="kill") as checkpoint:
        opened = checkpoint.opened
        totals, next_id = opened.totals, opened.next_id
        totals.reserved_calls, totals.reserved_micros = RESERVED_CALLS, RESERVED_CALLS * PRICE_MICROS
        await checkpoint.commit(Batch(positioned=[image(id_) for id_ in range(opened.watermark.seq + 1, next_id)]))
        while True:
            new = [image(next_id + i) for i in range(chance.randrange(1, 200))]
            next_id += len(new)
            effects = [(one.id, DoneEffect(ActionKind.COPY, f"s3://clean/{one.key}")) for one in new[::7]]
            totals.calls += len(new)
            totals.billed_calls += len(new)
            totals.spent_micros += len(new) * PRICE_MICROS
            watermark = Watermark(seq=next_id - 1 - chance.randrange(len(new)))
            await checkpoint.commit(Batch(new=new, effects=effects, totals=totals, watermark=watermark))
            sys.stdout.write(f"{next_id - 1}\n")
            sys.stdout.flush()


def killed(path: Path, seed: int, commits: int) -> int:
    """Run until ``commits`` were reported, kill -9 at once, and return the last id that was reported."""
    with subprocess.Popen(
        [sys.executable, __file__, str(path), str(seed)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        reported = [int(process.stdout.readline()) for _ in range(commits)]
        process.kill()
        reported += [int(line) for line in process.stdout if line.endswith("\n")]
    return reported[-1]


def check(path: Path, reported: int, processes: int, before: Status | None) -> Status:
    """Check the file that a killed process left."""
    status, images = read_status(path), list(read_images(path))
    assert [one.id for one in images] == list(range(1, len(images) + 1))
    assert len(images) >= reported
    for one in images:
        assert msgspec.structs.replace(one, effects=()) == image(one.id)
        assert one.effects in ((), (DoneEffect(ActionKind.COPY, f"s3://clean/{one.key}"),))
    assert status.effects == sum(len(one.effects) for one in images)
    totals = status.totals
    assert totals.calls == len(images)
    assert totals.billed_calls == len(images) + RESERVED_CALLS * (processes - 1)
    assert totals.spent_micros == totals.billed_calls * PRICE_MICROS
    assert totals.reserved_micros == RESERVED_CALLS * PRICE_MICROS
    assert before is None or status.watermark.seq >= before.watermark.seq
    return status


@pytest.mark.slow
def test_what_was_reported_as_durable_survives_kill_9(tmp_path: Path) -> None:
    """After eight kills on one file, rows, effects, watermark and sums are those of whole commits; none is missing."""
    path = tmp_path / "kill.db"
    chance = random.Random(20261122)
    status = None
    for number in range(1, KILLS + 1):
        reported = killed(path, seed=number, commits=chance.randrange(1, 12))
        status = check(path, reported, number, status)


if __name__ == "__main__":
    anyio.run(commit_forever, Path(sys.argv[1]), int(sys.argv[2]))
