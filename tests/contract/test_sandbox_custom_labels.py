"""The control plane of the sandbox's Custom Labels, driven by boto3: states, order rules, limits, errors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from asyncfilter.policy.permissions.models import ModelPlaces, model_policy
from asyncfilter.sandbox import BucketSpec, DenyRule, Sandbox, parse_fault
from asyncfilter.sandbox.custom_labels.names import CONTROL_OPERATIONS
from asyncfilter.sandbox.custom_labels.operations import OPERATIONS
from asyncfilter.sandbox.faults import LATE_S
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from tests.contract.test_sandbox_rekognition import refusal
from tests.kit.pace import one_moment
from tests.kit.pictures import plain

Open = Callable[..., Sandbox]
Client = Callable[..., Any]
CREATED = "2026-11-27T10:00:00.000"
OUTPUT = {"S3Bucket": "models", "S3KeyPrefix": "out"}


def label_line(key: str, *labels: str, bucket: str = "pics") -> dict[str, Any]:
    """A line with image-level labels."""
    line: dict[str, Any] = {"source-ref": f"s3://{bucket}/{key}"}
    for number, label in enumerate(labels):
        line[f"label{number}"] = 1
        line[f"label{number}-metadata"] = {
            "class-name": label,
            "confidence": 1,
            "type": "groundtruth/image-classification",
            "job-name": f"labeling-job/label{number}",
            "human-annotated": "yes",
            "creation-date": CREATED,
        }
    return line


def manifest(lines: Iterable[dict[str, Any]]) -> bytes:
    """JSON Lines."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


LOOK_S = 0.02
"""Pause between two looks at a training, whose thread needs the processor."""
LINES = [label_line(f"{label}/{number}.jpg", label) for label in ("jay", "robin") for number in range(10)]


class Service:
    """A client of one sandbox, and what the tests do with it again and again."""

    def __init__(self, sandbox: Sandbox, api: Any) -> None:
        self.sandbox = sandbox
        self.api = api

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.sandbox.clock.advance(seconds)

    def project(self, name: str = "birds") -> str:
        """A new project."""
        return str(self.api.create_project(ProjectName=name)["ProjectArn"])

    def begin_dataset(self, project: str, kind: str = "TRAIN", lines: Iterable[dict[str, Any]] | None = None) -> str:
        """A dataset whose creation has begun: of lines, or empty."""
        source = {}
        if lines is not None:
            self.sandbox.put("pics", f"{kind}.manifest", manifest(lines))
            place = {"S3Object": {"Bucket": "pics", "Name": f"{kind}.manifest"}}
            source = {"DatasetSource": {"GroundTruthManifest": place}}
        made = self.api.create_dataset(ProjectArn=project, DatasetType=kind, **source)
        return str(made["DatasetArn"])

    def dataset(self, project: str, kind: str = "TRAIN", lines: Iterable[dict[str, Any]] | None = None) -> str:
        """A dataset that is there."""
        arn = self.begin_dataset(project, kind, lines)
        assert self.settled(arn)["Status"] == "CREATE_COMPLETE"
        return arn

    def look(self, dataset: str) -> dict[str, Any]:
        """The description of a dataset."""
        described: dict[str, Any] = self.api.describe_dataset(DatasetArn=dataset)["DatasetDescription"]
        return described

    def settled(self, dataset: str) -> dict[str, Any]:
        """The description of a dataset after its change."""
        self.wait(60)
        while (described := self.look(dataset))["Status"].endswith("IN_PROGRESS"):
            time.sleep(LOOK_S)
        return described

    def update(self, dataset: str, lines: Iterable[dict[str, Any]]) -> None:
        """Begin an update."""
        self.api.update_dataset_entries(DatasetArn=dataset, Changes={"GroundTruth": manifest(lines)})

    def train(self, project: str, name: str = "v1", **more: Any) -> str:
        """A version whose training has begun."""
        made = self.api.create_project_version(ProjectArn=project, VersionName=name, **{"OutputConfig": OUTPUT, **more})
        return str(made["ProjectVersionArn"])

    def version(self, project: str, name: str = "v1") -> dict[str, Any]:
        """The description of a version."""
        found = self.api.describe_project_versions(ProjectArn=project, VersionNames=[name])
        described: dict[str, Any] = found["ProjectVersionDescriptions"][0]
        return described

    def trained(self, project: str, name: str = "v1") -> str:
        """A version that is trained."""
        arn = self.train(project, name)
        self.wait(3600)
        while (status := self.version(project, name)["Status"]) == "TRAINING_IN_PROGRESS":
            time.sleep(LOOK_S)
        assert status == "TRAINING_COMPLETED", self.version(project, name)
        return arn

    def ready(self, name: str = "birds") -> str:
        """A project with both datasets."""
        project = self.project(name)
        self.dataset(project, "TRAIN", LINES)
        self.dataset(project, "TEST", [label_line(f"{label}/test.jpg", label) for label in ("jay", "robin")])
        return project

    def start(self, version: str, units: int = 1, **more: Any) -> Any:
        """Begin to start a version."""
        return self.api.start_project_version(ProjectVersionArn=version, MinInferenceUnits=units, **more)


