"""The review server over the checkpoint of a job: its queues, pictures in S3, audits, and what follows from answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import boto3
import pytest

from asyncfilter.checkpoint.lock import RunLock
from asyncfilter.cli.app import command_line
from asyncfilter.sandbox import BucketSpec, SamplesSpec, SandboxOptions, SandboxProcess
from tests.kit.audits import AuditedJob, audited_job
from tests.kit.review import Page, ReviewProcess, given
from tests.kit.workspace import PATIENCE_S, Workspace

JOB: dict[str, Any] = {
    "source": "s3://raw/raw/",
    "rules": [
        {"reject": {"any": ["Person"], "confidence": 85}},
        {"keep": {"any": ["Robin"], "confidence": 99}},
        {"review": {"any": ["Robin"], "confidence": 10}},
    ],
    "actions": {"keep": {"copy": "s3://clean/robin/{relative}"}},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    """One sandbox for the module."""
    options = SandboxOptions(samples=(SamplesSpec("raw", 40),), buckets=(BucketSpec("clean"),), tps=200)
    with SandboxProcess(options) as process:
        yield process


@pytest.fixture
def workspace(tmp_path: Path, sandbox: SandboxProcess) -> Workspace:
    """A job that has not run yet."""
    return Workspace(tmp_path, sandbox, **JOB)


@pytest.fixture
def summary(workspace: Workspace) -> dict[str, Any]:
    """The job has run: its summary."""
    return workspace.summary("run", str(workspace.job))


@pytest.fixture
def audited(tmp_path: Path) -> AuditedJob:
    """Another job, with images enough for an audit."""
    return audited_job(tmp_path / "audited", 300)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE_S)) as opened:
        yield opened


async def cards(page: Page, ids: list[int]) -> list[dict[str, Any]]:
    """The cards of some images."""
    found: list[dict[str, Any]] = (await page.json(f"/api/cards?ids={','.join(map(str, ids))}"))["cards"]
    return found


async def test_the_band_is_shown_with_its_reasons(
    workspace: Workspace, summary: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    """The most uncertain first, with labels, thresholds, boxes and pictures of the bucket; look-alikes by labels."""
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        ids = await page.waiting()
        assert len(ids) == summary["review"]
        job = await page.json("/api/job")
        assert job["counts"]["images"] == summary["examined"] == server.found["images"]
        assert (job["labels"], job["running"]) == (["Robin"], False)
        assert [rule["text"] for rule in job["rules"]] == ["Person", "Robin", "Robin"]
        found = await cards(page, ids)
        nearest = [min(abs(card["score"] - pct) for pct in (99, 10)) for card in found]
        assert nearest == sorted(nearest)
        first = found[0]
        assert (first["verdict"], first["rule_verdict"], first["rule"], first["answer"]) == (
            "review",
            "review",
            2,
            None,
        )
        assert first["why"] == f"Robin {first['score']:.1f}, keep from 99"
        assert first["labels"][0] == {"name": "Robin", "confidence": first["score"], "threshold": 99.0}
        assert any(box["label"] == "Robin" for card in found for box in card["machine_boxes"])
        assert (await page.get(first["thumb"])).status == 200
        near = (await page.json(f"/api/near?id={ids[0]}&by=labels&limit=5"))["ids"]
        assert ids[0] not in near
        assert (await page.json("/api/figures"))["rules"] == []


async def test_answers_are_planned_and_applied(
    workspace: Workspace, summary: dict[str, Any], session: aiohttp.ClientSession
) -> None:
    """A plan shows what refilter would do, and is outdated by newer answers; then the copies are made."""
    before = summary
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        first, second = (await page.waiting())[:2]
        await page.answer(given(first, "planned-1", "keep"))
        plan = (await page.post("/api/apply", {"step": "plan"})).json
        assert plan["counts"]["keep"] == plan["counts"]["before"]["keep"] + 1 == before["keep"] + 1
        await page.answer(given(second, "planned-2", "reject"))
        refused = await page.post("/api/apply", {"step": "go", "plan": plan["plan"]})
        assert (refused.status, refused.code) == (409, "outdated")
        lock = RunLock(workspace.folder / ".asyncfilter" / "robins.db")
        refused = await page.post("/api/apply", {"step": "plan"})
        assert (refused.status, refused.code) == (409, "running")
        lock.release()
        plan = (await page.post("/api/apply", {"step": "plan"})).json
        headers = {"X-Asyncfilter-Token": server.token()}
        async with session.get(f"{server.origin}/api/events", headers=headers) as stream:
            started = await page.post("/api/apply", {"step": "go", "plan": plan["plan"]})
            assert (started.status, started.json) == (202, {"started": True})
            seen = b""
            while b'"state":"done"' not in seen:
                seen += await asyncio.wait_for(stream.content.readany(), PATIENCE_S)
        assert b'"exit_code":' in seen
    after = await asyncio.to_thread(workspace.json, "status", str(workspace.job))
    assert (after["keep"], after["copied"]) == (before["keep"] + 1, before["copied"] + 1)
    assert after["reviewed"]["reject"] == 1


async def test_rows_of_a_run_appear(workspace: Workspace, session: aiohttp.ClientSession) -> None:
    """Without a checkpoint there are no cards; those of a run come by themselves, and it is not disturbed."""
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        assert server.found["images"] == 0
        assert (await page.json("/api/queue?name=all"))["ids"] == []
        summary = await asyncio.to_thread(workspace.summary, "run", str(workspace.job))
        await page.counts_become("images", summary["examined"])
        assert len(await page.waiting()) == summary["review"]


@pytest.mark.usefixtures("summary")
async def test_answers_of_other_programs_are_seen(workspace: Workspace, session: aiohttp.ClientSession) -> None:
    """What ``answers set`` writes changes cards, counts and queues within seconds."""
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        ids = await page.waiting()
        (card,) = await cards(page, ids[:1])
        await asyncio.to_thread(workspace, "answers", "set", str(workspace.job), card["key"], "unsure", "--as", "clara")
        await page.counts_become("unsure", 1)
        (now,) = await cards(page, ids[:1])
        assert (now["verdict"], now["answer"]["verdict"], now["answer"]["reviewer"]) == ("review", "unsure", "clara")
        assert (await page.json("/api/queue?name=unsure"))["ids"] == ids[:1]
        assert await page.waiting() == ids[1:]


@pytest.mark.usefixtures("summary")
async def test_a_replaced_object_is_changed(workspace: Workspace, session: aiohttp.ClientSession) -> None:
    """Neither its picture nor an answer about it is taken for the new one."""
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        ids = await page.waiting()
        (card,) = await cards(page, ids[-1:])
        await asyncio.to_thread(_put, workspace.env, card["key"], b"another")
        assert (await page.get(card["full"])).code == "changed"  # smaller ones may have been made ahead
        (result,) = await page.answer(given(card["id"], "replaced-1"))
        assert result["status"] == "changed"
        assert (await page.get(card["large"])).status == 410


@pytest.mark.usefixtures("summary")
async def test_what_was_made_before_is_looked_at_again(workspace: Workspace, session: aiohttp.ClientSession) -> None:
    """A large picture that another server left in the cache is not shown once its object was replaced or removed."""
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        ids = (await page.waiting())[:3]
        before = await cards(page, ids)
        for card in before:
            assert (await page.get(card["large"])).status == 200
    client = _client(workspace.env)
    await asyncio.to_thread(client.put_object, Bucket="raw", Key=before[0]["key"], Body=b"another")
    await asyncio.to_thread(client.delete_object, Bucket="raw", Key=before[1]["key"])
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        await page.waiting()
        for card, status in zip(before, (410, 410, 200), strict=True):
            async with asyncio.timeout(PATIENCE_S):
                while (await page.get(card["large"])).status != status:  # noqa: ASYNC110  slow looks are put off
                    await asyncio.sleep(0.1)
        assert [(await page.get(card["thumb"])).status for card in before[:2]] == [410, 410]
        results = await page.answer(*(given(card["id"], f"before-{card['id']:03}") for card in before))
        assert [one["status"] for one in results] == ["changed", "stored", "stored"]


@pytest.mark.usefixtures("summary")
async def test_a_fresh_checkpoint_has_other_ids(workspace: Workspace, session: aiohttp.ClientSession) -> None:
    """Answers find their images again; an answer that a tab still holds meets none of the new rows."""
    with ReviewProcess(workspace.job, env=workspace.env) as server:
        page = Page(session, server)
        former = await page.waiting()
        await page.answer(given(former[0], "former-01"))
        again = await asyncio.to_thread(workspace.summary, "run", str(workspace.job), "--fresh", "--yes")
        async with asyncio.timeout(PATIENCE_S):
            while set(await page.waiting()) & set(former):  # noqa: ASYNC110  of another process; counts stay the same
                await asyncio.sleep(0.1)
        await page.counts_become("images", again["examined"])
        await page.counts_become("waiting", len(former) - 1)
        assert not set(await page.waiting()) & set(former)
        (result,) = await page.answer(given(former[1], "former-02"))
        assert result["status"] == "unknown"


async def test_audits_are_blind_until_they_are_answered(audited: AuditedJob, session: aiohttp.ClientSession) -> None:
    """The machine's opinion is hidden in the whole card; the twentieth image is asked twice, of somebody else."""
    with ReviewProcess(audited.path, env={"AWS_EC2_METADATA_DISABLED": "true"}) as server:
        anna, ben = Page(session, server, "anna"), Page(session, server, "ben")
        await anna.waiting()
        assert (await anna.json("/api/queue?name=audit"))["ids"] == []
        assert await asyncio.to_thread(command_line, ["audit", str(audited.path), "--milestones", "20,40"]) == 0
        asked = (await anna.json("/api/queue?name=audit"))["ids"]
        assert len(asked) >= 20
        (card,) = await cards(anna, asked[:1])
        assert card["blind"] is True
        hidden = ("verdict", "rule_verdict", "rule", "why", "score", "labels", "machine_boxes", "answer")
        assert all(card[name] is None for name in hidden)
        assert (await anna.json(f"/api/near?id={asked[0]}&by=labels"))["ids"] == []
        taken = (await anna.post("/api/take", {"queue": "audit", "n": 20})).json["ids"]
        assert taken == asked[:20]
        for id_ in taken:
            (result,) = await anna.answer(given(id_, f"audited-{id_}", asked_as="audit"))
            assert result["status"] == "stored"
        (open_card,) = await cards(anna, asked[:1])
        assert (open_card["blind"], open_card["answer"]["verdict"]) == (False, "keep")
        assert open_card["labels"]
        (again,) = (await ben.post("/api/take", {"queue": "second", "n": 5})).json["ids"]
        assert again == asked[19]
        (blind,) = await cards(ben, [again])
        assert (blind["blind"], blind["answer"]) == (True, None)
        (result,) = await ben.answer(given(again, "second-01", "reject", asked_as="second"))
        assert (result["status"], result["current"]["verdict"]) == ("stored", "unresolved")
        assert (await ben.json("/api/queue?name=second"))["ids"] == []
        figures = await anna.json("/api/figures")
        assert "/" not in figures["file"]
        assert figures["agreement"]["pairs"] == 1
        assert figures["rules"][0]["parts"]["taken"]["answered"] == 20


def _put(env: Mapping[str, str], key: str, body: bytes) -> None:
    _client(env).put_object(Bucket="raw", Key=key, Body=body)


def _client(env: Mapping[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
