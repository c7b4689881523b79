"""The HTTP server: a socket, and one function that answers every request.

Every answer has the strict headers, also that to a request which is not HTTP.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from asyncfilter.errors import AccessError, AnswersError, AnswersLockedError, CheckpointError, UsageError
from asyncfilter.review.gate import Gate, bad_host
from asyncfilter.review.replies import Refusal, as_asked, refused
from asyncfilter.review.warnings import where_from

CLOSING_S = 1.0
"""Requests that are being served have so long when the server closes."""

IDLE_S = 60.0
"""A connection on which no whole request comes for so long is closed: each one takes a file descriptor."""
_LINGERING_S = 2.0
"""The rest of a body that is not taken is read so long, so that its sender sees the answer."""
_BACKLOG = 128

Answerer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Protocol(web.RequestHandler):
    """One connection."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is not HTTP, or to a defect: nothing of the request is repeated in it."""
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        reply = refused(_DEFECT if status >= 500 else bad_host() if _is_about_host(exc) else _MALFORMED)
        reply.force_close()
        return reply


def _is_about_host(error: BaseException | None) -> bool:
    """Whether the parser refused a request that names no host, or several."""
    return isinstance(error, HttpProcessingError) and "'host'" in error.message.lower()


_MALFORMED = Refusal(400, "bad_request", "This is no request of HTTP.")
_DEFECT = Refusal(500, "internal", "The server failed to answer. Its log has the cause.")


class _Silent(AbstractAccessLogger):
    """No line for a request."""

    @property
    def enabled(self) -> bool:
        """See ``AbstractAccessLogger``."""
        return False

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """See ``AbstractAccessLogger``."""


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(
            self,
            loop=asyncio.get_running_loop(),
            access_log_class=_Silent,  # its lines have addresses of pictures, which are capabilities
            keepalive_timeout=IDLE_S,
            lingering_time=_LINGERING_S,
            auto_decompress=False,
        )


def answerer(gate: Gate, warn: Callable[[str], object]) -> Answerer:
    """The function that answers every request; ``warn`` is told what failed, without anything of the request."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            call, route = await gate.admit(request)
            return await route.serve(call)
        except Refusal as refusal:
            reply = refused(refusal)
        except AnswersLockedError:
            reply = refused(Refusal(503, "busy", "Another program writes answers. Try again.", {"Retry-After": "1"}))
        except AnswersError as error:
            warn(error.message)
            reply = refused(Refusal(500, "answers_unusable", "The answers file cannot be used. The log has the cause."))
        except CheckpointError as error:
            warn(error.message)
            reply = refused(Refusal(500, "checkpoint_unusable", "The checkpoint cannot be read; the log says why."))
        except AccessError as error:
            warn(error.message)
            reply = refused(Refusal(502, "unreadable", "The source cannot be read now. The log has the cause."))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  one request cannot stop the server
            warn(f"internal error: {where_from(error)}")
            reply = refused(_DEFECT)
        if not request.content.at_eof():
            reply.force_close()
        return as_asked(request, reply)

    return answer


@asynccontextmanager
async def serving(sock: socket.socket, answer: Answerer) -> AsyncIterator[None]:
    """Serve inside of the context; at its end requests that are being served are finished."""
    runner = web.ServerRunner(_Server(answer), handle_signals=False, shutdown_timeout=CLOSING_S)
    await runner.setup()
    try:
        await web.SockSite(runner, sock, backlog=_BACKLOG).start()
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address; 0 is any free port.

    Raises:
        PortTakenError: Another program has it.
        UsageError: There is no such address here.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _no_address(host, error) from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(_BACKLOG)  # now: two sockets may be bound to one port until one of them listens
        sock.settimeout(0)
    except OSError as error:
        sock.close()
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            raise PortTakenError(
                f"port {port} cannot be had ({error.strerror})", hint="Name another --port."
            ) from error
        raise _no_address(host, error) from error
    return sock


class PortTakenError(UsageError):
    """Another program listens on the port, or it may not be used."""


def _no_address(host: str, error: OSError) -> UsageError:
    return UsageError(
        f"--host {host}: cannot listen there ({error.strerror or error})", hint="Name an address of this machine."
    )
