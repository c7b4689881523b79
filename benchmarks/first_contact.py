"""``python -m benchmarks.first_contact``: from a fresh clone to the first picture, and the size of what is installed.

Clones this repository at HEAD, runs ``make demo`` there twice, with an empty cache of pip and with a filled one, and
prints seconds since the start and megabytes as a table of Markdown. The index that pip is set up for must be reachable.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine
from benchmarks.process import BenchmarkError

ROOT = Path(__file__).resolve().parents[1]
_POLL_S = 0.05
_MOST_S = 600


class Moments(NamedTuple):
    """Seconds from the start of ``git clone``.

    Attributes:
        cloned: The clone is complete.
        installed: The environment is complete.
        first_image: The first image of the demo is examined.
        page: The page with its pictures can be opened.
        end: ``make demo`` has ended.
    """

    cloned: float
    installed: float
    first_image: float
    page: float
    end: float


def measure(folder: Path, cache: Path) -> Moments:
    """Clone into ``folder``, and run ``make demo`` there.

    Raises:
        BenchmarkError: The demo failed, or left no page.
    """
    began_s = time.monotonic()
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    cloned_s = time.monotonic() - began_s
    env = {**os.environ, "PIP_CACHE_DIR": str(cache), "PYTHONPATH": ""}
    demo = folder / ".asyncfilter-demo"
    awaited = {
        "installed": (folder / ".venv-run" / ".ready").exists,
        "first_image": lambda: b'"image_examined"' in _read(demo / "events.jsonl"),
        "page": (demo / "kept.html").exists,
    }
    seen: dict[str, float] = {}
    with (folder / "output").open("wb") as output:
        make = subprocess.Popen(["make", "demo"], cwd=folder, env=env, stdout=output, stderr=output)
        while make.poll() is None:
            elapsed_s = time.monotonic() - began_s
            seen |= {name: elapsed_s for name, has_come in awaited.items() if name not in seen and has_come()}
            if elapsed_s > _MOST_S:
                make.kill()
            time.sleep(_POLL_S)
    if make.returncode or seen.keys() != awaited.keys():
        raise BenchmarkError(f"make demo: exit {make.returncode}, seen {seen}\n{(folder / 'output').read_text()}")
    return Moments(cloned_s, **seen, end=time.monotonic() - began_s)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def sizes_mb(environment: Path) -> Iterator[tuple[str, float]]:
    """What the parts of an environment occupy on disk, the largest first; a file linked twice counts once."""
    (packages,) = environment.glob("lib/python*/site-packages")
    parts = {part.name: _mb(part) for part in packages.iterdir()}
    yield "all", _mb(environment)
    yield from sorted(parts.items(), key=lambda part: -part[1])


def _mb(path: Path) -> float:
    files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum({found.st_ino: found.st_blocks * 512 for found in map(os.lstat, files)}.values()) / 1e6


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="first-contact-") as name:
        folder = Path(name)
        cold, warm = (measure(folder / which, folder / "cache") for which in ("cold", "warm"))
        sizes = list(sizes_mb(folder / "cold" / ".venv-run"))
    print(f"{machine.now()}, commit {machine.commit()}, load {machine.load():g}, Python {sys.version.split()[0]}\n")
    print("| s since `git clone` | nothing in pip's cache | all in pip's cache |\n|---|---:|---:|")
    for field in Moments._fields:
        print(f"| {field.replace('_', ' ')} | {getattr(cold, field):.1f} | {getattr(warm, field):.1f} |")
    print("\n| part | MB |\n|---|---:|")
    for part, mb in sizes:
        if mb >= 1:
            print(f"| {part} | {mb:.1f} |")


if __name__ == "__main__":
    main()