@pytest.fixture
def open_service(open_sandbox: Open, client: Client) -> Callable[..., Service]:
    """A function that starts a sandbox with pictures."""

    def start(**options: Any) -> Service:
        sandbox = open_sandbox(buckets=(BucketSpec("pics"), BucketSpec("models")), **options)
        for label, shade in (("jay", 60), ("robin", 200)):
            for name in (*range(10), "test"):
                sandbox.put(
                    "pics", f"{label}/{name}.jpg", plain("JPEG", 80, 80, colour=f"#{shade:02x}{shade:02x}{shade:02x}")
                )
        return Service(sandbox, client("rekognition", sandbox))

    return start


@pytest.fixture
def service(open_service: Callable[..., Service]) -> Service:
    """A sandbox with pictures, and a client."""
    return open_service()


def code(act: Callable[[], object]) -> str:
    """The code of the error that ``act`` must raise."""
    return refusal(act)[0]


# Projects


def test_the_names_of_the_operations_are_those_of_the_table() -> None:
    """What faults, denials and quotas name is what is served."""
    assert set(CONTROL_OPERATIONS) == set(OPERATIONS)


def test_a_project_comes_and_goes(service: Service) -> None:
    """A name is taken once; a project is gone when it is not listed any more, and its name is free again."""
    arn = service.project()
    assert code(service.project) == "ResourceInUseException"
    (found,) = service.api.describe_projects()["ProjectDescriptions"]
    assert (found["ProjectArn"], found["Status"], found["Datasets"]) == (arn, "CREATING", [])
    service.wait(2)
    assert service.api.describe_projects(ProjectNames=["birds"])["ProjectDescriptions"][0]["Status"] == "CREATED"
    assert service.api.delete_project(ProjectArn=arn)["Status"] == "DELETING"
    assert code(partial(service.api.delete_project, ProjectArn=arn)) == "ResourceInUseException"
    service.wait(5)
    assert service.api.describe_projects()["ProjectDescriptions"] == []
    assert code(partial(service.api.delete_project, ProjectArn=arn)) == "ResourceNotFoundException"
    assert service.project() != arn


def test_projects_are_listed_in_pages(service: Service) -> None:
    """Newest first; a bad token is refused; no account has more than 100."""
    arns = [service.project(f"p{number}") for number in range(99)]
    pages = service.api.get_paginator("describe_projects").paginate(PaginationConfig={"PageSize": 40})
    found = [each["ProjectArn"] for page in pages for each in page["ProjectDescriptions"]]
    assert found == arns[::-1]
    assert code(partial(service.api.describe_projects, NextToken="x")) == "InvalidPaginationTokenException"
    assert code(partial(service.api.describe_projects, MaxResults=101)) == "ValidationException"
    assert code(partial(service.project, "p 1")) == "ValidationException"


def test_the_given_model_is_found_by_name_alone(service: Service) -> None:
    """Who asks for all projects is not shown a running model that nobody started; its project has its own number."""
    project = DEFAULT_MODEL_ARN.partition("/version/")[0] + "/1767225600000"
    assert service.api.describe_projects()["ProjectDescriptions"] == []
    named = service.api.describe_projects(ProjectNames=["sandbox"])["ProjectDescriptions"]
    assert [each["ProjectArn"] for each in named] == [project]


