"""The policies of ``asyncfilter policy`` are true to the requests that are sent: nothing missing, nothing more.

Whole commands run over a sandbox that evaluates the policy for every request, and notes which permissions they needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from asyncfilter import Consent, apply, bench, label_references, plan, plan_apply, plan_undo, refilter, run, undo
from asyncfilter.aws import Endpoint
from asyncfilter.checkpoint import read_images
from asyncfilter.datasets.manifests.from_folders import FolderEntry
from asyncfilter.datasets.manifests.image_journal import ImageJournal
from asyncfilter.errors import AsyncFilterError, ImageError
from asyncfilter.job import Job
from asyncfilter.job.spec import Aws
from asyncfilter.model import ObjectRef, S3Location, Verdict, uri_of
from asyncfilter.policy.permissions import BucketFacts, Command, Need, needs_of, policy_document
from asyncfilter.records.answers import Subject
from asyncfilter.records.images import StoredImage
from asyncfilter.review.originals import StoredOriginals
from asyncfilter.review.rows import CardRow
from asyncfilter.sandbox import BucketSpec, Sandbox, SandboxOptions
from asyncfilter.sandbox.iam.documents import matches
from asyncfilter.sandbox.options import DEFAULT_MODEL_ARN
from asyncfilter.state.names import place_of
from asyncfilter.testing.state_store import MemoryStateStore
from asyncfilter.wiring.equal_images import list_contents
from asyncfilter.wiring.examining import WorkerSpec, open_ports, worker_spec
from asyncfilter.wiring.first_look import label_sample, look_at
from asyncfilter.wiring.image_contents import read_contents
from asyncfilter.wiring.image_looks import look_at_images
from asyncfilter.wiring.image_readers import ImageReaders, WantedImage
from asyncfilter.wiring.image_sizes import read_sizes
from asyncfilter.wiring.manifests import list_entries
from asyncfilter.wiring.states import (
    Where,
    for_reading,
    look_at_state,
    open_state_store,
    plan_pruning,
    prune_state,
    pull_state,
)
from tests.kit import jobs
from tests.kit.pictures import plain
from tests.kit.services import serving, set_faults
from tests.kit.states import HandMade, put_answers

ROBINS, CATS, DOGS = ("robin/1.jpg", "robin/2.jpg"), ("cat/1.jpg", "cat/2.jpg"), ("dog/1.jpg", "dog/2.jpg")
IMAGES = (*ROBINS, *CATS, *DOGS)
RULES = [{"keep": {"any": "Robin"}}, {"review": {"any": "Cat"}}]
COPIES = {"keep": {"copy": "s3://clean/robin/{key}"}}
REMOVALS = {"review": {"move": "s3://quarantine/{name}/{relative}"}, "reject": "delete"}
ALL = 1.0

Verb = Callable[[Job], Awaitable[bool]]
"""Carries out one command; true when all that it had to do was done."""


async def ran(job: Job) -> bool:
    """``run``."""
    summary = await run(job)
    return summary.exit_code == 0


async def planned(job: Job) -> bool:
    """``plan``."""
    return bool((await plan(job)).plan_inputs.survey.listed)


async def sampled(job: Job) -> bool:
    """``plan --sample``."""
    sample = (await plan(job, sample=4)).sample
    return sample is not None and sample.exit_code == 0 and not sample.this_run.failed


async def benched(job: Job) -> bool:
    """``bench``."""
    summary = (await bench(job, seconds_s=0.3, tps=50)).summary
    return summary.exit_code == 0 and not summary.this_run.failed


async def worked(job: Job) -> bool:
    """What a worker of a fleet does with one image."""
    body = worker_spec(job, region="us-east-1", bucket_region="us-east-1", sends_files=True)
    async with AsyncExitStack() as stack:
        ports = await open_ports(msgspec.msgpack.decode(body, type=WorkerSpec), stack)
        image = ObjectRef(bucket="raw", key=f"{job.source.prefix}{ROBINS[0]}", size_bytes=1, etag="", seq=1)
        return bool((await ports.detector.detect(image)).labels)


async def refiltered(job: Job) -> bool:
    """``refilter``."""
    return (await refilter(job)).exit_code == 0


async def applied(job: Job, *, stale: bool = False) -> bool:
    """``apply``."""
    images = (await plan_apply(job, stale=stale)).images
    summary = await apply(job, Consent(images=images, max_share=ALL), stale=stale)
    return bool(images) and summary.exit_code == 0


async def undone(job: Job) -> bool:
    """``undo``."""
    images = (await plan_undo(job)).images
    summary = await undo(job, Consent(images=images, max_share=ALL))
    return bool(images) and summary.exit_code == 0


async def exported(job: Job) -> bool:
    """``export --format webdataset --verdict keep --verdict review``."""
    images = [one for one in read_images(job.checkpoint) if one.decision and one.decision.verdict != Verdict.REJECT]
    received = Received()
    await read_contents(images, received, job)
    return bool(images) and received.added == len(images)


async def reviewed(job: Job) -> bool:
    """``review``: the pictures of all images that are not rejected, where they are now."""
    images = [one for one in read_images(job.checkpoint) if one.decision and one.decision.verdict != Verdict.REJECT]
    async with AsyncExitStack() as stack:
        readers = ImageReaders(job, stack)
        originals = StoredOriginals(readers.of, readers.found)
        for one in images:
            subject = Subject(bucket=job.source.bucket, key=one.key, etag=one.etag, size_bytes=one.size_bytes)
            row = CardRow(id=one.id, subject=subject, copy=one.copied_to, is_gone=one.removal is not None)
            async with originals.opened(row) as file:
                assert file.read()
    return bool(images)


async def state_made(job: Job) -> bool:
    """The state of a job whose run is over, with one segment, and an object that no head names."""
    place = place_of(job)
    assert place is not None
    memory = MemoryStateStore()
    made = HandMade(memory, job.checkpoint.parent / "origin", place)
    made.commit_snapshot()
    made.commit_segment()
    made.put(place.new_segment(made.head.state_id, 1), b"replaced")
    put_answers(memory, job.checkpoint.parent / "origin" / "answers.db", place.answers)
    async with open_state_store(job.aws) as store:
        for where, stored in memory.objects.items():
            await store.put(where, stored.body)
    return True


def state_of(job: Job) -> Where:
    """The state of a job."""
    place = place_of(job)
    assert place is not None
    return Where(place=place, aws=job.aws)


async def state_shown(job: Job) -> bool:
    """``state show``."""
    look = await look_at_state(state_of(job), waits=False, deep=False)
    return look.ok and look.unnamed == 1


async def state_pulled(job: Job) -> bool:
    """``state pull``."""
    return (await pull_state(state_of(job), job.checkpoint.parent / "pulled.db")).head.rows == 3


async def state_pruned(job: Job) -> bool:
    """``state prune``."""
    where = state_of(job)
    return (await prune_state(where, await plan_pruning(where))).objects == 1


async def state_read(job: Job) -> bool:
    """``status`` and what else reads a checkpoint in S3."""
    folder = job.checkpoint.parent / "copy"
    folder.mkdir()
    found = await for_reading(job, folder)
    assert found is not None
    return len(list(read_images(found.job.checkpoint))) == 3 and found.job.answers_path.exists()


class Received:
    """Counts images whose bytes came."""

    def __init__(self) -> None:
        self.added = 0

    def add(self, _image: StoredImage, content: bytes) -> None:
        """Count an image."""
        assert content
        self.added += 1

    def fail(self, image: StoredImage, error: ImageError) -> None:
        """Nothing came."""


async def labelled(job: Job) -> bool:
    """``labels``."""
    found = await label_references(
        [f"s3://raw/{job.source.prefix}{ROBINS[0]}"], store=job.checkpoint.parent / "refs.db"
    )
    return found.calls == 1


def present(job: Job) -> S3Location:
    """The place of the job's images."""
    return S3Location(job.source.bucket, job.source.prefix)


