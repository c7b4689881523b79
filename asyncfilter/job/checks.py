"""Checks that concern several keys of a job file at once.

These checks read the unvalidated document and skip values of a wrong type, since the schema reports those. So all
problems of a file are found at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeGuard

from asyncfilter.job.addresses import Placeholder, Template, absolute_template, parse_source, parse_template
from asyncfilter.job.lane_checks import LANES, check_lanes
from asyncfilter.job.schema import ASSUMED, SOURCE_KEYS, as_list, wrap_uri
from asyncfilter.job.spec import DetectorKind
from asyncfilter.job.yaml_positions import Path
from asyncfilter.model import S3, ActionKind, S3Location, StoreKind, Verdict, location, store_of
from asyncfilter.printable import is_text

LINK = "link"
"""The key in a job for a copy that is a hard link."""

AUTO = "auto"

_VERDICTS = [str(verdict) for verdict in Verdict]
_BEYOND_NAMES = {"category": "categories", "count": "boxes", "area": "boxes"}
"""Parts of a condition that need more than the names of labels, and what it is."""
_PARTS = {"any", "all", "none", "category", "count", "area", "like", "not"}

Finding = tuple[Path, str]
Mapping = dict[str, object]


def check(job: object, base_dir: str = "/") -> Iterator[Finding]:
    """Every contradiction between keys of ``job``, as path and message; folders are relative to ``base_dir``."""
    if isinstance(job, dict):
        for part in (_source_form, _ranges, _rules, _assumed, _names_alone, _prices, check_lanes, _cluster):
            yield from part(job)
        yield from _actions(job, base_dir)
        yield from _state(job, base_dir)
        yield from _paths(job, base_dir)


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, dict) else {}


def as_items(value: object) -> list[object]:
    """The items of a list; of any other value, none."""
    return value if isinstance(value, list) else []


def _cluster(job: Mapping) -> Iterator[Finding]:
    workers = _mapping(_mapping(job.get("cluster")).get("workers"))
    least, most = workers.get("min", 1), workers.get("max")
    if _is_number(least) and _is_number(most) and most < least:
        yield ("cluster", "workers", "max"), f"expected at least min, which is {least}, found {most}"


def _source_form(job: Mapping) -> Iterator[Finding]:
    """Which of the keys that say where the images are stand together."""
    source = wrap_uri(job.get("source"))
    if not isinstance(source, dict):
        return
    uri, is_list, is_inventory = source.get("uri"), source.get("list") is not None, source.get("inventory") is not None
    if is_list and is_inventory:
        yield ("source", "inventory"), "expected list or inventory, found both"
    elif uri is None and not (is_list or is_inventory) and source.keys() <= SOURCE_KEYS:
        yield ("source", "uri"), "this key is missing; expected s3://bucket/prefix, or a folder such as ./photos"
    if source.get("column") is not None and not is_list:
        yield ("source", "column"), "expected list beside column, which is one of its columns"
    if not isinstance(uri, str):
        return
    kind = StoreKind.FOLDER if _is_folder_address(uri) else store_of(uri)
    if is_inventory and kind is not StoreKind.S3:
        yield ("source", "uri"), f"expected s3://bucket/prefix beside inventory, which is of a bucket, found {uri!r}"
    elif is_list and kind is StoreKind.OWN:
        yield ("source", "uri"), f"expected s3://bucket/prefix or a folder beside list, found {uri!r}"


def _ranges(job: Mapping) -> Iterator[Finding]:
    """Ranges of keys where nothing is listed in ranges: of a folder, a list, or a store of the caller's own."""
    source = wrap_uri(job.get("source"))
    ranges = source.get("ranges") if isinstance(source, dict) else None
    if not (ranges == AUTO or (_is_number(ranges) and ranges > 1)):
        return
    uri = source.get("uri")
    if source.get("list") is not None or source.get("inventory") is not None:
        why = "beside a list of keys, which is not listed"
    elif not isinstance(uri, str) or (not _is_folder_address(uri) and store_of(uri) is StoreKind.S3):
        return
    else:
        why = "for a folder, which is read at once" if _is_folder_address(uri) else "for a store of your own"
    yield ("source", "ranges"), f"expected 1 {why}, as only S3 is listed in ranges, found {ranges}"


