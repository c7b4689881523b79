"""Whether the process that owns a state has certainly ended, so that a command need not wait for it."""

from __future__ import annotations

from asyncfilter.custom_labels.processes import Host, Process, is_dead
from asyncfilter.state.head import OwnerProcess


def is_gone(owner: OwnerProcess, host: Host) -> bool:
    """Whether an owner was a process of this host, boot and process namespace that has ended.

    A host of the same name and another boot may be another machine: pods and containers get names that were used
    before, and the one that had it may still run and pay.
    """
    here = host.me
    is_here = (owner.host, owner.boot_id, owner.pid_namespace) == (here.host[:256], here.boot_id, here.pid_namespace)
    return is_here and is_dead(process_of(owner, here.host), host)


def process_of(owner: OwnerProcess, host: str) -> Process:
    """The process that owns a state; ``host`` is its name in full, which a head may have cut."""
    return Process(
        host=host,
        boot_id=owner.boot_id,
        pid_namespace=owner.pid_namespace,
        pid=owner.pid,
        started=owner.started,
    )
