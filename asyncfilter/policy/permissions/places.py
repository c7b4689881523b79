"""Where a job reads and writes in S3, as patterns of ARNs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asyncfilter.job.addresses import Placeholder, parse_template
from asyncfilter.job.spec import Action, Job, ListKind
from asyncfilter.model import S3, ActionKind, IfExists, StoreKind, location
from asyncfilter.policy.permissions.arns import ANYTHING, bucket_arn, key_pattern, literal, narrowed, objects_arn


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFacts:
    """What a job file does not say about the account and its buckets.

    Attributes:
        partition: Of the account.
        keeps_versions: Whether the source keeps versions of objects; None when that is not known.
        source_keys: ARNs of the KMS keys of objects in the source.
        target_keys: ARNs of the KMS keys with which targets are encrypted.
    """

    partition: str = "aws"
    keeps_versions: bool | None = None
    source_keys: tuple[str, ...] = ()
    target_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Objects in one bucket.

    Attributes:
        bucket: ARN of the bucket.
        objects: Pattern of the objects' ARNs.
        prefix: Pattern that the keys begin with; empty for the whole bucket.
        checks: Pattern of the ARNs of objects that are written for a check; empty where there are none.
        is_checked: The place of an object is looked at before it is written (``if_exists``).
    """

    bucket: str
    objects: str
    checks: str = ""
    prefix: str = ""
    is_checked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlaces:
    """The places of a job in S3.

    Attributes:
        job: The job.
        facts: About account and buckets.
        source: The images; None where they are not in S3.
        copies: Targets of copies.
        moves: Targets of moves.
        listed: The list of keys that the job reads; None where it has none in S3.
        states: Its state in S3, and that of people's answers; none where it has none.
    """

    job: Job
    facts: BucketFacts
    source: Place | None
    copies: tuple[Place, ...]
    moves: tuple[Place, ...]
    listed: Place | None = None
    states: tuple[Place, ...] = ()

    @classmethod
    def of(cls, job: Job, facts: BucketFacts) -> JobPlaces:
        """The places of ``job``."""
        return cls(
            job=job,
            facts=facts,
            source=_source(job, facts.partition),
            copies=tuple(_targets(job, facts.partition, ActionKind.COPY)),
            moves=tuple(_targets(job, facts.partition, ActionKind.MOVE)),
            listed=_listed(job, facts.partition),
            states=tuple(_states(job, facts.partition)),
        )

    def has(self, *kinds: ActionKind) -> bool:
        """Whether the job has an action of one of these kinds."""
        return any(action.kind in kinds for action in actions_of(self.job))


def actions_of(job: Job) -> Iterator[Action]:
    """Every action of a job, that of duplicates among them."""
    yield from job.actions.values()
    if job.duplicate is not None:
        yield job.duplicate


def _source(job: Job, partition: str) -> Place | None:
    source = job.source
    if source.store is not StoreKind.S3:
        return None
    prefix = literal(source.prefix)
    return Place(
        bucket=bucket_arn(partition, source.bucket),
        objects=objects_arn(
            partition, source.bucket, key_pattern([source.prefix, Placeholder.RELATIVE], prefix="", name="")
        ),
        prefix=prefix,
    )


def _listed(job: Job, partition: str) -> Place | None:
    """The object that is the list; of an inventory, what is below the folder that has its manifest and its files."""
    listed = job.source.listed
    if listed is None or not listed.address.startswith(S3):
        return None
    bucket, key = location(listed.address)
    pattern = literal(key)
    if listed.kind is ListKind.INVENTORY:
        # .../config-id/date/manifest.json beside .../config-id/data/ (S3 user guide, *Locating your inventory list*)
        pattern = literal("".join(f"{part}/" for part in key.split("/")[:-2])) + ANYTHING
    return Place(bucket=bucket_arn(partition, bucket), objects=objects_arn(partition, bucket, pattern))


def _states(job: Job, partition: str) -> Iterator[Place]:
    if job.state is None:
        return
    for held in ("state", "answers"):
        folder = literal(f"{job.state.prefix}{job.name}.{held}/")
        yield Place(
            bucket=bucket_arn(partition, job.state.bucket),
            objects=objects_arn(partition, job.state.bucket, folder + ANYTHING),
            prefix=folder + ANYTHING,
        )


def _targets(job: Job, partition: str, kind: ActionKind) -> Iterator[Place]:
    for action in actions_of(job):
        if action.kind is not kind or action.target is None:
            continue
        template = parse_template(action.target)
        if template.store is StoreKind.S3:
            pattern = key_pattern(template.parts, prefix=job.source.prefix, name=job.name)
            yield Place(
                bucket=bucket_arn(partition, template.bucket),
                objects=objects_arn(partition, template.bucket, pattern),
                checks=objects_arn(partition, template.bucket, narrowed(pattern)),
                is_checked=action.if_exists is not IfExists.OVERWRITE,
            )
