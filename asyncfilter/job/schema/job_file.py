"""The whole job file, and its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic.json_schema import GenerateJsonSchema

from asyncfilter.job import spec
from asyncfilter.job.schema.actions import Actions
from asyncfilter.job.schema.cluster import Cluster
from asyncfilter.job.schema.detectors import Detector, LabelsDetector
from asyncfilter.job.schema.limits import Limits, Pricing, Stop
from asyncfilter.job.schema.rules import Rule
from asyncfilter.job.schema.types import (
    SEEN,
    Address,
    AnswersPath,
    CheckpointPath,
    Globs,
    InventoryAddress,
    LabelNames,
    ListAddress,
    Ranges,
    Region,
    Section,
    SomeGlobs,
    SourceAddress,
    StateAddress,
    VerdictName,
    WholeNumber,
)
from asyncfilter.job.shipped_schema import DIALECT, SCHEMA_ID
from asyncfilter.model import Verdict

_SOURCE = spec.SourceSpec(bucket="")
_AWS = spec.Aws()
_REVIEW = spec.Review()


def wrap_uri(value: object) -> Any:  # noqa: ANN401  any content of the file
    """``source: s3://...`` stands for ``source: {uri: s3://...}``."""
    return {"uri": value} if isinstance(value, str) else value


def _version(value: object) -> object:
    """Python takes True and 1.0 for 1; a job file does not."""
    if type(value) is not int:
        raise ValueError(f"expected 1, found {SEEN}")
    return value


class Source(Section):
    """The location of the images, and the keys to include and exclude."""

    uri: SourceAddress | None = Field(
        default=None,
        description="Needed, except beside `list` or `inventory`. Bucket and optional key prefix, used literally; "
        "nothing is decoded. Or a folder (`./`, `../`, `/`, `~/` or `file:` first), relative to the job file, whose "
        "images are sent by their bytes. Or `own:NAME/prefix`, a store that the calling program provides (python.md).",
    )
    list_: ListAddress | None = Field(
        default=None,
        alias="list",
        description="Examine the keys of a list, in its order, in place of a whole listing: CSV or Parquet with a "
        "column `key` or `uri`, JSON Lines such as a manifest with `source-ref`, or text with one of them on each "
        "line. `s3://bucket/key`, or a file, relative to the job file. `uri` beside it names the bucket or folder of "
        "the keys; without it they must be addresses of one bucket (lists.md).",
    )
    inventory: InventoryAddress | None = Field(
        default=None,
        description="Examine the keys of an S3 Inventory, in the order of a listing: `s3://.../manifest.json`. `uri` "
        "beside it limits it to a prefix (lists.md).",
    )
    column: Annotated[str, Field(min_length=1, title="the name of a column")] | None = Field(
        default=None,
        description="The column of `list` with keys or addresses. Default: the first of `source-ref`, `uri`, `key` and "
        "some more that it has.",
    )
    include: SomeGlobs = Field(
        default=list(_SOURCE.include),
        description="Globs on the whole key, without regard to case; `*` also matches `/`. One must match.",
    )
    exclude: Globs = Field(default=list(_SOURCE.exclude), description="Globs on the whole key; none may match.")
    order: Annotated[spec.Order, Field(strict=False)] = Field(
        default=_SOURCE.order,
        description="`listing`: as S3 lists, or as `list` has the keys. `random`: shuffled by `seed`, which needs the "
        "whole listing first.",
    )
    seed: WholeNumber = Field(default=_SOURCE.seed, description="Makes `order: random` repeatable.")
    ranges: Ranges | Literal["auto"] = Field(
        default=_SOURCE.ranges,
        description="Listing requests under way at once, each of a range of keys; `auto` is 8. Images, their order and "
        "verdicts are those of `ranges: 1`. Only S3 is listed in ranges (scale.md).",
    )
    duplicates: Literal["same", "skip", "examine"] = Field(
        default="same",
        description="Images with the same content as an earlier one, by ETag (MD5) and size. `same`: they are not paid "
        "for; they get its labels and a verdict of their own. `skip`: they are not examined at all. `examine`: every "
        "image is examined and paid for by itself, for pictures from people who may make two with one MD5.",
    )


AUTO_RANGES = 8
"""What ``ranges: auto`` means."""

SOURCE_KEYS = frozenset(field.alias or name for name, field in Source.model_fields.items())
"""The keys of ``source``."""


