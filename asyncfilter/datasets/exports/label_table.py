"""Labels as rows of an Arrow table, and as a Parquet file.

One row is one label of one image. An image without labels, also one that could not be examined, has one row, in which
``label`` is null. Rows of one image are consecutive, in the order of the response, and have one ``image_id``; images
are in the order of examination, and cached ones follow.

Memory is bounded by one row group. pyarrow is a part of the extra ``parquet`` and is imported when it is used.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from asyncfilter.datasets.exports.counted import counted_verdict
from asyncfilter.datasets.exports.images import as_json, moment
from asyncfilter.errors import UsageError
from asyncfilter.model import Instance, Label, uri_of
from asyncfilter.records.images import StoredImage

ROWS_PER_GROUP = 122_880
"""Rows of one row group, which is that of DuckDB: a reader works on several groups at once, a writer holds one."""

COMPRESSION = "zstd"

IMAGE_COLUMNS = (
    ("image_id", "int64"),
    ("seq", "int64"),
    ("bucket", "string"),
    ("key", "string"),
    ("uri", "string"),
    ("etag", "string"),
    ("size_bytes", "int64"),
    ("verdict", "string"),
    ("rule", "int32"),
    ("rule_label", "string"),
    ("error", "string"),
    ("message", "string"),
    ("effect", "string"),
    ("target", "string"),
    ("model_version", "string"),
    ("rule_verdict", "string"),
    ("reviewed_by", "string"),
    ("reviewed_at", "string"),
    ("reviewed_labels", "string"),
    ("reviewed_boxes", "string"),
)
"""Columns that are the same in all rows of an image, with their types; docs/datasets.md describes them."""

LABEL_COLUMNS = ("label", "confidence_pct", "parents", "aliases", "categories", "instances")
"""Columns of the label."""

COLUMNS = (*(name for name, _ in IMAGE_COLUMNS), *LABEL_COLUMNS)

_BOX = ("confidence_pct", "left", "top", "width", "height")
_DEFINITION_COLUMNS = ("label", "parents", "aliases", "categories")
_NO_LABEL = -1
_NEVER_NULL = frozenset({"image_id", "bucket", "key", "uri", "etag", "size_bytes"})
_Definition = tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]


class TableCounts(NamedTuple):
    """What was written."""

    images: int
    rows: int


def arrow() -> Any:  # noqa: ANN401  pyarrow has no types
    """The library pyarrow.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  part of an extra
        import pyarrow.compute  # noqa: PLC0415  likewise, and an attribute of it
        import pyarrow.parquet  # noqa: PLC0415  likewise
    except ImportError as error:
        raise UsageError(
            f"Parquet and data frames need pyarrow, which cannot be imported: {error}",
            hint="Install the extra: pip install 'asyncfilter[parquet]'",
        ) from error
    return pa


def table_schema() -> Any:  # noqa: ANN401  pyarrow has no types
    """The Arrow schema of the tables."""
    pa = arrow()
    names = pa.list_(pa.string())
    box = pa.struct([pa.field(name, pa.float64(), nullable=False) for name in _BOX])
    types = {
        **{name: getattr(pa, type_)() for name, type_ in IMAGE_COLUMNS},
        "label": pa.string(),
        "confidence_pct": pa.float64(),
        "parents": names,
        "aliases": names,
        "categories": names,
        "instances": pa.list_(box),
    }
    return pa.schema([pa.field(name, types[name], nullable=name not in _NEVER_NULL) for name in COLUMNS])


def label_tables(
    images: Iterable[StoredImage], *, bucket: str, skips_duplicates: bool, rows: int = ROWS_PER_GROUP
) -> Iterator[Any]:
    """The rows of the images as Arrow tables, each of about ``rows`` rows; without an image, one that is empty.

    Args:
        images: From a checkpoint.
        bucket: The source's.
        skips_duplicates: See ``counted_verdict``.
        rows: After how many rows a table ends; an image is never divided.
    """
    batch = _Rows(bucket, skips_duplicates=skips_duplicates)
    has_none = True
    for image in images:
        batch.add(image)
        if len(batch) >= rows:
            yield batch.table()
            has_none = False
            batch = _Rows(bucket, skips_duplicates=skips_duplicates)
    if has_none or len(batch):
        yield batch.table()


def write_parquet(
    images: Iterable[StoredImage],
    out: BinaryIO,
    *,
    bucket: str,
    skips_duplicates: bool,
    rows: int = ROWS_PER_GROUP,
) -> TableCounts:
    """Write a Parquet file; ``out`` need not be seekable. Arguments are those of ``label_tables``."""
    pa = arrow()
    counted = _Counted(images)
    written = 0
    with pa.parquet.ParquetWriter(out, table_schema(), compression=COMPRESSION) as writer:
        for table in label_tables(counted, bucket=bucket, skips_duplicates=skips_duplicates, rows=rows):
            writer.write_table(table, row_group_size=max(1, len(table)))
            written += len(table)
    return TableCounts(counted.count, written)


class _Counted:
    """Counts images that are iterated over."""

    def __init__(self, images: Iterable[StoredImage]) -> None:
        self._images = images
        self.count = 0

    def __iter__(self) -> Iterator[StoredImage]:
        for image in self._images:
            self.count += 1
            yield image


