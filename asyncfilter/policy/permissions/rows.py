"""One permission as a row, and the commands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Command(StrEnum):
    """A command that uses an account, as it is typed."""

    INIT = "init"
    INIT_EXAMINE = "init --examine"
    LABELS = "labels"
    PLAN = "plan"
    SAMPLE = "plan --sample"
    BENCH = "bench"
    RUN = "run"
    WORKERS = "workers"
    """No command: the workers of a fleet, which examine for a `run` and call with a role of their own."""
    REFILTER = "refilter"
    APPLY = "apply"
    STALE = "apply --stale"
    UNDO = "undo"
    QUOTA = "quota"
    STATUS = "status"
    EXPORT = "export"
    PICTURES = "export --format webdataset"
    """And ``imagefolder``."""
    REVIEW = "review"
    """Pictures alone; what its page applies is `refilter`."""
    ANSWERS_SET = "answers set"
    ANSWERS_LIST = "answers list"
    ANSWERS_MERGE = "answers merge"
    ANSWERS_IMPORT = "answers import"
    ANSWERS_EXPORT = "answers export"
    ANSWERS_MANIFEST = "answers export --format ground-truth"
    """With boxes, which need the sizes of images."""
    AUDIT = "audit"
    CALIBRATE = "calibrate"
    FROM_RUN = "manifest from-run"
    FROM_FOLDERS = "manifest from-folders"
    CHECK_IMAGES = "manifest validate --check-images"
    SPLIT = "manifest split --images"
    DATASET_IMAGES = "dataset check --images"
    STATE_SHOW = "state show"
    STATE_PULL = "state pull"
    STATE_PUSH = "state push"
    STATE_PRUNE = "state prune"
    MODEL_CREATE = "model create"
    MODEL_IMPORT = "model import"
    MODEL_TRAIN = "model train"
    MODEL_STATUS = "model status"
    MODEL_LIST = "model list"
    MODEL_EVALUATE = "model evaluate"
    MODEL_START = "model start"
    MODEL_STOP = "model stop"
    MODEL_IMPROVE = "model improve"
    MODEL_REVIEWED = "model improve --reviewed"
    """With boxes, likewise."""
    MODEL_DELETE = "model delete"
    CHECK = "policy --check"
    DOCTOR = "doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One permission.

    Attributes:
        action: The IAM action, such as ``s3:GetObject``.
        resource: Pattern of the ARNs it is needed for.
        statement: Name of the statement that grants it.
        why: What it is needed for.
        without: What happens without it; None when the command cannot do its work then.
        prefix: Pattern of the key prefix that requests ask for (``s3:prefix``); None for any request.
        keeps_versions: True when only buckets with versions need it, False when only others do; None for all.
    """

    action: str
    resource: str
    statement: str
    why: str
    without: str | None = None
    prefix: str | None = None
    keeps_versions: bool | None = None
