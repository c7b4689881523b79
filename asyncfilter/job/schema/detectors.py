"""The detector: one section for each kind, selected by ``kind``.

The checks that only one kind needs are in its section. All kinds have the same keys, so that the message for a key of
another kind explains its use, and does not report it as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from asyncfilter.job import spec
from asyncfilter.job.addresses import nearest
from asyncfilter.job.durations import FORMS, duration_s
from asyncfilter.job.model_arn import FORM, ModelArn
from asyncfilter.job.schema.lanes import MAX_LANES, Lane
from asyncfilter.job.schema.types import SEEN, ListAddress, Name, OwnFile, Percent, Region, Section
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
        kinds = f"{DetectorKind.CUSTOM_LABELS} or {DetectorKind.ONNX}"
        raise ValueError(f"expected kind: {kinds} beside a model, found kind: {found}")
    return None


def _distinct(features: list[str]) -> list[str]:
    if "GENERAL_LABELS" not in features or len(set(features)) != len(features):
        raise ValueError(f"expected GENERAL_LABELS, which rules need, and each feature once, found {SEEN}")
    return features


def _labels_alone(features: object, info: ValidationInfo) -> object:
    if isinstance(features, list) and "IMAGE_PROPERTIES" in features:
        kind = info.data.get("kind", DetectorKind.CUSTOM_LABELS)
        raise ValueError(f"expected GENERAL_LABELS alone, as kind is {kind}, found IMAGE_PROPERTIES")
    return features


def _no_region(value: object) -> object:
    if value is not None:
        raise ValueError(f"expected no region beside kind: {DetectorKind.ONNX}, which calls no service, found {SEEN}")
    return None


def _setting(value: object, info: ValidationInfo) -> object:
    """Check a value of ``preprocess`` as its reader does; also its type, so that the message is the same."""
    from asyncfilter.onnx.preprocessing import check_value  # noqa: PLC0415  not needed by most jobs

    if value is not None:
        check_value(info.field_name or "", value)
    return value


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


_SIDES = "a mapping with height and width"
_Flag = Annotated[Any, BeforeValidator(_setting, json_schema_input_type=Annotated[bool, Field(title="true or false")])]
_Size = Annotated[
    Any,
    BeforeValidator(
        _setting,
        json_schema_input_type=int | Annotated[dict[str, int], Field(title=f"{_SIDES}, or one with shortest_edge")],
    ),
]
_CropSize = Annotated[
    Any,
    BeforeValidator(_setting, json_schema_input_type=int | Annotated[dict[str, int], Field(title=_SIDES)]),
]
_Filter = Annotated[
    Any, BeforeValidator(_setting, json_schema_input_type=Annotated[int, Field(title="a whole number from 0 to 5")])
]
_Factor = Annotated[
    Any, BeforeValidator(_setting, json_schema_input_type=Annotated[float, Field(title="a number above 0")])
]
_ByChannel = Annotated[
    Any,
    BeforeValidator(
        _setting,
        json_schema_input_type=Annotated[float | list[float], Field(title="3 numbers, or one for all channels")],
    ),
]
_Color = Annotated[Any, BeforeValidator(_setting, json_schema_input_type=Literal["RGB", "BGR"])]


class Preprocess(Section):
    """How images become the input of a model, with the keys of `preprocessor_config.json` of Hugging Face.

    In the order resize, crop, rescale, normalise.
    """

    do_resize: _Flag = Field(default=None, description="Default: yes, unless there is a crop and no `size`.")
    size: _Size = Field(
        default=None,
        description="A number is both sides; with `shortest_edge` the image keeps its shape. Default: what the model "
        "takes.",
    )
    resample: _Filter = Field(
        default=2,
        description="Pillow's number of the filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.",
    )
    do_center_crop: _Flag = Field(default=None, description="Default: yes, where there is a `crop_size`.")
    crop_size: _CropSize = Field(
        default=None, description="What is cut out of the middle; what the image lacks there is black."
    )
    do_rescale: _Flag = Field(default=None, description="Default: yes, for a model that takes numbers and not pixels.")
    rescale_factor: _Factor = Field(
        default=None, description="What each value from 0 to 255 is multiplied with. Default: 1/255."
    )
    do_normalize: _Flag = Field(default=None, description="Default: yes, where there is `image_mean` or `image_std`.")
    image_mean: _ByChannel = Field(
        default=None, description="What is subtracted then, by channel in the order of `color`."
    )
    image_std: _ByChannel = Field(default=None, description="What the rest is divided by, likewise.")
    color: _Color = Field(default="RGB", description="The order of the channels.")


def preprocess_form(value: object) -> str:
    """The tag of the form that a value of ``preprocess`` has."""
    return "<nothing>" if value is None else "<settings>" if isinstance(value, dict) else "<file>"


PREPROCESS_TAGS = frozenset({"<file>", "<settings>", "<nothing>"})
"""The tags above."""

PreprocessForm = Annotated[
    Annotated[OwnFile, Tag("<file>")] | Annotated[Preprocess, Tag("<settings>")] | Annotated[None, Tag("<nothing>")],
    Discriminator(preprocess_form),
]


class OwnModelDetector(DetectorSection):
    """A model of your own, in ONNX format, on this machine (extra `onnx`); [own-models.md](own-models.md).

    Nothing is paid. A change of the model, or of a key but `batch`, `threads` and `device`, needs a new checkpoint.
    """

    kind: Literal["onnx"] = Field(description="What examines the images.")
    model: ListAddress = Field(
        description="A classifier with one input of images, [N, H, W, 3] or [N, 3, H, W], uint8 or float. Its files of "
        "weights are beside it."
    )
    start: Annotated[None, BeforeValidator(_no_start)] = Field(
        default=None, description="Only `rekognition-custom-labels` has one."
    )
    region: Annotated[None, BeforeValidator(_no_region)] = Field(
        default=None, description="Of services alone: the model is on this machine."
    )
    labels: OwnFile = Field(
        description="Text in UTF-8 with one line a score, or a `config.json` of Hugging Face with `id2label`."
    )
    preprocess: PreprocessForm = Field(
        default=None,
        description="Needed for a model that takes numbers and not pixels. Default for one that takes pixels: images "
        "are stretched to its size.",
    )
    output: Name | None = Field(default=None, description="The output with the scores. Default: the only one.")
    scores: Literal["auto", "softmax", "sigmoid", "none"] = Field(
        default="auto",
        description="What the scores are; `none`: shares from 0 to 1. `auto` decides by the first image, once: `none` "
        "if they are at least 0 and add up to 1 +- 0.1, else `softmax`.",
    )
    batch: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=32, description="Most images that are classified together."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="Threads for one batch. As many batches run at the same time as there are cores for."
    )
    device: Literal["cpu", "cuda", "auto"] = Field(
        default="cpu", description="Where the model runs; `auto`: `cuda` if it is there."
    )
    min_confidence: Percent = Field(default=0.5, description="Percent. The least confidence of labels that are kept.")
    max_labels: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="Most labels of an image; those with the highest confidence are kept."
    )
    features: Annotated[list[Literal["GENERAL_LABELS"]], BeforeValidator(_labels_alone), Field(min_length=1)] = Field(
        default=["GENERAL_LABELS"], description="This kind has no other feature."
    )


SECTIONS: Mapping[DetectorKind, type[DetectorSection]] = for_every_kind(
    "job.schema.detectors.SECTIONS",
    {
        DetectorKind.REKOGNITION: LabelsDetector,
        DetectorKind.CUSTOM_LABELS: CustomLabelsDetector,
        DetectorKind.ONNX: OwnModelDetector,
    },
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
    | Annotated[CustomLabelsDetector, Tag("<rekognition-custom-labels>")]
    | Annotated[OwnModelDetector, Tag("<onnx>")],
    Discriminator(detector_form),
]
