"""HTTP/1.1 for the signed client: one request, one response, one deadline; no retries, redirects or cookies.

``Pool`` has direct connections and handles most of a run's traffic; ``Proxied`` goes through a proxy, with aiohttp.
Both return an ``HttpResponse`` of any status. When there is no response, the exceptions of both distinguish whether the
request may have arrived.
"""

from asyncfilter.aws.clients.http.errors import (
    AddressError,
    BrokenError,
    ExchangeError,
    NoConnectionError,
    UnsentError,
    UntrustedError,
)
from asyncfilter.aws.clients.http.message import HttpRequest, HttpResponse
from asyncfilter.aws.clients.http.pool import Pool
from asyncfilter.aws.clients.http.proxied import Proxied

__all__ = [
    "AddressError",
    "BrokenError",
    "ExchangeError",
    "HttpRequest",
    "HttpResponse",
    "NoConnectionError",
    "Pool",
    "Proxied",
    "UnsentError",
    "UntrustedError",
]
