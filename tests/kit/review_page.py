"""The review page in a browser: what a test does and looks at, by the test ids that the page promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kit.browser import PATIENCE_MS, Watched

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

_SETTLED = """async (width) => {
    const parts = () => [...document.querySelectorAll(".looking, .frame")];
    const places = () => JSON.stringify(parts().map((one) => one.getBoundingClientRect()));
    for (let same = 0, last = ""; same < 3; last = places()) {
        await new Promise(requestAnimationFrame);
        same = innerWidth === width && places() === last ? same + 1 : 0;
    }
}"""


class ReviewPage:
    """The page.

    Args:
        watched: The page in its browser.
    """

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.page: Page = watched.page
        self.page.context.set_default_timeout(PATIENCE_MS)  # other tabs wait as patiently

    def at(self, testid: str) -> Locator:
        """The elements with a test id."""
        return self.page.get_by_test_id(testid)

    async def ready(self) -> int:
        """The id of the card, once it takes keys."""
        card = self.page.locator("[data-testid=card][data-ready=true]")
        await card.wait_for()
        return int(await card.get_attribute("data-id") or 0)

    async def decide(self, key: str) -> int:
        """Press a key once the card takes it; the id of the card."""
        shown = await self.ready()
        await self.page.keyboard.press(key)
        return shown

    async def open_tab(self, name: str) -> None:
        """Go to a screen."""
        await self.at(f"tab-{name}").click()
        await self.page.locator(f"[data-testid=app][data-tab={name}]").wait_for()

    async def resize(self, width: int, height: int) -> None:
        """Change the size of the window, and wait for the picture to follow: both come some frames later."""
        await self.page.set_viewport_size({"width": width, "height": height})
        await self.page.evaluate(_SETTLED, width)

    async def saved(self) -> None:
        """Wait until nothing is unsaved."""
        await self.page.locator("[data-testid=unsaved][data-count='0']").wait_for(state="attached")

    async def attribute(self, testid: str, name: str) -> str:
        """An attribute of the only element with a test id."""
        return await self.at(testid).get_attribute(f"data-{name}") or ""

    async def look(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return await self.page.evaluate(expression)