def _is_folder_address(uri: str) -> bool:
    try:
        return parse_source(uri, "/").store is StoreKind.FOLDER
    except ValueError:
        return False  # the schema reports it


def _rules(job: Mapping) -> Iterator[Finding]:
    for index, rule in enumerate(as_items(job.get("rules"))):
        if isinstance(rule, dict):
            given = [verdict for verdict in _VERDICTS if verdict in rule]
            if len(given) > 1 or not rule:
                found = " and ".join(given) or "none"
                yield ("rules", index), f"expected one verdict (keep, review or reject) in a rule, found {found}"
            for verdict in given:
                yield from _conditions(rule[verdict], ("rules", index, verdict))


def _conditions(value: object, path: Path) -> Iterator[Finding]:
    for index, condition in enumerate(as_list(value)):
        where = (*path, index) if isinstance(value, list) else path
        if not isinstance(condition, dict):
            continue
        if condition.keys() <= {"confidence", "ignore"}:
            found = f"{' and '.join(condition)} alone" if condition else "nothing"
            yield where, f"expected a condition with any, all, none, category, count, area, like or not, found {found}"
        elif "ignore" in condition and "like" not in condition:
            yield (*where, "ignore"), "expected like beside ignore, which lists labels that like must not use"
        for part in ("count", "area"):
            if isinstance(condition.get(part), dict):
                yield from _range(condition[part], (*where, part))
        if "not" in condition:
            yield from _conditions(condition["not"], (*where, "not"))


def _assumed(job: Mapping) -> Iterator[Finding]:
    """Where ``confidence: assumed`` has no model whose thresholds it could stand for."""
    if _kind(job) not in (DetectorKind.REKOGNITION, DetectorKind.ONNX):
        return  # a kind that does not exist is reported alone
    model = f"a model ({DetectorKind.CUSTOM_LABELS} as detector.kind) has thresholds of its own"
    for where, condition in _every_condition(job):
        if condition.get("confidence") == ASSUMED:
            yield (*where, "confidence"), f"expected a number from 0 to 100, as only {model}, found {ASSUMED}"


def _names_alone(job: Mapping) -> Iterator[Finding]:
    """Conditions that need more than names and confidences, beside a model that gives no more."""
    if _kind(job) != DetectorKind.ONNX:
        return
    for where, condition in _every_condition(job):
        for part, lacks in _BEYOND_NAMES.items():
            if condition.get(part) not in (None, []):
                why = f"labels of a model of your own (kind: {DetectorKind.ONNX}) have no {lacks}"
                yield (*where, part), f"expected any, all, none or like, as {why}, found {part}"


def _kind(job: Mapping) -> object:
    return _mapping(job.get("detector")).get("kind", DetectorKind.REKOGNITION)


def _every_condition(job: Mapping) -> Iterator[tuple[Path, Mapping]]:
    for index, rule in enumerate(as_items(job.get("rules"))):
        for verdict in _VERDICTS:
            yield from _nested(_mapping(rule).get(verdict), ("rules", index, verdict))


def _nested(value: object, path: Path) -> Iterator[tuple[Path, Mapping]]:
    """Each condition, followed by those below its ``not``."""
    for index, condition in enumerate(as_list(value)):
        where = (*path, index) if isinstance(value, list) else path
        if isinstance(condition, dict):
            yield where, condition
            if "not" in condition:
                yield from _nested(condition["not"], (*where, "not"))


