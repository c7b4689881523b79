"""People's answers for tests: rows in few words, and any rows for property tests."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from asyncfilter.records.answers import Answer, AskedAs, LabelledBox, NewAnswer, PersonVerdict, Subject

_numbers = count(1)


MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""For many short-lived files: nothing there is synced to a disk."""


def subject(
    key: str = "a.jpg", *, bucket: str = "raw", etag: str = "e1-1", size_bytes: int = 10, content: str | None = None
) -> Subject:
    """A version of an object; by its ETag alone it is not recognized elsewhere."""
    return Subject(bucket=bucket, key=key, etag=etag, size_bytes=size_bytes, content=content)


def new_answer(verdict: str | None = "keep", about: Subject | None = None, **parts: Any) -> NewAnswer:
    """A row to be written, by anna at a time that rises."""
    number = next(_numbers)
    given: dict[str, Any] = {
        "uid": f"uid-{number:08}",
        "reviewer": "anna",
        "at_unix_s": 1_790_000_000.0 + number,
        **parts,
    }
    return NewAnswer(subject=about or subject(), verdict=None if verdict is None else PersonVerdict(verdict), **given)


def stored(serial: int, verdict: str | None = "keep", **parts: Any) -> Answer:
    """A row as stored under a serial, whose uid follows from it."""
    given: dict[str, Any] = {"uid": f"uid-{serial:08}", "subject": subject(), "reviewer": "anna", **parts}
    return Answer(
        serial=serial,
        at_unix_s=1_790_000_000.0 + serial,
        verdict=None if verdict is None else PersonVerdict(verdict),
        **given,
    )


def box(label: str = "Robin", left: float = 0.1) -> LabelledBox:
    """A box."""
    return LabelledBox(label=label, left=left, top=0.2, width=0.3, height=0.4)


@st.composite
def histories(draw: st.DrawFn, max_rows: int = 12) -> list[Answer]:
    """All rows about one image: words, labels, boxes, and rows that take earlier ones back, also those of others."""
    rows: list[Answer] = []
    for serial in range(1, draw(st.integers(0, max_rows)) + 1):
        reviewer = draw(st.sampled_from(["anna", "ben", "cleo"]))
        if rows and draw(st.integers(0, 2)) == 0:
            former = draw(st.sampled_from(rows))
            rows.append(stored(serial, None, reviewer=reviewer, undoes=former.uid))
            continue
        rows.append(
            stored(
                serial,
                draw(st.sampled_from([*PersonVerdict, None])),
                reviewer=reviewer,
                labels=draw(st.sampled_from([None, None, (), ("Robin",), ("Wren", "Tit")])),
                boxes=draw(st.sampled_from([None, None, (), (box(),)])),
                asked_as=draw(st.sampled_from([AskedAs.DECIDE, AskedAs.DECIDE, AskedAs.SECOND, AskedAs.ADJUDICATE])),
            )
        )
    return rows
