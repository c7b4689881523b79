"""The permissions that each command of a job needs: one row each, true to the requests that the program sends.

A block is a function that gives the rows of one thing that commands do. Which blocks a command has stands in
``_BLOCKS``. ``tests/contract/test_permissions.py`` compares the rows with the requests of whole runs.

HeadBucket, with which the region of a bucket is looked up, is not among them: S3 names the region in a denial too. Nor
is the question to IAM whether targets may be written (``check_targets: policy``), which is asked where it is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.spec import Job, TargetCheck
from asyncfilter.model import S3, ActionKind, location
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.permissions.arns import ANYTHING, literal, objects_arn
from asyncfilter.policy.permissions.places import BucketFacts, JobPlaces, Place
from asyncfilter.policy.reference_labels import references_of

_FORBIDDEN = "an object that is missing is reported as forbidden"
_TAGGED = "copies of objects that have tags fail (access_denied)"


class Command(StrEnum):
    """A command that uses an account, as it is typed."""

    LABELS = "labels"
    PLAN = "plan"
    SAMPLE = "plan --sample"
    BENCH = "bench"
    RUN = "run"
    REFILTER = "refilter"
    APPLY = "apply"
    STALE = "apply --stale"
    UNDO = "undo"
    QUOTA = "quota"
    STATUS = "status"
    EXPORT = "export"
    CHECK = "policy --check"
    DOCTOR = "doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One permission.

    Attributes:
        action: The IAM action, such as ``s3:GetObject``.
        resource: Pattern of the ARNs it is needed for.
        statement: Name of the statement that grants it.
        why: What it is needed for.
        without: What happens without it; None when the command cannot do its work then.
        prefix: Pattern of the key prefix that requests ask for (``s3:prefix``); None for any request.
        keeps_versions: True when only buckets with versions need it, False when only others do; None for all.
    """

    action: str
    resource: str
    statement: str
    why: str
    without: str | None = None
    prefix: str | None = None
    keeps_versions: bool | None = None


Block = Callable[[JobPlaces], Iterator[Need]]


def commands_of(job: Job) -> tuple[Command, ...]:
    """The commands that carry out a job, less those that it gives nothing to do."""
    places = JobPlaces.of(job, BucketFacts())
    removes = places.has(ActionKind.MOVE, ActionKind.DELETE)
    idle = set() if removes else {Command.APPLY, Command.UNDO}
    if not places.has(ActionKind.COPY):
        idle.add(Command.STALE)
    return tuple(command for command in _OF_A_JOB if command not in idle)


def needs_of(job: Job, commands: Iterable[Command], facts: BucketFacts) -> tuple[Need, ...]:
    """The permissions of some commands of a job, each once, in the order of the commands.

    Args:
        job: The job.
        commands: The commands.
        facts: What the job does not say about account and buckets.
    """
    places = JobPlaces.of(job, facts)
    found: dict[tuple[str, str, str | None], Need] = {}
    for command in commands:
        for block in _BLOCKS[command]:
            for need in block(places):
                if not _is_of_other_buckets(need, facts):
                    key = _key(need)
                    found[key] = _both(found[key], need) if key in found else need
    return tuple(found.values())


def commands_by_need(job: Job, commands: Iterable[Command], facts: BucketFacts) -> Mapping[Need, tuple[Command, ...]]:
    """The permissions of some commands, each with the commands that need it; arguments are those of ``needs_of``."""
    commands = tuple(commands)
    own = {command: {_key(need) for need in needs_of(job, [command], facts)} for command in commands}
    return {
        need: tuple(command for command in commands if _key(need) in own[command])
        for need in needs_of(job, commands, facts)
    }


def _key(need: Need) -> tuple[str, str, str | None]:
    return need.action, need.resource, need.prefix


def _is_of_other_buckets(need: Need, facts: BucketFacts) -> bool:
    return None not in {need.keeps_versions, facts.keeps_versions} and need.keeps_versions != facts.keeps_versions


def _both(one: Need, other: Need) -> Need:
    """One row for a permission that is needed twice: what one of them requires for all buckets is required."""
    versions = one.keeps_versions if one.keeps_versions == other.keeps_versions else None
    without = None if None in {one.without, other.without} else one.without
    return replace(one, without=without, keeps_versions=versions)


# -- Blocks ------------------------------------------------------------------------------------------------------------


def _listing(places: JobPlaces) -> Iterator[Need]:
    if places.source is not None:
        yield Need(
            action="s3:ListBucket",
            resource=places.source.bucket,
            statement="ListSource",
            why="list the images",
            prefix=places.source.prefix or None,
        )


def _reading(places: JobPlaces) -> Iterator[Need]:
    if places.source is None:
        return
    why = "read the images, also by Rekognition, which reads them as the caller"
    yield Need(action="s3:GetObject", resource=places.source.objects, statement="ReadSource", why=why)
    for key in places.facts.source_keys:
        yield Need(action="kms:Decrypt", resource=key, statement="DecryptSource", why="read encrypted images")


