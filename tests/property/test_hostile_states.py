"""Whoever may write to the bucket may have written a state: any head or segment is refused, or is one of ours."""

from __future__ import annotations

import json
import tempfile
import zlib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncfilter.checkpoint import read_images, read_status
from asyncfilter.errors import CheckpointError
from asyncfilter.state.head import MOST_HEAD_BYTES, Head, Segment, Snapshot, decode_head, encode_head
from asyncfilter.state.names import ObjectKind, StatePlace, new_id, state_place
from asyncfilter.state.restore import restore
from asyncfilter.testing.state_store import MemoryStateStore
from tests.kit.fuzzing import few, fuzz
from tests.kit.states import PLACE, SOMEBODY, HandMade, contents_of, new_head

DIGEST = "0" * 64

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def whole_head() -> Head:
    """A head with everything that one may have."""
    head = new_head(commit=9, owner=SOMEBODY)
    place = PLACE.new_snapshot(head.state_id, 3)
    snapshot = Snapshot(key=place.key, bytes=10, sha256=DIGEST, commit=3, inflated_bytes=20)
    segments = [
        Segment(key=PLACE.new_segment(head.state_id, commit).key, bytes=5, sha256=DIGEST, rows=1, inflated_bytes=9)
        for commit in (4, 7, 9)
    ]
    return msgspec.structs.replace(head, snapshot=snapshot, segments=segments)


WHOLE = msgspec.to_builtins(whole_head())


def check_sane(head: Head) -> None:
    """Check what every reader of a head relies on."""
    commits = [-1]
    for number, one in enumerate(head.objects):
        name = PLACE.parse(one.key)
        assert name is not None
        assert name.state_id == head.state_id
        assert name.kind is (ObjectKind.SEGMENT if number else ObjectKind.SNAPSHOT)
        assert 0 < one.bytes <= 1 << 42
        assert 0 < one.inflated_bytes <= 1 << 42
        commits.append(name.commit)
    assert all(former < later for former, later in pairwise(commits))
    assert commits[-1] <= head.commit
    assert head.name == PLACE.name
    assert head.format == 1
    assert min(head.rows, head.epoch, head.spent_micros, head.granted_micros) >= 0


def test_a_head_is_read_as_it_was_written() -> None:
    """Every field."""
    head = whole_head()
    assert decode_head(encode_head(head), PLACE) == head


@pytest.mark.fuzz
@fuzz
@given(st.binary(max_size=200))
@example(b"{}")
@example(b"[" * 200_000)
@example(b'{"format": 1e400}')
@example(b'{"format": 1, "name": "\xff"}')
@example(b'{"format": 99999999999999999999}')
@example(b" " * MOST_HEAD_BYTES)
def test_any_bytes_are_refused_as_a_head(body: bytes) -> None:
    """With the package's error, whatever they are."""
    with pytest.raises(CheckpointError):
        decode_head(body, PLACE)


@pytest.mark.fuzz
@fuzz
@given(st.data())
def test_a_changed_head_is_refused_or_sane(data: st.DataObject) -> None:
    """One value anywhere in a head replaced by another, or left out."""
    document: Any = json.loads(json.dumps(WHOLE))
    at: Any = document
    while True:
        step = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if isinstance(at[step], dict | list) and at[step] and data.draw(st.booleans()):
            at = at[step]
            continue
        if data.draw(st.booleans()):
            del at[step]
        else:
            at[step] = data.draw(JSON | st.sampled_from([0, -1, 2**53, 2**63, 2**64, "", "../x", "a" * 2000, None]))
        break
    try:
        head = decode_head(json.dumps(document).encode(errors="surrogatepass"), PLACE)
    except CheckpointError:
        return
    check_sane(head)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "wrens"},
        {"state_id": "0" * 15},
        {"state_id": "../../../../etc"},
        {"commit": 8},
        {"snapshot": None},
        {"segments": WHOLE["segments"][::-1]},
        {"segments": WHOLE["segments"][:1] * 2},
        {"segments": [WHOLE["segments"][0] | {"key": "jobs/robins.state/head.json"}]},
        {"segments": [WHOLE["segments"][0] | {"key": WHOLE["snapshot"]["key"]}]},
        {"segments": [WHOLE["segments"][0] | {"key": WHOLE["segments"][0]["key"].replace("jobs/", "other/")}]},
        {"segments": [WHOLE["segments"][0] | {"bytes": 1 << 40}]},
        {"segments": [WHOLE["segments"][0] | {"inflated_bytes": 1 << 40}]},
        {"segments": [WHOLE["segments"][0] | {"bytes": 0}]},
        {"segments": [WHOLE["segments"][0] | {"sha256": "0" * 63 + "g"}]},
        {"snapshot": WHOLE["snapshot"] | {"commit": 4}},
        {"snapshot": WHOLE["snapshot"] | {"inflated_bytes": 1 << 50}},
        {"granted_micros": -1},
        {"epoch": -1},
        {"identity": {"source.uri": 7}},
        {"format": 0},
    ],
)
def test_heads_that_contradict_themselves_or_their_place_are_refused(changes: dict[str, Any]) -> None:
    """Each by itself."""
    with pytest.raises(CheckpointError):
        decode_head(json.dumps(WHOLE | changes).encode(), PLACE)


