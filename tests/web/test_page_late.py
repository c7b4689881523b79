"""Frames, answers and pictures that come late set nothing back; on a double of the server.

Keys are sent between two frames, where what a component does behind its frame has not happened yet: a slow machine has
such frames by the dozen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.review_double import FakeReview
from tests.kit.review_page import ReviewPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opener = Callable[..., Any]

IN_ONE_FRAME = """async (steps) => {
    const drawn = async () => { for (let tick = 0; tick < 100; tick++) await null; };
    for (const step of steps) {
        const [key, code, more] = step;
        const target = document.activeElement ?? document.body;
        if (key === "click") document.querySelector(code).click();
        else if (key === "choose") {
            const field = document.querySelector(code);
            field.value = more;
            field.dispatchEvent(new Event("change", { bubbles: true }));
        } else {
            const event = { key, code, bubbles: true, cancelable: true, ...more };
            target.dispatchEvent(new KeyboardEvent("keydown", event));
        }
        await drawn();
    }
    const seen = document.querySelector("[data-testid=app]").dataset.tab;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))));
    return seen;
}"""


async def in_one_frame(page: ReviewPage, *steps: tuple[Any, ...]) -> Any:
    """Send keys, clicks and choices between two frames; the screen that was open at their end."""
    return await page.page.evaluate(IN_ONE_FRAME, [list(step) for step in steps])


def boxes(review: FakeReview) -> list[tuple[int, int]]:
    """Left top corners of the boxes of the first image, in pixels."""
    found = (review.cards[1]["answer"] or {}).get("boxes") or []
    return [(round(box["left"] * 800), round(box["top"] * 600)) for box in found]


async def test_keys_between_two_frames_edit_boxes(open_page: Opener, review: FakeReview) -> None:
    """The editor has its keys at once; a new box stays selected, and the one moved before it where it was moved to."""
    page = await open_page()
    await page.ready()
    right = ("ArrowRight", "ArrowRight")
    await in_one_frame(page, ("b", "KeyB"), ("n", "KeyN"), right, right)
    await page.at("box-left").wait_for()
    await in_one_frame(page, ("n", "KeyN"), ("ArrowDown", "ArrowDown"), ("n", "KeyN"), ("Delete", "Delete"))
    await page.page.locator("[data-testid=unsaved][data-count='0']").wait_for(state="attached")
    assert boxes(review) == [(302, 225), (300, 226)]
    await in_one_frame(page, ("l", "KeyL"))
    assert await page.look("document.activeElement.dataset.testid") == "box-label"


async def test_a_screen_is_left_between_two_frames(open_page: Opener, review: FakeReview) -> None:
    """A tab pressed right after a decision opens; what the picture before had does not go with the next one."""
    review.near = [7, 8, 9]
    page = await open_page()
    await page.ready()
    await page.page.locator("[data-testid=group][data-count='4']").wait_for()
    await in_one_frame(page, ("k", "KeyK"), ("g", "KeyG"))
    assert await page.at("group-panel").count() == 0
    await page.ready()
    assert await in_one_frame(page, ("k", "KeyK"), ("click", "[data-testid=tab-sheet]")) == "sheet"
    await page.page.locator("[data-testid=sheet-commit][data-count='24']").wait_for()
    await page.saved()
    assert [row["id"] for row in review.rows] == [1, 2]


async def test_a_sheet_of_before_takes_no_key(open_page: Opener, review: FakeReview) -> None:
    """Pictures that were on the sheet when it was left are neither committed nor marked while others come."""
    page = await open_page()
    await page.ready()
    await page.open_tab("sheet")
    await page.page.locator("[data-testid=sheet-commit][data-count='24']").wait_for()
    await page.open_tab("decide")
    review.is_busy = True  # what was said last is not known to the server when the sheet asks
    assert await page.decide("k") == 1
    await in_one_frame(page, ("click", "[data-testid=tab-sheet]"), ("Enter", "Enter"), (" ", "Space"))
    assert await page.page.locator("[data-testid=sheet-tile][data-verdict=reject]").count() == 0
    await page.page.locator("[data-testid=sheet-commit][data-count='23']").wait_for()  # of the 24 one is decided
    review.is_busy = False
    await page.saved()
    assert [row["id"] for row in review.rows] == [1]


async def test_a_selection_outlives_the_frame_of_its_filter(open_page: Opener, review: FakeReview) -> None:
    """What is selected as soon as a filter has its list stays selected."""
    page = await open_page()
    await page.ready()
    await page.page.locator("[data-testid=app][data-index-ready=true]").wait_for()
    await page.open_tab("find")
    everything = ("a", "KeyA", {"ctrlKey": True})
    await in_one_frame(page, ("choose", "[data-testid=filter-verdict]", "review"), everything)
    assert await page.attribute("selection", "count") == "40"


async def test_cards_and_counts_of_before_change_nothing(open_page: Opener, review: FakeReview) -> None:
    """Cards read before an answer, and counts told before it, may come after it: they are older."""
    page = await open_page()
    await page.ready()
    await page.page.locator("[data-testid=app][data-index-ready=true]").wait_for()
    review.cards[1]["why"] = "late"
    review.cards_go.clear()
    await review.send("answer", {"id": 1, "serial": 1, "reviewer": "ben"})
    while not review.held:  # noqa: ASYNC110  asked for by a browser
        await asyncio.sleep(0.02)
    await page.page.keyboard.press("1")
    await page.saved()
    review.cards_go.set()
    await page.at("why").get_by_text("late").wait_for()
    await page.page.keyboard.press("2")
    await page.decide("k")
    await page.saved()
    assert review.cards[1]["answer"]["labels"] == ["Robin", "Wren"]
    await page.look("""{
        globalThis.seen = [];
        const rest = document.querySelector("[data-testid=rest]");
        new MutationObserver(() => seen.push(rest.dataset.count)).observe(rest, { attributes: true });
    }""")
    await review.send("counts", {"serial": 0, "waiting": 40})
    await review.send("counts", {"serial": 1000, "waiting": 7})
    await page.page.locator("[data-testid=rest][data-count='7']").wait_for()
    assert await page.look("seen") == ["7"]


async def test_a_picture_that_does_not_come_is_not_broken(open_page: Opener, review: FakeReview) -> None:
    """While the server is away no card takes a key; its picture comes by itself, also that of a tile."""
    review.has_pictures = False
    page = await open_page(may_lose=True)
    for tab, path in (("decide", "/image/1280/1"), ("sheet", "/image/320/3")):
        await page.open_tab(tab)
        while review.images.count(path) < 2:  # noqa: ASYNC110  asked for by a browser
            await asyncio.sleep(0.02)
    assert await page.page.get_by_text("No picture").count() == 0
    await page.open_tab("decide")
    assert await page.at("broken").count() == 0
    assert await page.attribute("card", "ready") == "false"
    review.has_pictures = True
    assert await page.ready() == 1
    assert await page.look("document.querySelector('[data-testid=photo]').naturalWidth") == 800


async def test_what_is_expected_is_no_error_of_the_console(open_page: Opener, review: FakeReview) -> None:
    """A picture that nobody knew to be broken, a plan that is refused, an answers file that is locked."""
    picture = review._picture
    review._picture = lambda id_, size: b"" if id_ == 1 else picture(id_, size)
    page = await open_page()
    await page.at("broken").wait_for()
    assert await page.decide("r") == 1
    review.is_busy = True
    await page.decide("k")
    await page.page.locator("[data-testid=notice][data-kind=busy]").wait_for()
    review.is_busy = False
    await page.saved()
    await page.open_tab("find")
    await page.page.locator("[data-testid=tile][data-id='1']").get_by_text("No picture").wait_for()
    review.is_running = True
    await page.open_tab("run")
    await page.at("apply-plan").click()
    await page.page.get_by_text("A run holds the lock").wait_for()
