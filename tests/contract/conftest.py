"""A sandbox on an event loop in a thread of its own, and boto3 clients that connect to it alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest
from anyio.from_thread import start_blocking_portal
from botocore.config import Config

from asyncfilter.sandbox import Sandbox, SandboxOptions
from tests.kit.pace import hurry

OpenSandbox = Callable[..., Sandbox]
Client = Callable[..., Any]


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of the test, in place of that of the user who runs it; nothing is in it."""
    folder = tmp_path / "state"
    monkeypatch.setenv("ASYNCFILTER_STATE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between calls. A module whose runs must last defines the fixture anew."""
    hurry(monkeypatch)


@pytest.fixture
def open_sandbox() -> Iterator[OpenSandbox]:
    """A function that starts a sandbox with the given options; sandboxes end with the test."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        def start(**options: Any) -> Sandbox:
            return stack.enter_context(portal.wrap_async_context_manager(Sandbox(SandboxOptions(**options))))

        yield start


@pytest.fixture(scope="session")
def aws() -> boto3.session.Session:
    """One session for all clients: reading the service models takes most of the time."""
    return boto3.session.Session()


@pytest.fixture
def client(aws: boto3.session.Session) -> Iterator[Client]:
    """A function that makes boto3 clients without retries, with the credentials of the sandbox or those given."""
    opened: list[Any] = []

    def make(service: str, sandbox: Sandbox, *, config: Config | None = None, **settings: Any) -> Any:
        variables = sandbox.environment()
        once = Config(retries={"total_max_attempts": 1}, read_timeout=5, parameter_validation=False)
        settings = {
            "region_name": sandbox.options.region,
            "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
            "endpoint_url": sandbox.endpoint_url,
            "config": once if config is None else once.merge(config),
        } | settings
        made = aws.client(service, **settings)
        opened.append(made)
        return made

    yield make
    for each in opened:
        each.close()
