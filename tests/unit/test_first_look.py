"""What a first look counts, and the settings of a new job that follow from it."""

from __future__ import annotations

from typing import Any

import pytest

from asyncfilter.job.spec import PriceTier
from asyncfilter.model import Detection, Label, ListedObject, NothingFound, S3Location
from asyncfilter.policy.first_look import FirstLook, FirstLookCounter, PlaceFound, extension_of
from asyncfilter.policy.new_job import (
    found_settings,
    labels_in_names,
    place_cautions,
    suggested_budget_micros,
    suggested_labels,
)
from asyncfilter.policy.pricing import PriceList

MILLI = PriceList(tiers=(PriceTier(up_to=None, micros=1000),), source="test")
NOTHING = NothingFound(
    message="no object.", hint="Look again.", skipped_keys={}, nearest_prefix=None, likely_cause="no object"
)
NAMES = {name.casefold(): name for name in ("Bird", "Robin", "Golden Retriever", "Berry", "Dress", "Train", "Nature")}


def looked_at(*keys: str, prefix: str = "", is_whole: bool = True, size_bytes: int = 100) -> FirstLook:
    """A look at objects with these keys."""
    counter = FirstLookCounter(prefix, 1000)
    counter.add(ListedObject(key, size_bytes, "etag") for key in keys)
    return counter.look(is_whole=is_whole)


def place(*keys: str, prefix: str = "", **changes: Any) -> PlaceFound:
    """A place in S3 with these keys below its prefix."""
    fields: dict[str, Any] = {
        "place": S3Location("raw", prefix),
        "look": looked_at(*(prefix + key for key in keys), prefix=prefix, is_whole=changes.pop("is_whole", True)),
        "home": "us-east-1",
        "region": "us-east-1",
        "prices": MILLI,
    }
    return PlaceFound(**fields | changes)


def test_objects_are_counted_by_their_names() -> None:
    """Images by extension and folder, other objects by extension; sizes are those of images."""
    counter = FirstLookCounter("in/", 1000)
    sizes = {"in/a/1.JPG": 10, "in/a/2.jpg": 30, "in/b/c/3.png": 50, "in/4.webp": 70, "in/a/notes.txt": 999}
    counter.add(ListedObject(key, size_bytes, "etag") for key, size_bytes in sizes.items())
    counter.add(
        [ListedObject("in/a/", 0, "etag"), ListedObject("in/empty.jpg", 0, "etag"), ListedObject("in/x", 1, "e")]
    )
    counter.add([ListedObject("in/big.jpg", 1001, "etag"), ListedObject("in/old.jpg", 5, "etag", "GLACIER")])
    look = counter.look(is_whole=True)
    assert (look.listed, look.images) == (10, 4)
    assert look.formats == {"jpg": 2, "png": 1, "webp": 1}
    assert look.others == {"": 1, "txt": 1}
    assert look.skipped == {"archived": 1, "empty": 1, "folder": 1, "too_large": 1}
    assert look.folders == {"a/": 2, "": 1, "b/": 1}
    assert (look.size_bytes, look.median_bytes, look.largest_bytes) == (160, 40, 70)
    assert {listed.key for listed in look.sample} == set(list(sizes)[:4])


@pytest.mark.parametrize(
    ("key", "extension"),
    [
        ("a/b.JPG", "jpg"),
        ("a.b/c", ""),
        ("a/.jpg", ""),
        ("a/b.", ""),
        ("a/b.jpg ", ""),
        ("a/b.thumbnail", ""),
        ("a/b.日本", ""),
        ("b.tar.gz", "gz"),
    ],
)
def test_extensions(key: str, extension: str) -> None:
    """The extension of the last part of a key; hidden files and long endings have none."""
    assert extension_of(key) == extension


def test_many_folders_take_bounded_memory() -> None:
    """Folders behind the first thousand are counted together."""
    look = looked_at(*(f"{number}/x.jpg" for number in range(3000)))
    assert (len(look.folders), look.folders[""], sum(look.folders.values())) == (1001, 2000, 3000)


# -- Settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "include", "converts", "has_precheck"),
    [
        (("a.jpg", "b.png"), None, False, False),
        (("a.jpg", "b.webp"), ("*.jpg", "*.jpeg", "*.png", "*.webp"), True, False),
        (("a.jfif",), ("*.jpg", "*.jpeg", "*.png", "*.jfif"), False, False),
        (("a", "b"), ("*",), False, True),
        (("a", "b.jpg"), None, False, False),
        (("a.heic",), None, False, False),
        ((), None, False, False),
    ],
)
def test_settings_follow_from_the_formats(
    keys: tuple[str, ...], include: tuple[str, ...] | None, *, converts: bool, has_precheck: bool
) -> None:
    """The default is not written; what the service does not read is converted; names without extension are checked."""
    found = found_settings(place(*keys), has_plugin=False)
    assert (found.include, found.converts, found.has_precheck, found.region) == (include, converts, has_precheck, None)


