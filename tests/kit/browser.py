"""A real browser for the review page: Debian's chromium, driven by Playwright.

Nothing is let through: a console error, a violation of the content security policy, an unhandled rejection or a request
to another host fails the test that caused it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.workspace import PATIENCE_S

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page, Request

PATIENCE_MS = 1000 * PATIENCE_S
"""Of a condition that a slow machine fulfils late."""
ARGUMENTS = (
    "--no-sandbox",  # Chromium refuses to run as root with it, and containers often run as root
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def chromium() -> str:
    """Path of the browser; the test is skipped without it, but in CI, which installs it."""
    path = shutil.which("chromium")
    try:
        import playwright  # noqa: F401
    except ImportError:
        path = None
    if path is None and os.environ.get("NEEDS_BROWSER"):
        pytest.fail("chromium or Playwright is missing where NEEDS_BROWSER is set")
    if path is None:
        pytest.skip("no browser: chromium (apt-get install chromium) and Playwright for Python are needed")
    return path


@asynccontextmanager
async def browser(*arguments: str) -> AsyncIterator[Browser]:
    """A browser without network; with ``arguments`` in place of those that keep it from other hosts."""
    path = chromium()
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=path, args=[ARGUMENTS[0], *(arguments or ARGUMENTS[1:])], timeout=PATIENCE_MS
        )
        try:
            yield opened
        finally:
            await opened.close()


class Watched:
    """A page, and what it did wrong.

    Attributes:
        page: The page.
        wrongs: Console errors and warnings, errors of scripts, requests to other hosts.
        may_lose: True while requests may fail, as the server is away.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrongs: list[str] = []
        self.may_lose = False
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.wrongs.append(str(error)))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"} or (self.may_lose and "Failed to load resource" in message.text):
            return
        self.wrongs.append(f"{message.text} {message.location}")

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:")):
            self.wrongs.append(f"a request to {request.url}")


@asynccontextmanager
async def watched_page(opened: Browser, **options: Any) -> AsyncIterator[Watched]:
    """A page in a context of its own.

    Args:
        opened: The browser.
        options: Of ``Browser.new_context``.
    """
    context = await opened.new_context(**options)
    page = Watched(await context.new_page())
    try:
        yield page
    finally:
        await context.close()
    assert page.wrongs == []
