"""The sandbox itself: how many requests a second it answers over keep-alive connections.

``python -m benchmarks.workloads.sandbox URL CONNECTIONS SECONDS`` sends prepared requests and counts responses, so that
the sandbox, not the client, is the limit on a machine with two cores. Its rate is an upper bound of all other figures.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from asyncfilter.sandbox.synthetic import SyntheticKeys
from benchmarks.answers import CLEAN, PATTERN, RAW
from benchmarks.bench import Bench
from benchmarks.process import BenchmarkError

OBJECTS = 100_000
CONNECTIONS = 64
KEYS = SyntheticKeys(OBJECTS, PATTERN)[: OBJECTS // 8]
SCOPE = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
)


class Pusher(asyncio.Protocol):
    """Sends the next request as soon as a response is complete."""

    def __init__(self, requests: list[bytes], start: int) -> None:
        self.requests = requests
        self.at = start
        self.answers = 0
        self.statuses: set[bytes] = set()
        self._missing = 0
        self._held = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._held += data
        if not self._missing:
            head, blank, _ = self._held.partition(b"\r\n\r\n")
            if not blank:
                return
            self.statuses.add(head[9:12])
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self._missing = len(head) + 4 + int(length)
        if len(self._held) >= self._missing:
            self._held, self._missing = b"", 0
            self.answers += 1
            self._send()

    def _send(self) -> None:
        self.at = (self.at + 1) % len(self.requests)
        self.transport.write(self.requests[self.at])


def detect_requests() -> list[bytes]:
    """DetectLabels on many keys."""
    requests = []
    for key in KEYS:
        body = json.dumps({"Image": {"S3Object": {"Bucket": RAW, "Name": key}}, "MinConfidence": 0}).encode()
        head = (
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\n"
            "X-Amz-Target: RekognitionService.DetectLabels\r\nX-Amz-Date: 20260101T000000Z\r\n"
            f"Authorization: {SCOPE.format(service='rekognition')}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def s3_request(method: str, path: str, *headers: str) -> bytes:
    """One S3 request without a body."""
    lines = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers)
    head = "\r\n".join((*lines, f"Authorization: {SCOPE.format(service='s3')}"))
    return f"{head}\r\nContent-Length: 0\r\n\r\n".encode()


def list_requests() -> list[bytes]:
    """Pages of 1,000 keys from many start keys."""
    path = f"/{RAW}?list-type=2&encoding-type=url&start-after="
    return [s3_request("GET", path + key.replace("/", "%2F")) for key in KEYS[::100]]


def copy_requests() -> list[bytes]:
    """Copies of many keys."""
    return [s3_request("PUT", f"/{CLEAN}/{key}", f"x-amz-copy-source: /{RAW}/{key}") for key in KEYS]


async def push(url: str, requests: list[bytes], connections: int, seconds: float) -> tuple[float, set[str]]:
    """Responses per second, and the set of their statuses."""
    loop = asyncio.get_running_loop()
    host, _, port = url.removeprefix("http://").partition(":")
    pushers = [Pusher(requests, i * len(requests) // connections) for i in range(connections)]
    for pusher in pushers:
        await loop.create_connection(lambda pusher=pusher: pusher, host, int(port))  # type: ignore[misc] # a bound default
    began_s, before = time.monotonic(), sum(pusher.answers for pusher in pushers)
    await asyncio.sleep(seconds)
    answers, wall_s = sum(pusher.answers for pusher in pushers) - before, time.monotonic() - began_s
    for pusher in pushers:
        pusher.transport.abort()
    return answers / wall_s, {status.decode() for pusher in pushers for status in pusher.statuses}


def ask(url: str, connections: int, seconds: float) -> dict[str, float]:
    """Requests per second by operation.

    Raises:
        BenchmarkError: The sandbox refused a request.
    """
    kinds = {
        "DetectLabels": detect_requests(),
        "CopyObject": copy_requests(),
        "ListObjectsV2": list_requests(),
    }
    rates = {}
    for kind, requests in kinds.items():
        rates[kind], statuses = asyncio.run(push(url, requests, connections, seconds))
        if statuses != {"200"}:
            raise BenchmarkError(f"{kind} was answered with {statuses}")
    return rates


def measure(bench: Bench) -> dict[str, Any]:
    """Requests per second: the highest rate at which a client can be measured."""
    with bench.sandbox(OBJECTS) as sandbox:
        rates = bench.module(__name__, sandbox.endpoint_url, CONNECTIONS, bench.sizes.sandbox_s)
    return {"requests_per_s": {kind: round(rate) for kind, rate in rates.items()}}


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
