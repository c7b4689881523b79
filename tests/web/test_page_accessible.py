"""Every screen for everybody: axe, colours, small screens, zoom, another keyboard, no layout that shifts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.review_double import FakeReview
from tests.kit.review_page import ReviewPage
from tests.web.test_page_screens import FIGURES

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opener = Callable[..., Any]
COLOURS = ({"color_scheme": "light"}, {"color_scheme": "dark"}, {"forced_colors": "active"})


async def violations(page: ReviewPage) -> list[str]:
    """What axe finds, with the elements."""
    from axe_playwright_python.async_playwright import Axe

    # axe comes in through the debugger: the content security policy stays as it is.
    session = await page.page.context.new_cdp_session(page.page)
    await session.send("Runtime.evaluate", {"expression": Axe().axe_script})
    found = await page.look("axe.run({resultTypes: ['violations']})")
    await session.detach()
    return [f"{one['id']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found["violations"]]


async def settle(page: ReviewPage, tab: str) -> None:
    """Wait until a screen has its contents."""
    await page.open_tab(tab)
    shown = {"decide": "card", "sheet": "sheet-tile", "find": "tile", "insights": "rule", "run": "pulse"}
    await page.at(shown[tab]).first.wait_for()


@pytest.mark.parametrize("colours", COLOURS, ids=lambda one: next(iter(one.values())))
async def test_axe_finds_nothing(open_page: Opener, review: FakeReview, colours: dict[str, str]) -> None:
    """No violation on any screen, nor in help, boxes and groups; in each set of colours and at two widths."""
    review.figures = FIGURES
    review.cards[1] |= {
        "labels": [{"name": "Robin", "confidence": 71.3, "threshold": 85.0}],
        "machine_boxes": [{"label": "Robin", "confidence": 71.3, "left": 0.2, "top": 0.2, "width": 0.3, "height": 0.3}],
    }
    review.near = [8, 9]
    page = await open_page(**colours, viewport={"width": 1400, "height": 900})
    await page.ready()
    wrong = {}
    for width in (1400, 390):
        await page.resize(width, 844)
        for tab in ("decide", "sheet", "find", "insights", "run"):
            await settle(page, tab)
            wrong[tab, width] = await violations(page)
    await page.resize(1400, 900)
    await page.open_tab("decide")
    await page.ready()
    for keys in (("1",), ("b", "n", "m"), ("Enter", "g"), ("Escape", "?")):
        for key in keys:
            if key == "g":
                await page.page.locator("[data-testid=group][data-count='3']").wait_for()
            await page.page.keyboard.press(key)
        await page.page.locator(
            {
                "1": "[data-testid=label-chip]",
                "b": "[data-testid=box]",
                "Enter": "[data-testid=group-panel]",
                "Escape": "[data-testid=help]",
            }[keys[0]]
        ).first.wait_for()
        wrong[keys[-1], 1400] = await violations(page)
    assert {place: found for place, found in wrong.items() if found} == {}


@pytest.mark.parametrize("width", [320, 390, 700, 1024, 1400], ids=["small", "phone", "zoomed", "tablet", "desktop"])
async def test_nothing_is_wider_than_the_screen(open_page: Opener, review: FakeReview, width: int) -> None:
    """No screen scrolls sideways, also at 200 % zoom (1400 pixels become 700) and 400 % (320); buttons are in view."""
    review.figures = FIGURES
    review.cards[1]["key"] = "a/very/long/" + "folder" * 30 + "/name.jpg"
    page = await open_page(viewport={"width": width, "height": 450 if width == 700 else 844})
    await page.ready()
    for tab in ("decide", "sheet", "find", "insights", "run"):
        await settle(page, tab)
        for element in ("document.documentElement", "document.getElementById('screen')"):
            assert await page.look(f"{element}.scrollWidth - {element}.clientWidth") == 0, (tab, element)
    await page.open_tab("decide")
    await page.ready()
    for wide in (width, 768) if width == 700 else (width,):
        await page.resize(wide, 844)
        right = await page.page.locator(".looking").bounding_box()
        assert right is not None
        for name in ("keep", "reject", "unsure", "undo", "group", "boxes-open"):
            box = await page.at(name).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= right["x"] + right["width"], (wide, name)
    await page.at("keep").click()
    assert await page.ready() == 2


async def test_another_keyboard(open_page: Opener, review: FakeReview) -> None:
    """Letters count by what they type, digits by where they are: a French keyboard has letters on its row of digits."""
    page = await open_page()
    await page.ready()
    press = "([key, code]) => document.body.dispatchEvent(new KeyboardEvent('keydown', { key, code, bubbles: true }))"
    await page.page.evaluate(press, ["\u00e9", "Digit2"])
    await page.page.locator("[data-testid=label-chip][data-label=Wren]").wait_for()
    await page.page.evaluate(press, ["a", "KeyQ"])
    await page.page.locator("[data-testid=card][data-id='2'][data-ready=true]").wait_for()
    await page.saved()
    assert review.rows[-1]["verdict"] == "keep"
    await page.page.evaluate(press, ["\u043a", "KeyR"])  # a Russian layout has no Latin letters
    await page.page.locator("[data-testid=card][data-id='3']").wait_for()
    await page.saved()
    assert review.rows[-1]["verdict"] == "reject"


async def test_no_motion_where_none_is_wanted(open_page: Opener, review: FakeReview) -> None:
    """With reduced motion nothing moves or fades."""
    page = await open_page(reduced_motion="reduce")
    await page.ready()
    await page.decide("k")
    assert await page.look("document.getAnimations().length") == 0
    durations = (
        "[...new Set([...document.querySelectorAll('*')].map((one) => getComputedStyle(one).transitionDuration))]"
    )
    assert await page.look(durations) == ["0s"]


SHIFTS = """
globalThis.shifts = [];
new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries())
        if (!hadRecentInput && value > 0.01) shifts.push([value, ...sources.map(({ node }) => node?.className ?? "")]);
}).observe({ type: "layout-shift", buffered: true });
"""


async def test_the_layout_does_not_shift(open_page: Opener, review: FakeReview) -> None:
    """Pictures that come, and answers that are stored, move nothing."""
    page = await open_page(viewport={"width": 1400, "height": 900})
    await page.ready()
    await page.page.evaluate(f"() => {{{SHIFTS}}}")
    for _ in range(5):
        await page.decide("k")
    await page.saved()
    assert await page.look("shifts") == []