# Datasets


def test_a_dataset_is_made_of_a_manifest(service: Service) -> None:
    """It has one entry a line; its labels are counted; only one of a type can be there."""
    project = service.project()
    arn = service.begin_dataset(project, lines=LINES)
    assert service.look(arn)["Status"] == "CREATE_IN_PROGRESS"
    assert code(partial(service.api.list_dataset_entries, DatasetArn=arn)) == "ResourceNotReadyException"
    assert code(partial(service.api.list_dataset_labels, DatasetArn=arn)) == "ResourceNotReadyException"
    assert code(partial(service.api.delete_dataset, DatasetArn=arn)) == "ResourceInUseException"
    assert code(partial(service.begin_dataset, project)) == "ResourceAlreadyExistsException"
    described = service.settled(arn)
    assert (described["Status"], described["StatusMessageCode"]) == ("CREATE_COMPLETE", "SUCCESS")
    assert described["DatasetStats"] == {
        "LabeledEntries": 20,
        "TotalEntries": 20,
        "TotalLabels": 2,
        "ErrorEntries": 0,
    }
    labels = service.api.list_dataset_labels(DatasetArn=arn)["DatasetLabelDescriptions"]
    assert [(each["LabelName"], each["LabelStats"]["EntryCount"]) for each in labels] == [("jay", 10), ("robin", 10)]
    service.api.delete_dataset(DatasetArn=arn)
    assert service.look(arn)["Status"] == "DELETE_IN_PROGRESS"
    service.wait(5)
    assert code(partial(service.look, arn)) == "ResourceNotFoundException"


def test_entries_are_listed_and_filtered(service: Service) -> None:
    """By label, by part of the source-ref, by being labelled; at most 100 a page."""
    lines = [*LINES, {"source-ref": "s3://pics/bare.jpg"}, *[label_line(f"m/{n}.jpg", "wren") for n in range(100)]]
    arn = service.dataset(service.project(), lines=lines)
    pages = service.api.get_paginator("list_dataset_entries")

    def count(**filters: Any) -> int:
        return sum(len(page["DatasetEntries"]) for page in pages.paginate(DatasetArn=arn, **filters))

    assert count() == 121
    assert count(ContainsLabels=["jay", "wren"]) == 110
    assert count(SourceRefContains="jay/") == 10
    assert (count(Labeled=True), count(Labeled=False)) == (120, 1)
    assert count(HasErrors=True) == 0
    first = json.loads(service.api.list_dataset_entries(DatasetArn=arn, MaxResults=1)["DatasetEntries"][0])
    assert {name: first[name] for name in LINES[0]} == LINES[0]


def test_an_update_replaces_and_adds(service: Service) -> None:
    """By source-ref; a second update while one is under way is refused."""
    arn = service.dataset(service.project(), lines=LINES)
    service.update(arn, [label_line("jay/1.jpg", "robin"), label_line("new.jpg", "wren")])
    assert code(partial(service.update, arn, LINES)) == "ResourceInUseException"
    assert code(partial(service.api.list_dataset_entries, DatasetArn=arn)) == "ResourceInUseException"
    assert code(partial(service.api.delete_dataset, DatasetArn=arn)) == "ResourceInUseException"
    described = service.settled(arn)
    assert (described["Status"], described["DatasetStats"]["TotalEntries"]) == ("UPDATE_COMPLETE", 21)
    labels = service.api.list_dataset_labels(DatasetArn=arn)["DatasetLabelDescriptions"]
    assert {each["LabelName"]: each["LabelStats"]["EntryCount"] for each in labels} == {
        "jay": 9,
        "robin": 11,
        "wren": 1,
    }


def test_changes_have_a_size(service: Service) -> None:
    """5 MB are taken, a byte more is not, and nothing is not either."""
    arn = service.dataset(service.project())
    line = manifest([label_line("jay/1.jpg", "jay")])
    room = 5 * 1024 * 1024

    def send(blob: bytes) -> object:
        return service.api.update_dataset_entries(DatasetArn=arn, Changes={"GroundTruth": blob})

    assert code(partial(send, line + b" " * (room + 1 - len(line)))) == "ValidationException"
    assert code(partial(send, b"")) == "ValidationException"
    send(line + b"\n" * (room - len(line)))
    assert service.settled(arn)["Status"] == "UPDATE_FAILED"


