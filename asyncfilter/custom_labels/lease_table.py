"""The leases in the ledger. Each method is one transaction: durable when it returns, decided on what it reads in it.

So of several processes that act on one lease at once, exactly one finds that it lasts.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from asyncfilter.custom_labels.lease import EndReason, Lease, LeaseKind, LeaseState, end_reason, others
from asyncfilter.custom_labels.ledger import Ledger
from asyncfilter.custom_labels.processes import Host, is_alive_here, is_dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a lease is to be.

    Attributes:
        arn: The model version.
        endpoint: Where the service is; empty for AWS itself.
        profile: The profile of the AWS settings; None for the default.
        units: Inference units that run at least; None for those with which the model runs already, else 1.
        max_units: Units up to which the service may scale; None without scaling.
        for_s: How long it lasts from now on, seconds.
        not_after: Its latest end, Unix time, however long a start takes until the lease is written; None for none.
        run_id: The run that owns it; None for a lease that ends at its time alone.
    """

    arn: str
    endpoint: str = ""
    profile: str | None = None
    units: int | None = None
    max_units: int | None = None
    for_s: float
    not_after: float | None = None
    run_id: str | None = None

    @property
    def kind(self) -> LeaseKind:
        """What ends it before its time."""
        return LeaseKind.TIME if self.run_id is None else LeaseKind.RUN


class OtherUnitsError(Exception):
    """The model runs by a lease of ours with other units; ``lease`` is that one."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease.arn)
        self.lease = lease


class BeingStoppedError(Exception):
    """The model is being stopped by a lease of ours, which is never taken back; ``lease`` is that one."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease.arn)
        self.lease = lease


