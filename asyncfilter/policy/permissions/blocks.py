"""What commands do, each thing with the permissions that it needs: one row each, true to the requests that are sent.

HeadBucket, with which the region of a bucket is looked up, is not among them: S3 names the region in a denial too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from asyncfilter.job.model_arn import ModelArn
from asyncfilter.job.spec import TargetCheck
from asyncfilter.model import S3, ActionKind, location
from asyncfilter.policy.assumed import uses_assumed
from asyncfilter.policy.detectors import PROFILES
from asyncfilter.policy.permissions.arns import ANYTHING, literal, objects_arn
from asyncfilter.policy.permissions.places import JobPlaces, Place
from asyncfilter.policy.permissions.rows import Need
from asyncfilter.policy.reference_labels import references_of

_FORBIDDEN = "an object that is missing is reported as forbidden"
_TAGGED = "copies of objects that have tags fail (access_denied)"

_UNSEEN = "time is counted for one inference unit, and names in rules are compared with the answers alone"

_DETECT_LABELS = Need(
    action="rekognition:DetectLabels", resource=ANYTHING, statement="Detect", why="examine images; the paid calls"
)


# -- Blocks ------------------------------------------------------------------------------------------------------------


def listing(places: JobPlaces) -> Iterator[Need]:
    """Listing the source."""
    if places.source is not None:
        yield Need(
            action="s3:ListBucket",
            resource=places.source.bucket,
            statement="ListSource",
            why="list the images",
            prefix=places.source.prefix or None,
        )


def listed(places: JobPlaces) -> Iterator[Need]:
    """Reading the list of keys that a job has in place of a listing; the manifest and the files of an inventory."""
    if places.listed is not None:
        yield Need(
            action="s3:GetObject", resource=places.listed.objects, statement="ReadList", why="read the list of keys"
        )


def looking(places: JobPlaces) -> Iterator[Need]:
    """Looking at the objects of a list, of which some may be gone."""
    if places.job.source.listed is not None and places.source is not None:
        gone = "an object of the list that is gone fails, and is not skipped"
        yield replace(_find(places.source, "FindMissingInSource"), without=gone)


def reading(places: JobPlaces) -> Iterator[Need]:
    """Reading images, and decrypting them."""
    if places.source is None:
        return
    why = "read the images, also by Rekognition, which reads them as the caller"
    yield Need(action="s3:GetObject", resource=places.source.objects, statement="ReadSource", why=why)
    for key in places.facts.source_keys:
        yield Need(action="kms:Decrypt", resource=key, statement="DecryptSource", why="read encrypted images")


def detecting(places: JobPlaces) -> Iterator[Need]:
    """The paid call."""
    detector = places.job.detector
    profile = PROFILES[detector.kind]
    if not profile.is_service or not _calls_itself(places):
        return
    yield Need(
        action=f"rekognition:{profile.operation}",
        resource=(detector.model or ANYTHING) if profile.needs_model else ANYTHING,
        statement="Detect",
        why="examine images; the paid calls",
    )


def assuming(places: JobPlaces) -> Iterator[Need]:
    """Becoming the roles of lanes."""
    for lane in places.job.detector.lanes:
        if lane.role is not None:
            yield Need(
                action="sts:AssumeRole", resource=lane.role, statement="AssumeLanes", why="call as the role of a lane"
            )


def _calls_itself(places: JobPlaces) -> bool:
    """Whether the job's own credentials make paid calls: without lanes, at a lane of theirs, or for references."""
    lanes = places.job.detector.lanes
    return not lanes or any(lane.is_own for lane in lanes) or bool(references_of(places.job))


def own_model(places: JobPlaces) -> Iterator[Need]:
    """Fetching a model of one's own, with the files of weights whose names begin like its own."""
    detector = places.job.detector
    if detector.own is not None and (detector.model or "").startswith(S3):
        place = location(detector.model or "")
        yield Need(
            action="s3:GetObject",
            resource=objects_arn(places.facts.partition, place.bucket, f"{literal(place.key)}*"),
            statement="ReadModel",
            why="fetch the model of your own, and the files of weights beside it",
        )


