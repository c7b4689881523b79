"""Drawn pictures: a few hundred small samples, some of them unwanted, and the tiny picture of synthetic data sets.

The samples are in class folders, like those of collected data sets: most pictures show the class of their folder, some
show another subject, and some files are not pictures. Each has the answer that a detector would give.
"""

from __future__ import annotations

import functools
import io
import math
import random
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from PIL import Image, ImageDraw, ImageFont

from asyncfilter.sandbox.answers.folder import build_labels
from asyncfilter.sandbox.answers.source import LabelSet, encode_label

TINY_PX: Final = 80
WIDTH_PX: Final = 240
HEIGHT_PX: Final = 180

Colour = tuple[int, int, int]
Painter = Callable[[ImageDraw.ImageDraw, random.Random], None]


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One file of the sample set.

    Attributes:
        key: For example ``raw/robin/0001.jpg``.
        subject: The subject of the drawing; empty for a file that is not a picture.
        answer: The labels that a detector would return; none for a file that is not a picture.
    """

    key: str
    body: bytes
    subject: str
    answer: LabelSet


class _Plumage(msgspec.Struct, frozen=True):
    back: Colour
    breast: Colour
    belly: Colour


_BIRDS: Final = {
    "blackbird": _Plumage((30, 30, 34), (38, 38, 42), (30, 30, 34)),
    "jay": _Plumage((76, 118, 176), (206, 170, 150), (236, 226, 218)),
    "robin": _Plumage((122, 98, 72), (222, 98, 40), (238, 228, 212)),
    "sparrow": _Plumage((132, 92, 58), (190, 170, 146), (214, 204, 190)),
}
FOLDERS: Final = tuple(_BIRDS)
_DIRT_EVERY: Final = 9


def draw_samples(count: int, seed: int) -> Iterator[Sample]:
    """Draw ``count`` samples in key order, the same for the same seed; one in nine is misplaced or not a picture."""
    dirt = 0
    samples: list[Sample] = []
    for number in range(count):
        folder, place = FOLDERS[number % len(FOLDERS)], number // len(FOLDERS) + 1
        chance = random.Random(f"{seed} {number}")
        if number % _DIRT_EVERY == _DIRT_EVERY - 1:
            samples.append(_DIRT[dirt % len(_DIRT)](folder, place, chance))
            dirt += 1
        else:
            samples.append(_picture(folder, place, folder, chance))
    yield from sorted(samples, key=lambda sample: sample.key)


def draw_picture(subject: str, key: str, seed: int = 0) -> bytes:
    """One picture of a subject: a PNG where the key ends so, else a JPEG; the same for the same arguments.

    Args:
        subject: The name of a label. One that there is no drawing of is written on the picture.
        key: The object's key; each key gives a different picture.
        seed: That of the sandbox.
    """
    painter = _SUBJECTS.get(_ALIKE.get(subject.lower(), subject.lower())) or functools.partial(_write, text=subject)
    picture = _paint(painter, random.Random(f"{seed} {key}"))
    return _encode(picture, "PNG") if key.lower().endswith(".png") else _encode(picture, "JPEG", quality=82)


@functools.cache
def tiny_picture() -> bytes:
    """A JPEG of the smallest dimensions that the service accepts."""
    picture = Image.new("L", (TINY_PX, TINY_PX), 200)
    ImageDraw.Draw(picture).ellipse((20, 20, 60, 60), fill=60)
    return _encode(picture, "JPEG", quality=20)


# Drawing


def _picture(folder: str, place: int, subject: str, chance: random.Random) -> Sample:
    body = _encode(_draw(subject, chance), "JPEG", quality=82)
    return Sample(f"raw/{folder}/{place:04d}.jpg", body, subject, _answer(subject, chance))


def _draw(subject: str, chance: random.Random) -> Image.Image:
    return _paint(_SUBJECTS[subject], chance)


def _paint(painter: Painter, chance: random.Random) -> Image.Image:
    picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX))
    canvas = ImageDraw.Draw(picture)
    _draw_garden(canvas, chance)
    painter(canvas, chance)
    return picture


def _draw_garden(canvas: ImageDraw.ImageDraw, chance: random.Random) -> None:
    """Draw the background: a sky with a gradient, hills, and a branch."""
    sky = (chance.randint(140, 190), chance.randint(190, 220), chance.randint(220, 250))
    for row in range(HEIGHT_PX):
        share = row / HEIGHT_PX
        canvas.line((0, row, WIDTH_PX, row), fill=_mix(sky, (250, 246, 232), share))
    for hill in range(3):
        centre, radius = chance.randint(0, WIDTH_PX), chance.randint(90, 160)
        top = 110 + 14 * hill
        green = (70 + 24 * hill, 120 + 16 * hill, 60 + 10 * hill)
        canvas.ellipse((centre - radius, top, centre + radius, top + 2 * radius), fill=green)
    height = chance.randint(136, 146)
    canvas.line((0, height + chance.randint(-8, 8), WIDTH_PX, height), fill=(92, 68, 48), width=7)


def _draw_bird(canvas: ImageDraw.ImageDraw, chance: random.Random, *, plumage: _Plumage) -> None:
    size, x, y = chance.uniform(0.8, 1.15), chance.randint(100, 140), chance.randint(92, 102)
    side = chance.choice((-1, 1))

    def spot(left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        xs = sorted((x + side * size * left, x + side * size * right))
        canvas.ellipse((xs[0], y + size * top, xs[1], y + size * bottom), fill=fill)

    def shape(points: tuple[tuple[float, float], ...], fill: Colour) -> None:
        canvas.polygon([(x + side * size * px, y + size * py) for px, py in points], fill=fill)

    for leg in (-6, 8):
        canvas.line((x + leg, y + size * 30, x + leg, y + 46), fill=(110, 82, 60), width=3)
    shape(((-34, 2), (-84, -10), (-80, 6), (-32, 18)), plumage.back)
    spot(-46, -24, 40, 36, plumage.back)
    spot(-26, -4, 40, 37, plumage.belly)
    spot(2, -26, 44, 26, plumage.breast)
    spot(14, -52, 58, -10, plumage.back)
    spot(30, -38, 58, -8, plumage.breast)
    shape(((56, -34), (74, -28), (56, -23)), (232, 176, 64))
    spot(40, -40, 48, -32, (16, 16, 16))
    spot(43, -39, 46, -36, (255, 255, 255))
    shape(((-38, -8), (10, -14), (-6, 14), (-48, 12)), _mix(plumage.back, (0, 0, 0), 0.25))


def _draw_cat(canvas: ImageDraw.ImageDraw, chance: random.Random) -> None:
    fur = chance.choice(((120, 120, 126), (212, 140, 62), (52, 48, 46)))
    x, y = chance.randint(100, 140), 92
    canvas.ellipse((x - 38, y - 6, x + 38, y + 60), fill=fur)
    for side in (-1, 1):
        canvas.polygon([(x + side * 8, y - 38), (x + side * 34, y - 62), (x + side * 34, y - 20)], fill=fur)
    canvas.ellipse((x - 36, y - 50, x + 36, y + 10), fill=fur)
    for side in (-1, 1):
        canvas.ellipse((x + side * 15 - 7, y - 30, x + side * 15 + 7, y - 16), fill=(180, 210, 90))
        canvas.ellipse((x + side * 15 - 2, y - 30, x + side * 15 + 2, y - 16), fill=(16, 16, 16))
        canvas.line((x + side * 6, y - 6, x + side * 44, y - 12), fill=(240, 240, 240))
    canvas.polygon([(x - 5, y - 12), (x + 5, y - 12), (x, y - 5)], fill=(230, 140, 140))


def _draw_car(canvas: ImageDraw.ImageDraw, chance: random.Random) -> None:
    paint = chance.choice(((200, 40, 44), (36, 84, 170), (240, 190, 40)))
    x, y = chance.randint(100, 140), 120
    canvas.polygon([(x - 44, y - 16), (x - 26, y - 44), (x + 24, y - 44), (x + 46, y - 16)], fill=(190, 220, 236))
    canvas.rounded_rectangle((x - 76, y - 20, x + 76, y + 18), radius=12, fill=paint)
    for side in (-44, 44):
        canvas.ellipse((x + side - 18, y, x + side + 18, y + 36), fill=(28, 28, 30))
        canvas.ellipse((x + side - 8, y + 10, x + side + 8, y + 26), fill=(190, 190, 196))


def _draw_flower(canvas: ImageDraw.ImageDraw, chance: random.Random) -> None:
    petal = chance.choice(((230, 90, 140), (250, 210, 70), (150, 110, 220)))
    x, y = chance.randint(100, 140), 78
    canvas.line((x, y, x, HEIGHT_PX), fill=(60, 130, 60), width=6)
    for turn in range(8):
        angle = turn * math.tau / 8
        px, py = x + 30 * math.cos(angle), y + 30 * math.sin(angle)
        canvas.ellipse((px - 19, py - 19, px + 19, py + 19), fill=petal)
    canvas.ellipse((x - 20, y - 20, x + 20, y + 20), fill=(120, 80, 40))


def _draw_person(canvas: ImageDraw.ImageDraw, chance: random.Random) -> None:
    skin = chance.choice(((236, 200, 170), (196, 142, 104), (120, 82, 58)))
    coat = chance.choice(((60, 90, 150), (150, 60, 70), (70, 120, 90)))
    x, y = chance.randint(100, 140), 66
    canvas.rounded_rectangle((x - 46, y + 34, x + 46, HEIGHT_PX + 20), radius=30, fill=coat)
    canvas.rectangle((x - 9, y + 20, x + 9, y + 42), fill=skin)
    canvas.ellipse((x - 30, y - 46, x + 30, y + 10), fill=_mix(skin, (30, 24, 20), 0.8))
    canvas.ellipse((x - 25, y - 34, x + 25, y + 30), fill=skin)
    for side in (-10, 10):
        canvas.ellipse((x + side - 3, y - 8, x + side + 3, y - 2), fill=(24, 24, 28))
    canvas.arc((x - 11, y, x + 11, y + 18), 20, 160, fill=(150, 60, 60), width=2)


def _write(canvas: ImageDraw.ImageDraw, chance: random.Random, *, text: str) -> None:
    """A card with a text in place of a drawing."""
    x, y = chance.randint(112, 128), chance.randint(80, 100)
    canvas.rounded_rectangle((x - 104, y - 34, x + 104, y + 34), radius=10, fill=(252, 250, 244))
    font = ImageFont.load_default(size=max(10, min(32, 340 // max(1, len(text)))))
    canvas.text((x, y), text, fill=(40, 44, 52), font=font, anchor="mm")


_ALIKE: Final = {"bird": "sparrow", "face": "person", "human": "person"}
"""Labels that have the drawing of another one."""

_SUBJECTS: Final[dict[str, Painter]] = {
    **{name: functools.partial(_draw_bird, plumage=plumage) for name, plumage in _BIRDS.items()},
    "cat": _draw_cat,
    "car": _draw_car,
    "flower": _draw_flower,
    "person": _draw_person,
}

_DIRT_SUBJECTS: Final = (*_BIRDS, "cat", "car", "flower")


# Answers


def _answer(subject: str, chance: random.Random) -> LabelSet:
    found = {subject.title(): chance.uniform(86, 99.8), "Outdoors": chance.uniform(55, 98)}
    if chance.random() < 0.12:
        found[subject.title()] = chance.uniform(58, 84)
    if chance.random() < 0.06:
        found["Person"] = chance.uniform(60, 90)
    for scenery in chance.sample(("Nature", "Plant", "Sky", "Wood"), 2):
        found[scenery] = chance.uniform(20, 90)
    return LabelSet(tuple(encode_label(label) for label in build_labels(found, chance)))


_NOTHING: Final = LabelSet(())


# Unwanted files: misplaced pictures, and files that are not pictures


def _misplaced(folder: str, place: int, chance: random.Random) -> Sample:
    subject = chance.choice([name for name in _DIRT_SUBJECTS if name != folder])
    return _picture(folder, place, subject, chance)


def _broken(folder: str, place: int, chance: random.Random) -> Sample:
    body = _encode(_draw(folder, chance), "JPEG", quality=82)[:100]  # ends before the frame header
    return Sample(f"raw/{folder}/{place:04d}.jpg", body, "", _NOTHING)


def _text(folder: str, place: int, _: random.Random) -> Sample:
    body = b"<html><body><h1>404 Not Found</h1></body></html>\n"
    return Sample(f"raw/{folder}/{place:04d}.jpg", body, "", _NOTHING)


def _thumbnail(folder: str, place: int, chance: random.Random) -> Sample:
    body = _encode(_draw(folder, chance).resize((48, 36)), "JPEG", quality=82)
    return Sample(f"raw/{folder}/{place:04d}.jpg", body, folder, _answer(folder, chance))


def _webp(folder: str, place: int, chance: random.Random) -> Sample:
    body = _encode(_draw(folder, chance), "WEBP", quality=70)
    return Sample(f"raw/{folder}/{place:04d}.jpg", body, folder, _answer(folder, chance))


def _empty(folder: str, place: int, _: random.Random) -> Sample:
    return Sample(f"raw/{folder}/{place:04d}.jpg", b"", "", _NOTHING)


def _notes(folder: str, place: int, _: random.Random) -> Sample:
    body = f"Seen near the feeder: {folder}.\n".encode()
    return Sample(f"raw/{folder}/notes-{place:04d}.txt", body, "", _NOTHING)


_DIRT: Final = (_misplaced, _broken, _misplaced, _text, _misplaced, _thumbnail, _webp, _misplaced, _empty, _notes)


def _encode(picture: Image.Image, kind: str, **settings: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between two others."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
