"""The meaning of a failed look-up of credentials: one line with the provider's name and the cause, and the remedy.

Providers are the parts of botocore's chain (``METHOD`` of each) and the login provider of ``credential_chain``. Their
failures have no common class: a missing program, a damaged cache or a wrong type inside botocore counts too. No message
contains a secret: what a provider says is cut to one line, and known secrets and whatever looks like one are replaced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any, Final, NamedTuple

import aiohttp
from botocore import exceptions as vendor

from asyncfilter.errors import AsyncFilterError, CredentialsError

MAX_CAUSE_CHARS: Final = 300
"""Longest part of a provider's own words in a message."""


class _Provider(NamedTuple):
    """What a person calls a provider, and what to do when it fails; ``{profile}`` is replaced."""

    name: str
    remedy: str


ROLE: Final = "role-of-a-lane"
"""Stands for a role that is assumed with the job's credentials; its ARN is in place of the profile."""

_PROVIDERS: Final[Mapping[str, _Provider]] = {
    ROLE: _Provider(
        "the role {profile}",
        "Check the ARN of the role, its trust policy and external_id, and sts:AssumeRole of the job's credentials.",
    ),
    "env": _Provider(
        "the environment variables",
        "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary keys, AWS_SESSION_TOKEN to valid values.",
    ),
    "shared-credentials-file": _Provider(
        "the credentials file (profile {profile})",
        "Correct aws_access_key_id, aws_secret_access_key and aws_session_token of the profile.",
    ),
    "config-file": _Provider(
        "the AWS config file (profile {profile})",
        "Correct aws_access_key_id, aws_secret_access_key and aws_session_token of the profile.",
    ),
    "assume-role": _Provider(
        "the role of profile {profile}",
        "Check role_arn, source_profile and credential_source of the profile; "
        "`aws sts get-caller-identity --profile {profile}` shows whether it works.",
    ),
    "assume-role-with-web-identity": _Provider(
        "the web identity token",
        "Check AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or web_identity_token_file and role_arn of the profile.",
    ),
    "sso": _Provider("the SSO login of profile {profile}", "Run `aws sso login --profile {profile}`, then run again."),
    "login": _Provider(
        "the console login of profile {profile}",
        "Install AWS CLI 2.32.0 or later, run `aws login --profile {profile}`, then run again.",
    ),
    "custom-process": _Provider(
        "the credential process of profile {profile}",
        "Run the command in credential_process of the profile by hand: it has to print valid keys as JSON.",
    ),
    "container-role": _Provider(
        "the container endpoint",
        "Check AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, and "
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE.",
    ),
    "iam-role": _Provider(
        "the instance metadata service",
        "Check the role of the instance, AWS_EC2_METADATA_DISABLED and AWS_METADATA_SERVICE_NUM_ATTEMPTS.",
    ),
}
_ALIASES: Final = {
    "SSO": "sso",
    "EcsContainer": "container-role",
    "Ec2InstanceMetadata": "iam-role",
    "Environment": "env",
}
_CHECK: Final = _Provider(
    "", "Check the profile in the AWS config file; `aws sts get-caller-identity` shows whether it works."
)
_NONE: Final = "Set aws.profile or AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
_NETWORK: Final = "Check the network, HTTPS_PROXY, and AWS_ENDPOINT_URL and its per-service forms, then run again."
_TRUST: Final = "Set AWS_CA_BUNDLE to the file with the certificate authority of the endpoint or the proxy."
_PROFILE: Final = "Set aws.profile or AWS_PROFILE to a profile of the AWS config file."
_FILE: Final = "Correct the AWS config file, which AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name."
_NEW_CODE: Final = "Run again on a terminal and type a new code; duration_seconds of the profile makes sessions longer."
_DENIED: Final = "Allow {action} for the source credentials, and check the trust policy of the role."


