"""The review page of a job, or of a folder of pictures: everything that its server is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import NamedTuple

import anyio
import anyio.to_thread
from aiohttp import web

from asyncfilter.checkpoint import checkpoint_exists, read_status, read_stored_references
from asyncfilter.engine.preview.jobs import store_job
from asyncfilter.errors import AnswersError, UsageError
from asyncfilter.folders import FolderSource, check_folder
from asyncfilter.folders.files import NO_TEXT, real_path
from asyncfilter.job.spec import Aws, Job
from asyncfilter.model import FOLDER, UNREADABLE, Verdict
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.policy.assumed import with_stored_thresholds
from asyncfilter.policy.extensions import CONVERTED, READ_AS_THEY_ARE, extension_of
from asyncfilter.policy.reference_labels import resolved
from asyncfilter.records.answers import Subject
from asyncfilter.review.answer_log import AnswerLog
from asyncfilter.review.capability import Capabilities
from asyncfilter.review.cards import Cards
from asyncfilter.review.checkpoint_rows import CheckpointRows
from asyncfilter.review.endpoints import Description, Endpoints
from asyncfilter.review.events import Events
from asyncfilter.review.folder_rows import FolderRows
from asyncfilter.review.gate import Call, Gate, Route
from asyncfilter.review.keys import DEFAULT_KEYS
from asyncfilter.review.links import Held, LinkFile
from asyncfilter.review.originals import StoredOriginals
from asyncfilter.review.page_files import PageFile, read_page
from asyncfilter.review.picture_cache import PictureCache
from asyncfilter.review.pictures import Pictures
from asyncfilter.review.read_ahead import ReadAhead
from asyncfilter.review.replies import PRIVATE, replied
from asyncfilter.review.review import Review
from asyncfilter.review.rows import Rows
from asyncfilter.review.server import PortTakenError, answerer, bind, serving
from asyncfilter.review.thresholds import Thresholds, rule_confidence, rule_names, rule_text
from asyncfilter.wiring.image_readers import ImageReaders
from asyncfilter.wiring.located import with_known_bucket

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_OWN_END_S = 3.0
"""A server that is just ending is waited for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """How a review is served.

    Attributes:
        reviewers: The people, each with a link.
        answers: The answers file; None for the usual one.
        labels: The labels to choose from; None for those of the job.
        port: None for the remembered one, or a free one.
        host: Address to listen on.
        new_link: Whether former links end.
    """

    reviewers: Sequence[str]
    answers: Path | None = None
    labels: Sequence[str] | None = None
    port: int | None = None
    host: str = "127.0.0.1"
    new_link: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether other machines can reach it."""
        return self.host not in LOOPBACK


class Served(NamedTuple):
    """A server that accepts connections.

    Attributes:
        urls: The link of each reviewer.
        answers: The answers file.
        images: How many there are now.
    """

    urls: Mapping[str, str]
    port: int
    answers: Path
    images: int


async def review_job(
    job: Job, options: ReviewOptions, *, on_open: Callable[[Served], object], warn: Callable[[str], object]
) -> None:
    """Serve the review of a job until it is cancelled; what is being written then is finished.

    Args:
        job: The job; its checkpoint need not exist yet.
        options: How it is served.
        on_open: Called when connections are accepted.
        warn: Told of what goes wrong; no line has a token.

    Raises:
        AnswersError: The answers file cannot be used, or another server of it is running.
        CheckpointError: The checkpoint cannot be used.
        UsageError: The port or the address cannot be had.
    """
    job = _resolved(with_known_bucket(job))
    answers = options.answers or job.answers_path
    thresholds = Thresholds(job)

    def rows(links: LinkFile) -> Rows:
        return CheckpointRows(
            job.checkpoint,
            bucket=job.source.bucket,
            thresholds=thresholds,
            skips_duplicates=job.source.skip_duplicates,
            epoch_of=links.epoch_of,
        )

    await _serve(_Reviewed(job.name, job, answers, thresholds, rows), options, on_open=on_open, warn=warn)


async def review_folder(
    folder: Path, options: ReviewOptions, *, on_open: Callable[[Served], object], warn: Callable[[str], object]
) -> None:
    """Serve the review of the pictures of a folder; arguments and errors are those of ``review_job``.

    Raises:
        AccessError: The folder cannot be listed.
    """
    folder = real_path(folder)
    check_folder(folder)
    answers = options.answers or folder / ".asyncfilter" / "review.answers.db"
    job = store_job(folder, Aws())

    def rows(_: LinkFile) -> Rows:
        return FolderRows(lambda: _list(folder))

    await _serve(
        _Reviewed(folder.name or "pictures", job, answers, Thresholds(job), rows, is_folder=True),
        options, on_open=on_open, warn=warn,
    )  # fmt: skip


class _Reviewed(NamedTuple):
    """What is reviewed.

    Attributes:
        job: Has the rules and the AWS settings.
        rows: Makes the source of images.
    """

    name: str
    job: Job
    answers: Path
    thresholds: Thresholds
    rows: Callable[[LinkFile], Rows]
    is_folder: bool = False

    def description(self, options: ReviewOptions, links: LinkFile) -> Description:
        """What the page is told about it."""
        rules = [
            {"verdict": rule.verdict.value, "text": rule_text(rule), "confidence": rule_confidence(rule)}
            for rule in self.job.rules
        ]
        named = [name for rule in self.job.rules if rule.verdict is not Verdict.REJECT for name in rule_names(rule)]
        labels = options.labels or self.job.review.labels or tuple(dict.fromkeys(named))
        return Description(id=links.link.id, name=self.name, reviewers=options.reviewers, rules=rules, labels=labels, keys=DEFAULT_KEYS)


async def _serve(
    what: _Reviewed,
    options: ReviewOptions,
    *,
    on_open: Callable[[Served], object],
    warn: Callable[[str], object],
) -> None:
    links = LinkFile(what.answers)
    async with AsyncExitStack() as stack:
        held = await _hold(links, waits=options.port is None)
        if held is not None:
            stack.enter_context(held)
        sock = _bound(links, options, is_alone=held is not None, warn=warn)
        stack.callback(sock.close)
        port = sock.getsockname()[1]
        tokens = links.tokens(options.reviewers, makes_new=options.new_link)
        if held is not None or not links.link.port:
            links.link.port = port
        links.save()
        log = AnswerLog(what.answers)
        stack.push_async_callback(log.close)
        await log.last_serial()
        events = Events()
        rows = what.rows(links)
        review = Review(rows, log, events, of_folder=what.is_folder, warn=warn)
        images = await anyio.to_thread.run_sync(_count, rows)
        endpoints = _endpoints(what, options, review, links, stack)
        routes = {**_static(read_page()), **endpoints.routes()}
        gate = Gate(
            lambda path: routes.get(path) or endpoints.find_picture(path),
            {token: name for name, token in tokens.items()},
            port,
            _bracketed(options.host) if options.is_remote else None,
        )
        async with serving(sock, answerer(gate, warn)), anyio.create_task_group() as tasks:
            tasks.start_soon(review.follow)
            tasks.start_soon(endpoints.work)
            base = f"http://{_shown(options.host)}:{port}/"
            urls = {name: f"{base}#t={token}" for name, token in tokens.items()}
            on_open(Served(urls, port, what.answers, images))
            try:
                await anyio.sleep_forever()
            finally:
                events.close()


def _endpoints(
    what: _Reviewed, options: ReviewOptions, review: Review, links: LinkFile, stack: AsyncExitStack
) -> Endpoints:
    capabilities = Capabilities(links.link.secret.encode())
    readers = ImageReaders(what.job, stack)
    cache = PictureCache(_cache_path(what.answers))
    stack.callback(cache.close)
    decoders = stack.enter_context(DecoderPool())
    pictures = Pictures(StoredOriginals(readers.of, readers.found), decoders, cache)
    return Endpoints(
        review,
        what.description(options, links),
        cards=Cards(capabilities, what.thresholds),
        capabilities=capabilities,
        pictures=pictures,
        ahead=ReadAhead(pictures, review.card_rows),
        asked=_NobodyAsks(),
        events=review.events,
    )


class _NobodyAsks:
    """``AskedImages`` while there are no audits."""

    def audit(self, reviewer: str) -> Sequence[int]:
        """See ``AskedImages``."""
        del reviewer
        return ()

    second = audit

    def is_blind(self, id_: int, reviewer: str) -> bool:
        """See ``AskedImages``."""
        del id_, reviewer
        return False


def _static(page: Mapping[str, PageFile]) -> dict[str, Route]:
    """The routes of the page's files."""

    def route(file: PageFile) -> Route:
        async def send(_: Call) -> web.StreamResponse:
            return replied(file.body, kind=file.kind, cache=PRIVATE)

        return Route("GET", send)

    return {path: route(file) for path, file in page.items()}