class Leases:
    """The table of leases.

    Args:
        ledger: The open ledger.
        host: Names this process and reads the clocks.
    """

    def __init__(self, ledger: Ledger, host: Host) -> None:
        self._ledger = ledger
        self._host = host

    # -- Looks

    def open(self) -> list[Lease]:
        """Every lease by which a model may run, the oldest first.

        Raises:
            LedgerError: The ledger cannot be used; so do all methods.
        """
        with self._ledger.reading() as db:
            return _open(db)

    def of(self, arn: str, endpoint: str) -> list[Lease]:
        """Those of one model."""
        return [lease for lease in self.open() if (lease.arn, lease.endpoint) == (arn, endpoint)]

    def get(self, identifier: str) -> Lease | None:
        """One lease, whatever its state; None when there is none."""
        with self._ledger.reading() as db:
            return _get(db, identifier)

    # -- The beginning

    def take(self, wish: Wish, *, runs: bool = False) -> Lease:
        """A lease as wished.

        Where a lease without owner lasts on the model, one without owner is that lease, with a later end if need be:
        its end only ever moves later. Otherwise it is a new row: an intent, or by what the model already runs by.

        Args:
            wish: The lease.
            runs: The model runs already, and is taken over.

        Raises:
            OtherUnitsError: The model runs with other units by a lease that lasts.
            BeingStoppedError: A lease on the model is being ended.
        """
        with self._ledger.transaction() as db:
            present = [one for one in _open(db) if (one.arn, one.endpoint) == (wish.arn, wish.endpoint)]
            _check(present, wish)
            if wish.kind is LeaseKind.TIME:
                for lease in present:
                    if lease.kind is LeaseKind.TIME:
                        return self._extended(db, lease, wish)
            lease = self._new(wish, LeaseState.RUNNING if runs else _joined_state(present))
            _put(db, lease)
            return lease

    def sending(self, identifier: str) -> bool:
        """Note that a start is about to be sent; False when the lease does not last any more: send nothing."""
        return self._change(identifier, lambda lease: replace(lease, sent_at=self._host.unix_s()))

    def accepted(self, identifier: str) -> None:
        """The service has accepted the start, or may have done so.

        This holds even for a lease that another process has released meanwhile: its row is there again.
        """
        with self._ledger.transaction() as db:
            lease = _get(db, identifier)
            if lease is None or lease.state is LeaseState.STOPPING:
                return
            _put(db, replace(lease, state=LeaseState.STARTING, reason=None, ended_at=None))

    def seen(self, identifier: str, *, running: bool) -> bool:
        """The service shows the model starting or running; False when the lease does not last any more."""
        state = LeaseState.RUNNING if running else LeaseState.STARTING
        return self._change(identifier, lambda lease: replace(lease, state=state, sent_at=None))

    # -- The end

    def end(self, identifier: str, *, asked: bool = False) -> Lease | None:
        """Decide, on the present row, whether a lease ends now; from then on it cannot be extended.

        Args:
            identifier: Of the lease.
            asked: It ends although it could last.

        Returns:
            The lease as it is afterwards: ``STOPPING`` when its model is to be stopped, ``RELEASED`` when the model
            goes on running by another lease, or had ended before. None when it lasts.
        """
        with self._ledger.transaction() as db:
            lease = _get(db, identifier)
            if lease is None or not lease.is_open or lease.state is LeaseState.STOPPING:
                return lease
            reason = EndReason.ASKED if asked else end_reason(lease, self._host)
            if reason is None:
                return None
            if others(lease, _open(db)):
                ended = replace(lease, state=LeaseState.RELEASED, reason=reason, ended_at=self._host.unix_s())
            else:
                ended = replace(lease, state=LeaseState.STOPPING, reason=reason)
            _put(db, ended)
            return ended

    def release(self, identifier: str, reason: EndReason | None = None) -> Lease | None:
        """The service has said that the model does not run: the lease as it is then, None when there is none."""
        with self._ledger.transaction() as db:
            lease = _get(db, identifier)
            if lease is None or not lease.is_open:
                return lease
            released = replace(
                lease,
                state=LeaseState.RELEASED,
                reason=lease.reason or reason or EndReason.FAILED,
                ended_at=self._host.unix_s(),
            )
            _put(db, released)
            return released

    # -- The watcher

    def claim(self, identifier: str) -> Lease | None:
        """Become the watcher of a lease; None when it has one that lives on this host, or has ended."""
        with self._ledger.transaction() as db:
            lease = _get(db, identifier)
            if lease is None or not lease.is_open:
                return None
            me = self._host.me
            if lease.watcher is not None and lease.watcher != me and is_alive_here(lease.watcher, self._host):
                return None
            lease = replace(lease, watcher=me)
            _put(db, lease)
            return lease

    # -- Parts of transactions

    def _expiry(self, wish: Wish, now_s: float) -> float:
        end = now_s + wish.for_s
        return end if wish.not_after is None else min(end, wish.not_after)

    def _new(self, wish: Wish, state: LeaseState) -> Lease:
        now_s = self._host.unix_s()
        expires_at = self._expiry(wish, now_s)
        return Lease(
            id=uuid.uuid4().hex,
            arn=wish.arn,
            endpoint=wish.endpoint,
            profile=wish.profile,
            units=wish.units or 1,
            max_units=wish.max_units,
            state=state,
            kind=wish.kind,
            started_at=now_s,
            expires_at=expires_at,
            expires_boot_s=self._host.boot_s() + expires_at - now_s,
            holder=self._host.me,
            run_id=wish.run_id,
        )

    def _extended(self, db: sqlite3.Connection, lease: Lease, wish: Wish) -> Lease:
        extended, now_s = lease, self._host.unix_s()
        if (expires_at := self._expiry(wish, now_s)) > lease.expires_at:
            same_boot = lease.holder.boot_id == self._host.me.boot_id
            # Another host's clock cannot be compared: from then on that of the calendar alone decides.
            boot_s = self._host.boot_s() + expires_at - now_s if same_boot else None
            extended = replace(lease, expires_at=expires_at, expires_boot_s=boot_s)
        if lease.state is LeaseState.INTENT and is_dead(lease.holder, self._host):
            extended = replace(extended, holder=self._host.me, expires_boot_s=None)
        if extended != lease:
            _put(db, extended)
        return extended

    def _change(self, identifier: str, change: Callable[[Lease], Lease]) -> bool:
        """Change a lease that lasts; False, and no change, when it does not."""
        with self._ledger.transaction() as db:
            lease = _get(db, identifier)
            if lease is None or not lease.lasts:
                return False
            if (changed := change(lease)) != lease:
                _put(db, changed)
            return True


