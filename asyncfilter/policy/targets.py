"""Targets of actions: target templates, compiled.

A target is a pure function of source key, label and job name. ``is_injective`` and ``may_collide`` decide, once for a
job, whether two source keys could have one target; the engine checks whether they do.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from itertools import combinations
from typing import assert_never

from asyncfilter.errors import ImageError
from asyncfilter.job.addresses import MAX_KEY_BYTES, Placeholder, Template, parse_template
from asyncfilter.model import S3Location, StoreKind, store_of, uri_of

_DISTINGUISHING = {Placeholder.KEY, Placeholder.RELATIVE}
"""The placeholders each of which alone distinguishes any two source keys of a run."""


class TargetTemplate:
    """A compiled template.

    Attributes:
        bucket: The bucket of every target.
        literal_prefix: What every target's key begins with.
        is_injective: True only when two different source keys never have the same target: the template holds
            ``{key}`` or ``{relative}``, and otherwise only text and ``{name}``.
    """

    __slots__ = ("_is_folder", "_parts", "bucket", "is_injective", "literal_prefix", "text")

    def __init__(self, template: Template) -> None:
        placeholders = {part for part in template.parts if isinstance(part, Placeholder)}
        self.bucket = template.bucket
        self.text = str(template)
        self.literal_prefix = template.literal_prefix()
        self.is_injective = bool(placeholders & _DISTINGUISHING) and placeholders <= _DISTINGUISHING | {
            Placeholder.NAME
        }
        self._parts = template.parts
        self._is_folder = template.store is StoreKind.FOLDER

    def locate(self, *, key: str, prefix: str, label: str | None, name: str) -> S3Location:
        """The target of one image.

        Args:
            key: The source key; it begins with ``prefix``.
            prefix: The source's prefix. ``{relative}`` is the rest of the key, unchanged.
            label: The name that made the rule match. A job in which ``{label}`` could be None is rejected when it is
                loaded; in a job made in a program, None becomes the empty string.
            name: The job's name.

        Raises:
            ImageError: ``target_too_long`` when a key of S3 exceeds 1,024 bytes, ``target_empty`` when the key is
                empty, ``target_unsafe`` when it is no plain path below a folder.
        """
        target = "".join(
            _value(part, key=key, prefix=prefix, label=label, name=name) if isinstance(part, Placeholder) else part
            for part in self._parts
        )
        size_bytes = len(target.encode())
        if size_bytes > MAX_KEY_BYTES and store_of(self.bucket) is StoreKind.S3:
            message = f"the target of {key!r} has {size_bytes} bytes, S3 takes at most {MAX_KEY_BYTES}"
            raise ImageError(message, code="target_too_long", remedy="Shorten the target under actions.")
        if not target:
            raise ImageError(f"the target of {key!r} is empty", code="target_empty", remedy="Use {key} under actions.")
        if self._is_folder and not is_plain(target):
            raise ImageError(
                f"the target of {key!r} is not a plain path below its folder: {target!r}",
                code="target_unsafe",
                remedy="Use {basename} or {stem} under actions, or rename the objects.",
            )
        return S3Location(self.bucket, target)


def is_plain(path: str) -> bool:
    """Whether a path leads below its folder by its names alone; the keys of a bucket may be anything."""
    return "\0" not in path and not {"", ".", ".."} & {*path.split("/")}


def compile_target(template: str) -> TargetTemplate:
    """The target of a template such as ``s3://clean/robin/{key}``.

    Raises:
        ValueError: Not a template; a loaded job has only valid ones.
    """
    return TargetTemplate(parse_template(template))


def may_collide(targets: Sequence[TargetTemplate]) -> bool:
    """Whether two source keys of one run could have the same target, when each image uses one of ``targets``.

    False only when every target is injective and no two of them overlap: their buckets differ, or neither prefix begins
    with the other.
    """
    return not all(target.is_injective for target in targets) or any(
        one.text != other.text and _may_meet(one, other) for one, other in combinations(targets, 2)
    )


def _may_meet(one: TargetTemplate, other: TargetTemplate) -> bool:
    beginnings = [uri_of(target.bucket, target.literal_prefix) for target in (one, other)]
    return beginnings[0].startswith(beginnings[1]) or beginnings[1].startswith(beginnings[0])


def _value(placeholder: Placeholder, *, key: str, prefix: str, label: str | None, name: str) -> str:
    """The value of one placeholder."""
    match placeholder:
        case Placeholder.KEY:
            return key
        case Placeholder.RELATIVE:
            return key.removeprefix(prefix)
        case Placeholder.BASENAME:
            return key.rpartition("/")[2]
        case Placeholder.STEM:
            return posixpath.splitext(key.rpartition("/")[2])[0]
        case Placeholder.EXT:
            return posixpath.splitext(key.rpartition("/")[2])[1].removeprefix(".")
        case Placeholder.LABEL:
            return label or ""
        case Placeholder.NAME:
            return name
        case _:
            assert_never(placeholder)
