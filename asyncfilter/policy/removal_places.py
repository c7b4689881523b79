"""The places that a removal writes to, and whether the job names them.

A checkpoint records the keys and targets that ``apply`` and ``undo`` delete at. It may be somebody else's, or changed
on purpose. So nothing is deleted or written outside the places that the job itself names (its source, and the targets
of its present actions; for what was moved, those that move) or that the user allows by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from asyncfilter.job.addresses import Template, parse_template
from asyncfilter.job.spec import Job
from asyncfilter.model import ActionKind, S3Location, location

SHOWN_PLACES = 20
"""Most places of a plan that are listed; there are as many as the checkpoint likes."""

OTHER_PLACES = "other places"

Canonical = Callable[[S3Location], str]
"""The one address of an object or prefix, where a store gives it several (folders: links and ``..``)."""


def as_written(place: S3Location) -> str:
    """``Canonical`` of stores in which each object has one address."""
    return place.uri


class PlaceUse(msgspec.Struct, frozen=True):
    """A place of a plan.

    Attributes:
        place: Address of a bucket and prefix, or of a folder.
        images: Number of images (or of their copies) that would be deleted or written there.
        is_covered: True when the job names the place, or the user allowed it.
    """

    place: str
    images: int
    is_covered: bool


class _Covered(NamedTuple):
    place: str
    beginning: str


class RemovalPlaces:
    """The places that a job covers.

    Args:
        job: Its source covers images, the targets of its actions cover copies.
        allowed: Places that the user allowed, for images and copies alike.
        canonical: Gives the address by which places are compared.
    """

    def __init__(self, job: Job, allowed: Iterable[S3Location] = (), canonical: Canonical = as_written) -> None:
        self._bucket = job.source.bucket
        self._canonical = canonical
        free = [self._of(one) for one in allowed]
        actions = [*job.actions.values(), *([job.duplicate] if job.duplicate is not None else [])]
        templates = [(action.kind, parse_template(action.target)) for action in actions if action.target is not None]
        targets = [(kind, self._of(_beginning(job, template))) for kind, template in templates]
        self._images = [self._of(S3Location(job.source.bucket, job.source.prefix)), *free]
        self._copies = [*(one for _, one in targets), *free]
        self._moved = [*(one for kind, one in targets if kind is ActionKind.MOVE), *free]

    def image(self, key: str) -> tuple[str, bool]:
        """The place of an image in the source, and whether it is covered."""
        return self._find(S3Location(self._bucket, key), self._images)

    def copy(self, uri: str) -> tuple[str, bool]:
        """The place of a copy, and whether it is covered."""
        return self._find(location(uri), self._copies)

    def moved(self, uri: str) -> tuple[str, bool]:
        """The place of a moved image, and whether an action covers it that moves: none of a copy is taken back."""
        return self._find(location(uri), self._moved)

    def in_source(self, uri: str) -> bool:
        """Whether an object is in the source: it is an image then, and no copy, whatever the user allowed."""
        return self._canonical(location(uri)).startswith(self._images[0].beginning)

    def address(self, place: S3Location) -> str:
        """The one address of an object."""
        return self._canonical(place)

    def _of(self, place: S3Location) -> _Covered:
        return _Covered(place.uri, self._canonical(place))

    def _find(self, where: S3Location, covered: list[_Covered]) -> tuple[str, bool]:
        address = self._canonical(where)
        for one in covered:
            if address.startswith(one.beginning):
                return one.place, True
        return _parent(address), False


class PlaceCount:
    """Counts the images of a plan by place, in memory that does not grow with the checkpoint."""

    def __init__(self, places: RemovalPlaces) -> None:
        self._places = places
        self._images: dict[tuple[str, bool], int] = {}

    def add_image(self, key: str) -> None:
        """Count an image that is deleted or written in the source."""
        self._add(*self._places.image(key))

    def add_copy(self, uri: str) -> None:
        """Count a copy that is deleted or written."""
        self._add(*self._places.copy(uri))

    def add_moved(self, uri: str) -> None:
        """Count a moved image that is brought back, and deleted where it is."""
        self._add(*self._places.moved(uri))

    def uses(self) -> tuple[PlaceUse, ...]:
        """Those that are not covered first, then by address."""
        found = [PlaceUse(place, images, is_covered) for (place, is_covered), images in self._images.items()]
        return tuple(sorted(found, key=lambda one: (one.is_covered, one.place)))

    def _add(self, place: str, is_covered: bool) -> None:  # noqa: FBT001  the pair that ``Places`` returns
        where = (place, is_covered)
        if where not in self._images and not is_covered and len(self._images) >= SHOWN_PLACES:
            where = (OTHER_PLACES, False)
        self._images[where] = self._images.get(where, 0) + 1


def _beginning(job: Job, target: Template) -> S3Location:
    """What every target that the job can give begins with: ``{key}`` begins with the source's prefix."""
    return S3Location(target.bucket, target.literal_prefix(job.name, source_prefix=job.source.prefix))


def _parent(address: str) -> str:
    """The bucket, or the folder, of an address, up to its last slash."""
    return address[: address.rfind("/") + 1]


def allowed_place(place: S3Location) -> S3Location:
    """A place that the user names: a prefix without its slash is meant with one, so that it allows no neighbour."""
    key = place.key
    return S3Location(place.bucket, key if not key or key.endswith("/") else f"{key}/")