def last_leases(leases: Iterable[Lease], endpoint: str) -> dict[str, Lease]:
    """For each model at an endpoint, by its ARN, that of ``leases`` which ends last."""
    at_endpoint = [lease for lease in leases if lease.endpoint == endpoint]
    return {lease.arn: lease for lease in sorted(at_endpoint, key=lambda lease: lease.expires_at)}


def _check(present: Sequence[Lease], wish: Wish) -> None:
    """Check that a model that runs by ``present`` can run as wished, too."""
    for lease in present:
        if lease.state is LeaseState.STOPPING:
            raise BeingStoppedError(lease)
    for lease in present:
        if (lease.units, lease.max_units) != (wish.units or 1, wish.max_units):
            raise OtherUnitsError(lease)


def _joined_state(present: Sequence[Lease]) -> LeaseState:
    """The state of a new lease on a model that runs, or is being started, by ``present``."""
    order = list(LeaseState)
    return max((lease.state for lease in present), key=order.index, default=LeaseState.INTENT)


# -- Rows --------------------------------------------------------------------------------------------------------------

_HOLDER = {
    "host": "host",
    "boot_id": "boot_id",
    "pid_namespace": "pid_namespace",
    "pid": "pid",
    "pid_started": "started",
}
"""The columns that name the holder, with the attributes of ``Process``."""

_PLAIN = (
    "id", "arn", "endpoint", "profile", "units", "max_units", "state", "kind", "started_at", "expires_at",
    "expires_boot_s", "sent_at", "reason", "ended_at", "run_id",
)  # fmt: skip
"""The columns that have the name of an attribute of ``Lease``."""

_COLUMNS = (*_PLAIN, *_HOLDER, "watcher")
_NAMES = ", ".join(_COLUMNS)
_SELECT = f"SELECT {_NAMES} FROM leases"  # noqa: S608  constants
_REPLACE = f"INSERT OR REPLACE INTO leases ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  constants


def _open(db: sqlite3.Connection) -> list[Lease]:
    return [_lease(row) for row in db.execute(f"{_SELECT} WHERE state <> 'released' ORDER BY started_at, id")]


def _get(db: sqlite3.Connection, identifier: str) -> Lease | None:
    row = db.execute(f"{_SELECT} WHERE id = ?", (identifier,)).fetchone()
    return None if row is None else _lease(row)


def _put(db: sqlite3.Connection, lease: Lease) -> None:
    """Write the row of a lease, new or changed."""
    watcher = None if lease.watcher is None else msgspec.json.encode(lease.watcher).decode()
    values = [getattr(lease, name) for name in _PLAIN]
    db.execute(_REPLACE, (*values, *[getattr(lease.holder, name) for name in _HOLDER.values()], watcher))


def _lease(row: Sequence[object]) -> Lease:
    """The lease of a row.

    Raises:
        msgspec.DecodeError: A value cannot have been written by asyncfilter.
    """
    values = dict(zip(_COLUMNS, row, strict=True))
    watcher = values["watcher"]
    return msgspec.convert(
        {
            **{name: values[name] for name in _PLAIN},
            "holder": {name: values[column] for column, name in _HOLDER.items()},
            "watcher": None if watcher is None else msgspec.json.decode(str(watcher)),
        },
        Lease,
    )
