"""Whether this machine is about to be taken away: the notice of an EC2 spot instance, from its metadata service."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable

import aiohttp

_ENDPOINT = "http://169.254.169.254"
_LIFE_S = 21_600
_RENEWED_S = 18_000.0
_TIMEOUT = aiohttp.ClientTimeout(total=1.0)
POLL_S = 5.0
"""The notice comes two minutes ahead; AWS advises to look every five seconds."""

_MOST_TOKEN_BYTES = 4096
_TOKEN = re.compile(rb"[!-~]{1,%d}" % _MOST_TOKEN_BYTES)

_OK, _NOT_FOUND, _UNAUTHORIZED = 200, 404, 401


async def wait_notice(sleep: Callable[[float], Awaitable[None]], now: Callable[[], float]) -> None:
    """Return once the notice has come; return never on machines that get none.

    Args:
        sleep: Waits some seconds.
        now: The time, seconds.
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        await _never(sleep)
    endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _ENDPOINT).rstrip("/")
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        token, renewed_s = await _token(session, endpoint), now()
        if token is None:
            await _never(sleep)
        while True:
            if now() - renewed_s > _RENEWED_S or token is None:
                token, renewed_s = await _token(session, endpoint), now()
            elif (status := await _status(session, endpoint, token)) == _OK:
                return
            elif status == _UNAUTHORIZED:
                token = None
            await sleep(POLL_S)


async def _never(sleep: Callable[[float], Awaitable[None]]) -> None:
    while True:
        await sleep(3600.0)


async def _token(session: aiohttp.ClientSession, endpoint: str) -> str | None:
    """A token of IMDSv2; None where there is no metadata service."""
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(_LIFE_S)}
    try:
        async with session.put(f"{endpoint}/latest/api/token", headers=headers, allow_redirects=False) as response:
            token = await _beginning(response) if response.status == _OK else b""
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):  # ValueError: the endpoint is no address
        return None
    # Whatever answers at this address may not be EC2: what is no token is not sent back to it.
    return token.decode() if _TOKEN.fullmatch(token) else None


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The body, or as much of it as shows that it is too long."""
    try:
        return await response.content.readexactly(_MOST_TOKEN_BYTES + 1)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _status(session: aiohttp.ClientSession, endpoint: str, token: str) -> int:
    headers = {"X-aws-ec2-metadata-token": token}
    try:
        address = f"{endpoint}/latest/meta-data/spot/instance-action"
        async with session.get(address, headers=headers, allow_redirects=False) as response:
            return response.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return _NOT_FOUND