# -- Names -------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=60))
@example("jobs/robins.state/../x/head.json")
@example("jobs/robins.state/head.json\n")
@example("jobs/robins.state/0123456789abcdef/segment-01-0123456789abcdef.zz")
@example("jobs/robins.state/0123456789abcdef/segment-1-0123456789abcdef.zz\n")
@example("jobs/robins.state/0123456789abcdef/segment-\u0661-0123456789abcdef.zz")
def test_only_names_that_are_made_are_read(key: str) -> None:
    """What is no name of ours is foreign, and never deleted."""
    for whole in (key, PLACE.folder + key):
        name = PLACE.parse(whole)
        if name is not None:
            assert whole.isascii()
            assert whole.isprintable()
            assert whole.startswith(PLACE.folder)
            assert ".." not in whole


@given(st.integers(0, 10**15 - 1))
def test_names_are_read_as_they_were_made(commit: int) -> None:
    """The inverse of each other."""
    state_id = new_id()
    assert PLACE.parse(PLACE.new_segment(state_id, commit).key) == (ObjectKind.SEGMENT, state_id, commit)
    assert PLACE.parse(PLACE.new_snapshot(state_id, commit).key) == (ObjectKind.SNAPSHOT, state_id, commit)
    assert PLACE.parse(PLACE.kept_head(state_id).key) == (ObjectKind.KEPT_HEAD, state_id, -1)
    assert PLACE.parse(PLACE.new_probe().key) == (ObjectKind.PROBE, "", -1)
    assert PLACE.parse(PLACE.head.key) == (ObjectKind.HEAD, "", -1)
    other = PLACE._replace(name="robins-2")
    assert other.parse(PLACE.new_segment(state_id, commit).key) is None


@given(st.sampled_from(["", "a/", "a/b.state/", "ü/ /"]), st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True))
def test_an_address_is_read_as_it_is_shown(prefix: str, name: str) -> None:
    """With and without a final slash, also for people's answers."""
    for place in (StatePlace("bucket", prefix, name), StatePlace("bucket", prefix, name).answers):
        assert state_place(place.uri) == place
        assert state_place(place.uri + "/") == place


# -- Segments ----------------------------------------------------------------------------------------------------------

MSGPACK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=12)
    | st.binary(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


class Prepared:
    """A state with a snapshot and a segment, made once; each test adds a segment of its own to it."""

    def __init__(self, folder: Path) -> None:
        self.made = HandMade(MemoryStateStore(), folder)
        self.made.commit_snapshot()
        segment = self.made.commit_segment()
        self.plain: Any = msgspec.msgpack.decode(
            zlib.decompress(self.made.store.objects[PLACE.at(segment.key.removeprefix(PLACE.folder))].body)
        )
        self.head = self.made.head
        self.contents = contents_of(self.made.path)

    def check(self, plain: bytes) -> None:
        """Restore the state with one more segment: it is refused, or the file is a checkpoint."""
        self.made.head = self.head
        self.made.name_segment(zlib.compress(plain), inflated_bytes=max(1, len(plain)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "new.db"
            try:
                anyio.run(restore, self.made.store, PLACE, self.made.head, path)
            except CheckpointError:
                assert not list(Path(folder).iterdir())
                return
            read_status(path)
            with suppress(CheckpointError):  # a row that cannot be read is found when it is read, as in any checkpoint
                list(read_images(path))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """One state for all examples."""
    return Prepared(tmp_path_factory.mktemp("state"))


@pytest.mark.fuzz
@few
@given(st.binary(max_size=60))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x91" * 100_000)
def test_any_bytes_are_refused_as_a_segment(prepared: Prepared, plain: bytes) -> None:
    """With the right size and digest."""
    prepared.check(plain)


@pytest.mark.fuzz
@few
@given(st.data())
def test_a_changed_segment_is_refused_or_applied(prepared: Prepared, data: st.DataObject) -> None:
    """One value anywhere in a segment replaced by another: no other error, and nothing but rows of our tables."""
    document = msgspec.msgpack.decode(msgspec.msgpack.encode(prepared.plain))
    at: Any = document
    while True:
        step = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if isinstance(at[step], dict | list) and at[step] and data.draw(st.integers(0, 4)):
            at = at[step]
            continue
        at[step] = data.draw(MSGPACK | st.sampled_from(["image", "sqlite_master", "x; DROP TABLE image", "unshipped"]))
        break
    prepared.check(msgspec.msgpack.encode(document))
