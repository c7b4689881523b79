"""Carrying out what people decided, by ``refilter`` in a process of its own: never in the server.

What a person agrees to is what they were shown: a plan holds until newer answers come.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
import msgspec

from asyncfilter.review.events import Events
from asyncfilter.review.replies import Refusal

_SHOWN = (
    "keep", "review", "reject", "failed", "copied", "tagged", "stale", "pending_removals", "reviewed", "stop_reason",
)  # fmt: skip
_SUCCEEDED = (0, 1)
_ENDING_S = 1.0
_NOT_STARTED = 70


class Plan(NamedTuple):
    """What was shown to a person.

    Attributes:
        serial: Of the newest answer at that time.
    """

    id: str
    serial: int


class Applying:
    """Plans and applies.

    Args:
        command: ``refilter`` of the job, as a command line.
        events: Told how it goes.
        last_serial: Of the newest answer.
        is_running: Whether a run works on the images.
        warn: Told why it failed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        events: Events,
        last_serial: Callable[[], Awaitable[int]],
        is_running: Callable[[], Awaitable[bool]],
        warn: Callable[[str], object],
    ) -> None:
        self._command, self._events, self._warn = command, events, warn
        self._last_serial, self._is_running = last_serial, is_running
        self._working = anyio.Lock()
        self._agreed = anyio.Event()
        self._plan: Plan | None = None

    async def plan(self) -> tuple[str, Mapping[str, Any]]:
        """What would change: the id of the plan, and the counts.

        Raises:
            Refusal: A run is going on, or it cannot be told.
        """
        await self._check_idle()
        async with self._working:
            serial = await self._last_serial()  # before: answers that come meanwhile may not be in the counts
            code, found = await self._refilter("--dry-run")
        if code not in _SUCCEEDED:
            await self._check_idle()
            raise Refusal(500, "failed", f"The plan could not be made (exit code {code}). The log has the cause.")
        self._plan = Plan(secrets.token_hex(8), serial)
        return self._plan.id, found

    async def agree(self, plan: str) -> None:
        """Carry a plan out; returns at once.

        Raises:
            Refusal: It is outdated, or a run is going on.
        """
        await self._check_idle()
        if self._plan is None or plan != self._plan.id or await self._last_serial() != self._plan.serial:
            raise Refusal(409, "outdated", "Newer answers came: look at the plan again.")
        self._plan = None
        self._agreed.set()

    async def work(self) -> None:
        """Carry out what was agreed to; never ends."""
        while True:
            await self._agreed.wait()
            async with self._working:
                self._agreed = anyio.Event()
                self._events.send("apply", {"state": "running"})
                code, found = await self._refilter()
            state = "done" if code in _SUCCEEDED else "failed"
            self._events.send("apply", {"state": state, "exit_code": code, "counts": found})

    async def _check_idle(self) -> None:
        if self._working.locked() or self._agreed.is_set() or await self._is_running():
            raise Refusal(409, "running", "A run works on the images; it takes the answers over itself.")

    async def _refilter(self, *options: str) -> tuple[int, Mapping[str, Any]]:
        """Exit code and counts of ``refilter``; it is asked to end when this is cancelled, and can be repeated."""
        try:
            process = await self._started(options)
        except OSError as error:
            self._warn(f"refilter cannot be started ({error.strerror or error})")
            return _NOT_STARTED, {}
        try:
            out, err = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.terminate()
            with anyio.move_on_after(_ENDING_S, shield=True):
                await process.wait()
            raise
        code = process.returncode or 0
        if code not in _SUCCEEDED:
            self._warn(f"refilter ended with exit code {code}: {err.decode(errors='replace').strip()[-500:]}")
        return code, _counts(out)

    async def _started(self, options: Sequence[str]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command, *options, "--json", "--yes",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal goes to the server alone
        )  # fmt: skip


def _counts(out: bytes) -> Mapping[str, Any]:
    """The figures of a summary that a person needs, before and after; without keys and paths."""
    try:
        found = msgspec.json.decode(out, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
    before = found.get("before") or {}
    return {name: found[name] for name in _SHOWN if name in found} | {
        "before": {name: before[name] for name in _SHOWN if name in before}
    }
