"""The sandbox's store compared with a plain dictionary, and computed keys with their sorted list."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfilter.sandbox.store import Attributes, Bucket, Stored, md5_hex
from asyncfilter.sandbox.synthetic import SyntheticKeys, synthetic_etag

CLASSES = st.lists(st.text("ab-é😀", min_size=1, max_size=3), min_size=1, max_size=4)
OPERATIONS = st.lists(st.tuples(st.sampled_from(["put", "delete", "scan"]), st.integers(0, 14)), max_size=40)


@given(st.integers(1, 300), CLASSES, st.text("ab-é😀/.0123", max_size=8))
def test_computed_keys_are_a_sorted_list(count: int, classes: list[str], probe: str) -> None:
    """Computed keys are distinct, in UTF-8 order, found by position, and can be listed from any key."""
    keys = SyntheticKeys(count, "raw/{class}/{n}.jpg", classes)
    listed = list(keys)
    assert len(listed) == count
    assert listed == sorted(set(listed), key=lambda key: key.encode())
    assert [keys.position(key) for key in listed] == list(range(count))
    for key in (probe, f"raw/{probe}", f"{listed[-1]}x", listed[0][:-1]):
        assert keys.first_at_or_after(key) == sum(1 for other in listed if other < key)
        assert keys.position(key) == (listed.index(key) if key in listed else None)
    assert list(keys.start_at(count // 2)) == list(enumerate(listed))[count // 2 :]


@pytest.mark.parametrize("pattern", ["{class}/x", "{n}/{n}", "{n}/{class}", "{class}{class}{n}"])
def test_patterns_that_cannot_be_ordered_are_refused(pattern: str) -> None:
    """A pattern must give distinct keys in a known order."""
    with pytest.raises(ValueError, match="must hold"):
        SyntheticKeys(3, pattern)


def test_folders_that_begin_with_one_another_are_refused() -> None:
    """Classes ``a`` and ``a1`` before a plain number would give the same keys."""
    with pytest.raises(ValueError, match="begin with one another"):
        SyntheticKeys(30, "{class}{n}", ["a", "a1"])


def test_computed_objects_have_etags_of_their_own() -> None:
    """Computed objects are not duplicates of each other."""
    assert len({synthetic_etag(position) for position in range(10_000)}) == 10_000


def stored(key: str, body: bytes) -> Stored:
    """An object."""
    return Stored(key, body, md5_hex(body), time.time(), Attributes())


@given(st.booleans(), OPERATIONS)
def test_a_bucket_is_a_sorted_dictionary(synthetic: bool, operations: list[tuple[str, int]]) -> None:
    """After any puts and deletes, with or without computed objects, a scan lists exactly the objects, in order."""
    bucket = Bucket("b", "us-east-1", lambda _bucket, _key, attributes: attributes)
    reference: dict[str, bytes] = {}
    if synthetic:
        keys = SyntheticKeys(8, "k{n}")
        bucket.stand_on(keys, b"base", "image/jpeg")
        reference = dict.fromkeys(keys, b"base")
    for number, (operation, key_number) in enumerate(operations):
        key = f"k{key_number}"
        if operation == "put":
            reference[key] = str(number).encode()
            bucket.put(stored(key, reference[key]))
        elif operation == "delete":
            reference.pop(key, None)
            bucket.delete(key)
        else:
            listed = [(other, reference[other]) for other in sorted(reference) if other >= key]
            assert [(held.key, held.body) for held in bucket.scan(key)] == listed
    assert {held.key: held.body for held in bucket.scan("")} == reference
    for key in (f"k{number}" for number in range(15)):
        held = bucket.get(key)
        assert (None if held is None else held.body) == reference.get(key)


@given(OPERATIONS)
def test_versions_remember_everything(operations: list[tuple[str, int]]) -> None:
    """In a versioned bucket each write adds a version; deleting them newest first restores all former states."""
    bucket = Bucket("b", "us-east-1", lambda _bucket, _key, attributes: attributes)
    bucket.versioning = "Enabled"
    states: dict[str, list[bytes | None]] = {}
    for number, (operation, key_number) in enumerate(operations):
        key = f"k{key_number % 3}"
        body = None if operation == "delete" else str(number).encode()
        states.setdefault(key, []).append(body)
        if body is None:
            bucket.delete(key)
        else:
            bucket.put(stored(key, body))
    for key, bodies in states.items():
        for count in range(len(bodies), 0, -1):
            versions = bucket.versions(key)
            assert len(versions) == len({held.version_id for held in versions}) == count
            held = bucket.get(key)
            assert (None if held is None else held.body) == bodies[count - 1]
            bucket.delete_version(key, versions[0].version_id)
        assert bucket.get(key) is None
        assert bucket.versions(key) == []
