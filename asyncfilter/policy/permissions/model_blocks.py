"""What the ``model`` commands do, each thing with the permissions that it needs: one row each.

A job says which model it uses and which bucket its images are in, not where trainings write: the results are expected
in the bucket of the images. ``model permissions`` takes buckets in place of a job, and grants all commands at once.

Sources: Service Authorization Reference, Amazon Rekognition; Custom Labels guide, *Set up Custom Labels permissions*.
"""

from __future__ import annotations

from collections.abc import Iterator

from asyncfilter.job.model_arn import ModelArn
from asyncfilter.policy.permissions.arns import ANYTHING, bucket_arn, objects_arn
from asyncfilter.policy.permissions.bucket_policy import images_bucket
from asyncfilter.policy.permissions.places import JobPlaces
from asyncfilter.policy.permissions.rows import Need

MANIFESTS = "asyncfilter/manifests/"
"""Where ``model import`` puts manifests by default, in the bucket of the images."""

_ASKED = "the guide asks for it in the caller's policy; what the service does without is not published"


def finding(_places: JobPlaces) -> Iterator[Need]:
    """Finding a project by its name."""
    yield Need(
        action="rekognition:DescribeProjects", resource=ANYTHING, statement="FindProject", why="find the project"
    )


def creating(places: JobPlaces) -> Iterator[Need]:
    """A new project."""
    yield _of_project(places, "CreateProject", "CreateProject", "make the project")


def versions(places: JobPlaces) -> Iterator[Need]:
    """Looking at models."""
    yield _of_project(places, "DescribeProjectVersions", "DescribeModels", "see the state of models")


def datasets(places: JobPlaces) -> Iterator[Need]:
    """Looking at datasets."""
    yield _of_project(places, "DescribeDataset", "DescribeDatasets", "see the state of datasets, and count them")


def importing(places: JobPlaces) -> Iterator[Need]:
    """Datasets of manifests, by reference and by entries; the service reads the manifests as the caller."""
    for action, why in (
        ("CreateDataset", "make the datasets"),
        ("DeleteDataset", "make anew a dataset whose manifest could not be read"),
    ):
        yield _of_project(places, action, "ImportDatasets", why)
    yield from distributing(places)
    yield from entries(places)
    bucket = images_bucket(places.job)
    if bucket is None:
        return
    manifests = objects_arn(places.facts.partition, bucket, f"{MANIFESTS}*")
    for action, why in (
        ("s3:PutObject", "put manifests where the service reads them"),
        ("s3:GetObject", "see whether a manifest is there; the service reads it as the caller"),
    ):
        yield Need(action=action, resource=manifests, statement="Manifests", why=why)
    yield Need(
        action="s3:ListBucket",
        resource=bucket_arn(places.facts.partition, bucket),
        statement="FindMissingManifests",
        why="tell a manifest that is not there yet from a forbidden one",
    )


def distributing(places: JobPlaces) -> Iterator[Need]:
    """``--auto-split``."""
    without = "`--auto-split` is refused"
    yield _of_project(places, "DistributeDatasetEntries", "SplitDataset", "move a fifth to the test", without=without)


def entries(places: JobPlaces) -> Iterator[Need]:
    """Reading and writing lines of datasets."""
    for action, why in (
        ("ListDatasetEntries", "read lines of datasets"),
        ("UpdateDatasetEntries", "send lines to datasets"),
    ):
        yield _of_project(places, action, "DatasetEntries", why)


def training(places: JobPlaces) -> Iterator[Need]:
    """A training: the service reads the images and writes the results as the caller."""
    yield _of_project(places, "CreateProjectVersion", "TrainModel", "train; the paid call")
    bucket = images_bucket(places.job)
    if bucket is None:
        return
    partition = places.facts.partition
    objects, of_bucket = objects_arn(partition, bucket, ANYTHING), bucket_arn(partition, bucket)
    for action, resource, statement, why in (
        (
            "s3:GetObject",
            objects,
            "ReadTrainingImages",
            "the service reads images, manifests and results as the caller",
        ),
        ("s3:PutObject", objects, "WriteResults", "the service writes the results of a training as the caller"),
    ):
        yield Need(action=action, resource=resource, statement=statement, why=why)
    for action, resource in (
        ("s3:GetObjectAcl", objects),
        ("s3:GetObjectVersion", objects),
        ("s3:GetObjectTagging", objects),
        ("s3:ListBucket", of_bucket),
        ("s3:GetBucketAcl", of_bucket),
        ("s3:GetBucketLocation", of_bucket),
    ):
        why = "the service may look at bucket and images as the caller"
        yield Need(action=action, resource=resource, statement="LookAtImages", why=why, without=_ASKED)
    for key in (*places.facts.source_keys, *places.facts.target_keys):
        yield Need(action="kms:Decrypt", resource=key, statement="UseKeys", why="read encrypted images")
        yield Need(action="kms:GenerateDataKey", resource=key, statement="UseKeys", why="write encrypted results")


def results(places: JobPlaces) -> Iterator[Need]:
    """Reading the results of a training, and the images that are shown with them."""
    bucket = images_bucket(places.job)
    if bucket is not None:
        partition = places.facts.partition
        yield Need(
            action="s3:GetObject",
            resource=objects_arn(partition, bucket, ANYTHING),
            statement="ReadResults",
            why="read the evaluation, and the images of its page",
        )
        yield Need(
            action="s3:ListBucket",
            resource=bucket_arn(partition, bucket),
            statement="FindMissingResults",
            why="tell a missing file from a forbidden one",
            without="a file that is missing is reported as forbidden",
        )


def starting(places: JobPlaces) -> Iterator[Need]:
    """A start under a lease, with the permission to end it."""
    yield _of_project(places, "StartProjectVersion", "StartModel", "start the model; it is paid for by the hour")
    yield from stopping(places)


def stopping(places: JobPlaces) -> Iterator[Need]:
    """A stop by name."""
    yield _of_project(places, "StopProjectVersion", "StopModel", "stop the model")


def deleting(places: JobPlaces) -> Iterator[Need]:
    """Versions, datasets and the project, which must be stopped and empty before."""
    for action, why in (
        ("DeleteProjectVersion", "delete versions"),
        ("DeleteDataset", "delete datasets"),
        ("DeleteProject", "delete the project"),
    ):
        yield _of_project(places, action, "DeleteModels", why)
    without = "`--stop` is refused"
    yield _of_project(places, "StopProjectVersion", "StopBeforeDelete", "stop models that run", without=without)


def _of_project(places: JobPlaces, action: str, statement: str, why: str, *, without: str | None = None) -> Need:
    """A permission on the project of the job's model, or on all projects where the job has none."""
    model = places.job.detector.model or ""
    arn = ModelArn.match(model)
    project = f"arn:{places.facts.partition}:rekognition:*:*:project/*"
    if arn is not None:
        project = f"{model.partition(f'project/{arn.project}/')[0]}project/{arn.project}/*"
    return Need(action=f"rekognition:{action}", resource=project, statement=statement, why=why, without=without)
