"""What a checkpoint knows about its model: of Custom Labels, or one's own."""

from __future__ import annotations

import msgspec


class KnownModel(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about a model version, which never changes once it is trained.

    Attributes:
        labels: The labels of its evaluation, with their assumed thresholds from 0 to 1; a label without one has None,
            and so have those of a model of one's own. Empty until they are read.
        finds_objects: Whether it finds boxes; None where that is not known.
        unit_tps: Detections a second that one inference unit took, as ``bench`` measured it; None before.
        scores: What the scores of a model of one's own are, as its first image showed; empty before.
    """

    labels: dict[str, float | None] = {}
    finds_objects: bool | None = None
    unit_tps: float | None = None
    scores: str = ""


NOTHING_KNOWN = KnownModel()
"""Of a model that was never looked at, and of detectors without one."""
