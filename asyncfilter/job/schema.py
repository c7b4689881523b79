"""The job file's shape: one pydantic model per mapping, and the only place where a key is described.

Types, bounds and defaults of single keys stand here; what concerns several keys at once stands in ``checks``. A field's
``description`` says what the key does and its ``title`` what may be written there: both go into the JSON Schema, into
``docs/job-file.md`` and, the title, into error messages. Defaults are those of ``spec``.

Numbers are strict: no string, boolean or date passes for one. A ``ValueError`` raised here is a whole message for
people.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.json_schema import GenerateJsonSchema

from asyncfilter.job import spec
from asyncfilter.job.address import (
    ALL_PLACEHOLDERS,
    absolute_template,
    parse_s3_uri,
    parse_source,
    parse_template,
)
from asyncfilter.model import S3, IfExists, StoreKind, Verdict

MAX_COUNT = 10**12
"""Upper bound of counts and seeds: far above any bucket, safely inside 64 bits."""
MAX_USD = 10**9
MAX_WINDOW = spec.MAX_WINDOW
SEEN = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Stands in a message for the value as the file writes it."""
_MICRO = Decimal("0.000001")

_SOURCE = spec.SourceSpec(bucket="")
_DETECTOR = spec.DetectorSpec()
_CONDITION = spec.Condition()
_ACTION = spec.Action()
_LIMITS = spec.Limits()
_PRICING = spec.Pricing()
_AWS = spec.Aws()

_MODEL_ARN = re.compile(
    r"arn:aws[a-z-]*:rekognition:(?P<region>[a-z0-9-]+):\d{12}:project/[\w.-]{1,255}/version/[\w.-]{1,255}/\d+\Z",
    re.ASCII,
)
"""A Custom Labels model version (botocore's rekognition model, shape ``ProjectVersionArn``)."""
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*\Z")


def as_list(value: object) -> list[Any]:
    """A list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def wrap_uri(value: object) -> Any:  # noqa: ANN401  whatever the file holds
    """``source: s3://...`` stands for ``source: {uri: s3://...}``."""
    return {"uri": value} if isinstance(value, str) else value


def usd(value: object) -> Decimal:
    """Dollars as an exact decimal of at most six places.

    Raises:
        ValueError: Not a number from 0 to ``MAX_USD``, or finer than a micro-dollar.
    """
    expected = f"expected dollars, a number from 0 to {MAX_USD}"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        quoted = "; write it without quotes" if isinstance(value, str) and _is_number(value) else ""
        raise ValueError(f"{expected}, found {SEEN}{quoted}")  # noqa: TRY004  pydantic collects ValueError
    amount = value if isinstance(value, Decimal) else Decimal(str(value)) if abs(value) <= MAX_USD else Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= MAX_USD:
        raise ValueError(f"{expected}, found {SEEN}")
    if amount != amount.quantize(_MICRO):
        raise ValueError(f"expected dollars with at most 6 decimals (micro-dollars), found {SEEN}")
    return amount


def model_region(arn: str) -> str | None:
    """The region in the ARN of a Custom Labels model version; None when it is no such ARN."""
    match = _MODEL_ARN.match(arn)
    return match["region"] if match else None


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _version(value: object) -> object:
    """Python takes True and 1.0 for 1; a job file does not."""
    if type(value) is not int:
        raise ValueError(f"expected 1, found {SEEN}")
    return value


def _address(text: str) -> str:
    parse_source(text, "/")
    return text


def _reference(text: str) -> str:
    if text.startswith(S3):
        if not parse_s3_uri(text).key:
            raise ValueError(f"expected one object, s3://bucket/key, found {SEEN}")
        return text
    return _file(text)


def _template(text: str) -> str:
    template = parse_template(absolute_template(text, "/"))
    return text if template.store is StoreKind.FOLDER else str(template)


