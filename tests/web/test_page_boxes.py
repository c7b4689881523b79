"""Boxes by mouse, by keys and by numbers; on a double of the server. The pictures are 800 x 600 pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.review_double import FakeReview
from tests.kit.review_page import ReviewPage

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opener = Callable[..., Any]
WIDTH, HEIGHT = 800, 600


def stored(review: FakeReview, id_: int = 1) -> list[tuple[str, int, int, int, int]]:
    """The boxes of an image in whole pixels."""
    boxes = (review.cards[id_]["answer"] or {}).get("boxes") or []
    return [
        (box["label"], *(round(box[side] * of) for side, of in zip(_SIDES, (WIDTH, HEIGHT) * 2, strict=True)))
        for box in boxes
    ]


_SIDES = ("left", "top", "width", "height")


async def drag(page: ReviewPage, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag between two points in pixels of the picture; they may lie beyond it."""
    frame = await page.at("boxes").bounding_box()
    assert frame is not None
    points = [
        (frame["x"] + x * frame["width"] / WIDTH, frame["y"] + y * frame["height"] / HEIGHT) for x, y in (start, end)
    ]
    await page.page.mouse.move(*points[0])
    await page.page.mouse.down()
    await page.page.mouse.move(*points[1], steps=3)
    await page.page.mouse.up()


async def opened(open_page: Opener) -> ReviewPage:
    """The page with the boxes of the first picture open."""
    page: ReviewPage = await open_page(viewport={"width": 1400, "height": 900})
    await page.ready()
    await page.page.keyboard.press("b")
    await page.at("boxes").wait_for()
    return page


async def test_drawn_moved_and_resized_by_mouse(open_page: Opener, review: FakeReview) -> None:
    """Boxes lie on the pixels that were pointed at, to one; a reload shows them."""
    page = await opened(open_page)
    await drag(page, (100, 80), (300, 230))
    await page.saved()
    for got, wanted in zip(stored(review)[0][1:], (100, 80, 200, 150), strict=True):
        assert abs(got - wanted) <= 1
    await drag(page, (200, 150), (250, 250))
    await page.saved()
    for got, wanted in zip(stored(review)[0][1:], (150, 180, 200, 150), strict=True):
        assert abs(got - wanted) <= 1
    handle = await page.at("handle-se").bounding_box()
    assert handle is not None
    await page.page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    await page.page.mouse.down()
    frame = await page.at("boxes").bounding_box()
    assert frame is not None
    await page.page.mouse.move(frame["x"] + 400 * frame["width"] / WIDTH, frame["y"] + 400 * frame["height"] / HEIGHT)
    await page.page.mouse.up()
    await page.saved()
    for got, wanted in zip(stored(review)[0][1:], (150, 180, 250, 220), strict=True):
        assert abs(got - wanted) <= 1
    before = await page.attribute("box", "width")
    await page.page.keyboard.press("Enter")
    await page.page.reload()
    await page.ready()
    await page.page.keyboard.press("b")
    assert await page.attribute("box", "width") == before
    assert len(before.split(".")[1]) == 6


async def test_all_eight_handles(open_page: Opener, review: FakeReview) -> None:
    """Each handle moves its own edges."""
    page = await opened(open_page)
    wanted = [200, 150, 600, 450]  # left, top, right, bottom
    await drag(page, (200, 150), (600, 450))
    edges = {"w": (0, -20), "n": (1, -20), "e": (2, 20), "s": (3, 20)}
    for name in ("nw", "n", "ne", "e", "se", "s", "sw", "w"):
        handle = await page.at(f"handle-{name}").bounding_box()
        frame = await page.at("boxes").bounding_box()
        assert handle is not None
        assert frame is not None
        x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
        scale = frame["width"] / WIDTH
        move = [0, 0]
        for side in name:
            edge, by = edges[side]
            wanted[edge] += by
            move[edge % 2] = by
        await page.page.mouse.move(x, y)
        await page.page.mouse.down()
        await page.page.mouse.move(x + move[0] * scale, y + move[1] * scale)
        await page.page.mouse.up()
    await page.saved()
    _, left, top, width, height = stored(review)[0]
    for got, edge in zip((left, top, left + width, top + height), wanted, strict=True):
        assert abs(got - edge) <= 8  # a pixel of rounding at each handle


