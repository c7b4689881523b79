"""Decoding processes may die, stall and be given up without the run, and none outlives it."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from asyncfilter.errors import AccessError, ImageError
from asyncfilter.job.spec import DetectorKind
from asyncfilter.pictures import decoder_pool
from asyncfilter.pictures.decode_messages import DecodeRequest
from asyncfilter.pictures.decoder_pool import ByteRoom, Decoded, DecoderPool
from asyncfilter.policy.detectors import PROFILES
from tests.kit import bombs
from tests.kit.decoding import as_file, decoders_of, environment_of, is_alive, opened_by
from tests.kit.pictures import noise
from tests.kit.workspace import PATIENCE_S

LIMITS = PROFILES[DetectorKind.REKOGNITION].image_limits
MIB = 1 << 20
SMALL = noise("WEBP")
REQUEST = DecodeRequest(limits=LIMITS)


@functools.cache
def slow() -> bytes:
    """A picture whose conversion takes a second or more."""
    return bombs.png(9_000, 9_000, colour_type=2)


@pytest.fixture
def decoders() -> Iterator[DecoderPool]:
    """One decoding process, for pictures of any size."""
    with DecoderPool(decoding_bytes=2_000 * MIB, processes=1) as pool:
        yield pool
    assert decoders_of() == []


async def decode(decoders: DecoderPool, body: bytes = SMALL) -> Decoded:
    """Convert one picture."""
    with as_file(body) as file:
        return await decoders.decode(REQUEST, file, guess_bytes=600 * MIB)


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds."""
    for _ in range(3_000):
        if holds():
            return
        await anyio.sleep(0.01)
    raise AssertionError("it never held")


async def while_decoding(decoders: DecoderPool) -> int:
    """Return, while a picture is decoded, the process that does it."""
    await until(lambda: any(map(has_picture, decoders_of())))
    await anyio.sleep(0.3)
    return decoders_of()[0]


def has_picture(process: int) -> bool:
    """Whether a process holds a file of ``as_file``; before it does, it is still starting."""
    with suppress(OSError):
        return any(name.endswith("(deleted)") for name in opened_by(process))
    return False


async def test_processes_start_when_they_are_needed_and_are_kept(decoders: DecoderPool) -> None:
    """A pool starts no process before the first picture, and then one for all that come one after the other."""
    assert decoders_of() == []
    await decode(decoders)
    first = decoders_of()
    await decode(decoders)
    assert len(first) == 1
    assert decoders_of() == first


async def test_a_thousand_small_pictures_have_their_results(decoders: DecoderPool) -> None:
    """Nothing that a run does for the next picture ends a process."""
    body = noise("JPEG", 80, 80)
    with as_file(body) as file:
        for _ in range(1_000):
            result, _ = await decoders.decode(DecodeRequest(digests=True), file, guess_bytes=MIB)
            assert result.blake2b == hashlib.blake2b(body, digest_size=16).hexdigest()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, "decoder_died"), (signal.SIGSEGV, "decoder_died"), (signal.SIGXCPU, "decoding_timeout")],
)
async def test_a_process_that_dies_fails_its_picture_alone(
    decoders: DecoderPool, number: signal.Signals, code: str
) -> None:
    """The picture that was decoded has an error code of its own; the next one gets a new process."""
    async with anyio.create_task_group() as tasks:

        async def fails() -> None:
            with pytest.raises(ImageError) as caught:
                await decode(decoders, slow())
            assert caught.value.code == code

        tasks.start_soon(fails)
        process = await while_decoding(decoders)
        os.kill(process, number)
    assert (await decode(decoders)).jpeg
    assert decoders_of() != [process]


async def test_an_idle_process_that_was_ended_fails_no_picture(decoders: DecoderPool) -> None:
    """A process that the system ended between two pictures is replaced."""
    await decode(decoders)
    (process,) = decoders_of()
    os.kill(process, signal.SIGKILL)
    await until(lambda: not is_alive(process))
    assert (await decode(decoders)).jpeg


