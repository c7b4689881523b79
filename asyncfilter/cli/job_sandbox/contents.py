"""The buckets, pictures, files, profiles and the model that jobs need of a sandbox."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from asyncfilter.cli.job_sandbox.keys import SampleKeys
from asyncfilter.cli.job_sandbox.labels import SampleLabels, detection_of, names_of, reference_labels
from asyncfilter.cli.job_sandbox.lists import keys_of_list, list_in_s3
from asyncfilter.errors import UsageError
from asyncfilter.job.addresses import parse_template
from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.spec import Job, nested_conditions
from asyncfilter.model import FOLDER, S3, StoreKind, folder_of, location, store_of, uri_of
from asyncfilter.onnx.label_names import label_name
from asyncfilter.policy.assumed import with_thresholds
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.reference_labels import references_of, resolved
from asyncfilter.sandbox import BucketSpec, DrawnSpec

_SUBJECT = "Robin"
"""What a reference shows that is in no folder with a name."""


class LocalPicture(NamedTuple):
    """A picture that is to be drawn in a file of this machine, so that a client can send it."""

    path: Path
    spec: DrawnSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What jobs need of a sandbox.

    Attributes:
        buckets: Sources, targets, and buckets of references and states.
        drawn: Pictures, stored and local.
        local: The local ones: of sources whose folder is empty or missing, and missing references.
        profiles: AWS profiles that the jobs name, but for those of lanes.
        lane_profiles: Those of lanes, each of which has an account of its own.
        model_arn: The Custom Labels model of the first job that has one.
        model_thresholds: Its labels with their assumed thresholds.
        starts_model: Whether that job starts it, so that it must not run.
    """

    buckets: tuple[BucketSpec, ...]
    drawn: tuple[DrawnSpec, ...]
    local: tuple[LocalPicture, ...]
    profiles: tuple[str, ...]
    lane_profiles: tuple[str, ...]
    model_arn: str | None
    model_thresholds: tuple[tuple[str, float], ...]
    starts_model: bool


def contents_for(jobs: Sequence[Job], *, pictures: int, seed: int) -> Contents:
    """What the jobs need.

    Args:
        jobs: Loaded jobs.
        pictures: How many pictures each source has.
        seed: That of the sandbox.

    Raises:
        UsageError: A source is in a store that a program provides, or a rule could not use the labels of references.
    """
    found: dict[tuple[str, str], DrawnSpec] = {}
    for spec in chain.from_iterable(_pictures(job, pictures, seed) for job in jobs):
        found.setdefault((spec.bucket, spec.key), spec)
    local = [_local(spec) for spec in found.values() if store_of(spec.bucket) is StoreKind.FOLDER]
    stored = [spec for spec in found.values() if store_of(spec.bucket) is StoreKind.S3]
    trained = next((job for job in jobs if PROFILES[job.detector.kind].needs_model), None)
    detector = None if trained is None else trained.detector
    return Contents(
        buckets=tuple(dict.fromkeys(chain.from_iterable(map(_buckets, jobs)))),
        drawn=(*stored, *(picture.spec for picture in local)),
        local=tuple(local),
        profiles=tuple(dict.fromkeys(job.aws.profile for job in jobs if job.aws.profile)),
        lane_profiles=tuple(dict.fromkeys(lane.profile for job in jobs for lane in job.detector.lanes if lane.profile)),
        model_arn=None if detector is None else detector.model,
        model_thresholds=() if trained is None else _thresholds(trained),
        starts_model=detector is not None and detector.start is not None,
    )


