"""Reading of a checkpoint for the review page: the images to review first, single images, and whether it changed.

As in ``reader``, nothing is held between two calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from asyncfilter.checkpoint.file_lock import is_held
from asyncfilter.checkpoint.lock import holder
from asyncfilter.checkpoint.place import beside, checkpoint_exists, without_links
from asyncfilter.checkpoint.reader import snapshot
from asyncfilter.checkpoint.rows import WITH_LABELS, RowCodec, pack_etag, select
from asyncfilter.checkpoint.schema import REVIEWED, VERDICTS
from asyncfilter.checkpoint.state import TOTALS, WATERMARK, read_state
from asyncfilter.model import LabelFilter, Verdict
from asyncfilter.records.images import StoredImage
from asyncfilter.records.progress import Totals, Watermark

_BY_RULES = f"CASE WHEN decision >= {REVIEWED} THEN decision / {REVIEWED} - 1 ELSE decision % 4 END"
"""The verdict of the rules, also where a person decided."""
_IS_REVIEW = f"{_BY_RULES} = {VERDICTS[Verdict.REVIEW]}"
_BATCH = 1000
_LIGHT_BATCH = 20_000


NO_VERDICT = len(VERDICTS)
"""In place of a verdict, where there is none."""


class Stamp(NamedTuple):
    """A checkpoint file at one moment.

    Attributes:
        origin: Id of its first run; empty before that. A file that was made anew has another one.
        version: Changes with every change of the file.
        last_id: Rows behind it are new.
    """

    origin: str
    version: str
    last_id: int


def read_stamp(path: Path) -> Stamp | None:
    """The state of the checkpoint at ``path``; None without one. Raises as ``read_status`` does."""
    if not checkpoint_exists(path):
        return None
    path = without_links(path)
    version = file_version(path)  # before the rows are read: a change in between is seen the next time
    with snapshot(path) as db:
        first = db.execute("SELECT id FROM run ORDER BY started_unix_s, rowid LIMIT 1").fetchone()
        (last_id,) = db.execute("SELECT coalesce(max(id), 0) FROM image").fetchone()
    return Stamp(first[0] if first else "", version, last_id)


def read_version(path: Path) -> str | None:
    """As ``version`` of ``read_stamp``, at hardly any cost; None without a checkpoint."""
    return file_version(without_links(path)) if checkpoint_exists(path) else None


class CardVersion(NamedTuple):
    """A version of an object, as a row has it.

    Attributes:
        etag: As it is stored; see ``unpack_etag``.
    """

    key: str
    etag: bytes | str
    size_bytes: int


class LightRows(NamedTuple):
    """Images without their labels, as columns: an object for each of a million would take most of the time.

    Attributes:
        verdicts: Of the rules, as in ``VERDICTS``; ``NO_VERDICT`` for an image that could not be examined.
        duplicates: Rows with that of an earlier image with the same content, where there is one.
        known: Those of the rows whose key or ETag was named, with their versions.
    """

    ids: Sequence[int]
    verdicts: bytes
    duplicates: Sequence[tuple[int, int]]
    known: Sequence[tuple[int, CardVersion]]


def scan_review(
    path: Path, *, after: int, is_asked: LabelFilter, skips_duplicates: bool
) -> Iterator[list[StoredImage]]:
    """Placed images that the rules send to review, by id, with the labels that are asked for.

    Raises as ``read_status`` does, when iteration begins.
    """
    with snapshot(without_links(path)) as db:
        codec = RowCodec(db)
        query = f"{select(WITH_LABELS)} {_placed(skips_duplicates)} AND {_IS_REVIEW} ORDER BY id"
        rows = db.execute(query, (after,))
        while some := rows.fetchmany(_BATCH):
            yield codec.images(some, is_asked)


def scan_others(
    path: Path, *, after: int, skips_duplicates: bool, keys: Collection[str] = (), etags: Collection[bytes | str] = ()
) -> Iterator[LightRows]:
    """All other placed images, by id; raises as ``scan_review``.

    Args:
        path: The checkpoint.
        after: Only rows behind this one.
        skips_duplicates: Whether images with the content of an earlier one are left out.
        keys: The versions of rows with one of these keys are wanted.
        etags: Likewise, as they are stored.
    """
    with snapshot(without_links(path)) as db:
        named = ", key, etag, size_bytes" if keys or etags else ""
        columns = f"id, coalesce({_BY_RULES}, {NO_VERDICT}), same_as{named}"
        where = f"{_placed(skips_duplicates)} AND (decision IS NULL OR NOT {_IS_REVIEW})"
        rows = db.execute(f"SELECT {columns} FROM image {where} ORDER BY id", (after,))  # noqa: S608  constants
        while some := rows.fetchmany(_LIGHT_BATCH):
            known = (
                [(row[0], CardVersion(*row[3:])) for row in some if row[3] in keys or row[4] in etags] if named else ()
            )
            ids, verdicts, same_as, *_ = zip(*some, strict=True)
            yield LightRows(
                ids, bytes(verdicts), [pair for pair in zip(ids, same_as, strict=True) if pair[1] is not None], known
            )


def read_by_ids(path: Path, ids: Sequence[int]) -> list[StoredImage]:
    """The images with these ids, as far as they exist, with their labels. Raises as ``read_status`` does."""
    with snapshot(without_links(path)) as db:
        return RowCodec(db).by_ids(ids)


def find_versions(path: Path, versions: Sequence[tuple[str, str, int]]) -> list[list[int]]:
    """The ids of the placed images with each of these keys, ETags and sizes. Raises as ``read_status`` does."""
    query = "SELECT id FROM image WHERE key = ? AND etag = ? AND size_bytes = ? AND seq IS NOT NULL"
    with snapshot(without_links(path)) as db:
        return [
            [id_ for (id_,) in db.execute(query, (key, pack_etag(etag), size_bytes))]
            for key, etag, size_bytes in versions
        ]


def count_placed(path: Path) -> int:
    """How many images have a place; 0 without a checkpoint. Raises as ``read_status`` does."""
    if not checkpoint_exists(path):
        return 0
    with snapshot(without_links(path)) as db:
        (found,) = db.execute("SELECT count(*) FROM image WHERE seq IS NOT NULL").fetchone()
    return int(found)


def read_progress(path: Path) -> tuple[Watermark, Totals] | None:
    """How far a run is, and its sums; None without a checkpoint. Raises as ``read_status`` does."""
    if not checkpoint_exists(path):
        return None
    with snapshot(without_links(path)) as db:
        watermark, totals = read_state(db, WATERMARK, Watermark), read_state(db, TOTALS, Totals)
    return None if watermark is None or totals is None else (watermark, totals)


def is_run_going(path: Path) -> bool:
    """Whether a run holds the checkpoint, under any name."""
    if not checkpoint_exists(path):
        return False
    path = without_links(path)
    return holder(path) is not None or is_held(path)


def _placed(skips_duplicates: bool) -> str:  # noqa: FBT001  a part of a query
    return f"WHERE seq IS NOT NULL AND id > ?{' AND same_as IS NULL' if skips_duplicates else ''}"


def file_version(path: Path) -> str:
    """Inode, times and sizes of an SQLite file and of its write-ahead log: what changes with every change."""
    found = []
    for side in (path, beside(path, "-wal")):
        try:
            status = side.stat()
        except FileNotFoundError:
            continue
        found.append(f"{status.st_ino}.{status.st_mtime_ns}.{status.st_size}")
    return " ".join(found)