def first_labels(places: JobPlaces) -> Iterator[Need]:
    """``init --examine``: labels of a few images of the source, whatever the detector of the job will be."""
    yield _DETECT_LABELS
    yield from reading(places)


def labels(places: JobPlaces) -> Iterator[Need]:
    """Of images that are not those of the job; some may be in its source."""
    yield _DETECT_LABELS
    for need in reading(places):
        yield replace(need, without="images of the source cannot be examined; files can")


def model(places: JobPlaces) -> Iterator[Need]:
    """Looking at the job's model and reading its evaluation, where the job has one; calls need neither."""
    detector = places.job.detector
    arn = ModelArn.match(detector.model or "") if PROFILES[detector.kind].needs_model else None
    is_assumed = uses_assumed(places.job)
    is_looked_at = detector.start is not None or places.job.pricing.inference_units is None
    if arn is None or not (is_looked_at or is_assumed):
        return
    why = "see whether the model runs, with how many units, and the labels of its evaluation"
    without = None if detector.start is not None or is_assumed else _UNSEEN
    project = (detector.model or "").partition(f"project/{arn.project}/")[0] + f"project/{arn.project}/*"
    for action, resource, statement in (
        ("rekognition:DescribeProjects", ANYTHING, "FindModel"),
        ("rekognition:DescribeProjectVersions", project, "DescribeModel"),
    ):
        yield Need(action=action, resource=resource, statement=statement, why=why, without=without)
    if is_assumed or places.job.pricing.inference_units is None:
        name = f"*EvaluationSummary-{literal(arn.project)}-{literal(arn.version)}.json"
        yield Need(
            action="s3:GetObject",
            resource=objects_arn(places.facts.partition, ANYTHING, name),
            statement="ReadEvaluation",
            why="read the thresholds and labels of the model, wherever its training wrote them",
            without=None if is_assumed else "names in rules are compared with the answers alone",
        )


def running(places: JobPlaces) -> Iterator[Need]:
    """Starting the job's model, and stopping it again."""
    detector = places.job.detector
    if detector.start is not None:
        for action in ("rekognition:StartProjectVersion", "rekognition:StopProjectVersion"):
            yield Need(
                action=action,
                resource=detector.model or ANYTHING,
                statement="RunModel",
                why="start the model, and stop it again",
            )


def quota(places: JobPlaces) -> Iterator[Need]:
    """The quota, where the job sets no rate, or a lane with the job's credentials has none."""
    lanes = places.job.detector.lanes
    own = [lane for lane in lanes if lane.is_own]
    if any(lane.tps is None for lane in own) if lanes else places.job.limits.tps is None:
        yield from own_quota(places)


def own_quota(places: JobPlaces) -> Iterator[Need]:
    """The quota of the job's detector, whatever the job sets; a model on this machine has none."""
    if PROFILES[places.job.detector.kind].is_service:
        yield from any_quota(places)


def any_quota(_places: JobPlaces) -> Iterator[Need]:
    """The quota, whatever the job is."""
    for action in ("servicequotas:GetServiceQuota", "servicequotas:GetAWSDefaultServiceQuota"):
        yield Need(
            action=action,
            resource=ANYTHING,
            statement="ReadQuota",
            why="read the quota in calls a second",
            without="the documented default of the region is used",
        )


def references(places: JobPlaces) -> Iterator[Need]:
    """Reading the references of ``like`` that are in S3."""
    for uri in references_of(places.job):
        if uri.startswith(S3):
            place = location(uri)
            yield Need(
                action="s3:GetObject",
                resource=objects_arn(places.facts.partition, place.bucket, literal(place.key)),
                statement="ReadReferences",
                why="read the reference images",
            )


def checking(places: JobPlaces) -> Iterator[Need]:
    """Of ``check_targets: write``; what IAM is asked otherwise is not granted, since it tells of all identities."""
    if places.job.check_targets is not TargetCheck.WRITE:
        return
    for target in (*places.copies, *places.moves):
        why = "check that targets can be written, before the first paid call"
        yield Need(action="s3:PutObject", resource=target.checks, statement="CheckTargets", why=why)
        without = "the empty object that is written for the check is left there"
        yield Need(action="s3:DeleteObject", resource=target.checks, statement="CheckTargets", why=why, without=without)
        yield from _encrypting(places, why)


