"""HTTP/1.1 as the signed client needs it: one request, one answer, one deadline; no policy, no redirects, no cookies.

``Pool`` speaks to a host directly and is what a run spends its time in; ``Proxied`` goes through a proxy, by aiohttp.
Both give a ``HttpResponse`` whatever its status, and both tell whether a request may have arrived when no answer came.
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
