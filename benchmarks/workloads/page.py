"""The review page in a real browser: ten thousand pictures that wait, and as many rows as a checkpoint has.

Measured as a person sees it: the first tile of *Find* and the whole index from the start of the navigation, a key until
the next picture is painted, the frames of a grid that scrolls. ``photos/`` of the data folder is used where it is;
else pictures are drawn. Needs Debian's ``chromium`` and Playwright.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import review
from benchmarks.bench import Bench, environment
from benchmarks.peers import ours
from benchmarks.process import BenchmarkError
from benchmarks.workloads import checkpoint, pictures

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_PATIENCE_MS = 300_000
_WIDTH, _HEIGHT = 1400, 900
_DRAWN = 64
"""Pictures that are drawn where there are no photographs; each file has bytes of its own behind the picture."""
_SCROLLED_FRAMES = 150
_SEEN_MS = 120
"""Between a card that takes keys and its key: longer than prefetching takes, as a person needs longer."""

_WATCH = """([name, token]) => {
    sessionStorage.setItem(name, token);
    document.addEventListener("load", ({ target }) => {
        const isTile = target instanceof HTMLImageElement && target.closest("[data-testid=tile]");
        if (isTile && !performance.getEntriesByName("first-tile").length) performance.mark("first-tile");
    }, { capture: true });
}"""
_MARKS = "Object.fromEntries(performance.getEntriesByType('mark').map((one) => [one.name, one.startTime]))"
_SCROLL = """(frames) => new Promise((done) => {
    const grid = document.querySelector("[data-testid=grid]");
    const took = [];
    let before = null;
    const began = performance.now();
    const step = (now) => {
        if (before !== null) took.push(now - before);
        before = now;
        grid.scrollTop += 300;
        if (took.length < frames) return requestAnimationFrame(step);
        const asked = performance.getEntriesByType("resource")
            .filter(({ name, startTime }) => name.includes("/image/320/") && startTime > began + 50);
        done({ took, asked: asked.length, tiles: document.querySelectorAll("[data-testid=tile]").length });
    };
    requestAnimationFrame(step);
})"""
_DECIDED = "performance.getEntriesByName('asyncfilter:decide').map((one) => one.duration)"
_READY = "[data-testid=card][data-ready=true]"
_SAVED = "[data-testid=unsaved][data-count='0']"


def measure(bench: Bench) -> dict[str, Any]:
    """Figures of the page, and of its server over many rows."""
    with browser() as opened:
        return {
            "cards": bench.sizes.cards,
            "page": _page(bench, opened),
            "rows": bench.sizes.rows,
            "usable_s": _usable_s(bench, opened),
            "server": review.measured(bench, bench.sizes.rows),
        }


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser.

    Raises:
        BenchmarkError: There is none.
    """
    path = shutil.which("chromium")
    if path is None:
        raise BenchmarkError("no chromium: apt-get install chromium")
    with import_module("playwright.sync_api").sync_playwright() as playwright:
        opened: Browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


# -- Ten thousand pictures ---------------------------------------------------------------------------------------------


def _page(bench: Bench, opened: Browser) -> dict[str, Any]:
    job, kind = _job(bench)
    with review.served(job, {}) as server:
        server.wait_for(lambda: server.get("job")["ready"])
        rounds = [_opened(opened, server) for _ in range(bench.sizes.rounds)]
        found = {name: round(statistics.median(one[name] for one in rounds), 1) for name in rounds[0]}
        with _tab(opened, server, "#find") as page:
            _until_indexed(page)
            scrolled = page.evaluate(_SCROLL, _SCROLLED_FRAMES)
        with _tab(opened, server, "#decide") as page:
            _until_indexed(page)
            decided = _decide(page, bench.sizes.decisions)
    return {
        "pictures": kind,
        **found,
        "frame_p50_ms": round(statistics.median(scrolled["took"]), 1),
        "frame_p95_ms": _p95(scrolled["took"]),
        "asked_while_scrolling": scrolled["asked"],
        "tiles": scrolled["tiles"],
        "key_p50_ms": round(statistics.median(decided), 1),
        "key_p95_ms": _p95(decided),
    }


