"""The detector: one section for each kind, selected by ``kind``.

The checks that only one kind needs are in its section. All kinds have the same keys, so that the message for a key of
another kind explains its use, and does not report it as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from asyncfilter.job import spec
from asyncfilter.job.addresses import nearest
from asyncfilter.job.durations import FORMS, duration_s
from asyncfilter.job.model_arn import FORM, ModelArn
from asyncfilter.job.schema.lanes import MAX_LANES, Lane
from asyncfilter.job.schema.types import SEEN, Percent, Region, Section
from asyncfilter.job.spec import DetectorKind, for_every_kind

_DETECTOR = spec.DetectorSpec()


def _arn(text: str) -> str:
    if ModelArn.match(text) is None:
        raise ValueError(f"expected the ARN of a model version ({FORM}), found {SEEN}")
    return text


def _duration(value: object) -> object:
    found = duration_s(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"expected a duration such as {FORMS}, found {SEEN}")
    return found


def _no_start(value: object, info: ValidationInfo) -> object:
    """As ``_no_model``: a model that is not there cannot be started."""
    if value is not None and "kind" in info.data:
        found = info.data["kind"]
        raise ValueError(f"expected kind: {DetectorKind.CUSTOM_LABELS} beside start, found kind: {found}")
    return None


def _no_model(value: object, info: ValidationInfo) -> object:
    """Reject a model for a kind that has none; accept it when the kind itself is wrong, which is reported alone."""
    if value is not None and "kind" in info.data:
        found = info.data["kind"]
        raise ValueError(f"expected kind: {DetectorKind.CUSTOM_LABELS} beside a model, found kind: {found}")
    return None


def _distinct(features: list[str]) -> list[str]:
    if "GENERAL_LABELS" not in features or len(set(features)) != len(features):
        raise ValueError(f"expected GENERAL_LABELS, which rules need, and each feature once, found {SEEN}")
    return features


def _labels_alone(features: object) -> object:
    if isinstance(features, list) and "IMAGE_PROPERTIES" in features:
        kind = DetectorKind.CUSTOM_LABELS
        raise ValueError(f"expected GENERAL_LABELS alone, as kind is {kind}, found IMAGE_PROPERTIES")
    return features


class ModelStart(Section):
    """The run starts the model under a lease that it owns, and stops it however it ends."""

    for_: Annotated[
        float,
        BeforeValidator(_duration, json_schema_input_type=Annotated[str, Field(title=f"a duration such as {FORMS}")]),
    ] = Field(alias="for", description="Longest time: the model is stopped then, whatever goes on.")
    units: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Inference units, each paid for by the hour from the start of the model to its stop."
    )
    max_units: Annotated[int | None, Field(ge=1, le=1000)] = Field(
        default=None, description="Units up to which the service may scale. Default: no scaling."
    )
    poll_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=10.0, description="Seconds between two looks at a model that starts or stops."
    )

    @field_validator("max_units")
    @classmethod
    def _at_least_units(cls, max_units: int | None, info: ValidationInfo) -> int | None:
        units = info.data.get("units")
        if max_units is not None and units is not None and max_units < units:
            raise ValueError(f"expected at least units ({units}), found {max_units}")
        return max_units


class DetectorSection(Section):
    """The keys of all kinds."""

    kind: str
    model: str | None
    start: ModelStart | None
    region: Region | None = Field(
        default=_DETECTOR.region,
        description="Default: the region of the source's bucket; for a folder `aws.region`, or that of the AWS "
        "settings. A region other than the bucket's needs `convert`, since images are then sent by their bytes.",
    )
    min_confidence: Percent = Field(
        default=_DETECTOR.min_confidence_pct,
        description="Percent. The least confidence of labels that are requested and kept, not that of rules: rules can "
        "change later, but labels that were not requested cannot be added.",
    )
    max_labels: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=_DETECTOR.max_labels, description="Most labels of an image; those with the highest confidence are kept."
    )
    lanes: Annotated[list[Lane], Field(min_length=1, max_length=MAX_LANES)] | None = Field(
        default=None,
        description="Only `rekognition`. The regions and accounts among which calls are divided, each with a quota and "
        "prices of its own (scale.md). `region`, `limits.tps` and `pricing.tiers` belong to each lane then.",
    )
    lanes_must_agree: bool = Field(
        default=_DETECTOR.lanes_must_agree,
        description="With `lanes`: end the run at the first answer whose model version differs from that of other "
        "answers. `false`: only say so.",
    )

    @field_validator("lanes", "lanes_must_agree", mode="before")
    @classmethod
    def _only_labels(cls, value: object, info: ValidationInfo) -> object:
        kind = info.data.get("kind", DetectorKind.REKOGNITION)
        if kind != DetectorKind.REKOGNITION and value is not None and value is not False:
            raise ValueError(f"expected kind: {DetectorKind.REKOGNITION} beside {info.field_name}, found kind: {kind}")
        return value


class LabelsDetector(DetectorSection):
    """DetectLabels. A change here makes stored labels unusable, so it needs a new checkpoint."""

    kind: Literal["rekognition"] = Field(default="rekognition", description="The service that examines the images.")
    model: Annotated[None, BeforeValidator(_no_model)] = Field(
        default=None, description="Only `rekognition-custom-labels` has one."
    )
    start: Annotated[None, BeforeValidator(_no_start)] = Field(
        default=None, description="Only `rekognition-custom-labels` has one."
    )
    features: Annotated[
        list[Literal["GENERAL_LABELS", "IMAGE_PROPERTIES"]],
        AfterValidator(_distinct),
        Field(min_length=1, max_length=2),
    ] = Field(
        default=["GENERAL_LABELS"],
        description="What DetectLabels returns; each is billed. Rules need `GENERAL_LABELS`.",
    )


class CustomLabelsDetector(DetectorSection):
    """DetectCustomLabels with a model. A change here makes stored labels unusable, so it needs a new checkpoint."""

    kind: Literal["rekognition-custom-labels"] = Field(description="The service that examines the images.")
    model: Annotated[str, AfterValidator(_arn), Field(title="the ARN of a model version")] = Field(
        description="A Custom Labels project version."
    )
    start: ModelStart | None = Field(
        default=None,
        description="The run starts the model under a lease, and stops it when it ends: finished, stopped, interrupted "
        "or killed. Without it the model must run, and is left running.",
    )
    features: Annotated[list[Literal["GENERAL_LABELS"]], BeforeValidator(_labels_alone), Field(min_length=1)] = Field(
        default=["GENERAL_LABELS"], description="This kind has no other feature."
    )

    @field_validator("region")
    @classmethod
    def _region_of_model(cls, region: str | None, info: ValidationInfo) -> str | None:
        model = ModelArn.match(info.data.get("model", ""))
        if region is not None and model is not None and model.region != region:
            raise ValueError(f"expected the model's region {model.region}, found {region}")
        return region


SECTIONS: Mapping[DetectorKind, type[DetectorSection]] = for_every_kind(
    "job.schema.detectors.SECTIONS",
    {DetectorKind.REKOGNITION: LabelsDetector, DetectorKind.CUSTOM_LABELS: CustomLabelsDetector},
)
"""The section of each kind."""


def detector_form(value: object) -> str:
    """The tag of the section for ``kind``; for an unknown ``kind``, of the kind with the nearest name."""
    kind = value.get("kind", _DETECTOR.kind) if isinstance(value, dict) else _DETECTOR.kind
    return f"<{nearest(kind, [str(one) for one in SECTIONS]) if isinstance(kind, str) else _DETECTOR.kind}>"


DETECTOR_TAGS = frozenset(f"<{kind}>" for kind in SECTIONS)
"""The tags below."""

Detector = Annotated[
    Annotated[LabelsDetector, Tag("<rekognition>")]
    | Annotated[CustomLabelsDetector, Tag("<rekognition-custom-labels>")],
    Discriminator(detector_form),
]
