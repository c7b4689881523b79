"""A Ray of several nodes on this machine, of which each can be killed or frozen like a host."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncfilter.sandbox.options import ACCESS_KEY, SECRET_KEY
from tests.kit.decoding import is_alive

START_S = 180.0
_TRIES = 10
_RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats")
_STORE_BYTES = 100_000_000
_KEYS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
"""The role of the workers: the sandbox takes any key."""


class RayNode:
    """One node: all processes below ``ray start``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def has_started(self) -> bool:
        """Whether it serves."""
        return "Ray runtime started" in self._log.read_text(errors="replace")

    def pids(self) -> list[int]:
        """The processes of the node, the first one first."""
        return [self.process.pid, *below(self.process.pid)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the node."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """End the node as a host ends that loses its power."""
        if self.process.returncode is not None:
            return  # its number may be that of another process by now
        pids = self.pids()
        self.signal(signal.SIGSTOP)  # so that nothing is told, and nothing new is started
        for pid in {*pids, *self.pids()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class RayCluster:
    """A head without cores, and nodes beside it; with token authentication.

    Args:
        nodes: Nodes beside the head.
        cpus: Cores of each.

    Attributes:
        address: Host and port.
        environment: The variables with which a command reaches it.
    """

    def __init__(self, *, nodes: int = 2, cpus: int = 2) -> None:
        self.nodes: list[RayNode] = []
        self.address = ""
        self._wanted = nodes
        self._cpus = cpus
        self._folder = tempfile.TemporaryDirectory(prefix="afcluster-", dir="/tmp", ignore_cleanup_errors=True)
        self._head: RayNode | None = None
        token = Path(self._folder.name, "token")
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
        }

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _begin(self) -> None:
        for _ in range(_TRIES):
            try:
                self._begin_head()
            except AssertionError:
                self._end()
            else:
                return
        raise AssertionError("no Ray starts")

    def _begin_head(self) -> None:
        folder = Path(self._folder.name, "r")
        shutil.rmtree(folder, ignore_errors=True)
        note = folder / "ray_current_cluster"
        self._head = self._start(
            "--head", "--port=0", "--include-dashboard=false", "--num-cpus=0", f"--temp-dir={folder}", _own_address()
        )  # fmt: skip
        _wait(note.exists, self._head.process)
        self.address = note.read_text().strip()
        self.complete()

    def restart(self) -> None:
        """End it with all its processes, and begin anew, at another address."""
        self._end()
        self._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._folder.cleanup()

    def _end(self) -> None:
        for node in (*self.nodes, *([self._head] if self._head else [])):
            node.kill()
        self.nodes, self._head = [], None

    def complete(self) -> None:
        """Start nodes in place of those that are gone."""
        self.nodes = [node for node in self.nodes if is_alive(node.process.pid)]
        while len(self.nodes) < self._wanted:
            self.add()

    def kill_gcs(self) -> None:
        """Kill Ray's own head process."""
        assert self._head is not None
        for pid in self._head.pids():
            if "gcs_server" in command_of(pid):
                os.kill(pid, signal.SIGKILL)

    def clear(self) -> None:
        """End all nodes but the head."""
        for node in self.nodes:
            node.kill()
        self.nodes = []

    def add(self, **environment: str) -> RayNode:
        """Start one more node, and return once it serves; on a busy machine Ray gives up after 30 s."""
        for _ in range(_TRIES):
            node = self._start(f"--address={self.address}", f"--num-cpus={self._cpus}", _own_address(), **environment)
            self.nodes.append(node)
            try:
                _wait(node.has_started, node.process)
            except AssertionError:
                node.kill()
                self.nodes.remove(node)
            else:
                return node
        raise AssertionError("no node starts")

    def node_of(self, pid: int) -> RayNode:
        """The node of a process."""
        return next(node for node in self.nodes if pid in node.pids())

    def _start(self, *arguments: str, **environment: str) -> RayNode:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
        place = Path(self._folder.name, f"log{len(self.nodes)}-{time.monotonic_ns()}")
        with place.open("wb") as log:
            process = subprocess.Popen(
                [*_RAY, "--block", f"--object-store-memory={_STORE_BYTES}", *arguments],
                env={**kept, **self.environment, **_KEYS, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return RayNode(process, place)


def _own_address() -> str:
    """The option for an address of this machine that is not 127.0.0.1, where Ray refuses a second node."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return f"--node-ip-address={probe.getsockname()[0]}"


def _wait(holds: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(holds)
    until_s = time.monotonic() + START_S
    while not holds():
        assert process.poll() is None, "ray start ended"
        assert time.monotonic() < until_s, "ray start takes too long"
        time.sleep(0.1)


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *below(int(child))]
    return found


def command_of(pid: int) -> str:
    """The command line of a process; empty once it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
