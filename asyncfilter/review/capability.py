"""Capabilities of pictures: who has the address of one may see it, and no address can be guessed.

An address is bound to the version of the object, so that a row of another checkpoint never has it.
"""

from __future__ import annotations

import hashlib
import hmac

from asyncfilter.records.answers import Subject

MAC_DIGITS = 32
"""Hexadecimal digits of a code: 128 bits."""

SIZES = ("320", "1280", "full")
"""Longest sides of renditions, in pixels; ``full`` is the size of the picture itself."""


class Capabilities:
    """Makes and checks the addresses of pictures.

    Args:
        secret: Known to this server alone.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mac(self, id_: int, subject: Subject) -> str:
        """The code of one image."""
        named = "\0".join((str(id_), subject.bucket, subject.key, subject.etag, str(subject.size_bytes)))
        digest = hmac.new(self._secret, named.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return digest.hexdigest()[:MAC_DIGITS]

    def holds(self, mac: str, id_: int, subject: Subject) -> bool:
        """Whether a code is that of an image; takes as long for any wrong one."""
        return hmac.compare_digest(mac.encode(), self.mac(id_, subject).encode())


def address(size: str, id_: int, mac: str) -> str:
    """The route of a picture."""
    return f"/image/{size}/{id_}-{mac}"
