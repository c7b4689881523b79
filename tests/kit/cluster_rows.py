"""The results of the proofs on Ray: a row for each trial, stored as it ends, and the table of all rows."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tests.kit.cluster_trials import Place
from tests.kit.ray_cluster import RayCluster
from tests.kit.sweep import Sweep

SUMMED = {"kills", "freezes"}
"""What the table adds up; of other figures it has the least and the most."""


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One trial.

    Attributes:
        proof: Of ``cluster_proofs.PROOFS``.
        case: Which of its cases.
        seed: Of the random moments.
        took_s: Its duration, seconds.
        seen: Figures by their names.
        wrong: What should not have been.
    """

    proof: str
    case: str
    seed: int
    took_s: float
    seen: dict[str, Any] = {}
    wrong: list[str] = []


class Proofs(Sweep):
    """One proof on one cluster.

    Args:
        proof: Its name.
        cluster: The cluster.
        folder: For the jobs.
        repeat: How often the proof is made.
        seed: Of the random moments.
        file: Rows are appended to it; None for none.
    """

    def __init__(
        self, proof: str, cluster: RayCluster, folder: Path, *, repeat: int, seed: int, file: Path | None = None
    ) -> None:
        super().__init__()
        self.cluster = cluster
        self.place = Place(cluster, folder)
        self.repeat = repeat
        self.seed = seed
        self.rng = random.Random(seed)
        self._proof = proof
        self._file = file
        self._case = ""

    def check(self, holds: object, what: str) -> None:
        """Record ``what`` as wrong unless it holds."""
        super().check(holds, f"{self._proof}, {self._case}: {what}")

    @contextmanager
    def trial(self, case: str) -> Iterator[dict[str, Any]]:
        """One trial: its figures are put into what is given, and stored when it ends, also when it fails."""
        self._case = case
        self.seed += 1
        self.rng = random.Random(self.seed)
        seen: dict[str, Any] = {}
        before, began_s = len(self.wrong), time.monotonic()
        try:
            yield seen
        except Exception as error:  # noqa: BLE001  the other trials are made all the same
            self.check(False, f"{error!r} {self.place.last_words()}")
        took_s = round(time.monotonic() - began_s, 1)
        self._store(Row(self._proof, case, self.seed, took_s, seen, self.wrong[before:]))
        if self.place.end_all():
            self.cluster.restart()  # the workers of a head that was killed here would wait for minutes
        self.counts[case] += 1

    def _store(self, row: Row) -> None:
        line = json.dumps(msgspec.to_builtins(row), ensure_ascii=False)
        print(line, flush=True)  # noqa: T201  a long series shall not lose it
        if self._file is not None:
            with self._file.open("a") as file:
                file.write(line + "\n")


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The rows of some files."""
    lines = (line for path in paths for line in path.read_text().splitlines())
    return [msgspec.json.decode(line, type=Row) for line in lines]


def table(rows: Iterable[Row]) -> str:
    """A table in Markdown with a line for each case."""
    cases: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        cases.setdefault((row.proof, row.case), []).append(row)
    lines = [_line(proof, case, found) for (proof, case), found in cases.items()]
    return "\n".join(["| proof | trials | failed | seen |", "|---|---:|---:|---|", *lines])


def _line(proof: str, case: str, rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.seen))
    seen = [_figures(name, [row.seen[name] for row in rows if name in row.seen]) for name in names]
    failed = sum(bool(row.wrong) for row in rows)
    return f"| `{proof}`: {case} | {len(rows)} | {failed} | {'; '.join(seen)} |"


def _figures(name: str, values: list[Any]) -> str:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return f"{name} {', '.join(dict.fromkeys(map(str, values)))}"
    if name in SUMMED:
        return f"{name} {sum(numbers):,g}"
    least, most = min(numbers), max(numbers)
    return f"{name} {least:,g}" if least == most else f"{name} {least:,g} to {most:,g}"