def credentials_error(
    exc: BaseException, *, provider: str | None = None, profile: str | None = None
) -> CredentialsError:
    """The error for credentials that cannot be looked up or renewed.

    Args:
        exc: What was raised.
        provider: ``METHOD`` of the provider that was asked last; None when none was.
        profile: The profile in use; None stands for ``default``.
    """
    if isinstance(exc, CredentialsError):
        return exc
    known = _provider_of(exc, provider)
    name = known.name.replace("{profile}", repr(profile or "default"))
    if isinstance(exc, AsyncFilterError):  # a certificate that is not trusted
        return CredentialsError(f"No usable AWS credentials from {name}: {exc.message}", hint=exc.hint)
    hint = _remedy(exc, known).replace("{profile}", profile or "default")
    return CredentialsError(f"No usable AWS credentials{name and f' from {name}'}: {_cause(exc, known)}", hint=hint)


def provider_name(method: str, profile: str) -> str:
    """What a person calls the provider with this ``METHOD``."""
    known = _PROVIDERS.get(method)
    return known.name.replace("{profile}", repr(profile)) if known else method


def _provider_of(exc: BaseException, provider: str | None) -> _Provider:
    if isinstance(exc, vendor.SSOError | vendor.UnauthorizedSSOTokenError | vendor.TokenRetrievalError):
        return _PROVIDERS["sso"]
    if isinstance(exc, vendor.ProfileNotFound | vendor.ConfigParseError | vendor.NoCredentialsError):
        return _CHECK
    own = str(getattr(exc, "kwargs", {}).get("provider", ""))  # that of a profile in the chain of roles
    return _PROVIDERS.get(_ALIASES.get(own, own)) or _PROVIDERS.get(provider or "", _CHECK)


def _remedy(exc: BaseException, provider: _Provider) -> str:
    match exc:
        case vendor.ProfileNotFound():
            return _PROFILE
        case vendor.ConfigParseError() | vendor.ConfigNotFound():
            return _FILE
        case vendor.NoCredentialsError() | vendor.PartialCredentialsError():
            return _NONE
        case vendor.RefreshWithMFAUnsupportedError():
            return _NEW_CODE
        case vendor.SSLError():
            return _TRUST
        case TimeoutError():  # of the whole look-up: a tool that waits for input
            return provider.remedy
        case vendor.ClientError() if "AccessDenied" in str(_code(exc)):
            return _DENIED.format(action=f"sts:{exc.operation_name}")
        case _:
            return _NETWORK if is_passing(exc) else provider.remedy


# -- Causes ------------------------------------------------------------------------------------------------------------