class Aws(Section):
    """Access to AWS. `null` means the standard AWS settings, which apply to all calls."""

    profile: Annotated[str, Field(min_length=1)] | None = Field(
        default=_AWS.profile, description="A profile of the AWS configuration files."
    )
    region: Region | None = Field(default=_AWS.region, description="The default region.")
    client: Annotated[spec.ClientKind, Field(strict=False)] = Field(
        default=_AWS.client,
        description="`fast`: asyncfilter's signed HTTP client for the frequent calls. "
        "`aioboto3`: aiobotocore's clients, which are those of aioboto3, for all.",
    )


class Review(Section):
    """The images that people look at. No key here changes what a run does."""

    labels: LabelNames = Field(
        default=list(_REVIEW.labels),
        description="The labels that people choose from. Default: the names in the keep and review rules.",
    )


class JobFile(Section):
    """A job. `${NAME}` in strings is the environment variable, `${NAME:-x}` has a default, `$$` is a dollar sign."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="The version of this format.")
    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$", title="1 to 64 of a-z, 0-9 and hyphen")] = Field(
        description="Names the checkpoint and the log."
    )
    source: Annotated[Source, BeforeValidator(wrap_uri, json_schema_input_type=Address | Source)] = Field(
        description="The location of the images. An address alone means `{uri: ADDRESS}`."
    )
    detector: Detector = Field(default=LabelsDetector(), description="The service that examines the images.")
    precheck: Annotated[spec.Precheck, Field(strict=False)] = Field(
        default=spec.Precheck.NONE,
        description="`header`: read each image's first bytes before it is paid for, so that an image that the service "
        "would reject (no JPEG or PNG by its content, too few or too many pixels) fails at no cost. `none`: leave this "
        "check to the service. Images of a folder, and with `convert` all images, are checked in any case.",
    )
    convert: bool | None = Field(
        default=None,
        description="Fetch what the service cannot read by reference (WebP, GIF, TIFF, BMP, AVIF, HEIC with the "
        "package pillow-heif; too many pixels or bytes; another region), and send it as a JPEG that fits. Add such "
        "names to `source.include`. Default: `true` for a folder, `false` for S3.",
    )
    near_duplicates: bool = Field(
        default=False,
        description="Keep a perceptual hash of each image that is examined from now on, for `export "
        "--near-duplicates`. Every image is read for it, at no cost but the transfer.",
    )
    rules: Annotated[list[Rule], Field(min_length=1)] = Field(
        description="Ordered; the first rule that matches decides."
    )
    otherwise: VerdictName = Field(default=Verdict.REJECT, description="The verdict when no rule matches.")
    actions: Actions = Field(default=Actions(), description="The action on the images of each verdict.")
    check_targets: Annotated[spec.TargetCheck, Field(strict=False)] = Field(
        default=spec.TargetCheck.POLICY,
        description="The check of the targets before the first paid call. `exists`: their buckets exist, their folders "
        "may be written. `policy`: also ask IAM whether the caller may write there, where the caller may ask that. "
        "`write`: put an empty object or file there and take it away again, which may start what listens to the "
        "bucket. `--dry-run` never writes.",
    )
    limits: Limits = Field(default=Limits(), description="Limits on rate, cost, number of images and time.")
    stop: Stop = Field(default=Stop(), description="When the run stops early.")
    checkpoint: CheckpointPath | None = Field(
        default=None,
        description="The SQLite file that holds the paid results. Default: `.asyncfilter/<name>.db` beside the job "
        "file; in the working folder when the job comes from a pipe. Or `s3://bucket/prefix/`: the results are "
        "kept in S3, as a state that outlives this machine, and that file is a working copy (scale.md).",
    )
    checkpoint_copy: StateAddress | None = Field(
        default=None,
        description="`s3://bucket/prefix/`: a copy that follows the checkpoint file every few seconds, with which "
        "another machine can go on (scale.md). Not beside a `checkpoint` in S3.",
    )
    cluster: Cluster | None = Field(
        default=None, description="Workers that examine the images. `null`: this process alone (scale.md)."
    )
    answers: AnswersPath | None = Field(
        default=None,
        description="The SQLite file of what people say about the images; several jobs may share one. Default: the "
        "path of the checkpoint without `.db`, and `.answers.db`.",
    )
    review: Review = Field(default=Review(), description="The images that people look at.")
    pricing: Pricing = Field(default=Pricing(), description="Usage and prices of the account.")
    aws: Aws = Field(default=Aws(), description="Access to AWS.")


JobFile.model_rebuild()


class _PlainSchema(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes from field names: here a title gives the allowed values."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  the override's signature
        """See pydantic."""
        return False


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the job file as written, before validation (draft 2020-12)."""
    schema = JobFile.model_json_schema(mode="validation", schema_generator=_PlainSchema)
    return {"$schema": DIALECT, "$id": SCHEMA_ID, **schema}
