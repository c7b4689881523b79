"""Buckets and objects in memory.

A bucket may have a ``SyntheticKeys`` base whose objects are computed: they share one body and take no memory. Written
objects take precedence over base objects, and the keys of deleted base objects are stored. Records are small and not
tracked by the garbage collector; copies share body and attributes with their source.
"""

from __future__ import annotations

import bisect
import fnmatch
import functools
import hashlib
import heapq
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

import msgspec

from asyncfilter.sandbox.synthetic import SyntheticKeys, synthetic_etag

ARCHIVED_CLASSES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
NO_VERSION: Final = "null"


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """What is stored beside an object's bytes.

    Attributes:
        metadata: ``x-amz-meta-`` headers, by name without that prefix.
        sse: Response headers of server-side encryption.
        checksums: ``x-amz-checksum-`` headers as they were sent.
        kms_denied: The caller may not use the object's KMS key: HEAD and listing work, reading the bytes does not.
        denied: The caller may not read the object.
        restored: The object was restored from its archive class and can be read for now.
    """

    content_type: str = "binary/octet-stream"
    metadata: dict[str, str] = {}
    headers: dict[str, str] = {}
    storage_class: str = "STANDARD"
    sse: dict[str, str] = {}
    checksums: dict[str, str] = {}
    kms_denied: bool = False
    denied: bool = False
    restored: bool = False

    @property
    def archived(self) -> bool:
        """The object must be restored before it can be read or copied."""
        return self.storage_class in ARCHIVED_CLASSES and not self.restored


class Stored(msgspec.Struct, gc=False):
    """One object, or one version of it. ``etag`` is without quotes; ``modified_s`` is Unix seconds."""

    key: str
    body: bytes
    etag: str
    modified_s: float
    attributes: Attributes
    tags: dict[str, str] | None = None
    version_id: str = NO_VERSION
    delete_marker: bool = False

    @property
    def size_bytes(self) -> int:
        """Length of the body."""
        return len(self.body)


Admit = Callable[[str, str, Attributes], Attributes]
"""Given bucket, key and attributes: the attributes to store."""


class Bucket:
    """One bucket: the current object of each key, and older versions once versioning was enabled."""

    def __init__(self, name: str, region: str, admit: Admit) -> None:
        self.name = name
        self.region = region
        self.created_s = time.time()
        self.versioning: str | None = None
        self._versions = 0
        self._admit = admit
        self._objects: dict[str, Stored] = {}
        self._history: dict[str, list[Stored]] = {}
        self._sorted: list[str] = []
        self._unsorted: list[str] = []
        self._base: SyntheticKeys | None = None
        self._base_body = b""
        self._base_attributes = Attributes()
        self._base_gone: set[str] = set()

    def stand_on(self, keys: SyntheticKeys, body: bytes, content_type: str) -> None:
        """Add a base of computed objects that share ``body``; objects written before or later take precedence."""
        self._base, self._base_body = keys, body
        self._base_attributes = Attributes(content_type=content_type)

    def get(self, key: str) -> Stored | None:
        """The current object of a key; None if there is none or a delete marker is current."""
        held = self._objects.get(key)
        if held is not None or self._base is None or key in self._base_gone:
            return held
        position = self._base.position(key)
        return None if position is None else self._computed(key, position)

    def put(self, stored: Stored) -> Stored:
        """Make ``stored`` the current object of its key; returns it as stored."""
        stored.attributes = self._admit(self.name, stored.key, stored.attributes)
        self._retire(stored.key)
        stored.version_id = self._next_version()
        if stored.key not in self._objects:
            self._unsorted.append(stored.key)
        self._objects[stored.key] = stored
        return stored

    def delete(self, key: str) -> Stored | None:
        """Remove the current object; in a versioned bucket a delete marker replaces it and is returned."""
        self._retire(key)
        self._drop(key)
        if self.versioning is None:
            return None
        marker = Stored(key, b"", "", time.time(), Attributes(), version_id=self._next_version(), delete_marker=True)
        self._history.setdefault(key, []).append(marker)
        return marker

    def versions(self, key: str) -> list[Stored]:
        """All versions of a key, newest first, including delete markers."""
        current = self.get(key)
        older = self._history.get(key, [])
        return ([] if current is None else [current]) + older[::-1]

    def version(self, key: str, version_id: str) -> Stored | None:
        """One version of a key, which may be a delete marker."""
        return next((held for held in self.versions(key) if held.version_id == version_id), None)

    def delete_version(self, key: str, version_id: str) -> Stored | None:
        """Remove one version permanently; the newest remaining one becomes current. Returns the removed version."""
        removed = self.version(key, version_id)
        if removed is None:
            return None
        history = self._history.get(key, [])
        if removed in history:
            history.remove(removed)
        else:
            self._drop(key)
        if self.get(key) is None and history and not history[-1].delete_marker:
            restored = history.pop()
            self._objects[key] = restored
            self._unsorted.append(key)
        if not history:
            self._history.pop(key, None)
        return removed

    def set_tags(self, stored: Stored, tags: dict[str, str] | None) -> None:
        """Replace the tags of an object or version of this bucket; ETag and version do not change."""
        stored.tags = tags
        if self._base is not None and stored.key not in self._objects and stored.version_id == NO_VERSION:
            self._objects[stored.key] = stored
            self._unsorted.append(stored.key)

    def scan(self, start: str) -> Iterator[Stored]:
        """Current objects from the first key not below ``start``, in UTF-8 key order.

        The bucket must not change while the iterator is in use.
        """
        own = self._scan_own(start)
        if self._base is None:
            return own
        if not self._objects:
            return self._scan_base(self._base, start)
        return heapq.merge(own, self._scan_base(self._base, start), key=attrgetter("key"))

    def versioned_keys(self) -> list[str]:
        """Every key that has a current object or a history, in order."""
        return sorted({stored.key for stored in self.scan("")} | set(self._history))

    def _scan_own(self, start: str) -> Iterator[Stored]:
        if self._unsorted or len(self._sorted) > 2 * len(self._objects) + 1000:
            self._sorted = sorted(self._objects)
            self._unsorted = []
        keys, objects = self._sorted, self._objects
        for i in range(bisect.bisect_left(keys, start), len(keys)):
            stored = objects.get(keys[i])
            if stored is not None:
                yield stored

    def _scan_base(self, base: SyntheticKeys, start: str) -> Iterator[Stored]:
        gone, objects, admit = self._base_gone, self._objects, self._admit
        name, body, attributes, created_s = self.name, self._base_body, self._base_attributes, self.created_s
        for position, key in base.start_at(base.first_at_or_after(start)):
            if key not in gone and key not in objects:
                yield Stored(key, body, synthetic_etag(position), created_s, admit(name, key, attributes))

    def _computed(self, key: str, position: int) -> Stored:
        attributes = self._admit(self.name, key, self._base_attributes)
        return Stored(key, self._base_body, synthetic_etag(position), self.created_s, attributes)

    def _retire(self, key: str) -> None:
        """Store the current object as an older version if versioning was ever enabled."""
        if self.versioning is None:
            return
        current = self.get(key)
        history = self._history.setdefault(key, [])
        if self.versioning == "Suspended":
            # A write while versioning is suspended replaces the version "null", also if that is not the newest.
            history[:] = [held for held in history if held.version_id != NO_VERSION]
            if current is not None and current.version_id == NO_VERSION:
                return
        if current is not None:
            history.append(current)

    def _drop(self, key: str) -> None:
        self._objects.pop(key, None)
        if self._base is not None and key not in self._base_gone and self._base.position(key) is not None:
            self._base_gone.add(key)

    def _next_version(self) -> str:
        if self.versioning != "Enabled":
            return NO_VERSION
        self._versions += 1
        return hashlib.blake2b(f"{self.name} {self._versions}".encode(), digest_size=16).hexdigest()


