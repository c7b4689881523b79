"""Checks of ``detector.lanes`` that concern several keys at once; as in ``checks``, on the unvalidated document."""

from __future__ import annotations

import re
from collections.abc import Iterator

from asyncfilter.job.yaml_positions import Path

Mapping = dict[str, object]
Finding = tuple[Path, str]

LANES: Path = ("detector", "lanes")
"""The path of the list of lanes."""

_NAME = re.compile(r"[A-Za-z0-9._/-]{1,64}\Z")
_OF_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/")


def default_name(region: str, profile: str | None, role: str | None) -> str:
    """The name of a lane that has none: REGION, REGION/PROFILE, or REGION/ACCOUNT of the role."""
    account = _OF_ROLE.match(role) if role is not None else None
    owner = account[1] if account is not None else profile
    return region if owner is None else f"{region}/{owner}"


def check_lanes(job: Mapping) -> Iterator[Finding]:
    """Every contradiction between the lanes of ``job``, and between lanes and other keys."""
    detector = _mapping(job.get("detector"))
    lanes = detector.get("lanes")
    if not isinstance(lanes, list):
        return
    found = [_mapping(lane) for lane in lanes]
    yield from _beside(job, detector)
    for index, lane in enumerate(found):
        yield from _credentials(lane, (*LANES, index))
    yield from _equal(found, _mapping(job.get("aws")).get("profile"))
    yield from _names(found)


def _beside(job: Mapping, detector: Mapping) -> Iterator[Finding]:
    """Keys that every lane has for itself."""
    region = detector.get("region")
    if region is not None:
        yield ("detector", "region"), f"expected no region beside lanes, each of which has its own, found {region!r}"
    tps = _mapping(job.get("limits")).get("tps", "auto")
    if tps != "auto":
        yield (
            ("limits", "tps"),
            f"expected auto beside detector.lanes, each of which has a tps of its own, found {tps!r}",
        )
    if _mapping(job.get("pricing")).get("tiers") is not None:
        yield ("pricing", "tiers"), "expected no tiers beside detector.lanes; give each lane its own tiers"


def _credentials(lane: Mapping, path: Path) -> Iterator[Finding]:
    if lane.get("profile") is not None and lane.get("role") is not None:
        yield (*path, "role"), "expected profile or role, found both; a role is assumed with the job's credentials"
    if lane.get("external_id") is not None and lane.get("role") is None:
        yield (*path, "external_id"), "expected role beside external_id, which is sent when that is assumed"


def _equal(lanes: list[Mapping], own_profile: object) -> Iterator[Finding]:
    """Lanes that would call the same region of one account, as far as the job tells."""
    seen: dict[tuple[object, ...], int] = {}
    for index, lane in enumerate(lanes):
        region, profile, role = lane.get("region"), lane.get("profile"), lane.get("role")
        if not all(isinstance(value, str | None) for value in (region, profile, role)) or region is None:
            continue  # the schema reports it
        key = (region, None if profile == own_profile else profile, role)
        first = seen.setdefault(key, index)
        if first != index:
            wanted = (
                f"expected another region or other credentials than lanes[{first}], whose quota this lane would share"
            )
            yield (*LANES, index, "region"), f"{wanted}, found {region!r}"


def _names(lanes: list[Mapping]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, lane in enumerate(lanes):
        given, region, profile, role = (lane.get(key) for key in ("name", "region", "profile", "role"))
        if (
            given is None
            and isinstance(region, str)
            and isinstance(profile, str | None)
            and isinstance(role, str | None)
        ):
            name = default_name(region, profile, role)
            if _NAME.match(name) is None:
                what = "expected a name of 1 to 64 of A-Z, a-z, 0-9, ., _, / and -, as the default is none"
                yield (*LANES, index, "name"), f"{what}, found {name!r}"
        elif isinstance(given, str):
            name = given
        else:
            continue  # the schema reports it
        first = seen.setdefault(name, index)
        if first != index:
            yield (*LANES, index, "name"), f"expected another name than that of lanes[{first}], found {name!r}"


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, dict) else {}
