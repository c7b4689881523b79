"""Messages for people by their names in the program: one table each for stop reasons, failures and skipped objects."""

from __future__ import annotations

from typing import NamedTuple

from asyncfilter.model import Skip, StopReason

STOP_REASONS = {
    StopReason.COMPLETED: "finished: the listing was examined to its end",
    StopReason.MATCHES: "stopped: enough matches were found",
    StopReason.MISSES_IN_A_ROW: "stopped: too many images in a row were rejected",
    StopReason.HIT_RATE: "stopped: too few images match",
    StopReason.ERRORS: "stopped: too many errors",
    StopReason.MAX_IMAGES: "stopped: the cap on images is reached",
    StopReason.BUDGET: "stopped: the budget is spent",
    StopReason.NOTHING_TO_EXAMINE: "nothing to examine",
    StopReason.INTERRUPTED: "interrupted: all paid labels are kept",
    StopReason.FAILED: "failed: all paid labels are kept",
}

ENDINGS = {
    StopReason.COMPLETED: "the listing is at its end",
    StopReason.MATCHES: "enough matches",
    StopReason.MISSES_IN_A_ROW: "too many misses in a row",
    StopReason.HIT_RATE: "too few matches",
    StopReason.ERRORS: "too many errors",
    StopReason.MAX_IMAGES: "the cap on images is reached",
    StopReason.BUDGET: "the budget is spent",
    StopReason.NOTHING_TO_EXAMINE: "there is nothing to examine",
    StopReason.INTERRUPTED: "interrupted",
    StopReason.FAILED: "an error",
}
"""Why a run drains, in a few words for the live display."""

LIMITS = {
    StopReason.MATCHES: "stop.matches",
    StopReason.MISSES_IN_A_ROW: "stop.misses_in_a_row",
    StopReason.HIT_RATE: "stop.hit_rate",
    StopReason.MAX_IMAGES: "limits.max_images",
    StopReason.BUDGET: "limits.budget_usd",
}
"""The key of the job file whose limit stopped the run."""

SKIPS = {
    Skip.NOT_INCLUDED: "not in source.include",
    Skip.EXCLUDED: "in source.exclude",
    Skip.EMPTY: "empty",
    Skip.FOLDER: "folder marks",
    Skip.TOO_LARGE: "too large",
    Skip.ARCHIVED: "archived",
    Skip.DUPLICATE: "duplicates",
    Skip.OUTSIDE: "in the list, not below source.uri",
    Skip.MISSING: "in the list, no longer in the store",
}


class FailureMessage(NamedTuple):
    """What a failure means, and what to do about it."""

    meaning: str
    remedy: str


