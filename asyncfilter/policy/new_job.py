"""The settings of a new job that follow from a first look, and what a user should know about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import ceil

import msgspec

from asyncfilter.job.draft import KEEP_PCT
from asyncfilter.job.spec import SourceSpec
from asyncfilter.model import Detection
from asyncfilter.policy.extensions import CONVERTED
from asyncfilter.policy.first_look import NEED_PLUGIN, NO_EXTENSION, PlaceFound
from asyncfilter.policy.reference_labels import GENERAL, common_labels

EXAMPLE_LABELS = ("Person",)
"""Labels of the rules where nothing is known of the images."""

MOST_SUGGESTED = 5
MOST_NAMED = 20

_NOT_CONTENT = frozenset({"train", "test", "image", "picture", "file", "folder", "text", "camera", "computer", "page"})
"""Labels, casefolded, that are more often a folder's name for another reason than its content."""

_USD_MICROS = 1_000_000
_BUDGET_MICROS = 10 * _USD_MICROS
"""Least budget of a job for more images than were seen."""


class FoundSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a job that follow from its place, as in ``JobDraft``."""

    is_folder: bool
    include: tuple[str, ...] | None
    has_precheck: bool
    converts: bool
    region: str | None


def found_settings(found: PlaceFound, *, has_plugin: bool) -> FoundSettings:
    """The settings for the images of a place.

    Args:
        found: The place.
        has_plugin: The package pillow-heif is installed.
    """
    look = found.look
    extensions = [name for name in look.formats if has_plugin or name not in NEED_PLUGIN]
    default = SourceSpec(bucket="").include
    include = tuple(dict.fromkeys([*default, *(f"*.{name}" for name in extensions)]))
    if look.has_names_without_extension:
        include = ("*",)
    return FoundSettings(
        is_folder=found.is_folder,
        include=None if include == default else include,
        has_precheck=look.has_names_without_extension and not found.is_folder,
        converts=not found.is_folder and (found.is_moved or not CONVERTED.isdisjoint(extensions)),
        region=found.region if found.region != found.home else None,
    )


def labels_in_names(found: PlaceFound, names: Mapping[str, str]) -> tuple[str, ...]:
    """Labels that folders are named after, or that the place itself is.

    Folders count when they hold at least half of the images that were seen: then the place is sorted by what its images
    show.

    Args:
        found: The place.
        names: All labels as they are written, by their casefolded name.
    """
    folders = {folder: label for folder in found.look.folders if (label := _label_named(folder, names)) is not None}
    images = sum(found.look.folders[folder] for folder in folders)
    if folders and 2 * images >= found.look.images:
        return tuple(dict.fromkeys(folders.values()))[:MOST_NAMED]
    last = found.address.rstrip("/").rpartition("/")[2]
    label = _label_named(last, names)
    return () if label is None else (label,)


def _label_named(name: str, names: Mapping[str, str]) -> str | None:
    """The label in a name such as ``robins/`` or ``golden_retriever``; None in a name that says how data is used."""
    word = re.sub(r"[\W_\d]+", " ", name).strip().casefold()
    singular = re.sub(r"(?<=[^aeiou])ies$", "y", word)
    for form in (word, singular, word.removesuffix("s"), word.removesuffix("es")):
        if form in names and form not in _NOT_CONTENT and form not in GENERAL:
            return names[form]
    return None


def suggested_labels(labels: Mapping[str, Detection]) -> tuple[str, ...]:
    """Labels for the rules, from those of some images of the place, which are drawn at random.

    These are the most specific ones that at least half of the images have; where there are none, the one that most
    images have. Labels that only describe the setting of an image are no choice.

    Args:
        labels: By the address of the image.
    """
    shared = [label for label in common_labels(labels, KEEP_PCT).labels if label.name.casefold() not in GENERAL]
    frequent = [label.name for label in shared if 2 * label.images >= len(labels)]
    parents = {
        parent.casefold()
        for detection in labels.values()
        for label in detection.labels
        if label.name in frequent
        for parent in label.parents
    }
    specific = [name for name in frequent if name.casefold() not in parents]
    return tuple(specific[:MOST_SUGGESTED] or [label.name for label in shared[:1]])


def suggested_budget_micros(found: PlaceFound) -> int:
    """What all images that were seen cost, in whole dollars; more where there are more images than were seen."""
    whole_usd = max(1, ceil(found.cost_micros(found.look.images) / _USD_MICROS))
    micros = whole_usd * _USD_MICROS
    return micros if found.look.is_whole else max(micros, _BUDGET_MICROS)


def place_cautions(found: PlaceFound, *, has_plugin: bool) -> Iterator[str]:
    """One sentence for each thing that is probably not what the user wants; most places have none."""
    look = found.look
    if found.nothing is not None:
        yield f"{found.nothing.message} {found.nothing.hint}"
    elif look.has_names_without_extension:
        yield (
            f"{look.others[NO_EXTENSION]:,} names have no extension: all are included, and what is no image by its "
            "content is not paid for"
        )
    elif not look.images:
        kinds = ", ".join(name or "none" for name in list(look.others)[:5])
        yield f"no image is among the {look.listed:,} objects" + (f"; extensions: {kinds}" if kinds else "")
    if look.has_siblings:
        prefix = found.place.key
        yield f"the prefix {prefix} has no slash at its end: other folders that begin so are included too"
    if not found.is_folder and look.to_convert:
        yield f"{', '.join(look.to_convert)}: Rekognition does not read them; they are fetched and sent as JPEG"
    if not has_plugin and not NEED_PLUGIN.isdisjoint(look.formats):
        yield 'heic images are left out: they need the package pillow-heif; then add "*.heic" to source.include'
    if found.is_moved:
        yield f"the images are fetched and sent to {found.region}, since the bucket is in {found.home}"
    if found.is_folder and found.is_region_chosen:
        yield f"no region is set: the images are sent to {found.region}; --region changes it"
