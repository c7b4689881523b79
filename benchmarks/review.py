"""``python -m benchmarks.review``: the review page's server over a million images, one in seven of which waits.

Not a part of ``make bench``. The goals are a first decision within 15 s of the start, the whole index within 15 s, and
memory that does not grow with decisions. Figures are printed, and written to ``results/review.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import files, machine
from benchmarks.bench import Bench
from benchmarks.peers import ours
from benchmarks.process import BenchmarkError
from benchmarks.sizes import FULL
from benchmarks.workloads import checkpoint

IMAGES = 1_000_000
DECISIONS = 2_000
_PATIENCE_S = 300.0
_PAUSE_S = 0.05


def main() -> None:
    """Measure the server."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.review", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--out", type=Path, default=files.RESULTS / "review.json")
    options = parser.parse_args()
    document: dict[str, Any] = {
        "images": options.images,
        "at": machine.now(),
        "commit": machine.commit(),
        "load": machine.load(),
        "machine": machine.facts(),
    }
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        document |= measured(Bench(sizes=FULL, folder=Path(folder)), options.images)
    print(json.dumps(document, indent=1), flush=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def measured(bench: Bench, images: int) -> dict[str, Any]:
    """Times from the start, and memory."""
    job = write_job(bench, images)
    with bench.sandbox(images + checkpoint.NEW_OBJECTS) as sandbox:
        return _measured(job, sandbox.environment())


def _measured(job: Path, env: Mapping[str, str]) -> dict[str, Any]:
    began_s = time.monotonic()
    with served(job, env) as page:
        found = {"serves_s": time.monotonic() - began_s}
        ids = page.wait_for(lambda: page.post("take", {"queue": "waiting", "n": 24})["ids"])
        page.get(f"cards?ids={','.join(map(str, ids))}")
        page.decide(ids[0])
        found["first_decision_s"] = time.monotonic() - began_s
        page.wait_for(lambda: page.get("job")["ready"])
        found["whole_index_s"] = time.monotonic() - began_s
        found["waiting"] = page.get("job")["counts"]["waiting"]
        before_mb, took_ms = page.memory_mb(), []
        for id_ in page.get(f"queue?name=waiting&limit={DECISIONS}")["ids"]:
            sent_s = time.monotonic()
            page.decide(id_)
            took_ms.append(1000 * (time.monotonic() - sent_s))
        found |= {"decision_ms": statistics.median(took_ms), "decision_p95_ms": statistics.quantiles(took_ms, n=20)[-1]}
        found |= {"memory_mb": before_mb, "memory_after_decisions_mb": page.memory_mb()}
    return {name: round(value, 2) for name, value in found.items()}


def write_job(bench: Bench, images: int) -> Path:
    """A job whose rule sends one image in seven to people, and its checkpoint."""
    job = ours.write_job(bench.task(tps=1000.0), bench.new_folder())
    job.write_text(job.read_text("utf-8").replace("- keep:", "- review:"), "utf-8")
    bench.module(checkpoint.__name__, job, images, bench.recorded or "")
    return job


class Server:
    """Calls the server as the page does.

    Attributes:
        address: Of the page, with the slash at its end.
        token: Of its reviewer.
    """

    def __init__(self, url: str, pid: int) -> None:
        self.address, _, self.token = url.partition("#t=")
        self._pid = pid
        self._decisions = 0

    def get(self, path: str) -> Any:
        return self._call(path, None)

    def post(self, path: str, body: object) -> Any:
        return self._call(path, json.dumps(body).encode())

    def decide(self, id_: int) -> None:
        self._decisions += 1
        answer = {"uid": f"decision-{self._decisions}", "id": id_, "verdict": "keep"}
        (result,) = self.post("answers", {"answers": [answer]})["results"]
        if result["status"] != "stored":
            raise BenchmarkError(f"an answer was not stored: {result}")

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self._pid}/statm").read_text("ascii")
        return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def wait_for(self, ask: Any) -> Any:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not (found := ask()):
            if time.monotonic() > deadline_s:
                raise BenchmarkError("the server is not ready")
            time.sleep(_PAUSE_S)
        return found

    def _call(self, path: str, body: bytes | None) -> Any:
        headers = {"X-Asyncfilter-Token": self.token, "Origin": self.address.rstrip("/")}
        headers |= {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}api/{path}", data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
            return json.load(answer)


@contextmanager
def served(job: Path, env: Mapping[str, str]) -> Iterator[Server]:
    """A server of a job, as a process of its own that ends with the context."""
    command = [sys.executable, "-m", "asyncfilter", "review", str(job), "--as", "bench", "--no-open", "--json"]
    with subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = json.loads(process.stdout.readline())
            yield Server(found["urls"][0]["url"], process.pid)
            process.send_signal(signal.SIGTERM)
            if process.wait(_PATIENCE_S):
                raise BenchmarkError(f"the server ended with {process.returncode}")
        finally:
            process.kill()


if __name__ == "__main__":
    main()
