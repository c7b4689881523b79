"""Temporary keys that the sandbox's STS gives out, until they expire."""

from __future__ import annotations

import secrets
import time
from typing import NamedTuple


class Session(NamedTuple):
    """One set of temporary keys; it ends at a Unix time. ``role`` is the ARN of the role that was assumed."""

    access_key: str
    secret_key: str
    token: str
    ends_unix_s: float
    role: str = ""


class Sessions:
    """The sessions of a sandbox.

    Args:
        lifetime_s: Lifetime of every session; None lets the caller choose, as AWS does.
    """

    def __init__(self, lifetime_s: float | None = None) -> None:
        self._lifetime_s = lifetime_s
        self._sessions: dict[str, Session] = {}

    def start(self, duration_s: float, role: str = "") -> Session:
        """Give out new keys."""
        lifetime_s = duration_s if self._lifetime_s is None else self._lifetime_s
        made = Session(
            access_key=f"ASIA{secrets.token_hex(8).upper()}",
            secret_key=secrets.token_urlsafe(30),
            token=secrets.token_urlsafe(90),
            ends_unix_s=time.time() + lifetime_s,
            role=role,
        )
        self._sessions[made.access_key] = made
        return made

    def find(self, access_key: str) -> Session | None:
        """The session with an access key, also after its end."""
        return self._sessions.get(access_key)

    def roles(self) -> dict[str, str]:
        """ARNs of the roles that were assumed, by name."""
        return {one.role.rpartition("/")[2]: one.role for one in self._sessions.values() if one.role}
