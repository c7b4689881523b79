"""Which images in S3 have equal content, by the ETags and sizes of a listing."""

from __future__ import annotations

from collections.abc import Callable

from asyncfilter.job.spec import Aws
from asyncfilter.model import S3Location
from asyncfilter.wiring.manifests import open_objects


async def list_contents(place: S3Location, add: Callable[[str, str], object], *, aws: Aws) -> None:
    """Call ``add`` with the address of each object below a prefix, and what is equal for equal content.

    Raises:
        AccessError: They cannot be listed.
    """
    async with open_objects(aws) as objects:
        async for listed in objects.listed(place):
            add(S3Location(place.bucket, listed.key).uri, f"{listed.etag} {listed.size_bytes}")