def _range(value: Mapping, path: Path) -> Iterator[Finding]:
    low, high = value.get("min"), value.get("max")
    if low is None and high is None:
        yield path, "expected min or max beside label, found neither"
    elif _is_number(low) and _is_number(high) and low > high:
        yield (*path, "min"), f"expected min at most max, found min {low} and max {high}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _actions(job: Mapping, base_dir: str) -> Iterator[Finding]:
    source = _source(job, base_dir)
    for verdict, action in _mapping(job.get("actions")).items():
        path: Path = ("actions", verdict)
        if verdict not in {*_VERDICTS, "duplicate"}:
            continue
        if "tag" in _mapping(action) and _is_local(source):
            yield (
                (*path, "tag"),
                "expected copy, link, move, delete or none, as files of a folder have no tags, found tag",
            )
        for form in (ActionKind.COPY, LINK, ActionKind.MOVE):
            text = _mapping(action).get(form)
            if isinstance(text, str) and (template := _template(text, base_dir)) is not None:
                found = [*_kind_of_target(source, template, form), *_target(job, source, verdict, template)]
                yield from (((*path, str(form)), message) for message in found)


def _state(job: Mapping, base_dir: str) -> Iterator[Finding]:
    """Where the state in S3 would be examined as an image, or be written over by an action."""
    found = {key: place for key in ("checkpoint", "checkpoint_copy") if (place := _state_place(job.get(key)))}
    if len(found) > 1:
        yield ("checkpoint_copy",), "expected no checkpoint_copy beside a checkpoint in S3, which is there already"
    source, name = _source(job, base_dir), job.get("name")
    for key, place in found.items():
        folder = f"{place.uri}{name}.state/" if isinstance(name, str) else place.uri
        if source is not None and source.store is StoreKind.S3 and folder.startswith(source.uri):
            yield (key,), f"expected a prefix outside the source {source.uri}, which would list it, found {place.uri}"
        for path, template in _targets(job, base_dir):
            if template.could_land_below(place, name if isinstance(name, str) else None):
                yield (
                    path,
                    f"expected a target outside the state {place.uri}, which it could overwrite, found {template}",
                )


def _state_place(value: object) -> S3Location | None:
    if not isinstance(value, str) or not value.startswith(S3):
        return None
    place = location(value)
    return place if not place.key or place.key.endswith("/") else place._replace(key=f"{place.key}/")


def _targets(job: Mapping, base_dir: str) -> Iterator[tuple[Path, Template]]:
    """The targets of all copies and moves, with their paths in the job."""
    for verdict, action in _mapping(job.get("actions")).items():
        for form in (ActionKind.COPY, ActionKind.MOVE):
            text = _mapping(action).get(form)
            if isinstance(text, str) and (template := _template(text, base_dir)) is not None:
                yield ("actions", verdict, str(form)), template


def _paths(job: Mapping, base_dir: str) -> Iterator[Finding]:
    """Folders and references whose path is not UTF-8, as the job file is in such a folder: they could not be stored."""
    if is_text(base_dir := os.path.abspath(base_dir)):  # noqa: PTH100  text, as everywhere here
        return
    where = f"found the job file in {os.fsencode(base_dir).decode('utf-8', 'backslashreplace')}"
    source = _source(job, base_dir)
    if source is not None and not is_text(source.uri):
        yield ("source",), f"expected a folder whose path is text in UTF-8, {where}"
    for verdict, action in _mapping(job.get("actions")).items():
        for form, text in _mapping(action).items():
            if isinstance(text, str) and (template := _template(text, base_dir)) and not is_text(str(template)):
                yield ("actions", verdict, form), f"expected a target whose path is text in UTF-8, {where}"
    for text in _references(job.get("rules")):
        if not text.startswith((S3, "/", "~")):
            yield ("rules",), f"expected a path in UTF-8 of the reference {text}, {where}"


def _references(value: object) -> Iterator[str]:
    """The text of every ``like`` in the rules."""
    if isinstance(value, dict):
        yield from (text for text in as_list(value.get("like")) if isinstance(text, str))
    for inner in value.values() if isinstance(value, dict) else as_items(value):
        yield from _references(inner)


def _is_local(place: S3Location | Template | None) -> bool:
    return place is not None and place.store is StoreKind.FOLDER


