"""Image limits of the service: formats, bytes and pixels, and the size to which an image is scaled to fit them.

The limits are those of the Rekognition guide (*Guidelines and quotas*) and the Custom Labels guide (*Guidelines and
quotas*). A rejection found here has the same code as the service's own, and costs nothing.
"""

from __future__ import annotations

import msgspec

from asyncfilter.policy.header import Format, Header

READABLE = frozenset({Format.JPEG, Format.PNG})
"""The formats that the service reads."""

MAX_CONVERTED_BYTES = 200 * 1024 * 1024
"""Largest file that is fetched to be converted."""


class ImageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one detector; pixels are of one side. The limits of each kind are in ``policy.detectors``.

    Attributes:
        max_inline_bytes: Of an image whose bytes are sent with the request.
        max_object_bytes: Of an image that the service reads from S3.
        max_aspect: Longer side over shorter; None without limit.
    """

    max_inline_bytes: int
    max_object_bytes: int
    min_px: int
    max_px: int
    max_aspect: float | None = None


class ImageRejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why the service would reject an image as it is.

    Attributes:
        code: Its name under ``failed``.
        why: The reason, as text.
        is_curable: True when a conversion may make it fit.
    """

    code: str
    why: str
    is_curable: bool


def find_rejection(header: Header, size_bytes: int, limits: ImageLimits, *, inline: bool) -> ImageRejection | None:
    """Why the service would reject an image; None when it would not, or when the header does not show it.

    Args:
        header: Of the image.
        size_bytes: Of the whole file.
        limits: Of the detector.
        inline: True when its bytes are sent, False when the service reads it from S3.
    """
    max_bytes = limits.max_inline_bytes if inline else limits.max_object_bytes
    if header.format not in READABLE:
        seen = "an unknown format" if header.format is Format.UNKNOWN else header.format.upper()
        curable = header.format is not Format.UNKNOWN
        return ImageRejection(
            code="invalid_image_format", why=f"{seen} by its content, not JPEG or PNG", is_curable=curable
        )
    if header.is_broken:
        why = f"begins like {header.format.upper()} and has no frame"
        return ImageRejection(code="invalid_image_format", why=why, is_curable=False)
    if size_bytes > max_bytes:
        why = f"{size_bytes:,} bytes, at most {max_bytes:,} are taken"
        return ImageRejection(code="image_too_large", why=why, is_curable=True)
    if header.width is None or header.height is None:
        return None
    return _size_rejection(header.width, header.height, limits)


def _size_rejection(width: int, height: int, limits: ImageLimits) -> ImageRejection | None:
    seen = f"{width} x {height} px"
    if fit(width, height, limits) is None:
        aspect = f" and sides of up to 1:{limits.max_aspect:g}" if limits.max_aspect is not None else ""
        return ImageRejection(
            code="image_rejected", why=f"{seen}, at least {limits.min_px}{aspect} needed", is_curable=False
        )
    if max(width, height) > limits.max_px:
        return ImageRejection(code="image_too_large", why=f"{seen}, at most {limits.max_px} a side", is_curable=True)
    return None


def fit(width: int, height: int, limits: ImageLimits) -> tuple[int, int] | None:
    """The largest accepted size of the same shape, not above the image's own; None when there is none."""
    long, short = max(width, height), min(width, height)
    if short < limits.min_px or (limits.max_aspect is not None and long > limits.max_aspect * short):
        return None
    if long <= limits.max_px:
        return width, height
    scaled = round(width * limits.max_px / long), round(height * limits.max_px / long)
    return scaled if min(scaled) >= limits.min_px else None
