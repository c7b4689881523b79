"""Results about leases: their public names, and lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asyncfilter.custom_labels.lease import EndReason, Lease, LeaseKind
from asyncfilter.custom_labels.reaper import Reaped, StopFailure
from asyncfilter.custom_labels.states import moment_text
from asyncfilter.policy.pricing import model_hour_micros, model_micros
from asyncfilter.report.formatting import duration, usd, usd_number


def lease_mapping(lease: Lease | None) -> dict[str, Any] | None:
    """A lease under its public names."""
    if lease is None:
        return None
    return {
        "id": lease.id,
        "expires_at": moment_text(lease.expires_at),
        "owner": _owner_mapping(lease),
        "kind": lease.kind.value,
        "state": lease.state.value,
        "started_at": moment_text(lease.started_at),
    }


def _owner_mapping(lease: Lease) -> dict[str, Any] | None:
    if lease.kind is LeaseKind.TIME:
        return None
    holder = lease.holder
    return {
        "host": holder.host,
        "boot_id": holder.boot_id,
        "pid": holder.pid,
        "pid_started": holder.started,
        "run_id": lease.run_id,
    }


def lease_text(lease: Lease) -> str:
    """``leased until 2026-11-27T12:00:00Z by process 123, $4.00 an hour``."""
    until = f"leased until {moment_text(lease.expires_at)}"
    owner = "" if lease.kind is LeaseKind.TIME else f" by a run of process {lease.holder.pid} on {lease.holder.host}"
    return f"{until}{owner}, {lease.state}, {usd(model_hour_micros(lease.most_units))} an hour while it runs"


def started_mapping(status: str, lease: Lease) -> dict[str, Any]:
    """The result of ``model start``."""
    return {
        "arn": lease.arn,
        "status": status,
        "units": lease.units,
        "usd_per_hour": usd_number(model_hour_micros(lease.units)),
        "max_usd": usd_number(model_micros(lease.most_units, lease.expires_at - lease.started_at)),
        "lease": lease_mapping(lease),
    }


def started_lines(status: str, lease: Lease) -> Iterator[str]:
    """The same in words."""
    yield f"{lease.arn}: {status}, {price_text(lease.units, lease.max_units)}"
    yield f"  stopped at {moment_text(lease.expires_at)} at the latest (lease {lease.id})"


def price_text(units: int, max_units: int | None) -> str:
    """``2 units, $8.00 an hour``."""
    text = f"{units} {'unit' if units == 1 else 'units'}, {usd(model_hour_micros(units))} an hour"
    if max_units is None or max_units <= units:
        return text
    return f"{text}, scaling up to {max_units} units and {usd(model_hour_micros(max_units))} an hour"


def reaped_mapping(reaped: Reaped) -> dict[str, Any]:
    """The result of ``model stop``."""
    return {
        "stopped": [
            {
                "arn": lease.arn,
                "reason": (lease.reason or EndReason.ASKED).value,
                "ran_s": round(ran_s(lease), 3),
                "usd": usd_number(model_micros(lease.most_units, ran_s(lease))),
                "lease": lease.id,
            }
            for lease in reaped.stopped
        ],
        "kept": [
            {"arn": lease.arn, "expires_at": moment_text(lease.expires_at), "lease": lease.id} for lease in reaped.kept
        ],
        "failed": [
            {
                "arn": failure.lease.arn,
                "error": failure.error.message,
                "usd_per_hour": usd_number(model_hour_micros(failure.lease.most_units)),
                "lease": failure.lease.id,
            }
            for failure in reaped.failed
        ],
    }


def reaped_lines(reaped: Reaped) -> Iterator[str]:
    """The same in words, without what failed."""
    for lease in reaped.stopped:
        spent = usd(model_micros(lease.most_units, ran_s(lease)))
        yield f"stopped {lease.arn}: {lease.reason}, after {duration(ran_s(lease))}, about {spent}"
    for lease in reaped.passed_on:
        yield f"ended a lease on {lease.arn}, which runs on by another lease"
    for lease in reaped.kept:
        yield f"kept {lease.arn}: its lease ends at {moment_text(lease.expires_at)}"
    if not (reaped.stopped or reaped.passed_on or reaped.kept or reaped.failed):
        yield "no model runs by a lease"


def ran_s(lease: Lease) -> float:
    """How long the model of a released lease ran at most, seconds."""
    return max(0.0, (lease.ended_at or lease.started_at) - lease.started_at)


def failure_text(failure: StopFailure) -> str:
    """What could not be stopped, and what it costs."""
    lease, hint = failure.lease, f" {failure.error.hint}" if failure.error.hint else ""
    price = usd(model_hour_micros(lease.most_units))
    return f"could not stop {lease.arn}, which may go on costing {price} an hour: {failure.error.message}{hint}"