class Store:
    """All buckets, by name."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self.buckets: dict[str, Bucket] = {}

    def create(self, name: str, region: str) -> Bucket:
        """The bucket of this name; created in ``region`` if it does not exist yet."""
        bucket = self.buckets.get(name)
        if bucket is None:
            bucket = self.buckets[name] = Bucket(name, region, self._admit)
        return bucket

    def put(self, bucket: str, key: str, body: bytes, attributes: Attributes | None = None) -> Stored:
        """Store an object as a simple upload does; its ETag is the body's MD5."""
        stored = Stored(key, body, md5_hex(body), time.time(), attributes or Attributes())
        return self.buckets[bucket].put(stored)


def md5_hex(body: bytes) -> str:
    """The ETag of a simple upload in S3."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


@functools.lru_cache(maxsize=1024)
def iso_time(unix_s: float) -> str:
    """A time in the format of S3's XML."""
    moment = datetime.fromtimestamp(unix_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def keys_matching(globs: tuple[str, ...]) -> Callable[[str], bool]:
    """A function that is true if ``bucket/key`` matches one of the globs; ``*`` also matches slashes."""
    if not globs:
        return lambda _: False
    pattern = re.compile("|".join(fnmatch.translate(glob) for glob in globs))
    return lambda uri: pattern.match(uri) is not None


def marking(
    archived: tuple[str, ...], restored: tuple[str, ...], kms_denied: tuple[str, ...], denied: tuple[str, ...]
) -> Admit:
    """An ``Admit`` that marks objects whose ``bucket/key`` matches a glob: archived, restored, KMS-denied or denied."""
    is_archived, is_restored, is_kms_denied, is_denied = map(keys_matching, (archived, restored, kms_denied, denied))
    if not archived + restored + kms_denied + denied:
        return lambda _bucket, _key, attributes: attributes

    def admit(bucket: str, key: str, attributes: Attributes) -> Attributes:
        uri = f"{bucket}/{key}"
        if is_archived(uri):
            attributes = msgspec.structs.replace(attributes, storage_class="GLACIER")
        if is_restored(uri):
            attributes = msgspec.structs.replace(attributes, storage_class="GLACIER", restored=True)
        if is_kms_denied(uri):
            sse = {"x-amz-server-side-encryption": "aws:kms"}
            attributes = msgspec.structs.replace(attributes, kms_denied=True, sse=sse)
        return msgspec.structs.replace(attributes, denied=True) if is_denied(uri) else attributes

    return admit
