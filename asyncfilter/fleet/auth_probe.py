"""Whether a Ray requires a token: its head is asked for its id, which is no secret, without one.

Ray's own client cannot be asked: it sends the token of this process, which a Ray without authentication ignores. So
this is one call of gRPC by hand: a frame with headers, one with an empty message; only a call that is allowed is
answered with a message.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _GOAWAY = 0, 1, 4, 7
_END_STREAM, _END_HEADERS = 1, 4
_HEAD_BYTES = 9
_METHOD = b"/ray.rpc.NodeInfoGcsService/GetClusterId"
_TIMEOUT_S = 5.0
_MOST_FRAMES = 100
_MOST_BYTES = 1 << 20


def needs_no_token(address: str) -> bool:
    """Whether the Ray at ``HOST:PORT`` accepts calls without a token; False also where that cannot be found out."""
    host, _, port = address.rpartition(":")
    with (
        suppress(OSError, ValueError),
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S) as connection,
    ):
        connection.settimeout(_TIMEOUT_S)
        connection.sendall(_call(address))
        return _is_answered(connection)
    return False


def _call(address: str) -> bytes:
    """The bytes of one call, by HPACK without compression."""
    headers = (
        b"\x83\x86"  # :method POST, :scheme http
        + (b"\x04" + _text(_METHOD))  # :path
        + (b"\x01" + _text(address.encode()))  # :authority
        + (b"\x00" + _text(b"content-type") + _text(b"application/grpc"))
        + (b"\x00" + _text(b"te") + _text(b"trailers"))
    )
    no_message = bytes(5)
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, no_message)
    )


def _text(text: bytes) -> bytes:
    return bytes([min(len(text), 126)]) + text[:126]


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def _is_answered(connection: socket.socket) -> bool:
    """Whether a message comes before the end of the call."""
    for _ in range(_MOST_FRAMES):
        head = _read(connection, _HEAD_BYTES)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        _read(connection, int.from_bytes(head[:3]))
        if stream == 1 and kind == _DATA:
            return True
        if kind == _GOAWAY or (stream == 1 and flags & _END_STREAM):
            return False
    return False


def _read(connection: socket.socket, count: int) -> bytes:
    if count > _MOST_BYTES:
        raise ValueError("a frame that is too large")
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return found
