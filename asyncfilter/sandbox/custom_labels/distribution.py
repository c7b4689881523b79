"""The split of a training dataset: a fifth of the entries of each label goes to the test dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from asyncfilter.sandbox.custom_labels.entries import Entry
from asyncfilter.sandbox.custom_labels.limits import TEST_SHARE


def lonely_label(entries: Mapping[str, Entry]) -> str | None:
    """A label that only one image has, so that it cannot be on both sides; the service's own bound is not published."""
    images = Counter(label for entry in entries.values() for label in entry.names)
    return next((label for label, number in sorted(images.items()) if number < 2), None)


def distribute(entries: Mapping[str, Entry]) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The entries that stay, and those that go to the test: of each label every fifth, and one of two to four.

    An entry of several labels counts for the rarest of them. Entries without labels stay.
    """
    images = Counter(label for entry in entries.values() for label in entry.names)
    groups: dict[str, list[str]] = {}
    for ref, entry in entries.items():
        if entry.names:
            groups.setdefault(min(entry.names, key=lambda label: (images[label], label)), []).append(ref)
    tested: set[str] = set()
    for refs in groups.values():
        wanted = max(1, round(TEST_SHARE * len(refs))) if len(refs) > 1 else 0
        tested.update(refs[place * len(refs) // wanted] for place in range(wanted))
    return (
        {ref: entry for ref, entry in entries.items() if ref not in tested},
        {ref: entry for ref, entry in entries.items() if ref in tested},
    )
