"""The regression check of speed: the ratio of ours to the obvious build, compared with the committed results.

Both are measured in one run. A ratio of processor times hardly depends on the machine, so that a ratio measured on
another machine can be compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmarks.bench import Bench
from benchmarks.sizes import FULL, QUICK
from benchmarks.tables import figures
from benchmarks.workloads.whole import compare

TOLERANCE = 1.15
"""The ratio may be this factor above the committed one."""
ROUNDS = 3


def check(bench: Bench, committed: Mapping[str, Any]) -> int:
    """Measure with the sizes of the committed results and print both ratios; returns the exit code."""
    if "whole" not in committed.get("workloads", {}):
        print("no committed results to compare with; run make bench first")
        return 2
    sizes = FULL if committed["name"] == "full" else QUICK
    bench.sizes = dataclasses.replace(sizes, rounds=ROUNDS)
    before = ratio(figures(committed)["whole"])
    now = ratio(compare(bench, ["obvious", "ours"]))
    is_slower = now > before * TOLERANCE
    print(f"processor time of ours by that of the obvious build: {now:.4f}, committed {before:.4f}")
    print(f"{'slower' if is_slower else 'not slower'} than {TOLERANCE - 1:.0%} beyond the committed results")
    return int(is_slower)


def ratio(whole: Mapping[str, Any]) -> float:
    """Processor time per image, ours divided by the obvious build's; lower is better."""
    peers = whole["peers"]
    return float(peers["ours"]["cpu_ms"] / peers["obvious"]["cpu_ms"])
