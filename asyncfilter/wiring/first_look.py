"""``init``: a first look at a bucket or a folder, labels of a few of its images, and checks of the new job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

from asyncfilter.aws import ANY_REGION, check_region, configured_region, nearest_region
from asyncfilter.checkpoint import checkpoint_exists, open_lookup
from asyncfilter.clock import SystemClock
from asyncfilter.engine.core.retry import Repeater, full_pause
from asyncfilter.engine.core.stopping import Interrupt
from asyncfilter.engine.examine.empty_listing import EmptyListing
from asyncfilter.engine.preview.first_look import FirstLookReader
from asyncfilter.engine.preview.jobs import REFERENCE_STORE, place_job
from asyncfilter.errors import CheckpointError
from asyncfilter.job.fingerprint import identity
from asyncfilter.job.spec import Aws, DetectorKind, Job
from asyncfilter.model import NothingFound, S3Location, StoreKind
from asyncfilter.policy.detectors import PROFILES, price_list
from asyncfilter.policy.first_look import PlaceFound
from asyncfilter.policy.image_limits import MAX_CONVERTED_BYTES
from asyncfilter.policy.reference_labels import Labelled
from asyncfilter.wiring.account import LEAST_IN_FLIGHT, Account
from asyncfilter.wiring.labels import label_references
from asyncfilter.wiring.overrides import Overrides
from asyncfilter.wiring.stores import JobStores, open_store

_ATTEMPTS = 4


async def look_at(place: S3Location, aws: Aws, *, on_listed: Callable[[int], None] | None = None) -> PlaceFound:
    """A first look at a place: a bounded part of its listing is read, and nothing is paid for.

    Args:
        place: A bucket and a prefix, or a folder. A folder needs no credentials.
        aws: The AWS settings; ``region`` is that in which the images are to be examined.
        on_listed: Called after every page with the number of objects that were seen.

    Raises:
        AccessError: The place cannot be listed, or images cannot be examined in the region of ``aws``.
    """
    job = place_job(place, aws)
    async with AsyncExitStack() as stack:
        account = Account(job, stack, connections=LEAST_IN_FLIGHT)
        store = await open_store(job, Overrides(), account)
        home = configured_region(Aws(profile=aws.profile)) if place.store is StoreKind.FOLDER else store.region
        region = await _region(place, aws, account, home)
        limits = PROFILES[DetectorKind.REKOGNITION].image_limits
        look = await FirstLookReader(
            source=store.source,
            prefix=place.key,
            max_bytes=MAX_CONVERTED_BYTES if place.store is StoreKind.FOLDER else limits.max_object_bytes,
            clock=SystemClock(),
            on_listed=on_listed,
        ).run()
        return PlaceFound(
            place=place,
            look=look,
            home=home,
            region=region,
            is_region_chosen=region not in {aws.region, home},
            prices=price_list(job, region),
            nothing=None if look.listed else await _explained(job, store),
        )


async def _explained(job: Job, store: JobStores) -> NothingFound:
    """Why nothing is at a place, and where images are nearby."""
    empty_listing = EmptyListing(
        job.source,
        source=store.source,
        places=store.places,
        check=lambda _listed: None,
        repeat=Repeater(max_attempts=_ATTEMPTS, pause=full_pause(SystemClock()), rng=Random()),
    )
    return await empty_listing.explain(0, {}, {})


async def _region(place: S3Location, aws: Aws, account: Account, home: str | None) -> str:
    """The region in which images are examined: the one that ``aws`` has, ``home``, or one near to it."""
    if place.store is StoreKind.FOLDER:
        return aws.region or home or ANY_REGION
    session = (await account.clients()).session
    if aws.region is not None:
        await check_region(session, aws.region)
        return aws.region
    return await nearest_region(session, home or ANY_REGION)


async def label_sample(uris: Sequence[str], aws: Aws, *, folder: Path, interrupt: Interrupt | None = None) -> Labelled:
    """The labels of a few images, which are paid for; those that cannot be examined are left out.

    Args:
        uris: Addresses of objects, or paths of files.
        aws: The AWS settings.
        folder: That of the job file, beside which the labels are kept.
        interrupt: ``request`` it to stop.

    Raises:
        AccessError: Nothing can be examined.
        CheckpointError: The labels cannot be kept.
    """
    store = folder / ".asyncfilter" / REFERENCE_STORE
    return await label_references(uris, store=store, aws=aws, interrupt=interrupt, leaves_out=True)


async def check_places(job: Job) -> None:
    """Check what ``plan`` checks of source and targets: that they exist, and that the source can be listed.

    Raises:
        AccessError: One cannot be used.
        UsageError: A target is inside the source, by a link or a mount.
    """
    async with AsyncExitStack() as stack:
        await open_store(job, Overrides(), Account(job, stack, connections=LEAST_IN_FLIGHT))


async def fits_checkpoint(job: Job) -> bool:
    """Whether the job's checkpoint is free for it: there is none, or it is one of the same source and detector."""
    if not checkpoint_exists(job.checkpoint):
        return True
    try:
        async with open_lookup(job.checkpoint, identity(job)):
            return True
    except CheckpointError:
        return False
