"""A run of the tests that ignores signals, as under ``nohup``: the programs that it starts receive them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import signal, subprocess, sys
number = signal.Signals[sys.argv[1]]
signal.signal(number, signal.SIG_IGN)
from tests.kit.ignored_signals import unignore_for_children
unignore_for_children()
signal.raise_signal(number)
child = subprocess.run([sys.executable, "-c", f"import signal; signal.raise_signal({number.value})"], check=False)
print(child.returncode)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_children_hear_what_the_tests_ignore(number: signal.Signals) -> None:
    """The tests survive the signal that they were started to ignore, and a program that they start ends by it."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, number.name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{-number}\n", "")
