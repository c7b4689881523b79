"""The stored labels of a job as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from asyncfilter.checkpoint import read_images
from asyncfilter.datasets.exports.counted import counted_verdict
from asyncfilter.datasets.exports.label_table import COLUMNS, arrow, label_tables
from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import Verdict
from asyncfilter.records.images import StoredImage
from asyncfilter.wiring.located import with_known_bucket

if TYPE_CHECKING:
    import pandas as pd


def labels_frame(
    job: Job, *, verdicts: Collection[Verdict | str] = (), columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The labels that the job's checkpoint holds, one row a label, as ``asyncfilter export --format parquet`` has them.

    No service is called, and a run in progress is not disturbed. Columns keep the memory form of Arrow
    (``pandas.ArrowDtype``), so that missing values stay missing, and an image's key is not an object a row. While the
    frame is made, it takes its own memory and that of one table of 122,880 rows more.

    Args:
        job: The job; its source and detector are not used.
        verdicts: Only images that count under one of these verdicts; all images when it is empty.
        columns: Only these columns, in this order; all of them by default. Fewer columns take less memory.

    Raises:
        UsageError: pandas or pyarrow is not installed, or there is no such column.
        CheckpointError: There is no checkpoint, or it cannot be read.
    """
    pa, arrow_type = arrow(), _pandas().ArrowDtype
    job = with_known_bucket(job)
    names = list(COLUMNS if columns is None else columns)
    _check_columns(names)
    skips_duplicates = job.source.skip_duplicates
    tables = label_tables(
        _chosen(job, frozenset(verdicts)), bucket=job.source.bucket, skips_duplicates=skips_duplicates
    )
    table = pa.concat_tables([one.select(names) for one in tables])
    frame: pd.DataFrame = table.to_pandas(types_mapper=arrow_type, split_blocks=True, self_destruct=True)
    return frame


def _chosen(job: Job, verdicts: frozenset[str]) -> Iterator[StoredImage]:
    for image in read_images(job.checkpoint):
        if not verdicts or counted_verdict(image, skips_duplicates=job.source.skip_duplicates) in verdicts:
            yield image


def _check_columns(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise UsageError(f"there is no column {unknown[0]!r}", hint=f"Choose among {', '.join(COLUMNS)}.")


def _pandas() -> Any:  # noqa: ANN401  pandas has no types
    try:
        import pandas as found  # noqa: ICN001, PLC0415  part of an extra; its usual name is taken by the types
    except ImportError as error:
        raise UsageError(
            f"A data frame needs pandas, which cannot be imported: {error}",
            hint="Install the extra: pip install 'asyncfilter[pandas]'",
        ) from error
    return found
