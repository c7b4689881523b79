"""The credentials of a session: botocore's providers, asked once for all callers, and renewed before the keys expire.

Invariants: at most one look-up is going on, and all who wait get its result or its failure; keys are used until they
expire, whatever happens to renewals before that; a failure is a ``CredentialsError`` and comes before the request is
sent, so that nothing is billed for it.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

import anyio
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore.credentials import ReadOnlyCredentials

from asyncfilter.aws.clients.signing import Keys
from asyncfilter.aws.credential_chain import FoundKeys
from asyncfilter.aws.credential_errors import is_passing
from asyncfilter.errors import CredentialsError

RENEW_S: Final = 540.0
"""Keys are renewed this long before they expire, or after half of their time; botocore renews below 600 s if asked."""

MARGIN_S: Final = 5.0
"""Keys count as expired this long before they do, or a tenth of their time: a request takes a while to arrive."""

ATTEMPTS: Final = 4
"""Look-ups in a row while there are no valid keys and the failure may pass."""

_INSIST_S: Final = 10.0
"""Seconds after which there are no more of them: providers have retries and time-outs of their own."""

_PAUSE_S: Final = 0.5
"""First pause between look-ups, seconds; doubled each time."""

_MAX_PAUSE_S: Final = 30.0
"""Longest pause between look-ups while the keys are still valid, seconds."""

_FAILED_S: Final = 5.0
"""Seconds for which a failure without valid keys is final: calls that are ending then fail at once, too."""

_RECHECK_S: Final = 5.0
"""Seconds after which the wall clock is read again; the monotonic clock may stand still while a machine sleeps."""


class KeySource(Protocol):
    """What gives keys, and new ones before these expire."""

    async def find(self) -> FoundKeys:
        """Keys that are valid now.

        Raises:
            CredentialsError: There are none.
            AbortedError: A question was interrupted.
        """
        ...


class SharedCredentials(AioCredentials):  # type: ignore[misc]  # aiobotocore has no types
    """The credentials of a session, for the signed client and for aiobotocore's clients alike.

    Args:
        core: The session of botocore; from now on its clients use these credentials.
        chain: What to ask: the providers of botocore, or a role.
    """

    def __init__(self, core: AioSession, chain: KeySource) -> None:
        super().__init__("", "", method="shared")
        self._chain = chain
        self._looking_up = anyio.Lock()  # held during a look-up: at most one, even if many tasks need new keys
        self._results = 0
        self._failure: CredentialsError | None = None
        self._failed_until_s = 0.0
        self._keys: Keys | None = None
        self._found: FoundKeys | None = None
        self._expires_unix_s = self._renew_unix_s = 0.0
        self._fresh_until_s = 0.0
        self._next_try_s = 0.0
        self._pause_s = _PAUSE_S
        core.register_component("credential_provider", _Only(self))

    async def keys(self) -> Keys:
        """Valid keys; renewed before they expire.

        Raises:
            CredentialsError: There are none, or they expired and cannot be renewed.
            AbortedError: The question of a provider was interrupted.
        """
        if self._keys is not None and time.monotonic() < self._fresh_until_s:
            return self._keys
        return await self._valid_keys()

    async def found(self) -> FoundKeys:
        """What the providers gave last: valid keys, their expiry, and the provider's name; raises as ``keys``."""
        await self.keys()
        if self._found is None:
            raise CredentialsError("There are no credentials")
        return self._found

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """See ``AioCredentials``; aiobotocore's clients call it for each request."""
        return ReadOnlyCredentials(*await self.keys())

    async def _valid_keys(self) -> Keys:
        if self._keys is not None and not self._expired() and time.time() >= self._renew_unix_s:
            await self._renew_ahead()
        while self._keys is None or self._expired():
            await self._renew_now()
        self._fresh_until_s = time.monotonic() + min(_RECHECK_S, self._renew_unix_s - time.time())
        return self._keys

    def _expired(self) -> bool:
        return time.time() >= self._expires_unix_s

    async def _renew_ahead(self) -> None:
        """Try once to renew keys that are still valid; all other tasks go on with these meanwhile, and on failure."""
        if self._looking_up.locked() or time.monotonic() < self._next_try_s:
            return
        async with self._looking_up:
            try:
                self._keep(await self._chain.find())
            except CredentialsError:
                self._next_try_s = time.monotonic() + self._pause_s
                self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

    async def _renew_now(self) -> None:
        """Get keys or raise; the result of a look-up that this task waited for is its result too."""
        results = self._results
        async with self._looking_up:
            if self._results == results and time.monotonic() >= self._failed_until_s:
                self._keep(await self._insist())
            elif self._failure is not None:
                # A new instance: every task that raises the same one adds to its traceback.
                raise CredentialsError(self._failure.message, hint=self._failure.hint) from self._failure.__cause__

    async def _insist(self) -> FoundKeys:
        """Ask the providers, again and again while the failure may pass."""
        pause_s = _PAUSE_S
        end_s = time.monotonic() + _INSIST_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._chain.find()
            except CredentialsError as exc:
                if attempt == ATTEMPTS or time.monotonic() >= end_s or not is_passing(exc):
                    self._failure = exc
                    self._failed_until_s = time.monotonic() + _FAILED_S
                    self._results += 1
                    raise
            await anyio.sleep(pause_s)
            pause_s *= 2
        raise AssertionError("unreachable")

    def _keep(self, found: FoundKeys) -> None:
        self._found, self._keys = found, found.keys
        valid_s = found.expires_unix_s - time.time()
        self._expires_unix_s = found.expires_unix_s - min(MARGIN_S, valid_s / 10)
        self._renew_unix_s = found.expires_unix_s - min(RENEW_S, valid_s / 2)
        self._failure = None
        self._next_try_s, self._pause_s = 0.0, _PAUSE_S
        self._results += 1


class _Only:
    """The provider chain of botocore's session: one credentials object for all clients."""

    def __init__(self, credentials: SharedCredentials) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> SharedCredentials:
        """See ``CredentialResolver``."""
        return self._credentials
