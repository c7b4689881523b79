"""botocore's providers of credentials, with what they lack: console logins, and questions only where one can answer.

Keys are checked before anything is signed with them: a line break in a key would otherwise end a header.
"""

from __future__ import annotations

import getpass
import math
import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TypeAlias

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioProcessProvider
from aiobotocore.session import AioSession
from botocore import exceptions as vendor
from botocore.compat import HAS_CRT

from asyncfilter.aws.clients.signing import Keys
from asyncfilter.aws.credential_errors import credentials_error, provider_name
from asyncfilter.errors import AbortedError, CredentialsError

AioObject: TypeAlias = Any
"""A credentials object of aiobotocore, which has no types."""

PATIENCE_S: Final = 300.0
"""Seconds that one look-up may take; a credential process may wait for a person who logs in."""

_PARTS: Final = ("access_key", "secret_key", "token")
_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_RESPONSE: Final = ("AccessKeyId", "SecretAccessKey", "SessionToken")
_IN_FILES: Final = frozenset({"shared-credentials-file", "config-file"})
_BEFORE_LOGIN: Final = ("aws_access_key_id", "sso_session", "sso_start_url", "web_identity_token_file")
"""Settings of a profile that the AWS CLI uses before ``login_session``."""


class FoundKeys(NamedTuple):
    """Keys, when they expire in Unix time (infinity for keys that do not), and what the provider of them is called."""

    keys: Keys
    expires_unix_s: float
    provider: str = ""