class _Rows:
    """The rows of one table.

    What rows share is held once, and repeated by ``take``: the columns of an image, and the definition of a label.
    Numbers are in arrays, which Arrow uses as they are.
    """

    def __init__(self, bucket: str, *, skips_duplicates: bool) -> None:
        self._bucket, self._skips_duplicates = bucket, skips_duplicates
        self._images: list[tuple[object, ...]] = []
        self._image_at = array("i")
        self._definitions: dict[_Definition, int] = {}
        self._definition_at = array("i")
        self._confidences_pct = array("d")
        self._boxes_from = array("i")
        self._boxes = {name: array("d") for name in _BOX}

    def __len__(self) -> int:
        return len(self._image_at)

    def add(self, image: StoredImage) -> None:
        """Add the rows of one image."""
        number = len(self._images)
        self._images.append(_image_values(image, self._bucket, skips_duplicates=self._skips_duplicates))
        labels = image.detection.labels if image.detection is not None else ()
        if not labels:
            self._row(number, _NO_LABEL, 0.0)
        for label in labels:
            self._row(number, self._definition(label), label.confidence_pct)
            for instance in label.instances:
                self._box(instance)

    def table(self) -> Any:  # noqa: ANN401  pyarrow has no types
        """All rows."""
        pa = arrow()
        definition_at = _numbers(pa.int32(), self._definition_at)
        has_label = pa.compute.not_equal(definition_at, _NO_LABEL)
        columns = [
            *self._image_columns(pa),
            *self._definition_columns(pa, pa.compute.if_else(has_label, definition_at, None)),
            pa.compute.if_else(has_label, _numbers(pa.float64(), self._confidences_pct), None),
            pa.compute.if_else(has_label, self._instances(pa), None),
        ]
        names = (*(name for name, _ in IMAGE_COLUMNS), *_DEFINITION_COLUMNS, "confidence_pct", "instances")
        by_name = dict(zip(names, columns, strict=True))
        return pa.Table.from_arrays([by_name[name] for name in COLUMNS], schema=table_schema())

    def _row(self, image: int, definition: int, confidence_pct: float) -> None:
        self._image_at.append(image)
        self._definition_at.append(definition)
        self._confidences_pct.append(confidence_pct)
        self._boxes_from.append(len(self._boxes["left"]))

    def _box(self, instance: Instance) -> None:
        box, columns = instance.box, self._boxes
        columns["confidence_pct"].append(instance.confidence_pct)
        columns["left"].append(box.left)
        columns["top"].append(box.top)
        columns["width"].append(box.width)
        columns["height"].append(box.height)

    def _definition(self, label: Label) -> int:
        definition = (label.name, label.parents, label.aliases, label.categories)
        return self._definitions.setdefault(definition, len(self._definitions))

    def _image_columns(self, pa: Any) -> Iterator[Any]:  # noqa: ANN401  pyarrow has no types
        at = _numbers(pa.int32(), self._image_at)
        columns = zip(*self._images, strict=True) if self._images else [()] * len(IMAGE_COLUMNS)
        for (_, type_), values in zip(IMAGE_COLUMNS, columns, strict=True):
            yield pa.array(values, getattr(pa, type_)()).take(at)

    def _definition_columns(self, pa: Any, at: Any) -> Iterator[Any]:  # noqa: ANN401  pyarrow has no types
        columns = list(zip(*self._definitions, strict=True)) or [()] * len(_DEFINITION_COLUMNS)
        for name, values in zip(_DEFINITION_COLUMNS, columns, strict=True):
            yield pa.array(values, table_schema().field(name).type).take(at)

    def _instances(self, pa: Any) -> Any:  # noqa: ANN401  pyarrow has no types
        struct = table_schema().field("instances").type.value_type
        boxes = pa.StructArray.from_arrays(
            [_numbers(pa.float64(), self._boxes[name]) for name in _BOX], fields=list(struct)
        )
        offsets = array("i", self._boxes_from)
        offsets.append(len(self._boxes["left"]))
        return pa.ListArray.from_arrays(_numbers(pa.int32(), offsets), boxes)


def _numbers(type_: Any, values: array[int] | array[float]) -> Any:  # noqa: ANN401  pyarrow has no types
    """An Arrow array over the memory of ``values``."""
    pa = arrow()
    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(values)])


def _image_values(image: StoredImage, bucket: str, *, skips_duplicates: bool) -> tuple[object, ...]:
    """The values of the columns of an image."""
    decision, failure, detection, said = image.decision, image.failure, image.detection, image.answer
    verdict = counted_verdict(image, skips_duplicates=skips_duplicates)
    last = image.effects[-1] if image.effects else None
    return (
        image.id,
        image.seq,
        bucket,
        image.key,
        uri_of(bucket, image.key),
        image.etag,
        image.size_bytes,
        verdict.value if verdict is not None else None,
        decision.rule if decision is not None else None,
        decision.label if decision is not None else None,
        failure.code if failure is not None else None,
        failure.message if failure is not None else None,
        last.kind.value if last is not None else None,
        (last.target or None) if last is not None else None,
        detection.model_version if detection is not None else None,
        decision.by_rules.value if decision is not None and said is not None else None,
        said.reviewer if said is not None else None,
        moment(said.at_unix_s) if said is not None else None,
        as_json(said.labels) if said is not None else None,
        as_json(said.boxes) if said is not None else None,
    )
