"""Why the workers of a run cannot be used: none fits, the cluster has failed, or another head has them."""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.errors import AsyncFilterError, CheckpointError, UsageError
from asyncfilter.fleet.asks import Terms
from asyncfilter.fleet.messages import Hello

OTHERS_S = 10.0
"""After the first worker that cannot be used, others are waited for so long: those that can may be slower to start."""


class Refusals:
    """What speaks against the workers of one run, as far as it is known.

    Args:
        terms: What workers must agree with.
        now: Seconds that go on while this machine is suspended.

    Attributes:
        failure: Why the cluster gives no more workers; None while it does.
    """

    def __init__(self, terms: Terms, now: Callable[[], float]) -> None:
        self.failure: AsyncFilterError | None = None
        self._terms = terms
        self._now = now
        self._unusable: tuple[float, AsyncFilterError] | None = None
        self._later_epoch: int | None = None

    # -- What is learned -------------------------------------------------------------------------------------------

    def cannot_be_used(self, error: AsyncFilterError) -> None:
        """Note why a worker cannot be used, and since when there is such a one."""
        since_s = self._now() if self._unusable is None else self._unusable[0]
        self._unusable = since_s, error

    def can_be_used(self) -> None:
        """Forget those that cannot be used, for one can."""
        self._unusable = None

    def refused(self, hello: Hello | None, epoch: int | None) -> None:
        """Note that a worker does not fit or obeys another head: see ``Listener``."""
        if hello is not None:
            self.cannot_be_used(self._unfit(hello))
        elif epoch is None:
            self.cannot_be_used(self.held())
        if epoch is not None:
            self._later_epoch = max(epoch, self._later_epoch or 0)

    # -- What follows ----------------------------------------------------------------------------------------------

    def check(self, *, has_workers: bool, is_over: bool = False) -> None:
        """Raise when waiting for workers is in vain.

        Args:
            has_workers: There are some that can be asked.
            is_over: Others are not waited for any more.

        Raises:
            AsyncFilterError: The cluster cannot be used, or no worker.
        """
        if self.failure is not None:
            raise self.failure
        if self.is_ousted:
            raise self.ousted()
        if self._unusable is not None and not has_workers and (is_over or self._is_old(self._unusable[0])):
            raise self._unusable[1]

    @property
    def is_ousted(self) -> bool:
        """Whether the workers obey a later head."""
        return self._later_epoch is not None

    @property
    def is_held_by_another(self) -> bool:
        """Whether no worker came back since another run of the same epoch took them."""
        if self._unusable is None:
            return False
        since_s, error = self._unusable
        return isinstance(error, CheckpointError) and self._is_old(since_s)

    def _is_old(self, since_s: float) -> bool:
        return self._now() - since_s > OTHERS_S

    # -- In words --------------------------------------------------------------------------------------------------

    def why_unusable(self) -> str:
        """The end of a sentence about too few workers; empty where nothing speaks against those that came."""
        return "" if self._unusable is None else f"; another could not be used: {self._unusable[1].message}"

    def ousted(self) -> CheckpointError:
        """The error of a run whose workers obey a later head."""
        return CheckpointError(
            f"another run of this checkpoint has the workers (epoch {self._later_epoch}, this one is "
            f"{self._terms.epoch})",
            hint="Look at that run; the same command continues once it has ended.",
        )

    def held(self) -> CheckpointError:
        """The error of a run whose workers another one of the same epoch has."""
        return CheckpointError(
            f"another run has the workers, over a copy of this checkpoint (both have epoch {self._terms.epoch})",
            hint="Wait until that run has ended, or give it a cluster of its own.",
        )

    def _unfit(self, hello: Hello) -> UsageError:
        terms = self._terms
        if hello.version != terms.version:
            return UsageError(
                f"the workers have asyncfilter {hello.version}, this is {terms.version}",
                hint="Install one version of asyncfilter on all machines.",
            )
        return UsageError(
            f"the workers examine for another job (fingerprint {hello.fingerprint[:12]}, this job has "
            f"{terms.fingerprint[:12]})",
            hint="End the workers of the other job, or set another checkpoint.",
        )
