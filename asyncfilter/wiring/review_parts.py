"""The parts of a review server that belong to one job or folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from asyncfilter.checkpoint import checkpoint_exists
from asyncfilter.errors import NothingToWorkOnError
from asyncfilter.job.spec import ANSWERS_SUFFIX, Job
from asyncfilter.model import Verdict
from asyncfilter.pictures.decoder_pool import DecoderPool
from asyncfilter.policy.audit_asked import AskedNow
from asyncfilter.report.calibration import calibration_mapping
from asyncfilter.review.alike import AlikeImages
from asyncfilter.review.applying import Applying
from asyncfilter.review.asked import Asked
from asyncfilter.review.capability import Capabilities
from asyncfilter.review.cards import Cards
from asyncfilter.review.endpoints import Description, Endpoints
from asyncfilter.review.keys import DEFAULT_KEYS
from asyncfilter.review.links import LinkFile
from asyncfilter.review.originals import StoredOriginals
from asyncfilter.review.picture_cache import PictureCache
from asyncfilter.review.pictures import Renditions
from asyncfilter.review.read_ahead import ReadAhead
from asyncfilter.review.review import Review
from asyncfilter.review.rows import Rows
from asyncfilter.review.thresholds import Thresholds, rule_confidence, rule_names, rule_text
from asyncfilter.review.versions import Versions
from asyncfilter.wiring.calibration import calibrate
from asyncfilter.wiring.draws import asked_images
from asyncfilter.wiring.image_readers import ImageReaders


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
        with suppress(ValueError):
            return not ip_address(self.host).is_loopback
        return self.host.lower() != "localhost"


_PATCH_PROBLEM = "The job file cannot be changed so. `asyncfilter calibrate` says why."


class Reviewed(NamedTuple):
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
        return Description(
            id=links.link.id, name=self.name, reviewers=options.reviewers, rules=rules, labels=labels, keys=DEFAULT_KEYS
        )


def open_endpoints(
    what: Reviewed,
    options: ReviewOptions,
    review: Review,
    *,
    links: LinkFile,
    stack: AsyncExitStack,
    warn: Callable[[str], object],
) -> Endpoints:
    """What serves the calls of pages; closed with ``stack``."""
    capabilities = Capabilities(links.link.secret.encode())
    readers = ImageReaders(what.job, stack)
    cache = PictureCache(what.answers.with_name(f"{what.answers.name.removesuffix(ANSWERS_SUFFIX)}.pictures.db"))
    stack.callback(cache.close)
    decoders = stack.enter_context(DecoderPool())
    originals = StoredOriginals(readers.of, readers.found)
    pictures = Renditions(originals, decoders, cache, Versions(originals))
    review.leasing.with_contents = pictures.with_contents
    return Endpoints(
        review,
        what.description(options, links),
        cards=Cards(capabilities, what.thresholds),
        capabilities=capabilities,
        pictures=pictures,
        ahead=ReadAhead(pictures, review.card_rows),
        alike=AlikeImages(review, pictures),
        figures=figures_of(what),
        applying=_applying(what, review, warn),
        events=review.events,
    )


def _applying(what: Reviewed, review: Review, warn: Callable[[str], object]) -> Applying | None:
    """What carries answers out; None where there is no job file."""
    if what.is_folder or what.job.path is None:
        return None
    job, answers = (os.path.abspath(path) for path in (what.job.path, what.answers))  # noqa: PTH100  links stay
    command = [sys.executable, "-P", "-m", "asyncfilter", "refilter", job, "--set", f"answers={answers}"]

    async def is_running() -> bool:
        return await anyio.to_thread.run_sync(review.rows.is_running)

    return Applying(command, events=review.events, last_serial=review.log.last_serial, is_running=is_running, warn=warn)


def figures_of(what: Reviewed) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    """What ``calibrate --json`` tells, at each call."""
    one_at_a_time = anyio.CapacityLimiter(1)

    def read() -> Mapping[str, Any]:
        try:
            return _without_paths(calibration_mapping(calibrate(what.job)))
        except NothingToWorkOnError:
            return {"rules": []}

    async def figures() -> Mapping[str, Any]:
        if what.is_folder:
            return {"rules": []}
        return await anyio.to_thread.run_sync(read, limiter=one_at_a_time)

    return figures


def _without_paths(figures: Mapping[str, Any]) -> Mapping[str, Any]:
    """Figures of ``calibrate`` for a page, which is told nothing about the folders of this machine."""
    rules = [
        rule | {"advice": rule["advice"] | {"patch_problem": rule["advice"]["patch_problem"] and _PATCH_PROBLEM}}
        if rule["advice"]
        else rule
        for rule in figures["rules"]
    ]
    return {**figures, "file": Path(figures["file"]).name, "rules": rules}


def asked_of(what: Reviewed, rows: Rows, reviewers: Sequence[str]) -> Asked:
    """What audits of a job ask about."""

    def read() -> AskedNow:
        if what.is_folder or not checkpoint_exists(what.job.checkpoint):
            return AskedNow(first=(), second=())
        return asked_images(what.job)

    return Asked(read, rows, reviewers)
