"""The structure of the job file: one pydantic model per mapping, and the only description of each key.

This package has the types, bounds and defaults of single keys, and the checks that only one kind of detector needs
(``detectors``). All other checks of several keys at once are in ``job.checks``. A field's ``description`` explains the
key, and its ``title`` gives the allowed values. Both go into the JSON Schema and into ``docs/job-file.md``, the title
also into error messages. Defaults are those of ``spec``.

The text of a ``ValueError`` raised here is the complete message for the user.
"""

from asyncfilter.job.schema.actions import ACTION_TAGS, Action, Actions, CopyAction, LinkAction, MoveAction, TagAction
from asyncfilter.job.schema.cluster import Cluster
from asyncfilter.job.schema.detectors import (
    DETECTOR_TAGS,
    PREPROCESS_TAGS,
    SECTIONS,
    Detector,
    ModelStart,
    OwnModelDetector,
    Preprocess,
)
from asyncfilter.job.schema.job_file import AUTO_RANGES, SOURCE_KEYS, JobFile, Source, json_schema, wrap_uri
from asyncfilter.job.schema.lanes import Lane
from asyncfilter.job.schema.limits import ByHand, Limits, Pricing, Stop, Tier
from asyncfilter.job.schema.rules import ASSUMED, Condition, Rule
from asyncfilter.job.schema.types import SEEN, as_list

TAGS = ACTION_TAGS | DETECTOR_TAGS | PREPROCESS_TAGS
"""Pydantic's names of the forms of a mapping in the path of an error; none can be a key."""

__all__ = [
    "ASSUMED",
    "AUTO_RANGES",
    "DETECTOR_TAGS",
    "SECTIONS",
    "SEEN",
    "SOURCE_KEYS",
    "TAGS",
    "Action",
    "Actions",
    "ByHand",
    "Cluster",
    "Condition",
    "CopyAction",
    "Detector",
    "JobFile",
    "Lane",
    "Limits",
    "LinkAction",
    "ModelStart",
    "MoveAction",
    "OwnModelDetector",
    "Preprocess",
    "Pricing",
    "Rule",
    "Source",
    "Stop",
    "TagAction",
    "Tier",
    "as_list",
    "json_schema",
    "wrap_uri",
]
