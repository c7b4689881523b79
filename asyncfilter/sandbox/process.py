"""A sandbox in a process of its own, for programs that are killed and for benchmarks."""

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
    """Serves in a child process while the context is open; the child ends with this process, however that ends.

    Raises:
        RuntimeError: If the sandbox does not come up; the message is its own.
    """

    def __init__(self, options: SandboxOptions | None = None) -> None:
        self.options = SandboxOptions() if options is None else options
        self.endpoint_url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "asyncfilter.sandbox"]
        # The child's input stays open: its end tells the child that nobody needs it any more.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module
        self._process = process
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        process.stdin.write(msgspec.json.encode(self.options) + b"\n")
        process.stdin.flush()
        self.endpoint_url = process.stdout.readline().decode().strip()
        if not self.endpoint_url:
            self.__exit__(None, None, None)
            raise RuntimeError(f"the sandbox did not come up (exit {process.returncode}); its error stands on stderr")
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
        """What was counted so far."""
        return msgspec.convert(self.control("GET", "stats"), Stats)

    def control(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """Ask the control path; see ``asyncfilter.sandbox.control``.

        Raises:
            ValueError: With the sandbox's words when it refuses.
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
