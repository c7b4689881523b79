"""``python -m asyncfilter`` and the command ``asyncfilter``."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # built in: nothing is read before it
import os
import sys

if os.name == "posix":
    # Python's own handler raises KeyboardInterrupt, which is lost in a callback of the import system: the command would
    # go on, and pay. Until the handlers of this program are there, Ctrl-C ends the process.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
else:  # before any import of ours, which would end in a traceback there
    from asyncfilter.errors import ExitCode

    sys.stderr.write(f"asyncfilter: error: Linux or macOS is needed, this system is {os.name!r}\n")
    sys.exit(ExitCode.USAGE)

from asyncfilter.cli.signals import PROCESS


def main() -> None:
    """Run the command line and exit with its code.

    From here to the end of the process, SIGINT, SIGTERM and SIGHUP are received by ``asyncfilter.cli.signals``: Ctrl-C
    has an effect even where the shell makes a background command ignore it. What comes before (the start of the
    interpreter, and of this package) is Python's own.
    """
    PROCESS.install()
    import atexit  # noqa: PLC0415  nothing comes before the signals

    from asyncfilter.errors import ExitCode  # noqa: PLC0415  likewise

    PROCESS.end_with(interrupted=ExitCode.INTERRUPTED, aborted=ExitCode.ABORTED)
    atexit.register(PROCESS.ignore)  # the first to be registered is the last to be called
    from asyncfilter.cli.streams import open_streams  # noqa: PLC0415  after signals are in order

    open_streams()
    from asyncfilter.cli.app import command_line  # noqa: PLC0415  after signals and streams are in order
    from asyncfilter.interpreter import shorten_switch_interval  # noqa: PLC0415  likewise

    shorten_switch_interval()
    code = command_line(sys.argv[1:])
    PROCESS.over()
    if (ray := sys.modules.get("asyncfilter.fleet.ray_connection")) is not None:
        ray.end_process(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
