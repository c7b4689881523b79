"""Causes of a missing response over a direct connection; ``aws.transport_errors`` translates them for the job.

    ExchangeError
    ├── AddressError          the address cannot be connected to
    ├── NoConnectionError     nothing was sent, as there was no connection
    │   └── UntrustedError    the certificate is not trusted
    ├── UnsentError           the connection closed before anything was sent
    └── BrokenError           the connection broke after that: the request may have arrived

A deadline that passes raises the built-in ``TimeoutError`` once connected, and ``NoConnectionError`` before that.
"""

from __future__ import annotations

import ssl


class ExchangeError(Exception):
    """No response was received."""


class AddressError(ExchangeError):
    """The origin is not one that can be connected to."""


class NoConnectionError(ExchangeError):
    """No connection could be made."""


class UntrustedError(NoConnectionError):
    """The certificate is not trusted, or not for this host.

    Attributes:
        origin: Scheme, host and port of the server.
    """

    def __init__(self, origin: str, verdict: ssl.SSLCertVerificationError | None = None) -> None:
        super().__init__(f"{origin}: {verdict}")
        self.origin = origin


class UnsentError(ExchangeError):
    """The connection was closed before anything was sent over it."""

    def __init__(self) -> None:
        super().__init__("closed before the request was sent")


class BrokenError(ExchangeError):
    """The connection broke, or the received bytes are not HTTP.

    Attributes:
        is_silent: No byte of a response was received; on a reused connection the usual cause is that the server closed
            it at the same moment.
    """

    def __init__(self, message: str, *, is_silent: bool = False) -> None:
        super().__init__(message)
        self.is_silent = is_silent
