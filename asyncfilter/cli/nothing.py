"""``--json`` of commands that find nothing to work on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from asyncfilter.cli.terminal import write_json
from asyncfilter.errors import NothingToWorkOnError

CODE = "nothing_to_work_on"


@contextmanager
def nothing_told(beside: Mapping[str, object] | None = None, *, as_json: bool) -> Iterator[None]:
    """With ``--json``, write an object also where there is nothing to work on; the error is raised all the same.

    Args:
        beside: What stands in it beside ``error``.
        as_json: Whether ``--json`` is given.
    """
    try:
        yield
    except NothingToWorkOnError as error:
        if as_json:
            write_json({**(beside or {}), "error": {"code": CODE, "message": error.message}})
        raise
