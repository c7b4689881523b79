"""Whose access key it is: each key has an account of its own, the keys of an assumed role have the role's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from asyncfilter.sandbox.access import Caller
from asyncfilter.sandbox.sessions import Sessions

_ACCOUNT: Final = re.compile(r"arn:[^:]*:iam::(\d{12}):role/")
_ACCOUNTS: Final = 10**12


class Pair(NamedTuple):
    """A principal and a region: quotas of detections are counted for each.

    Attributes:
        principal: An access key; of an assumed role, whose keys change, the access key of its account if that is the
            sandbox's own, else the number of the account. Empty for an unsigned request.
    """

    principal: str = ""
    region: str = ""

    @property
    def name(self) -> str:
        """``KEY@REGION``, as in the option ``--tps``."""
        return f"{self.principal}@{self.region}"


class Accounts:
    """The accounts of a sandbox.

    Args:
        own: The account of the first of ``access_keys``, which has the buckets and the models.
        access_keys: Those with a known secret.
        sessions: Temporary keys.
    """

    def __init__(self, own: str, access_keys: Iterable[str], sessions: Sessions) -> None:
        self._own = own
        self._own_key = next(iter(access_keys), "any")
        self._sessions = sessions
        self._pairs: dict[tuple[str, str], Pair] = {}

    def of(self, access_key: str) -> str:
        """The account of an access key: 12 digits, the same for a key in every sandbox."""
        session = self._sessions.find(access_key)
        if session is not None:
            return self.of_role(session.role)
        if access_key in {self._own_key, ""}:
            return self._own
        digest = hashlib.blake2b(access_key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return f"{int.from_bytes(digest, 'big') % _ACCOUNTS:012d}"

    def of_role(self, role: str) -> str:
        """The account in the ARN of a role; the sandbox's own where there is none."""
        found = _ACCOUNT.match(role)
        return self._own if found is None else found[1]

    def pair(self, caller: Caller) -> Pair:
        """The pair that a request counts for."""
        place = (caller.access_key, caller.region)
        held = self._pairs.get(place)
        if held is None:
            held = self._pairs[place] = Pair(self._principal(caller.access_key), caller.region)
        return held

    def _principal(self, access_key: str) -> str:
        if self._sessions.find(access_key) is None:
            return access_key
        account = self.of(access_key)
        return self._own_key if account == self._own else account
