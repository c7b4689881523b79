"""The permissions of lanes, each for the identity that calls there, and the bucket policy for those of other accounts.

A lane with the job's own credentials needs what is in the job's policy, too. A lane with a role or a profile calls as
another identity. In another account it reads images by reference only if the bucket lets it, beside its own policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from asyncfilter.job.spec import Job, LaneSpec
from asyncfilter.policy.permissions.blocks import any_quota, detecting, reading
from asyncfilter.policy.permissions.document import VERSION, Document, Statement, statements
from asyncfilter.policy.permissions.places import BucketFacts, JobPlaces
from asyncfilter.policy.permissions.rows import Need

_BYTES = "a lane in another region than the bucket's gets bytes and does not need it"


def lane_needs(job: Job, facts: BucketFacts) -> Mapping[str, tuple[Need, ...]]:
    """The permissions of the identity of each lane, by its name; empty without lanes."""
    places = JobPlaces.of(replace(job, detector=replace(job.detector, lanes=())), facts)
    return {lane.name: tuple(_needs(lane, places)) for lane in job.detector.lanes}


def _needs(lane: LaneSpec, places: JobPlaces) -> Iterator[Need]:
    yield from detecting(places)
    if lane.tps is None:
        yield from any_quota(places)
    for need in reading(places):
        # Without `convert` all lanes are in the region of the bucket.
        yield replace(need, without=_BYTES) if places.job.convert else need


def lanes_bucket_policy(job: Job, facts: BucketFacts) -> Document | None:
    """The policy of the images' bucket that lets the identities of lanes read; None where all are the job's own.

    The account of a profile is not in the job file: ``ACCOUNT-OF-PROFILE`` stands for it.
    """
    places = JobPlaces.of(job, facts)
    if places.source is None:
        return None
    found: list[Statement] = []
    for lane in job.detector.lanes:
        if not lane.is_own:
            [statement] = statements([need for need in reading(places) if need.action == "s3:GetObject"])
            name = f"ReadAsLane{re.sub('[^A-Za-z0-9]', '', lane.name)}{len(found) + 1}"
            principal = lane.role or f"arn:{facts.partition}:iam::ACCOUNT-OF-{lane.profile}:root"
            allowed: Statement = {"Sid": name, "Effect": "Allow", "Principal": {"AWS": principal}}
            found.append({**allowed, "Action": statement["Action"], "Resource": statement["Resource"]})
    return {"Version": VERSION, "Statement": found} if found else None
