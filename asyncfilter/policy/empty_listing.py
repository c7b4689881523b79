"""Why a listing shows no image to examine: its likely cause, and what to change.

The cause is told from the address, the globs, a page of the listing, and the nearest prefix that has images, if one was
found.
"""

from __future__ import annotations

import json
import re
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from unicodedata import normalize
from urllib.parse import unquote

import msgspec

from asyncfilter.errors import AsyncFilterError, ExitCode
from asyncfilter.job.spec import SourceSpec
from asyncfilter.model import ListedObject, NothingFound, Skip, StoreKind
from asyncfilter.policy.cautions.globs import alternatives
from asyncfilter.policy.extensions import CONVERTED, READ_AS_THEY_ARE, extension_of
from asyncfilter.policy.globs import KeyFilter

SAMPLE_KEYS = 3
"""Keys that are kept of each reason to skip an object."""

_WILDCARD = re.compile(r"[*?\[{]")

Cause = tuple[str, str]
"""The likely cause, and what to do, one imperative sentence."""


class NothingToExamineError(AsyncFilterError):
    """A run that has no image to examine ends with this; ``found`` says why."""

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, found: NothingFound) -> None:
        super().__init__(found.message, hint=found.hint)
        self.found = found


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a listing without images to examine.

    Attributes:
        address: Of the source, for people.
        listed: Objects in it.
        skipped: Number of objects that were skipped, by reason; all of them were.
        skipped_keys: The first keys of each reason.
        left_out: Keys that the globs leave out, of one page.
        nearest: The nearest prefix that has images; None when none was found.
        nearest_address: Its address, for people.
        spelling: Why the nearest prefix is another than the source's, where that is known.
    """

    address: str
    listed: int
    skipped: Mapping[str, int]
    skipped_keys: Mapping[str, Sequence[str]]
    left_out: Sequence[str] = ()
    nearest: str | None = None
    nearest_address: str | None = None
    spelling: str | None = None


def note_skipped(kept: dict[str, list[str]], reason: str, key: str) -> None:
    """Keep ``key`` among the first keys that were skipped for ``reason``."""
    keys = kept.setdefault(reason, [])
    if len(keys) < SAMPLE_KEYS:
        keys.append(key)


def note_lowest(kept: dict[str, list[str]], reason: str, key: str) -> None:
    """Keep ``key`` among the lowest keys that were skipped for ``reason``; they may come in any order."""
    keys = kept.setdefault(reason, [])
    if len(keys) < SAMPLE_KEYS or key < keys[-1]:
        insort(keys, key)
        del keys[SAMPLE_KEYS:]


def is_image(listed: ListedObject) -> bool:
    """Whether an object is an image by its name, whatever the globs of a job say."""
    return listed.size_bytes > 0 and extension_of(listed.key) in READ_AS_THEY_ARE | CONVERTED


def nothing_found(source: SourceSpec, evidence: Evidence) -> NothingFound:
    """The explanation for people and scripts."""
    cause, hint = _cause(source, evidence)
    where = "" if evidence.nearest_address is None else f" Nearest prefix with images: {_exact(evidence)}."
    return NothingFound(
        message=f"{_listed(evidence)}. Likely cause: {cause}.{where}",
        hint=hint,
        skipped_keys={reason: list(keys) for reason, keys in evidence.skipped_keys.items()},
        nearest_prefix=evidence.nearest_address,
        likely_cause=cause,
    )


def _listed(evidence: Evidence) -> str:
    if not evidence.listed:
        return f"no object is listed in {evidence.address}"
    objects, what = (
        ("1 object is", "it is") if evidence.listed == 1 else (f"{evidence.listed:,} objects are", "all are")
    )
    reasons = [
        f"{number:,} {reason.replace('_', ' ')} ({', '.join(map(repr, evidence.skipped_keys.get(reason, ())))})"
        for reason, number in sorted(evidence.skipped.items(), key=lambda item: -item[1])
    ]
    return f"{objects} listed in {evidence.address}, and {what} skipped: {'; '.join(reasons)}"


# -- Causes ------------------------------------------------------------------------------------------------------------


def _cause(source: SourceSpec, evidence: Evidence) -> Cause:
    reason = max(evidence.skipped, key=lambda one: evidence.skipped[one], default="")
    if reason in _OF_THE_OBJECTS:
        return _OF_THE_OBJECTS[reason]
    if evidence.spelling is not None:
        return evidence.spelling, f"Set source.uri to {_exact(evidence)}{_with_globs(source)}."
    if not evidence.listed and source.listed is not None:
        below = f" that begins with {source.prefix!r}" if source.prefix else ""
        return f"the {source.listed.kind} has no key{below}", f"Correct source.{source.listed.kind}."
    if not evidence.listed:
        return _no_object(source, evidence)
    if reason == Skip.NOT_INCLUDED:
        return _not_included(source, evidence)
    if reason == Skip.EXCLUDED:
        globs = ", ".join(map(repr, _excluding(source, evidence.left_out))) or "source.exclude"
        return f"source.exclude leaves out every image ({globs})", "Remove that glob from source.exclude."
    return "there are only marks of folders, without objects in them", "Set source.uri to where the images are."


_OF_THE_OBJECTS: Mapping[str, Cause] = {
    Skip.EMPTY: ("every object is empty (0 bytes)", "Upload the images again."),
    Skip.ARCHIVED: ("every object is archived", "Restore the objects in S3, then run again."),
    Skip.TOO_LARGE: (
        "every object is larger than the service accepts",
        "Scale the images down; with convert: true 200 MB are taken.",
    ),
    Skip.MISSING: (
        "no key of the list is in the store",
        "Check that the keys are whole, as S3 has them, and that source.uri is theirs.",
    ),
    Skip.OUTSIDE: ("no key of the list begins with the prefix in source.uri", "Correct source.uri, or leave it out."),
}


def _no_object(source: SourceSpec, evidence: Evidence) -> Cause:
    if evidence.nearest_address is not None:
        return (
            f"no key begins with {source.prefix!r}" if source.prefix else f"{evidence.address} is empty",
            f"Set source.uri to {_exact(evidence)}, if those are the images.",
        )
    where = "folder" if source.store is StoreKind.FOLDER else "bucket"
    return f"no key begins with {source.prefix!r}" if source.prefix else f"the {where} is empty", "Correct source.uri."


def _not_included(source: SourceSpec, evidence: Evidence) -> Cause:
    """Why the globs of ``source.include`` match no key."""
    for cause, globs in _other_globs(source):
        if any(KeyFilter(globs).skip(key) is None for key in evidence.left_out):
            return cause, f"Set source.include to {_written(globs)}."
    if any(_normalized(source).skip(normalize("NFC", key)) is None for key in evidence.left_out):
        return "the Unicode form of a glob in source.include differs from that of the keys", "Copy the glob from a key."
    return _by_extension(source, evidence)


def _other_globs(source: SourceSpec) -> Iterator[tuple[str, list[str]]]:
    """Globs that may have been meant, with what is wrong with the present ones."""
    include = source.include
    yield "braces ({a,b}) have no meaning in globs", _changed(include, lambda glob: alternatives(glob) or [glob])
    yield "`**/` needs a folder, since there is no `**`", _changed(include, lambda glob: [glob.replace("**/", "*")])
    yield (
        "globs are compared with the whole key, not with the name alone",
        _changed(include, lambda glob: [glob if glob.startswith("*") else f"*/{glob.removeprefix('./').lstrip('/')}"]),
    )
    yield "a glob must match the whole key, so that it needs a *", _changed(include, lambda glob: [f"*{glob}"])


def _changed(globs: Sequence[str], change: Callable[[str], list[str]]) -> list[str]:
    return list(dict.fromkeys(other for glob in globs for other in change(glob)))


def _normalized(source: SourceSpec) -> KeyFilter:
    return KeyFilter([normalize("NFC", glob) for glob in source.include])


def _by_extension(source: SourceSpec, evidence: Evidence) -> Cause:
    extensions = Counter(map(extension_of, evidence.left_out))
    images = [extension for extension, _ in extensions.most_common() if extension in READ_AS_THEY_ARE | CONVERTED]
    if images:
        extension = images[0]
        convert = " and convert: true" if extension in CONVERTED else ""
        return (
            f"the extension: the images are .{extension}, which is not in source.include",
            f"Set source.include to {_written([*source.include, f'*.{extension}'])}{convert}.",
        )
    shown = ", ".join(f".{extension}" if extension else "none" for extension, _ in extensions.most_common(SAMPLE_KEYS))
    return (
        f"the extension: no key has one of an image (found: {shown})",
        'Set source.uri to where the images are, or source.include to ["*"] where their names have no extension.',
    )


def _excluding(source: SourceSpec, keys: Sequence[str]) -> list[str]:
    return [glob for glob in source.exclude if any(KeyFilter(["*"], [glob]).excludes(key) for key in keys)]


def _exact(evidence: Evidence) -> str:
    """The nearest address; with escapes, which YAML has as well, where it would look as another one does."""
    address = evidence.nearest_address or ""
    return address if normalize("NFC", address) == address else json.dumps(address)


def _written(globs: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{glob}"' for glob in globs) + "]"


def _with_globs(source: SourceSpec) -> str:
    """What to add for an address that holds a glob."""
    found = _WILDCARD.search(source.prefix)
    rest = source.prefix[found.start() :] if found is not None else ""
    return f', and source.include to ["*{rest.lstrip("*/")}"]' if "." in rest else ""


# -- Addresses ---------------------------------------------------------------------------------------------------------


def spellings(prefix: str) -> Iterator[tuple[str, str]]:
    """Prefixes that may have been meant, each with what is wrong with ``prefix``."""
    found = _WILDCARD.search(prefix)
    wildcard = "" if found is None else found[0]
    every = [
        (
            prefix if found is None else prefix[: found.start()],
            f"the address is a prefix, in which {wildcard} has no meaning",
        ),
        (normalize("NFC", prefix), "the Unicode form of the address differs from that of the keys"),
        (normalize("NFD", prefix), "the Unicode form of the address differs from that of the keys"),
        (unquote(prefix), "the address is percent-encoded, and is taken literally"),
        (prefix.replace("+", " "), "the address has + for a space, and is taken literally"),
        (prefix.replace("\\", "/"), "the address has \\ in place of /"),
        (prefix.lstrip("/"), "the address has a slash too many after the bucket"),
        (re.sub(r"//+", "/", prefix), "the address has a slash too many"),
        (prefix.strip(), "the address has blanks at its ends"),
    ]
    known = {prefix}
    for other, what in every:
        if other not in known:
            known.add(other)
            yield other, what


def difference(prefix: str, nearest: str) -> str | None:
    """What tells ``nearest`` from ``prefix``, where it is only the way of writing; None where it is more."""
    shared = nearest[: len(prefix)]
    if shared != prefix and shared.casefold() == prefix.casefold():
        return "upper and lower case count in addresses"
    one, other = normalize("NFC", prefix), normalize("NFC", nearest)
    if other.startswith(one) and not nearest.startswith(prefix):
        return "the Unicode form of the address differs from that of the keys"
    if other.casefold().startswith(one.casefold()) and not nearest.startswith(prefix):
        return "the Unicode form and the case of the address differ from those of the keys"
    return None
