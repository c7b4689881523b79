"""A small part of a label taxonomy: ancestors and category of names that are common as folder names."""

from __future__ import annotations

from typing import Final

_KINDS: Final = (
    (
        ("Bird", "Animal"),
        "Animals and Pets",
        "Blackbird Bluebird Cardinal Chicken Duck Finch Jay Kingfisher Magpie Owl Parrot Robin Sparrow Swallow Wren",
    ),
    (("Pet", "Mammal", "Animal"), "Animals and Pets", "Cat Dog Hamster Rabbit"),
    (("Mammal", "Animal"), "Animals and Pets", "Bear Cow Deer Elephant Fox Horse Raccoon Sheep Squirrel Zebra"),
    (("Clothing",), "Apparel and Accessories", "Dress Hat Longsleeve Outwear Pants Shirt Shoes Shorts Skirt T-Shirt"),
    (("Transportation", "Vehicle"), "Vehicles and Automotive", "Airplane Bicycle Boat Bus Car Motorcycle Train Truck"),
    (("Plant",), "Plants and Flowers", "Flower Grass Leaf Tree"),
)
_KNOWN: Final = {name: (parents, category) for parents, category, names in _KINDS for name in names.split()}
_CATEGORIES: Final = {"Person": "Person Description"} | {
    parent: category for parents, category, _ in _KINDS for parent in parents
}


def parents_of(name: str) -> tuple[str, ...]:
    """All ancestors of a label, nearest first; empty for names that this taxonomy lacks."""
    return _KNOWN.get(name, ((), ""))[0]


def category_of(name: str) -> str:
    """The category of a label; empty for names that this taxonomy lacks."""
    return _KNOWN[name][1] if name in _KNOWN else _CATEGORIES.get(name, "")
