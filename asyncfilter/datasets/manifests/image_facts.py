"""What is known of an image itself, and what is wrong with it for the line that names it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from asyncfilter.datasets.limits import MAX_ASPECT, MAX_IMAGE_BYTES, MAX_SIDE_PX, MIN_SIDE_PX
from asyncfilter.datasets.manifests.attribute_checks import PairState
from asyncfilter.datasets.manifests.codes import Scope
from asyncfilter.datasets.manifests.line_checks import CheckedLine
from asyncfilter.datasets.manifests.model import ImageSize

_READABLE = frozenset({"jpeg", "png"})


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a store and the first bytes of a file show.

    Attributes:
        etag: Of the object; empty when it is missing.
        size_bytes: Of the object.
        format: By content, as ``policy.header.Format``; empty when it was not looked at.
        width: Of the upright image, in pixels; 0 when it is not known; ``height`` likewise.
        channels: Of its pixels.
        is_turned: Whether EXIF says that it is stored lying on its side.
        trouble: Why it cannot be read, as text; empty when it can.
        is_denied: Whether permissions are the trouble; they may be another time.
    """

    etag: str = ""
    size_bytes: int = 0
    format: str = ""
    width: int = 0
    height: int = 0
    channels: int = 0
    is_turned: bool = False
    trouble: str = ""
    is_denied: bool = False

    @property
    def size(self) -> ImageSize | None:
        """The size of the upright image; None when it is not known."""
        return ImageSize(self.width, self.height, self.channels or 3) if self.width and self.height else None


KnownImage = Callable[[str], ImageFacts | None]
"""The facts about the image at an address; None when it was not looked at."""


def format_problem(facts: ImageFacts) -> str | None:
    """Why the service cannot read an image; None when it can."""
    if facts.trouble:
        return facts.trouble
    if facts.size_bytes > MAX_IMAGE_BYTES:
        return None  # it was not looked at
    if facts.format not in _READABLE:
        return (
            f"the image is {facts.format.upper() if facts.format != 'unknown' else 'of an unknown format'} by content"
        )
    return None if facts.size is not None else "the image has no size"


def bytes_problem(facts: ImageFacts) -> str | None:
    """Why an image is too large; None when it is not."""
    if facts.size_bytes <= MAX_IMAGE_BYTES:
        return None
    return f"the image has {facts.size_bytes:,} bytes; {MAX_IMAGE_BYTES:,} are taken"


def px_problem(facts: ImageFacts) -> str | None:
    """Why the sides of an image are too small or too large; None when they are not, or not known."""
    size = facts.size
    if size is None or MIN_SIDE_PX <= min(size.width, size.height) <= max(size.width, size.height) <= MAX_SIDE_PX:
        return None
    return f"the image has {size.width:,} x {size.height:,} px; {MIN_SIDE_PX} to {MAX_SIDE_PX:,} a side are taken"


def aspect_problem(facts: ImageFacts) -> str | None:
    """Why the shape of an image is refused; None when it is not, or not known."""
    size = facts.size
    if size is None or max(size.width, size.height) <= MAX_ASPECT * min(size.width, size.height):
        return None
    return f"the image has {size.width:,} x {size.height:,} px; sides may differ {MAX_ASPECT}:1"


class ImageChecker:
    """Adds to a line what is wrong with its image.

    Args:
        known: The facts about images.
    """

    def __init__(self, known: KnownImage) -> None:
        self._known = known

    def __call__(self, checked: CheckedLine) -> None:
        """Check the image of one line; an attribute with another size than the image's cannot be used."""
        facts = self._known(checked.source_ref)
        if facts is None:
            return
        for problem in (format_problem(facts), bytes_problem(facts), aspect_problem(facts)):
            if problem is not None:
                checked.add("ERROR_INVALID_IMAGE", problem)
        if (problem := px_problem(facts)) is not None:
            is_boxed = any(pair.is_boxes for pair in checked.pairs)
            checked.add("ERROR_INVALID_IMAGE_DIMENSION" if is_boxed else "ERROR_INVALID_IMAGE", problem)
        self._check_sizes(checked, facts.size)

    def _check_sizes(self, checked: CheckedLine, size: ImageSize | None) -> None:
        for pair in checked.pairs:
            given = pair.size
            if given is None or size is None or (given.width, given.height) == (size.width, size.height):
                continue
            checked.add(
                "IMAGE_SIZE_MISMATCH",
                f"{pair.name}: image_size is {given.width:,} x {given.height:,}, the upright image has "
                f"{size.width:,} x {size.height:,} px",
                Scope.ATTRIBUTE,
                attribute=pair.name,
            )
            pair.state = PairState.BROKEN
            pair.boxes = None
