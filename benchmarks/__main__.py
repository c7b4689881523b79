"""``python -m benchmarks``: measure and write the results.

``make bench`` takes three quarters of an hour and writes ``benchmarks/results`` and ``docs/performance.md``; ``make
bench-quick`` takes four minutes and changes no committed file. No other work should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import files, machine
from benchmarks.bench import Bench
from benchmarks.check import check
from benchmarks.sizes import FULL, QUICK
from benchmarks.suite import WORKLOADS
from benchmarks.tables import summary

RECORDED = "rekognition/detect_labels_recorded.jsonl"


def main() -> None:
    """Measure the selected workloads; the figures of each are written as soon as it ends."""
    options = _options()
    if options.redraw:
        files.draw(files.read(options.out), options.out)
        return
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        recorded = options.data.resolve() / RECORDED if options.data else None
        bench = Bench(sizes=options.sizes, folder=Path(folder), recorded=recorded)
        if options.check:
            sys.exit(check(bench, files.read(files.RESULTS)))
        _measure(bench, options.only or list(WORKLOADS), options.out, is_partial=bool(options.only))


def _measure(bench: Bench, names: list[str], out: Path, *, is_partial: bool) -> None:
    document = files.read(out) if is_partial else {}
    if document.get("name") != bench.sizes.name:
        document = {"name": bench.sizes.name, "workloads": {}}
    document["answers"] = bench.answers.name
    facts = document["machine"] = machine.facts()
    for name in names:
        at, load, began_s = machine.now(), machine.load(), time.monotonic()
        print(f"{at} {name} (load {load:g})", file=sys.stderr, flush=True)
        measured = WORKLOADS[name](bench)
        took_s = round(time.monotonic() - began_s, 1)
        conditions = {"at": at, "commit": machine.commit(), "load": load, "took_s": took_s}
        # A run in parts may be made on several machines.
        conditions["processor"] = facts["processor"]
        document["workloads"][name] = {**conditions, "figures": measured}
        files.write(document, out)
    print(summary(document))
    print(f"written to {out}", file=sys.stderr)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, one round, written to the subfolder quick")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--data", type=Path, help=f"folder with {RECORDED}, for answers of the real service")
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--redraw", action="store_true", help="measure nothing: draw tables and plots from the JSON")
    parser.add_argument("--check", action="store_true", help="fail when ours became slower than in the results")
    options = parser.parse_args()
    options.sizes = QUICK if options.quick else FULL
    options.out = (options.out or (files.RESULTS / "quick" if options.quick else files.RESULTS)).resolve()
    return options


if __name__ == "__main__":
    main()
