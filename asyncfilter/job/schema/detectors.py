"""The detector: one section for each kind, told apart by ``kind``.

What only one kind asks of its keys is checked in its section. The kinds have the same keys, so that a key of another
kind is answered with what it is for, and not as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from asyncfilter.job import spec
from asyncfilter.job.address import nearest
from asyncfilter.job.model_arn import FORM, ModelArn
from asyncfilter.job.schema.types import SEEN, Percent, Region, Section
from asyncfilter.job.spec import DetectorKind, for_every_kind

_DETECTOR = spec.DetectorSpec()


def _arn(text: str) -> str:
    if ModelArn.match(text) is None:
        raise ValueError(f"expected the ARN of a model version ({FORM}), found {SEEN}")
    return text


def _no_model(value: object, info: ValidationInfo) -> object:
    """What is said of a model beside a kind that has none; nothing when the kind itself is wrong."""
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


class DetectorSection(Section):
    """What all kinds have."""

    kind: str
    model: str | None
    region: Region | None = Field(
        default=_DETECTOR.region,
        description="Default: the region of the source's bucket; for a folder `aws.region`, or that of the AWS "
        "settings. Another one than the bucket's needs `convert`, since images are then sent by their bytes.",
    )
    min_confidence: Percent = Field(
        default=_DETECTOR.min_confidence_pct,
        description="Percent. What is asked for and kept, not what a rule needs: rules can change later, labels that "
        "were not asked for cannot.",
    )
    max_labels: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=_DETECTOR.max_labels, description="Most labels an image may have; the surest are kept."
    )


class LabelsDetector(DetectorSection):
    """DetectLabels. A change here makes stored labels unusable, so it needs a new checkpoint."""

    kind: Literal["rekognition"] = Field(default="rekognition", description="Which service looks at the images.")
    model: Annotated[None, BeforeValidator(_no_model)] = Field(
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

    kind: Literal["rekognition-custom-labels"] = Field(description="Which service looks at the images.")
    model: Annotated[str, AfterValidator(_arn), Field(title="the ARN of a model version")] = Field(
        description="A Custom Labels project version."
    )
    features: Annotated[list[Literal["GENERAL_LABELS"]], BeforeValidator(_labels_alone), Field(min_length=1)] = Field(
        default=["GENERAL_LABELS"], description="There is no choice of features."
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
    """The tag of the section that was meant: where ``kind`` is none, of the kind whose name is nearest."""
    kind = value.get("kind", _DETECTOR.kind) if isinstance(value, dict) else _DETECTOR.kind
    return f"<{nearest(kind, [str(one) for one in SECTIONS]) if isinstance(kind, str) else _DETECTOR.kind}>"


DETECTOR_TAGS = frozenset(f"<{kind}>" for kind in SECTIONS)
"""The tags below."""

Detector = Annotated[
    Annotated[LabelsDetector, Tag("<rekognition>")]
    | Annotated[CustomLabelsDetector, Tag("<rekognition-custom-labels>")],
    Discriminator(detector_form),
]
