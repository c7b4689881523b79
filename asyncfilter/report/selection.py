"""Which stored images a user asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from asyncfilter.engine.plan import Plan
from asyncfilter.errors import ImageError
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, ObjectRef
from asyncfilter.ports import StoredImage


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
    plan = Plan(job)

    def is_stale(image: StoredImage) -> bool:
        copies = {effect.target for effect in image.effects if effect.kind is ActionKind.COPY}
        return bool(copies - {_target(plan, job, image)})

    return is_stale


def _target(plan: Plan, job: Job, image: StoredImage) -> str | None:
    if image.decision is None or image.seq is None:
        return None
    wanted = ObjectRef(
        bucket=job.source.bucket, key=image.key, size_bytes=image.size_bytes, etag=image.etag, seq=image.seq
    )
    try:
        effect = plan.effect(image.decision, wanted, is_duplicate=image.same_as is not None)
    except ImageError:
        return None
    return effect.target.uri if effect is not None and effect.target is not None else None
