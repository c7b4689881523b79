"""A small process that keeps a Ray of our own: it starts it, and stops it once no head has used it for a while.

``python keeper.py FOLDER CPUS``. The head holds a lock on ``FOLDER/head`` as long as it runs; the lock of a killed head
is released, and the workers go on waiting for the next one. The keeper stops Ray when the lock was free for so long
that they have left, and once ``FOLDER/stop`` is there as soon as no head holds the lock; then it removes the folder.
What Ray prints goes where its own output goes. It imports nothing but the standard library.

Ray listens on the loopback interface alone, and wants the token in ``FOLDER/token``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

HEADLESS_S = 660.0
"""A little longer than workers wait for a head."""

LEFT_S = 15.0
"""How long a head that could not leave Ray may take to end, once ``FOLDER/stop`` is there."""

_CHECK_S = 0.2
_END_S = 10.0

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # By default Ray's workers come after all else on a machine (15): where it is busy, each turn would reach them late.
    "RAY_worker_niceness": "0",
    # Misnamed: where it is 0, Ray takes 127.0.0.1 for the address of this machine, and listens nowhere else.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""For Ray, and for those that connect to it."""


def main() -> None:
    """Keep Ray until no head needs it."""
    folder, cpus = Path(sys.argv[1]), sys.argv[2]
    for name in (signal.SIGINT, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    start = ["start", "--head", "--block", "--port=0", "--include-dashboard=false", "--disable-usage-stats"]
    ray = subprocess.Popen(  # noqa: S603  this interpreter
        [sys.executable, "-m", "ray.scripts.scripts", *start, f"--num-cpus={cpus}", f"--temp-dir={folder / 'r'}"],
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _watch(folder, ray)
    finally:
        _end(ray)
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path) -> dict[str, str]:
    """The variables for Ray; a token in them would come before that of the file."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}
    return {**inherited, **ENVIRONMENT, "RAY_AUTH_TOKEN_PATH": str(folder / "token")}


def _watch(folder: Path, ray: subprocess.Popen[bytes]) -> None:
    seen_s = time.monotonic()
    while ray.poll() is None and not (folder / "stop").exists() and folder.exists():
        if _has_head(folder / "head"):
            seen_s = time.monotonic()
        elif time.monotonic() - seen_s > HEADLESS_S:
            return
        time.sleep(_CHECK_S)
    until_s = time.monotonic() + LEFT_S
    while ray.poll() is None and _has_head(folder / "head") and time.monotonic() < until_s:
        time.sleep(_CHECK_S)


def _has_head(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _end(ray: subprocess.Popen[bytes]) -> None:
    """End Ray and every process of its session."""
    ray.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        ray.wait(_END_S)
    for pid in _session(ray.pid):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    ray.kill()
    ray.wait()


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            if pid != os.getpid() and os.getsid(pid) == leader:
                found.append(pid)
    return found


if __name__ == "__main__":
    main()
