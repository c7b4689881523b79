"""The actor of Ray that this process is, as far as a worker asks Ray about itself."""

from __future__ import annotations

import signal
from collections.abc import Callable

from asyncfilter.fleet.ray_connection import import_ray


def end_this_actor() -> None:
    """End the actor that this process is, for good; Ray restarts one that only exits."""
    ray = import_ray()
    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def on_sigterm(leave: Callable[[], object]) -> None:
    """Call ``leave`` at the first SIGTERM to the actor that this process is, in place of an end at once.

    Methods of an asynchronous actor never run in the main thread, where alone Python lets a handler be set. But what
    the handler of Ray's worker calls is a name of its module. Where a Ray has no such name, SIGTERM ends the actor.
    """
    module, name = import_ray()._private.worker, "raise_sys_exit_with_custom_error_message"  # noqa: SLF001
    end = getattr(module, name, None)
    if end is None:
        return

    def called(*_args: object, **_kwargs: object) -> None:
        setattr(module, name, end)
        signal.alarm(0)  # see ``ray_connection.take_sigterm_back``: it would end what is under way
        leave()

    setattr(module, name, called)


def node_of_this_actor() -> str:
    """Id of the node of the actor that this process is."""
    return str(import_ray().get_runtime_context().get_node_id())
