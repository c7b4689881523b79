"""Decide: keys, undo, reload, blind cards, hostile texts; on a double of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.review_double import FakeReview, card

pytestmark = pytest.mark.asyncio(loop_scope="module")

Opener = Callable[..., Any]
BIDI = "\u202egpj.\u2066exe\u0007"


def verdicts(review: FakeReview) -> list[tuple[int, str]]:
    """Every answer with a verdict in the order of arrival."""
    return [(row["id"], row["verdict"]) for row in review.rows if "undoes" not in row and row["verdict"]]


async def test_twenty_by_keyboard_undone_and_decided_again(open_page: Opener, review: FakeReview) -> None:
    """Keys decide and advance, undo takes all back to the first card, and the file has the order of decisions."""
    page = await open_page()
    first = [(await page.decide(key), key) for key in "krukarx ukrukrukrukr"[:20].replace(" ", "k")]
    await page.saved()
    assert [id_ for id_, _ in verdicts(review)] == [id_ for id_, _ in first]
    await page.ready()
    for id_, _ in reversed(first):
        await page.page.keyboard.press("z")
        await page.page.locator(f"[data-testid=card][data-id='{id_}'][data-verdict='']").wait_for()
    await page.saved()
    assert all(not one["answer"] for one in review.cards.values())
    again = [await page.decide("r") for _ in range(20)]
    await page.saved()
    await page.page.reload()
    assert await page.ready() == 21
    assert again == [id_ for id_, _ in first] == list(range(1, 21))
    assert [card["answer"]["verdict"] for card in review.cards.values() if card["answer"]] == ["reject"] * 20
    assert await page.attribute("rest", "count") == "20"


async def test_undo_reaches_behind_a_reload(open_page: Opener, review: FakeReview) -> None:
    """What was decided before a reload is taken back after it."""
    page = await open_page()
    await page.decide("k")
    await page.saved()
    await page.page.reload()
    await page.ready()
    await page.page.keyboard.press("Backspace")
    await page.page.locator("[data-testid=card][data-id='1'][data-verdict='']").wait_for()
    await page.saved()
    assert review.cards[1]["answer"] is None


KEYDOWN = "(options) => document.body.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, ...options }))"


ADDRESS = """async () => {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { bubbles: true, key: "k" }));
    const card = document.querySelector("[data-testid=card]");
    while (card.dataset.id === "1") await null;
    return [card.dataset.id, location.hash];
}"""


async def test_the_address_changes_with_the_picture(open_page: Opener) -> None:
    """A reload right behind a key shows the next picture: the address never lags behind the card."""
    page = await open_page()
    assert await page.ready() == 1
    assert await page.look(ADDRESS) == ["2", "#decide/2"]
    await page.open_tab("decide")  # it is open: the picture stays, and so does its address
    assert await page.look("location.hash") == "#decide/2"


SEEN = """(press) => new Promise((done) => {
    let shown = null;
    const before = document.querySelector("[data-testid=card]").dataset.id;
    new MutationObserver(() => {
        const { id, ready } = document.querySelector("[data-testid=card]").dataset;
        if (id !== before) shown ??= performance.now();
        if (id !== before && ready === "true") done(performance.now() - shown);
    }).observe(document.body, { attributes: true, subtree: true });
    press({ key: "k", code: "KeyK" });
})"""


async def test_a_key_counts_once_its_card_was_seen(open_page: Opener, review: FakeReview) -> None:
    """Keys that come before the picture, and keys that repeat, decide nothing."""
    page = await open_page()
    await page.ready()
    # In one task: Playwright's own keys take longer than a picture needs to be seen.
    await page.look(f"[1, 2, 3].forEach(() => ({KEYDOWN})({{ key: 'k', code: 'KeyK' }}))")
    await page.ready()
    await page.page.evaluate(KEYDOWN, {"key": "r", "code": "KeyR", "repeat": True})
    seen_ms = await page.look(f"({SEEN})({KEYDOWN})")
    assert seen_ms >= 150
    await page.saved()
    assert verdicts(review) == [(1, "keep"), (2, "keep")]


async def test_the_live_region_speaks_decisions_and_the_rest(open_page: Opener, review: FakeReview) -> None:
    """Every decision and its taking back is spoken with the number that is left."""
    page = await open_page()
    await page.decide("k")
    await page.page.get_by_text("Keep. 39 images left.").wait_for(state="attached")
    await page.decide("z")
    await page.page.get_by_text("Taken back: 001.jpg. 40 images left.").wait_for(state="attached")


async def test_labels_by_digit_and_by_typing(open_page: Opener, review: FakeReview) -> None:
    """Digits put labels on and off; typed ones are verbatim; each change is undone alone."""
    page = await open_page()
    await page.ready()
    await page.page.keyboard.press("2")
    await page.page.locator("[data-testid=label-chip][data-label=Wren]").wait_for()
    await page.page.keyboard.press("l")
    await page.page.keyboard.type("Blue tit ")
    await page.page.keyboard.press("Enter")
    await page.page.locator("[data-testid=label-chip][data-label='Blue tit']").wait_for()
    await page.page.keyboard.press("Escape")
    await page.page.keyboard.press("2")
    await page.page.locator("[data-testid=label-chip][data-label=Wren]").wait_for(state="detached")
    await page.page.keyboard.press("z")
    await page.page.locator("[data-testid=label-chip][data-label=Wren]").wait_for()
    await page.saved()
    assert review.cards[1]["answer"]["labels"] == ["Wren", "Blue tit"]
    assert await page.at("label-chip").count() == 2


async def test_a_note_goes_with_the_verdict(open_page: Opener, review: FakeReview) -> None:
    """The note is typed once and stored with the next answer about its image."""
    page = await open_page()
    await page.ready()
    await page.page.keyboard.press("n")
    await page.page.keyboard.type("blurred k")
    await page.page.keyboard.press("Enter")
    await page.page.keyboard.press("r")
    assert await page.ready() == 2
    await page.at("note-input").fill("dark")
    await page.at("unsure").click()  # who clicks has ended typing: keys decide again
    await page.decide("k")
    await page.ready()
    await page.saved()
    assert [(row["verdict"], row["note"]) for row in review.rows] == [
        ("reject", "blurred k"),
        ("unsure", "dark"),
        ("keep", None),
    ]


async def test_blind_cards_tell_nothing(open_page: Opener, review: FakeReview) -> None:
    """A blind card has no verdict, score, label, bar or machine box, also not in the document."""
    for number in (5, 6):
        review.cards[number] |= {"labels": [{"name": "Secret", "confidence": 91.7, "threshold": 85}]}
    page = await open_page()
    await page.ready()
    await page.page.locator("[data-testid=app][data-index-ready=true]").wait_for()
    for number in (5, 6):  # an audit asks about them now; the page knew more
        review.cards[number]["blind"] = True
    review.queues["audit"] = [5, 6]
    await page.look("location.hash = '#decide?queue=audit'")
    await page.page.locator("[data-testid=card][data-id='5'][data-ready=true]").wait_for()
    await page.page.keyboard.press("m")
    assert await page.attribute("card", "blind") == "true"
    assert await page.at("label-row").count() == await page.at("why").count() == 0
    text = await page.look("document.documentElement.outerHTML")
    assert "Secret" not in text
    assert "91.7" not in text
    await page.page.keyboard.press("k")
    await page.saved()
    assert review.rows[-1]["asked_as"] == "audit"


async def test_hostile_texts_are_shown_and_do_nothing(open_page: Opener, review: FakeReview) -> None:
    """Tags are text; no control or bidi character is in the document, where they are shown as escapes."""
    key = f"a/<img src=x onerror=alert(1)>{BIDI}'\".jpg"
    review.cards[1] = card(1, key, labels=[{"name": f"<b>{BIDI}", "confidence": 80.0, "threshold": 85.0}])
    review.cards[1]["why"] = f"<script>alert(1)</script>{BIDI}"
    review.labels = (f"L{BIDI}",)
    page = await open_page()
    await page.ready()
    await page.page.keyboard.press("1")
    await page.at("label-chip").wait_for()
    for tab in ("sheet", "find", "decide"):
        await page.open_tab(tab)
        text = await page.look("document.documentElement.outerHTML")
        assert not [one for one in "\u202e\u2066\u0007" if one in text], tab
        assert "<script>alert" not in text
    await page.ready()
    assert "\\u202Egpj.\\u2066exe\\u0007" in await page.at("key").inner_text()
    assert await page.page.locator("bdi b, bdi img").count() == 0
    await page.saved()
    assert review.rows[0]["labels"] == [f"L{BIDI}"]


async def test_a_broken_picture_is_said_and_can_be_decided(open_page: Opener, review: FakeReview) -> None:
    """A card without a picture is decided as any other."""
    review.cards[1]["broken"] = True
    page = await open_page()
    await page.at("broken").wait_for()
    await page.ready()
    await page.page.keyboard.press("b")  # nothing can be drawn on it
    assert await page.at("boxes-open").get_attribute("aria-pressed") == "false"
    assert await page.decide("r") == 1
    await page.saved()
    assert verdicts(review) == [(1, "reject")]


async def test_without_a_token_the_page_says_how_to_get_a_link(open_page: Opener, review: FakeReview) -> None:
    """The token leaves the address bar; a page without one asks for a link."""
    page = await open_page()
    await page.ready()
    assert "t=" not in page.page.url
    other = await open_page(f"http://127.0.0.1:{review.port}/")
    await other.at("no-token").wait_for()
    assert "asyncfilter review" in await other.at("no-token").inner_text()


async def test_keys_are_changed_and_switched_off(open_page: Opener, review: FakeReview) -> None:
    """A key of one's own counts and the old one does not; with single keys off only buttons decide."""
    page = await open_page()
    await page.ready()
    await page.page.keyboard.press("?")
    await page.at("help").wait_for()
    for key in ("k", "1", "s"):  # nothing behind the help hears them
        await page.page.keyboard.press(key)
    await page.page.locator("[data-testid=rebind][data-action=keep]").click()
    await page.page.keyboard.press("q")
    await page.page.keyboard.press("Escape")
    await page.at("help").wait_for(state="detached")
    await page.page.keyboard.press("k")
    assert await page.decide("q") == 1
    await page.ready()
    await page.at("help-open").click()
    await page.at("keys-off").click()
    assert await page.at("keys-off").get_attribute("aria-checked") == "true"
    await page.page.keyboard.press("Escape")
    await page.page.keyboard.press("q")
    await page.page.keyboard.press("1")
    await page.page.reload()
    await page.ready()
    await page.page.keyboard.press("r")
    await page.at("unsure").click()
    await page.saved()
    assert verdicts(review) == [(1, "keep"), (2, "unsure")]
    assert all(row["labels"] is None for row in review.rows)