async def test_beyond_the_frame_is_clamped(open_page: Opener, review: FakeReview) -> None:
    """A drag over the edges ends at them; a click draws nothing."""
    page = await opened(open_page)
    await drag(page, (700, 500), (1000, 900))
    await drag(page, (50, 50), (51, 50))
    await page.saved()
    assert [box[1:] for box in stored(review)] == [pytest.approx((700, 500, 100, 100), abs=1)]


async def test_wholly_by_keys(open_page: Opener, review: FakeReview) -> None:
    """New, moved, resized, labelled, removed: exact to the pixel, spoken, and undone gesture by gesture."""
    page = await opened(open_page)
    press = page.page.keyboard.press
    await press("n")
    await page.at("box").wait_for()
    await page.saved()
    assert stored(review) == [("Robin", 300, 225, 200, 150)]
    for key in ("ArrowRight", "Shift+ArrowDown", "Alt+ArrowRight", "Alt+Shift+ArrowUp"):
        await press(key)
    assert "left 301, top 235, 201 by 140 pixels" in await page.at("live").inner_text()
    await press("l")
    await page.page.keyboard.type("Wren")  # in place of the former label
    await press("Enter")
    await page.page.locator("[data-testid=box][data-label=Wren]").wait_for()
    await page.saved()
    assert stored(review) == [("Wren", 301, 235, 201, 140)]
    await press("n")
    await page.page.locator("[data-testid=box][data-index='1']").wait_for()
    await press("Delete")
    await page.page.locator("[data-testid=box][data-index='1']").wait_for(state="detached")
    await press("z")
    await page.page.locator("[data-testid=box][data-index='1']").wait_for()
    await page.saved()
    assert len(stored(review)) == 2


async def test_keys_of_boxes_are_changed(open_page: Opener, review: FakeReview) -> None:
    """Those of the editor too; a key that means something else on the screen below may be taken, and stays there."""
    page = await opened(open_page)
    await page.page.keyboard.press("?")
    for action, key in (("newBox", "g"), ("label", "e")):
        await page.page.locator(f"[data-testid=rebind][data-action={action}]").click()
        await page.page.keyboard.press(key)
    assert await page.page.locator("[data-testid=rebind][data-action=group]").inner_text() == "G"
    await page.page.keyboard.press("Escape")
    await page.at("help").wait_for(state="detached")
    await page.page.keyboard.press("g")
    await page.saved()
    assert len(stored(review)) == 1
    await page.page.locator("[data-testid=box][data-index='0']:focus").wait_for()
    await page.page.keyboard.press("e")
    assert await page.look("document.activeElement.id") == "box-label"


async def test_without_single_keys_a_button_makes_boxes(open_page: Opener, review: FakeReview) -> None:
    """N and L are single keys too; what they do is done by buttons and fields, and arrows go on to move."""
    page = await opened(open_page)
    await page.at("help-open").click()
    await page.at("keys-off").click()
    await page.page.keyboard.press("Escape")
    await page.at("help").wait_for(state="detached")
    await page.at("box-new").click()
    await page.page.locator("[data-testid=box][data-index='0']").wait_for()
    for key in ("n", "l", "ArrowRight"):
        await page.page.keyboard.press(key)
    await page.at("boxes-done").click()
    await page.saved()
    assert stored(review) == [("Robin", 301, 225, 200, 150)]


async def test_escape_closes_what_lies_on_top(open_page: Opener, review: FakeReview) -> None:
    """The help first, then the boxes below it."""
    page = await opened(open_page)
    await page.page.keyboard.press("?")
    await page.at("help").wait_for()
    await page.page.keyboard.press("Escape")
    await page.at("help").wait_for(state="detached")
    assert await page.at("boxes").count() == 1
    await page.page.keyboard.press("Escape")
    await page.at("boxes").wait_for(state="detached")


