"""The time until a response: a constant, or a log-normal distribution given by its median and 99th percentile."""

from __future__ import annotations

import math
import random
from typing import Final, NamedTuple

_P99_SIGMAS: Final = 2.3263478740408408
"""Distance of the 99th percentile of a normal distribution from its median, in standard deviations."""


class Latency(NamedTuple):
    """Median and 99th percentile in seconds; a percentile that is not above the median means a constant."""

    p50_s: float = 0.0
    p99_s: float = 0.0

    def sample(self, chance: random.Random) -> float:
        """One duration in seconds."""
        if self.p99_s <= self.p50_s:
            return self.p50_s
        return self.p50_s * math.exp(chance.gauss(0.0, math.log(self.p99_s / self.p50_s) / _P99_SIGMAS))