async def test_a_group_is_decided_and_taken_back_as_one(open_page: Opener, review: FakeReview) -> None:
    """G shows look-alikes; what is left out stays; the number is in the button; one undo takes all back."""
    review.near = [7, 8, 9]
    page = await open_page()
    await page.ready()
    await page.page.locator("[data-testid=group][data-count='4']").wait_for()
    await page.page.keyboard.press("g")
    await page.page.locator("[data-testid=group-tile][data-id='8']").click()
    assert "3" in await page.at("group-keep").inner_text()
    await page.page.keyboard.press("k")
    assert await page.ready() == 2
    await page.saved()
    assert sorted(verdicts(review)) == [(1, "keep"), (7, "keep"), (9, "keep")]
    assert {row["how"] for row in review.rows} == {"group"}
    await page.page.keyboard.press("z")
    await page.page.locator("[data-testid=card][data-id='1'][data-verdict='']").wait_for()
    await page.saved()
    assert all(not one["answer"] for one in review.cards.values())


async def test_passed_over_cards_are_offered_at_the_end(open_page: Opener, review: FakeReview) -> None:
    """The arrow passes a card over; at the end of the queue it is offered again, then the queue is done."""
    for number in range(3, 41):
        del review.cards[number]
    page = await open_page()
    await page.ready()
    await page.page.keyboard.press("ArrowRight")
    assert await page.decide("k") == 2
    await page.at("empty").wait_for()
    await page.at("empty").get_by_role("button").first.click()
    assert await page.decide("k") == 1
    await page.at("empty").wait_for()
    await page.saved()
    assert verdicts(review) == [(2, "keep"), (1, "keep")]
    assert await page.attribute("rest", "count") == "0"