_NO_CONNECTION = (
    vendor.HTTPClientError,
    vendor.ConnectionError,
    aiohttp.ClientError,
    TimeoutError,
    ConnectionError,
)
_TLS = (vendor.SSLError, aiohttp.ClientSSLError)
_BUSY = frozenset(
    {"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "IDPCommunicationError"}
)


def is_passing(exc: BaseException) -> bool:
    """True when a repetition may succeed: no connection, no response, a busy service."""
    return any(_is_passing(one) for one in _chain(exc)) and not any(isinstance(one, _TLS) for one in _chain(exc))


def _is_passing(exc: BaseException) -> bool:
    if isinstance(exc, vendor.ClientError):
        status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or _code(exc) in _BUSY
    if type(exc) is vendor.HTTPClientError:  # around whatever was raised, a header that cannot be sent among it
        return isinstance(getattr(exc, "kwargs", {}).get("error"), _NO_CONNECTION)
    return isinstance(exc, _NO_CONNECTION)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and those it came from; botocore hides a lost connection behind an error of its own."""
    seen: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in seen:
        yield one
        seen.append(one)
        one = one.__cause__ or one.__context__


def _code(exc: vendor.ClientError) -> object:
    return exc.response.get("Error", {}).get("Code", "")


def _cause(exc: BaseException, provider: _Provider) -> str:
    """What went wrong, in one line."""
    if isinstance(exc, KeyError) and provider is _PROVIDERS["sso"]:
        return "the cached login is damaged"
    wording = next((wording for kind, wording in _WORDINGS if isinstance(exc, kind)), None)
    if wording is None:
        return f"its response cannot be used ({type(exc).__name__}: {_one_line(str(exc))})"
    return _one_line(wording(exc)) or type(exc).__name__


def _of_file(exc: OSError) -> str:
    return f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc)


def _of_value(exc: ValueError) -> str:
    if type(exc).__name__ == "ParserError":  # of dateutil, through which botocore reads times
        return f"the expiry of its keys is not a time ({exc})"
    return str(exc)


def _of_runtime(exc: RuntimeError) -> str:
    if "still expired" in str(exc):
        return "the keys have expired already; the clock of this machine counts too"
    return str(exc)


_WORDINGS: Final[Sequence[tuple[type[BaseException], Callable[[Any], str]]]] = (
    (vendor.CredentialRetrievalError, lambda exc: exc.kwargs.get("error_msg") or "it failed without a message"),
    (vendor.BotoCoreError, str),
    (vendor.ClientError, str),
    (TimeoutError, lambda _: "no response in time"),
    (OSError, _of_file),
    (KeyError, lambda exc: f"its response lacks {exc}"),
    (UnicodeDecodeError, lambda _: "its response is not text"),
    (JSONDecodeError, lambda exc: f"its response is not JSON ({exc})"),
    (ValueError, _of_value),
    (RuntimeError, _of_runtime),
)
"""The words for a failure; the first row whose class it has."""

_SECRET_SETTINGS: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)
_HIDDEN: Final = "[hidden]"
_ASSIGNED: Final = re.compile(r"""(?i)((?:secret|token|password)\w*["']?\s{0,3}[=:]\s{0,3}["']?)[^\s"',;}]{6,}""")
_LONG: Final = re.compile(r"[A-Za-z0-9+/=]{32,}")


def _one_line(text: str) -> str:
    """The last line of ``text`` that is not empty, printable, without secrets and not too long.

    The last line is the one with the cause in a traceback of a tool. Only the end is read, so that the time does not
    grow with the text.
    """
    for name in _SECRET_SETTINGS:
        if secret := os.environ.get(name, "").strip():
            text = text.replace(secret, _HIDDEN)
    end = text[-8 * MAX_CAUSE_CHARS :]
    if len(end) < len(text):
        end = end.lstrip().partition(" ")[2]  # the first word may be the rest of a secret
    lines = [line for line in end.splitlines() if line.strip()]
    line = "".join([c if c.isprintable() else " " for c in (lines or [""])[-1]])
    line = _ASSIGNED.sub(rf"\1{_HIDDEN}", " ".join(line.split()))
    line = _LONG.sub(lambda found: _HIDDEN if _is_random(found[0]) else found[0], line)
    return line if len(line) <= MAX_CAUSE_CHARS else f"{line[:MAX_CAUSE_CHARS]}…"


def _is_random(word: str) -> bool:
    """True for keys and tokens; a long path or name lacks digits or capitals."""
    return any(map(str.isdigit, word)) and any(map(str.isupper, word)) and any(map(str.islower, word))


@contextmanager
def credentials_translated(profile: str | None = None) -> Iterator[None]:
    """Raise failures of reading the AWS settings, and of the look-up of credentials, as ``CredentialsError``.

    Args:
        profile: The profile in use.

    Raises:
        CredentialsError: A profile or a file cannot be used.
    """
    try:
        yield
    except (*CREDENTIAL_FAILURES, vendor.ClientError) as exc:
        raise credentials_error(exc, profile=profile) from exc


CREDENTIAL_FAILURES = (
    vendor.NoCredentialsError,
    vendor.PartialCredentialsError,
    vendor.CredentialRetrievalError,
    vendor.TokenRetrievalError,
    vendor.ProfileNotFound,
    vendor.ConfigNotFound,
    vendor.ConfigParseError,
    vendor.SSOError,
    vendor.InfiniteLoopConfigError,
    vendor.InvalidConfigError,
    vendor.UnknownCredentialError,
    vendor.MetadataRetrievalError,
    vendor.RefreshWithMFAUnsupportedError,
    vendor.UnauthorizedSSOTokenError,
    vendor.NoAuthTokenError,
)
"""What botocore raises for credentials wherever it is called."""
