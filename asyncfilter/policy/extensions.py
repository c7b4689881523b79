"""Extensions of image files, in lower case and without the dot; what is in a file may be something else."""

from __future__ import annotations

READ_AS_THEY_ARE = frozenset({"jpg", "jpeg", "png", "jpe", "jfif"})
"""Of formats that the service reads; the first three are the default of ``source.include``."""

CONVERTED = frozenset({"webp", "gif", "tif", "tiff", "bmp", "avif", "heic", "heif"})
"""Of formats that ``convert`` sends as JPEG."""

NO_IMAGES = frozenset(
    {"svg", "pdf", "psd", "ai", "eps", "raw", "cr2", "cr3", "nef", "arw", "dng", "mp4", "mov", "avi", "mpg", "mpeg",
     "webm", "mkv", "txt", "json", "xml", "csv", "zip"}
)  # fmt: skip
"""Extensions of files that neither the service nor the conversion reads."""

_OF_OTHER_FORMATS = frozenset({"jp2", "jpf", "jpx", "jpm", "jpc", "apng", "mng", "jng", "pgm", "pnm", "ppm", "pbm"})
"""Extensions of other formats of images, which are much like those above, and not misspelt."""

_OFTEN_MISSPELT = ("jpeg", "jpg", "png", "webp", "tiff", "heic")


def misspelt_extension(extension: str) -> str | None:
    """The extension that was probably meant: one letter is missing, too many, another, or exchanged with its neighbour.

    None for one that is right, or that resembles none.
    """
    folded = extension.lower()
    if folded in READ_AS_THEY_ARE | CONVERTED | NO_IMAGES | _OF_OTHER_FORMATS:
        return None
    return next((right for right in _OFTEN_MISSPELT if _is_near(folded, right)), None)


def _is_near(word: str, right: str) -> bool:
    """Whether one slip of the finger turns ``right`` into ``word``."""
    head = next((at for at, (one, other) in enumerate(zip(word, right, strict=False)) if one != other), None)
    if head is None:
        return abs(len(word) - len(right)) == 1
    longer, shorter = (word, right) if len(word) > len(right) else (right, word)
    if len(word) != len(right):
        return longer[head + 1 :] == shorter[head:]
    is_exchanged = word[head + 1 : head + 2] + word[head] == right[head : head + 2]
    return word[head + 1 :] == right[head + 1 :] or (is_exchanged and word[head + 2 :] == right[head + 2 :])


def extension_of(key: str) -> str:
    """The last extension of a key's name; empty without one."""
    name = key.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""
