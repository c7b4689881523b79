"""The actions on the images of each verdict."""

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
        default=_ACTION.if_exists, description="What to do when the target already has an object."
    )


class LinkAction(Section):
    """Like `copy`, between folders of one file system: a hard link, which takes no space."""

    link: Target = Field(description="Where to. A target that ends in `/` has `{key}` added.")
    if_exists: Annotated[IfExists, Field(strict=False)] = Field(
        default=_ACTION.if_exists, description="What to do when the target already has a file."
    )


class MoveAction(Section):
    """Copy the image, verify the copy and delete the source; carried out by `apply`."""

    move: Target = Field(description="Where to. A target that ends in `/` has `{key}` added.")
    if_exists: Literal["fail", "overwrite"] = Field(
        default="fail",
        description="What to do when the target already has another object. `fail` leaves the image in the source, so "
        "that no object in quarantine is lost; an object with the same content counts as the copy.",
    )


class TagAction(Section):
    """Add tags to the image."""

    tag: Annotated[dict[str, str], AfterValidator(_tags), Field(min_length=1, max_length=10)] = Field(
        description="Up to 10 tags. Values that look like numbers need quotes.",
        title="a mapping of 1 to 10 tags to text",
    )


def action_form(value: object) -> str:
    """The tag of the form in which an action is written; a tag in ``<>`` cannot be a key."""
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
    """The action on the images of each verdict; absent means none."""

    keep: Action = Field(default="none", description="The action on matches.")
    review: Action = Field(default="none", description="The action on images that a person should review.")
    reject: Action = Field(default="none", description="The action on misses.")
    duplicate: Action | None = Field(
        default=None,
        description="The action on images with the same content as an earlier image, in place of that of their "
        "verdict. `null`: the action of their verdict.",
    )
