"""Planted mistakes about names, globs and places, with the detector whose names are known."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncfilter import Job, plan, run
from asyncfilter.errors import ExitCode
from asyncfilter.events import Event, ImageExamined, JobWarning
from asyncfilter.sandbox import BucketSpec, SamplesSpec, Sandbox, SandboxOptions
from tests.kit import jobs
from tests.kit.mistakes import MISNAMED, ROBIN, UNLISTED
from tests.kit.services import serving

IMAGES = 60


@asynccontextmanager
async def sandbox() -> AsyncIterator[Sandbox]:
    """A bucket of robins."""
    async with serving(SandboxOptions(buckets=(BucketSpec("raw"),), check_images=False)) as made:
        for number in range(IMAGES):
            made.put("raw", f"robin/{number:03d}.jpg", b"picture %d" % number)
        yield made


def make_job(folder: Path, sections: dict[str, Any]) -> Job:
    """A sound job with other sections."""
    return jobs.make_bare_job(base_dir=folder, **{"rules": [{"keep": ROBIN}], "limits": {"tps": 500}} | sections)


@pytest.mark.parametrize("name", MISNAMED)
async def test_a_name_that_does_not_exist_is_told(name: str, tmp_path: Path) -> None:
    """Once, by plan and run, before the first image; the run goes on."""
    mistake = MISNAMED[name]
    job = make_job(tmp_path, mistake.sections)
    events: list[Event] = []
    async with sandbox():
        found = await plan(job)
        summary = await run(job, on_event=events.append)
    for said in (found.cautions, summary.cautions):
        assert sum(mistake.told in sentence for sentence in said) == 1, said
    kinds = [type(event) for event in events if isinstance(event, JobWarning | ImageExamined)]
    assert kinds.index(ImageExamined) == kinds.count(JobWarning)
    assert summary.counts.examined == IMAGES


@pytest.mark.parametrize("name", UNLISTED)
async def test_a_listing_without_images_is_told(name: str, tmp_path: Path) -> None:
    """By plan and run, with the cause; nothing is paid for, and the run ends with exit code 1."""
    mistake = UNLISTED[name]
    job = make_job(tmp_path, mistake.sections)
    async with sandbox() as made:
        found = await plan(job)
        summary = await run(job)
        assert "DetectLabels" not in made.stats().operations
    assert any(mistake.told in sentence for sentence in found.cautions), found.cautions
    assert any(mistake.told in sentence for sentence in (*summary.cautions, summary.error or "", summary.hint or ""))
    assert (summary.stop_reason, summary.exit_code) == ("nothing_to_examine", ExitCode.SOME_FAILED)


async def test_the_job_without_a_mistake_says_nothing(tmp_path: Path) -> None:
    """What each mistake is planted in is sound."""
    job = make_job(tmp_path, {})
    async with sandbox():
        assert (await plan(job)).cautions == ()
        assert (await run(job)).cautions == ()


OTHERS = ("robin-old/1.jpg", "robin.bak/1.jpg", "robins/nest/1.jpg")


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("client", ["fast", "aioboto3"])
async def test_a_prefix_without_its_slash_is_told(client: str, other: str, tmp_path: Path) -> None:
    """Folders beside it are paid for as well: said by plan and run, before the first image."""
    job = make_job(tmp_path, {"source": "s3://raw/robin", "aws": {"client": client}})
    events: list[Event] = []
    async with sandbox() as made:
        made.put("raw", other, b"picture of something else")
        found = await plan(job)
        summary = await run(job, on_event=events.append)
    told = f"images in s3://raw/{other.partition('/')[0]}/ are examined and paid for as well"
    for said in (found.cautions, summary.cautions):
        assert sum(told in sentence and "write s3://raw/robin/" in sentence for sentence in said) == 1, said
    kinds = [type(event) for event in events if isinstance(event, JobWarning | ImageExamined)]
    assert kinds.index(ImageExamined) == kinds.count(JobWarning) == 1


@pytest.mark.parametrize(
    ("prefix", "keys"),
    [
        ("robin/", OTHERS),
        ("robin", ("robin.txt", "robin-1.jpg")),
        ("robin/0", ()),
        ("robin/000.jpg", ("robin/000.jpg.old/1.jpg",)),
        ("2024", ("2024-01/1.jpg", "2024-02/1.jpg")),
        ("", OTHERS),
    ],
)
async def test_a_prefix_that_names_no_folder_alone_is_not_told(
    prefix: str, keys: tuple[str, ...], tmp_path: Path
) -> None:
    """No false alarm about one with its slash, about a beginning of names, and about files beside the folder."""
    job = make_job(tmp_path, {"source": f"s3://raw/{prefix}"})
    async with sandbox() as made:
        for key in keys:
            made.put("raw", key, b"picture of something else")
        assert (await plan(job)).cautions == ()


async def test_a_sample_takes_a_caution_back(tmp_path: Path) -> None:
    """AWS adds labels and boxes: what the answers of a sample refute is no caution of the plan, nor of a later one."""
    rules = [{"keep": {"any": ["Robin", "Persson"]}}, {"review": {"count": {"label": "Robin", "min": 1}}}]
    job = make_job(tmp_path, {"rules": rules, "source": "s3://raw/"})
    told = ("no label 'Persson'", "'Robin' never has boxes")
    async with serving(SandboxOptions(samples=(SamplesSpec("raw", 30),))):
        before = (await plan(job)).cautions
        assert [sentence in caution for sentence, caution in zip(told, before, strict=True)] == [True, True]
        for found in (await plan(job, sample=20), await plan(job)):
            assert [told[0] in caution for caution in found.cautions] == [True]


async def test_a_rule_behind_an_ancestor_is_told_after_fifty_answers(tmp_path: Path) -> None:
    """Every Robin is an Animal: that is not published, so the answers tell; by then fifty images are paid for."""
    job = make_job(
        tmp_path,
        {
            "source": "s3://raw/",
            "rules": [{"reject": {"any": "Animal"}}, {"keep": {"any": "Robin"}}],
            "limits": {"tps": 40},
        },
    )
    events: list[Event] = []
    async with sandbox() as made:
        for number in range(100):
            made.put("raw", f"robin/more-{number:03d}.jpg", b"another picture %d" % number)
        assert (await plan(job)).cautions == ()
        summary = await run(job, on_event=events.append)
        assert (await plan(job)).cautions == summary.cautions
    kinds = [event for event in events if isinstance(event, JobWarning | ImageExamined)]
    (at,) = (at for at, event in enumerate(kinds) if isinstance(event, JobWarning))
    assert 40 <= at < 110
    (told,) = summary.cautions
    assert told.startswith("rules[1] (keep) can never match: rules[0] (reject) comes first")
    assert told.endswith("(Robin is always labelled 'Animal')")


async def test_a_list_has_no_siblings(tmp_path: Path) -> None:
    """Only its keys are examined, whatever else is in the bucket; nothing more is listed for a caution."""
    (tmp_path / "keys.txt").write_text("robin/000.jpg\nrobin/001.jpg\n")
    job = make_job(tmp_path, {"source": {"uri": "s3://raw/robin", "list": "./keys.txt"}})
    async with sandbox() as made:
        made.put("raw", OTHERS[0], b"picture of something else")
        assert (await plan(job)).cautions == ()
        assert made.stats().operations["ListObjectsV2"].attempts == 1  # the check that the source can be listed
