"""The selection of stored images for an export."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from asyncfilter.datasets.exports.counted import counted_verdict
from asyncfilter.job.spec import Job
from asyncfilter.policy.outcome import Outcomes
from asyncfilter.records.images import StoredImage


def select(
    images: Iterable[StoredImage],
    *,
    verdicts: Collection[str] = (),
    failed: bool = False,
    is_stale: Callable[[StoredImage], bool] | None = None,
    skips_duplicates: bool = False,
) -> Iterator[StoredImage]:
    """The images that match at least one of the criteria, in their order; all images when no criterion is given.

    Args:
        images: From a checkpoint.
        verdicts: Select images that count under one of these verdicts; see ``counted_verdict``.
        failed: Select images with a failure.
        is_stale: Select images for which it returns True; see ``stale_in``.
        skips_duplicates: Whether images with the content of an earlier one count under no verdict.
    """
    is_all = not (verdicts or failed or is_stale)
    for image in images:
        verdict = counted_verdict(image, skips_duplicates=skips_duplicates)
        wanted = (failed and image.failure is not None) or (verdict is not None and verdict.value in verdicts)
        if is_all or wanted or (is_stale is not None and is_stale(image)):
            yield image


def stale_in(job: Job) -> Callable[[StoredImage], bool]:
    """A function that returns True for images with a copy that the stored decision would not make."""
    outcomes = Outcomes(job)

    return lambda image: bool(image.effects) and bool(outcomes.as_stored(image).stale)