async def test_tab_walks_the_boxes_and_leaves(open_page: Opener, review: FakeReview) -> None:
    """Tab goes from box to box and on to the number fields: no trap."""
    page = await opened(open_page)
    await drag(page, (10, 10), (100, 100))
    await drag(page, (300, 300), (400, 400))
    await page.at("boxes").focus()
    seen = []
    for _ in range(3):
        await page.page.keyboard.press("Tab")
        seen.append(await page.look("document.activeElement.dataset.index ?? document.activeElement.dataset.testid"))
    assert seen == ["0", "1", "box-label"]


async def test_number_fields(open_page: Opener, review: FakeReview) -> None:
    """Numbers set the box in pixels; what lies beyond the picture is brought inside."""
    page = await opened(open_page)
    await page.page.keyboard.press("n")
    for name, value in (("left", "40"), ("top", "30"), ("width", "333"), ("height", "9999")):
        await page.at(f"box-{name}").fill(value)
        await page.page.keyboard.press("Tab")
    await page.saved()
    assert stored(review) == [("Robin", 40, 30, 333, 570)]
    await page.at("box-delete").click()
    await page.saved()
    assert stored(review) == []
    await page.at("boxes-done").click()
    await page.at("boxes").wait_for(state="detached")


async def test_a_number_under_the_fingers_stays(open_page: Opener, review: FakeReview) -> None:
    """What is stored meanwhile draws the fields anew, but not the one that is typed into."""
    page = await opened(open_page)
    page.watched.may_lose = True
    await page.page.keyboard.press("n")
    await page.saved()
    review.is_away = True
    await page.at("box-left").fill("40")
    await page.page.keyboard.press("Tab")
    await page.at("box-top").fill("")
    review.is_away = False
    await page.saved()
    assert stored(review) == [("Robin", 40, 225, 200, 150)]
    assert await page.at("box-top").input_value() == ""
    await page.page.keyboard.type("30")
    await page.at("boxes-done").click()
    await page.saved()
    assert stored(review) == [("Robin", 40, 30, 200, 150)]


async def test_boxes_under_edit_come_before_the_verdict(open_page: Opener, review: FakeReview) -> None:
    """A verdict key right after arrows stores the box first, with the label of its own image."""
    page = await opened(open_page)
    await page.page.keyboard.press("n")
    await page.page.keyboard.press("ArrowRight")
    await page.page.keyboard.press("k")
    await page.page.locator("[data-testid=card][data-id='2']").wait_for()
    await page.saved()
    assert [(row["id"], row["verdict"], len(row["boxes"] or [])) for row in review.rows] == [
        (1, None, 1),
        (1, None, 1),
        (1, "keep", 0),
    ]
    assert stored(review)[0][1] == 301


async def test_the_picture_stays_as_boxes_are_opened(open_page: Opener) -> None:
    """On a large screen the fields have the place of the neighbours: a drag behind the key is where it is seen."""
    page = await open_page(viewport={"width": 1400, "height": 900})
    await page.ready()
    before = await page.page.locator(".frame").bounding_box()
    await page.page.keyboard.press("b")
    await page.at("boxes").wait_for()
    await page.resize(1400, 900)  # no change of it: a picture that moves does so some frames later
    assert await page.page.locator(".frame").bounding_box() == before


async def test_the_picture_stays_under_the_pointer(open_page: Opener, review: FakeReview) -> None:
    """Neither the first box nor its fields move the picture, at any width."""
    page = await opened(open_page)
    for width in (1400, 1280, 1000, 390):
        await page.resize(width, 844)
        before = await page.at("boxes").bounding_box()
        await page.page.keyboard.press("n")
        await page.at("box-left").wait_for()
        assert await page.at("boxes").bounding_box() == before, width
        await page.page.keyboard.press("Delete")
        await page.at("box-left").wait_for(state="detached")
