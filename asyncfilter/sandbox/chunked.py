"""The ``aws-chunked`` framing of uploads: chunks with or without signatures, and trailers."""

from __future__ import annotations

from typing import Final

import msgspec

from asyncfilter.sandbox.message import Request, ServiceError

SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


class Chunks(msgspec.Struct):
    """A body without its framing.

    Attributes:
        pieces: Each chunk with its signature; the last chunk is empty, as it was sent.
        trailers: By lower-case name, including ``x-amz-trailer-signature``.
    """

    pieces: list[tuple[bytes, str]]
    trailers: dict[str, str]

    @property
    def body(self) -> bytes:
        """The bytes without framing."""
        return b"".join(piece for piece, _ in self.pieces)


def is_chunked(request: Request) -> bool:
    """True if the body has ``aws-chunked`` framing."""
    return request.headers.get(b"x-amz-content-sha256", b"").startswith(b"STREAMING-")


def read_chunks(framed: bytes) -> Chunks:
    """Remove the framing (S3 API reference, *Signature calculations: transferring a payload in multiple chunks*).

    Raises:
        ServiceError: ``IncompleteBody`` if the framing is inconsistent.
    """
    chunks = Chunks([], {})
    at = 0
    while not chunks.pieces or chunks.pieces[-1][0]:
        end = framed.find(b"\r\n", at)
        size, _, extension = framed[at:end].decode("ascii", "replace").partition(";")
        try:
            length = int(size, 16)
        except ValueError as exc:
            raise _incomplete() from exc
        begin = end + 2
        if end < 0 or (length and framed[begin + length : begin + length + 2] != b"\r\n"):
            raise _incomplete()
        chunks.pieces.append((framed[begin : begin + length], extension.partition("chunk-signature=")[2]))
        at = begin + length + 2 if length else begin
    for line in framed[at:].split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if value:
            chunks.trailers[name.strip().lower()] = value.strip()
    return chunks


def _incomplete() -> ServiceError:
    message = "The request body terminated unexpectedly"
    return ServiceError("IncompleteBody", message)
