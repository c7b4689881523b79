"""Sheet, Find, Insights and Run; on a double of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.browser import PATIENCE_MS
from tests.kit.review_double import FakeReview, card

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opener = Callable[..., Any]
MOST_TILES = 150


async def test_a_sheet_is_flipped_and_committed(open_page: Opener, review: FakeReview) -> None:
    """Tiles are marked as the machine decides; Space flips, letters set, Enter commits all; one undo takes all back."""
    review.cards[2]["rule_verdict"] = "reject"
    page = await open_page()
    await page.ready()
    await page.open_tab("sheet")
    await page.page.locator("[data-testid=sheet-commit][data-count='24']").wait_for()
    assert await page.page.locator("[data-testid=sheet-tile][data-verdict=reject]").get_attribute("data-id") == "2"
    for key in ("Space", "ArrowRight", "Space", "ArrowRight", "u"):
        await page.page.keyboard.press(key)
    await page.page.locator("[data-testid=sheet-tile][data-id='3'][data-verdict=unsure]").wait_for()
    await page.page.keyboard.press("Enter")
    await page.page.locator("[data-testid=sheet-tile][data-id='25']").wait_for()
    await page.saved()
    said = [row["verdict"] for row in review.rows]
    assert said == ["reject", "keep", "unsure"] + ["keep"] * 21
    assert {row["how"] for row in review.rows} == {"sheet"}
    await page.page.keyboard.press("z")
    await page.page.locator("[data-testid=sheet-tile][data-id='1']").wait_for()
    await page.saved()
    assert all(not one["answer"] for one in review.cards.values())
    await page.page.keyboard.press("Enter")
    await page.page.locator("[data-testid=sheet-tile][data-id='25']").wait_for()
    await page.at("undo").focus()
    await page.page.keyboard.press("Enter")  # presses the button that has the focus, and commits nothing
    await page.page.locator("[data-testid=sheet-tile][data-id='1']").wait_for()
    await page.saved()
    assert all(not one["answer"] for one in review.cards.values())


async def test_find_filters_selects_and_decides(open_page: Opener, review: FakeReview) -> None:
    """Filters narrow, ranges select, the button has the exact number, and only what is selected is decided."""
    review.say(5, "unsure", "clara")  # who has no link here
    review.cards[7] |= {"key": "cats/007.jpg", "labels": [{"name": "Cat", "confidence": 93.0, "threshold": None}]}
    page = await open_page()
    await page.ready()
    await page.open_tab("find")
    await page.page.locator("[data-testid=found][data-count='40']").wait_for()
    await page.at("filter-label").fill("cat")
    await page.page.locator("[data-testid=found][data-count='1']").wait_for()
    await page.at("filter-min").fill("95")
    await page.page.locator("[data-testid=found][data-count='0']").wait_for()
    await page.at("filter-min").fill("")
    await page.at("filter-label").fill("")
    await page.at("filter-text").fill("birds/00")
    await page.page.locator("[data-testid=found][data-count='8']").wait_for()
    shown = [await one.get_attribute("data-id") for one in await page.at("tile").all()]
    assert shown == ["1", "2", "3", "4", "6", "8", "9", "5"]  # what waits comes first
    await page.at("filter-reviewer").select_option("clara")
    await page.page.locator("[data-testid=found][data-count='1']").wait_for()
    await page.at("filter-reviewer").select_option("")
    await page.page.locator("[data-testid=found][data-count='8']").wait_for()
    await page.at("grid").focus()
    for key in ("ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight"):
        await page.page.keyboard.press(key)
    await page.page.locator("[data-testid=selection][data-count='3']").wait_for()
    assert "3" in await page.at("selection-keep").inner_text()
    await page.page.keyboard.press("k")
    await page.saved()
    assert [row["id"] for row in review.rows] == [1, 2, 3]
    assert {row["asked_as"] for row in review.rows} == {"free"}
    await page.at("filter-verdict").select_option("keep")
    await page.page.locator("[data-testid=found][data-count='3']").wait_for()
    await page.at("grid").focus()
    await page.page.keyboard.press("Control+a")
    await page.page.locator("[data-testid=selection][data-count='3']").wait_for()
    await page.at("selection-reject").click()
    await page.saved()
    assert [review.cards[number]["answer"]["verdict"] for number in (1, 2, 3)] == ["reject"] * 3


# In one task, with all that is drawn at each step: no frame and no timer of a slow machine can end it before its end.
SCROLL = """async () => {
    const grid = document.querySelector("[data-testid=grid]");
    for (let step = 0; step < 12; step++) {
        grid.scrollTop += 3000;
        grid.dispatchEvent(new Event("scroll"));
        for (let tick = 0; tick < 100; tick++) await null;
    }
}"""


async def test_ten_thousand_tiles_are_few_in_the_document(open_page: Opener, review: FakeReview) -> None:
    """The grid holds at most 150 tiles, has real positions, and asks for no picture while it scrolls."""
    review.cards |= {number: card(number, f"birds/{number:05}.jpg") for number in range(41, 10_001)}
    page = await open_page(viewport={"width": 1400, "height": 900})
    await page.ready()
    await page.open_tab("find")
    await page.page.locator("[data-testid=found][data-count='10000']").wait_for()
    assert await page.page.locator("[data-testid=tile] img[src]").count() > 0
    await page.page.evaluate(SCROLL)
    await page.page.locator("[data-testid=tile] img[src]").last.wait_for()
    asked = [int(path[11:]) for path in review.images if path.startswith("/image/320/")]
    shown = int(await page.at("tile").first.get_attribute("data-id") or 0)
    assert [one for one in asked if 200 < one < shown] == []
    last = page.page.locator("[data-testid=tile]").last
    assert await page.at("tile").count() <= MOST_TILES
    assert await last.get_attribute("aria-setsize") == "10000"
    assert int(await last.get_attribute("aria-posinset") or 0) == int(await last.get_attribute("data-id") or 0) > 1000
    await page.at("grid").focus()
    await page.page.keyboard.press("End")
    await page.page.locator("[data-testid=tile][data-id='10000']").wait_for()
    await page.page.keyboard.press("Control+a")
    await page.at("selection-keep").click()
    await page.saved()
    assert len(review.rows) == 10_000


FIGURES = {
    "rules": [
        {
            "rule": 0, "draw": 1, "outdated": False, "announced": True, "confidence": 0.95, "precision": 0.95,
            "recall": None, "floor": 60.0, "keep_from": 85.0, "ask_from": 60.0,
            "parts": {
                "taken": {
                    "images": 1000, "milestones": [100, 200, 400], "prefix": 120, "answered": 130, "changed": 0,
                    "next_milestone": 200, "missing": 80,
                },
                "rest": {
                    "images": 50, "milestones": [50], "prefix": 0, "answered": 0, "changed": 0,
                    "next_milestone": 50, "missing": 50,
                },
            },
            "thresholds": [
                {"threshold": 60.0 + step, "images": 1000 - 25 * step, "n": 100, "good": 95, "unsure": 1,
                 "share": 0.95, "low": 0.88, "high": 0.98, "p": 0.2, "milestone": 100, "certified": False}
                for step in range(40)
            ],
            "certified": None, "losses": None,
            "next": {"more": 80, "milestone": 200, "beyond_plan": False, "too_near": False, "instead": None},
            "advice": {
                "keep_from": 80.0, "ask_from": 60.0, "kept": 500, "asked": 500, "hours": 0.4, "usd_people": 8.0,
                "usd_ground_truth": 6.0, "set": ["--set", "rules.0.confidence=80"],
                "patch": [{"path": "rules[0].keep.confidence", "line": 9, "from": "85", "to": "80"}],
            },
            "advice_reason": None,
        }
    ],
    "agreement": {"pairs": 60, "agreed": 57, "share": 0.95, "low": 0.86, "high": 0.99, "ac1": 0.94},
}  # fmt: skip


async def test_insights_show_figures_and_move_thresholds(open_page: Opener, review: FakeReview) -> None:
    """Sliders by arrows and by drag change what would be kept and asked; milestones and the patch are there."""
    review.figures = FIGURES
    page = await open_page()
    await page.ready()
    await page.open_tab("insights")
    await page.page.locator("[data-testid=rule][data-rule='0']").wait_for()
    assert await page.attribute("would-keep", "count") == str(1000 - 25 * 25)
    alternative = await page.at("histogram").get_attribute("aria-label")
    assert alternative is not None
    assert alternative.endswith(" 50 below.")  # the scores below the floor of a draw are not counted one by one
    await page.at("threshold-keep").focus()
    await page.page.keyboard.press("ArrowLeft")
    await page.page.locator(f"[data-testid=would-keep][data-count='{1000 - 25 * 24}']").wait_for()
    assert await page.at("threshold-keep").get_attribute("aria-valuenow") == "84"
    assert await page.attribute("would-ask", "count") == str(25 * 24)
    handle = await page.at("threshold-ask").bounding_box()
    assert handle is not None
    await page.page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + 20)
    await page.page.mouse.down()
    await page.page.mouse.move(handle["x"] + 60, handle["y"] + 20, steps=4)
    await page.page.mouse.up()
    assert int(await page.at("threshold-ask").get_attribute("aria-valuenow") or 0) > 60
    reached = [
        (await one.get_attribute("data-n"), await one.get_attribute("data-reached"))
        for one in await page.at("milestone").all()
    ]
    assert reached[:3] == [("100", "true"), ("200", "false"), ("400", "false")]
    assert await page.attribute("more", "count") == "80"
    assert "rules[0].keep.confidence:9" in await page.at("patch").inner_text()
    assert "95.0 %" in await page.at("agreement").inner_text()


async def test_run_shows_the_pulse_and_applies(open_page: Opener, review: FakeReview) -> None:
    """Figures of the run come by events; nothing is applied before its plan was shown."""
    page = await open_page()
    await page.ready()
    await page.open_tab("run")
    await review.send("counts", {"running": True})
    await page.at("pulse").get_by_text("A run goes on").wait_for()
    pulse = {
        "at_unix_s": 1.0, "attempts": 12, "throttled": 3, "examined": 1134, "spent_micros": 1_400_000,
        "budget_micros": 2_000_000, "failed_by": {"access_denied": 7},
    }  # fmt: skip
    await review.send("pulse", pulse)
    await review.send("pulse", pulse | {"at_unix_s": 11.0, "examined": 1234, "spent_micros": 1_500_000})
    await page.at("pulse").get_by_text("1,234").wait_for()
    text = (await page.at("pulse").inner_text()).replace("\n", " ")
    for shown in ("$1.50 of $2.00", "Ends in about 50 s", "Failed: access denied 7"):
        assert shown in text
    assert await page.at("apply-go").count() == 0
    await page.at("apply-plan").click()
    await page.at("apply-counts").get_by_text("copied").wait_for()
    await page.at("apply-go").click()
    await page.at("apply-result").get_by_text("Done.").wait_for()


async def test_images_of_a_run_appear_in_find(open_page: Opener, review: FakeReview) -> None:
    """What a run adds, or somebody removes, while the page is open; tiles that are looked at stay where they are."""
    page = await open_page()
    await page.ready()
    await page.open_tab("find")
    await page.page.locator("[data-testid=app][data-index-ready=true]").wait_for()
    await page.page.keyboard.press("ArrowRight")
    review.say(1, "keep")
    del review.cards[40]
    review.cards |= {number: card(number, f"birds/{number:03}.jpg") for number in (41, 42)}
    await review.send("counts", {"images": 41, "waiting": 40})
    # The page reads its index again in a twentieth of the time: as late as it took long to read it.
    await page.page.locator("[data-testid=found][data-count='41']").wait_for(timeout=3 * PATIENCE_MS)
    first = page.at("tile").first
    assert (await first.get_attribute("data-id"), await first.get_attribute("aria-selected")) == ("1", "true")
    await page.at("filter-text").fill("042")
    await page.page.locator("[data-testid=tile][data-id='42']").wait_for()


async def test_others_answers_appear_and_leave_the_line(open_page: Opener, review: FakeReview) -> None:
    """What another person answers goes out of one's line, and its tile has their verdict."""
    page = await open_page()
    await page.ready()
    review.say(2, "reject")
    await review.send("answer", {"id": 2, "serial": 1, "reviewer": "ben"})
    await page.open_tab("find")
    await page.page.locator("[data-testid=tile][data-id='2'][data-verdict=reject]").wait_for()
    await page.open_tab("decide")
    assert await page.decide("k") == 1
    assert await page.ready() == 3
