"""``python -m asyncfilter`` and the command ``asyncfilter``."""

from __future__ import annotations

from asyncfilter.cli.signals import PROCESS


def main() -> None:
    """Run the command line and exit with its code.

    From here to the end of the process, SIGINT, SIGTERM and SIGHUP are received by ``asyncfilter.cli.signals``: Ctrl-C
    has an effect even where the shell makes a background command ignore it. What comes before (the start of the
    interpreter, and the import of this module) is Python's own.
    """
    PROCESS.install()
    import atexit  # noqa: PLC0415  nothing comes before the signals
    import os  # noqa: PLC0415  likewise
    import sys  # noqa: PLC0415  likewise

    from asyncfilter.errors import ExitCode  # noqa: PLC0415  likewise

    PROCESS.end_with(interrupted=ExitCode.INTERRUPTED, aborted=ExitCode.ABORTED)
    atexit.register(PROCESS.ignore)  # the first to be registered is the last to be called
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the process that started this one
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  open to the end
    from asyncfilter.cli.app import command_line  # noqa: PLC0415  after signals and streams are in order
    from asyncfilter.cli.switch_interval import shorten_switch_interval  # noqa: PLC0415  likewise

    shorten_switch_interval()
    code = command_line(sys.argv[1:])
    PROCESS.over()
    sys.exit(code)


if __name__ == "__main__":
    main()
