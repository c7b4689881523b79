"""When the owner of a state may pay, when a state may be taken from its holder, and when a commit is due.

Arithmetic without I/O; every time is in seconds of one monotonic clock of this machine that goes on while it sleeps.
Two owners never pay at the same time: an owner pays within ``PAYS_FOR_S`` of the sending of its last rewrite of the
head, and another one takes the state only after it saw the head unchanged for ``UNCHANGED_FOR_S``, counted from when it
saw that head first, which is after that sending.
"""

from __future__ import annotations

from enum import Enum, auto

PAYS_FOR_S = 10.0
"""An owner pays this long after the sending of its last rewrite that succeeded."""

DRAINS_AFTER_S = 60.0
"""Without a rewrite for this long, a run drains."""

UNCHANGED_FOR_S = 15.0
"""A head that was unchanged for this long has no owner that pays."""

GIVES_UP_AFTER_S = 30.0
"""A head that still changes after this long has one."""

BEHIND_AFTER_S = 15.0
"""Without a rewrite for this long, the run reports it."""

COMMIT_EVERY_S = 5.0
"""A commit begins at most this long after the one before."""

COMMIT_BYTES = 4 << 20
"""A commit begins when there is this much to commit."""


class Tenure:
    """How long this process may act as the owner.

    Args:
        sent_s: When the rewrite that took the state was sent.
    """

    def __init__(self, sent_s: float) -> None:
        self._sent_s = sent_s
        self.is_lost = False
        """True once another process owns the state, for ever."""

    def rewritten(self, sent_s: float) -> None:
        """A rewrite that was sent at ``sent_s`` succeeded."""
        self._sent_s = max(self._sent_s, sent_s)

    def lose(self) -> None:
        """Another process owns the state."""
        self.is_lost = True

    def may_pay(self, now_s: float) -> bool:
        """Whether an attempt may be sent now."""
        return not self.is_lost and now_s < self._sent_s + PAYS_FOR_S

    def silent_s(self, now_s: float) -> float:
        """Seconds since the sending of the last rewrite that succeeded."""
        return max(0.0, now_s - self._sent_s)

    def is_unreachable(self, now_s: float) -> bool:
        """Whether the store was unreachable for too long."""
        return now_s >= self._sent_s + DRAINS_AFTER_S


class TakeDecision(Enum):
    """What follows from a look at the head of a state that another process holds."""

    WAIT = auto()
    TAKE = auto()
    HELD = auto()


class HeadWatch:
    """Looks at a head that another process holds, until it may be taken or is given up."""

    def __init__(self) -> None:
        self._etag = ""
        self._since_s = self._began_s = 0.0

    def look(self, etag: str, now_s: float) -> TakeDecision:
        """What follows when the head had ``etag`` at ``now_s``, the time after it was read."""
        if not self._etag:
            self._began_s = now_s
        if etag != self._etag:
            self._etag, self._since_s = etag, now_s
        if now_s - self._since_s >= UNCHANGED_FOR_S:
            return TakeDecision.TAKE
        return TakeDecision.HELD if now_s - self._began_s >= GIVES_UP_AFTER_S else TakeDecision.WAIT


class CommitPace:
    """When the next commit begins.

    Args:
        now_s: The time now: the first one is due at once.
    """

    def __init__(self, now_s: float) -> None:
        self._due_s = now_s

    def begun(self, now_s: float) -> None:
        """A commit begins."""
        self._due_s = now_s + COMMIT_EVERY_S

    def left_s(self, now_s: float, *, waiting_bytes: int, is_wanted: bool) -> float:
        """Seconds until the next commit begins, 0 when it is due.

        Args:
            now_s: The time now.
            waiting_bytes: What there is to commit.
            is_wanted: Something waits for it: money, a removal, the end.
        """
        return 0.0 if is_wanted or waiting_bytes >= COMMIT_BYTES else max(0.0, self._due_s - now_s)
