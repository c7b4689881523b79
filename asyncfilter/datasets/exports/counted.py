"""The verdict under which an image is counted."""

from __future__ import annotations

from asyncfilter.model import Verdict
from asyncfilter.records.images import StoredImage


def counted_verdict(image: StoredImage, *, skips_duplicates: bool) -> Verdict | None:
    """The verdict under which ``status`` and the summary count an image.

    Args:
        image: From a checkpoint.
        skips_duplicates: Whether the job counts images with the content of an earlier one as skipped.

    Returns:
        None for an image that failed, is a skipped duplicate, or has no position in the order of examination.
    """
    if image.seq is None or image.decision is None or (skips_duplicates and image.same_as is not None):
        return None
    if image.failure is not None and image.removal is None:
        return None
    return image.decision.verdict