def test_a_dataset_is_copied(service: Service) -> None:
    """Into another project; the copy is its own."""
    source = service.dataset(service.project("one"), lines=LINES)
    made = service.api.create_dataset(
        ProjectArn=service.project("two"), DatasetType="TRAIN", DatasetSource={"DatasetArn": source}
    )
    assert service.settled(made["DatasetArn"])["DatasetStats"]["TotalEntries"] == 20


def test_a_manifest_that_is_not_there(service: Service) -> None:
    """A missing object is refused at once; a file without extension fails."""
    project = service.project()

    def create(name: str) -> Any:
        place = {"GroundTruthManifest": {"S3Object": {"Bucket": "pics", "Name": name}}}
        return service.api.create_dataset(ProjectArn=project, DatasetType="TRAIN", DatasetSource=place)

    assert code(partial(create, "nothing.manifest")) == "InvalidS3ObjectException"
    service.sandbox.put("pics", "bare", manifest(LINES))
    described = service.settled(create("bare")["DatasetArn"])
    assert (described["Status"], described["StatusMessageCode"]) == ("CREATE_FAILED", "CLIENT_ERROR")
    assert described["StatusMessage"] == "The manifest file extension or contents are invalid."


def test_a_fifth_goes_to_the_test(service: Service) -> None:
    """Of each label; the test dataset must be empty, and the training dataset come first."""
    project = service.project()
    train = service.dataset(project, lines=LINES)
    test = service.begin_dataset(project, "TEST")

    def distribute(*arns: str) -> object:
        return service.api.distribute_dataset_entries(Datasets=[{"Arn": arn} for arn in arns])

    assert code(partial(distribute, train, test)) == "ResourceNotReadyException"
    service.settled(test)
    assert code(partial(distribute, test, train)) == "InvalidParameterException"
    assert code(partial(distribute, train)) == "ValidationException"
    distribute(train, test)
    assert [service.look(arn)["Status"] for arn in (train, test)] == ["UPDATE_IN_PROGRESS"] * 2
    assert code(partial(distribute, train, test)) == "ResourceNotReadyException"
    assert [service.settled(arn)["DatasetStats"]["TotalEntries"] for arn in (train, test)] == [16, 4]
    labels = service.api.list_dataset_labels(DatasetArn=test)["DatasetLabelDescriptions"]
    assert [each["LabelStats"]["EntryCount"] for each in labels] == [2, 2]
    assert code(partial(distribute, train, test)) == "InvalidParameterException"


def test_a_label_of_one_image_cannot_be_distributed(service: Service) -> None:
    """Both datasets fail and nothing moves."""
    project = service.project()
    train = service.dataset(project, lines=[*LINES, label_line("wren.jpg", "wren")])
    test = service.dataset(project, "TEST")
    service.api.distribute_dataset_entries(Datasets=[{"Arn": train}, {"Arn": test}])
    for arn, total in ((train, 21), (test, 0)):
        described = service.settled(arn)
        assert (described["Status"], described["DatasetStats"]["TotalEntries"]) == ("UPDATE_FAILED", total)
        assert "doesn't have enough labeled images" in described["StatusMessage"]


# Versions


