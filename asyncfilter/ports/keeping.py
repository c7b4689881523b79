"""The port of a state in S3 that a run owns: what a run waits for, what it may spend, and why it has to end.

A checkpoint alone has no such port: its file is the truth. With a copy in S3 the file is the truth, too, and nothing
waits (``is_authoritative`` is false). The part that owns the state commits by itself; a run only requests it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from asyncfilter.errors import AsyncFilterError
from asyncfilter.events import Emit
from asyncfilter.model import StateSummary


class Grant(NamedTuple):
    """What may be spent before the next commit.

    Attributes:
        micros: As a total, with everything that was spent before.
        price_micros: The price of one call.
    """

    micros: int
    price_micros: int


class Grants(Protocol):
    """What a run may spend, as commits grant it."""

    @property
    def is_low(self) -> bool:
        """Whether the next commit should begin soon, so that nothing has to wait for money."""
        ...

    def propose(self) -> Grant:
        """What the next commit grants; from now on no more than that may be reserved."""
        ...

    def granted(self, grant: Grant) -> None:
        """A commit with this grant succeeded."""
        ...


class KeptState(Protocol):
    """The state of a run in S3, owned by this process.

    Attributes:
        is_authoritative: S3 is the truth (``checkpoint: s3://``): actions, removals and money wait for commits.
        lacks_spending: The sums may lack what was spent after the last commit: a copy was restored.
    """

    is_authoritative: bool
    lacks_spending: bool

    def emit_to(self, emit: Emit | None) -> None:
        """Emit events there from now on, those since the start first; None: no more."""
        ...

    def use(self, grants: Grants) -> None:
        """Commit grants of this money from now on, in place of another's."""
        ...

    def hurry(self) -> None:
        """Begin the next commit at once."""
        ...

    def mark(self) -> int:
        """The number of the first commit that will have everything that is durable in the file now."""
        ...

    async def wait_committed(self, mark: int) -> int:
        """Return when the commit with this number has succeeded, with the number of the last one that has.

        Raises:
            AsyncFilterError: The run has to end; see ``wait_end``.
        """
        ...

    def may_pay(self) -> bool:
        """Whether an attempt may be sent at this moment."""
        ...

    def is_behind(self) -> bool:
        """Whether S3 could not be written for so long that the run says so."""
        ...

    async def wait_may_pay(self) -> None:
        """Return when an attempt may be sent, or after a second: the run may drain meanwhile."""
        ...

    async def wait_end(self) -> AsyncFilterError:
        """Return when the run has to end, with the reason: the state is lost, or S3 was away for too long."""
        ...

    async def flush(self) -> str | None:
        """Commit everything that is durable in the file, and give back what was granted; no call may be in flight.

        Returns:
            Why something was left; None when nothing was.
        """
        ...

    async def summary(self) -> StateSummary:
        """The figures at this moment."""
        ...
