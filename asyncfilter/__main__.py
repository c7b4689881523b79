"""``python -m asyncfilter`` and the command ``asyncfilter``."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code.

    From the first moment on SIGTERM means the same as Ctrl-C, so that everything is unwound and cleaned up.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from asyncfilter.cli.app import command_line  # noqa: PLC0415  after the signals are in place

        sys.exit(command_line(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
