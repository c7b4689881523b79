"""What commands do to a state in S3, each thing with the permissions that it needs, as in ``blocks``.

To a caller without permission to list a bucket, S3 says that a missing object is forbidden. ``s3:ListBucket`` is
among the permissions so that a state that was never made differs from one that may not be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from asyncfilter.policy.permissions.places import JobPlaces, Place
from asyncfilter.policy.permissions.rows import Need


def state_reading(places: JobPlaces) -> Iterator[Need]:
    """A command that owns nothing: it fetches what is committed, and answers."""
    for place in places.states:
        yield from _looking(place)


def state_fetching(places: JobPlaces) -> Iterator[Need]:
    """Fetching the state of a checkpoint."""
    for place in places.states[:1]:
        yield _reading(place)


def state_looking(places: JobPlaces) -> Iterator[Need]:
    """Looking at all objects of the state of a checkpoint."""
    for place in places.states[:1]:
        yield from _looking(place)


def state_pruning(places: JobPlaces) -> Iterator[Need]:
    """Deleting what the state of a checkpoint does not need any more."""
    for place in places.states[:1]:
        yield from _pruning(place)


def state_owning(places: JobPlaces) -> Iterator[Need]:
    """Owning a state: taking it, committing to it, and deleting what was replaced."""
    for place in places.states:
        yield from _owning(place)


def answers_owning(places: JobPlaces) -> Iterator[Need]:
    """Owning the state of people's answers alone, for a moment."""
    for place in places.states[1:]:
        yield from _owning(place)


def state_seeing(places: JobPlaces) -> Iterator[Need]:
    """``doctor``: looking at the state of a checkpoint."""
    for need in state_looking(places):
        yield replace(need, without="that is what it reports")


# -- Parts of blocks ---------------------------------------------------------------------------------------------------


def _reading(place: Place) -> Need:
    why = "read checkpoint and answers in S3"
    return Need(action="s3:GetObject", resource=place.objects, statement="ReadState", why=why)


def _owning(place: Place) -> Iterator[Need]:
    yield from _pruning(place)
    yield Need(action="s3:PutObject", resource=place.objects, statement="WriteState", why="commit to the state in S3")


def _looking(place: Place) -> Iterator[Need]:
    yield _reading(place)
    yield Need(
        action="s3:ListBucket",
        resource=place.bucket,
        statement="ListState",
        why="see which objects of the state there are",
        prefix=place.prefix,
    )


def _pruning(place: Place) -> Iterator[Need]:
    yield from _looking(place)
    yield Need(
        action="s3:DeleteObject",
        resource=place.objects,
        statement="WriteState",
        why="delete objects of the state that were replaced",
    )
