"""Foreign bytes for fuzzers: valid documents with damage, and the bounds that a reader has to keep.

``make fuzz`` reads ``FUZZ_EXAMPLES`` = 10,000 documents a reader, each within a second; ``make test`` a few hundred
without a limit of time, because a busy machine is no fault of a reader.
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
IS_LONG = "FUZZ_EXAMPLES" in os.environ

MIB = 1024 * 1024

fuzz = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=1) if IS_LONG else None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
"""The settings of a fuzzer."""

few = settings(fuzz, max_examples=max(1, EXAMPLES // 10))
"""The settings of a fuzzer whose reader needs files or processes."""


@st.composite
def damaged(draw: st.DrawFn, documents: Sequence[bytes], tokens: Sequence[bytes], *, most_bytes: int = MIB) -> bytes:
    """One of ``documents`` after some cuts, copies, repetitions, flipped bytes and inserted ``tokens``."""
    body = draw(st.sampled_from(documents))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.sampled_from([0, 1, 2, 8, 64, 100_000])))
        match draw(st.sampled_from(["cut", "repeat", "token", "bytes", "over", "over", "end"])):
            case "cut":
                body = body[:start] + body[end:]
            case "repeat":
                body = body[:start] + body[start:end] * draw(st.sampled_from([2, 3, 500])) + body[end:]
            case "token":
                token = draw(st.sampled_from(tokens))
                body = body[:start] + token * draw(st.sampled_from([1, 2, 3000])) + body[end:]
            case "bytes":
                body = body[:start] + draw(st.binary(max_size=12)) + body[end:]
            case "over":
                piece = draw(st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(tokens)))
                body = body[:start] + piece + body[start + len(piece) :]
            case _:
                body = body[:start]
        body = body[:most_bytes]
    return body


@contextmanager
def bounded(most_bytes: int) -> Iterator[None]:
    """Fail when the block holds more than ``most_bytes`` of Python's memory at once."""
    tracemalloc.start()
    try:
        yield
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes <= most_bytes, f"{peak_bytes:,} bytes, {most_bytes:,} allowed"