def test_a_version_is_trained_started_stopped_deleted(service: Service) -> None:
    """States in their order, each from its own time on, however late it is looked at."""
    project = service.ready()
    arn = service.train(project)
    assert service.version(project)["Status"] == "TRAINING_IN_PROGRESS"
    assert code(partial(service.start, arn)) == "ResourceInUseException"
    assert code(partial(service.api.stop_project_version, ProjectVersionArn=arn)) == "ResourceInUseException"
    assert code(partial(service.api.delete_project_version, ProjectVersionArn=arn)) == "ResourceInUseException"
    service.wait(36_000)
    while (trained := service.version(project))["Status"] == "TRAINING_IN_PROGRESS":
        time.sleep(LOOK_S)
    assert trained["Status"] == "TRAINING_COMPLETED"
    assert trained["BillableTrainingTimeInSeconds"] == 1800
    took = trained["TrainingEndTimestamp"] - trained["CreationTimestamp"]
    assert took.total_seconds() == pytest.approx(1800, abs=1) or took.total_seconds() > 35_000  # the work was slower
    assert "MinInferenceUnits" not in trained
    assert service.start(arn, 2, MaxInferenceUnits=3)["Status"] == "STARTING"
    starting = service.version(project)
    assert [starting[name] for name in ("Status", "MinInferenceUnits", "MaxInferenceUnits")] == ["STARTING", 2, 3]
    assert code(partial(service.start, arn)) == "ResourceInUseException"
    assert code(partial(service.api.stop_project_version, ProjectVersionArn=arn)) == "ResourceInUseException"
    service.wait(480)
    assert service.version(project)["Status"] == "RUNNING"
    assert code(partial(service.api.delete_project_version, ProjectVersionArn=arn)) == "ResourceInUseException"
    assert service.api.stop_project_version(ProjectVersionArn=arn)["Status"] == "STOPPING"
    assert code(partial(service.start, arn)) == "ResourceInUseException"
    service.wait(120)
    assert service.version(project)["Status"] == "STOPPED"
    assert service.start(arn)["Status"] == "STARTING"
    service.wait(480)
    service.api.stop_project_version(ProjectVersionArn=arn)
    service.wait(120)
    assert service.api.delete_project_version(ProjectVersionArn=arn)["Status"] == "DELETING"
    service.wait(5)
    assert service.api.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"] == []


def test_what_a_training_needs(service: Service) -> None:
    """A new name, datasets that are ready, no manifests beside datasets, and one of both without."""
    project = service.project()
    assert code(partial(service.train, project)) == "InvalidParameterException"
    train = service.begin_dataset(project, lines=LINES)
    assert code(partial(service.train, project)) == "ResourceInUseException"
    service.settled(train)
    assets = [{"GroundTruthManifest": {"S3Object": {"Bucket": "pics", "Name": "TRAIN.manifest"}}}]
    both: dict[str, Any] = {"TrainingData": {"Assets": assets}, "TestingData": {"AutoCreate": True}}
    assert code(partial(service.train, project, **both)) == "InvalidParameterException"
    service.train(project)
    assert code(partial(service.train, project)) == "ResourceInUseException"
    assert code(partial(service.train, project.replace("birds", "none"))) == "ResourceNotFoundException"
    service.train(service.project("bare"), **both)


def test_two_trainings_and_two_running_models(service: Service) -> None:
    """A third of either is over the limit until one has ended; so are six units."""
    projects = [service.ready(f"p{number}") for number in range(3)]
    versions = [service.train(project) for project in projects[:2]]
    assert code(partial(service.train, projects[2])) == "LimitExceededException"
    service.wait(3600)
    for project in projects[:2]:
        while service.version(project)["Status"] == "TRAINING_IN_PROGRESS":
            time.sleep(LOOK_S)
    versions.append(service.trained(projects[2]))
    assert code(partial(service.start, versions[0], 6)) == "LimitExceededException"
    assert code(partial(service.start, versions[0], 1, MaxInferenceUnits=6)) == "LimitExceededException"
    assert code(partial(service.start, versions[0], 2, MaxInferenceUnits=1)) == "InvalidParameterException"
    service.start(versions[0])
    service.wait(480)
    service.start(versions[1])
    assert code(partial(service.start, versions[2])) == "LimitExceededException"
    service.api.stop_project_version(ProjectVersionArn=versions[0])
    assert code(partial(service.start, versions[2])) == "LimitExceededException"
    service.wait(120)
    service.start(versions[2])


def test_one_training_in_sydney(open_service: Callable[..., Service]) -> None:
    """The region has a limit of its own."""
    service = open_service(region="ap-southeast-2")
    service.train(service.ready("one"))
    assert code(partial(service.train, service.ready("two"))) == "LimitExceededException"


def test_a_project_is_deleted_last(service: Service) -> None:
    """Models first, datasets next."""
    project = service.ready()
    arn = service.trained(project)
    delete = partial(service.api.delete_project, ProjectArn=project)
    assert refusal(delete)[:2] == ("ResourceInUseException", f"Project {project} has model versions")
    service.api.delete_project_version(ProjectVersionArn=arn)
    service.wait(5)
    assert refusal(delete)[:2] == ("ResourceInUseException", f"Project {project} has datasets")
    for each in service.api.describe_projects()["ProjectDescriptions"][0]["Datasets"]:
        service.api.delete_dataset(DatasetArn=each["DatasetArn"])
    service.wait(5)
    assert delete()["Status"] == "DELETING"


