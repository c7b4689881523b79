"""Why no answer came over a direct connection; ``aws.failures`` says what that means for the job.

    ExchangeError
    ├── AddressError          not an address that can be connected to
    ├── NoConnectionError     nothing was sent, for there was no connection
    │   └── UntrustedError    because the certificate is not trusted
    ├── UnsentError           the connection closed before anything was sent
    └── BrokenError           the connection broke after that: the request may have arrived

A deadline that passes is the built-in ``TimeoutError`` once there was a connection, before that ``NoConnectionError``.
"""

from __future__ import annotations


class ExchangeError(Exception):
    """No answer came."""


class AddressError(ExchangeError):
    """The origin is not one that can be connected to."""


class NoConnectionError(ExchangeError):
    """No connection could be made."""


class UntrustedError(NoConnectionError):
    """The certificate is not one of the trusted, or not of this host."""


class UnsentError(ExchangeError):
    """The connection was closed before anything was sent over it."""

    def __init__(self) -> None:
        super().__init__("closed before the request was sent")


class BrokenError(ExchangeError):
    """The connection broke, or what came is not HTTP.

    Attributes:
        is_silent: Not one byte of an answer had come; on a connection that was kept alive this is mostly the other side
            closing it in the same moment.
    """

    def __init__(self, said: str, *, is_silent: bool = False) -> None:
        super().__init__(said)
        self.is_silent = is_silent
