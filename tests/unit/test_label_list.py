"""AWS's published list of labels, as it ships with the package."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from asyncfilter.policy.label_list import parse, published_labels

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT.parent / "shared" / "data" / "rekognition" / "labels_v3"
LISTED = published_labels()


def test_the_list_has_the_published_facts() -> None:
    """Labels, aliases, categories and the labels that can have boxes; with source and date."""
    assert LISTED.date == "2024-02-15"
    assert "AmazonRekognitionLabels_v3.0.zip" in LISTED.source
    labels = [name for name in LISTED.names if name not in {"human", "automobile"}]
    assert len(labels) >= 3082
    assert len(LISTED.categories) == 40
    assert LISTED.names["casa milà"] == "Casa Milà"
    assert LISTED.category_of["robin"] == "Animals and Pets"


def test_aliases_are_names_of_their_label() -> None:
    """An alias has the category and the boxes of its label, also where only the alias is in the list of boxes."""
    assert LISTED.names["automobile"] == "Automobile"
    assert LISTED.category_of["automobile"] == LISTED.category_of["car"] == "Vehicles and Automotive"
    assert {"person", "human", "car", "automobile", "dryer", "washer", "flyer", "poster"} <= LISTED.boxed
    assert {"beach", "robin", "animal"}.isdisjoint(LISTED.boxed)


def test_the_form_of_the_file() -> None:
    """A mark for boxes, aliases behind equals signs, labels without a category."""
    lines = ["# title", "# source: here", "# date: 2026-01-01", "[]", "Lone", "[Animals]", "Dog*=Hound=Cur", "Yak"]
    found = parse(lines)
    assert (found.source, found.date) == ("here", "2026-01-01")
    assert found.names == {"lone": "Lone", "dog": "Dog", "hound": "Hound", "cur": "Cur", "yak": "Yak"}
    assert found.boxed == {"dog", "hound", "cur"}
    assert found.category_of == {"dog": "Animals", "hound": "Animals", "cur": "Animals", "yak": "Animals"}
    assert found.categories == {"animals": "Animals"}


def test_the_list_is_small() -> None:
    """It ships with every installation."""
    assert (ROOT / "asyncfilter/policy/label_list.txt").stat().st_size < 40_000


def test_the_script_makes_the_list_again() -> None:
    """The file in the package is what the script makes of the published files."""
    if not PUBLISHED.exists():
        pytest.skip("AWS's files are not beside this checkout")
    compact = runpy.run_path(str(ROOT / "tools/label_list.py"))["compact"]
    assert compact(PUBLISHED, LISTED.date) == (ROOT / "asyncfilter/policy/label_list.txt").read_text("utf-8")
