"""How many requests a second the sandbox answers over keep-alive connections from another process.

The sandbox runs in a process of its own; this process sends ready-made requests and counts answers, so that the sandbox
is what is measured as long as there are two cores. Prints JSON.

    python benchmarks/sandbox_speed.py [--seconds 3] [--connections 64]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

from asyncfilter.sandbox import SandboxOptions, SandboxProcess, SyntheticSpec

BUCKET = "raw"
OBJECTS = 100_000
SCOPE = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
)


class Pusher(asyncio.Protocol):
    """Sends the next request when an answer is complete."""

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
    for number in range(1, 12_500):
        key = f"raw/robin/{number:05d}.jpg"
        body = json.dumps({"Image": {"S3Object": {"Bucket": BUCKET, "Name": key}}, "MinConfidence": 0}).encode()
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
    """Pages of 1,000 keys from many places."""
    path = f"/{BUCKET}?list-type=2&encoding-type=url&start-after=raw%2Frobin%2F"
    return [s3_request("GET", f"{path}{start:05d}.jpg") for start in range(0, 12_000, 100)]


def copy_requests() -> list[bytes]:
    """Copies of many keys into the same bucket."""
    source = f"x-amz-copy-source: /{BUCKET}/raw/robin/"
    return [
        s3_request("PUT", f"/{BUCKET}/clean/{number:05d}.jpg", f"{source}{number:05d}.jpg")
        for number in range(1, 12_000)
    ]


async def push(url: str, requests: list[bytes], connections: int, seconds: float) -> tuple[float, set[str]]:
    """Answers a second, and the statuses seen."""
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


def cpu_s(pid: int) -> float:
    """User and system time a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def measure(connections: int, seconds: float) -> dict[str, dict[str, float]]:
    """Requests a second, and what one costs the sandbox in CPU, by operation."""
    kinds = {
        "DetectLabels": detect_requests(),
        "CopyObject": copy_requests(),
        "ListObjectsV2, 1000 keys": list_requests(),
    }
    results = {}
    with SandboxProcess(SandboxOptions(synthetic=(SyntheticSpec(BUCKET, OBJECTS),))) as sandbox:
        for kind, requests in kinds.items():
            before_s = cpu_s(sandbox.pid)
            rate, statuses = asyncio.run(push(sandbox.endpoint_url, requests, connections, seconds))
            assert statuses == {"200"}, statuses
            per_request_ms = (cpu_s(sandbox.pid) - before_s) / (rate * seconds) * 1000
            results[kind] = {"requests_per_s": round(rate), "cpu_ms_per_request": round(per_request_ms, 4)}
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    print(json.dumps(measure(options.connections, options.seconds), indent=2))


if __name__ == "__main__":
    main()
