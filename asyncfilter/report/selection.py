"""Which stored images a user asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from asyncfilter.job.spec import Job
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.records.images import StoredImage


def select(
    images: Iterable[StoredImage],
    *,
    verdicts: Collection[str] = (),
    failed: bool = False,
    is_stale: Callable[[StoredImage], bool] | None = None,
) -> Iterator[StoredImage]:
    """The images that one of the wishes names, in their order; all of them when there is none.

    Args:
        images: From a checkpoint.
        verdicts: Names of verdicts; of these only images that did not fail.
        failed: Those with a failure.
        is_stale: See ``stale_in``.
    """
    is_all = not (verdicts or failed or is_stale)
    for image in images:
        if image.failure is not None:
            wanted = failed
        else:
            wanted = image.seq is not None and image.decision is not None and image.decision.verdict.value in verdicts
        if is_all or wanted or (is_stale is not None and is_stale(image)):
            yield image


def stale_in(job: Job) -> Callable[[StoredImage], bool]:
    """Tells images that have a copy which the stored decision would not make."""
    outcomes = Outcomes(job)

    return lambda image: bool(image.effects) and bool(outcomes.as_stored(image).stale)
