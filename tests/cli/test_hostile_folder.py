"""A folder of hostile pictures, processed by the program as a process: it ends, stays small, and leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncfilter.sandbox import SandboxOptions, SandboxProcess
from tests.kit import bombs
from tests.kit.decoding import decoders_of, is_alive, memory_mb
from tests.kit.pictures import noise
from tests.kit.workspace import Workspace, ended, wait_until

GOOD = 12
SPARSE_BYTES = 199 * 1024 * 1024
BASE_MB = 250
"""Memory of a run and of its decoding processes, on many cores, with small pictures alone."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """A service."""
    with SandboxProcess(SandboxOptions()) as process:
        yield process


@pytest.fixture
def workspace(sandbox: SandboxProcess, tmp_path: Path) -> Workspace:
    """A project with a folder of pictures, most of them hostile."""
    (tmp_path / "photos").mkdir()
    for number in range(GOOD):
        (tmp_path / "photos" / f"{number:03}.webp").write_bytes(noise("WEBP", 200 + number))
    return Workspace(
        tmp_path,
        sandbox,
        source={"uri": "./photos", "include": "*"},
        rules=[{"keep": {"none": "Nothing"}}],
        actions={},
        detector={"region": "us-east-1"},
        limits={"tps": 200, "budget_usd": 1},
    )


def fill(folder: Path) -> dict[str, int]:
    """Write bombs; the expected failures."""
    for number in range(8):
        (folder / f"{number}-pixels.png").write_bytes(bombs.png(11_000 + number, 11_000))
        (folder / f"{number}-canvas.webp").write_bytes(bombs.webp(16_000, 10_000 + number))
        (folder / f"{number}-tall.tif").write_bytes(bombs.tiff(20_000, 8_000 + number))
        (folder / f"{number}-scans.jpg").write_bytes(bombs.scans(200 + number) + bytes(6 * 1024 * 1024))
        sparse = folder / f"{number}-sparse.jpg"
        sparse.write_bytes(b"\xff\xd8\xff\xe0" + b"%d" % number)
        os.truncate(sparse, SPARSE_BYTES)
    return {"decompression_bomb": 32, "invalid_image_format": 8}


def test_a_run_over_bombs_ends_and_stays_small(workspace: Workspace) -> None:
    """Every bomb fails by itself, at no cost; all good pictures are examined; memory stays within its bounds."""
    failed = fill(workspace.folder / "photos")
    process, most_mb = workspace.start("run", "job.yaml", "--json"), 0.0
    while process.poll() is None:
        most_mb = max(most_mb, memory_mb(process.pid))
        time.sleep(0.02)
    code, out, err = ended(process)
    assert code == 1, err
    summary = json.loads(out)
    assert summary["failed"] == failed
    assert (summary["keep"], summary["calls"], summary["stop_reason"]) == (GOOD, GOOD, "completed")
    assert most_mb < BASE_MB + 128 + 350
    assert "limits.decoding_mb" in workspace("export", "job.yaml", "--failed").stdout


def test_a_picture_that_needs_more_memory_can_have_it(workspace: Workspace) -> None:
    """The limit that the message names lets a large picture pass."""
    photos = workspace.folder / "photos"
    (photos / "large.png").write_bytes(bombs.png(10_100, 4_000, colour_type=2))
    lean = workspace("run", "job.yaml", "--json", "--set", "limits.decoding_mb=100")
    assert json.loads(lean.stdout)["failed"] == {"decompression_bomb": 1}
    again = workspace("run", "job.yaml", "--json", "--retry-failed")
    assert json.loads(again.stdout)["failed"] == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_decoding_process_outlives_the_program(workspace: Workspace, number: signal.Signals) -> None:
    """However a run ends in the middle of pictures, its processes end, and it can be resumed."""
    for index in range(3):
        path = workspace.folder / "photos" / f"slow-{index}.tif"
        path.write_bytes(noise("TIFF", 2_000 + index, 1_500))
    process = workspace.start("run", "job.yaml", "--set", "near_duplicates=true")
    wait_until(lambda: decoders_of(process.pid))
    decoders = decoders_of(process.pid)
    process.send_signal(number)
    code, _, err = ended(process)
    assert code == (-number if number is signal.SIGKILL else 75), err
    wait_until(lambda: not any(map(is_alive, decoders)))
    assert "Traceback" not in err
    resumed = json.loads(workspace("run", "job.yaml", "--json").stdout)
    assert (resumed["failed"], resumed["keep"]) == ({}, GOOD + 3)


def test_a_run_without_decoding_starts_no_process(workspace: Workspace) -> None:
    """Pictures that are sent as they are need no decoding process."""
    photos = workspace.folder / "photos"
    for path in photos.iterdir():
        path.unlink()
    for number in range(60):
        (photos / f"{number}.jpg").write_bytes(noise("JPEG", 200, 100 + number))
    process, seen = workspace.start("run", "job.yaml"), 0
    while process.poll() is None:
        seen += len(decoders_of(process.pid))
        time.sleep(0.005)
    assert ended(process)[0] == 0
    assert seen == 0
