"""A review: images, answers and leases as they are now, kept up to date while runs and other people work.

Everything here runs in the event loop's thread; files are read and written in others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread
import msgspec

from asyncfilter.answers.leases import LEASE_S
from asyncfilter.checkpoint.card_rows import file_version
from asyncfilter.errors import AnswersError, AsyncFilterError
from asyncfilter.policy.answers.identity import Name, name_of
from asyncfilter.records.answers import CurrentVerdict, ImageRows
from asyncfilter.review.answer_log import AnswerLog
from asyncfilter.review.asked import Asked
from asyncfilter.review.book import Book, ImageState
from asyncfilter.review.events import Events
from asyncfilter.review.index import CardIndex
from asyncfilter.review.leasing import Leasing
from asyncfilter.review.rows import CardRow, Mark, Part, Rows
from asyncfilter.review.warnings import where_from

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

LOOK_S = 1.0
"""How often the files are looked at."""
PULSE_S = 2.0
"""How often pages are told how a run goes."""
_SCAN_S = 5.0
_SCAN_SHARE = 20
"""All images are read again at most so often, or in a twentieth of the time."""
_LEAST_LOOKED_AT = 64
"""Images of a queue that are looked at together, to find some that nobody holds."""


class Review:
    """The state of a review.

    Args:
        rows: The images.
        log: The answers.
        asked: What audits ask about.
        events: Told of what changes.
        of_folder: See ``CardIndex``.
        warn: Told of what cannot be read.

    Attributes:
        index: All cards.
        serial: Of the newest answer that the index has.
        is_running: Whether a run works on the images.
        leasing: Leases images to people.
        replaced: Ids of images that were in the index, and of which another version was found since.
    """

    def __init__(
        self,
        rows: Rows,
        log: AnswerLog,
        *,
        asked: Asked,
        events: Events,
        of_folder: bool,
        warn: Callable[[str], object],
    ) -> None:
        self.rows, self.log, self.asked, self.events = rows, log, asked, events
        self._warn = warn
        self._of_folder = of_folder
        self.index = CardIndex(of_folder=of_folder)
        self.serial = 0
        self.is_running = False
        self.replaced: set[int] = set()
        self._book = Book()
        self._mark: Mark | None = None
        self._scan_s = 0.0
        self._scanned_s = 0.0
        self._felt_s = 0.0
        self._taking = anyio.Lock()
        self._meanwhile: dict[int, ImageState] | None = None
        self.leasing = Leasing(log)
        self._files = anyio.CapacityLimiter(4)

    # -- Looking -------------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Load everything, then keep it up to date; never ends."""
        self.serial = await self.log.everything(lambda images: [self._book.put(image) for image in images])
        with suppress(AnswersError):
            await self.leasing.remember()
        said = ""
        while True:
            try:
                await self._look()
                said = ""
            except AsyncFilterError as error:
                if error.message != said:
                    self._warn(error.message)
                said = error.message
            except Exception as error:  # noqa: BLE001  answers must be taken whatever cannot be looked at
                self._warn(f"internal error: {where_from(error)}")
            await anyio.sleep(LOOK_S)

    async def _look(self) -> None:
        await self.take_answers()
        await self._feel_pulse()
        mark = await self._off(self.rows.mark)
        if mark is None and self._mark is not None:  # it was moved aside: its images are nobody's now
            self._mark, self.index = None, CardIndex(of_folder=self._of_folder)
            self.tell_counts()
        if mark is None or mark == self._mark:
            await self.refresh_asked()
            return
        former, self._mark = self._mark, mark
        if former is None or former.origin != mark.origin:
            await self._load()
            return
        if mark.last_id > self.index.last_id:
            await self._scan(self.index, after=self.index.last_id)
        if time.monotonic() - self._scanned_s >= max(_SCAN_S, _SCAN_SHARE * self._scan_s):
            await self._renew()
        else:
            self._mark = mark._replace(version="")  # looked at again
        self.tell_counts()

    async def _feel_pulse(self) -> None:
        """Note whether a run works on the images, and tell pages how it goes."""
        was_running, self.is_running = self.is_running, await self._off(self.rows.is_running)
        if was_running != self.is_running:
            self.tell_counts()
        is_due = self.events.has_readers and time.monotonic() - self._felt_s >= PULSE_S
        if (self.is_running and is_due) or was_running != self.is_running:
            self._felt_s = time.monotonic()
            figures = await self._off(self.rows.pulse)
            if figures is not None:
                self.events.send("pulse", {"running": self.is_running, "at_unix_s": time.time(), **figures})

    async def _load(self) -> None:
        """Read all images, of which each is there as soon as it is read."""
        began_s = time.monotonic()
        self.index = CardIndex(of_folder=self._of_folder)
        await self._scan(self.index)
        self._finish_scan(began_s)

    async def _renew(self) -> None:
        """Read all images again."""
        began_s = time.monotonic()
        fresh = CardIndex(of_folder=self._of_folder)
        await self._scan(fresh)
        former, self.index = self.index, fresh
        self.replaced |= await self._off(former.missing_in, fresh)
        self._finish_scan(began_s)

    def _finish_scan(self, began_s: float) -> None:
        self.index.is_whole = True
        self._scanned_s = time.monotonic()
        self._scan_s = self._scanned_s - began_s
        self.tell_counts()

    async def _scan(self, index: CardIndex, *, after: int = 0) -> None:
        meanwhile: dict[int, ImageState] = {}
        self._meanwhile = meanwhile
        for part in Part:
            found = self.rows.scan(part, self._book, after=after)
            while (some := await self._off(next, found, None)) is not None:
                index.add(some)
        for id_, state in meanwhile.items():  # a row may have been read before its answer came
            if id_ in index:
                index.set_state(id_, state)
        self._meanwhile = None

    async def take_answers(self, known: Mapping[Name, int] | None = None) -> None:
        """Take over what was written to the answers file since, by this server or another program.

        Args:
            known: Cards by the names of versions, as far as the caller knows them: these need not be looked up.
        """
        async with self._taking:
            serial, images = await self.log.since(self.serial)
            if serial == self.serial:
                return
            for image in images:
                await self._note(image, known or {})
            self.serial = serial
        self.tell_counts()

    async def _note(self, image: ImageRows, known: Mapping[Name, int]) -> None:
        """Note what was said about an image, and tell every page."""
        state = self._book.put(image)
        newest = image.rows[-1]
        cards = {known[name_of(one)] for one in image.subjects if name_of(one) in known}
        unknown = [one for one in image.subjects if name_of(one) not in known]
        if unknown:
            cards.update(id_ for ids in await self._off(self.rows.find, unknown) for id_ in ids)
        if self._meanwhile is not None:
            self._meanwhile.update(dict.fromkeys(cards, state))
        for id_ in {one for card in cards if card in self.index for one in self.index.set_state(card, state)}:
            self.events.send("answer", {"id": id_, "serial": newest.serial, "reviewer": newest.reviewer})

    async def refresh_asked(self) -> None:
        """Bring what audits ask up to date."""
        mark = self._mark
        answers = await self._off(file_version, self.log.path)  # a new draw has no serial
        await self.asked.refresh((answers, "" if mark is None else mark.version))

    def counts(self) -> dict[str, int]:
        """The figures of ``/api/job``."""
        by_verdict = self.index.by_verdict
        return {
            "images": len(self.index),
            "waiting": self.index.waiting_count,
            **{verdict.value: by_verdict[verdict] for verdict in CurrentVerdict},
        }

    def state(self) -> dict[str, int]:
        """The figures, and the parts of ``/api/job`` that change."""
        return {
            **self.counts(),
            "serial": self.serial,
            "ready": self.index.is_whole,
            "running": self.is_running,
        }

    def tell_counts(self) -> None:
        """Send the figures to every page."""
        self.events.send("counts", self.state())

    # -- Cards and leases ----------------------------------------------------------------------------------------------

    async def card_rows(self, ids: Sequence[int]) -> list[CardRow]:
        """The images with these ids, in this order, as far as they are in the index."""
        known = list(dict.fromkeys(id_ for id_ in ids if id_ in self.index))
        if not known:
            return []
        found = {row.id: row for row in await self._off(self.rows.cards, known)}
        return [found[id_] for id_ in known if id_ in found]

    async def take(
        self, ids: Iterator[int], count: int, reviewer: str, *, is_free: Callable[[int], bool]
    ) -> tuple[list[int], float]:
        """Lease the first ``count`` of some ids that nobody else holds; returns them, and until when.

        Args:
            ids: In the order in which they are wanted.
            count: How many.
            reviewer: Who is given them.
            is_free: Whether an image may still be given, once what is known about equal ones is noted.
        """
        until = time.time() + LEASE_S
        taken: list[int] = []
        while len(taken) < count:
            some = list(islice(ids, max(_LEAST_LOOKED_AT, 2 * count)))
            if not some:
                break
            rows = await self._with_contents(await self.card_rows(some))
            self._note_equal(rows)
            free = [row for row in rows if is_free(row.id)]
            leased = await self.leasing.lease(free, count - len(taken), reviewer, until)
            # An answer ends its lease: one that came since the look above has left its image free.
            await self.take_answers()
            late = {id_ for id_ in leased if not is_free(id_)}
            await self.leasing.give_back([row for row in free if row.id in late], reviewer)
            taken += [id_ for id_ in leased if id_ not in late]
        if taken:
            self.events.send("lease", {"ids": taken, "reviewer": reviewer, "until": until})
        return taken, until

    async def _with_contents(self, rows: Sequence[CardRow]) -> list[CardRow]:
        subjects = await self.leasing.with_contents([row.subject for row in rows])
        return [msgspec.structs.replace(row, subject=one) for row, one in zip(rows, subjects, strict=True)]

    def _note_equal(self, rows: Sequence[CardRow]) -> None:
        """Note what people said about images that are equal to these by their ETags, or as reading them has shown."""
        known = [(row.id, state) for row in rows if (state := self._book.of(row.subject)) is not None]
        news = [(id_, state) for id_, state in known if id_ in self.index and self.index.state(id_) != state]
        for id_, state in news:
            self.index.set_state(id_, state)
        if news:
            self.tell_counts()

    def is_blind(self, id_: int, reviewer: str) -> bool:
        """Whether a person must not see what the machine and others say about an image."""
        state = self.index.state(id_)
        return self.asked.is_blind(id_, reviewer, frozenset() if state is None else state.voters)

    async def _off(self, work: Callable[[Unpack[Arguments]], T], *arguments: *Arguments) -> T:
        """The result of ``work`` in another thread."""
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._files)
