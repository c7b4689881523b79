"""The page on the real server: a folder of pictures, from the first key to the export."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from tests.kit.browser import watched_page
from tests.kit.review import ReviewProcess, lasting_port
from tests.kit.review_page import ReviewPage
from tests.kit.workspace import COMMAND, PATIENCE_S, bare_environment

pytestmark = pytest.mark.asyncio(loop_scope="module")

Serve = Callable[..., ReviewProcess]
KILLS = int(os.environ.get("KILLS", "6"))
ORIENTATIONS = range(1, 9)
WIDTH, HEIGHT = 640, 480


def fill(folder: Path, pictures: int) -> Path:
    """A folder of drawn pictures."""
    folder.mkdir()
    for number in range(pictures):
        Image.new("RGB", (WIDTH, HEIGHT), (number * 53 % 256, number * 97 % 256, 90)).save(folder / f"{number:04}.jpg")
    return folder


def program(folder: Path, *arguments: str) -> str:
    """The output of a command of the program."""
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder.parent, env=bare_environment(folder.parent), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of the answers file, by serial."""
    with closing(sqlite3.connect(folder / ".asyncfilter" / "review.answers.db")) as file:
        file.row_factory = sqlite3.Row
        found = file.execute(
            "SELECT key, verdict, name AS reviewer, labels, boxes FROM answer JOIN subject ON subject.id = subject "
            "JOIN reviewer ON reviewer.id = reviewer ORDER BY serial"
        )
        return [dict(row) for row in found]


def words(folder: Path) -> list[tuple[str, str, str]]:
    """Key, verdict and reviewer of each row with a verdict, by serial."""
    return [(row["key"], row["verdict"], row["reviewer"]) for row in rows(folder) if row["verdict"]]