def _kind_of_target(source: S3Location | None, template: Template, form: str) -> Iterator[str]:
    """Images are copied and moved from any kind of store to any other; only a file can have a link."""
    if form == LINK and not _is_local(template):
        yield f"expected a folder, since only files can be linked, found {template}"
    elif form == LINK and source is not None and source.store is StoreKind.S3:
        yield f"expected copy in place of link, since only files can be linked and {source.uri} is in S3, found link"


def _target(job: Mapping, source: S3Location | None, verdict: str, template: Template) -> Iterator[str]:
    """Problems with the target of the images of one verdict."""
    name = job.get("name")
    beside = "a folder beside it" if _is_local(source) else "another bucket or a prefix beside the source's"
    if source is not None and template.could_land_below(source, name if isinstance(name, str) else None):
        yield (
            f"expected a destination outside the source {source.uri}, found {template}, which could land inside it and "
            f"be examined as well; use {beside}"
        )
    if Placeholder.LABEL in template.parts and verdict == "duplicate":
        yield f"expected no {{label}} in the action for duplicates, which have any verdict, found {template}"
    elif Placeholder.LABEL in template.parts and (why := _without_label(job, verdict)):
        yield f"expected a label for every {verdict}, as {template} uses {{label}}, found {why}"


def _without_label(job: Mapping, verdict: str) -> str | None:
    """How an image can get ``verdict`` without a label's name; None when it cannot."""
    if job.get("otherwise", Verdict.REJECT) == verdict:
        return f"otherwise: {verdict}, which has none"
    for index, rule in enumerate(as_items(job.get("rules"))):
        if isinstance(rule, dict) and verdict in rule and not any(map(_names_label, as_list(rule[verdict]))):
            return f"rules[{index}], which has none"
    return None


def _names_label(condition: object) -> bool:
    """Whether a condition that holds always has a matched label name; True for values of a wrong type."""
    if not isinstance(condition, dict):
        return True
    least = [_mapping(condition.get(part)).get("min") for part in ("count", "area")]
    return any(key in condition for key in ("any", "all", "category", "like")) or any(
        _is_number(low) and low for low in least
    )


def _template(text: str, base_dir: str) -> Template | None:
    try:
        return parse_template(absolute_template(text, base_dir))
    except ValueError:
        return None  # the schema reports it


def _source(job: Mapping, base_dir: str) -> S3Location | None:
    uri = _mapping(wrap_uri(job.get("source"))).get("uri")
    try:
        if isinstance(uri, str):
            return parse_source(uri, base_dir)
    except ValueError:
        pass  # the schema reports it
    return None


def _prices(job: Mapping) -> Iterator[Finding]:
    """The price lists of the job and of its lanes."""
    yield from _tiers(_mapping(job.get("pricing")).get("tiers"), ("pricing", "tiers"))
    for index, lane in enumerate(as_items(_mapping(job.get("detector")).get("lanes"))):
        yield from _tiers(_mapping(lane).get("tiers"), (*LANES, index, "tiers"))


def _tiers(value: object, path: Path) -> Iterator[Finding]:
    tiers = as_items(value)
    ends = [_mapping(tier).get("up_to") for tier in tiers]
    prices = [_mapping(tier).get("usd") for tier in tiers]
    for index, ((low, high), (dear, cheap)) in enumerate(zip(pairwise(ends), pairwise(prices), strict=True), start=1):
        if low is None or (_is_number(low) and _is_number(high) and high <= low):
            yield (*path, index, "up_to"), f"expected up_to to rise from tier to tier, found {high} after {low}"
        if _is_number(dear) and _is_number(cheap) and cheap > dear:
            yield (
                (*path, index, "usd"),
                f"expected prices that never rise from tier to tier, found {cheap} after {dear}",
            )
    if ends and ends[-1] is not None:
        yield (*path, len(ends) - 1, "up_to"), f"expected null in the last tier, which has no end, found {ends[-1]}"