def test_a_version_is_copied(service: Service) -> None:
    """Within the account; the copy can run."""
    project = service.ready()
    source = service.trained(project)
    copy = service.api.copy_project_version(
        SourceProjectArn=project,
        SourceProjectVersionArn=source,
        DestinationProjectArn=service.project("other"),
        VersionName="v1",
        OutputConfig=OUTPUT,
    )["ProjectVersionArn"]
    assert code(partial(service.start, copy)) == "ResourceInUseException"
    service.wait(300)
    assert service.start(copy)["Status"] == "STARTING"


def test_versions_are_listed_newest_first(service: Service) -> None:
    """All, or those of the names."""
    project = service.ready()
    for name in ("v1", "v2", "v3"):
        service.trained(project, name)
    described = service.api.describe_project_versions(ProjectArn=project)["ProjectVersionDescriptions"]
    assert [each["ProjectVersionArn"].split("/")[3] for each in described] == ["v3", "v2", "v1"]
    some = service.api.describe_project_versions(ProjectArn=project, VersionNames=["v1", "v4"])
    assert len(some["ProjectVersionDescriptions"]) == 1


def test_the_waiters_of_botocore_work(open_service: Callable[..., Service], client: Client) -> None:
    """Unchanged but for their delay, at a speed that makes a training a second."""
    service = open_service(speed=2000)
    project = service.project()
    for kind, lines in (("TRAIN", LINES), ("TEST", LINES[::5])):
        dataset = service.begin_dataset(project, kind, lines)
        service.settled(dataset)
    arn = service.train(project)
    names = {"ProjectArn": project, "VersionNames": ["v1"], "WaiterConfig": {"Delay": 0.2}}
    service.api.get_waiter("project_version_training_completed").wait(**names)
    service.start(arn)
    service.api.get_waiter("project_version_running").wait(**names)
    assert service.version(project)["Status"] == "RUNNING"


# Tags and policies


def test_tags_and_policies(service: Service) -> None:
    """Both are kept with their resource."""
    project = service.api.create_project(ProjectName="birds", Tags={"team": "a"})["ProjectArn"]
    service.api.tag_resource(ResourceArn=project, Tags={"cost": "7"})
    service.api.untag_resource(ResourceArn=project, TagKeys=["team"])
    assert service.api.list_tags_for_resource(ResourceArn=project)["Tags"] == {"cost": "7"}
    put = partial(service.api.put_project_policy, ProjectArn=project, PolicyName="p", PolicyDocument="{}")
    revision = put()["PolicyRevisionId"]
    assert code(put) == "ResourceAlreadyExistsException"
    assert code(partial(put, PolicyRevisionId="0")) == "InvalidPolicyRevisionIdException"
    assert code(partial(put, PolicyDocument="[")) == "MalformedPolicyDocumentException"
    listed = service.api.list_project_policies(ProjectArn=project)["ProjectPolicies"]
    assert [each["PolicyRevisionId"] for each in listed] == [revision]
    service.api.delete_project_policy(ProjectArn=project, PolicyName="p")
    assert service.api.list_project_policies(ProjectArn=project)["ProjectPolicies"] == []


# Trouble


def test_a_lost_answer_has_its_effect(open_service: Callable[..., Service]) -> None:
    """The call that creates is executed; the same call afterwards finds what it made."""
    service = open_service(faults=(parse_fault("reset:CreateProjectVersion=1x"),))
    project = service.ready()
    with pytest.raises(Exception, match="Connection was closed"):
        service.train(project)
    assert service.version(project)["Status"] == "TRAINING_IN_PROGRESS"
    assert code(partial(service.train, project)) == "ResourceInUseException"