class Pages:
    """Pages of reviewers, each in a browser context of its own."""

    def __init__(self, chrome: Any, stack: AsyncExitStack) -> None:
        self._chrome, self._stack = chrome, stack

    async def open(self, server: ReviewProcess, reviewer: str = "anna") -> ReviewPage:
        """The page of a reviewer."""
        page = ReviewPage(await self._stack.enter_async_context(watched_page(self._chrome)))
        await page.page.goto(server.urls[reviewer])
        return page


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, which end after the pages."""
    with ExitStack() as stack:
        yield lambda *arguments, **named: stack.enter_context(ReviewProcess(*arguments, **named))


@pytest_asyncio.fixture(loop_scope="module")
async def pages(chrome: Any, serve: Serve) -> AsyncIterator[Pages]:
    """Opens pages."""
    async with AsyncExitStack() as stack:
        yield Pages(chrome, stack)


async def key_of(page: ReviewPage) -> str:
    """The key on the screen, once the card takes keys."""
    await page.ready()
    return await page.at("key").inner_text()


async def test_file_page_and_export_agree(pages: Pages, serve: Serve, tmp_path: Path) -> None:
    """Twenty by keyboard, undone, and decided again: the export has each decision in its order, and the reviewer."""
    folder = fill(tmp_path / "photos", 30)
    server = serve(folder, "--label-set", "robin,wren")
    page = await pages.open(server)
    said = []
    for key in "krukrukrukrukrukrukr":
        said.append(await key_of(page))
        await page.page.keyboard.press(key)
    await page.ready()
    for _ in said:
        await page.page.keyboard.press("z")
    await page.page.locator("[data-testid=rest][data-count='30']").wait_for()
    await page.saved()
    await page.page.reload()
    again = []
    for _ in range(20):
        again.append(await key_of(page))
        await page.page.keyboard.press("r")
    await page.ready()
    await page.page.keyboard.press("2")
    await page.saved()
    await page.page.reload()
    await page.ready()
    assert await page.attribute("rest", "count") == "9"  # a label is enough in a folder
    assert again == said
    verdicts = {"k": "keep", "r": "reject", "u": "unsure"}
    assert words(folder) == [
        *((key, verdicts[one], "anna") for key, one in zip(said, "krukrukrukrukrukrukr", strict=True)),
        *((key, "reject", "anna") for key in said),
    ]
    assert json.loads(rows(folder)[-1]["labels"]) == ["wren"]


async def test_nothing_is_lost_when_the_server_is_killed(pages: Pages, serve: Serve, tmp_path: Path) -> None:
    """Kill -9 after random keys, again and again, in one tab: every decision is in the file once, in its order."""
    folder = fill(tmp_path / "photos", 150)
    moments = random.Random(15)
    said: list[str] = []
    server = serve(folder, "--port", str(lasting_port()), reviewers=("anna",))  # the next ones remember it
    page = await pages.open(server)
    page.watched.may_lose = True
    for _ in range(KILLS):
        for _ in range(moments.randint(1, 6)):
            said.append(await key_of(page))
            await page.page.keyboard.press("k")
        if moments.random() < 0.5:
            await asyncio.sleep(moments.uniform(0, 0.05))  # the moment is what is varied
        server.end(signal.SIGKILL)
        server = await asyncio.to_thread(serve, folder, reviewers=("anna",))
    await page.saved()
    assert [key for key, _, _ in words(folder)] == said


async def test_two_people_never_decide_one_image(pages: Pages, serve: Serve, tmp_path: Path) -> None:
    """Two pages at once: no image is decided by both, and nothing is left."""
    folder = fill(tmp_path / "photos", 60)
    server = serve(folder)
    opened = {reviewer: await pages.open(server, reviewer) for reviewer in ("anna", "ben")}
    for page in opened.values():
        await page.ready()  # both have images before one of them can have decided all

    async def work(reviewer: str) -> list[str]:
        page = opened[reviewer]
        done: list[str] = []
        finished = page.page.locator("[data-testid=card][data-ready=true], [data-testid=empty]")
        while True:
            await finished.first.wait_for()
            if await page.at("empty").count():
                await page.saved()
                return done
            done.append(await page.at("key").inner_text())
            await page.page.keyboard.press("k" if reviewer == "anna" else "r")

    anna, ben = await asyncio.gather(work("anna"), work("ben"))
    assert not set(anna) & set(ben)
    assert Counter(key for key, _, _ in words(folder)) == Counter(anna + ben)
    assert len(anna) + len(ben) == 60
    assert anna
    assert ben


async def test_one_image_by_two_people_at_once(pages: Pages, serve: Serve, tmp_path: Path) -> None:
    """Both answer the same image: one answer, and one notice for the second."""
    folder = fill(tmp_path / "photos", 3)
    server = serve(folder)
    anna = await pages.open(server, "anna")
    id_ = await anna.ready()
    ben = await pages.open(server, "ben")
    await ben.look(f"location.hash = '#decide/{id_}'")
    await ben.page.locator(f"[data-testid=card][data-id='{id_}'][data-ready=true]").wait_for()
    ben.watched.may_lose = True
    await ben.page.context.set_offline(True)
    await ben.page.keyboard.press("r")
    await anna.page.keyboard.press("k")
    await anna.saved()
    await ben.page.context.set_offline(False)
    notice = ben.page.locator("[data-testid=notice][data-kind=conflict]")
    await notice.wait_for()
    assert "anna" in await notice.inner_text()
    await ben.saved()
    assert [(verdict, reviewer) for _, verdict, reviewer in words(folder)] == [("keep", "anna")]


def turned(folder: Path) -> None:
    """One picture in all eight EXIF orientations; its upright form has a red square at (320, 120)-(400, 200)."""
    folder.mkdir()
    upright = Image.new("RGB", (WIDTH, HEIGHT), (20, 60, 20))
    upright.paste((250, 20, 20), (320, 120, 400, 200))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    for orientation in ORIENTATIONS:
        stored = upright.transpose(undo[orientation]) if orientation in undo else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(folder / f"{orientation}.jpg", exif=exif, quality=95)


async def test_boxes_on_all_eight_orientations(pages: Pages, serve: Serve, tmp_path: Path) -> None:
    """A box drawn round what is seen is that box, to a pixel, in the export of upright pictures."""
    folder = tmp_path / "photos"
    turned(folder)
    server = serve(folder, "--label-set", "square")
    page = await pages.open(server)
    for _ in ORIENTATIONS:
        await page.ready()
        await page.page.keyboard.press("b")
        frame = await page.at("boxes").bounding_box()
        assert frame is not None
        await page.page.mouse.move(frame["x"] + frame["width"] * 0.5, frame["y"] + frame["height"] * 0.25)
        await page.page.mouse.down()
        end = (frame["x"] + frame["width"] * 0.625, frame["y"] + frame["height"] * 200 / 480)
        await page.page.mouse.move(*end, steps=2)
        await page.page.mouse.up()
        await page.at("box").wait_for()
        await page.page.keyboard.press("Enter")
        await page.page.keyboard.press("k")
    await page.at("empty").wait_for()
    await page.saved()
    manifest = tmp_path / "boxes.manifest"
    arguments = ("--format", "ground-truth", "--s3-path", "s3://bucket/", "-o", str(manifest))
    program(folder, "answers", "export", str(folder), *arguments)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert len(lines) == len(ORIENTATIONS)
    for line in lines:
        size = line["boxes"]["image_size"][0]
        assert (size["width"], size["height"]) == (WIDTH, HEIGHT)
        (box,) = line["boxes"]["annotations"]
        for side, wanted in {"left": 320, "top": 120, "width": 80, "height": 80}.items():
            assert abs(box[side] - wanted) <= 1, (line["source-ref"], box)
