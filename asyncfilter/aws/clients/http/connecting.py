"""A TCP connection to the first address of a host that accepts it (RFC 8305, *Happy Eyeballs*).

asyncio's implementation leaves sockets open when it is cancelled (CPython 3.11), and uvloop has none; this one closes
all other sockets, also when it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias

import anyio

Address: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]
"""Of ``getaddrinfo``: family, kind, protocol, canonical name, address."""

_NEXT_AFTER_S = 0.25
"""Wait for one address before the next is tried in parallel, seconds; as RFC 8305 recommends."""


async def connected(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket.

    Args:
        host: Name or address.
        port: TCP port.

    Raises:
        OSError: The name is unknown, or no address accepts; then it is the first failure.
        UnicodeError: The name is not valid in the DNS.
    """
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    winners: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(address: Address, failed: anyio.Event) -> None:
        try:
            winners.append(await _connected(loop, address))
        except OSError as exc:
            failures.append(exc)
            failed.set()
        else:
            attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for address in _alternating(addresses):
                failed = anyio.Event()
                attempts.start_soon(attempt, address, failed)
                # A failure ends this wait, so that an address that refuses costs no quarter of a second.
                with anyio.move_on_after(_NEXT_AFTER_S):
                    await failed.wait()
    except BaseException:
        # Cancelled from outside after an address accepted: the caller never gets that socket.
        _close(winners)
        raise
    # A second address may accept before the cancellation reaches its attempt.
    _close(winners[1:])
    if not winners:
        raise failures[0] if failures else OSError(f"{host} has no address")
    return winners[0]


async def _connected(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    made = socket.socket(family, kind, protocol)
    try:
        made.settimeout(0)
        await loop.sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def _alternating(addresses: Sequence[Address]) -> list[Address]:
    """The addresses, families alternating, so that a family without a route costs one wait, not one per address."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return [address for group in zip_longest(*families.values()) for address in group if address is not None]


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()