async def _hold(links: LinkFile, *, waits: bool) -> Held | None:
    """The lock of this answers file's server; None when another server has another port of its own.

    Raises:
        AnswersError: Another server is running, and no other port was asked for.
    """
    held = links.hold()
    if held is not None or not waits:
        return held
    with anyio.move_on_after(_OWN_END_S):
        while held is None:
            await anyio.sleep(0.1)
            held = links.hold()
    if held is None:
        raise AnswersError(
            f"{links.path}: a server of these answers is running, on port {links.link.port}",
            hint="Open the link that it printed, end it, or give this one a --port of its own.",
        )
    return held


def _bound(links: LinkFile, options: ReviewOptions, *, is_alone: bool, warn: Callable[[str], object]) -> socket:
    """A socket at the port that was asked for, or remembered, or at a free one."""
    if options.port is not None:
        return bind(options.host, options.port)
    if not links.link.port:
        return bind(options.host, 0)
    try:
        return bind(options.host, links.link.port)
    except PortTakenError:
        sock = bind(options.host, 0)
        if is_alone:
            warn(f"port {links.link.port} is in use by another program: open tabs must be opened again by the new link")
        return sock


def _count(rows: Rows) -> int:
    return 0 if rows.mark() is None else rows.count()


def _cache_path(answers: Path) -> Path:
    return answers.with_name(f"{answers.name.removesuffix('.answers.db')}.pictures.db")


def _shown(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else _bracketed(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _resolved(job: Job) -> Job:
    """The job with what its checkpoint knows about its model and references; unchanged without one."""
    if not checkpoint_exists(job.checkpoint):
        return job
    try:
        job = with_stored_thresholds(job, read_status(job.checkpoint).model)
        known = {known.uri: known.detection for known in read_stored_references(job.checkpoint)}
        return resolved(job, known)
    except UsageError:  # not known yet: cards then show no threshold
        return job


async def _list(folder: Path) -> list[Subject]:
    """The pictures below a folder; folders whose name begins with a dot are not looked into."""
    bucket, source, after = f"{FOLDER}{folder}", FolderSource(folder), None
    found: list[Subject] = []
    while True:
        page = await source.page(after)
        for listed in page.objects:
            is_hidden = any(part.startswith(".") for part in listed.key.split("/"))
            if is_hidden or listed.etag in {NO_TEXT, UNREADABLE} or not listed.size_bytes:
                continue
            if extension_of(listed.key) in READ_AS_THEY_ARE | CONVERTED:
                found.append(Subject(bucket=bucket, key=listed.key, etag=listed.etag, size_bytes=listed.size_bytes))
        if page.is_last:
            return found
        after = page.objects[-1].key
