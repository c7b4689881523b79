"""Uids of imported answers, made from what they say: the same file twice adds nothing."""

from __future__ import annotations

import base64
import hashlib

import msgspec

from asyncfilter.datasets.answers.units import Said
from asyncfilter.policy.answers.identity import name_of, names_content
from asyncfilter.records.answers import Subject

_BYTES = 18


def uid_of(said: Said, subject: Subject, reviewer: str) -> str:
    """The uid of an answer: the same for the same words of the same person about the same version of an object."""
    words = (said.verdict, said.labels, said.boxes, said.note, said.undoes)
    return base64.urlsafe_b64encode(_digest((*name_of(subject), reviewer, said.at_unix_s, *words))).decode()


def image_digest(subject: Subject, reviewer: str) -> bytes:
    """What all answers of one person about one image share, as far as that shows without the answers file."""
    image = (subject.etag, subject.size_bytes) if names_content(subject.etag) else name_of(subject)
    return _digest((*image, reviewer))


def words_digest(words: object) -> bytes | None:
    """What equal verdicts, labels or boxes share; None where nothing is said about them."""
    return None if words is None else _digest(words)


def _digest(value: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=_BYTES).digest()
