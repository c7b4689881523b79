"""What is known about the Custom Labels model of a job: labels and thresholds from the evaluation of its version.

They are read before a model is started and before anything else is paid for, and are kept in the checkpoint, so that
``refilter``, ``apply`` and ``status`` need no service.
"""

from __future__ import annotations

import io

import anyio
import msgspec

from asyncfilter.custom_labels.evaluation.summary import read_summary
from asyncfilter.errors import AccessError, AsyncFilterError, PermissionDeniedError, RefusedError, UsageError
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.model_names import ProjectName, VersionName
from asyncfilter.job.spec import Aws, Job
from asyncfilter.policy.assumed import uses_assumed
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.ports.checkpoint import LabelStore
from asyncfilter.records.known_model import KnownModel
from asyncfilter.records.progress import Batch
from asyncfilter.wiring.evaluations import fetch_summary

_PATIENCE_S = 5.0
"""Longest wait for an evaluation that only makes cautions better."""

_WITHOUT = "Or write numbers in place of confidence: assumed."


async def known_model(job: Job, stored: KnownModel, *, is_own: bool) -> KnownModel:
    """What is known about the model of a job, with its evaluation where a rule needs it or none was read before.

    Args:
        job: The job.
        stored: What the checkpoint has; its thresholds are used when the evaluation can no longer be read.
        is_own: True for a detector of the caller's own, which may have nothing to do with the service.

    Raises:
        UsageError: The labels of a model of one's own cannot be read.
        RefusedError: A rule needs thresholds, and the version has no evaluation.
        AccessError: A rule needs thresholds, and they cannot be read.
    """
    if job.detector.own is not None and not is_own:
        from asyncfilter.wiring.own_models import with_label_names  # noqa: PLC0415  not needed by most jobs

        return with_label_names(job, stored)
    if not PROFILES[job.detector.kind].needs_model:
        return stored
    try:
        if uses_assumed(job):
            return await _read(job, stored)
        if stored.labels or is_own or job.pricing.inference_units is not None:  # which says: do not look
            return stored
        with anyio.move_on_after(_PATIENCE_S):
            return await _read(job, stored)
    except AsyncFilterError as error:
        if uses_assumed(job) and not stored.labels:
            raise _explained(error) from error
    return stored


async def keep(store: LabelStore, found: KnownModel, stored: KnownModel) -> None:
    """Make what was found out durable, if it is new."""
    if found != stored:
        await store.commit(Batch(model=found))


async def _read(job: Job, stored: KnownModel) -> KnownModel:
    model = ModelArn.parse(job.detector.model or "")
    content = io.BytesIO()
    address = await fetch_summary(
        ProjectName(model.project, model.region),
        VersionName(model.version, job.detector.model),
        content,
        aws=Aws(profile=job.aws.profile, region=model.region, client=job.aws.client),
    )
    summary = read_summary(content.getvalue(), file=address)
    return msgspec.structs.replace(
        stored,
        labels={one.label: one.threshold for one in summary.labels},
        finds_objects=summary.finds_objects,
    )


def _explained(error: AsyncFilterError) -> AsyncFilterError:
    """The error with the key that needs the evaluation, and with the other remedy."""
    message, hint = f"confidence: assumed: {error.message}", " ".join(filter(None, (error.hint, _WITHOUT)))
    match error:
        case RefusedError():
            return type(error)(message, code=error.code, hint=hint)
        case PermissionDeniedError():
            return PermissionDeniedError(message, hint=hint)
        case UsageError():
            return UsageError(message, hint=hint)
    return AccessError(message, hint=hint)