def _detecting(places: JobPlaces) -> Iterator[Need]:
    detector = places.job.detector
    profile = PROFILES[detector.kind]
    yield Need(
        action=f"rekognition:{profile.operation}",
        resource=(detector.model or ANYTHING) if profile.needs_model else ANYTHING,
        statement="Detect",
        why="examine images; the paid calls",
    )


def _labels(places: JobPlaces) -> Iterator[Need]:
    """Of images that are not those of the job; some may be in its source."""
    yield Need(
        action="rekognition:DetectLabels", resource=ANYTHING, statement="Detect", why="examine images; the paid calls"
    )
    for need in _reading(places):
        yield replace(need, without="images of the source cannot be examined; files can")


def _model(places: JobPlaces) -> Iterator[Need]:
    detector = places.job.detector
    arn = ModelArn.match(detector.model or "") if PROFILES[detector.kind].needs_model else None
    if arn is None or places.job.pricing.inference_units is not None:
        return
    why = "see whether the model runs, and its hourly price"
    project = (detector.model or "").partition(f"project/{arn.project}/")[0] + f"project/{arn.project}/*"
    yield Need(action="rekognition:DescribeProjects", resource=ANYTHING, statement="FindModel", why=why)
    yield Need(action="rekognition:DescribeProjectVersions", resource=project, statement="DescribeModel", why=why)


def _quota(places: JobPlaces) -> Iterator[Need]:
    if places.job.limits.tps is None:
        yield from _any_quota(places)


def _any_quota(_places: JobPlaces) -> Iterator[Need]:
    for action in ("servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"):
        yield Need(
            action=action,
            resource=ANYTHING,
            statement="ReadQuota",
            why="read the quota in calls a second",
            without="the documented default of the region is used",
        )


def _references(places: JobPlaces) -> Iterator[Need]:
    for uri in references_of(places.job):
        if uri.startswith(S3):
            place = location(uri)
            yield Need(
                action="s3:GetObject",
                resource=objects_arn(places.facts.partition, place.bucket, literal(place.key)),
                statement="ReadReferences",
                why="read the reference images",
            )


def _checking(places: JobPlaces) -> Iterator[Need]:
    """Of ``check_targets: write``; what IAM is asked otherwise is not granted, since it tells of all identities."""
    if places.job.check_targets is not TargetCheck.WRITE:
        return
    for target in (*places.copies, *places.moves):
        why = "check that targets can be written, before the first paid call"
        yield Need(action="s3:PutObject", resource=target.checks, statement="CheckTargets", why=why)
        without = "the empty object that is written for the check is left there"
        yield Need(action="s3:DeleteObject", resource=target.checks, statement="CheckTargets", why=why, without=without)
        yield from _encrypting(places, why)


def _copying(places: JobPlaces) -> Iterator[Need]:
    for target in places.copies:
        yield from _write(places, target)
        if target.is_checked:
            yield from _look(places, target)
    if places.copies:
        yield from _reading(places)


def _tagging(places: JobPlaces) -> Iterator[Need]:
    if places.source is None or not places.has(ActionKind.TAG):
        return
    yield from _reading(places)
    for action, keeps_versions in (
        ("s3:GetObjectTagging", False),
        ("s3:PutObjectTagging", False),
        ("s3:GetObjectVersionTagging", True),
        ("s3:PutObjectVersionTagging", True),
    ):
        yield Need(
            action=action,
            resource=places.source.objects,
            statement="TagSource",
            why="add tags to those that images have",
            keeps_versions=keeps_versions,
        )


def _removing(places: JobPlaces) -> Iterator[Need]:
    source = places.source
    if source is None or not places.has(ActionKind.MOVE, ActionKind.DELETE):
        return
    yield from _versioning(source)
    yield from _reading(places)
    yield _find(source, "FindMissingInSource")
    for target in places.moves:
        yield from _write(places, target)
        yield from _look(places, target)
    yield Need(
        action="s3:DeleteObject",
        resource=source.objects,
        statement="DeleteFromSource",
        why="delete images that were moved, or that the rules delete",
    )
    yield _listed_versions(source, "continue in a bucket with versions after an interruption")


def _restoring(places: JobPlaces) -> Iterator[Need]:
    source = places.source
    if source is None or not places.has(ActionKind.MOVE, ActionKind.DELETE):
        return
    yield from _versioning(source)
    yield from _reading(places)
    # Images that are to be brought back are missing: to be told so is required here.
    yield replace(_find(source, "FindMissingInSource"), without=None)
    yield _listed_versions(source, "find the delete markers of images")
    yield Need(
        action="s3:DeleteObjectVersion",
        resource=source.objects,
        statement="RemoveMarkers",
        why="bring images back by removing their delete markers",
        keeps_versions=True,
    )
    for target in places.moves:
        yield from _look(places, target)
        yield from _delete_copies(target)
        yield from _copy_tags(target, source)
    if places.moves:
        yield Need(
            action="s3:PutObject", resource=source.objects, statement="WriteSource", why="copy moved images back"
        )
        for key in places.facts.source_keys:
            yield Need(
                action="kms:GenerateDataKey", resource=key, statement="EncryptSource", why="copy moved images back"
            )


