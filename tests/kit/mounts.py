"""Bind mounts, where the machine permits them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def bind_mount(source: Path, point: Path) -> Iterator[None]:
    """Mount ``source`` at ``point`` for the length of the block; skip the test where this is not permitted."""
    try:
        done = subprocess.run(["mount", "--bind", source, point], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount program")
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", point], check=True)
