"""The review page of a job, or of a folder of pictures: everything that its server is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
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
from asyncfilter.model import UNREADABLE
from asyncfilter.policy.assumed import with_stored_thresholds
from asyncfilter.policy.reference_labels import resolved
from asyncfilter.records.answers import Subject
from asyncfilter.review.answer_log import AnswerLog
from asyncfilter.review.checkpoint_rows import CheckpointRows
from asyncfilter.review.events import Events
from asyncfilter.review.folder_rows import FolderRows
from asyncfilter.review.gate import ANY_ADDRESS, Call, Gate, Route, as_host
from asyncfilter.review.links import Held, LinkFile
from asyncfilter.review.page_files import PageFile, read_page
from asyncfilter.review.replies import PRIVATE, replied
from asyncfilter.review.review import Review
from asyncfilter.review.rows import Rows
from asyncfilter.review.server import PortTakenError, answerer, bind, serving
from asyncfilter.review.thresholds import Thresholds
from asyncfilter.review.warnings import seldom
from asyncfilter.wiring.answers import FOLDER_ANSWERS, FolderImages, is_picture_here
from asyncfilter.wiring.located import with_known_bucket
from asyncfilter.wiring.review_parts import Reviewed, ReviewOptions, asked_of, open_endpoints

_OWN_END_S = 3.0
"""A server that is just ending is waited for so long."""


_ELSEWHERE = {AF_INET: ("192.0.2.1", 9), AF_INET6: ("2001:db8::1", 9)}
"""Addresses of documentation (RFC 5737, RFC 3849), which nobody has."""


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
    job = dataclasses.replace(job, answers=answers)
    thresholds = Thresholds(job)

    def rows(links: LinkFile) -> Rows:
        return CheckpointRows(
            job.checkpoint,
            bucket=job.source.bucket,
            thresholds=thresholds,
            skips_duplicates=job.source.skip_duplicates,
            goals=_goals(job),
            epoch_of=links.epoch_of,
        )

    await _serve(Reviewed(job.name, job, answers, thresholds, rows), options, on_open=on_open, warn=warn)


async def review_folder(
    folder: Path, options: ReviewOptions, *, on_open: Callable[[Served], object], warn: Callable[[str], object]
) -> None:
    """Serve the review of the pictures of a folder; arguments and errors are those of ``review_job``.

    Raises:
        AccessError: The folder cannot be listed.
    """
    folder = real_path(folder)
    check_folder(folder)
    answers = options.answers or folder / FOLDER_ANSWERS
    job = store_job(folder, Aws())

    def rows(_: LinkFile) -> Rows:
        return FolderRows(lambda: _list(folder))

    await _serve(
        Reviewed(folder.name or "pictures", job, answers, Thresholds(job), rows, is_folder=True),
        options, on_open=on_open, warn=warn,
    )  # fmt: skip


async def _serve(
    what: Reviewed,
    options: ReviewOptions,
    *,
    on_open: Callable[[Served], object],
    warn: Callable[[str], object],
) -> None:
    warn = seldom(warn)
    async with AsyncExitStack() as stack:
        log = AnswerLog(what.answers)
        stack.push_async_callback(log.close)
        await log.last_serial()  # first: beside what is no answers file nothing is written
        links = LinkFile(what.answers)
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
        events = Events()
        rows = what.rows(links)
        review = Review(
            rows, log, asked=asked_of(what, rows, options.reviewers), events=events, of_folder=what.is_folder, warn=warn
        )
        images = await anyio.to_thread.run_sync(_count, rows)
        endpoints = open_endpoints(what, options, review, links=links, stack=stack, warn=warn)
        routes = {**_static(read_page()), **endpoints.routes()}
        gate = Gate(
            lambda path: routes.get(path) or endpoints.find_picture(path),
            {token: name for name, token in tokens.items()},
            port,
            as_host(options.host),
        )
        async with serving(sock, answerer(gate, warn)), anyio.create_task_group() as tasks:
            tasks.start_soon(review.follow)
            tasks.start_soon(endpoints.work)
            base = f"http://{_shown(options.host, sock)}:{port}/"
            urls = {name: f"{base}#t={token}" for name, token in tokens.items()}
            on_open(Served(urls, port, what.answers, images))
            _name_outward(options.host, sock, warn)
            try:
                await anyio.sleep_forever()
            finally:
                events.close()


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


def _goals(job: Job) -> dict[str, float]:
    """The limits of a job that a pulse is shown against."""
    limits = job.limits
    known = {
        "tps": limits.tps,
        "budget_micros": limits.budget_micros,
        "max_images": limits.max_images,
        "wanted_matches": job.stop.matches,
    }
    return {name: value for name, value in known.items() if value is not None}


def _count(rows: Rows) -> int:
    return 0 if rows.mark() is None else rows.count()


def _shown(host: str, sock: socket) -> str:
    """The address in links; ``localhost`` is that one of its addresses which is listened on."""
    return as_host(sock.getsockname()[0] if host.lower() == "localhost" else host)


def _name_outward(host: str, sock: socket, warn: Callable[[str], object]) -> None:
    """Where all addresses are listened on, say by which one others most probably reach this machine."""
    if as_host(host) not in ANY_ADDRESS:
        return
    with suppress(OSError), socket(sock.family, SOCK_DGRAM) as probe:
        probe.connect(_ELSEWHERE[sock.family])  # nothing is sent: the system says where it would go out
        outward = as_host(probe.getsockname()[0])
        warn(f"from other machines put {outward} in place of {as_host(host)} in the link")


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
    """The pictures below a folder."""
    bucket, source, after = FolderImages(folder).bucket, FolderSource(folder), None
    found: list[Subject] = []
    while True:
        page = await source.page(after)
        found += [
            Subject(bucket=bucket, key=listed.key, etag=listed.etag, size_bytes=listed.size_bytes)
            for listed in page.objects
            if listed.etag not in {NO_TEXT, UNREADABLE} and listed.size_bytes and is_picture_here(listed.key)
        ]
        if page.is_last:
            return found
        after = page.objects[-1].key
