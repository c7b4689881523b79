"""Which permissions the requests to a sandbox needed, for tests that compare them with a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from asyncfilter.sandbox.iam.documents import Permission

MAX_ROWS: Final = 100_000


class _Row(NamedTuple):
    operation: str
    action: str
    resource: str
    prefix: str | None


class AccessLog:
    """Permissions that were needed, each once with a count; at most ``MAX_ROWS`` different ones are kept."""

    def __init__(self) -> None:
        self._rows: dict[_Row, list[int]] = {}

    def note(self, operation: str, permission: Permission, *, allowed: bool) -> None:
        """Count one use of a permission."""
        row = _Row(operation, permission.action, permission.resource, permission.context.get("s3:prefix"))
        if row in self._rows or len(self._rows) < MAX_ROWS:
            self._rows.setdefault(row, [0, 0])[allowed] += 1

    def clear(self) -> None:
        """Forget all."""
        self._rows.clear()

    def rows(self) -> list[Mapping[str, Any]]:
        """What was needed: ``operation``, ``action``, ``resource``, ``prefix``, and how often it was allowed or not."""
        return [
            {**row._asdict(), "denied": denied, "allowed": allowed} for row, (denied, allowed) in self._rows.items()
        ]