def copying(places: JobPlaces) -> Iterator[Need]:
    """Copies, with their tags and with a look at the target where the job asks for one; also from and to folders."""
    for target in places.copies:
        yield from _write(places, target)
        if target.is_checked:
            yield from _look(places, target)
    if places.has(ActionKind.COPY):
        yield from reading(places)


def exporting(places: JobPlaces) -> Iterator[Need]:
    """Reading pictures in the source, or where they were copied or moved to."""
    yield from reading(places)
    for target in (*places.copies, *places.moves):
        for need in _look(places, target):
            is_find = need.without is not None
            yield need if is_find else replace(need, why="read images that left the source, or were replaced there")


def tagging(places: JobPlaces) -> Iterator[Need]:
    """Tags of the source's objects."""
    if places.source is None or not places.has(ActionKind.TAG):
        return
    yield from reading(places)
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


def removing(places: JobPlaces) -> Iterator[Need]:
    """``apply``: moves and deletes."""
    source = places.source
    if source is not None and places.has(ActionKind.MOVE, ActionKind.DELETE):
        yield from _versioning(source)
        yield from reading(places)
        yield _find(source, "FindMissingInSource")
    for target in places.moves:
        yield from _write(places, target)
        yield from _look(places, target)
    if source is not None and places.has(ActionKind.MOVE, ActionKind.DELETE):
        yield from _deleting(source)


def restoring(places: JobPlaces) -> Iterator[Need]:
    """``undo``: markers removed, moved images copied back, their copies deleted."""
    source = places.source
    if source is not None and places.has(ActionKind.MOVE, ActionKind.DELETE):
        yield from _finding(places, source)
    for target in places.moves:
        yield from _look(places, target)
        yield from _delete_copies(target)
        if source is not None:
            yield from _copy_tags(target, source)
    if source is not None and places.has(ActionKind.MOVE):
        yield Need(
            action="s3:PutObject", resource=source.objects, statement="WriteSource", why="copy moved images back"
        )
        for key in places.facts.source_keys:
            yield Need(
                action="kms:GenerateDataKey", resource=key, statement="EncryptSource", why="copy moved images back"
            )


def clearing(places: JobPlaces) -> Iterator[Need]:
    """``apply --stale``: copies that the rules no longer make are deleted."""
    source = places.source
    if source is not None and places.has(ActionKind.COPY):
        yield from _versioning(source)
        yield from reading(places)
        yield _find(source, "FindMissingInSource")
    for target in places.copies:
        yield from _look(places, target)
        yield from _delete_copies(target)


def sizes(places: JobPlaces) -> Iterator[Need]:
    """Boxes in pixels: the headers of images, or of the copies of those that left the source."""
    yield from reading(places)
    for target in (*places.copies, *places.moves):
        yield from _look(places, target)


def manifest_images(places: JobPlaces) -> Iterator[Need]:
    """The images of a manifest that was made of the job: in its source, or at its targets."""
    yield from reading(places)
    if places.source is not None:
        yield _find(places.source, "FindMissingInSource")
    for target in (*places.copies, *places.moves):
        yield from _look(places, target)


def simulating(_places: JobPlaces) -> Iterator[Need]:
    """``policy --check``: asking IAM."""
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


def opt_out(_places: JobPlaces) -> Iterator[Need]:
    """``doctor``: reading the organisation's policy."""
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


def _deleting(source: Place) -> Iterator[Need]:
    yield Need(
        action="s3:DeleteObject",
        resource=source.objects,
        statement="DeleteFromSource",
        why="delete images that were moved, or that the rules delete",
    )
    yield _listed_versions(source, "continue in a bucket with versions after an interruption")


def _finding(places: JobPlaces, source: Place) -> Iterator[Need]:
    yield from _versioning(source)
    yield from reading(places)
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