async def test_a_picture_that_takes_too_long_fails(decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not answer in time is ended, and its picture fails."""
    await decode(decoders)
    (process,) = decoders_of()
    monkeypatch.setattr(decoder_pool, "WALL_S", 0.3)
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(ImageError) as caught:
        await decode(decoders)
    assert caught.value.code == "decoding_timeout"
    assert not is_alive(process)
    monkeypatch.undo()
    assert (await decode(decoders)).jpeg


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
async def test_signals_that_end_a_run_do_not_end_its_processes(decoders: DecoderPool, number: signal.Signals) -> None:
    """A run that drains still gets its results, also when a service manager signals all processes."""
    async with anyio.create_task_group() as tasks:

        async def succeeds() -> None:
            assert (await decode(decoders, slow())).jpeg

        tasks.start_soon(succeeds)
        process = await while_decoding(decoders)
        os.kill(process, number)
    assert decoders_of() == [process]
    assert os.getpgid(process) != os.getpgid(os.getpid())


async def test_a_cancelled_decoding_ends_its_process(decoders: DecoderPool) -> None:
    """Its result would otherwise be taken for that of the next picture."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(decode, decoders, slow())
        process = await while_decoding(decoders)
        tasks.cancel_scope.cancel()
    assert not is_alive(process)
    assert (await decode(decoders)).result.width == 200


RUN = """
import anyio, sys, tempfile
from asyncfilter.pictures.decoder_pool import DecoderPool
from tests.unit.test_decoder_pool import decode, slow
with DecoderPool(decoding_bytes=2_000_000_000, processes=1) as decoders:
    anyio.run(decode, decoders, slow())
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.4, 0.8])
def test_no_process_outlives_a_killed_run(delay_s: float) -> None:
    """A run that is killed leaves none, at whatever moment of a decoding: they see that the run is gone."""
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, "-c", RUN], env=environment) as run:
        while not (found := decoders_of(run.pid)):
            time.sleep(0.01)
        time.sleep(delay_s)
        run.kill()
    until_s = time.monotonic() + 20
    while is_alive(found[0]) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not is_alive(found[0])


async def test_a_process_holds_nothing_of_the_run(decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has neither files and sockets of the run nor its credentials, and nothing can come in over its streams."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with as_file(b"a lock") as lock:
        os.set_inheritable(lock.fileno(), True)
        await decode(decoders)
    (process,) = decoders_of()
    opened = opened_by(process)
    assert opened[:3] == ["/dev/null"] * 3
    assert [name.partition(":")[0] for name in opened[3:]] == ["pipe", "socket"]
    assert b"AWS_" not in environment_of(process)


async def test_a_process_that_cannot_be_started_ends_the_run(
    decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error is clear and names a remedy, whether the system refuses a process or the process ends at once."""

    def refused(*_arguments: object, **_options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refused)
        with pytest.raises(AccessError, match="Resource temporarily unavailable") as caught:
            await decode(decoders)
        assert "ulimit" in (caught.value.hint or "")
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(9)")
    with monkeypatch.context() as patch:
        patch.setattr(decoder_pool, "_SCRIPT", broken)
        with pytest.raises(AccessError, match="exit status 9"):
            await decode(decoders)
    assert (await decode(decoders)).jpeg


@pytest.mark.parametrize(("killed", "ends"), [(1, False), (3, False), (4, True)])
async def test_a_process_that_is_killed_at_its_start_is_started_again(
    decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, killed: int, *, ends: bool
) -> None:
    """Where memory is short the system may end it before it has a picture; only if that goes on the run ends."""
    starts = tmp_path / "starts"
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, pathlib, runpy\nstarts = pathlib.Path({str(starts)!r})\n"
        "number = len(starts.read_bytes()) if starts.exists() else 0\nstarts.write_bytes(bytes(number + 1))\n"
        f"if number < {killed}:\n    os.kill(os.getpid(), 9)\n"
        f"runpy.run_path({str(decoder_pool._SCRIPT)!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(decoder_pool, "_SCRIPT", script)
    if ends:
        with pytest.raises(AccessError, match="killed at their start"):
            await decode(decoders)
    else:
        assert (await decode(decoders)).jpeg
    assert len(starts.read_bytes()) == min(killed + 1, 4)


async def test_room_is_never_exceeded_and_given_in_order() -> None:
    """Tasks of any size get their room in the order of asking, also when some of those that wait are cancelled."""
    room, rng = ByteRoom(100), random.Random(3)
    taken, most, order = 0, 0, []

    async def take(number: int, size: int) -> None:
        nonlocal taken, most
        with anyio.move_on_after(0.0 if number % 7 == 3 else 10):
            async with room.taken(size):
                order.append(number)
                taken += size
                most = max(most, taken)
                await anyio.sleep(rng.random() / 1000)
                taken -= size

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(take, number, rng.randint(1, 100))
    assert most <= 100
    assert order == sorted(order)
    assert len(order) >= 170
    with anyio.fail_after(PATIENCE_S):
        async with room.taken(100):
            pass


@pytest.mark.skipif(
    not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="glibc"
)
async def test_memory_of_a_picture_serves_the_next_one(decoders: DecoderPool) -> None:
    """A process that returned its memory after each picture would spend a third of its time on page faults."""
    photograph = noise("WEBP", 1600, 1200)
    await decode(decoders, photograph)
    await decode(decoders, photograph)
    [process] = decoders_of()
    before = _page_faults(process)
    for _ in range(5):
        await decode(decoders, photograph)
    assert _page_faults(process) - before < 5 * 1600 * 1200 * 3 // os.sysconf("SC_PAGE_SIZE")


def _page_faults(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[7])