async def looked(job: Job) -> bool:
    """``init``."""
    return (await look_at(present(job), Aws())).look.images == len(IMAGES)


async def looked_and_examined(job: Job) -> bool:
    """``init --examine``."""
    found = await look_at(present(job), Aws())
    uris = [uri_of(found.place.bucket, listed.key) for listed in found.sample_of(3)]
    return (await label_sample(uris, Aws(), folder=job.checkpoint.parent)).calls == len(uris)


async def listed_by_folder(job: Job) -> bool:
    """``manifest from-folders``."""
    found: list[FolderEntry] = []
    await list_entries(present(job), found.append, aws=Aws())
    return len(found) == len(IMAGES)


async def listed_by_content(job: Job) -> bool:
    """``manifest split --images``."""
    found: dict[str, str] = {}
    await list_contents(present(job), found.__setitem__, aws=Aws())
    return len(found) == len(IMAGES)


def of_run(job: Job) -> list[StoredImage]:
    """The images that a run copied or moved."""
    return [image for image in read_images(job.checkpoint) if image.effects]


async def sized(job: Job) -> bool:
    """Boxes in pixels: the first image is there, and of the others the copies."""
    with ImageJournal(job.checkpoint.parent / "sizes.db") as journal:
        images = [
            (ObjectRef(bucket="raw", key=one.key, size_bytes=one.size_bytes, etag=one.etag, seq=0), one.effects[0])
            for one in of_run(job)
        ]
        await read_sizes(
            [WantedImage(image, at > 0, effect.target) for at, (image, effect) in enumerate(images)], journal, job
        )
        return len(images) > 1 and all(journal.facts_at(image.uri, image.etag) for image, _ in images)