def test_faults_and_denials_reach_single_resources(open_service: Callable[..., Service]) -> None:
    """By the part of the ARN that has names."""
    faults = (parse_fault("throttle:Describe*@project/birds*=1x"), parse_fault("internal:DescribeProjects=1x"))
    service = open_service(faults=faults, deny=(DenyRule("StopProjectVersion"),))
    assert refusal(service.api.describe_projects)[0::2] == ("InternalServerError", 500)
    bees, birds = service.project("bees"), service.project("birds")
    service.api.describe_project_versions(ProjectArn=bees)
    describe = partial(service.api.describe_project_versions, ProjectArn=birds)
    assert code(describe) == "ProvisionedThroughputExceededException"
    assert describe()["ProjectVersionDescriptions"] == []
    stop = partial(service.api.stop_project_version, ProjectVersionArn=DEFAULT_MODEL_ARN)
    assert code(stop) == "AccessDeniedException"


def test_the_quota_of_the_control_plane(
    open_service: Callable[..., Service], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five calls a second of one operation; boto3's own repetition gets over it."""
    service = open_service(control_tps=5)
    project = service.project()
    call = partial(service.api.describe_project_versions, ProjectArn=project)
    with one_moment(monkeypatch):
        for _ in range(5):
            call()
        assert code(call) == "ProvisionedThroughputExceededException"
        service.api.describe_projects()
    patient = client("rekognition", service.sandbox, config=Config(retries={"total_max_attempts": 6}))
    patient.describe_project_versions(ProjectArn=project)


def test_malformed_requests(service: Service) -> None:
    """Values out of bounds are refused before anything is looked up."""
    for call in (
        partial(service.api.describe_dataset, DatasetArn="arn:aws:rekognition:us-east-1:123456789012:project/x/1"),
        partial(service.start, DEFAULT_MODEL_ARN, 0),
        partial(service.api.create_dataset, ProjectArn=service.project(), DatasetType="OTHER"),
        partial(service.train, service.project("b"), "a name"),
    ):
        assert code(call) in {"ValidationException", "SerializationException"}
    with pytest.raises(ClientError, match="UnknownOperation"):
        service.api.create_collection(CollectionId="x")


def test_late_twice_or_never(open_service: Callable[..., Service]) -> None:
    """A late answer is whole; a call that is carried out twice is refused the second time, and has its effect."""
    texts = ("twice:CreateProject=1x", "late:DescribeProjects=1x", "LimitExceededException:StartProjectVersion=1x")
    service = open_service(faults=tuple(map(parse_fault, texts)))
    assert code(service.project) == "ResourceInUseException"
    began_s = time.monotonic()
    (found,) = service.api.describe_projects()["ProjectDescriptions"]
    assert time.monotonic() - began_s >= LATE_S
    assert ":project/birds/" in found["ProjectArn"]
    assert code(partial(service.start, DEFAULT_MODEL_ARN)) == "LimitExceededException"
    assert code(partial(service.start, DEFAULT_MODEL_ARN)) == "ResourceInUseException"
    operations = service.sandbox.stats().operations
    assert operations["CreateProject"].faulted == {"twice": 1}
    assert operations["StartProjectVersion"].faulted == {"LimitExceededException": 1}


def test_the_policy_of_the_commands_allows_the_path(service: Service) -> None:
    """All that a caller needs by ``model permissions`` is what the sandbox asks for; without it, nothing goes."""
    places = ModelPlaces(buckets=["pics"], output="models")
    service.sandbox.set_policy(model_policy(places))
    project = service.ready()
    arn = service.trained(project)
    service.start(arn)
    service.wait(480)
    image = {"S3Object": {"Bucket": "pics", "Name": "jay/1.jpg"}}
    assert service.api.detect_custom_labels(ProjectVersionArn=arn, Image=image, MinConfidence=0)["CustomLabels"]
    assert service.sandbox.keys("models")
    allowed = model_policy(ModelPlaces(buckets=["pics"], output="pics"))
    service.sandbox.set_policy(allowed)
    service.train(project, "v2")
    service.wait(1800)
    while (described := service.version(project, "v2"))["Status"] == "TRAINING_IN_PROGRESS":
        time.sleep(LOOK_S)
    assert described["StatusMessage"] == "Unable to write to output S3 bucket."
    service.sandbox.set_policy({"Version": "2012-10-17", "Statement": []})
    assert code(partial(service.project, "bees")) == "AccessDeniedException"