def _clearing(places: JobPlaces) -> Iterator[Need]:
    source = places.source
    if source is None or not places.copies:
        return
    yield from _versioning(source)
    yield from _reading(places)
    yield _find(source, "FindMissingInSource")
    for target in places.copies:
        yield from _look(places, target)
        yield from _delete_copies(target)


def _simulating(_places: JobPlaces) -> Iterator[Need]:
    for action, why in (
        ("iam:SimulatePrincipalPolicy", "ask IAM what the caller may do"),
        ("iam:GetRole", "find the role that the caller has assumed"),
    ):
        yield Need(
            action=action,
            resource=ANYTHING,
            statement="Simulate",
            why=why,
            without="only what harmless requests show is known",
        )


def _opt_out(_places: JobPlaces) -> Iterator[Need]:
    yield Need(
        action="organizations:DescribeEffectivePolicy",
        resource=ANYTHING,
        statement="ReadOptOut",
        why="see whether the organisation opts out of AWS keeping images",
        without="that is reported as unknown",
    )


# -- Parts of blocks ---------------------------------------------------------------------------------------------------


def _write(places: JobPlaces, target: Place) -> Iterator[Need]:
    yield Need(action="s3:PutObject", resource=target.objects, statement="WriteTargets", why="write copies")
    yield from _encrypting(places, "write copies, encrypted")
    if places.source is not None:
        yield from _copy_tags(places.source, target)


def _encrypting(places: JobPlaces, why: str) -> Iterator[Need]:
    for key in places.facts.target_keys:
        yield Need(action="kms:GenerateDataKey", resource=key, statement="EncryptTargets", why=why)


def _copy_tags(source: Place, target: Place) -> Iterator[Need]:
    for action, resource, statement in (
        ("s3:GetObjectTagging", source.objects, "ReadTagsToCopy"),
        ("s3:PutObjectTagging", target.objects, "WriteTagsToCopy"),
    ):
        why = "copy the tags of objects that have some"
        yield Need(action=action, resource=resource, statement=statement, why=why, without=_TAGGED)


def _look(places: JobPlaces, target: Place) -> Iterator[Need]:
    why = "look whether an object is at the target, and verify copies"
    yield Need(action="s3:GetObject", resource=target.objects, statement="ReadTargets", why=why)
    yield _find(target, "FindMissingInTargets")
    for key in places.facts.target_keys:
        yield Need(action="kms:Decrypt", resource=key, statement="DecryptTargets", why=why)


def _find(place: Place, statement: str) -> Need:
    return Need(
        action="s3:ListBucket",
        resource=place.bucket,
        statement=statement,
        why="tell a missing object from a forbidden one: S3 does so only for callers that may list the bucket",
        without=_FORBIDDEN,
    )


def _delete_copies(target: Place) -> Iterator[Need]:
    yield Need(action="s3:DeleteObject", resource=target.objects, statement="DeleteFromTargets", why="delete copies")


def _versioning(source: Place) -> Iterator[Need]:
    yield Need(
        action="s3:GetBucketVersioning",
        resource=source.bucket,
        statement="ReadVersioning",
        why="say before the question whether a delete can be undone",
        without="that is reported as unknown",
    )


def _listed_versions(source: Place, why: str) -> Need:
    return Need(
        action="s3:ListBucketVersions",
        resource=source.bucket,
        statement="ListVersions",
        why=why,
        prefix=f"{source.prefix.removesuffix(ANYTHING)}*" if source.prefix else None,
        keeps_versions=True,
    )


_EXAMINING: tuple[Block, ...] = (_model, _detecting, _reading, _references)

_BLOCKS: Mapping[Command, tuple[Block, ...]] = {
    Command.LABELS: (_any_quota, _labels),
    Command.PLAN: (_listing, _checking, _quota, _model),
    Command.SAMPLE: (_listing, _checking, _quota, *_EXAMINING),
    Command.BENCH: (_listing, _checking, _any_quota, *_EXAMINING),
    Command.RUN: (_listing, _checking, _quota, *_EXAMINING, _copying, _tagging),
    Command.REFILTER: (_listing, _checking, _copying, _tagging),
    Command.APPLY: (_removing,),
    Command.STALE: (_clearing,),
    Command.UNDO: (_restoring,),
    Command.QUOTA: (_any_quota,),
    Command.STATUS: (),
    Command.EXPORT: (),
    Command.CHECK: (_simulating,),
    Command.DOCTOR: (_any_quota, _opt_out),
}
"""What each command does."""

_OF_A_JOB = (
    Command.PLAN,
    Command.SAMPLE,
    Command.BENCH,
    Command.RUN,
    Command.REFILTER,
    Command.APPLY,
    Command.STALE,
    Command.UNDO,
)