async def checked(job: Job) -> bool:
    """``manifest validate --check-images`` and ``dataset check --images``."""
    with ImageJournal(job.checkpoint.parent / "looks.db") as journal:
        refs = [uri for one in of_run(job) for uri in (uri_of("raw", one.key), one.effects[0].target)]
        await look_at_images(refs, journal, aws=Aws())
        found = [journal.facts(ref) for ref in refs]
        return bool(found) and not any(facts is None or facts.trouble for facts in found)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One command of one job.

    Attributes:
        command: The command.
        verb: Carries it out.
        sections: Of the job, as in ``job_document``.
        before: Commands that come first, each with the sections in which its job differs.
        versions: Whether the source keeps versions.
        present: Objects that are there already, by bucket and key.
        faults: Faults during the command.
        tags: Whether an image has tags.
        is_folder: Whether the images are files.
    """

    command: Command
    verb: Verb
    sections: Mapping[str, Any]
    before: Sequence[tuple[Verb, Mapping[str, Any]]] = ()
    versions: bool = False
    present: Sequence[tuple[str, str]] = ()
    faults: Sequence[str] = ()
    tags: bool = True
    is_folder: bool = False
    prefix: str = "birds/"
    body: bytes = field(default_factory=plain, repr=False)

    @property
    def can_do_without(self) -> bool:
        """Whether it meets nothing for which it needs a permission that commands can do without otherwise."""
        needs = self.needs(jobs.NOWHERE)
        has_some = any(need.without is not None for need in needs)
        return has_some and self.command not in {Command.LABELS, Command.STALE} and not self.faults

    @property
    def facts(self) -> BucketFacts:
        """What is known of its bucket."""
        return BucketFacts(keeps_versions=self.versions)

    def job(self, folder: Path, **changes: Any) -> Job:
        """The job."""
        source = "./photos" if self.is_folder else f"s3://raw/{self.prefix}"
        sections = {"source": source, "rules": RULES, **self.sections, **changes}
        return jobs.make_bare_job(base_dir=folder, **sections)

    def needs(self, folder: Path) -> tuple[Need, ...]:
        """What its policy grants."""
        return needs_of(self.job(folder), [self.command], self.facts)

    def fill(self, sandbox: Sandbox, folder: Path) -> None:
        """Put its objects into the sandbox, and its files into their folder."""
        for at, key in enumerate((*ROBINS, *CATS, *DOGS) if self.is_folder else ()):
            path = folder / "photos" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.body + bytes([at]))
        source = sandbox.bucket("raw")
        if self.versions:
            source.versioning = "Enabled"
        for at, key in enumerate(IMAGES):
            stored = sandbox.put("raw", self.prefix + key, self.body + bytes([at]))
            if self.tags and key.endswith("1.jpg"):
                source.set_tags(stored, {"camera": "left"})
        for bucket, key in self.present:
            sandbox.put(bucket, key, self.body)

    async def play(self, folder: Path, sandbox: Sandbox, needs: Sequence[Need]) -> bool:
        """Carry out what comes before without a policy, then the command with one; whether all was done."""
        sandbox.set_policy(None)
        self.fill(sandbox, folder)
        for verb, changes in self.before:
            assert await verb(self.job(folder, **changes))
        await set_faults(sandbox, *self.faults)
        sandbox.set_policy(policy_document(needs))
        try:
            return await self.verb(self.job(folder))
        except (AsyncFilterError, ExceptionGroup):  # of a task group
            return False


RUN_FIRST: Sequence[tuple[Verb, Mapping[str, Any]]] = ((ran, {}),)
APPLIED: Sequence[tuple[Verb, Mapping[str, Any]]] = ((ran, {}), (applied, {}))
STATE_FIRST: Sequence[tuple[Verb, Mapping[str, Any]]] = ((state_made, {}),)
IN_S3: Mapping[str, Any] = {"checkpoint": "s3://states/the $*?jobs/"}
UNTOUCHED = {"actions": None}
ANY = [{"keep": {"none": "Submarine"}}]
UPLOADING: Mapping[str, Any] = {"rules": ANY, "detector": {"region": "us-east-1"}, "convert": False}

SCENES = {
    "plan": Scene(command=Command.PLAN, verb=planned, sections={}),
    "plan at a set rate": Scene(command=Command.PLAN, verb=planned, sections={"limits": {"tps": 50}}),
    "plan of a whole bucket": Scene(command=Command.PLAN, verb=planned, sections={}, prefix=""),
    "plan --sample": Scene(command=Command.SAMPLE, verb=sampled, sections={}),
    "bench": Scene(command=Command.BENCH, verb=benched, sections={"limits": {"tps": 50}}),
    "labels": Scene(command=Command.LABELS, verb=labelled, sections={}),
    "init": Scene(command=Command.INIT, verb=looked, sections={}),
    "init of a bucket": Scene(command=Command.INIT, verb=looked, sections={}, prefix=""),
    "init --examine": Scene(command=Command.INIT_EXAMINE, verb=looked_and_examined, sections={}),
    "answers export --format ground-truth": Scene(
        command=Command.ANSWERS_MANIFEST, verb=sized, sections={"actions": COPIES}, before=RUN_FIRST
    ),
    "manifest from-run": Scene(command=Command.FROM_RUN, verb=sized, sections={"actions": COPIES}, before=RUN_FIRST),
    "manifest from-folders": Scene(command=Command.FROM_FOLDERS, verb=listed_by_folder, sections={}),
    "manifest split --images": Scene(command=Command.SPLIT, verb=listed_by_content, sections={}),
    "manifest validate --check-images": Scene(
        command=Command.CHECK_IMAGES, verb=checked, sections={"actions": COPIES}, before=RUN_FIRST
    ),
    "dataset check --images": Scene(
        command=Command.DATASET_IMAGES, verb=checked, sections={"actions": COPIES}, before=RUN_FIRST
    ),
    "run": Scene(command=Command.RUN, verb=ran, sections={"actions": COPIES}),
    "run with odd keys": Scene(
        command=Command.RUN,
        verb=ran,
        sections={"actions": {"keep": {"copy": "s3://clean/$*?{{x}} $/é/🐦/{stem}.{ext}"}}},
        prefix="b*?${x}/é/🐦\n/",
    ),
    "workers": Scene(command=Command.WORKERS, verb=worked, sections={}),
    "run of a whole bucket": Scene(command=Command.RUN, verb=ran, sections={"actions": COPIES}, prefix=""),
    "run with aioboto3": Scene(
        command=Command.RUN, verb=ran, sections={"actions": COPIES, "aws": {"client": "aioboto3"}}
    ),
    "run that checks its targets": Scene(
        command=Command.RUN,
        verb=ran,
        sections={"actions": {"keep": {"copy": "s3://clean/robin/{key}", "if_exists": "skip"}}},
        present=[("clean", "robin/birds/robin/2.jpg")],
    ),
    "plan that writes to its targets": Scene(
        command=Command.PLAN, verb=planned, sections={"actions": COPIES, "check_targets": "write"}
    ),
    "run that checks images": Scene(
        command=Command.RUN, verb=ran, sections={"precheck": "header", "near_duplicates": True, "convert": True}
    ),
    "run with tags": Scene(command=Command.RUN, verb=ran, sections={"actions": {"review": {"tag": {"class": "cat"}}}}),
    "run with tags, versions": Scene(
        command=Command.RUN,
        verb=ran,
        sections={"actions": {"review": {"tag": {"class": "cat"}}, "keep": {"copy": "s3://clean/{key}"}}},
        versions=True,
    ),
    "run with references": Scene(
        command=Command.RUN,
        verb=ran,
        sections={"rules": [{"keep": {"like": "s3://refs/robin/good.jpg"}}], "actions": COPIES},
        present=[("refs", "robin/good.jpg")],
    ),
    "run with a model": Scene(
        command=Command.RUN,
        verb=ran,
        sections={"detector": {"kind": "rekognition-custom-labels", "model": DEFAULT_MODEL_ARN}, "actions": COPIES},
    ),
    "run that writes to its targets first": Scene(
        command=Command.RUN, verb=ran, sections={"actions": COPIES | REMOVALS, "check_targets": "write"}
    ),
    "refilter": Scene(
        command=Command.REFILTER, verb=refiltered, sections={"actions": COPIES}, before=[(ran, UNTOUCHED)]
    ),
    "apply": Scene(command=Command.APPLY, verb=applied, sections={"actions": REMOVALS}, before=RUN_FIRST),
    "apply, versions": Scene(
        command=Command.APPLY,
        verb=applied,
        sections={"actions": REMOVALS},
        before=RUN_FIRST,
        versions=True,
        faults=["reset:DeleteObjects=1x"],
    ),
    "apply, deletes alone": Scene(
        command=Command.APPLY, verb=applied, sections={"actions": {"reject": "delete"}}, before=RUN_FIRST
    ),
    "apply --stale": Scene(
        command=Command.STALE,
        verb=partial(applied, stale=True),
        sections={"actions": COPIES},
        before=[(ran, {"rules": [{"keep": {"any": ["Robin", "Dog"]}}]}), (refiltered, {})],
    ),
    "export --format webdataset": Scene(
        command=Command.PICTURES,
        verb=exported,
        sections={"actions": {"review": REMOVALS["review"]}},
        before=APPLIED,
    ),
    "review": Scene(
        command=Command.REVIEW,
        verb=reviewed,
        sections={"actions": {"review": REMOVALS["review"]}},
        before=APPLIED,
    ),
    "state show": Scene(command=Command.STATE_SHOW, verb=state_shown, sections=IN_S3, before=STATE_FIRST),
    "state pull": Scene(command=Command.STATE_PULL, verb=state_pulled, sections=IN_S3, before=STATE_FIRST),
    "state prune": Scene(command=Command.STATE_PRUNE, verb=state_pruned, sections=IN_S3, before=STATE_FIRST),
    "status of a state": Scene(command=Command.STATUS, verb=state_read, sections=IN_S3, before=STATE_FIRST),
    "undo": Scene(
        command=Command.UNDO,
        verb=undone,
        sections={"actions": {"review": REMOVALS["review"]}},
        before=APPLIED,
    ),
    "undo, versions": Scene(
        command=Command.UNDO, verb=undone, sections={"actions": REMOVALS}, before=APPLIED, versions=True
    ),
    "undo, deletes alone": Scene(
        command=Command.UNDO,
        verb=undone,
        sections={"actions": {"reject": "delete"}},
        before=APPLIED,
        versions=True,
    ),
    "run from a folder": Scene(
        command=Command.RUN,
        verb=ran,
        sections={**UPLOADING, "actions": {"keep": {"copy": "s3://clean/{key}", "if_exists": "skip"}}},
        present=[("clean", "robin/2.jpg")],
        is_folder=True,
    ),
    "run from a folder that overwrites": Scene(
        command=Command.RUN,
        verb=ran,
        sections={**UPLOADING, "actions": {"keep": {"copy": "s3://clean/{key}"}}},
        is_folder=True,
    ),
    "run into a folder": Scene(
        command=Command.RUN, verb=ran, sections={"actions": {"keep": {"copy": "./clean/{key}"}}}
    ),
    "refilter into a folder": Scene(
        command=Command.REFILTER,
        verb=refiltered,
        sections={"actions": {"keep": {"copy": "./clean/{key}"}}},
        before=[(ran, UNTOUCHED)],
    ),
    "apply from a folder": Scene(
        command=Command.APPLY,
        verb=applied,
        sections={**UPLOADING, "actions": {"keep": {"move": "s3://clean/{key}"}}},
        before=RUN_FIRST,
        is_folder=True,
    ),
    "apply into a folder": Scene(
        command=Command.APPLY,
        verb=applied,
        sections={"actions": {"review": {"move": "./cats/{key}"}}},
        before=RUN_FIRST,
        versions=True,
        faults=["reset:DeleteObjects=1x"],
    ),
    "apply --stale of uploads": Scene(
        command=Command.STALE,
        verb=partial(applied, stale=True),
        sections={**UPLOADING, "actions": {"reject": {"copy": "s3://clean/{key}"}}},
        before=[(ran, {"rules": [{"keep": {"any": "Submarine"}}]}), (refiltered, {})],
        is_folder=True,
    ),
    "apply --stale of downloads": Scene(
        command=Command.STALE,
        verb=partial(applied, stale=True),
        sections={"actions": {"keep": {"copy": "./clean/{key}"}}},
        before=[(ran, {"rules": [{"keep": {"any": ["Robin", "Dog"]}}]}), (refiltered, {})],
    ),
    "undo of uploads": Scene(
        command=Command.UNDO,
        verb=undone,
        sections={**UPLOADING, "actions": {"keep": {"move": "s3://clean/{key}"}}},
        before=APPLIED,
        is_folder=True,
    ),
    "undo of downloads": Scene(
        command=Command.UNDO,
        verb=undone,
        sections={"actions": {"review": {"move": "./cats/{key}"}}},
        before=APPLIED,
    ),
}

OPTIONS = SandboxOptions(
    buckets=tuple(map(BucketSpec, ("raw", "clean", "quarantine", "refs", "states"))),
    access_log=True,
    model_thresholds=(("Robin", 0.5),),
    verify_signatures=True,
    any_credentials=False,
)

UNUSED = {
    # The quota is in the first answer; the second question follows only when that one has none.
    "servicequotas:GetAWSDefaultServiceQuota",
}
NOT_NEEDED = {"HeadBucket", "GetRole", "SimulatePrincipalPolicy"}
"""Operations without which a command does its work: S3 names a bucket's region in a denial too, and IAM is asked only
where the caller may."""

RESTORED_BY_MARKER = {
    # Where the marker is not ours any more, and the source keeps versions, a moved image is copied back all the same.
    "WriteSource",
    "ReadTagsToCopy",
    "WriteTagsToCopy",
}

REQUIRED = {
    (need.statement, need.action): (name, need)
    for name, scene in reversed(SCENES.items())
    for need in scene.needs(jobs.NOWHERE)
    if need.without is None and not (need.statement in RESTORED_BY_MARKER and scene.versions)
}
"""Every permission that is called required, with the first command in which it is."""


@pytest.fixture(autouse=True)
def at_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sandbox counts as AWS, so that also those requests are sent that other stores are spared."""
    monkeypatch.setattr(Endpoint, "is_aws", True)


