"""``python -m website.review_strip``: a film strip of the review page for ``docs/review.md``.

It is the page of ``asyncfilter demo --review`` in a real browser, with the drawn pictures of the demo's sandbox. It
needs what the tests of the page need: Debian's chromium and Playwright.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

TARGET = Path(__file__).resolve().parents[1] / "docs" / "images" / "review.jpg"
CHROMIUM = "/usr/bin/chromium"
_FRAME = (1200, 800)
_PHONE = (390, 800)
_GAP = 24
_SCALE = 0.6
_SETTLES_MS = 900


@contextmanager
def _demo() -> Iterator[str]:
    """The link of the demo's page."""
    command = [sys.executable, "-m", "asyncfilter", "demo", "--review"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield next(line for line in process.stdout if line.startswith("review ")).split()[-1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            process.stdout.close()


def _open(browser: Browser, link: str, size: tuple[int, int], *, is_dark: bool = False) -> Page:
    width, height = size
    colours: Literal["dark", "light"] = "dark" if is_dark else "light"
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
    page.goto(link)
    page.locator("[data-testid=card][data-ready=true]").wait_for()
    return page


def _shot(page: Page) -> Image.Image:
    page.wait_for_timeout(_SETTLES_MS)
    return Image.open(io.BytesIO(page.screenshot()))


def _decide(page: Page, keys: str) -> None:
    for key in keys:
        page.locator("[data-testid=card][data-ready=true]").wait_for()
        page.keyboard.press(key)
    page.locator("[data-testid=card][data-ready=true]").wait_for()


def _screens(browser: Browser, link: str) -> list[list[Image.Image]]:
    """The rows of the strip."""
    desk = _open(browser, link, _FRAME)
    _decide(desk, "kkr")
    decide = _shot(desk)
    desk.get_by_test_id("tab-insights").click()
    desk.set_viewport_size({"width": _FRAME[0] + _GAP + _PHONE[0], "height": _FRAME[1]})
    insights = _shot(desk)
    night = _open(browser, link, _FRAME, is_dark=True)
    night.get_by_test_id("tab-find").click()
    find = _shot(night)
    phone = _open(browser, link, _PHONE)
    _decide(phone, "k")
    phone.keyboard.press("b")
    phone.keyboard.press("n")
    return [[decide, _shot(phone)], [find, _shot(_open(browser, link, _PHONE, is_dark=True))], [insights]]


def _strip(rows: list[list[Image.Image]]) -> Image.Image:
    """Rows of screens, one width."""
    width = max(sum(one.width for one in row) + _GAP * (len(row) - 1) for row in rows)
    strip = Image.new("RGB", (width, len(rows) * (_FRAME[1] + _GAP) - _GAP), "white")
    for number, row in enumerate(rows):
        left = 0
        for one in row:
            strip.paste(one, (left, number * (_FRAME[1] + _GAP)))
            left += one.width + _GAP
    return strip.resize((round(strip.width * _SCALE), round(strip.height * _SCALE)), Image.Resampling.LANCZOS)


def main() -> None:
    """Make the strip."""
    with _demo() as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        strip = _strip(_screens(browser, link))
        browser.close()
    strip.save(TARGET, quality=82, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
