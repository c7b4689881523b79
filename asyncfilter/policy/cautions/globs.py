"""Globs of ``source.include`` and ``source.exclude`` that cannot match any key, or not those that were probably meant.

A glob is compared with the whole key, without regard to case; ``*`` also matches ``/``, and there is neither ``**`` nor
``{a,b}``. Every key begins with the source's prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import normalize

from asyncfilter.job.spec import Job, SourceSpec
from asyncfilter.model import S3, StoreKind
from asyncfilter.policy.extensions import misspelt_extension

_ALTERNATIVES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_WILDCARD = re.compile(r"[*?\[]")
_REGULAR_EXPRESSION = re.compile(r"^\^|\\\.|\$$")
_SEVERAL = re.compile(r"\s*[,;|]\s*|\s+")
_BY_EXTENSION = re.compile(r"\*?\.\w+")
_BARE_EXTENSION = re.compile(r"\.?(jpe?g|png|webp|gif|tiff?|bmp|avif|hei[cf])", re.IGNORECASE)


def odd_globs(job: Job) -> Iterator[str]:
    """One sentence for each glob that is probably a mistake."""
    source = job.source
    for key, globs in (("include", source.include), ("exclude", source.exclude)):
        for glob in globs:
            why = _why(glob, source, is_include=key == "include")
            if why is not None:
                yield f"source.{key}: {glob!r} {why}"
    yield from _excluded(source)


def alternatives(glob: str) -> list[str]:
    """The globs that a shell makes of ``glob`` with its first ``{a,b}``; none without."""
    found = _ALTERNATIVES.search(glob)
    if found is None:
        return []
    return [glob[: found.start()] + part + glob[found.end() :] for part in found[1].split(",")]


def _why(glob: str, source: SourceSpec, *, is_include: bool) -> str | None:
    """Why a glob is probably a mistake; None when it is not."""
    if several := alternatives(glob):
        written = ", ".join(f'"{one}"' for one in several)
        return f"has braces, which have no meaning in a glob and match themselves alone; write [{written}]"
    if together := _together(glob):
        written = ", ".join(f'"{one}"' for one in together)
        return f"is one glob, which hardly matches any key; for several write [{written}]"
    if glob != glob.strip():
        return f"has a blank at its end or beginning, which is part of it; write {glob.strip()}"
    if _REGULAR_EXPRESSION.search(glob):
        return "is read as a glob, not as a regular expression, so it hardly matches any key; write for instance *.jpg"
    if glob.startswith("!"):
        return "begins with !, which has no meaning here; write what to leave out under source.exclude"
    if _BARE_EXTENSION.fullmatch(glob):
        return f"matches only a key of exactly this name; write *.{glob.lstrip('.')}"
    if glob.endswith("/"):
        return f"matches only the marks of folders, which are never examined; write {glob}*"
    return (
        _of_one_name(glob, source)
        or _not_below(glob, source)
        or ((_needs_folder(glob, source) or _misspelt(glob)) if is_include else None)
    )


def _together(glob: str) -> list[str]:
    """The globs of a list that was written as one text, such as ``*.jpg, *.png``; none when it is one glob."""
    parts = _SEVERAL.split(glob.strip())
    return parts if len(parts) > 1 and all(map(_BY_EXTENSION.fullmatch, parts)) else []


def _of_one_name(glob: str, source: SourceSpec) -> str | None:
    """Why a name alone is probably that of a folder, or a part of names."""
    name = glob.rpartition("/")[2]
    if _WILDCARD.search(glob) or "." in name or glob.startswith((S3, "/", "~", ".", "file:")):
        return None
    is_below = source.store is StoreKind.S3 and not glob.startswith(source.prefix) and source.prefix.endswith("/")
    folder = f"{source.prefix if is_below else ''}{glob}"
    return (
        f"matches only a key of exactly this name; for the images in a folder of that name write {folder}/*, for "
        f"names that contain it *{name}*"
    )


def _misspelt(glob: str) -> str | None:
    """Why the extension of an include glob is probably misspelt."""
    extension = glob.rpartition(".")[2]
    meant = misspelt_extension(extension) if "." in glob and not _WILDCARD.search(extension) else None
    if meant is None:
        return None
    return f"has the extension .{extension}, which images hardly have; write {glob.removesuffix(extension)}{meant}"


def _not_below(glob: str, source: SourceSpec) -> str | None:
    """Why no key of the source can match: each begins with the prefix."""
    literal, is_open = _literal(glob)
    if _can_begin(literal, source.prefix, is_open=is_open):
        return _not_a_key(literal, source)
    if _can_begin(normalize("NFC", literal), normalize("NFC", source.prefix), is_open=is_open):
        return f"matches no key: it begins with {source.prefix!r} in another Unicode form; copy the prefix into it"
    whole = f"{source.prefix}{glob} or " if source.prefix.endswith("/") else ""
    return (
        f"matches no key, since every key begins with {source.prefix!r} and a glob is compared with the whole key; "
        f"write {whole}*/{glob}"
    )


def _can_begin(literal: str, prefix: str, *, is_open: bool) -> bool:
    """Whether a key below ``prefix`` can begin with ``literal``, or be it where no more may follow (``is_open``)."""
    shared = min(len(literal), len(prefix))
    # By a pattern, since that is how keys are compared: casefolding would make more of them equal, or fewer.
    is_same = re.fullmatch(re.escape(literal[:shared]), prefix[:shared], re.IGNORECASE) is not None
    return is_same and (is_open or len(literal) >= len(prefix))


def _not_a_key(literal: str, source: SourceSpec) -> str | None:
    if literal.startswith(S3):
        return "matches no key: a glob is compared with the key alone, without s3:// and the bucket"
    if source.store is StoreKind.FOLDER and literal.startswith(("/", "./", "../", "~/", "file:")):
        return "matches no file: globs are compared with the path below the source's folder; leave out its beginning"
    return None


def _needs_folder(glob: str, source: SourceSpec) -> str | None:
    """Why an include glob leaves out the keys of the uppermost level."""
    flat = f"*{glob.removeprefix('**/').lstrip('*')}"
    if not glob.startswith("**/") or "/" in source.prefix or flat in source.include:
        return None
    return f"leaves out keys without a slash: there is no **, and * matches slashes as well; write {flat}"


def _excluded(source: SourceSpec) -> Iterator[str]:
    """Includes of which everything is excluded."""
    emptied = {
        include: exclude
        for include in source.include
        for exclude in source.exclude
        if _covers(exclude, include, source.prefix)
    }
    if emptied and set(emptied) == set(source.include):
        excludes = ", ".join(dict.fromkeys(map(repr, emptied.values())))
        yield f"source.exclude: {excludes} leaves nothing of source.include, so that there is no image to examine"
    else:
        for include, exclude in emptied.items():
            yield f"source.include: {include!r} adds nothing: source.exclude: {exclude!r} excludes all that it matches"


def _covers(exclude: str, include: str, prefix: str) -> bool:
    """Whether ``exclude`` surely matches every key below ``prefix`` that ``include`` matches."""
    out, into, below = exclude.lower(), include.lower(), prefix.lower()
    if out == into or not out.strip("*"):
        return True
    literal = out.strip("*")
    if "[" in into or _WILDCARD.search(literal):
        return False
    is_open_left, is_open_right = out.startswith("*"), out.endswith("*")
    if is_open_left and is_open_right:
        return literal in into or literal in below
    if is_open_right:
        return below.startswith(literal) or into.startswith(literal)
    return is_open_left and into.endswith(literal)


def _literal(glob: str) -> tuple[str, bool]:
    """What every key begins with that a glob matches, and whether more may follow."""
    found = _WILDCARD.search(glob)
    return (glob, False) if found is None else (glob[: found.start()], True)
