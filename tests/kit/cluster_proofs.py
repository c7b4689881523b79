"""What a fleet promises, on a real Ray of several nodes: ``python -m tests.kit.cluster_proofs kills --repeat 20``.

The sandbox is the judge: it counts what was called and billed. ``make test-cluster`` makes all proofs.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.kit.cluster_answers import answers, ceiling, dead_disks, dead_heads, kills, once
from tests.kit.cluster_heads import heads
from tests.kit.cluster_rates import freezes, frozen, frozen_heads, lanes, overload, rate
from tests.kit.cluster_rows import Proofs, read_rows, table
from tests.kit.cluster_setups import demo, lost_ray, newcomer, own_models, poison, refusals
from tests.kit.ray_cluster import RayCluster

PROOFS: dict[Callable[[Proofs], None], int] = {
    answers: 20,
    kills: 100,
    ceiling: 100,
    once: 10,
    dead_heads: 20,
    dead_disks: 4,
    rate: 1,
    freezes: 10,
    overload: 2,
    frozen: 3,
    frozen_heads: 3,
    lanes: 1,
    heads: 3,
    poison: 10,
    own_models: 4,
    refusals: 1,
    demo: 1,
    lost_ray: 1,
    newcomer: 1,
}
"""The proofs, and how often each is made."""

ALONE = {"demo", "lost_ray", "newcomer"}
"""Proofs that start a Ray of their own."""

BY_NAME = {proof.__name__: proof for proof in PROOFS}


def main() -> int:
    """Make the proofs that are named, and print a row for each trial."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND[:TIMES]", help=f"of {', '.join(BY_NAME)}; default: all")
    parser.add_argument("--repeat", type=int, help="how often each is made; default: a number of its own")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--rows", type=Path, help="append the rows to this file")
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="print the table of rows instead")
    given = parser.parse_args()
    if given.table:
        print(table(read_rows(given.table)))  # noqa: T201  its result
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the nodes, too
    is_wrong = False
    kinds = given.kinds or list(BY_NAME)
    nodes = 0 if ALONE.issuperset(kind.partition(":")[0] for kind in kinds) else 3
    with tempfile.TemporaryDirectory() as folder, RayCluster(nodes=nodes) as cluster:
        for kind, _, times in (given_kind.partition(":") for given_kind in kinds):
            proof, place = BY_NAME[kind], Path(folder, kind)
            place.mkdir()
            repeat = int(times) if times else given.repeat or PROOFS[proof]
            proofs = Proofs(kind, cluster, place, repeat=repeat, seed=given.seed, file=given.rows)
            began_s = time.monotonic()
            try:
                proof(proofs)
            except Exception as error:  # noqa: BLE001  the other proofs are made all the same
                proofs.wrong.append(f"{kind}: {error!r}")
            took_s = time.monotonic() - began_s
            print(f"{kind}, seed {given.seed}, {took_s:.0f} s\n{proofs.report()}", flush=True)  # noqa: T201  its result
            is_wrong = is_wrong or bool(proofs.wrong)
    return 1 if is_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
