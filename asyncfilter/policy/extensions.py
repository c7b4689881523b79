"""Extensions of image files, in lower case and without the dot; what is in a file may be something else."""

from __future__ import annotations

READ_AS_THEY_ARE = frozenset({"jpg", "jpeg", "png", "jpe", "jfif"})
"""Of formats that the service reads; the first three are the default of ``source.include``."""

CONVERTED = frozenset({"webp", "gif", "tif", "tiff", "bmp", "avif", "heic", "heif"})
"""Of formats that ``convert`` sends as JPEG."""


def extension_of(key: str) -> str:
    """The last extension of a key's name; empty without one."""
    name = key.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""
