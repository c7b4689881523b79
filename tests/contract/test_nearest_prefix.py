"""The nearest prefix that has images is found in S3, on both clients, and near a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncfilter import plan, run
from asyncfilter.aws.s3 import places
from asyncfilter.model import NothingFound, StopReason
from asyncfilter.sandbox import BucketSpec, SandboxOptions
from tests.kit.jobs import make_bare_job
from tests.kit.services import serving

OPTIONS = SandboxOptions(buckets=(BucketSpec("raw"),), check_images=False)


async def explained(*keys: str, prefix: str, **sections: Any) -> NothingFound:
    """What a plan says about a prefix of a bucket with these keys."""
    job = make_bare_job(source=f"s3://raw/{prefix}", limits={"tps": 5}, **sections)
    async with serving(OPTIONS) as sandbox:
        for key in keys:
            sandbox.put("raw", key, b"" if key.endswith("/") else b"picture")
        found = (await plan(job)).plan_inputs.nothing
        assert "DetectLabels" not in sandbox.stats().operations
    assert found is not None
    return found


NEAREST: dict[str, tuple[list[str], str, str, str]] = {
    "the case of a folder": (["Birds/1.jpg"], "birds/", "Birds/", "upper and lower case count"),
    "the case further up": (["Raw/birds/1.jpg", "x/1.jpg"], "raw/birds/", "Raw/birds/", "upper and lower case count"),
    "a misspelt folder": (["cats/1.jpg", "birds/1.jpg"], "brids/", "birds/", "no key begins with 'brids/'"),
    "a misspelt folder further up": (["birds/robin/1.jpg"], "brids/robin/", "birds/robin/", "no key begins with"),
    "a wildcard": (["birds/1.jpg"], "birds/*", "birds/", "the address is a prefix, in which * has no meaning"),
    "a glob": (["birds/1.jpg"], "birds/*.jpg", "birds/", "the address is a prefix, in which * has no meaning"),
    "a wildcard in a name": (["birds/rob1.jpg"], "birds/rob?.jpg", "birds/rob", "in which ? has no meaning"),
    "composed letters": (["caf\u00e9/1.jpg"], "cafe\u0301/", "caf\u00e9/", "the Unicode form of the address"),
    "decomposed letters": (["cafe\u0301/1.jpg"], "caf\u00e9/", "cafe\u0301/", "the Unicode form of the address"),
    "percent signs": (["my birds/1.jpg"], "my%20birds/", "my birds/", "percent-encoded"),
    "a plus for a space": (["my birds/1.jpg"], "my+birds/", "my birds/", "+ for a space"),
    "two slashes": (["birds/1.jpg"], "/birds/", "birds/", "a slash too many after the bucket"),
    "two slashes inside": (["a/birds/1.jpg"], "a//birds/", "a/birds/", "a slash too many"),
    "a slash where keys go on": (["birds-1.jpg"], "birds/", "birds", "ends in a slash, and the keys go on"),
    "a folder that is gone": (["x/y/1.jpg"], "birds/", "x/", "no key begins with 'birds/'"),
    "images beside": (["1.jpg", "docs/a.txt"], "birds/", "", "no key begins with 'birds/'"),
    "a mark alone": (["birds/", "Birds2/1.jpg"], "birds/", "Birds2/", "only marks of folders"),
    "files of another kind": (["birds/a.txt", "birds-raw/1.png"], "birds/", "birds-raw/", "no key has one of an image"),
    "images that globs leave out": (["birds/1.webp"], "birds/", "birds/", "the images are .webp"),
}


@pytest.mark.parametrize(
    ("name", "client"), [*((name, "fast") for name in NEAREST), ("a misspelt folder further up", "aioboto3")]
)
async def test_the_nearest_prefix_and_the_cause(name: str, client: str) -> None:
    """A plan names both, and pays for nothing."""
    keys, prefix, nearest, cause = NEAREST[name]
    found = await explained(*keys, prefix=prefix, aws={"client": client})
    assert found.nearest_prefix == f"s3://raw/{nearest}"
    assert cause in found.likely_cause


async def test_what_looks_alike_is_shown_with_escapes() -> None:
    """In the form that a job file takes."""
    found = await explained("cafe\u0301/1.jpg", prefix="caf\u00e9/")
    assert found.hint == 'Set source.uri to "s3://raw/cafe\\u0301/".'


async def test_a_glob_in_the_address_becomes_a_glob() -> None:
    """The hint has both settings."""
    found = await explained("birds/1.png", prefix="birds/*.png")
    assert found.hint == 'Set source.uri to s3://raw/birds/, and source.include to ["*.png"].'


async def test_an_empty_bucket_has_no_nearest_prefix() -> None:
    """Nor has one without images."""
    for keys in ([], ["docs/a.txt"]):
        found = await explained(*keys, prefix="birds/")
        assert found.nearest_prefix is None
        assert "Nearest" not in found.message


async def test_many_folders_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much a folder holds, it costs one request; of very many folders, the first part is read."""
    monkeypatch.setattr(places, "MOST_REQUESTS", 3)
    keys = [f"a{folder}/{number:04d}.txt" for folder in range(2) for number in range(1500)]
    found = await explained(*keys, "birds/1.jpg", prefix="brids/")
    assert found.nearest_prefix == "s3://raw/birds/"


async def test_a_folder_has_neighbours(tmp_path: Path) -> None:
    """The run names the most similar folder beside an empty one; it stays in the two folders above."""
    for folder in ("photos", "Photos2024", "documents"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Photos2024" / "1.jpg").write_bytes(b"picture")
    (tmp_path / "documents" / "a.txt").write_bytes(b"text")
    job = make_bare_job(base_dir=tmp_path, source="./photos", detector={"region": "us-east-1"}, limits={"tps": 5})
    async with serving(OPTIONS):
        summary = await run(job)
        found = (await plan(job)).plan_inputs.nothing
    assert summary.stop_reason is StopReason.NOTHING_TO_EXAMINE
    assert summary.nothing == found
    assert found is not None
    assert found.nearest_prefix == f"{tmp_path}/Photos2024/"
    assert f"no object is listed in {tmp_path}/photos/" in found.message


async def test_a_corrected_source_takes_the_same_checkpoint(tmp_path: Path) -> None:
    """A checkpoint without an image is bound to no source; one with an image is."""

    def job(prefix: str, **sections: Any) -> Any:
        source = {"uri": f"s3://raw/{prefix}", "order": "random"}
        return make_bare_job(base_dir=tmp_path, source=source, limits={"tps": 100}, **sections)

    async with serving(OPTIONS) as sandbox:
        sandbox.put("raw", "birds/Robin/1.jpg", b"picture")
        sandbox.put("raw", "birds/a.txt", b"text")
        sandbox.put("raw", "docs/a.txt", b"text")
        for prefix in ("docs/", "brids/", "docs/"):
            summary = await run(job(prefix))
            assert summary.stop_reason is StopReason.NOTHING_TO_EXAMINE
            assert summary.counts.listed == (prefix == "docs/")
        assert (await plan(job("birds/"))).forecast.calls == 1
        summary = await run(job("birds/", detector={"max_labels": 10}))
        assert (summary.stop_reason, summary.counts.listed, summary.counts.keep) == (StopReason.COMPLETED, 2, 1)
        assert summary.complete
