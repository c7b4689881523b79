"""Answers on their way: a server that is away, busy, or had somebody else first; on a double of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.review_double import FakeReview

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opener = Callable[..., Any]


def ids(review: FakeReview) -> list[int]:
    """Images of the answers in the order of arrival."""
    return [row["id"] for row in review.rows]


async def pictures_came(review: FakeReview, *wanted: int) -> None:
    """Wait until the page has some pictures: without its picture no card takes a key."""
    while not {f"/image/1280/{id_}" for id_ in wanted} <= set(review.images):  # noqa: ASYNC110  asked for by a browser
        await asyncio.sleep(0.02)


async def test_answers_wait_while_the_server_is_away(open_page: Opener, review: FakeReview) -> None:
    """Decisions go on, are counted as unsaved, and arrive by themselves, in order and once."""
    page = await open_page()
    page.watched.may_lose = True
    await page.decide("k")
    await page.saved()
    await pictures_came(review, *range(2, 7))
    review.is_away = True
    for _ in range(5):
        await page.decide("r")
    await page.page.locator("[data-testid=unsaved][data-count='5']").wait_for()
    await page.page.locator("[data-testid=notice][data-kind=offline]").wait_for()
    review.is_away = False
    await page.saved()
    assert ids(review) == [1, 2, 3, 4, 5, 6]
    await page.at("notice").wait_for(state="detached")


async def test_the_outbox_survives_a_reload_without_the_server(open_page: Opener, review: FakeReview) -> None:
    """What was unsaved when the tab was closed is sent by the next page, before it asks for work."""
    page = await open_page()
    page.watched.may_lose = True
    await page.ready()
    review.is_busy = True
    for _ in range(3):
        await page.decide("k")
    await page.page.locator("[data-testid=notice][data-kind=busy]").wait_for()
    await page.page.reload(wait_until="commit")
    review.is_busy = False
    assert await page.ready() == 4
    await page.saved()
    assert ids(review) == [1, 2, 3]


async def test_what_is_on_its_way_is_not_asked_again(open_page: Opener, review: FakeReview) -> None:
    """A server that has not got the answers of an earlier page offers their images again: they stay decided."""
    page = await open_page()
    review.is_busy = True
    for _ in range(3):
        await page.decide("k")
    assert await page.ready() == 4
    await page.page.reload()
    assert await page.decide("k") == 4
    assert await page.ready() == 5
    review.is_busy = False
    await page.saved()
    assert ids(review) == [1, 2, 3, 4]


async def test_answers_of_an_earlier_page_are_unsaved(open_page: Opener, review: FakeReview) -> None:
    """Also while it is not known whether their images are the same: nothing says that all is saved."""
    page = await open_page()
    review.is_busy = True
    for _ in range(3):
        await page.decide("k")
    assert await page.ready() == 4
    review.cards_go.clear()
    await page.page.reload()
    await page.page.locator("[data-testid=unsaved][data-count='3']").wait_for()
    assert await page.attribute("rest", "count") == "40"
    review.is_busy = False
    review.cards_go.set()
    await page.saved()
    assert ids(review) == [1, 2, 3]


async def test_answers_on_their_way_take_nothing_of_others(open_page: Opener, review: FakeReview) -> None:
    """Images that the server offers again are not all that there is to take: those that others hold stay theirs."""
    review.of_others = set(range(25, 41))
    page = await open_page()
    await page.ready()
    review.is_busy = True
    for _ in range(24):
        await page.decide("k")
    await page.at("empty").get_by_text("16 left: other people have them").wait_for()
    review.is_busy = False
    await page.saved()
    assert ids(review) == [*range(1, 25)]


async def test_an_outbox_of_another_job_stays_where_it_is(open_page: Opener, review: FakeReview) -> None:
    """Ids are numbers: what was decided about another job, or about an image that has become another, is not sent."""
    page = await open_page()
    page.watched.may_lose = True
    await page.ready()
    review.is_busy = True
    await page.decide("k")
    await page.decide("k")
    await page.page.locator("[data-testid=unsaved][data-count='2']").wait_for()
    review.is_busy, review.name, review.token = False, "wrens", "u" * 43
    await page.page.goto("about:blank")
    await page.page.goto(review.url)
    await page.ready()
    await page.saved()
    assert ids(review) == []
    review.name, review.token = "robins", "t" * 43
    review.cards[1]["key"] = "other.jpg"
    await page.page.goto("about:blank")
    await page.page.goto(review.url)
    await page.ready()
    await page.saved()
    assert ids(review) == [2]


async def test_a_conflict_gives_one_notice_and_the_others_answer(open_page: Opener, review: FakeReview) -> None:
    """The other person's answer stands and is shown; there is nothing of ours to undo."""
    page = await open_page()
    await page.ready()
    review.say(1, "reject")
    await page.decide("k")
    notice = page.page.locator("[data-testid=notice][data-kind=conflict]")
    await notice.wait_for()
    assert await notice.count() == 1
    assert "ben" in await notice.inner_text()
    assert await page.at("undo").is_disabled()
    await notice.get_by_role("link").click()
    await page.page.locator("[data-testid=card][data-id='1'][data-verdict=reject]").wait_for()
    await page.saved()
    assert review.rows == []


async def test_what_the_server_never_takes_holds_nothing_back(open_page: Opener, review: FakeReview) -> None:
    """An image that is gone gives a notice; the others of the batch arrive."""
    page = await open_page()
    page.watched.may_lose = True
    await page.ready()
    await pictures_came(review, 1, 2, 3)
    review.is_away = True
    for _ in range(3):
        await page.decide("k")
    del review.cards[2]
    review.is_away = False
    await page.page.locator("[data-testid=notice][data-kind=changed]").wait_for()
    await page.saved()
    assert ids(review) == [1, 3]


async def test_large_batches_are_cut_to_what_one_request_takes(open_page: Opener, review: FakeReview) -> None:
    """Many answers with long notes and labels go out in bodies that the server takes (65,536 bytes)."""
    page = await open_page()
    page.watched.may_lose = True
    await page.ready()
    await pictures_came(review, *range(1, 8))
    review.is_away = True
    for _ in range(6):
        await page.ready()
        await page.page.keyboard.press("n")
        await page.at("note-input").fill("\u20ac" * 999 + "x")
        await page.page.keyboard.press("Enter")
        await page.page.keyboard.press("k")
    await page.ready()
    await page.at("label-input").fill("\u20ac" * 255)
    await page.at("label-input").press("Enter")
    await page.at("label-input").press("Escape")
    for _ in range(60):
        await page.page.keyboard.press("1")
    await page.page.locator("[data-testid=unsaved][data-count='67']").wait_for()
    review.is_away = False
    await page.saved()
    assert ids(review) == [*range(1, 7), *[7] * 61]
    assert sum(len(json.dumps(row, ensure_ascii=False).encode()) for row in review.rows) > 65_536


async def test_two_tabs_of_one_person_send_nothing_twice(open_page: Opener, review: FakeReview) -> None:
    """A second tab shares the outbox of the browser and adds no rows; it shows what the first one decides."""
    page = await open_page()
    await page.decide("k")
    other = await page.page.context.new_page()
    await other.goto(review.url)
    await other.locator("[data-testid=card][data-id='2'][data-ready=true]").wait_for()
    await page.decide("k")
    await page.saved()
    assert ids(review) == [1, 2]
    await review.send("answer", {"id": 2, "serial": review.cards[2]["base"], "reviewer": "anna"}, pages=2)
    await other.locator("[data-testid=card][data-id='2'][data-verdict=keep]").wait_for()
