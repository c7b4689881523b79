"""The table of the fleet's proofs: what it says of rows, and that the document has that of the stored ones."""

from __future__ import annotations

from pathlib import Path

from tests.kit.cluster_rows import Row, read_rows, table

ROOT = Path(__file__).parents[2]


def test_a_line_for_each_case() -> None:
    """Trials and failures are counted; kills are added up, other figures have their least and most."""
    rows = [
        Row("kills", "matches", 1, 2.0, {"kills": 3, "calls repeated": 7, "end": "stop"}),
        Row("kills", "matches", 2, 3.0, {"kills": 2, "calls repeated": 1, "end": "stop"}, ["other answers"]),
        Row("once", "told to leave", 3, 1.0, {"calls repeated": 0}),
    ]
    assert table(rows).splitlines()[2:] == [
        "| `kills`: matches | 2 | 1 | kills 5; calls repeated 1 to 7; end stop |",
        "| `once`: told to leave | 1 | 0 | calls repeated 0 |",
    ]


def test_the_document_has_what_was_seen() -> None:
    """``docs/scale.md`` has the table of the rows that the proofs have written."""
    rows = read_rows([ROOT / "benchmarks" / "results" / "cluster.jsonl"])
    assert table(rows) in (ROOT / "docs" / "scale.md").read_text("utf-8")