@pytest.mark.parametrize("name", SCENES)
async def test_the_policy_is_enough_and_no_more(name: str, tmp_path: Path) -> None:
    """A caller with the printed policy carries the command out, and each permission in it is used by a request.

    Only what is in ``NOT_NEEDED`` may be denied.
    """
    scene = SCENES[name]
    async with serving(OPTIONS) as sandbox:
        assert await scene.play(tmp_path, sandbox, scene.needs(tmp_path))
        rows = sandbox.needed()
    assert [row for row in rows if row["denied"] and row["operation"] not in NOT_NEEDED] == []
    used = [row for row in rows if row["allowed"]]
    left = [need for need in scene.needs(tmp_path) if not any(is_use(row, need) for row in used)]
    unused = [need for need in left if need.statement not in RESTORED_BY_MARKER or not scene.versions]
    assert {need.action for need in unused if not (need.statement.startswith("FindMissing") and need.without)} <= UNUSED


def is_use(row: Mapping[str, Any], need: Need) -> bool:
    """Whether a request used a permission."""
    return (
        row["action"] == need.action
        and matches(need.resource, row["resource"])
        and (need.prefix is None or (row["prefix"] is not None and matches(need.prefix, row["prefix"])))
    )


@pytest.mark.parametrize("which", REQUIRED, ids=" ".join)
async def test_without_a_required_permission_not_all_is_done(which: tuple[str, str], tmp_path: Path) -> None:
    """Each permission that is called required is."""
    name, need = REQUIRED[which]
    scene = SCENES[name]
    async with serving(OPTIONS) as sandbox:
        others = [other for other in scene.needs(tmp_path) if other != need]
        assert not await scene.play(tmp_path, sandbox, others)


@pytest.mark.parametrize("name", [name for name, scene in SCENES.items() if scene.can_do_without])
async def test_what_is_not_required_is_not(name: str, tmp_path: Path) -> None:
    """Without the permissions that a command can do without, it does its work, on objects without tags."""
    scene = replace(SCENES[name], tags=False)
    async with serving(OPTIONS) as sandbox:
        required = [need for need in scene.needs(tmp_path) if need.without is None]
        assert await scene.play(tmp_path, sandbox, required)
