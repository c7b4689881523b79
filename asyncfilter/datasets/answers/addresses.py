"""Addresses of images in files of other programs: what ``data.image`` of a task, or a cell, may mean.

An address may have gone through several programs: with a query or without, percent-encoded or not, as ``s3://`` or as
the ``https://`` address of S3. So an address gives several images, the likeliest first; the first that is known is
meant. Source of the forms: S3 user guide, *Virtual hosting of general purpose buckets*.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from asyncfilter.datasets.answers.units import Address
from asyncfilter.model import FOLDER, S3

_HTTPS = re.compile(r"https?://([^/?#]*)/?([^#]*)", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(
    r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?"
    r"s3(?:-fips|-accelerate|-external-1|-website)?(?:\.dualstack)?(?:[.-](?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9]+))?"
    r"\.amazonaws\.com(?:\.cn)?(?::443)?",
    re.IGNORECASE,
)


class Addresses:
    """What the addresses in a file mean.

    Args:
        bucket: Of the job.
        base: ``--base``: what follows it is a key of the job; None where none is given.
    """

    def __init__(self, *, bucket: str, base: str | None = None) -> None:
        self._bucket, self._base = bucket, base

    def of(self, text: str) -> tuple[Address, ...]:
        """The images that an address may mean; none where it is no address of an image."""
        return tuple(dict.fromkeys(self._of(text)))

    def of_cell(self, text: str) -> tuple[Address, ...]:
        """The images that a cell may mean, which is a key, or an address."""
        return tuple(dict.fromkeys([*self._below_base(text), Address(None, text), *self._of(text)]))

    def _of(self, text: str) -> Iterator[Address]:
        yield from self._below_base(text)
        if text.startswith(S3):
            yield from _s3(text)
        elif text.startswith(FOLDER):
            if text.startswith(f"{self._bucket}/"):
                yield from _keys(None, text.removeprefix(f"{self._bucket}/"))
        elif (found := _HTTPS.fullmatch(text)) is not None:
            yield from _https(found[1], found[2])

    def _below_base(self, text: str) -> Iterator[Address]:
        if self._base is not None and text.startswith(self._base):
            yield from _keys(None, text.removeprefix(self._base).removeprefix("/"))


def _s3(text: str) -> Iterator[Address]:
    bucket, _, key = text.removeprefix(S3).partition("/")
    if bucket:
        yield from _keys(bucket, key)


def _https(host: str, rest: str) -> Iterator[Address]:
    found = _HOST.fullmatch(host)
    if found is None:
        return
    path, bucket = rest.partition("?")[0], found["bucket"]
    if bucket is None:
        bucket, _, path = path.partition("/")
        bucket = unquote(bucket)
    decoded = _decoded(path)
    for key in (decoded, _decoded(path.replace("+", " ")), path):
        if bucket and key is not None and key:
            yield Address(bucket, key)


def _keys(bucket: str | None, key: str) -> Iterator[Address]:
    """A key as it is, without its query, and percent-decoded."""
    cut = key.partition("?")[0]
    for one in (key, cut, _decoded(cut), _decoded(key)):
        if one is not None and one:
            yield Address(bucket, one)


def _decoded(text: str) -> str | None:
    """Text with its percent escapes decoded; None where these are not UTF-8."""
    try:
        return unquote(text, errors="strict")
    except UnicodeError:
        return None
