"""Two byte strings with one MD5 (Wang, Feng, Lai and Yu, 2004); whatever is added at their end keeps it."""

from __future__ import annotations

_ONE = bytes.fromhex(
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f8955ad340609f4b30283e488832571415a"
    "085125e8f7cdc99fd91dbdf280373c5bd8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
_DIFFERENT_BITS = {19: 0x80, 45: 0x80, 59: 0x80, 83: 0x80, 109: 0x80, 123: 0x80}


def same_md5(rest: bytes = b"") -> tuple[bytes, bytes]:
    """Two contents of one size with one MD5."""
    other = bytearray(_ONE)
    for at, bits in _DIFFERENT_BITS.items():
        other[at] ^= bits
    return _ONE + rest, bytes(other) + rest
