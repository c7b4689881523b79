"""Actions: what is done with the images of each verdict."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from asyncfilter.job import spec
from asyncfilter.job.schema.types import Section, Target
from asyncfilter.model import IfExists

_ACTION = spec.Action()
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*\Z")


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


ACTION_TAGS = frozenset({"<word>", "<copy>", "<link>", "<move>", "<tag>"})
"""The tags above."""


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
