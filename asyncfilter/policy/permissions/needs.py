"""The permissions that each command of a job needs.

Which blocks a command has stands in ``_BLOCKS``. ``tests/contract/test_permissions.py`` compares their rows with the
requests of whole runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind
from asyncfilter.policy.permissions.blocks import (
    any_quota,
    assuming,
    checking,
    clearing,
    copying,
    detecting,
    exporting,
    first_labels,
    labels,
    listed,
    listing,
    looking,
    manifest_images,
    model,
    opt_out,
    own_model,
    own_quota,
    quota,
    reading,
    references,
    removing,
    restoring,
    running,
    simulating,
    sizes,
    tagging,
)
from asyncfilter.policy.permissions.model_blocks import (
    creating,
    datasets,
    deleting,
    entries,
    finding,
    importing,
    results,
    starting,
    stopping,
    training,
    versions,
)
from asyncfilter.policy.permissions.places import BucketFacts, JobPlaces
from asyncfilter.policy.permissions.rows import Command, Need
from asyncfilter.policy.permissions.state_blocks import (
    answers_owning,
    state_fetching,
    state_looking,
    state_owning,
    state_pruning,
    state_reading,
    state_seeing,
)

Block = Callable[[JobPlaces], Iterator[Need]]


def commands_of(job: Job) -> tuple[Command, ...]:
    """The commands that carry out a job, less those that it gives nothing to do."""
    places = JobPlaces.of(job, BucketFacts())
    removes = places.has(ActionKind.MOVE, ActionKind.DELETE)
    idle = set() if removes else {Command.APPLY, Command.UNDO}
    if not places.has(ActionKind.COPY):
        idle.add(Command.STALE)
    if job.cluster is None:
        idle.add(Command.WORKERS)
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


_EXAMINING: tuple[Block, ...] = (model, own_model, running, assuming, detecting, reading, references)
_IMPROVING: tuple[Block, ...] = (finding, versions, datasets, entries, training, results, starting)

_BLOCKS: Mapping[Command, tuple[Block, ...]] = {
    Command.INIT: (listing,),
    Command.INIT_EXAMINE: (listing, any_quota, first_labels),
    Command.LABELS: (any_quota, labels),
    Command.PLAN: (listing, listed, checking, quota, model, own_model, assuming, state_reading),
    Command.SAMPLE: (listing, listed, looking, checking, quota, *_EXAMINING, state_owning),
    Command.BENCH: (listing, listed, looking, checking, own_quota, *_EXAMINING, state_owning),
    Command.RUN: (listing, listed, looking, checking, quota, *_EXAMINING, copying, tagging, state_owning),
    Command.WORKERS: (own_model, assuming, detecting, reading),
    Command.REFILTER: (listing, checking, copying, tagging, state_owning),
    Command.APPLY: (removing, state_owning),
    Command.STALE: (clearing, state_owning),
    Command.UNDO: (restoring, state_owning),
    Command.QUOTA: (any_quota,),
    Command.STATUS: (state_reading,),
    Command.EXPORT: (state_reading,),
    Command.PICTURES: (exporting, state_reading),
    Command.REVIEW: (exporting, state_reading),
    Command.ANSWERS_SET: (state_reading,),
    Command.ANSWERS_LIST: (state_reading,),
    Command.ANSWERS_MERGE: (state_reading,),
    Command.ANSWERS_IMPORT: (state_reading, answers_owning),
    Command.ANSWERS_EXPORT: (state_reading,),
    Command.ANSWERS_MANIFEST: (sizes, state_reading),
    Command.AUDIT: (state_reading,),
    Command.CALIBRATE: (state_reading, answers_owning),
    Command.FROM_RUN: (sizes, state_reading),
    Command.FROM_FOLDERS: (listing,),
    Command.CHECK_IMAGES: (manifest_images,),
    Command.SPLIT: (listing,),
    Command.DATASET_IMAGES: (manifest_images,),
    Command.STATE_SHOW: (state_looking,),
    Command.STATE_PULL: (state_fetching,),
    Command.STATE_PUSH: (state_owning,),
    Command.STATE_PRUNE: (state_pruning,),
    Command.MODEL_CREATE: (finding, creating),
    Command.MODEL_IMPORT: (finding, datasets, importing),
    Command.MODEL_TRAIN: (finding, versions, training, results),
    Command.MODEL_STATUS: (finding, versions, datasets),
    Command.MODEL_LIST: (finding, versions),
    Command.MODEL_EVALUATE: (finding, versions, results),
    Command.MODEL_START: (finding, versions, starting),
    Command.MODEL_STOP: (finding, versions, stopping),
    Command.MODEL_IMPROVE: _IMPROVING,
    Command.MODEL_REVIEWED: (*_IMPROVING, sizes, state_reading),
    Command.MODEL_DELETE: (finding, versions, deleting),
    Command.CHECK: (simulating,),
    Command.DOCTOR: (own_quota, opt_out, state_seeing),
}
"""What each command does."""

_OF_A_JOB = (
    Command.PLAN,
    Command.SAMPLE,
    Command.BENCH,
    Command.RUN,
    Command.WORKERS,
    Command.REFILTER,
    Command.APPLY,
    Command.STALE,
    Command.UNDO,
)
