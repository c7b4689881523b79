"""What other pages of the same browser can do to a review: nothing. On the real server."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from tests.kit.browser import browser
from tests.kit.review import ReviewProcess, picture_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

REBOUND = "--host-resolver-rules=MAP evil.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"

ATTACKS = """async ([base, token, picture]) => {
    const answers = JSON.stringify({ answers: [{ uid: "attack-0001", id: 1, verdict: "keep" }] });
    const tried = async (path, options) => {
        try {
            const reply = await fetch(base + path, options);
            return [reply.type, reply.status, await reply.text()].join();
        } catch (error) {
            return error.name;
        }
    };
    const shown = (tag, part) => new Promise((done) => {
        const element = document.createElement(tag);
        element.onload = () => done("shown");
        element.onerror = () => done("refused");
        document.body.append(Object.assign(element, part));
    });
    const posted = () => new Promise((done) => {
        const frame = Object.assign(document.createElement("iframe"), { name: "sink", onload: () => done("answered") });
        const form = Object.assign(document.createElement("form"), {
            method: "POST", action: base + "api/answers", target: "sink", enctype: "text/plain",
        });
        const field = { name: answers.slice(0, -1) + ',"x":"', value: '"}' };
        form.append(Object.assign(document.createElement("input"), field));
        document.body.append(frame, form);
        form.submit();
        setTimeout(() => done("no answer"), 500);
    });
    const opened = window.open(base);
    const severed = async () => {
        for (let times = 0; opened && !opened.closed && times < 1200; times++)
            await new Promise((done) => setTimeout(done, 100));
        return opened === null || opened.closed;
    };
    const known = { "Content-Type": "application/json", "X-Asyncfilter-Token": token };
    return {
        read: await tried("api/job", {}),
        withToken: await tried("api/job", { headers: { "X-Asyncfilter-Token": token } }),
        blind: await tried("api/answers", { method: "POST", mode: "no-cors", body: answers }),
        writes: await tried("api/answers", { method: "POST", body: answers, headers: known }),
        image: await shown("img", { src: base.slice(0, -1) + picture }),
        script: await shown("script", { src: base + "main.js", type: "module" }),
        form: await posted(),
        severed: await severed(),
    };
}"""


@pytest_asyncio.fixture(loop_scope="module")
async def other_site() -> AsyncIterator[str]:
    """A page of another origin."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Other</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_every_attack_of_another_page_is_refused(tmp_path: Path, other_site: str) -> None:
    """Reading, writing, pictures, scripts, frames, windows and a rebound name: even for one who knows the token."""
    folder = picture_folder(tmp_path / "photos", 2)
    with ReviewProcess(folder) as server:
        async with browser(REBOUND) as opened:
            page = await opened.new_page()
            await page.goto(server.urls["anna"])
            await page.get_by_test_id("photo").wait_for()
            large = await page.get_by_test_id("photo").get_attribute("src")
            evil = await opened.new_page()
            await evil.goto(other_site)
            found: dict[str, Any] = await evil.evaluate(ATTACKS, [f"{server.origin}/", server.token(), large])
            assert found["blind"] in {"TypeError", "opaque,0,"}
            assert {found[name] for name in ("read", "withToken", "writes")} == {"TypeError"}
            assert (found["image"], found["script"], found["severed"]) == ("refused", "refused", True)
            rebound = await evil.goto(f"http://evil.test:{server.port}/")
            assert rebound is not None
            assert rebound.status == 403
            framed = await opened.new_page()
            await framed.goto(other_site)
            await framed.set_content(f"<iframe src='{server.origin}/'></iframe>")
            await framed.wait_for_timeout(500)
            assert await framed.frame_locator("iframe").get_by_test_id("no-token").count() == 0
    with closing(sqlite3.connect(folder / ".asyncfilter" / "review.answers.db")) as file:
        assert file.execute("SELECT count(*) FROM answer").fetchone() == (0,)
