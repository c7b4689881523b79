"""Fills the buckets at the start: with folders of this machine, computed objects, and drawn samples."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from pathlib import Path

from asyncfilter.sandbox.answers.source import LabelSet, encode_label
from asyncfilter.sandbox.options import DrawnSpec, LoadSpec, SandboxOptions, SyntheticSpec
from asyncfilter.sandbox.pictures import draw_picture, draw_samples, tiny_picture
from asyncfilter.sandbox.store import Attributes, Store, md5_hex
from asyncfilter.sandbox.synthetic import SyntheticKeys


def fill(store: Store, options: SandboxOptions) -> Mapping[str, LabelSet]:
    """Create and fill all buckets of the options.

    Returns:
        The answers for drawn pictures, by ``bucket/key``, and by ETag for those that are sent.

    Raises:
        ValueError: If a folder to load does not exist.
    """
    for bucket in options.buckets:
        store.create(bucket.name, bucket.region or options.region)
    for load in options.load:
        store.create(load.bucket, options.region)
        _load_folder(store, load)
    for synthetic in options.synthetic:
        store.create(synthetic.bucket, options.region)
        _add_synthetic(store, synthetic)
    drawn: dict[str, LabelSet] = {}
    for samples in options.samples:
        store.create(samples.bucket, options.region)
        for sample in draw_samples(samples.pictures, options.seed):
            store.put(samples.bucket, sample.key, sample.body, Attributes(content_type=content_type(sample.key)))
            drawn[f"{samples.bucket}/{sample.key}"] = drawn[md5_hex(sample.body)] = sample.answer
    for spec in options.drawn:
        body = drawn_body(spec, options.seed)
        if spec.bucket:
            store.create(spec.bucket, options.region)
            store.put(spec.bucket, spec.key, body, Attributes(content_type=content_type(spec.key)))
        answer = LabelSet(tuple(encode_label(label) for label in spec.labels))
        drawn[f"{spec.bucket}/{spec.key}"] = drawn[md5_hex(body)] = answer
    return drawn


def drawn_body(spec: DrawnSpec, seed: int) -> bytes:
    """The bytes of a drawn picture, or of a text file."""
    return draw_picture(spec.subject, spec.key, seed) if spec.subject else spec.text.encode()


def content_type(key: str) -> str:
    """The content type that an upload tool would derive from the name."""
    return mimetypes.guess_type(key)[0] or "binary/octet-stream"


def _load_folder(store: Store, load: LoadSpec) -> None:
    root = Path(load.directory)
    if not root.is_dir():
        raise ValueError(f"cannot load bucket {load.bucket!r}: {load.directory!r} is not a folder")
    for path in sorted(root.rglob("*")):
        if path.is_file():
            key = path.relative_to(root).as_posix()
            store.put(load.bucket, key, path.read_bytes(), Attributes(content_type=content_type(key)))


def _add_synthetic(store: Store, synthetic: SyntheticSpec) -> None:
    keys = SyntheticKeys(synthetic.objects, synthetic.pattern)
    store.buckets[synthetic.bucket].stand_on(keys, tiny_picture(), content_type(keys[0]))
