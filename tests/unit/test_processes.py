"""Whether a process still lives, as far as that can be known."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from asyncfilter.custom_labels.processes import ThisHost, is_dead


def test_this_process_lives() -> None:
    """Seen by itself, and named so that another one with its number is told from it."""
    host = ThisHost()
    assert host.me.pid == os.getpid()
    assert not is_dead(host.me, host)
    assert is_dead(replace(host.me, started="1"), host)
    assert is_dead(replace(host.me, boot_id="another"), host)


def test_a_child_that_ends_is_dead_before_and_after_it_is_waited_for() -> None:
    """A process that has ended lives no more, although its parent has not asked for its exit code yet."""
    host = ThisHost()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    named = replace(host.me, pid=child.pid, started=host.started(child.pid) or "")
    assert not is_dead(named, host)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(named, host)
    child.communicate()
    assert is_dead(named, host)


def test_what_cannot_be_known_is_no_death() -> None:
    """Another host, another container of this host, a process whose start the system hides."""
    host = ThisHost()
    gone = replace(host.me, pid=2**22 + 1)
    assert is_dead(gone, host)
    assert not is_dead(replace(gone, host="elsewhere", boot_id="another"), host)
    assert not is_dead(replace(gone, pid_namespace="pid:[7]"), host)
    host.started = lambda pid: ""  # type: ignore[method-assign]  # hidepid
    assert not is_dead(gone, host)


def test_clocks_go_on() -> None:
    """The clock of the boot never goes back."""
    host = ThisHost()
    assert 0 < host.boot_s() <= host.boot_s()
    assert host.unix_s() > 1_700_000_000
