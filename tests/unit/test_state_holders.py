"""An owner that is certainly no more need not be waited for; any doubt counts as life."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from asyncfilter.custom_labels.processes import ThisHost
from asyncfilter.state.head import OwnerProcess
from asyncfilter.state.holders import is_gone

HOST = ThisHost()


def owner(pid: int, started: str = "1") -> OwnerProcess:
    """A process of this host, boot and space of process numbers."""
    me = HOST.me
    return OwnerProcess(
        host=me.host,
        boot_id=me.boot_id,
        pid_namespace=me.pid_namespace,
        pid=pid,
        started=started,
        run_id="r",
        since="2026-11-28T12:00:00Z",
    )


def ended() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_process_of_this_boot_that_ended_is_gone() -> None:
    """Also one whose number another process has now."""
    assert is_gone(owner(ended()), HOST)
    assert is_gone(owner(os.getpid(), "another time"), HOST)
    assert not is_gone(owner(os.getpid(), HOST.me.started), HOST)


@pytest.mark.parametrize("field", ["host", "boot_id", "pid_namespace"])
def test_what_may_be_another_machine_is_not_gone(field: str) -> None:
    """A pod of the same name on another node may live and pay: only 15 s of silence tell."""
    other = msgspec.structs.replace(owner(ended()), **{field: "another"})
    assert not is_gone(other, HOST)
