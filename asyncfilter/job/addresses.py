"""The addresses in a job: ``s3://bucket/prefix``, folders, ``own:name/prefix``, and target templates for them.

``own:`` is for a store that the calling program provides (``Overrides``): here only its name and keys are parsed.

Everything after the bucket is the key, literally: it is not decoded, case-folded or normalised, as in S3. A template is
a list of literals and placeholders. A problem is a ``ValueError`` whose text has the value found and the values
allowed.
"""

from __future__ import annotations

import difflib
import os.path
import posixpath
import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from asyncfilter.job.address_slips import meant
from asyncfilter.model import FOLDER, OWN, S3, S3Location, StoreKind, store_of, uri_of

MAX_KEY_BYTES = 1024
"""Longest key that S3 accepts, bytes of UTF-8 (S3 user guide, *Object key naming*)."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_BUCKET_RULE = "3 to 63 of a-z, 0-9, dot and hyphen, a letter or digit first and last"
_OWN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_UNUSABLE_SUFFIXES = {
    "--x-s3": "a directory bucket, which lists without order and cannot be continued",
    "--ol-s3": "an Object Lambda alias, which Rekognition cannot read",
    "-s3alias": "an access point, and the bucket behind it may be the source itself",
    ".mrap": "a multi-region access point, which Rekognition cannot read",
}
_ARNS = {
    "s3-object-lambda": "Object Lambda access points are not supported: Rekognition cannot read them",
    "s3-outposts": "buckets on Outposts are not supported: Rekognition cannot read them",
    "s3express": "directory buckets are not supported: they list without order and cannot be continued",
}
"""What the ARNs of services beside ``s3`` name."""
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class Placeholder(StrEnum):
    """The placeholders of a target template."""

    KEY = "key"
    RELATIVE = "relative"
    BASENAME = "basename"
    STEM = "stem"
    EXT = "ext"
    LABEL = "label"
    NAME = "name"


MEANINGS = {
    Placeholder.KEY: "the whole source key",
    Placeholder.RELATIVE: "the key below the source's prefix",
    Placeholder.BASENAME: "what follows the key's last `/`",
    Placeholder.STEM: "the basename less its last extension",
    Placeholder.EXT: "the last extension, without its dot; empty where there is none",
    Placeholder.LABEL: "the first name of the rule's own list that matched",
    Placeholder.NAME: "the job's name",
}
"""The meaning of each placeholder, as in the reference."""

ALL_PLACEHOLDERS = " ".join(f"{{{placeholder}}}" for placeholder in Placeholder)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed target: the bucket, and the key as a sequence of literals (``str``) and placeholders."""

    bucket: str
    parts: tuple[str | Placeholder, ...]

    def __str__(self) -> str:
        folder = self.bucket.replace("{", "{{").replace("}", "}}")
        return uri_of(folder, "".join(_written(part) for part in self.parts))

    @property
    def store(self) -> StoreKind:
        """The kind of store of the target."""
        return store_of(self.bucket)

    def literal_prefix(self, name: str | None = None, *, source_prefix: str = "") -> str:
        """The text that every key of this template begins with.

        Args:
            name: Of the job; where it is given, ``{name}`` counts as text.
            source_prefix: What every ``{key}`` begins with.
        """
        prefix = ""
        for part in self.parts:
            if part is Placeholder.NAME and name is not None:
                prefix += name
            elif isinstance(part, Placeholder):
                return prefix + source_prefix if part is Placeholder.KEY else prefix
            else:
                prefix += part
        return prefix

    def could_land_below(self, place: S3Location, name: str | None = None) -> bool:
        """Whether some source key could give a target in ``place``'s bucket that begins with its key.

        In doubt the result is True: a literal that ``place.key`` continues counts once any placeholder follows it.
        """
        literal, source = uri_of(self.bucket, self.literal_prefix(name)), place.uri
        is_open = any(
            isinstance(part, Placeholder) and (part is not Placeholder.NAME or name is None) for part in self.parts
        )
        return literal.startswith(source) or (is_open and source.startswith(literal))


def _is_folder(text: str) -> bool:
    """Whether ``text`` is a folder of this machine: a path, recognised by its beginning, or ``file:`` and a path."""
    return text in {".", "..", "~"} or text.startswith(("./", "../", "~/", "/", "file:"))


