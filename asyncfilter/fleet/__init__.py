"""Examination on other machines: one head, which is the engine, and any number of workers that examine for it.

The head lists, reserves, gives turns, makes durable, judges and acts; a worker gets one ask (one image to prepare, or
one paid attempt), answers, and never repeats, decides or writes. Nothing here knows how the bytes travel: a ``Wire``
carries them (``wires``); ``rays`` has those over Ray.

- ``messages``, ``faults``: what travels, typed and bounded.
- ``link``: the head's end of one worker, with ``window`` (flow control), ``asks``, ``outbox`` and ``sessions``.
- ``crew``: all workers, with ``wait_queue``, ``refusals``, ``reservations`` and ``unstored``.
- ``ports``: the engine's ``Detector`` and ``Preparation`` over a crew.
- ``examiner``, ``kept``, ``transit``, ``held``: the worker's end.
- ``ray_connection``, ``ray_actor``, ``own_ray``, ``keeper``: Ray itself.
"""