class Chain:
    """The providers of a session, in botocore's order.

    Args:
        core: The session of botocore.
        timeout_s: Seconds that one attempt of a provider's client (STS, SSO) may take.

    Raises:
        CredentialsError: The AWS settings cannot be read.
    """

    def __init__(self, core: AioSession, *, timeout_s: float) -> None:
        self._core = core
        self._found: AioObject = None
        self.profile: str = core.get_config_variable("profile") or "default"
        # Clients of providers: without these, a lost packet costs five attempts of 60 s each.
        core.set_default_client_config(
            AioConfig(
                connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1, "mode": "standard"}
            )
        )
        try:
            self._resolver = core.get_component("credential_provider")
            # The prompt of botocore reads stdin where there is no terminal; the attribute has no public name.
            self._resolver.get_provider("assume-role")._prompter = self._ask_code  # noqa: SLF001
            if not HAS_CRT or all(one.METHOD != "login" for one in self._resolver.providers):
                self._resolver.remove("login")  # botocore has one since 1.41, which needs the package awscrt
                self._resolver.insert_before("assume-role", _LoginProvider(self.profile, self._profiles()))
        except Exception as exc:
            raise credentials_error(exc, profile=self.profile) from exc

    async def find(self) -> FoundKeys:
        """Ask the providers, or the one that had keys before for new ones.

        Raises:
            CredentialsError: No usable keys.
            AbortedError: A question was interrupted.
        """
        asked: list[str] = []
        try:
            with anyio.fail_after(PATIENCE_S):
                return await self._find(asked)
        except (CredentialsError, AbortedError):
            raise
        except Exception as exc:
            raise credentials_error(exc, provider=asked[-1] if asked else None, profile=self.profile) from exc

    async def _find(self, asked: list[str]) -> FoundKeys:
        if self._found is None:
            self._check_settings()
            self._found = await self._load(asked)
        asked.append(self._found.method)
        frozen = await self._found.get_frozen_credentials()
        keys = Keys(frozen.access_key, frozen.secret_key, frozen.token or None)
        for part, value in zip(_PARTS, keys, strict=True):
            _check(value, self._name_of(part))
        expires = getattr(self._found, "_expiry_time", None)  # no public name; absent in keys that do not expire
        provider = provider_name(self._found.method, self.profile)
        return FoundKeys(keys, math.inf if expires is None else expires.timestamp(), provider)

    async def _load(self, asked: list[str]) -> AioObject:
        for provider in self._resolver.providers:
            asked.append(provider.METHOD)
            found = await provider.load()
            if found is not None:
                return found
        raise vendor.NoCredentialsError

    # -- Checks --------------------------------------------------------------------------------------------------------

    def _name_of(self, part: str) -> str:
        index = _PARTS.index(part)
        if self._found.method == "env":
            return _variable(index)
        if self._found.method in _IN_FILES:
            return _setting(index, self.profile)
        return f"{_RESPONSE[index]} from {provider_name(self._found.method, self.profile)}"

    def _check_settings(self) -> None:
        """Check keys in the environment and in files, which may be used to ask STS before they are seen here."""
        if os.environ.get(_VARIABLES[0]) and "env" in [one.METHOD for one in self._resolver.providers]:
            for index in range(len(_VARIABLES)):
                _check(os.environ.get(_variable(index)) or None, _variable(index))
            return
        for name, profile in self._profiles():
            for index, variable in enumerate(_VARIABLES):
                _check(profile.get(variable.lower()) or None, _setting(index, name))

    def _profiles(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The profile in use, the one that it has as source, and so on."""
        profiles: Mapping[str, Mapping[str, Any]] = self._core.full_config.get("profiles", {})
        found: dict[str, Mapping[str, Any]] = {}
        name = self.profile
        while name in profiles and name not in found:
            found[name] = profiles[name]
            name = profiles[name].get("source_profile", "")
        return list(found.items())

    # -- Questions -----------------------------------------------------------------------------------------------------

    def _ask_code(self, prompt: str) -> str:
        """The code of an MFA device, typed by the user; nothing else happens in this process meanwhile.

        Raises:
            CredentialsError: There is no terminal to ask on, or nothing was typed.
            AbortedError: A signal came instead.
        """
        if not _has_terminal():
            raise CredentialsError(
                f"No usable AWS credentials from {provider_name('assume-role', self.profile)}: the code of an MFA "
                "device is needed, and there is no terminal to ask on",
                hint="Run on a terminal, or get a session first and set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
                "AWS_SESSION_TOKEN.",
            )
        try:
            with _interruptible():
                # On a line of its own: a live display redraws the line that the cursor is on.
                return getpass.getpass(f"\n{prompt.rstrip()}\n")
        except KeyboardInterrupt:
            raise AbortedError("Interrupted at the question for the code of an MFA device") from None
        except EOFError as exc:
            raise CredentialsError("No code of an MFA device was typed", hint="Run again and type the code.") from exc


def _has_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Signals raise KeyboardInterrupt while the context is open: the event loop, which takes them otherwise, stands."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _variable(index: int) -> str:
    """The environment variable of a part; the token has an older name too."""
    older = "AWS_SECURITY_TOKEN"
    return older if index == len(_PARTS) - 1 and os.environ.get(older) else _VARIABLES[index]


def _setting(index: int, profile: str) -> str:
    return f"{_VARIABLES[index].lower()} of profile {profile!r}"


def _check(value: object, name: str) -> None:
    """Refuse what no key or token contains and what would change the request that it is put into.

    Raises:
        CredentialsError: With the name, never with the value.
    """
    if value is None:
        return
    if not isinstance(value, str) or not value:
        problem = "is empty" if value == "" else "is not text"
    elif not value.isprintable():
        problem = "contains a line break or another control character"
    elif value != value.strip():
        problem = "begins or ends with a blank"
    else:
        return
    raise CredentialsError(f"No usable AWS credentials: {name} {problem}", hint="Set it to the key or token alone.")


class _LoginProvider(AioProcessProvider):  # type: ignore[misc]  # aiobotocore has no types
    """Keys of `aws login`, which this botocore does not know, by way of the AWS CLI, which renews them.

    Args:
        profile: The profile in use.
        profiles: It and its sources; the last one has the login.
    """

    METHOD = "login"

    def __init__(self, profile: str, profiles: list[tuple[str, Mapping[str, Any]]]) -> None:
        last = profiles[-1][1] if profiles else {}
        self._is_needed = bool(last.get("login_session")) and not any(name in last for name in _BEFORE_LOGIN)
        command = f"aws configure export-credentials --profile {shlex.quote(profile)} --format process"
        config = {"profiles": {profile: {"credential_process": command}}}
        super().__init__(profile_name=profile, load_config=lambda: config)

    async def load(self) -> AioObject | None:
        """See ``CredentialProvider``.

        Raises:
            CredentialRetrievalError: The AWS CLI is missing.
        """
        if not self._is_needed:
            return None
        if shutil.which("aws") is None:
            raise vendor.CredentialRetrievalError(
                provider=self.METHOD, error_msg="the AWS CLI, which gives them, is not on PATH"
            )
        return await super().load()
