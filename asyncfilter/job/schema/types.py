"""Types of the values of single keys, with their bounds and the description of what is allowed.

Numbers are strict: a string, boolean or date is not accepted as one.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from asyncfilter.job.addresses import ALL_PLACEHOLDERS, absolute_template, parse_s3_uri, parse_source, parse_template
from asyncfilter.model import S3, StoreKind, Verdict, uri_of

MAX_COUNT = 10**12
"""Upper bound of counts and seeds: far above any bucket, well within 64 bits."""
MAX_USD = 10**9
SEEN = "\N{OBJECT REPLACEMENT CHARACTER}"
"""Placeholder in a message for the value as written in the file."""
_MICRO = Decimal("0.000001")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/|arn:", re.IGNORECASE)
"""Beginning of an address such as ``s3://``, also with a slash missing."""


def as_list(value: object) -> list[Any]:
    """A list unchanged, anything else as a list of one."""
    return value if isinstance(value, list) else [value]


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


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _file(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"expected the path of a file, found {SEEN}")
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:  # what pathlib raises for ~nobody
        raise ValueError(f"expected a home folder that exists, found {SEEN}") from error


MOST_STATE_PREFIX_BYTES = 512
"""Longest prefix of states in S3: a head that names a thousand objects below it stays below 1 MB."""


def _checkpoint(text: str) -> str:
    if text.startswith(S3):
        return _state(text)
    if _SCHEME.match(text):
        raise ValueError(f"expected the path of a file on this machine, or s3://bucket/prefix/, found {SEEN}")
    return _file(text)


def _state(text: str) -> str:
    """The address of states with its final slash."""
    if not text.startswith(S3):
        raise ValueError(f"expected s3://bucket/prefix/, found {SEEN}")
    place = parse_s3_uri(text)
    prefix = place.key if not place.key or place.key.endswith("/") else f"{place.key}/"
    if len(msgspec.json.encode(prefix)) - 2 > MOST_STATE_PREFIX_BYTES:
        raise ValueError(f"expected a prefix of at most {MOST_STATE_PREFIX_BYTES} bytes as JSON, found {SEEN}")
    return uri_of(place.bucket, prefix)


def _answers(text: str) -> str:
    return _local_file(text, "people's answers")


def _own_file(text: str) -> str:
    return _local_file(text, "it")


def _local_file(text: str, what: str) -> str:
    if _SCHEME.match(text):
        raise ValueError(f"expected the path of a file on this machine, found {SEEN}: {what} cannot be elsewhere")
    return _file(text)


def _reference(text: str) -> str:
    if text.startswith(S3):
        if not parse_s3_uri(text).key:
            raise ValueError(f"expected one object, s3://bucket/key, found {SEEN}")
        return text
    return _file(text)


def _template(text: str) -> str:
    template = parse_template(absolute_template(text, "/"))
    return text if template.store is StoreKind.FOLDER else str(template)


def _list(text: str) -> str:
    if not text.startswith(S3) and _SCHEME.match(text):
        raise ValueError(f"expected s3://bucket/key, or the path of a file on this machine, found {SEEN}")
    return _reference(text)


def _inventory(text: str) -> str:
    if not text.startswith(S3) or not parse_s3_uri(text).key.endswith(".json"):
        raise ValueError(f"expected s3://bucket/key of the manifest.json of an S3 Inventory, found {SEEN}")
    return text


def _address(text: str) -> str:
    parse_source(text, "/")
    return text


Positive = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Ranges = Annotated[int, Field(ge=1, le=64)]
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
_Label = Annotated[
    str, Field(pattern=r"^\S(?:.*\S)?$", max_length=255, title="a label (1 to 255 characters, no spaces around it)")
]
LabelNames = Annotated[list[_Label], Field(max_length=1000)]
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
SourceAddress = Annotated[Address, AfterValidator(_address)]
ListAddress = Annotated[str, AfterValidator(_list), Field(title="s3://bucket/key or the path of a file")]
InventoryAddress = Annotated[
    str, AfterValidator(_inventory), Field(title="s3://bucket/key of the manifest.json of an S3 Inventory")
]
CheckpointPath = Annotated[str, AfterValidator(_checkpoint), Field(title="the path of a file or s3://bucket/prefix/")]
StateAddress = Annotated[str, AfterValidator(_state), Field(title="s3://bucket/prefix/")]
AnswersPath = Annotated[str, AfterValidator(_answers), Field(title="the path of a file")]
OwnFile = Annotated[str, AfterValidator(_own_file), Field(title="the path of a file")]
VerdictName = Annotated[Verdict, Field(strict=False)]


def absent() -> Any:  # noqa: ANN401  the type of a mapping that may be left out, but not be null
    """Default of a mapping that may be left out; pydantic does not check defaults."""
    return None


class Section(BaseModel):
    """A mapping of the job file: strict, unknown keys rejected."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())
