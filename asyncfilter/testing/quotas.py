"""Two ways in which a service counts calls against a quota, for tests and benchmarks. Times are parameters, seconds."""

from __future__ import annotations

from collections import deque


class TokenBucket:
    """Takes calls while its bucket has a token; it refills evenly.

    Args:
        quota_tps: Tokens a second.
        depth_s: What the bucket holds, in seconds of the quota; at least one token.
    """

    def __init__(self, quota_tps: float, depth_s: float = 0.1) -> None:
        self.quota_tps = quota_tps
        self._depth_s = depth_s
        self._tokens = self._depth
        self._at_s = 0.0

    @property
    def _depth(self) -> float:
        return max(1.0, self.quota_tps * self._depth_s)

    def take(self, now_s: float) -> bool:
        """Whether a call at ``now_s`` is within the quota; times must not go back."""
        self._tokens = min(self._depth, self._tokens + (now_s - self._at_s) * self.quota_tps)
        self._at_s = now_s
        within = self._tokens >= 1.0 - 1e-9
        self._tokens -= within
        return within


class StrictWindow:
    """Takes a call when fewer than the quota were taken in the second before it.

    Args:
        quota_tps: Calls in any second.
    """

    def __init__(self, quota_tps: float) -> None:
        self.quota_tps = quota_tps
        self._taken_s: deque[float] = deque()

    def take(self, now_s: float) -> bool:
        """Whether a call at ``now_s`` is within the quota; times must not go back."""
        while self._taken_s and self._taken_s[0] <= now_s - 1.0:
            self._taken_s.popleft()
        within = len(self._taken_s) < self.quota_tps
        if within:
            self._taken_s.append(now_s)
        return within
