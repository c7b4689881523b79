"""The ports of an examination: source, contents, preparation, detector, references and sink.

Every method makes exactly one attempt and raises from ``asyncfilter.errors`` (``CallError`` for what concerns one call,
``AccessError`` for what concerns the account): the engine is responsible for retries, rate, budget and concurrency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol, runtime_checkable

import msgspec

from asyncfilter.model import Detection, Effect, ListedObject, ObjectRef


class Page(msgspec.Struct, frozen=True):
    """Consecutive objects of a listing, in the source's order; ``is_last`` when no more follow."""

    objects: Sequence[ListedObject]
    is_last: bool


class Source(Protocol):
    """Objects in an order that stays the same from call to call."""

    async def page(self, after: str | None) -> Page:
        """The objects that follow the key ``after`` (None: from the start).

        A page may be shorter than others, or empty, without being the last.

        Raises:
            ThrottledError: The source throttles.
            TransientError: Worth repeating.
            AccessError: The bucket cannot be listed.
        """
        ...


class Heads(Protocol):
    """Looks at single objects of a source, for a list that may be older than the store."""

    async def head(self, key: str) -> ListedObject | None:
        """The object as the source would list it now; None when there is none.

        Raises:
            ThrottledError: The store throttles.
            TransientError: Worth repeating.
            AccessError: It may not be looked at.
        """
        ...


class Places(Protocol):
    """Other places in the store of a source, which tell where images are when the source has none.

    A place is a prefix of keys, or the path of a folder; errors are those of ``Source``.
    """

    prefix: str
    """Of the source."""

    def address(self, prefix: str) -> str:
        """The address of a place, as a job file may have it."""
        ...

    def above(self, prefix: str) -> Sequence[str]:
        """Places that contain ``prefix``, the nearest first."""
        ...

    async def folders(self, prefix: str) -> Sequence[str]:
        """Places directly below ``prefix``, each with a slash at its end."""
        ...

    async def objects(self, prefix: str) -> Sequence[ListedObject]:
        """Some of the objects in a place."""
        ...


class HeldModel(Protocol):
    """A model that runs for this run, and costs money until it is stopped."""

    def ran_s(self) -> float:
        """Seconds for which it costs money so far: from the request to start it, until it is stopped."""
        ...

    def left_s(self) -> float:
        """Seconds until it is stopped in any case."""
        ...

    async def stop(self) -> str | None:
        """Stop it, and return once the service says that it does not run; a second call has no effect.

        Cancelling does not end the wait.

        Returns:
            None, or why it could not be stopped, in a sentence for people.
        """
        ...


class Detector(Protocol):
    """Detects the labels of one image."""

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt.

        Cancelling leaves it unknown whether the attempt was billed.

        Raises:
            ThrottledError: Refused for the rate.
            TransientError: Worth repeating; ``may_be_billed`` is True when the attempt may have been billed.
            ImageError: This image cannot be examined, with the diagnosed cause.
            AccessError: No image can be examined.
        """
        ...


class References(Protocol):
    """Reference images: objects of any bucket, or files, each by its address as the ``key`` of an object."""

    async def head(self, uri: str) -> ListedObject:
        """The present image at ``uri``, at no cost: ``key`` is the address, ``etag`` changes with the content.

        Raises:
            ThrottledError: The store throttles.
            TransientError: Worth repeating.
            ImageError: There is none, or it cannot be read.
            AccessError: Nothing can be read.
        """
        ...

    async def detect(self, image: ObjectRef) -> Detection:
        """Make one paid attempt at the reference whose address is ``image.key``; see ``Detector``."""
        ...


class Contents(Protocol):
    """The bytes of the images of a source."""

    async def read(self, image: ObjectRef, *, first_bytes: int | None = None) -> bytes:
        """All of an image, or at most ``first_bytes`` from its start, on condition that the object is the one listed.

        Raises:
            ThrottledError: Reading too fast.
            TransientError: Worth repeating.
            ImageError: ``changed`` or ``vanished`` since it was listed, or a cause of its own.
            AccessError: Nothing can be read.
        """
        ...


@runtime_checkable
class Files(Protocol):
    """The images of a source as files, which can be decoded without being read into memory."""

    def opened(self, image: ObjectRef) -> AbstractAsyncContextManager[BinaryIO]:
        """The file that was listed, open for reading inside of the context; checked at its begin and at its end.

        Raises:
            TransientError: Worth repeating.
            ImageError: ``changed`` or ``vanished`` since it was listed, or a cause of its own.
        """
        ...


class Memory(Protocol):
    """Memory for the bytes of images until their calls are over, shared by all images of a run."""

    async def hold(self, image: ObjectRef, size_bytes: int) -> None:
        """Wait until an image may hold ``size_bytes`` in all, and count them.

        What an image holds must not depend on later images: the earliest image always gets what it asks for.
        """
        ...


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """How one image is to be examined.

    Attributes:
        detector: Makes its attempts, instead of the detector of the run.
        held_bytes: Memory it keeps until the call is over.
        at_lane: Returns the detector that makes its attempts at a lane, by the name of that; None where ``detector``
            makes them all.
        let_go: Called once when the image is over, also without an attempt; None where nothing is kept elsewhere.
    """

    detector: Detector
    held_bytes: int = 0
    at_lane: Callable[[str], Detector] | None = None
    let_go: Callable[[], None] | None = None


class Preparation(Protocol):
    """Prepares an image before anything is paid: checks whether the service accepts it, and what to send."""

    async def prepare(self, image: ObjectRef) -> Prepared | None:
        """Make one attempt, at no cost; None when the run's own detector examines the image as it is.

        Raises:
            ThrottledError: Reading too fast.
            TransientError: Worth repeating.
            ImageError: The service would reject this image, or it cannot be read.
            AccessError: No image can be read.
        """
        ...


@runtime_checkable
class BoundedPreparation(Preparation, Protocol):
    """A ``Preparation`` that counts the bytes it reads before it reads them."""

    def bound_by(self, memory: Memory) -> None:
        """Use ``memory`` from now on; what an image holds when it is prepared is ``Prepared.held_bytes``."""
        ...


class Sink(Protocol):
    """Carries out actions."""

    async def perform(self, effect: Effect) -> None:
        """Carry out one action, on condition that the object is the one examined; repeating it is harmless.

        Raises:
            ThrottledError: The store throttles.
            TransientError: Worth repeating.
            ImageError: ``changed`` or ``vanished`` since it was examined, ``target_exists``, or a cause of its own.
            AccessError: Nothing can be written.
        """
        ...