def _arn(text: str) -> str:
    if model_region(text) is None:
        form = "arn:aws:rekognition:REGION:ACCOUNT:project/NAME/version/VERSION/TIMESTAMP"
        raise ValueError(f"expected the ARN of a model version ({form}), found {SEEN}")
    return text


def _file(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"expected the path of a file, found {SEEN}")
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:  # what pathlib raises for ~nobody
        raise ValueError(f"expected a home folder that exists, found {SEEN}") from error


def _distinct(features: list[str]) -> list[str]:
    if "GENERAL_LABELS" not in features or len(set(features)) != len(features):
        raise ValueError(f"expected GENERAL_LABELS, which rules need, and each feature once, found {SEEN}")
    return features


def _tags(tags: dict[str, str]) -> dict[str, str]:
    """S3's limits (S3 user guide, *Categorizing your storage using tags*)."""
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.startswith("aws:") or not _TAG_TEXT.match(key):
            raise ValueError(
                f"expected tag keys of 1 to 128 letters, digits, spaces or + - = . _ : / @, not aws:, found {key!r}"
            )
        if len(value) > 256 or not _TAG_TEXT.match(value):
            raise ValueError(
                f"expected tag values of at most 256 letters, digits, spaces or + - = . _ : / @, found {value!r}"
            )
    return tags


Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]
WholeNumber = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Usd = Annotated[
    Decimal,
    BeforeValidator(
        usd, json_schema_input_type=Annotated[float, Field(ge=0, le=MAX_USD, title="dollars, with at most 6 decimals")]
    ),
]
Name = Annotated[str, Field(pattern=r"^\S(?:.*\S)?$", title="a name (no spaces around it)")]
_NameList = Annotated[list[Name], Field(min_length=1)]
Names = Annotated[_NameList, BeforeValidator(as_list, json_schema_input_type=Name | _NameList)]
Glob = Annotated[str, Field(min_length=1, title="a glob such as *.jpg")]
Globs = Annotated[list[Glob], BeforeValidator(as_list, json_schema_input_type=Glob | list[Glob])]
_GlobList = Annotated[list[Glob], Field(min_length=1)]
SomeGlobs = Annotated[_GlobList, BeforeValidator(as_list, json_schema_input_type=Glob | _GlobList)]
Region = Annotated[str, Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$", title="a region such as eu-west-1")]
Target = Annotated[
    str,
    AfterValidator(_template),
    Field(title=f"s3://bucket/key, or ./folder/name beside a folder as source, with placeholders {ALL_PLACEHOLDERS}"),
]
Reference = Annotated[str, AfterValidator(_reference), Field(title="s3://bucket/key or the path of an image")]
_ReferenceList = Annotated[list[Reference], Field(min_length=1)]
References = Annotated[_ReferenceList, BeforeValidator(as_list, json_schema_input_type=Reference | _ReferenceList)]
Address = Annotated[str, Field(title="s3://bucket/prefix, or a folder such as ./photos")]
VerdictName = Annotated[Verdict, Field(strict=False)]


def _absent() -> Any:  # noqa: ANN401  stands for a mapping that may be left out, but not be null
    return None


class Section(BaseModel):
    """A mapping of the job file: strict, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class Source(Section):
    """Where the images are, and which of them count."""

    uri: Annotated[Address, AfterValidator(_address)] = Field(
        description="Bucket and optional key prefix, taken letter by letter; nothing is decoded. Or a folder (`./`, "
        "`../`, `/`, `~/` or `file:` first), relative to the job file, whose images are sent by their bytes. Or "
        "`own:NAME/prefix`, a store that the calling program brings (python.md)."
    )
    include: SomeGlobs = Field(
        default=list(_SOURCE.include),
        description="Globs on the whole key, without regard to case; `*` also matches `/`. One must match.",
    )
    exclude: Globs = Field(default=list(_SOURCE.exclude), description="Globs on the whole key; none may match.")
    order: Annotated[spec.Order, Field(strict=False)] = Field(
        default=_SOURCE.order,
        description="`listing`: as S3 lists. `random`: shuffled by `seed`, which needs the whole listing first.",
    )
    seed: WholeNumber = Field(default=_SOURCE.seed, description="Makes `order: random` repeatable.")
    duplicates: Literal["same", "skip"] = Field(
        default="same",
        description="Images whose content an earlier one has are never paid for. `same`: they get its labels and a "
        "verdict of their own. `skip`: they are not examined at all.",
    )


class Detector(Section):
    """Which service looks at the images. A change here makes stored labels unusable, so it needs a new checkpoint."""

    kind: Annotated[spec.DetectorKind, Field(strict=False)] = Field(
        default=_DETECTOR.kind,
        description="`rekognition` is DetectLabels; `rekognition-custom-labels` is DetectCustomLabels with `model`.",
    )
    region: Region | None = Field(
        default=_DETECTOR.region,
        description="Default: the region of the source's bucket; for a folder `aws.region`, or that of the AWS "
        "settings. Another one than the bucket's needs `convert`, since images are then sent by their bytes.",
    )
    model: Annotated[str, AfterValidator(_arn), Field(title="the ARN of a model version")] | None = Field(
        default=_DETECTOR.model,
        description="A Custom Labels project version. Needed for `rekognition-custom-labels`, and only there.",
    )
    min_confidence: Percent = Field(
        default=_DETECTOR.min_confidence_pct,
        description="Percent. What is asked for and kept, not what a rule needs: rules can change later, labels that "
        "were not asked for cannot.",
    )
    max_labels: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=_DETECTOR.max_labels, description="Most labels an image may have; the surest are kept."
    )
    features: Annotated[
        list[Literal["GENERAL_LABELS", "IMAGE_PROPERTIES"]],
        AfterValidator(_distinct),
        Field(min_length=1, max_length=2),
    ] = Field(
        default=["GENERAL_LABELS"],
        description="What DetectLabels returns; each is billed. Rules need `GENERAL_LABELS`.",
    )


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

    any: Names = Field(default_factory=list, description="At least one of these labels is there.")
    all: Names = Field(default_factory=list, description="All of these labels are there.")
    none: Names = Field(default_factory=list, description="None of these labels is there.")
    confidence: Percent = Field(
        default=_CONDITION.confidence_pct,
        description="Percent that a label, or an instance of `count` and `area`, must reach. Not inherited by `not`.",
    )
    category: Names = Field(
        default_factory=list,
        description="A label of this category, or of one of these, is there. Such as `Animals and Pets`.",
    )
    count: Count = Field(default_factory=_absent, description="How many instances of a label the image shows.")
    area: Area = Field(default_factory=_absent, description="How much of the image a label's largest box covers.")
    like: References = Field(
        default_factory=list,
        description="Reference images: a label is there that they show at `confidence` and that is specific enough to "
        "select by. They are examined when a run starts; see `docs/planning.md`.",
    )
    ignore: Names = Field(default_factory=list, description="Labels that `like` shall not select by.")
    not_: Conditions = Field(
        default_factory=list, alias="not", description="A condition that must not hold; of a list, not all may hold."
    )


_ConditionList = Annotated[list[Condition], Field(min_length=1)]
Conditions = Annotated[_ConditionList, BeforeValidator(as_list, json_schema_input_type=Condition | _ConditionList)]


class Rule(Section):
    """One verdict with its condition, or with a list of conditions that must all hold."""

    keep: Conditions = Field(default_factory=list, description="What makes an image a match.")
    review: Conditions = Field(default_factory=list, description="What makes an image one for people to look at.")
    reject: Conditions = Field(default_factory=list, description="What makes an image a miss.")


class CopyAction(Section):
    """Copy the image, on condition that it has not changed since it was examined."""

    copy_: Target = Field(alias="copy", description="Where to. A target that ends in `/` has `{key}` added.")
    if_exists: Annotated[IfExists, Field(strict=False)] = Field(
        default=_ACTION.if_exists, description="What to do when an object stands at the target already."
    )


class LinkAction(Section):
    """Like `copy`, between folders of one file system: a hard link, which takes no space."""

    link: Target = Field(description="Where to. A target that ends in `/` has `{key}` added.")
    if_exists: Annotated[IfExists, Field(strict=False)] = Field(
        default=_ACTION.if_exists, description="What to do when a file stands at the target already."
    )


class MoveAction(Section):
    """Copy the image, verify the copy and delete the source; waits for `apply`."""

    move: Target = Field(description="Where to. A target that ends in `/` has `{key}` added.")
    if_exists: Literal["fail", "overwrite"] = Field(
        default="fail",
        description="What to do when another object stands at the target already. `fail` leaves the image in the "
        "source, so that what is in quarantine is never lost; the same content there counts as copied.",
    )


class TagAction(Section):
    """Add tags to the image."""

    tag: Annotated[dict[str, str], AfterValidator(_tags), Field(min_length=1, max_length=10)] = Field(
        description="Up to 10 tags. Values that look like numbers need quotes.",
        title="a mapping of 1 to 10 tags to text",
    )


def action_form(value: object) -> str:
    """Which form of an action was written; tags in ``<>`` cannot be mistaken for keys."""
    if isinstance(value, dict):
        return next(
            (f"<{form}>" for form in ("link", "move", "tag") if form in value and "copy" not in value), "<copy>"
        )
    return "<word>"


Action = Annotated[
    Annotated[Literal["none", "delete"], Tag("<word>")]
    | Annotated[CopyAction, Tag("<copy>")]
    | Annotated[LinkAction, Tag("<link>")]
    | Annotated[MoveAction, Tag("<move>")]
    | Annotated[TagAction, Tag("<tag>")],
    Discriminator(action_form),
]


class Actions(Section):
    """What is done with the images of each verdict; absent means none."""

    keep: Action = Field(default="none", description="What is done with matches.")
    review: Action = Field(default="none", description="What is done with images for people to look at.")
    reject: Action = Field(default="none", description="What is done with misses.")
    duplicate: Action | None = Field(
        default=None,
        description="What is done instead with images whose content an earlier image has, whatever their verdict. "
        "`null`: what their verdict says.",
    )


Auto = Literal["auto"]


class Limits(Section):
    """How fast, how much and how long."""

    tps: Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)] | Auto = Field(
        default="auto",
        description="Calls a second, retries included. `auto`: the account's quota from Service Quotas, else the "
        "documented default of the region.",
    )
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=_LIMITS.share, description="Part of that quota this run may use."
    )
    concurrency: Annotated[int, Field(ge=1, le=10_000)] | Auto = Field(
        default="auto", description="Calls in flight. `auto` follows rate x measured latency."
    )
    budget_usd: Usd | None = Field(
        default=None, description="Hard ceiling in dollars for this checkpoint, across resumes. `null`: none."
    )
    max_images: Positive | None = Field(default=_LIMITS.max_images, description="Most images to examine. `null`: all.")
    max_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        default=_LIMITS.max_attempts, description="Attempts per image and per S3 request; throttles do not count."
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = Field(
        default=_LIMITS.timeout_s, description="Seconds per attempt, detector and S3 alike."
    )


class HitRate(Section):
    """Stop once matches are too rare to go on. Holds however often one looks; see `docs/planning.md`."""

    below: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        description="Share of `keep` among all verdicts, as a fraction: 0.02 is two in a hundred."
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] = Field(
        default=0.95,
        description="How sure to be that the share is below that, as a fraction. A source whose share is not below it "
        "is stopped wrongly with a probability of at most one less this.",
    )


class ErrorShare(Section):
    """Stop once too many images could not be examined."""

    rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        description="Share of failed images among the last `window`, as a fraction."
    )
    window: Annotated[int, Field(ge=1, le=MAX_WINDOW)] = Field(
        default=200, description="How many images back are looked at; nothing is said before that many."
    )


class Stop(Section):
    """When enough has been seen. `null` means never."""

    matches: Positive | None = Field(default=None, description="Stop after this many `keep`.")
    misses_in_a_row: Positive | None = Field(
        default=None, description="Stop after this many `reject` without a `keep` between; `review` does not count."
    )
    hit_rate: HitRate | None = Field(
        default=None, description="Stop once matches are surely too rare. Wants `source.order: random`."
    )
    errors: ErrorShare | None = Field(default=None, description="Stop once too many images could not be examined.")


class Tier(Section):
    """The price of an image while no more than `up_to` were billed this month."""

    up_to: Positive | None = Field(description="Images a month; `null` in the last tier: without end.")
    usd: Usd = Field(description="Dollars an image.")


class Pricing(Section):
    """What the account has used this month, and what it pays."""

    used_this_month: WholeNumber = Field(
        default=_PRICING.used_this_month, description="Images already billed this month, for the tiers."
    )
    tiers: Annotated[list[Tier], Field(min_length=1)] | None = Field(
        default=None, description="Prices that take the place of the table that ships with asyncfilter; never rising."
    )
    inference_unit_hour_usd: Usd | None = Field(
        default=None, description="Dollars an hour for one inference unit of a Custom Labels model."
    )
    inference_units: Positive | None = Field(
        default=None,
        description="Units the Custom Labels model runs with at the most; `null` asks the service, which takes the "
        "permissions rekognition:DescribeProjects and rekognition:DescribeProjectVersions.",
    )


class Aws(Section):
    """How AWS is reached; `null` leaves it to the standard AWS settings, which are honoured throughout."""

    profile: Annotated[str, Field(min_length=1)] | None = Field(
        default=_AWS.profile, description="A profile of the AWS configuration files."
    )
    region: Region | None = Field(default=_AWS.region, description="The region to start from.")
    client: Annotated[spec.ClientKind, Field(strict=False)] = Field(
        default=_AWS.client,
        description="`fast`: our own signed client for the hot calls. `aioboto3`: aioboto3 throughout.",
    )


class JobFile(Section):
    """A job. `${NAME}` in strings is the environment variable, `${NAME:-x}` has a default, `$$` is a dollar."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="The version of this format.")
    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$", title="1 to 64 of a-z, 0-9 and hyphen")] = Field(
        description="Names the checkpoint and the log."
    )
    source: Annotated[Source, BeforeValidator(wrap_uri, json_schema_input_type=Address | Source)] = Field(
        description="Where the images are. An address alone stands for `{uri: ADDRESS}`."
    )
    detector: Detector = Field(default=Detector(), description="Which service looks at the images.")
    precheck: Annotated[spec.Precheck, Field(strict=False)] = Field(
        default=spec.Precheck.NONE,
        description="`header`: read each image's first bytes before it is paid for, so that what the service would "
        "refuse (no JPEG or PNG by its content, too few or too many pixels) fails at no cost. `none`: let the service "
        "look. Images of a folder, and with `convert` all, are looked at in any case.",
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
    actions: Actions = Field(default=Actions(), description="What is done with the images of each verdict.")
    limits: Limits = Field(default=Limits(), description="How fast, how much and how long.")
    stop: Stop = Field(default=Stop(), description="When enough has been seen.")
    checkpoint: Annotated[str, AfterValidator(_file), Field(title="the path of a file")] | None = Field(
        default=None, description="Where paid work is kept. Default: `.asyncfilter/<name>.db` beside the job file."
    )
    pricing: Pricing = Field(default=Pricing(), description="What the account has used and pays.")
    aws: Aws = Field(default=Aws(), description="How AWS is reached.")


Condition.model_rebuild()
JobFile.model_rebuild()


class _PlainSchema(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes from field names: here a title says what may be written."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  the override's signature
        """See pydantic."""
        return False


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the job file as people write it (draft 2020-12)."""
    schema = JobFile.model_json_schema(mode="validation", schema_generator=_PlainSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}