def folder_path(text: str) -> str:
    """The path in ``text``, relative or absolute, without ``file:``, ``~``, and ``.`` between slashes.

    A trailing slash is kept.

    Raises:
        ValueError: The path is on another machine, or there is none.
    """
    path = text.removeprefix("file:")
    if path.startswith("//"):
        host, _, rest = path[2:].partition("/")
        if host not in {"", "localhost"}:
            raise ValueError(f"expected a folder of this machine, found one of {host!r} in {text!r}")
        path = f"/{rest}"
    if not path or "\0" in path:
        raise ValueError(f"expected a folder, found {text!r}")
    if path.startswith("~"):
        path = os.path.expanduser(path)  # noqa: PTH111  text that may hold placeholders, not yet a path
    return posixpath.normpath(path) + ("/" if path.endswith("/") and path.strip("/") else "")


def folder_place(text: str, base_dir: str) -> S3Location:
    """The folder in ``text``, as the location of all keys in it.

    Raises:
        ValueError: As ``folder_path``.
    """
    path = posixpath.normpath(posixpath.join(posixpath.abspath(base_dir), folder_path(text)))
    return S3Location(FOLDER + path.rstrip("/"), "")


def own_place(text: str) -> S3Location:
    """Store and key prefix of ``own:name/prefix``; the prefix may be empty and has no limit.

    Raises:
        ValueError: The name is not valid.
    """
    name, _, key = text.removeprefix(OWN).partition("/")
    if not _OWN_NAME.match(name):
        rule = "1 to 63 letters, digits, dots, hyphens and underscores, a letter or digit first"
        raise ValueError(f"expected {OWN}NAME or {OWN}NAME/PREFIX with a name of {rule}, found {text!r}")
    return S3Location(OWN + name, key)


def parse_source(text: str, base_dir: str) -> S3Location:
    """The location of a source: a bucket, a folder or a store of the caller, and the prefix in it.

    Raises:
        ValueError: As ``folder_place``, ``own_place`` and ``parse_s3_uri``.
    """
    if _is_folder(text):
        return folder_place(text, base_dir)
    return own_place(text) if store_of(text) is StoreKind.OWN else parse_s3_uri(text)


def absolute_template(text: str, base_dir: str) -> str:
    """A target as an absolute template: folders start from ``base_dir``, other addresses are unchanged.

    Raises:
        ValueError: As ``parse_template``.
    """
    if not _is_folder(text):
        return text
    path = folder_path(text)
    base = posixpath.abspath(base_dir).replace("{", "{{").replace("}", "}}")
    end = "/" if path.endswith("/") else ""
    return FOLDER + posixpath.normpath(posixpath.join(base, path)) + end


def nearest(word: str, words: list[str]) -> str:
    """The one of ``words`` most similar to ``word``, without regard to case; ``words`` is not empty."""
    folded = {candidate.casefold().replace("-", "_"): candidate for candidate in words}
    return folded[difflib.get_close_matches(word.casefold().replace("-", "_"), folded, n=1, cutoff=0.0)[0]]


def check_bucket(bucket: str) -> str:
    """``bucket`` itself, if S3 would accept the name.

    Raises:
        ValueError: It breaks the rules for general purpose buckets (S3 user guide, *Bucket naming rules*).
    """
    if not _BUCKET.match(bucket) or ".." in bucket or bucket.startswith("xn--") or _is_ipv4(bucket):
        raise ValueError(f"expected a bucket name ({_BUCKET_RULE}), found {bucket!r}")
    for suffix, what in _UNUSABLE_SUFFIXES.items():
        if bucket.endswith(suffix):
            raise ValueError(f"expected a general purpose bucket, found {bucket!r}: {what}")
    return bucket


def parse_s3_uri(text: str) -> S3Location:
    """Bucket and key prefix of ``s3://bucket/prefix``; the prefix may be empty.

    Raises:
        ValueError: Not such an address, or a bucket name that S3 would not accept.
    """
    bucket, key = _split(text)
    _check_length(key, text)
    return S3Location(bucket, key)


