"""Job files and checkpoints may come from anybody: each is read, or refused with the error of its kind."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncfilter.checkpoint import open_checkpoint, read_images, read_status
from asyncfilter.errors import CheckpointError, JobError
from asyncfilter.job import load_job, parse_job
from asyncfilter.policy.header import read_header
from asyncfilter.records.progress import Batch
from tests.kit.checkpoints import IDENTITY, stored_image
from tests.kit.fuzzing import MIB, bounded, damaged, few, fuzz

CONFIG = Path(__file__).parents[2] / "config"
JOBS = [path.read_bytes() for path in sorted(CONFIG.glob("*.yaml"))]
JOB_TOKENS = [
    *(b"&a ", b"*a", b"<<: *a\n", b"!!python/object:os.system ", b"!!binary ", b"? ", b"- ", b": ", b"{", b"[", b"}"),
    *(b"\t", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"|\n", b">\n", b"---\n", b"...\n", b"${HOME}", b"${", b"~", b"'"),
    *(b"[" * 2000, b"{a: " * 2000, b"- " * 2000, b"1e999", b"0x", b"2026-01-01", b".nan", b"9" * 5000, b"1:1:1:1"),
]


@pytest.fixture(scope="module")
def warm() -> None:
    """The modules that the first job imports are no part of its time."""
    for job in ({}, {"version": 1, "name": "a"}):
        with suppress(JobError):
            parse_job(job, base_dir=".")


@pytest.mark.usefixtures("warm")
@fuzz
@given(damaged(JOBS, JOB_TOKENS, most_bytes=32 * 1024))
@example(b"a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n")
@example(b"[" * 100_000)
def test_a_job_file_is_read_or_refused(body: bytes) -> None:
    """No job file ends the program with anything but the list of its problems."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.yaml"
        path.write_bytes(body)
        with suppress(JobError):
            load_job(path, environ={"HOME": "/home/a"})


@cache
def checkpoint_bytes() -> bytes:
    """A small checkpoint as it lies on the disk after a run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.db"

        async def write() -> None:
            async with await open_checkpoint(path, identity=IDENTITY, name="robins") as checkpoint:
                await checkpoint.commit(Batch(new=[stored_image(number) for number in range(1, 40)]))

        asyncio.run(write())
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        return path.read_bytes()


@few
@given(st.data())
def test_a_checkpoint_is_read_or_refused(data: st.DataObject) -> None:
    """A damaged file is refused as one, by those who only read and by those who write, and is not changed by it."""
    body = data.draw(damaged([checkpoint_bytes()], [b"\0" * 100, b"\xff" * 8, b"SQLite format 3\0", b"CREATE TABLE"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.db"
        path.write_bytes(body)
        with suppress(CheckpointError):
            read_status(path)
        with suppress(CheckpointError):
            list(read_images(path))
        assert path.read_bytes() == body

        async def open_it() -> None:
            async with await open_checkpoint(path, identity=IDENTITY, name="robins"):
                pass

        with suppress(CheckpointError):
            asyncio.run(open_it())


HEADERS = [
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xc0\0\x11\x08\0\x64\0\x64\3\1\x22\0\2\x11\1\3\x11\1",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x64\0\0\0\x64\x08\2\0\0\0",
    b"GIF89a\x64\0\x64\0",
    b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x63\0\0\x63\0\0",
    b"II*\0\x08\0\0\0\x02\0\0\1\3\0\1\0\0\0\x64\0\0\0\1\1\3\0\1\0\0\0\x64\0\0\0\0\0\0\0",
    b"BM" + b"\0" * 12 + b"\x28\0\0\0\x64\0\0\0\x64\0\0\0",
    b"\0\0\0\x20ftypavif\0\0\0\0avifmif1",
]


@fuzz
@given(damaged(HEADERS, [b"\xff", b"\xff\xe1\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xc2"]), st.booleans())
def test_the_header_of_an_image_is_always_read(body: bytes, is_whole: bool) -> None:
    """Nothing in a picture stops its check; in doubt it is sent."""
    with bounded(16 * len(body) + MIB):
        header = read_header(body, is_whole=is_whole)
    assert header.width is None or header.width >= 0
    assert header.height is None or header.height >= 0