def test_heic_needs_its_package() -> None:
    """With it the images are included; without it that is said."""
    assert "*.heic" in (found_settings(place("a.heic"), has_plugin=True).include or ())
    assert any("pillow-heif" in caution for caution in place_cautions(place("a.heic"), has_plugin=False))
    assert not any("pillow-heif" in caution for caution in place_cautions(place("a.heic"), has_plugin=True))


def test_a_folder_needs_a_region_and_nothing_else() -> None:
    """Folders convert by default; a region is written only where the settings have none."""
    folder = S3Location("file:///photos", "")
    found = found_settings(place("a.webp", place=folder), has_plugin=False)
    assert (found.is_folder, found.converts, found.region) == (True, False, None)
    unset = place("a.jpg", place=folder, home=None, is_region_chosen=True)
    assert found_settings(unset, has_plugin=False).region == "us-east-1"
    assert any("no region is set" in caution for caution in place_cautions(unset, has_plugin=False))
    given = place("a.jpg", place=folder, home="us-east-1", region="eu-west-1")
    assert found_settings(given, has_plugin=False).region == "eu-west-1"
    assert list(place_cautions(given, has_plugin=False)) == []


def test_a_bucket_of_another_region() -> None:
    """Its images are sent by their bytes; none of them is drawn to suggest labels, which needs them where they are."""
    found = place("a.jpg", home="eu-north-1", region="eu-central-1")
    settings = found_settings(found, has_plugin=False)
    assert (settings.converts, settings.region) == (True, "eu-central-1")
    assert found.sample_of(5) == []
    assert any("eu-north-1" in caution for caution in place_cautions(found, has_plugin=False))


@pytest.mark.parametrize(
    ("images", "is_whole", "usd"), [(0, True, 1), (1, True, 1), (1000, True, 1), (1001, True, 2), (5, False, 10)]
)
def test_the_budget_covers_what_was_seen(images: int, usd: int, *, is_whole: bool) -> None:
    """In whole dollars, and more where there are more images."""
    found = place(*(f"{number}.jpg" for number in range(images)), is_whole=is_whole)
    assert suggested_budget_micros(found) == usd * 1_000_000


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (place(nothing=NOTHING), "no object. Look again."),
        (place("a.csv", "b.pdf"), "extensions: csv, pdf"),
        (place("a", "b"), "2 names have no extension"),
        (place("/a.jpg", "2/b.jpg", prefix="birds"), "the prefix birds has no slash"),
    ],
)
def test_cautions(found: PlaceFound, words: str) -> None:
    """What is probably not meant is said in a sentence."""
    assert any(words in caution for caution in place_cautions(found, has_plugin=True))


@pytest.mark.parametrize(
    "found",
    [
        place("a.jpg"),
        place("a/b.jpg", prefix="birds/"),
        place("/a.jpg", "/b/c.jpg", prefix="birds"),
        place("1.jpg", "2.jpg", prefix="birds"),
    ],
)
def test_usual_places_have_no_caution(found: PlaceFound) -> None:
    """No false alarm."""
    assert list(place_cautions(found, has_plugin=True)) == []


# -- Labels ------------------------------------------------------------------------------------------------------------


def detection(*names: str) -> Detection:
    """Labels of one image, each certain."""
    parents = {"Robin": ("Bird", "Animal"), "Bird": ("Animal",)}
    return Detection(labels=tuple(Label(name, 99.0, parents=parents.get(name, ())) for name in names))


def test_labels_of_half_of_the_images_are_suggested() -> None:
    """The most specific of them; where none is that frequent, the most frequent one; no label of a setting."""
    robin, bird, cat = detection("Robin", "Bird", "Animal"), detection("Bird", "Animal"), detection("Cat", "Animal")
    assert suggested_labels({"1": robin, "2": robin, "3": cat}) == ("Robin",)
    assert suggested_labels({"1": robin, "2": bird, "3": bird, "4": cat}) == ("Bird",)
    assert suggested_labels({"1": robin, "2": robin, "3": cat, "4": cat}) == ("Cat", "Robin")
    assert suggested_labels({"1": cat, "2": detection("Dog"), "3": detection("Car"), "4": cat, "5": bird}) == ("Cat",)
    assert suggested_labels({"1": detection("Animal", "Outdoors")}) == ()
    assert suggested_labels({"1": detection()}) == suggested_labels({}) == ()


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        (place("robin/1.jpg", "robin/2.jpg", "other/3.jpg"), ("Robin",)),
        (place("robins/1.jpg", "golden_retriever-2/2.jpg"), ("Golden Retriever", "Robin")),
        (place("Dresses/1.jpg", "berries/2.jpg"), ("Berry", "Dress")),
        (place("robin/1.jpg", "x/2.jpg", "y/3.jpg"), ()),
        (place("1.jpg", prefix="sets/birds/"), ("Bird",)),
        (place("train/1.jpg", "test/1.jpg", prefix="birds/"), ("Bird",)),
        (place("nature/1.jpg"), ()),
        (place("1.jpg", prefix="2026/"), ()),
    ],
)
def test_labels_in_names(found: PlaceFound, labels: tuple[str, ...]) -> None:
    """Folders that hold half of the images, else the place itself; no general label, and no name of a split."""
    assert set(labels_in_names(found, NAMES)) == set(labels)