def _opened(opened: Browser, server: review.Server) -> dict[str, float]:
    """From the start of a navigation in a browser that has nothing of the page yet."""
    with _tab(opened, server, "#find") as page:
        _until_indexed(page)
        page.locator("[data-testid=tile] img[src]").first.wait_for()
        marks: dict[str, float] = page.evaluate(_MARKS)
        while "first-tile" not in marks:
            marks = page.evaluate(_MARKS)
    with _tab(opened, server, "#decide") as page:
        page.locator(_READY).wait_for()
        first: dict[str, float] = page.evaluate(_MARKS)
    return {
        "first_card_ms": first["asyncfilter:first-card"],
        "first_tile_ms": marks["first-tile"],
        "all_cards_ms": marks["asyncfilter:index"],
    }


def _decide(page: Page, decisions: int) -> list[float]:
    """Milliseconds from a key to the next picture."""
    for number in range(decisions):
        page.locator(_READY).wait_for()
        page.wait_for_timeout(_SEEN_MS)
        page.keyboard.press("kru"[number % 3])
    page.locator(_READY).wait_for()
    page.locator(_SAVED).wait_for(state="attached")
    found: list[float] = page.evaluate(_DECIDED)
    return found


def _until_indexed(page: Page) -> None:
    page.locator("[data-testid=app][data-index-ready=true]").wait_for()


def _p95(values: list[float]) -> float:
    return round(statistics.quantiles(values, n=20)[-1], 1)


@contextmanager
def _tab(opened: Browser, server: review.Server, place: str) -> Iterator[Page]:
    """A page at a place, in a context of its own."""
    context = opened.new_context(viewport={"width": _WIDTH, "height": _HEIGHT})
    try:
        context.set_default_timeout(_PATIENCE_MS)
        page = context.new_page()
        page.add_init_script(f"({_WATCH})({json.dumps(['asyncfilter-token', server.token])})")
        page.goto(server.address + place)
        yield page
    finally:
        context.close()


@dataclass(frozen=True, slots=True)
class _Source:
    kind: str
    files: list[bytes]


def _source(bench: Bench) -> _Source:
    photos = bench.recorded.parents[1] / "photos" if bench.recorded is not None else Path()
    found = sorted(photos.rglob("*.jpg")) if bench.recorded is not None else []
    if found:
        return _Source("photographs", [path.read_bytes() for path in found])
    folder = bench.new_folder()
    pictures.fill(folder, "JPEG", min(_DRAWN, bench.sizes.cards))
    return _Source("drawn", [path.read_bytes() for path in sorted(folder.iterdir())])


def _job(bench: Bench) -> tuple[Path, str]:
    """A job over a folder whose images all wait for people, examined."""
    source, folder = _source(bench), bench.new_folder()
    for number in range(bench.sizes.cards):
        body = source.files[number % len(source.files)]
        (folder / f"{number:05}.jpg").write_bytes(body + b"%06d" % number)  # equal pictures would be one image
    label = bench.answers.label
    rules = [{"keep": {"any": [label], "confidence": 99.99}}, {"review": {"any": [label], "confidence": 1}}]
    job = pictures.write_job(folder, bench.new_folder(), rules=rules, otherwise="review")
    with bench.sandbox(1) as sandbox:
        done = subprocess.run(
            ours.command("run", job), env=environment(sandbox.environment()), capture_output=True, check=False
        )
    if done.returncode not in {0, 1}:
        raise BenchmarkError(f"the run ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return job, source.kind


# -- Many rows ---------------------------------------------------------------------------------------------------------


def _usable_s(bench: Bench, opened: Browser) -> float:
    """Seconds from the start of the command to the first decision that is saved."""
    job = review.write_job(bench, bench.sizes.rows)
    with bench.sandbox(bench.sizes.rows + checkpoint.NEW_OBJECTS) as sandbox:
        began_s = time.monotonic()
        with review.served(job, sandbox.environment()) as server, _tab(opened, server, "#decide") as page:
            page.locator(_READY).wait_for()
            page.keyboard.press("k")
            page.locator(_SAVED).wait_for(state="attached")
            return round(time.monotonic() - began_s, 2)
