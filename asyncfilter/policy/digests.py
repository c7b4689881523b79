"""Digests of the bytes of an image, as far as a store may know them too.

SHA-256 alone shows that two contents are the same: the others can be made to agree. They show that bytes arrived as
they were sent.
"""

from __future__ import annotations

import hashlib
import zlib

import msgspec


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """The size of some bytes, and their digests."""

    size_bytes: int
    sha256: bytes
    sha1: bytes
    md5: bytes
    crc32: bytes


class Hasher:
    """Computes the digest of bytes that come in pieces."""

    def __init__(self) -> None:
        self._size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32 = 0

    def update(self, piece: bytes) -> None:
        """Add the next bytes."""
        self._size_bytes += len(piece)
        self._sha256.update(piece)
        self._sha1.update(piece)
        self._md5.update(piece)
        self._crc32 = zlib.crc32(piece, self._crc32)

    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return Digest(
            size_bytes=self._size_bytes,
            sha256=self._sha256.digest(),
            sha1=self._sha1.digest(),
            md5=self._md5.digest(),
            crc32=self._crc32.to_bytes(4, "big"),
        )
