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
from asyncfilter.job.model_arn import FORM, ModelArn
from asyncfilter.job.schema.types import SEEN, Percent, Region, Section
from asyncfilter.job.spec import DetectorKind, for_every_kind

_DETECTOR = spec.DetectorSpec()


def _arn(text: str) -> str:
    if ModelArn.match(text) is None:
        raise ValueError(f"expected the ARN of a model version ({FORM}), found {SEEN}")
    return text


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


class DetectorSection(Section):
    """The keys of all kinds."""

    kind: str
    model: str | None
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


class LabelsDetector(DetectorSection):
    """DetectLabels. A change here makes stored labels unusable, so it needs a new checkpoint."""

    kind: Literal["rekognition"] = Field(default="rekognition", description="The service that examines the images.")
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

    kind: Literal["rekognition-custom-labels"] = Field(description="The service that examines the images.")
    model: Annotated[str, AfterValidator(_arn), Field(title="the ARN of a model version")] = Field(
        description="A Custom Labels project version."
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
