"""The ledger's record of calls that change something at the service: on disk before they are sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum

from asyncfilter.clock import Clock
from asyncfilter.custom_labels.ledger import Ledger


class CallState(StrEnum):
    """What is known of a call."""

    INTENT = "intent"
    """It is about to be sent; of a process that died, whether it was is not known."""
    DONE = "done"
    REFUSED = "refused"
    """It had no effect."""
    UNKNOWN = "unknown"
    """It was sent, and no answer came."""


class CallLog:
    """The calls of one service.

    Args:
        ledger: The open ledger.
        clock: Gives the time.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    def begin(
        self, operation: str, subject: str, parameters: Mapping[str, object], *, endpoint: str, region: str
    ) -> int:
        """Write that a call is about to be sent; durable when this returns.

        Args:
            operation: Its name.
            subject: The ARN, name or address that it is about.
            parameters: All that is needed to find out afterwards whether it happened.
            endpoint: Of the service; empty for AWS's own.
            region: Of the service.

        Returns:
            The number of its row.

        Raises:
            LedgerError: It cannot be written; then the call must not be sent.
        """
        row = (endpoint, region, operation, subject, json.dumps(dict(parameters)), self._clock.unix())
        with self._ledger.transaction() as db:
            made = db.execute(
                "INSERT INTO calls (endpoint, region, operation, subject, parameters, state, asked_at)"
                " VALUES (?, ?, ?, ?, ?, 'intent', ?)",
                row,
            )
            return int(made.lastrowid or 0)

    def end(self, call: int, state: CallState, answer: str) -> None:
        """Write what became of a call.

        Args:
            call: From ``begin``.
            state: What is known of it.
            answer: What the service returned, or the error.
        """
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE calls SET state = ?, answered_at = ?, answer = ? WHERE id = ?",
                (state.value, self._clock.unix(), answer, call),
            )

    def settle(self, operation: str, subject: str, *, endpoint: str, region: str) -> bool:
        """Note that what such calls were to make is there.

        Returns:
            Whether the outcome of one of them was not known before.
        """
        with self._ledger.transaction() as db:
            changed = db.execute(
                "UPDATE calls SET state = 'done', answered_at = ? WHERE endpoint = ? AND region = ? AND operation = ?"
                " AND subject = ? AND state IN ('intent', 'unknown')",
                (self._clock.unix(), endpoint, region, operation, subject),
            )
            return changed.rowcount > 0
