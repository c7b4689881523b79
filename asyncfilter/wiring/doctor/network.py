"""The way to AWS: endpoints and how fast they answer, clock, certificates, proxies."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import anyio

from asyncfilter.aws import AwsClients, AwsSession, Endpoint
from asyncfilter.aws.clients.signing import MAX_SKEW_S
from asyncfilter.errors import AsyncFilterError
from asyncfilter.policy.findings import Finding, Health
from asyncfilter.printable import without_secrets

_NOTABLE_SKEW_S = 60.0
_PROXY_SETTINGS = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
_OVERRIDE = "AWS_ENDPOINT_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that is reached.

    Attributes:
        name: As botocore names it.
        region: Region of the endpoint.
        is_required: Whether a run cannot do without it.
    """

    name: str
    region: str
    is_required: bool


@dataclass(slots=True, kw_only=True)
class Reached:
    """What reaching a service showed.

    Attributes:
        service: The service.
        endpoint: Its endpoint; None when it has none.
        error: Why it did not respond; None when it did.
        took_s: Seconds until it did, connection included.
        skew_s: How far this machine's clock is ahead of its, seconds; None without a date.
    """

    service: Service
    endpoint: Endpoint | None = None
    error: AsyncFilterError | None = None
    took_s: float = 0.0
    skew_s: float | None = None


async def reach_all(clients: AwsClients, services: Iterable[Service]) -> list[Reached]:
    """Reach some services at the same time, without keys."""
    all_reached = [Reached(service=service) for service in services]
    async with anyio.create_task_group() as tasks:
        for reached in all_reached:
            tasks.start_soon(_reach, clients, reached)
    return all_reached


async def _reach(clients: AwsClients, reached: Reached) -> None:
    try:
        reached.endpoint = await clients.session.address(reached.service.name, reached.service.region)
        start_s, start_unix_s = time.perf_counter(), time.time()
        response = await clients.signed_client.reach(reached.endpoint)
    except AsyncFilterError as error:
        reached.error = error
        return
    reached.took_s = time.perf_counter() - start_s
    reached.skew_s = _skew_s(response.headers.get("date"), start_unix_s + reached.took_s / 2)


def _skew_s(date: str | None, here_unix_s: float) -> float | None:
    """How far this machine is ahead; a date has whole seconds, so half a second is added to it."""
    try:
        return here_unix_s - (parsedate_to_datetime(date or "").timestamp() + 0.5)
    except (ValueError, TypeError, OverflowError):
        return None


# -- Findings ----------------------------------------------------------------------------------------------------------


def endpoint(reached: Reached) -> Finding:
    """Where a service is, and whether it answers there."""
    service, place = reached.service, reached.endpoint
    name = service.name.replace("-", " ")
    facts: dict[str, object] = {
        "service": service.name,
        "region": service.region,
        "url": None if place is None else place.origin,
        "override": _override(service.name),
        "proxy": None if place is None or place.proxy is None else without_secrets(place.proxy),
        "answered": reached.error is None,
        "took_ms": round(reached.took_s * 1000, 1) if reached.error is None else None,
    }
    if reached.error is not None:
        health = Health.ERROR if service.is_required else Health.WARNING
        return Finding(name=name, health=health, text=reached.error.message, hint=reached.error.hint, facts=facts)
    text = f"{'' if place is None else place.origin}, {reached.took_s * 1000:.0f} ms"
    if facts["override"]:
        text += f", set by {facts['override']}"
    return Finding(name=name, health=Health.OK, text=text, facts=facts)


def _override(service: str) -> str | None:
    """The variable that sets an endpoint; one in the AWS config file shows by the address."""
    own = f"{_OVERRIDE}_{service.upper().replace('-', '_')}"
    return next((name for name in (own, _OVERRIDE) if os.environ.get(name)), None)


def clock(all_reached: Sequence[Reached]) -> Finding:
    """How far this machine's clock is from that of the fastest answer."""
    dated = [reached for reached in all_reached if reached.skew_s is not None]
    if not dated:
        return Finding.unknown("clock", "no service told the time")
    skew_s = min(dated, key=lambda reached: reached.took_s).skew_s or 0.0
    text = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} AWS's"
    if abs(skew_s) < 1.5:
        text = "agrees with AWS's"
    facts = {"skew_s": round(skew_s, 1)}
    if abs(skew_s) <= _NOTABLE_SKEW_S:
        return Finding(name="clock", health=Health.OK, text=text, facts=facts)
    hint = "Set this machine's clock (chronyd or systemd-timesyncd): AWS refuses requests that are five minutes off."
    health = Health.ERROR if abs(skew_s) > MAX_SKEW_S else Health.WARNING
    return Finding(name="clock", health=health, text=text, hint=hint, facts=facts)


def tls(session: AwsSession, all_reached: Sequence[Reached]) -> Finding:
    """The trusted authorities, and the endpoints that use no TLS."""
    setting = session.ca_setting
    authorities = len(session.tls.get_ca_certs())
    number = f", {authorities} certificates" if authorities else ""
    origin = f"set by {setting}" if setting else "the public authorities"
    plain = sorted({one.endpoint.origin for one in all_reached if one.endpoint and _is_plain(one.endpoint)})
    text = f"{session.ca_bundle} ({origin}{number}); {' '.join(ssl.OPENSSL_VERSION.split()[:2])}"
    facts = {"bundle": session.ca_bundle, "setting": setting or None, "authorities": authorities, "plain": plain}
    if plain:
        text += f"; no TLS to {', '.join(plain)}"
        is_here = all(one.endpoint.is_loopback for one in all_reached if one.endpoint and _is_plain(one.endpoint))
        hint = None if is_here else "Use https:// in AWS_ENDPOINT_URL: others can read and change what is sent."
        return Finding(name="tls", health=Health.NOTE if is_here else Health.WARNING, text=text, hint=hint, facts=facts)
    return Finding(name="tls", health=Health.OK, text=text, facts=facts)


def _is_plain(place: Endpoint) -> bool:
    return place.origin.startswith("http://")


def proxies(all_reached: Sequence[Reached]) -> Finding:
    """The proxies in use, and settings that contradict each other."""
    used = {
        one.service.name: without_secrets(one.endpoint.proxy)
        for one in all_reached
        if one.endpoint is not None and one.endpoint.proxy is not None
    }
    settings = {name: without_secrets(value) for name, value in _settings().items()}
    facts: dict[str, object] = {"used": used, "settings": settings}
    if different := [name for name in _PROXY_SETTINGS if _differ(name)]:
        text = f"{', '.join(different)} and the same in lower case have different values"
        hint = "Set both to the same: programs differ in which of them they read."
        return Finding(name="proxies", health=Health.WARNING, text=text, hint=hint, facts=facts)
    if used:
        text = "; ".join(f"{', '.join(_named(used, proxy))} by {proxy}" for proxy in dict.fromkeys(used.values()))
        return Finding(name="proxies", health=Health.NOTE, text=text, facts=facts)
    text = f"none in use, although {' and '.join(settings)} {'is' if len(settings) == 1 else 'are'} set"
    return Finding(name="proxies", health=Health.OK, text=text if settings else "none", facts=facts)


def _settings() -> dict[str, str]:
    names = [name for name in os.environ if name.upper() in _PROXY_SETTINGS and os.environ[name]]
    return {name: os.environ[name] for name in sorted(names)}


def _differ(name: str) -> bool:
    values = {os.environ.get(name), os.environ.get(name.lower())} - {None, ""}
    return len(values) > 1


def _named(used: Mapping[str, str], proxy: str) -> list[str]:
    return [name for name, one in used.items() if one == proxy]