FAILURES = {
    "access_denied": FailureMessage(
        "may not be read or written", "Allow s3:GetObject on the source and s3:PutObject on the targets."
    ),
    "archived": FailureMessage("archived in S3", "Restore the objects, or exclude them."),
    "abandoned": FailureMessage("begun and not finished", "Nothing to do: it is still in the source."),
    "content_differs": FailureMessage(
        "another picture with the ETag of the one it seems to duplicate, or in quarantine in its place",
        "Nothing was removed. Set source.duplicates: examine, with another checkpoint, to examine each by itself.",
    ),
    "content_unknown": FailureMessage(
        "the store does not show whether it is a duplicate", "Nothing was removed; compare and remove it yourself."
    ),
    "changed": FailureMessage("replaced since it was examined", "Run again: the new version is examined then."),
    "decoder_died": FailureMessage("its decoding process died", "Leave the images out, or repair them."),
    "decoding_timeout": FailureMessage("takes too long to decode", "Leave the images out, or repair them."),
    "decompression_bomb": FailureMessage(
        "takes too much memory to decode", "Raise limits.decoding_mb, or scale the images down."
    ),
    "in_source": FailureMessage("an image of the source, recorded as a copy", "It was left: the checkpoint is wrong."),
    "invalid_link": FailureMessage("a symbolic link that leads to itself", "Remove the link."),
    "invalid_name": FailureMessage("a name that is not text in UTF-8", "Rename the files, for instance with convmv."),
    "outside_source": FailureMessage(
        "a symbolic link that leads out of the source", "Replace it by a hard link or by the file."
    ),
    "target_blocked": FailureMessage("its target exists and is not a file", "Choose an empty target."),
    "target_unsafe": FailureMessage("its target is outside of its folder, or inside the source", "Change the target."),
    "image_rejected": FailureMessage("rejected by Rekognition", "Most are under 80 px on one side; nothing to do."),
    "image_too_large": FailureMessage("over 15 MB or 10,000 px", "Scale the images down, or set convert: true."),
    "invalid_image_format": FailureMessage(
        "not a readable image", "Leave the images out, or set convert: true if only their format is not read."
    ),
    "invalid_request": FailureMessage("rejected by S3", "See the messages: asyncfilter export --failed."),
    "invalid_s3_object": FailureMessage(
        "not readable by Rekognition", "Check bucket policy, Requester Pays and kms:Decrypt."
    ),
    "kms_denied": FailureMessage("its KMS key may not be used", "Allow kms:Decrypt, and kms:GenerateDataKey."),
    "model_failed": FailureMessage(
        "the model gives no scores", "See the messages: asyncfilter export --failed; look at the images."
    ),
    "no_etag": FailureMessage("the store gives no ETag", "Use a store that gives objects an ETag."),
    "not_restorable": FailureMessage(
        "its version is no longer behind the delete marker of apply", "Check its versions in S3."
    ),
    "not_verified": FailureMessage("its copy differs from the image", "Check the copy in S3, then try again."),
    "original_gone": FailureMessage(
        "the image with the same content is missing", "Check for that image; this may be the only one left."
    ),
    "source_exists": FailureMessage("another object has its key now", "Move that object, then undo again."),
    "target_collision": FailureMessage("another object has the same target", "Use {key} or {relative} in the target."),
    "target_empty": FailureMessage("its target has no name", "Use {key} in the target."),
    "target_exists": FailureMessage("another object is at its target", "Set if_exists: overwrite, or another target."),
    "target_too_long": FailureMessage("its target is over 1,024 bytes", "Shorten the target."),
    "too_large_to_copy": FailureMessage("over 5 GB, too large to copy", "Copy it with another tool."),
    "too_many_tags": FailureMessage("it would have over 10 tags", "Remove tags from the objects, or from the job."),
    "unavailable": FailureMessage("every attempt failed with a transient error", "Try again later."),
    "vanished": FailureMessage("deleted since it was listed", "Nothing to do."),
    "worker_lost": FailureMessage(
        "Every worker that examined it was lost, at last alone", "Look at the image; --retry-failed tries it again."
    ),
}
"""Messages by the name under ``failed`` in the summary."""

_UNCONVERTED = {
    "image_too_large": "Scale the images down.",
    "invalid_image_format": "Leave the images out, or repair them.",
}
"""The remedies where a conversion was tried already, or there is none."""

HOPELESS = frozenset(
    {"decompression_bomb", "image_rejected", "image_too_large", "invalid_image_format", "too_large_to_copy", "vanished"}
)
"""Permanent failures of the object itself: another attempt cannot succeed while the object is the same."""


def failure(code: str, *, may_convert: bool = True) -> FailureMessage:
    """The message for any failure, also for an unknown code.

    Args:
        code: The name under ``failed`` in the summary.
        may_convert: Whether ``convert: true`` would change anything for the job.
    """
    unknown = FailureMessage(code.replace("_", " "), "See the messages: asyncfilter export --failed.")
    message = FAILURES.get(code, unknown)
    return message if may_convert else message._replace(remedy=_UNCONVERTED.get(code, message.remedy))


def skip(reason: str) -> str:
    """The message for any reason to skip an object."""
    return SKIPS[Skip(reason)] if reason in set(Skip) else reason.replace("_", " ")
