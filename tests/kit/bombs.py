"""Files that are small, and that ask a decoder for much: pixels, time, memory, or a way without an end."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from tests.kit.pictures import encoded, noise

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, *, colour_type: int = 6, pixels: bytes | None = None, extra: bytes = b"") -> bytes:
    """A PNG of one colour, or with any ``pixels``, and with ``extra`` chunks before its pixels."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    if pixels is None:
        packer = zlib.compressobj(1)
        row = b"\0" + b"\x40" * (width * channels)
        pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0))
    return PNG_MAGIC + head + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def text_bomb(name: bytes, size_bytes: int) -> bytes:
    """A text or profile that is expanded to ``size_bytes``."""
    return chunk(name, b"Comment\0\0" + zlib.compress(bytes(size_bytes), 1))


def jpeg(width: int, height: int, *, progressive: bool = False) -> bytes:
    """A small JPEG whose frame has another size."""
    body = encoded(Image.new("RGB", (160, 160), "red"), "JPEG", progressive=progressive)
    at = body.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    return body[: at + 5] + struct.pack(">HH", height, width) + body[at + 9 :]


def scans(number: int, side: int = 200) -> bytes:
    """A progressive JPEG, its last scan repeated."""
    body = encoded(Image.open(io.BytesIO(noise("PNG", side, side))), "JPEG", progressive=True)
    last = body.rindex(b"\xff\xda")
    return body[:last] + body[last:-2] * number + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    """An animated WebP of one frame, on a canvas of any size."""
    frames = [Image.new("RGB", (100, 100), colour) for colour in ("red", "blue")]
    body = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert body[12:16] == b"VP8X"
    return body[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + body[30:]


def film(kind: str, frames: int) -> bytes:
    """An animation of many frames."""
    pictures = [Image.new("L", (100, 100), number % 256) for number in range(frames)]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=1)


def gif(width: int, height: int) -> bytes:
    """A GIF whose screen has another size than its frame."""
    body = noise("GIF")
    return body[:6] + struct.pack("<HH", width, height) + body[10:]


def bmp(width: int, height: int) -> bytes:
    """A BMP whose header has another size than its pixels."""
    body = noise("BMP")
    return body[:18] + struct.pack("<ii", width, height) + body[26:]


Tag = tuple[int, int, int, int]
"""Number, type, count, and value or offset of a tag."""


def tiff(width: int, height: int, *, tags: tuple[Tag, ...] = (), next_at: int = 0, strip: bytes = b"\0" * 64) -> bytes:
    """A TIFF with one strip of bytes; ``tags`` replace and add; ``next_at`` is where the next directory begins."""
    fields = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    fields |= {277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(strip))}
    fields |= {number: (kind, count, value) for number, kind, count, value in tags}
    body_at = 8 + 2 + 12 * (len(fields) + (273 not in fields)) + 4
    fields = {273: (4, 1, body_at)} | fields
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHII", number, *fields[number]) for number in sorted(fields))
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", next_at) + strip


def looped_tiff() -> bytes:
    """A sound picture whose next directory is itself."""
    return tiff(100, 100, next_at=8, strip=bytes(range(100)) * 100)


def many_directories(number: int) -> bytes:
    """A TIFF of very many pages."""
    first = encoded(Image.new("L", (100, 100), 99), "TIFF")
    page_at = len(first) + len(first) % 2
    body = bytearray(first.ljust(page_at, b"\0"))
    for index in range(number):
        next_at = page_at + 18 * (index + 1) if index + 1 < number else 0
        body += struct.pack("<HHHIII", 1, 256, 4, 1, 100, next_at)
    directory_at = struct.unpack_from("<I", body, 4)[0]
    entries = struct.unpack_from("<H", body, directory_at)[0]
    struct.pack_into("<I", body, directory_at + 2 + 12 * entries, page_at)
    return bytes(body)


def tags_that_share_bytes(number: int, size_bytes: int) -> bytes:
    """A TIFF with many tags, each of which has the whole file as its value."""
    tags = tuple((40_000 + index, 7, size_bytes, 0) for index in range(number))
    return tiff(100, 100, tags=tags, strip=bytes(size_bytes))


def sparse_jpeg(size_bytes: int) -> bytes:
    """A JPEG whose first segment is followed by zeros alone."""
    return b"\xff\xd8\xff\xe010" + bytes(size_bytes)


def markers(size_bytes: int) -> bytes:
    """A JPEG that is made of empty segments."""
    return b"\xff\xd8" + b"\xff\xe1\0\x02" * (size_bytes // 4)
