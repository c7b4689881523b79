"""The Ray that this process is connected to: where to find one, how it is joined, asked and left.

Only this module imports Ray, and only when a run needs it. A Ray may end, or stand still, at any moment: so it is asked
in threads that no task has to wait for, and one that does not answer is left without a request.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from asyncfilter.errors import AccessError, AsyncFilterError, UsageError
from asyncfilter.fleet.wires import Loss, WireLostError

NAMESPACE = "asyncfilter"
EXTRA_HINT = "pip install 'asyncfilter[ray]'"

REACH_S = 5.0
"""Time in which something of Ray answers that is there, and takes no work."""

_NEVER_S = "180"
"""Long enough for a drain; a process that Ray has not let end by then is ended by it."""

T = TypeVar("T")


def import_ray() -> Any:  # noqa: ANN401  the module
    """The module ``ray``.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import ray  # noqa: PLC0415  hundreds of milliseconds, for those who need it
    except ImportError as exc:
        raise UsageError("a fleet on Ray needs the extra `ray`", hint=f"Install it: {EXTRA_HINT}") from exc
    return ray


def check_installed() -> None:
    """Check that Ray is installed, without importing it.

    Raises:
        UsageError: It is not.
    """
    if find_spec("ray") is None:
        raise UsageError("a fleet on Ray needs the extra `ray`", hint=f"Install it: {EXTRA_HINT}")


def given_address() -> str | None:
    """The address that the environment has; None where it has none, or a word of Ray's for one that is to be found."""
    given = os.environ.get("RAY_ADDRESS", "")
    return given if given not in {"", "auto", "local"} else None


def running_address() -> str | None:
    """The address of a Ray that runs: that of the environment, or on this machine; None without one."""
    if given := given_address():
        return given
    if os.environ.get("RAY_ADDRESS") == "local":
        return None
    note = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        found = note.read_text().strip()
    except OSError:
        return None
    return found if found and answers(found) else None


def answers(address: str) -> bool:
    """Whether something takes connections at an address; blocks."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_S):
            return True
    except (OSError, ValueError):
        return False


def connect(address: str, environment: Mapping[str, str]) -> None:
    """Connect this process to a Ray; blocks, and must not be called in the main thread, where Ray takes SIGTERM.

    Args:
        address: Host and port.
        environment: Variables with which it can be reached.

    Raises:
        AccessError: There is none, or it refuses the token.
        UsageError: It has another version, or would need Ray Client.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"{address}: over Ray Client each message would pass a proxy",
            hint="Run the command inside of the cluster, and give HOST:PORT.",
        )
    # By default Ray ends this process, with what is not durable yet, a minute after its head is gone.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", _NEVER_S)
    if environment:
        os.environ.pop("RAY_AUTH_TOKEN", None)  # would come before the token of a Ray of our own
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", **environment})
    ray = import_ray()
    _calls.begin()
    if not answers(address):
        raise AccessError(f"no Ray answers at {address}", hint="Check cluster.address, --on and RAY_ADDRESS.")
    # Ray takes 127.0.0.1 for this machine's other address otherwise, where a Ray of our own does not listen.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = not address.startswith("127.0.0.1:")  # noqa: SLF001
    # Ray prints lost workers on stdout, where the result of the command goes; events report them here.
    if hasattr(ray._private.worker, "print_to_stdstream"):  # noqa: SLF001
        ray._private.worker.print_to_stdstream = _print_nothing  # noqa: SLF001
    # It warns that it takes no SIGTERM in this thread.
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    except Exception as exc:
        raise refusal(address, exc) from exc


def take_sigterm_back() -> None:
    """Put Python's handler of SIGTERM in place of the one that Ray puts beneath it; for the main thread.

    That one prints a stack, lets Python's handler act, and has the process ended by SIGABRT three seconds later: before
    a run has drained, and with its result lost.
    """
    handler = signal.getsignal(signal.SIGTERM)
    # Elsewhere no handler can be set; one that is not of Python cannot be set again.
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _print_nothing(*_args: object, **_kwargs: object) -> None:
    """In place of Ray's printing."""


def refusal(address: str, error: Exception) -> AsyncFilterError:
    """The error of this package for what Ray has raised: why a cluster cannot be used."""
    why = " ".join(str(error).split())[:500]
    if "ersion mismatch" in why:
        return UsageError(
            f"the Ray at {address} does not fit: {why}", hint="Install the same versions of Ray and Python."
        )
    if "uthenticat" in why or "oken" in why:
        return AccessError(
            f"the Ray at {address} refuses the token: {why}",
            hint="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the cluster's token.",
        )
    tokens = "" if has_tokens() else " without a token"
    return AccessError(
        f"the Ray at {address} does not accept this process{tokens}: {why}",
        hint="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH to the cluster's token, or check the cluster.",
    )


def has_tokens() -> bool:
    """Whether this process connects to Ray with a token."""
    return os.environ.get("RAY_AUTH_MODE") == "token"


def disconnect() -> None:
    """Leave Ray; it goes on. One that has ended, or that a thread still asks something, is not left."""
    if _state.has_ended:
        return
    if _calls.end(REACH_S):
        import_ray().shutdown()
    else:
        forget()


def forget() -> None:
    """Do not leave a Ray that does not answer, also not at the end of this process, whose threads it would wait for."""
    _state.has_ended = True
    if (ray := sys.modules.get("ray")) is not None and hasattr(ray, "shutdown"):
        atexit.unregister(ray.shutdown)


def end_process(code: int) -> None:
    """End this process now where the end of the interpreter would wait for a Ray that has ended; else do nothing."""
    if _state.has_ended:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def has_ended() -> bool:
    """Whether Ray has ended, so that nothing is asked of it any more."""
    return _state.has_ended


class _State:
    """Of the Ray that this process is connected to."""

    has_ended = False


_state = _State()


class _Calls:
    """What threads ask Ray.

    A thread is not cancelled with the task that waits for it, and leaving Ray meanwhile aborts this process.
    """

    def __init__(self) -> None:
        self.are_over = False
        self._changed = threading.Condition()
        self._count = 0

    def run(self, ask: Callable[[], T]) -> T:
        """Ask Ray something.

        Raises:
            WireLostError: It was left.
        """
        with self._changed:
            if self.are_over:
                raise WireLostError(Loss.CONNECTION, "Ray was left")
            self._count += 1
        try:
            return ask()
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def end(self, wait_s: float) -> bool:
        """Refuse further calls; whether all that were made have their answer within a time."""
        with self._changed:
            self.are_over = True
            return self._changed.wait_for(lambda: not self._count, wait_s)

    def begin(self) -> None:
        """Accept calls from now on."""
        with self._changed:
            self.are_over = False


_calls = _Calls()


def is_left() -> bool:
    """Whether Ray was left, so that it can be asked nothing any more."""
    return _calls.are_over


async def ask_ray(ask: Callable[[], T]) -> T:
    """What a function returns that asks Ray, in a thread; a cancellation does not wait for it."""
    return await anyio.to_thread.run_sync(_calls.run, ask, abandon_on_cancel=True)


def total_cpus() -> float:
    """The cores of the cluster."""
    return float(import_ray().cluster_resources().get("CPU", 0.0))


async def in_thread(ask: Callable[[], T], *, default: T) -> T:
    """The answer of Ray; ``default`` when Ray does not answer, as once its head has ended."""
    with anyio.move_on_after(REACH_S):
        return await ask_ray(ask)
    return default
