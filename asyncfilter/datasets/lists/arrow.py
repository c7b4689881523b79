"""pyarrow, which reads Parquet and ORC: the extra ``parquet``, imported when used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, BinaryIO

from asyncfilter.errors import UsageError

_BATCH_ROWS = 10_000

PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""

ORC = b"ORC"
"""The first bytes of an ORC file."""


class ArrowTable:
    """A Parquet or ORC file as rows of some of its columns, read piece by piece.

    Args:
        name: For messages.
        stream: The file, which can be read anywhere.
        is_orc: ORC instead of Parquet.

    Raises:
        UsageError: pyarrow is not installed, or the file is damaged.
    """

    def __init__(self, name: str, stream: BinaryIO, *, is_orc: bool) -> None:
        self._name = name
        self._is_orc = is_orc
        self._file: Any = self._checked(lambda: self._opened(stream))
        self.names: tuple[str, ...] = self._checked(self._names)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
        """The values of ``columns``, row by row.

        Raises:
            UsageError: The file is damaged.
        """
        batches = self._batches(list(columns))
        while (batch := self._checked(lambda: next(batches, None))) is not None:
            yield from self._checked(lambda batch=batch: list(_rows(batch, columns)))

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        if not self._is_orc:
            yield from self._file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)
            return
        for stripe in range(self._file.nstripes):
            yield self._file.read_stripe(stripe, columns=columns)

    def _names(self) -> tuple[str, ...]:
        schema = self._file.schema if self._is_orc else self._file.schema_arrow
        return tuple(schema.names)

    def _opened(self, stream: BinaryIO) -> Any:  # noqa: ANN401  pyarrow has no types
        if self._is_orc:
            return _library("pyarrow.orc", self._name).ORCFile(stream)
        return _library("pyarrow.parquet", self._name).ParquetFile(stream)

    def _checked(self, step: Any) -> Any:  # noqa: ANN401  a step of pyarrow, which has no types
        try:
            return step()
        except UsageError:
            raise
        except Exception as error:
            text = str(error).partition("\n")[0]
            raise UsageError(
                f"{self._name}: cannot be read as {'ORC' if self._is_orc else 'Parquet'}: {text}"
            ) from error


def _rows(batch: Any, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:  # noqa: ANN401  pyarrow has no types
    return zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _library(module: str, name: str) -> Any:  # noqa: ANN401  pyarrow has no types
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{name}: Parquet and ORC need pyarrow, which cannot be imported: {error}",
            hint="Install the extra: pip install 'asyncfilter[parquet]'",
        ) from error
