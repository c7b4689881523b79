"""The keys of a state's objects in S3, made and read back: head, kept heads, snapshots, segments, probes.

A state has a folder of its own, ``PREFIX/NAME.state/`` (``NAME.answers/`` for people's answers), and in it one folder
for each ``STATE_ID`` that it ever had. The random part of a name makes sure that no object is ever written twice.
"""

from __future__ import annotations

import re
import secrets
from enum import StrEnum
from typing import NamedTuple

import msgspec

from asyncfilter.errors import UsageError
from asyncfilter.job.spec import Job
from asyncfilter.model import S3, S3Location, location

STATE_ID = r"[0-9a-f]{16}"
"""What a state id looks like."""

MOST_PREFIX_BYTES = 512
"""Longest prefix of states, bytes of UTF-8 as JSON writes them: keys stay below 1,024, heads with 1,000 segments below
1 MB."""

_HEAD = "head.json"
_NAME = re.compile(r"[a-z0-9-]{1,64}\Z")
_COMMIT = r"0|[1-9][0-9]{0,14}"
_KEPT_HEAD = re.compile(rf"head-({STATE_ID})\.json\Z")
_PROBE = re.compile(rf"probe-({STATE_ID})\Z")
_SNAPSHOT = re.compile(rf"({STATE_ID})/snapshot-({_COMMIT})-{STATE_ID}\.db\.zz\Z")
_SEGMENT = re.compile(rf"({STATE_ID})/segment-({_COMMIT})-{STATE_ID}\.zz\Z")


class StateKind(StrEnum):
    """The kinds of states, by the file that they hold; the value is the suffix of the folder."""

    CHECKPOINT = "state"
    ANSWERS = "answers"


class ObjectKind(StrEnum):
    """The kinds of objects in the folder of a state."""

    HEAD = "head"
    KEPT_HEAD = "kept_head"
    """The head of a state that ``--fresh`` has replaced."""
    SNAPSHOT = "snapshot"
    SEGMENT = "segment"
    PROBE = "probe"


class ObjectName(NamedTuple):
    """The parts of an object's key.

    Attributes:
        kind: Its kind.
        state_id: The state that it belongs to; empty for the head and for probes.
        commit: The last commit that is in it; -1 where the kind has none.
    """

    kind: ObjectKind
    state_id: str = ""
    commit: int = -1


class StatePlace(NamedTuple):
    """The folder of one state in S3.

    Attributes:
        bucket: The bucket.
        prefix: Of several states; empty, or with a final slash.
        name: Of the job.
        kind: What the state holds.
    """

    bucket: str
    prefix: str
    name: str
    kind: StateKind = StateKind.CHECKPOINT

    @property
    def folder(self) -> str:
        """What every key of the state begins with; ends with a slash."""
        return f"{self.prefix}{self.name}.{self.kind}/"

    @property
    def uri(self) -> str:
        """The address of the state, without a final slash."""
        return f"{S3}{self.bucket}/{self.folder}".removesuffix("/")

    @property
    def head(self) -> S3Location:
        """The one object that is ever rewritten."""
        return self.at(_HEAD)

    @property
    def answers(self) -> StatePlace:
        """The state of the answers file beside this one."""
        return self._replace(kind=StateKind.ANSWERS)

    def at(self, relative: str) -> S3Location:
        """The object with a name below the folder."""
        return S3Location(self.bucket, self.folder + relative)

    def kept_head(self, state_id: str) -> S3Location:
        """Where the head of a replaced state is kept."""
        return self.at(f"head-{state_id}.json")

    def new_snapshot(self, state_id: str, commit: int, *, random: str = "") -> S3Location:
        """A name never used before for a snapshot of a commit; ``random`` as ``new_id`` makes it."""
        return self.at(f"{state_id}/snapshot-{commit}-{random or new_id()}.db.zz")

    def new_segment(self, state_id: str, commit: int, *, random: str = "") -> S3Location:
        """A name never used before for a segment that ends with a commit; ``random`` as ``new_id`` makes it."""
        return self.at(f"{state_id}/segment-{commit}-{random or new_id()}.zz")

    def new_probe(self) -> S3Location:
        """A name never used before for a probe of conditional writes."""
        return self.at(f"probe-{new_id()}")

    def parse(self, key: str) -> ObjectName | None:
        """The parts of an object's key; None for one outside the folder, or with a name that is not ours."""
        if not key.startswith(self.folder):
            return None
        relative = key.removeprefix(self.folder)
        if relative == _HEAD:
            return ObjectName(ObjectKind.HEAD)
        if found := _KEPT_HEAD.match(relative):
            return ObjectName(ObjectKind.KEPT_HEAD, found[1])
        if _PROBE.match(relative):
            return ObjectName(ObjectKind.PROBE)
        for pattern, kind in ((_SNAPSHOT, ObjectKind.SNAPSHOT), (_SEGMENT, ObjectKind.SEGMENT)):
            if found := pattern.match(relative):
                return ObjectName(kind, found[1], int(found[2]))
        return None


def random_part(key: str) -> str:
    """The random part of the key of a snapshot or segment."""
    return key.rpartition("-")[2].partition(".")[0]


def new_id() -> str:
    """16 random hexadecimal digits: of a state, of an object's name, of one rewrite of a head."""
    return secrets.token_hex(8)


def state_place(uri: str) -> StatePlace:
    """The place of a state by its address ``s3://BUCKET/PREFIX/NAME.state``; a final slash is ignored.

    Raises:
        UsageError: It is no address of a state.
    """
    bucket, key = location(uri.rstrip("/"))
    before, slash, last = key.rpartition("/")
    name, _, suffix = last.rpartition(".")
    if not (uri.startswith(S3) and bucket and _NAME.match(name) and suffix in set(StateKind)):
        raise UsageError(
            f"{uri!r} is no state in S3: expected s3://BUCKET/PREFIX/NAME.{StateKind.CHECKPOINT}",
            hint="Give a job file, or an address that ends with "
            f"NAME.{StateKind.CHECKPOINT} or NAME.{StateKind.ANSWERS}.",
        )
    return StatePlace(bucket, before + slash, name, StateKind(suffix))


def place_of(job: Job) -> StatePlace | None:
    """The state of a job's checkpoint; None for one without state in S3."""
    return None if job.state is None else StatePlace(job.state.bucket, job.state.prefix, job.name)


def is_short_enough(prefix: str) -> bool:
    """Whether heads and keys below a prefix stay within their bounds."""
    return len(msgspec.json.encode(prefix)) - 2 <= MOST_PREFIX_BYTES
