"""``python -m asyncfilter.sandbox``: options as one line of JSON on stdin, the endpoint's URL on stdout.

Serves until stdin ends or a signal comes.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
import threading

import anyio
import msgspec

from asyncfilter.sandbox.app import serve
from asyncfilter.sandbox.options import SandboxOptions


def main() -> None:
    """Serve a sandbox with the options read from stdin."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C in a terminal is for the parent process, which then ends this one
    options = msgspec.json.decode(sys.stdin.buffer.readline(), type=SandboxOptions)
    # uvloop serves 50 % more requests a second, which matters to benchmarks; nothing else depends on it.
    fast = {"use_uvloop": importlib.util.find_spec("uvloop") is not None}
    anyio.run(lambda: serve(options, started=_announce), backend="asyncio", backend_options=fast)


def _announce(endpoint_url: str) -> None:
    # What is loaded so far stays in memory. The garbage collector skips it from now on: a scan would delay responses.
    gc.freeze()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout.write(f"{endpoint_url}\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
