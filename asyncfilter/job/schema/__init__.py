"""The job file's shape: one pydantic model per mapping, and the only place where a key is described.

Types, bounds and defaults of single keys stand here, and what only one kind of detector asks of its keys
(``detectors``); what else concerns several keys at once stands in ``job.checks``. A field's ``description`` says what
the key does and its ``title`` what may be written there: both go into the JSON Schema, into ``docs/job-file.md`` and,
the title, into error messages. Defaults are those of ``spec``.

A ``ValueError`` raised here is a whole message for people.
"""

from asyncfilter.job.schema.actions import ACTION_TAGS, Action, Actions, CopyAction, LinkAction, MoveAction, TagAction
from asyncfilter.job.schema.detectors import DETECTOR_TAGS, SECTIONS, Detector
from asyncfilter.job.schema.job_file import JobFile, Source, json_schema, wrap_uri
from asyncfilter.job.schema.limits import Limits, Pricing, Stop
from asyncfilter.job.schema.rules import Condition, Rule
from asyncfilter.job.schema.types import SEEN, as_list

TAGS = ACTION_TAGS | DETECTOR_TAGS
"""How pydantic names the forms of a mapping in the path of an error; none can be mistaken for a key."""

__all__ = [
    "DETECTOR_TAGS",
    "SECTIONS",
    "SEEN",
    "TAGS",
    "Action",
    "Actions",
    "Condition",
    "CopyAction",
    "Detector",
    "JobFile",
    "Limits",
    "LinkAction",
    "MoveAction",
    "Pricing",
    "Rule",
    "Source",
    "Stop",
    "TagAction",
    "as_list",
    "json_schema",
    "wrap_uri",
]
