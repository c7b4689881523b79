"""``python -m asyncfilter`` and the command ``asyncfilter``."""

from __future__ import annotations

import os
import signal
import sys

if os.name != "posix":  # before any import of ours, which would end in a traceback there
    from asyncfilter.errors import ExitCode

    sys.stderr.write(f"asyncfilter: error: Linux or macOS is needed, this system is {os.name!r}\n")
    sys.exit(ExitCode.USAGE)


def main() -> None:
    """Run the command line and exit with its code.

    From the first moment on SIGTERM has the same effect as Ctrl-C: everything is unwound and cleaned up. Ctrl-C has an
    effect even where the shell makes a background command ignore it.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        from asyncfilter.cli.streams import open_streams  # noqa: PLC0415  after signals are in order

        open_streams()
        from asyncfilter.cli.app import command_line  # noqa: PLC0415  after signals and streams are in order
        from asyncfilter.cli.switch_interval import shorten_switch_interval  # noqa: PLC0415  likewise

        shorten_switch_interval()
        sys.exit(command_line(sys.argv[1:]))
    except KeyboardInterrupt:
        from asyncfilter.errors import ExitCode  # noqa: PLC0415  the handlers above come before any import of ours

        sys.exit(ExitCode.INTERRUPTED)  # before the command began: the same command can be run again


if __name__ == "__main__":
    main()
