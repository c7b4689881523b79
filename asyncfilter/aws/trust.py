"""Which certificates are trusted, and what a certificate that is not trusted means.

One TLS context serves every connection of a session: the fast client, aiobotocore's clients and those inside its
providers of credentials, direct or through a proxy. It checks the chain, the dates and the name of the host.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import aiohttp
from aiobotocore.session import AioSession
from botocore.httpsession import get_cert_path

from asyncfilter.aws.clients.http.errors import UntrustedError
from asyncfilter.errors import EndpointError

_WRONG_DATE = frozenset({9, 10})
"""OpenSSL's codes: not yet valid, expired."""

_WRONG_HOST = frozenset({62, 64})
"""OpenSSL's codes: another host name, another address."""

_DATE_HINT = "Set this machine's clock, or have the certificate of the endpoint or the proxy renewed."
_HOST_HINT = (
    "Set AWS_ENDPOINT_URL and its per-service forms to a host that the certificate names, and check what HTTPS_PROXY "
    "does with the connection."
)
_AUTHORITY_HINT = "Set AWS_CA_BUNDLE to the file with the certificate authority of the endpoint or the proxy."


def ca_setting(core: AioSession) -> tuple[str, str]:
    """The setting that names the trusted authorities, empty where none does, and their file or folder.

    The order is botocore's: AWS_CA_BUNDLE, ``ca_bundle`` of the profile, REQUESTS_CA_BUNDLE, the public authorities. An
    empty setting is none.

    Args:
        core: Has the AWS config file.
    """
    settings = {
        "AWS_CA_BUNDLE": os.environ.get("AWS_CA_BUNDLE"),
        "ca_bundle": core.get_scoped_config().get("ca_bundle"),
        "REQUESTS_CA_BUNDLE": os.environ.get("REQUESTS_CA_BUNDLE"),
    }
    given = next(((name, value) for name, value in settings.items() if value), None)
    return given or ("", str(get_cert_path(verify=True)))


def trusting(bundle: str) -> ssl.SSLContext:
    """A context that trusts the authorities of a bundle and no other.

    Args:
        bundle: From ``ca_setting``.

    Raises:
        EndpointError: The bundle cannot be used.
    """
    is_folder = Path(bundle).is_dir()
    try:
        return ssl.create_default_context(cafile=None if is_folder else bundle, capath=bundle if is_folder else None)
    except (OSError, ValueError) as exc:  # ValueError: a name with a null character
        raise EndpointError(
            f"The certificates in {bundle} cannot be used: {exc}",
            hint="Set AWS_CA_BUNDLE, ca_bundle in the AWS config file, or REQUESTS_CA_BUNDLE, to a readable PEM file.",
        ) from exc


def untrusted(exc: BaseException, *, what: str = "") -> EndpointError | None:
    """The error for a certificate that is not trusted, when that is why there is no response; nothing was sent.

    Args:
        exc: What the transport raised.
        what: Operation and object, where they are known.
    """
    verdict = _verdict(exc)
    if verdict is None and not isinstance(exc, UntrustedError | aiohttp.ClientConnectorCertificateError):
        return None
    code = getattr(verdict, "verify_code", 0)
    meaning, hint = "not trusted", _AUTHORITY_HINT
    if code in _WRONG_HOST:
        meaning, hint = "for another host", _HOST_HINT
    elif code in _WRONG_DATE:
        meaning, hint = "not valid now", _DATE_HINT
    subject = f"{what}: the certificate" if what else "The certificate"
    reason = str(getattr(verdict, "verify_message", exc)).rstrip(".")
    return EndpointError(f"{subject} of {_origin(exc)} is {meaning} ({reason})", hint=hint)


def _verdict(exc: BaseException) -> ssl.SSLCertVerificationError | None:
    """OpenSSL's verdict, among what led to ``exc``.

    For TLS to a host within TLS to a proxy, CPython 3.11 fails with a TypeError while it handles the verdict.
    """
    seen: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in seen:
        if isinstance(one, ssl.SSLCertVerificationError) and not isinstance(one, aiohttp.ClientError):
            return one
        seen.append(one)
        one = one.__cause__ or one.__context__
    return None


def _origin(exc: BaseException) -> str:
    if isinstance(exc, UntrustedError):
        return exc.origin
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        host = f"[{exc.host}]" if ":" in exc.host else exc.host
        return f"https://{host}" if exc.port in {None, 443} else f"https://{host}:{exc.port}"
    return "the host behind the proxy"
