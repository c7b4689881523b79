"""The identity of a job: the settings that a checkpoint is bound to, and those that only its decisions depend on.

``identity`` covers the request to the service and the selection of objects: stored labels are not valid for another
identity. ``decided_by`` covers the settings that can change at any time at no cost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from asyncfilter.job.spec import DetectorSpec, Job
from asyncfilter.model import uri_of

NOT_COMPARED_WITH_LANES = "detector.region"
"""The key that the identity of a job with lanes lacks: where it is missing on one side, it is not compared."""


def identity(job: Job) -> dict[str, str]:
    """Source and detector settings by their key in the job file; a change of any of them needs a new checkpoint.

    Lanes are no part of it: they may come, change and go between the runs of one checkpoint.
    """
    source, detector = job.source, job.detector
    found = {
        "source.uri": source.spelled or uri_of(source.bucket, source.prefix),
        "source.include": ", ".join(source.include),
        "source.exclude": ", ".join(source.exclude),
        "source.order": source.order.value,
        "source.seed": str(source.seed),
        "source.duplicates": source.duplicates,
        "detector.kind": detector.kind.value,
        "detector.region": detector.region or "",
        "detector.model": detector.model or "",
        "detector.min_confidence": f"{detector.min_confidence_pct:g}",
        "detector.max_labels": str(detector.max_labels),
        "detector.features": ", ".join(sorted(detector.features)),
        **_of_own_model(detector),
    }
    if detector.lanes:
        del found[NOT_COMPARED_WITH_LANES]
    return found


def changed_settings(stored: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """The keys by which one identity differs from another, sorted."""
    return [
        key
        for key in sorted({*stored, *wanted})
        if stored.get(key) != wanted.get(key)
        and not (key == NOT_COMPARED_WITH_LANES and (key not in stored or key not in wanted))
    ]


def _of_own_model(detector: DetectorSpec) -> dict[str, str]:
    """What a model of one's own was found to be; of one that was not read, where it is."""
    own = detector.own
    if own is None:
        return {}
    return {"detector.output": own.output or "", "detector.scores": own.scores, **(own.identity or {})}


def decided_by(job: Job) -> str:
    """Fingerprint of everything that turns labels into outcomes: rules, actions, stop rules and the cap on images."""
    settings = (job.name, job.rules, job.otherwise, dict(job.actions), job.duplicate, job.stop, job.limits.max_images)
    return hashlib.sha256(msgspec.json.encode(settings, order="deterministic")).hexdigest()
