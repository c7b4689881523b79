"""A sandbox in a separate process, for tests that kill the program and for benchmarks."""

from __future__ import annotations

import http.client
import subprocess
import sys
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from asyncfilter.sandbox.app import client_environment
from asyncfilter.sandbox.options import SandboxOptions
from asyncfilter.sandbox.stats import Stats


class SandboxProcess:
    """Serves in a child process while the context is open; the child also ends if this process is killed.

    Raises:
        RuntimeError: If the sandbox does not start; its error is on stderr.
    """

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = SandboxOptions() if options is None else options
        self.endpoint_url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "asyncfilter.sandbox"]
        # The child's stdin stays open; the child ends as soon as it is closed, also by the end of this process.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module
        self._process = process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        process.stdin.write(msgspec.json.encode(self.options) + b"\n")
        process.stdin.flush()
        self.endpoint_url = process.stdout.readline().decode().strip()
        if not self.endpoint_url:
            self.__exit__(None, None, None)
            raise RuntimeError(f"the sandbox did not come up (exit {process.returncode}); its error is on stderr")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.wait()

    @property
    def pid(self) -> int:
        """The child's process id."""
        if self._process is None:
            raise RuntimeError("the sandbox is not running: use it as a context manager")
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """See ``Sandbox.environment``."""
        return client_environment(self.options, self.endpoint_url)

    def stats(self) -> Stats:
        """The counters at this moment."""
        return msgspec.convert(self.control("GET", "stats"), Stats)

    def control(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request to the control path; see ``asyncfilter.sandbox.control``.

        Raises:
            ValueError: If the sandbox refuses the request; the message is the sandbox's.
        """
        connection = http.client.HTTPConnection(urlsplit(self.endpoint_url).netloc, timeout=30)
        try:
            connection.request(method, f"/_sandbox/{path}", None if body is None else msgspec.json.encode(body))
            response = connection.getresponse()
            answer = msgspec.json.decode(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer
