"""The figures of ``docs/comparison.md``, from ``benchmarks/results/results.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS
from benchmarks.tables import figures, placed, table

_ROWS = ("one_by_one", "threads", "obvious", "ours")
_QUOTAS_TPS = (5, 50, 500)
_MODES = {"window": "in any second", "bucket": "token bucket"}


def documents(root: Path) -> dict[Path, str]:
    """The page with the current figures, by its path."""
    page = root / "docs" / "comparison.md"
    results = root / "benchmarks" / "results" / "results.json"
    measured = figures(json.loads(results.read_text("utf-8")))
    return {page: placed(page.read_text("utf-8"), block(measured))}


def block(measured: Mapping[str, Any]) -> str:
    """Two tables: what one image costs this machine, and what becomes of a quota."""
    whole = measured["whole"]["peers"]
    costs = [
        (
            PEERS[name].title,
            f"{whole[name]['cpu_ms']:.2f} ms",
            f"{whole[name]['peak_mb']:.0f} MB",
            f"{whole[name]['single_cpu_s']:.2f} s",
        )
        for name in _ROWS
    ]
    shares = [
        (
            PEERS[case["peer"]].title,
            f"{case['quota_tps']:,} a second",
            _MODES[case["mode"]],
            f"{100 * case['share']:.0f} %",
            f"{case['throttled_pct']:.1f} %",
        )
        for case in sorted(measured["quota"]["cases"], key=_order)
        if case["told"] == "right" and case["quota_tps"] in _QUOTAS_TPS and case["peer"] in _ROWS
    ]
    return "\n\n".join(
        [
            table(("program", "processor time an image", "peak memory", "start"), costs),
            table(("program", "quota", "counted", "of it used", "attempts throttled"), shares),
        ]
    )


def _order(case: Mapping[str, Any]) -> tuple[int, str, int]:
    return case["quota_tps"], case["mode"], _ROWS.index(case["peer"]) if case["peer"] in _ROWS else -1