def _pictures(job: Job, pictures: int, seed: int) -> Iterator[DrawnSpec]:
    """References that are not there yet, then the pictures of the source."""
    job = with_thresholds(job, dict(_thresholds(job)))
    references = {uri: reference_labels(_subject(uri), random.Random(f"{seed} {uri}")) for uri in references_of(job)}
    for uri, shown in references.items():
        place = location(uri if uri.startswith(S3) else uri_of(FOLDER, uri.removeprefix("/")))
        if place.store is StoreKind.S3 or not Path(uri).exists():
            yield DrawnSpec(place.bucket, place.key, shown.subject, shown.labels)
    if _is_to_fill(job):
        plain = resolved(job, {uri: detection_of(shown) for uri, shown in references.items()})
        yield from _source_pictures(plain, pictures, seed)


def _thresholds(job: Job) -> tuple[tuple[str, float], ...]:
    """Assumed thresholds for the labels in the rules, as a training would choose them."""
    names = sorted({name for rule in job.rules for one in nested_conditions(rule.conditions) for name in names_of(one)})
    return tuple((name, round(random.Random(f"threshold of {name}").uniform(0.3, 0.7), 3)) for name in names)


def _is_to_fill(job: Job) -> bool:
    """Whether the source needs pictures: a folder with anything in it is left as it is.

    Raises:
        UsageError: The source is in a store that a program provides.
    """
    if job.source.store is StoreKind.OWN:
        raise UsageError(
            f"{job.path}: the source {job.source.bucket} is in a store that a program provides",
            hint="Name a job whose source is in S3 or in a folder.",
        )
    folder = job.source.folder
    return folder is None or not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _source_pictures(job: Job, pictures: int, seed: int) -> Iterator[DrawnSpec]:
    """Pictures that the source includes, where its globs allow any, and a text file that it does not include."""
    bucket, keys, labels = job.source.bucket, SampleKeys(job.source), SampleLabels(job, seed)
    folder = job.source.folder
    place = uri_of(bucket, job.source.prefix) if folder is None else os.path.relpath(folder)
    chance = random.Random(f"{seed} {place}")
    listed = keys_of_list(job.source, pictures)
    named: list[str] = []
    for number in range(1, (len(listed) if listed else pictures) + 1):
        shown = labels.draw(chance)
        named.append(listed[number - 1] if listed else keys.named(number, shown.subject))
        yield DrawnSpec(bucket, named[-1], shown.subject, shown.labels)
    yield from list_in_s3(job.source, named)
    if (notes := keys.left_out("notes.txt")) is not None:
        yield DrawnSpec(bucket, notes, "")


def _local(spec: DrawnSpec) -> LocalPicture:
    """The file of a picture; its path in place of the key makes it differ from those of other folders.

    The path is that from the working directory: the same command draws the same pictures wherever it is given.
    """
    path = folder_of(spec.bucket) / spec.key
    return LocalPicture(path, spec._replace(bucket="", key=os.path.relpath(path)))


def _subject(uri: str) -> str:
    """What a reference shows: what its folder is named after."""
    folder = uri.removeprefix(S3).rpartition("/")[0].partition("/")[2].rpartition("/")[2]
    return label_name(folder) if folder.replace("-", "").replace("_", "").isalpha() else _SUBJECT


def _first_lane(job: Job) -> str | None:
    return job.detector.lanes[0].region if job.detector.lanes else None


def _buckets(job: Job) -> Iterator[BucketSpec]:
    """All buckets of a job, in the region where its images are examined."""
    model = ModelArn.match(job.detector.model) if job.detector.model else None
    region = job.detector.region or (model.region if model else None) or _first_lane(job) or job.aws.region or ""
    targets = [action.target for action in (*job.actions.values(), job.duplicate) if action and action.target]
    listed = job.source.listed
    lists = [location(listed.address).bucket] if listed is not None and listed.address.startswith(S3) else []
    states = [] if job.state is None else [job.state.bucket]
    names = [job.source.bucket, *lists, *(parse_template(target).bucket for target in targets), *states]
    names += [location(uri).bucket for uri in references_of(job) if uri.startswith(S3)]
    names += [] if job.state is None else [job.state.bucket]
    yield from (BucketSpec(name, region) for name in names if store_of(name) is StoreKind.S3)