async def test_what_others_hold_is_not_called_done(open_page: Opener, review: FakeReview) -> None:
    """Nothing can be taken, but images wait: the page says that others have them."""
    review.of_others = set(review.cards)
    page = await open_page()
    await page.at("empty").get_by_text("40 left: other people have them").wait_for()
    await page.open_tab("sheet")
    await page.at("empty").get_by_text("other people have what is left").wait_for()


async def test_user_timing_is_left(open_page: Opener, review: FakeReview) -> None:
    """The first card and the index leave marks, each decision a measure."""
    page = await open_page()
    await page.decide("k")
    await page.decide("r")
    await page.ready()
    await page.page.locator("[data-testid=app][data-index-ready=true]").wait_for()
    names = await page.look("performance.getEntries().map((one) => one.name).filter((one) => one.startsWith('async'))")
    assert sorted(names) == ["asyncfilter:decide"] * 2 + ["asyncfilter:first-card", "asyncfilter:index"]


async def test_more_passed_over_than_one_may_hold(open_page: Opener, review: FakeReview) -> None:
    """A person who passes over more images than one may hold still comes to the end of the queue."""
    review.cards |= {number: card(number, f"birds/{number:03}.jpg") for number in range(41, 101)}
    page = await open_page()
    await page.ready()
    for number in range(2, 91):
        await page.page.keyboard.press("ArrowRight")
        await page.page.locator(f"[data-testid=card][data-id='{number}']").wait_for()
    assert await page.decide("k") == 90
