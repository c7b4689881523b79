"""Rules: verdicts and the conditions that lead to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from asyncfilter.job import spec
from asyncfilter.job.schema.types import (
    Fraction,
    Name,
    Names,
    Percent,
    References,
    Section,
    WholeNumber,
    absent,
    as_list,
)

ASSUMED: Literal["assumed"] = "assumed"
"""The confidence that stands for the thresholds of a model."""


class Count(Section):
    """How many instances of a label an image shows."""

    label: Name = Field(description="The label whose instances are counted.")
    min: WholeNumber | None = Field(default=None, description="At least this many.")
    max: WholeNumber | None = Field(default=None, description="At most this many.")


class Area(Section):
    """How much of the image a label's largest box covers; 0 when it has none."""

    label: Name = Field(description="The label whose boxes are measured.")
    min: Fraction | None = Field(default=None, description="At least this fraction of the image.")
    max: Fraction | None = Field(default=None, description="At most this fraction of the image.")


class Condition(Section):
    """One condition; all parts that are given must hold. Names match a label's name or alias, in any case."""

    any: Names = Field(default_factory=list, description="At least one of these labels is present.")
    all: Names = Field(default_factory=list, description="All of these labels are present.")
    none: Names = Field(default_factory=list, description="None of these labels is present.")
    confidence: Percent | Literal["assumed"] = Field(
        default=spec.DEFAULT_CONFIDENCE_PCT,
        description="Percent. Least confidence of a label, or of an instance in `count` and `area`. Not inherited "
        "by `not`. `assumed`, only with a Custom Labels model: for each label the threshold of the model's evaluation, "
        "as a percentage.",
    )
    category: Names = Field(
        default_factory=list,
        description="A label of this category, or of one of these, is present. Example: `Animals and Pets`.",
    )
    count: Count = Field(default_factory=absent, description="How many instances of a label the image shows.")
    area: Area = Field(default_factory=absent, description="How much of the image a label's largest box covers.")
    like: References = Field(
        default_factory=list,
        description="Reference images: a label is present that they show at `confidence` and that is specific enough "
        "for a rule. They are examined when a run starts; see `docs/planning.md`.",
    )
    ignore: Names = Field(default_factory=list, description="Labels that `like` must not use.")
    not_: Conditions = Field(
        default_factory=list, alias="not", description="A condition that must not hold; of a list, not all may hold."
    )


_ConditionList = Annotated[list[Condition], Field(min_length=1)]
Conditions = Annotated[_ConditionList, BeforeValidator(as_list, json_schema_input_type=Condition | _ConditionList)]


class Rule(Section):
    """One verdict with its condition, or with a list of conditions that must all hold."""

    keep: Conditions = Field(default_factory=list, description="What makes an image a match.")
    review: Conditions = Field(default_factory=list, description="What makes an image one that a person should review.")
    reject: Conditions = Field(default_factory=list, description="What makes an image a miss.")


Condition.model_rebuild()