def parse_template(text: str) -> Template:
    """A target such as ``s3://clean/robin/{key}``; ``{{`` and ``}}`` stand for braces.

    A target that ends in ``/``, or is a bare bucket, has ``{key}`` added.

    Raises:
        ValueError: Not an address, an unknown placeholder, or a brace without its partner.
    """
    store = store_of(text)
    if store is StoreKind.FOLDER:
        return _folder_template(text)
    bucket, key = own_place(text) if store is StoreKind.OWN else _split(text)
    if not key or key.endswith("/"):
        key += "{key}"
    parts = _parts(key, text)
    if store is StoreKind.S3:
        _check_length("".join(part for part in parts if not isinstance(part, Placeholder)), text)
    return Template(bucket, tuple(parts))


def _folder_template(text: str) -> Template:
    """The bucket is the folder up to the first placeholder; the rest is the key."""
    path = text.removeprefix(FOLDER)
    parts = _parts(path + "{key}" if path.endswith("/") else path, text)
    if len(parts) == 1:
        raise ValueError(f"expected a folder that ends in /, or a placeholder such as {{key}}, found {text!r}")
    first = parts[0]
    if isinstance(first, Placeholder) or not first.startswith("/"):
        raise ValueError(f"expected an absolute folder, found {text!r}")
    folder, _, literal = first.rpartition("/")
    return Template(FOLDER + folder, (*([literal] if literal else []), *parts[1:]))


def _parts(key: str, text: str) -> list[str | Placeholder]:
    parts: list[str | Placeholder] = []
    for piece in _PIECE.finditer(key):
        part = _part(piece, text)
        if parts and not isinstance(part, Placeholder) and not isinstance(parts[-1], Placeholder):
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def _part(piece: re.Match[str], text: str) -> str | Placeholder:
    """The literal or placeholder in one piece of a template."""
    word = piece[0]
    if word in {"{{", "}}"}:
        return word[0]
    if word in {"{", "}"}:
        raise ValueError(
            f"expected braces in pairs, or {word}{word} for the character itself, found {word} in {text!r}"
        )
    if piece[1] is None:
        return word
    names = [str(placeholder) for placeholder in Placeholder]
    if piece[1] not in names:
        guess = nearest(piece[1], names)
        raise ValueError(f"unknown placeholder {word}, nearest is {{{guess}}}; allowed: {ALL_PLACEHOLDERS}")
    return Placeholder(piece[1])


def _split(text: str) -> tuple[str, str]:
    """Bucket and rest of an S3 address."""
    if (arn := text.removeprefix(S3)).startswith("arn:"):
        raise ValueError(f"expected s3://bucket/prefix, found the ARN {text!r}: {_arn_meaning(arn)}")
    if not text.startswith(S3):
        hint = "" if (address := meant(text)) is None else f": write {address}"
        raise ValueError(f"expected s3://bucket/prefix, or a folder such as ./photos, found {text!r}{hint}")
    bucket, _, key = text.removeprefix(S3).partition("/")
    if "{" in bucket:
        raise ValueError(f"expected a bucket written out, without placeholders, found {bucket!r}")
    return check_bucket(bucket), key


def _arn_meaning(arn: str) -> str:
    """What an ARN in place of an address means (S3 user guide, *Amazon S3 resources*)."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or not parts[2].startswith("s3"):
        return "it names no bucket"
    service, resource = parts[2], parts[5]
    if service in _ARNS:
        return _ARNS[service]
    if resource.startswith("accesspoint"):
        return "access points are not supported, since the bucket behind one may be the source itself; name that bucket"
    return f"write {S3}{resource}"


def _check_length(key: str, text: str) -> None:
    """Reject a key that is too long already without its placeholders."""
    if (size_bytes := len(key.encode())) > MAX_KEY_BYTES:
        raise ValueError(f"expected a key of at most {MAX_KEY_BYTES} bytes, found {size_bytes} in {text[:60]!r}...")


def _is_ipv4(text: str) -> bool:
    """Whether a bucket name has the form of an IP address."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _written(part: str | Placeholder) -> str:
    """A part as written in the job file."""
    if isinstance(part, Placeholder):
        return f"{{{part}}}"
    return part.replace("{", "{{").replace("}", "}}")
